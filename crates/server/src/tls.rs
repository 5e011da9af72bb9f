//! Certificates: those that were configured, or an authority of the server's own, made at first start.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig as RustlsConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{Config, TlsConfig};

/// What the listeners present and what clients need to trust it.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    /// For the listeners.
    pub server: Arc<RustlsConfig>,
    /// PEM of the private authority; `None` when the chain ends in a public one.
    pub authority_pem: Option<String>,
}

/// Loads or makes the certificates.
///
/// # Errors
/// Unreadable or unusable files, named.
pub(crate) fn load(config: &Config) -> Result<Tls> {
    let TlsConfig { certificate, private_key, certificate_authority } = &config.server.tls;
    match (certificate, private_key) {
        (Some(certificate), Some(key)) => {
            let chain = read(certificate)?;
            let authority_pem = certificate_authority.as_deref().map(read).transpose()?;
            Ok(Tls { server: server_config(&chain, &read(key)?)?, authority_pem })
        }
        _ => own(config),
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The server's own authority signs a fresh certificate at every start; only the authority is kept.
fn own(config: &Config) -> Result<Tls> {
    let folder = config.data_dir.join("tls");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let (authority_path, key_path) = (folder.join("ca.crt"), folder.join("ca.key"));
    if !key_path.exists() {
        let key = KeyPair::generate()?;
        let authority = authority_params()?.self_signed(&key)?;
        write_private(&authority_path, &authority.pem())?;
        write_private(&key_path, &key.serialize_pem())?;
    }
    let authority_pem = read(&authority_path)?;
    let issuer = Issuer::new(authority_params()?, KeyPair::from_pem(&read(&key_path)?)?);

    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let urls = [Some(&config.server.public_url), config.server.cluster_url.as_ref()];
    names.extend(
        urls.into_iter()
            .flatten()
            .filter_map(|url| url.host_str())
            .map(|host| host.trim_matches(['[', ']']).to_owned()),
    );
    names.sort();
    names.dedup();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "hexabase");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let chain = params.signed_by(&key, &issuer)?.pem();
    Ok(Tls { server: server_config(&chain, &key.serialize_pem())?, authority_pem: Some(authority_pem) })
}

fn authority_params() -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, "Hexabase own certificate authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    // Written aside and moved into place, so that a server that is killed here leaves no half of a key.
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn server_config(chain: &str, key: &str) -> Result<Arc<RustlsConfig>> {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .context("the certificate chain is not PEM")?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("the private key is not PEM")?;
    let mut server = RustlsConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the private key does not fit the certificate")?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}
