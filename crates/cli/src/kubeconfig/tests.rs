use super::*;

const FOREIGN: &str = r#"# kept by hand
apiVersion: v1
kind: Config
current-context: other
preferences: {colors: true}
extensions:
- name: tool
  extension: {last: "2026-01-01", on: "yes", ratio: 1.5, big: 12345678901}
clusters:
- name: other
  cluster:
    server: https://other.example
    certificate-authority-data: QUJD
    proxy-url: http://proxy.example:3128
users:
- name: other
  user:
    username: "012"
    password: "1e3"
    token: 'on'
- name: keys
  user: {client-key-data: "null", client-certificate-data: "~"}
contexts:
- name: other
  context: {cluster: other, user: other, namespace: "123"}
"#;

fn entry() -> Entry {
    Entry {
        name: "hexabase-ws-1".to_owned(),
        context: "hexabase-shop".to_owned(),
        server: "https://hexabase.example/k8s/ws-1".to_owned(),
        certificate_authority: Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".repeat(9)),
        login: Login::own("hxb".to_owned(), "https://hexabase.example", "ws-1", None),
    }
}

#[test]
fn a_new_file_holds_the_entry_and_no_secret() {
    let text = standalone(&entry()).unwrap();
    let value = parse(&text).unwrap();
    assert_eq!(value["current-context"], "hexabase-shop");
    assert_eq!(value["contexts"][0]["context"], json!({ "cluster": "hexabase-ws-1", "user": "hexabase-ws-1" }));
    assert_eq!(value["users"][0]["user"]["exec"]["args"][4], "ws-1");
    assert_eq!(value["users"][0]["user"]["exec"]["interactiveMode"], "Never");
    let authority = value["clusters"][0]["cluster"]["certificate-authority-data"].as_str().unwrap();
    assert_eq!(STANDARD.decode(authority).unwrap(), entry().certificate_authority.unwrap().into_bytes());
    assert!(!text.contains("token") && !text.contains("password"));
}

#[test]
fn entries_and_fields_of_others_mean_the_same_afterwards() {
    let before = parse(FOREIGN).unwrap();
    let mut after = parse(&merge(FOREIGN, &entry(), false).unwrap()).unwrap();
    for list in ["clusters", "users", "contexts"] {
        let items = after[list].as_array_mut().unwrap();
        let own = items.pop().unwrap();
        assert!(own["name"].as_str().unwrap().starts_with("hexabase-"));
    }
    assert_eq!(after, before);
    assert_eq!(before["users"][0]["user"], json!({ "username": "012", "password": "1e3", "token": "on" }));
}

#[test]
fn writing_twice_changes_nothing_more() {
    let once = merge(FOREIGN, &entry(), true).unwrap();
    assert_eq!(merge(&once, &entry(), true).unwrap(), once);
    assert_eq!(parse(&once).unwrap()["current-context"], "hexabase-shop");
}

#[test]
fn what_the_user_added_to_our_entry_stays() {
    let mut value = parse(&merge(FOREIGN, &entry(), false).unwrap()).unwrap();
    value["contexts"][1]["context"]["namespace"] = json!("web");
    value["clusters"][1]["cluster"]["proxy-url"] = json!("http://proxy.example");
    value["clusters"][1]["cluster"]["insecure-skip-tls-verify"] = json!(true);
    let mut moved = entry();
    moved.server = "https://new.example/k8s/ws-1".to_owned();
    moved.certificate_authority = None;
    let after = parse(&merge(&render(&value).unwrap(), &moved, false).unwrap()).unwrap();
    assert_eq!(after["contexts"][1]["context"]["namespace"], "web");
    let cluster = json!({ "server": "https://new.example/k8s/ws-1", "proxy-url": "http://proxy.example" });
    assert_eq!(after["clusters"][1]["cluster"], cluster);
}

#[test]
fn a_context_of_somebody_else_is_not_taken_over() {
    let mut taken = entry();
    taken.context = "other".to_owned();
    assert!(merge(FOREIGN, &taken, false).unwrap_err().render(false, true).contains("--context NAME"));
}

#[test]
fn a_malformed_file_is_refused() {
    for text in [
        "a: [",
        "just text",
        "[]",
        "kind: Pod",
        "clusters: {}",
        "users: [1]",
        "contexts: [{context: {}}]",
        "clusters: [{name: hexabase-ws-1, cluster: []}]",
        "kind: Config\nkind: Config",
    ] {
        assert_eq!(merge(text, &entry(), false).unwrap_err().kind(), Kind::Failure, "{text}");
    }
}

