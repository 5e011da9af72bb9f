//! Certificates, keys and kubeconfigs of the devhost, made once and kept until `down`.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};

use super::layout::{Layout, NODE, State};
use super::node::Node;
use crate::settings;

const YEARS: i32 = 10;
/// Name of the authority that certifies all but what speaks for the API server to others.
const CLUSTER: &str = "hexabase-devhost";

/// Makes everything below `pki/` and all kubeconfigs, unless that was done for these addresses.
pub(crate) fn ensure(layout: &Layout, state: &State) -> Result<()> {
    let mark = format!("{} {} {}\n", state.api_url(), state.node_ip, state.api_service_ip);
    let is_made = fs::read_to_string(layout.path("pki/made-for")).is_ok_and(|made| made == mark);
    if !is_made || !layout.kubeconfig().is_file() {
        make(layout, state)?;
        layout.write("pki/made-for", &mark)?;
        // It would name an authority that is no more.
        let _ = fs::remove_file(layout.kubeconfig_for_people());
    }
    if !layout.kubeconfig_for_people().is_file() {
        layout.write("kubeconfig", &fs::read_to_string(layout.kubeconfig())?)?;
    }
    Ok(())
}

/// Makes what a node beside the first needs, unless that was done for this authority and address. It may come later, so it
/// is certified with what was kept.
pub(crate) fn ensure_node(layout: &Layout, node: &Node, state: &State) -> Result<()> {
    let authority = fs::read_to_string(layout.path("pki/ca.crt")).context("the devhost has no authority")?;
    let mark = format!("{} {} {}\n{authority}", state.api_url(), node.name, node.ip);
    if !fs::read_to_string(node.files.path("pki/made-for")).is_ok_and(|made| made == mark) {
        let cluster = Authority::kept(CLUSTER, authority, &fs::read_to_string(layout.path("pki/ca.key"))?)?;
        cluster.write_node(&node.files, &state.api_url(), node.name, node.ip)?;
        node.files.write("pki/made-for", &mark)?;
    }
    Ok(())
}

fn make(layout: &Layout, state: &State) -> Result<()> {
    let cluster = Authority::new(CLUSTER)?;
    let front = Authority::new("hexabase-devhost-front-proxy")?;
    layout.write("pki/ca.crt", &cluster.pem)?;
    layout.write("pki/ca.key", &cluster.issuer.key().serialize_pem())?;
    layout.write("pki/front-proxy-ca.crt", &front.pem)?;
    let service_accounts = KeyPair::generate()?;
    layout.write("pki/service-accounts.key", &service_accounts.serialize_pem())?;
    layout.write("pki/service-accounts.pub", &service_accounts.public_key_pem())?;

    let api_names = [
        "kubernetes".to_owned(),
        "kubernetes.default".into(),
        "kubernetes.default.svc".into(),
        "kubernetes.default.svc.cluster.local".into(),
        "localhost".into(),
        "127.0.0.1".into(),
        state.node_ip.to_string(),
        state.api_service_ip.to_string(),
    ];
    cluster.write_server(layout, "apiserver", "kube-apiserver", &api_names)?;
    cluster.write_node(layout, &state.api_url(), NODE, state.node_ip)?;
    cluster.write_client(
        layout,
        "apiserver-kubelet-client",
        "kube-apiserver-kubelet-client",
        Some("system:masters"),
    )?;
    front.write_client(layout, "front-proxy-client", "front-proxy-client", None)?;

    for (file, user, group) in [
        ("pki/admin.kubeconfig", "hexabase-admin", Some("system:masters")),
        ("pki/controller-manager.kubeconfig", "system:kube-controller-manager", None),
        ("pki/scheduler.kubeconfig", "system:kube-scheduler", None),
        ("pki/kube-proxy.kubeconfig", "system:kube-proxy", None),
    ] {
        cluster.write_kubeconfig(layout, &state.api_url(), file, user, group)?;
    }
    Ok(())
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Result<Self> {
        let params = Self::params(name)?;
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key).context("cannot make the certificate authority")?;
        Ok(Self { pem: certificate.pem(), issuer: Issuer::new(params, key) })
    }

    /// The one that was made by this name before.
    fn kept(name: &str, pem: String, key: &str) -> Result<Self> {
        let key = KeyPair::from_pem(key).context("the authority's key cannot be read")?;
        Ok(Self { pem, issuer: Issuer::new(Self::params(name)?, key) })
    }

    fn params(name: &str) -> Result<CertificateParams> {
        let mut params = params(name, None, &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        Ok(params)
    }

    fn leaf(
        &self,
        user: &str,
        group: Option<&str>,
        names: &[String],
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<(String, String)> {
        let mut params = params(user, group, names)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer).with_context(|| format!("cannot certify {user}"))?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// What a kubelet is known by, as server and as client.
    fn write_node(&self, files: &Layout, api: &str, name: &str, address: Ipv4Addr) -> Result<()> {
        let user = format!("system:node:{name}");
        self.write_server(files, "kubelet", &user, &[name.to_owned(), address.to_string()])?;
        self.write_kubeconfig(files, api, "pki/kubelet.kubeconfig", &user, Some("system:nodes"))
    }

    fn write_kubeconfig(&self, files: &Layout, api: &str, file: &str, user: &str, group: Option<&str>) -> Result<()> {
        let (certificate, key) = self.leaf(user, group, &[], ExtendedKeyUsagePurpose::ClientAuth)?;
        files.write(file, &kubeconfig(api, &self.pem, user, &certificate, &key))?;
        Ok(())
    }

    fn write_server(&self, layout: &Layout, file: &str, user: &str, names: &[String]) -> Result<()> {
        let (certificate, key) = self.leaf(user, None, names, ExtendedKeyUsagePurpose::ServerAuth)?;
        write_pair(layout, file, &certificate, &key)
    }

    fn write_client(&self, layout: &Layout, file: &str, user: &str, group: Option<&str>) -> Result<()> {
        let (certificate, key) = self.leaf(user, group, &[], ExtendedKeyUsagePurpose::ClientAuth)?;
        write_pair(layout, file, &certificate, &key)
    }
}

fn write_pair(layout: &Layout, file: &str, certificate: &str, key: &str) -> Result<()> {
    layout.write(&format!("pki/{file}.crt"), certificate)?;
    layout.write(&format!("pki/{file}.key"), key)?;
    Ok(())
}

fn params(user: &str, group: Option<&str>, names: &[String]) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names.to_vec())?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, user);
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    params.distinguished_name = name;
    // A year's length in seconds; a day more or less does not matter for a span of ten years.
    let year = 1970 + i32::try_from(settings::unix_seconds() / 31_556_952)?;
    params.not_before = date_time_ymd(year - 1, 1, 1);
    params.not_after = date_time_ymd(year + YEARS, 12, 31);
    let random = KeyPair::generate()?;
    params.serial_number = Some(SerialNumber::from_slice(&random.public_key_raw()[1..17]));
    Ok(params)
}

