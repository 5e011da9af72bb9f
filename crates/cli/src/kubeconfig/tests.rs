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
        login: Login::own("hxb".to_owned(), "https://hexabase.example", "ws-1", Vec::new()),
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
    let mut after = parse(&merge(FOREIGN, &entry(), None, false).unwrap()).unwrap();
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
    let once = merge(FOREIGN, &entry(), None, true).unwrap();
    assert_eq!(merge(&once, &entry(), None, true).unwrap(), once);
    assert_eq!(parse(&once).unwrap()["current-context"], "hexabase-shop");
}

#[test]
fn what_the_user_added_to_our_entry_stays() {
    let mut value = parse(&merge(FOREIGN, &entry(), None, false).unwrap()).unwrap();
    value["contexts"][1]["context"]["namespace"] = json!("web");
    value["clusters"][1]["cluster"]["proxy-url"] = json!("http://proxy.example");
    value["clusters"][1]["cluster"]["insecure-skip-tls-verify"] = json!(true);
    let mut moved = entry();
    moved.server = "https://new.example/k8s/ws-1".to_owned();
    moved.certificate_authority = None;
    let after = parse(&merge(&render(&value).unwrap(), &moved, None, false).unwrap()).unwrap();
    assert_eq!(after["contexts"][1]["context"]["namespace"], "web");
    let cluster = json!({ "server": "https://new.example/k8s/ws-1", "proxy-url": "http://proxy.example" });
    assert_eq!(after["clusters"][1]["cluster"], cluster);
}

#[test]
fn a_context_of_somebody_else_is_not_taken_over() {
    let mut taken = entry();
    taken.context = "other".to_owned();
    assert!(merge(FOREIGN, &taken, None, false).unwrap_err().render(false, true).contains("--context NAME"));
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
        assert_eq!(merge(text, &entry(), None, false).unwrap_err().kind(), Kind::Failure, "{text}");
    }
}

#[test]
fn empty_files_and_null_lists_are_a_start() {
    for text in
        ["", "\n", "# nothing yet\n", "---\n", "clusters: null\nusers: []\ncontexts:\n", "{\"apiVersion\":\"v1\"}"]
    {
        let value = parse(&merge(text, &entry(), None, false).unwrap()).unwrap();
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
        let text = merge(&json!({ "note": word }).to_string(), &entry(), None, false).unwrap();
        assert_eq!(parse(&text).unwrap()["note"], word);
        let plain = text.lines().any(|line| line == format!("note: {word}"));
        assert!(!plain, "{word:?} was written without quotes");
    }
}

/// An entry of the same name for a workspace of the same server.
fn old() -> Entry {
    let id = "ws-00000000000000000000";
    Entry { name: format!("hexabase-{id}"), server: format!("https://hexabase.example/k8s/{id}"), ..entry() }
}

#[test]
fn kubelogin_is_told_the_workspaces_issuer_and_the_authority_and_no_secret() {
    let pem = entry().certificate_authority.unwrap();
    let login = Login::kubelogin("https://hexabase.example", "ws-1", Some(&pem));
    let text = standalone(&Entry { login, ..entry() }).unwrap();
    let exec = &parse(&text).unwrap()["users"][0]["user"]["exec"];
    assert_eq!(exec["command"], "kubectl");
    let arguments: Vec<&str> =
        exec["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()).collect();
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
    let of_hxb = merge(FOREIGN, &entry(), None, false).unwrap();
    let of_kubelogin = merge(&of_hxb, &kubelogin(), None, false).unwrap();
    assert_eq!(parse(&of_kubelogin).unwrap()["users"][2]["user"]["exec"]["args"][0], "oidc-login");
    assert_eq!(merge(&of_kubelogin, &entry(), None, false).unwrap(), of_hxb);
    // A deleted workspace's entry is recognised whichever program it named.
    let id = "ws-00000000000000000000";
    for old in [old(), Entry { login: Login::kubelogin("https://hexabase.example", id, None), ..old() }] {
        let before = merge(FOREIGN, &old, None, false).unwrap();
        for new in [entry(), kubelogin()] {
            let gone = holder(&before, &new).unwrap();
            assert_eq!(gone.as_ref().map(WorkspaceId::as_str), Some(id));
            assert!(!merge(&before, &new, gone.as_ref(), false).unwrap().contains(id));
        }
    }
}

#[test]
fn the_name_of_a_deleted_workspace_leads_to_its_successor() {
    let before = merge(FOREIGN, &old(), None, false).unwrap();
    let gone = holder(&before, &entry()).unwrap();
    assert_eq!(gone.as_ref().unwrap().as_str(), "ws-00000000000000000000");
    let after = parse(&merge(&before, &entry(), gone.as_ref(), false).unwrap()).unwrap();
    for list in ["clusters", "users"] {
        let names: Vec<_> = after[list].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
        assert!(names.contains(&"hexabase-ws-1") && !names.contains(&old().name.as_str()), "{list}: {names:?}");
    }
}

#[test]
fn a_context_is_kept_for_whoever_else_can_still_use_it() {
    let before = merge(FOREIGN, &old(), None, true).unwrap();
    let gone: WorkspaceId = "ws-00000000000000000000".parse().unwrap();
    let refused = |entry: &Entry, gone| merge(&before, entry, gone, true).unwrap_err().render(false, true);
    let living = refused(&entry(), None);
    assert!(living.contains("another workspace, ws-00000000000000000000") && living.contains("--context NAME"));
    let another: WorkspaceId = "ws-00000000000000000007".parse().unwrap();
    assert_eq!(refused(&entry(), Some(&another)), living);
    for elsewhere in [
        Entry { server: "https://another.example/k8s/ws-1".to_owned(), ..entry() },
        Entry {
            login: Login::own("/opt/another/hxb".to_owned(), "https://hexabase.example", "ws-1", Vec::new()),
            ..entry()
        },
    ] {
        assert_eq!(holder(&before, &elsewhere).unwrap(), None);
        assert!(refused(&elsewhere, Some(&gone)).contains("--context NAME"));
    }
    assert_eq!(holder(&before, &old()).unwrap(), None, "it is its own");
    assert_eq!(holder(FOREIGN, &entry()).unwrap(), None);
}
