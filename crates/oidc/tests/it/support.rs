//! Keys, raw tokens and a very small HTTP server.

use std::{
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hexabase_oidc::{
    Issuer,
    jwt::{Expectation, ExpectedTyp, Typ},
    keys::{Algorithm, JwkSet, SigningKey},
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://id.example.test/oidc/ws-1";

pub(crate) static EC: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::Es256).unwrap());
pub(crate) static RSA: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::Rs256).unwrap());

pub(crate) fn issuer() -> Issuer {
    Issuer::parse(ISSUER).unwrap()
}

pub(crate) fn jwks() -> JwkSet {
    JwkSet { keys: vec![EC.public_jwk().clone(), RSA.public_jwk().clone()] }
}

pub(crate) fn b64(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// Signs exactly these bytes as header and payload, whatever they are.
pub(crate) fn raw_token(key: &SigningKey, header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", b64(header), b64(payload));
    let der = key.to_pkcs8_der().unwrap();
    let rng = SystemRandom::new();
    let signature = match key.algorithm() {
        Algorithm::Es256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.expose_secret())
            .unwrap()
            .sign(&rng, signed.as_bytes())
            .unwrap()
            .as_ref()
            .to_vec(),
        Algorithm::Rs256 => {
            let pair = RsaKeyPair::from_pkcs8(der.expose_secret()).unwrap();
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &rng, signed.as_bytes(), &mut signature).unwrap();
            signature
        }
    };
    format!("{signed}.{}", b64(signature))
}

pub(crate) fn header(key: &SigningKey) -> Value {
    json!({ "alg": key.algorithm().as_str(), "typ": "JWT", "kid": key.kid() })
}

/// Claims everybody accepts.
pub(crate) fn payload() -> Value {
    json!({ "iss": ISSUER, "sub": "usr_1", "aud": "app", "iat": NOW, "nbf": NOW, "exp": NOW + 300 })
}

pub(crate) fn with(mut base: Value, name: &str, value: Value) -> Value {
    base[name] = value;
    base
}

pub(crate) fn without(mut base: Value, name: &str) -> Value {
    base.as_object_mut().unwrap().remove(name);
    base
}

pub(crate) fn expectation() -> Expectation<'static> {
    Expectation {
        issuer: ISSUER,
        audience: "app",
        typ: ExpectedTyp::Exactly(Typ::Jwt),
        algorithms: &Algorithm::ALL,
        now: NOW,
        leeway: 0,
    }
}

pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Answers each request by what `answer` says: status line, extra headers, body. Returns `http://127.0.0.1:port`.
pub(crate) async fn serve(
    answer: impl Fn(&str, &Asked) -> (u16, String, String) + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let log = Arc::new(Mutex::new(Vec::new()));
    let (own, seen, answer) = (base.clone(), Arc::clone(&log), Arc::new(answer));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (own, seen, answer) = (own.clone(), Arc::clone(&seen), Arc::clone(&answer));
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                let asked = loop {
                    let mut chunk = [0u8; 4096];
                    let read = stream.read(&mut chunk).await.unwrap_or(0);
                    bytes.extend_from_slice(&chunk[..read]);
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    if let Some((head, body)) = text.split_once("\r\n\r\n") {
                        let length = head
                            .lines()
                            .find_map(|line| {
                                line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned)
                            })
                            .map_or(0, |length| length.parse::<usize>().unwrap());
                        if body.len() >= length {
                            let line = head.lines().next().unwrap_or_default().replace(" HTTP/1.1", "");
                            break Asked { line, head: head.to_owned(), body: body.to_owned() };
                        }
                    }
                    if read == 0 {
                        return;
                    }
                };
                seen.lock().unwrap().push(asked.line.clone());
                let (status, headers, body) = answer(&own, &asked);
                let text = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.shutdown().await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            });
        }
    });
    (base, log)
}