fn kubeconfig(server: &str, authority: &str, user: &str, certificate: &str, key: &str) -> String {
    let encode = |text: &str| STANDARD.encode(text);
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: hexabase-devhost\n\
         clusters:\n- name: hexabase-devhost\n  cluster:\n    server: {server}\n    certificate-authority-data: {}\n\
         users:\n- name: \"{user}\"\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n\
         contexts:\n- name: hexabase-devhost\n  context:\n    cluster: hexabase-devhost\n    user: \"{user}\"\n",
        encode(authority),
        encode(certificate),
        encode(key)
    )
}

#[cfg(test)]
mod tests {
    use super::super::layout::Ports;
    use super::*;

    #[test]
    fn what_people_do_to_their_kubeconfig_does_not_reach_ours() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(folder.path());
        let state = State::on(10, 11, Ports::from_base(16000));
        ensure(&layout, &state).unwrap();
        let ours = fs::read_to_string(layout.kubeconfig()).unwrap();
        assert_eq!(fs::read_to_string(layout.kubeconfig_for_people()).unwrap(), ours);
        fs::write(layout.kubeconfig_for_people(), "current-context: shop\n").unwrap();
        ensure(&layout, &state).unwrap();
        assert_eq!(fs::read_to_string(layout.kubeconfig()).unwrap(), ours);
        assert_eq!(fs::read_to_string(layout.kubeconfig_for_people()).unwrap(), "current-context: shop\n");
        fs::remove_file(layout.kubeconfig_for_people()).unwrap();
        ensure(&layout, &state).unwrap();
        assert_eq!(fs::read_to_string(layout.kubeconfig_for_people()).unwrap(), ours);
    }

    #[test]
    fn a_node_that_comes_later_is_certified_by_the_authority_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(folder.path());
        let state = State::on(10, 11, Ports::from_base(16000));
        ensure(&layout, &state).unwrap();
        let authority = fs::read_to_string(layout.path("pki/ca.crt")).unwrap();
        let node = Node::second(&layout, &state);
        ensure_node(&layout, &node, &state).unwrap();
        let made = fs::read_to_string(node.files.path("pki/kubelet.kubeconfig")).unwrap();
        assert!(made.contains("system:node:devhost-second") && made.contains(&STANDARD.encode(&authority)));
        ensure_node(&layout, &node, &state).unwrap();
        assert_eq!(fs::read_to_string(node.files.path("pki/kubelet.kubeconfig")).unwrap(), made);
        assert_eq!(fs::read_to_string(layout.path("pki/ca.crt")).unwrap(), authority);
    }

    #[test]
    fn a_leaf_names_its_user_and_is_signed_by_the_authority() {
        let authority = Authority::new("test").unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".into()];
        let (certificate, key) =
            authority.leaf("user", Some("group"), &names, ExtendedKeyUsagePurpose::ServerAuth).unwrap();
        assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(key.contains("PRIVATE KEY"));
        let text = kubeconfig("https://127.0.0.1:1", &authority.pem, "user", &certificate, &key);
        assert!(text.contains("current-context: hexabase-devhost"));
        assert!(!text.contains("PRIVATE KEY"), "keys are encoded");
    }
}
