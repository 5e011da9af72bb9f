//! Servers with a certificate of a private authority.

use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::harness::{Home, WORKSPACE};
use crate::stub::Stub;

/// A server for 127.0.0.1, and its authority's certificate.
async fn private_server() -> (Stub, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let config = config
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stub = Stub::new(listener.local_addr().unwrap(), "https");
    let service = TowerToHyperService::new(stub.router());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, service) = (acceptor.clone(), service.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                }
            });
        }
    });
    (stub, authority_certificate.pem())
}

#[tokio::test]
async fn a_private_authority_is_asked_for_remembered_and_handed_to_kubectl() {
    let (stub, authority) = private_server().await;
    let home = Home::new();
    let address = stub.address();
    let ended = home.hxb(&["login", &address, "--device"]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("not signed by an authority that is trusted here"), "{ended:?}");
    assert!(ended.err.contains(&format!("hxb login {address} --certificate-authority FILE")), "{ended:?}");

    home.write("ca.pem", &format!("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n{authority}"));
    let ended = home.hxb(&["login", &address, "--device", "--certificate-authority", "ca.pem"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!home.read(".config/hexabase/hxb.json").contains("PRIVATE KEY"));
    assert_eq!(home.hxb(&["whoami"]).await.code, 0);
    assert_eq!(home.hxb(&["credential", "--workspace", WORKSPACE]).await.code, 0);

    let ended = home.hxb(&["kubeconfig", "shop", "--print", "-o", "json"]).await;
    assert!(ended.out.contains("certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t"), "{ended:?}");

    let other_name = address.replace("127.0.0.1", "localhost");
    let ended = home.hxb(&["login", &other_name, "--device", "--certificate-authority", "ca.pem"]).await;
    assert!(ended.err.contains("is for another name"), "{ended:?}");
}

#[tokio::test]
async fn a_file_without_a_certificate_is_no_authority() {
    let (stub, _) = private_server().await;
    let home = Home::new();
    home.write("ca.pem", "hello");
    let ended = home.hxb(&["login", &stub.address(), "--certificate-authority", "ca.pem"]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("no certificate in PEM form"), "{ended:?}");
}
