//! A provider whose answers a test can bend, and somebody who signs in with it.

use std::sync::{Arc, Mutex};

use hexabase_oidc::{
    Issuer,
    client::{
        Callback, ClientError, Identity, JwksCache, LoginAttempt, Outbound, ProviderMetadata, Reach, RelyingParty,
    },
    jwt::{self, Typ},
    keys::{JwkSet, SigningKey},
    provider::append_query,
};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::support::{Asked, EC, NOW, serve};

/// A provider whose answers a test can bend.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) key: SigningKey,
    pub(crate) published: Vec<SigningKey>,
    pub(crate) id_token: Value,
    pub(crate) token: (u16, Option<Value>),
    pub(crate) userinfo: Value,
    pub(crate) metadata: Value,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            key: EC.clone(),
            published: vec![EC.clone()],
            id_token: json!({ "email": "alice@example.test", "email_verified": true, "name": "Alice" }),
            token: (200, None),
            userinfo: json!({ "sub": "abc", "email": "late@example.test", "email_verified": true }),
            metadata: json!({}),
        }
    }
}

pub(crate) type Shared = Arc<Mutex<(Fake, Option<LoginAttempt>)>>;

impl Fake {
    pub(crate) fn answer(&self, base: &str, asked: &Asked, attempt: Option<&LoginAttempt>) -> (u16, String, String) {
        let merged = |mut base: Value, more: &Value| {
            for (name, value) in more.as_object().unwrap() {
                base[name] = value.clone();
            }
            base
        };
        let (status, body) = match asked.line.as_str() {
            "GET /.well-known/openid-configuration" => {
                let plain = json!({
                    "issuer": base,
                    "authorization_endpoint": format!("{base}/a"),
                    "token_endpoint": format!("{base}/t"),
                    "jwks_uri": format!("{base}/k"),
                    "userinfo_endpoint": format!("{base}/u"),
                    "response_types_supported": ["code"],
                    "id_token_signing_alg_values_supported": ["ES256", "RS256"],
                    "authorization_response_iss_parameter_supported": true,
                });
                (200, merged(plain, &self.metadata))
            }
            "GET /k" => {
                let keys = self.published.iter().map(|key| key.public_jwk().clone()).collect();
                (200, serde_json::to_value(JwkSet { keys }).unwrap())
            }
            "POST /t" => match &self.token {
                (status, Some(body)) => (*status, body.clone()),
                (status, None) => {
                    let attempt = attempt.unwrap();
                    let form: Vec<_> = form_urlencoded::parse(asked.body.as_bytes()).collect();
                    assert!(
                        form.iter().any(|(name, value)| name == "code_verifier" && *value == attempt.code_verifier)
                    );
                    let plain = json!({
                        "iss": base, "sub": "abc", "aud": "us", "iat": NOW, "exp": NOW + 60, "nonce": attempt.nonce,
                    });
                    let id_token = jwt::sign(&self.key, &merged(plain, &self.id_token), Typ::Jwt).unwrap();
                    (*status, json!({ "access_token": "at", "token_type": "bearer", "id_token": id_token }))
                }
            },
            "GET /u" => {
                assert!(asked.head.to_ascii_lowercase().contains("authorization: bearer at"));
                (200, self.userinfo.clone())
            }
            other => panic!("asked {other}"),
        };
        (status, "content-type: application/json\r\n".into(), body.to_string())
    }
}

pub(crate) struct Site {
    pub(crate) http: Outbound,
    pub(crate) issuer: Issuer,
    pub(crate) cache: JwksCache,
    pub(crate) shared: Shared,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

/// A way out that leads to this computer.
pub(crate) fn outbound() -> Outbound {
    Outbound::new(Reach { loopback: true, ..Reach::default() }).unwrap()
}

pub(crate) async fn site(fake: Fake) -> Site {
    let shared: Shared = Arc::new(Mutex::new((fake, None)));
    let own = Arc::clone(&shared);
    let (base, log) = serve(move |base, asked| {
        let (fake, attempt) = own.lock().unwrap().clone();
        fake.answer(base, asked, attempt.as_ref())
    })
    .await;
    let issuer = Issuer::parse(&base).unwrap();
    Site { http: outbound(), issuer, cache: JwksCache::new(), shared, log }
}

impl Site {
    /// Signs somebody in, from the configuration to the identity.
    pub(crate) async fn sign_in_at(&self, now: i64) -> Result<Identity, ClientError> {
        let attempt = LoginAttempt::start().unwrap();
        self.finish(&attempt, now).await
    }

    /// The same for an attempt that the caller has begun.
    pub(crate) async fn finish(&self, attempt: &LoginAttempt, now: i64) -> Result<Identity, ClientError> {
        let us = RelyingParty {
            client_id: "us".into(),
            client_secret: Some("s/e c".to_owned().into()),
            redirect_uri: "http://127.0.0.1:9/cb".into(),
            scopes: "openid email".into(),
        };
        let metadata = ProviderMetadata::discover(&self.http, &self.issuer).await?;
        self.shared.lock().unwrap().1 = Some(attempt.clone());
        let query = append_query("", [("code", "c"), ("state", &attempt.state), ("iss", self.issuer.as_str())]);
        let callback = Callback::parse(query.trim_start_matches('?')).unwrap();
        us.finish(&self.http, &self.cache, &metadata, &callback, attempt, now).await
    }

    pub(crate) fn count(&self, line: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|asked| *asked == line).count()
    }
}

pub(crate) async fn sign_in(fake: Fake) -> Result<Identity, ClientError> {
    site(fake).await.sign_in_at(NOW).await
}
