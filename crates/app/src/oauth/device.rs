//! Signing in on a device without a browser (RFC 8628).

use hexabase_backends::store::Digest;
use hexabase_backends::store::StoreError;
use hexabase_backends::store::device_codes::{self, DeviceCode, DeviceState};
use hexabase_backends::store::sessions::SessionKind;
use hexabase_oidc::opaque_token;
use hexabase_oidc::provider::{DeviceAuthorizationRequest, DeviceAuthorizationResponse, OAuthError, UserCode};

use super::{clients, refusal};
use crate::context::{App, Credential, Origin};
use crate::error::{Error, Result};
use crate::issuer::Realm;
use crate::sessions::{self, DEVICE_SECONDS, Live, label_of, new_session};

const CODE_SECONDS: i64 = 600;
const INTERVAL_SECONDS: i64 = 2;

/// What a person is asked to confirm.
#[derive(Debug, Clone)]
pub struct DevicePrompt {
    /// The code as the device shows it.
    pub user_code: String,
    /// The program that asks.
    pub client: String,
}

/// Begins: codes for the device and for the person. `label` is the `User-Agent` of the device, or words.
pub async fn begin_device(
    app: &App,
    realm: &Realm,
    request: &DeviceAuthorizationRequest,
    label: &str,
) -> Result<DeviceAuthorizationResponse, OAuthError> {
    let known = clients(realm).map_err(refusal)?;
    let client = request.client.authenticate(&known)?.id();
    let now = app.clock.now();
    let device_code = opaque_token("hxd_")?;
    // Two living user codes may not be equal; among 10^10 that needs one more try at most.
    for _ in 0..3 {
        let user_code = UserCode::generate()?;
        let row = DeviceCode {
            device_code_hash: Digest::of(&device_code),
            user_code: user_code.as_str().to_owned(),
            realm: realm.to_string(),
            client_id: client.to_owned(),
            scope: request.scopes.to_string(),
            state: DeviceState::Pending,
            user_id: None,
            session_id: None,
            created_at: now,
            expires_at: now.plus_seconds(CODE_SECONDS),
            interval_s: INTERVAL_SECONDS,
            last_polled_at: None,
            label: label_of(label),
        };
        match insert(app, &row).await {
            Err(StoreError::NotUnique(_)) => {}
            Err(error) => return Err(refusal(error.into())),
            Ok(()) => {
                let page = app.settings.address("/device");
                return Ok(DeviceAuthorizationResponse {
                    device_code,
                    verification_uri_complete: Some(format!("{page}?user_code={user_code}")),
                    verification_uri: page,
                    user_code: user_code.to_string(),
                    expires_in: CODE_SECONDS,
                    interval: INTERVAL_SECONDS,
                });
            }
        }
    }
    Err(refusal(Error::Unavailable("no free code was found; try again".to_owned())))
}

async fn insert(app: &App, row: &DeviceCode) -> Result<(), StoreError> {
    let tx = app.store.begin().await?;
    device_codes::insert(&tx, row).await?;
    tx.commit().await
}

fn too_old() -> Error {
    Error::NotFound("code; it may be too old")
}

fn parse(typed: &str) -> Result<UserCode> {
    UserCode::parse(typed).map_err(|cause| Error::invalid("user_code", cause.to_string()))
}

/// What stands behind a code that a person typed.
///
/// # Errors
/// [`Error::NotFound`] when it is unknown, decided or over.
pub async fn device_prompt(app: &App, typed: &str) -> Result<DevicePrompt> {
    let code = parse(typed)?;
    let row = device_codes::find_pending(&app.store, code.as_str(), app.clock.now()).await?;
    let row = row.ok_or_else(too_old)?;
    Ok(DevicePrompt { user_code: code.to_string(), client: row.client_id })
}

/// The person agrees or refuses. Agreeing makes the device's session.
pub async fn decide_device(app: &App, live: &Live, typed: &str, agree: bool, origin: &Origin) -> Result<()> {
    let code = parse(typed)?;
    let now = app.clock.now();
    let tx = app.store.begin().await?;
    let decided = if agree {
        let row = device_codes::find_pending(&tx, code.as_str(), now).await?.ok_or_else(too_old)?;
        let session = new_session(app, &live.user, SessionKind::Device, &row.label, DEVICE_SECONDS, None)?;
        sessions::store(app, &tx, &session, Credential::Session(live.session.clone()), origin).await?;
        device_codes::approve(&tx, code.as_str(), &live.user, &session.id, now).await?
    } else {
        device_codes::deny(&tx, code.as_str(), &live.user, now).await?
    };
    if !decided {
        return Err(too_old());
    }
    tx.commit().await?;
    Ok(())
}
