use super::*;

const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// The settings of a file with this text, in which `{dir}` is a folder that holds the files `good` and `key`.
fn load(text: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good"), "sqlite:///tmp/x.db\n").unwrap();
    std::fs::write(folder.path().join("key"), KEY).unwrap();
    let file = folder.path().join("hexabase.toml");
    std::fs::write(&file, text.replace("{dir}", &folder.path().display().to_string())).unwrap();
    Config::load(Some(&file))
}

#[track_caller]
fn refused(text: &str) -> &'static str {
    match load(text) {
        Err(ConfigError::Invalid { key, .. }) => key,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn the_defaults_are_fine() {
    assert!(load("").is_ok());
}

#[test]
fn no_more_workspaces_are_made_ahead_than_storage_allows() {
    let spares = |text: &str| load(text).unwrap().host.spares();
    assert_eq!(spares(""), 0);
    assert_eq!(spares("[host]\nspare_workspaces = 3"), 3);
    assert_eq!(spares("[host]\nspare_workspaces = 30\nspare_storage = \"26Gi\""), 5);
}

#[test]
fn cores_are_written_as_kubernetes_writes_them_and_whole_ones_as_a_number_too() {
    assert_eq!(load("").unwrap().host.control_plane_cpu.as_millis(), 1_000);
    let written = |cpu: &str| load(&format!("[host]\ncontrol_plane_cpu = {cpu}"));
    for (cpu, millis) in [("\"1500m\"", 1_500), ("\"2\"", 2_000), ("2", 2_000)] {
        assert_eq!(written(cpu).unwrap().host.control_plane_cpu.as_millis(), millis, "{cpu}");
    }
    for wrong in ["\"-1\"", "\"one\"", "1.5"] {
        assert!(matches!(written(wrong), Err(ConfigError::Unreadable(_))), "{wrong}");
    }
}

#[test]
fn plans_may_name_the_installations_own_release_and_those_that_are_listed() {
    let releases = |text: &str| load(text).unwrap().host.releases();
    assert_eq!(releases(""), ["v1.35.4"]);
    let listed = "[host]\nkubernetes_version = \"v1.35.4+k3s1\"\nkubernetes_releases = [\"v1.35.4\", \"v1.36.0\"]";
    assert_eq!(releases(listed), ["v1.35.4+k3s1", "v1.35.4", "v1.36.0"]);
    assert!(load("[host]\nkubernetes_releases = [\"1.36\"]").is_err());
}

#[test]
fn workspaces_are_called_from_the_servers_own_namespace_unless_others_are_named() {
    let callers = |text: &str, own: Option<&str>| load(text).unwrap().host.callers(own);
    assert_eq!(callers("", Some("hexabase\n")), ["hexabase"]);
    assert_eq!(callers("", None), [""; 0]);
    let named = "[host]\nplatform_namespaces = [\"workers\", \"gateways\"]";
    assert_eq!(callers(named, Some("hexabase")), ["workers", "gateways"]);
    let open = "[host]\nendpoint = \"node-port\"\nnode_address = \"10.0.0.1\"";
    assert_eq!(callers(open, Some("hexabase")), [""; 0]);
}

#[test]
fn what_a_server_could_not_start_with_is_refused_by_its_key() {
    for (text, key) in [
        ("[store]\nurl = \"mysql://h/d\"", "store.url"),
        ("[store]\nurl = \"sqlite:///x.db\"\nurl_file = \"{dir}/good\"", "store.url"),
        ("[store]\nurl_file = \"{dir}/missing\"", "store.url"),
        ("[store]\nurl_file = \"{dir}/key\"", "store.url"),
        ("[store]\nmaster_key = \"c2hvcnQ=\"", "store.master_key"),
        ("[store]\nmaster_key_file = \"{dir}/good\"", "store.master_key"),
        ("[store]\nmaster_key = \"x\"\nmaster_key_file = \"{dir}/key\"", "store.master_key"),
        ("[host]\nendpoint = \"node-port\"", "host.node_address"),
        ("[host]\nendpoint = \"node-port\"\nnode_address = \"\"", "host.node_address"),
        ("[host]\nplatform_networks = [\"10.0.0.0/24\", \"10.0.0.1\"]", "host.platform_networks"),
        ("[host]\nplatform_networks = [\"10.0.0.0/33\"]", "host.platform_networks"),
        ("[host]\nplatform_networks = [\"10.0.0.0/+8\"]", "host.platform_networks"),
        ("[host]\nplatform_networks = [\"example.com/8\"]", "host.platform_networks"),
        ("[host]\nclosed_networks = [\"10.0.0.0\"]", "host.closed_networks"),
        ("[host]\nclosed_networks = [\"192.0.2.0/24\", \"2000::/3\"]", "host.closed_networks"),
        ("[host]\nclosed_networks = [\"0.0.0.0/0\"]", "host.closed_networks"),
        ("[host]\ntenant_storage_classes = [\"fast,slow\"]", "host.tenant_storage_classes"),
        ("[host]\ntenant_runtime_classes = [\"\"]", "host.tenant_runtime_classes"),
        ("[host]\nplatform_namespaces = [\"hexabase\", \"Gateways\"]", "host.platform_namespaces"),
        ("[host]\nvcluster_chart = \"{dir}/missing\"", "host.vcluster_chart"),
        ("[gateway]\nburst = 0", "gateway.burst"),
        ("[gateway]\nrequests_at_once = 150", "gateway.streams_at_once"),
        ("[host]\nspare_workspaces = 101", "host.spare_workspaces"),
        ("[host]\ncontrol_plane_cpu = \"0\"", "host.control_plane_cpu"),
        ("[host]\ncontrol_plane_cpu = \"199m\"", "host.control_plane_cpu"),
        ("[server]\ntrusted_proxies = [\"10.0.0.1\"]", "server.trusted_proxies"),
        ("[server]\ntrusted_proxies = [\"10.0.0.0/24\", \"proxy.example/24\"]", "server.trusted_proxies"),
        ("[server]\ntrusted_proxies = [\"::/129\"]", "server.trusted_proxies"),
        ("[server.tls]\ncertificate = \"{dir}/missing\"\nprivate_key = \"{dir}/key\"", "server.tls.certificate"),
        (
            "[[sign_in.providers]]\nid = \"x\"\ndisplay_name = \"X\"\nissuer = \"https://x.example\"\n\
             client_id = \"c\"\nclient_secret_file = \"{dir}/missing\"",
            "sign_in.providers.client_secret",
        ),
    ] {
        assert_eq!(refused(text), key, "{text}");
    }
    for text in [
        "[store]\nurl_file = \"{dir}/good\"\nmaster_key_file = \"{dir}/key\"",
        "[host]\nendpoint = \"node-port\"\nnode_address = \"10.0.0.1\"\nplatform_networks = [\"10.0.0.1/32\", \"fd00::/8\"]",
        "[host]\nvcluster_chart = \"{dir}\"",
        "[server]\ntrusted_proxies = [\"10.0.0.0/24\", \"fd00::/8\", \"192.0.2.1/32\"]",
    ] {
        assert!(load(text).is_ok(), "{text}");
    }
}

#[test]
fn a_production_database_is_known_however_it_is_written() {
    for url in
        ["postgres://u@h/d", "postgresql://u@h/d", "Postgres://u@h/d", " postgres://u@h/d", "POSTGRESQL://u@h/d "]
    {
        let store = format!("[store]\nurl = \"{url}\"\n");
        assert_eq!(refused(&store), "store.master_key", "{url:?}");
        let with_key = format!("{store}master_key = \"{KEY}\"\n");
        assert_eq!(refused(&with_key), "server.tls.certificate", "{url:?}");
        let with_tls =
            format!("{with_key}[server.tls]\ncertificate = \"{{dir}}/good\"\nprivate_key = \"{{dir}}/good\"\n");
        assert!(load(&with_tls).is_ok(), "{url:?}");
        let development = format!("{with_tls}[sign_in.development]\nlisten = \"127.0.0.1:0\"\n");
        assert_eq!(refused(&development), "sign_in.development.listen", "{url:?}");
    }
}