#[test]
fn empty_files_and_null_lists_are_a_start() {
    for text in
        ["", "\n", "# nothing yet\n", "---\n", "clusters: null\nusers: []\ncontexts:\n", "{\"apiVersion\":\"v1\"}"]
    {
        let value = parse(&merge(text, &entry(), false).unwrap()).unwrap();
        assert_eq!(value["clusters"].as_array().unwrap().len(), 1, "{text:?}");
    }
}

#[test]
fn text_that_looks_like_something_else_is_written_so_that_every_reader_sees_text() {
    for word in [
        "yes",
        "on",
        "y",
        "012",
        "0o7",
        "1e3",
        "1_000",
        "2026-01-01",
        "12:30:45",
        "~",
        ".inf",
        "=",
        "a: b",
        "#",
        " x ",
        "é\u{7}",
    ] {
        let text = merge(&json!({ "note": word }).to_string(), &entry(), false).unwrap();
        assert_eq!(parse(&text).unwrap()["note"], word);
        let plain = text.lines().any(|line| line == format!("note: {word}"));
        assert!(!plain, "{word:?} was written without quotes");
    }
}

#[test]
fn kubelogin_is_told_the_workspaces_issuer_and_the_authority_and_no_secret() {
    let pem = entry().certificate_authority.unwrap();
    let login = Login::kubelogin("https://hexabase.example", "ws-1", Some(&pem));
    let text = standalone(&Entry { login, ..entry() }).unwrap();
    let exec = &parse(&text).unwrap()["users"][0]["user"]["exec"];
    assert_eq!(exec["command"], "kubectl");
    let arguments: Vec<&str> = exec["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()).collect();
    let expected = [
        "oidc-login",
        "get-token",
        "--oidc-issuer-url=https://hexabase.example/oidc/ws-1",
        "--oidc-client-id=ws-1",
        "--oidc-pkce-method=S256",
        "--oidc-extra-scope=offline_access",
        &format!("--certificate-authority-data={}", STANDARD.encode(&pem)),
    ];
    assert_eq!(arguments, expected);
    let public = Login::kubelogin("https://hexabase.example", "ws-1", None);
    assert_eq!(public.arguments, expected[..6]);
}

#[test]
fn an_entry_changes_hands_between_the_two_programs() {
    let kubelogin = || Entry { login: Login::kubelogin("https://hexabase.example", "ws-1", None), ..entry() };
    let of_hxb = merge(FOREIGN, &entry(), false).unwrap();
    let of_kubelogin = merge(&of_hxb, &kubelogin(), false).unwrap();
    assert_eq!(parse(&of_kubelogin).unwrap()["users"][2]["user"]["exec"]["args"][0], "oidc-login");
    assert_eq!(merge(&of_kubelogin, &entry(), false).unwrap(), of_hxb);
    // A deleted workspace's entry is recognised whichever program it named.
    let old = Entry {
        name: "hexabase-ws-0".to_owned(),
        server: "https://hexabase.example/k8s/ws-0".to_owned(),
        login: Login::kubelogin("https://hexabase.example", "ws-0", None),
        ..entry()
    };
    let before = merge(FOREIGN, &old, false).unwrap();
    for new in [entry(), kubelogin()] {
        assert!(!merge(&before, &new, false).unwrap().contains("ws-0"));
    }
}

#[test]
fn the_name_of_a_deleted_workspace_leads_to_its_successor() {
    let old =
        Entry { name: "hexabase-ws-0".to_owned(), server: "https://hexabase.example/k8s/ws-0".to_owned(), ..entry() };
    let before = merge(FOREIGN, &old, false).unwrap();
    let after = parse(&merge(&before, &entry(), false).unwrap()).unwrap();
    for list in ["clusters", "users"] {
        let names: Vec<_> = after[list].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
        assert!(names.contains(&"hexabase-ws-1") && !names.contains(&"hexabase-ws-0"), "{list}: {names:?}");
    }
    let elsewhere = Entry { server: "https://another.example/k8s/ws-1".to_owned(), ..entry() };
    assert!(merge(&before, &elsewhere, false).is_err(), "the context leads to another server");
}
