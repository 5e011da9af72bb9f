//! Signing in on a device without a browser (RFC 8628).

use hexabase_backends::store::device_codes::{self, DeviceCode, DeviceState};
use hexabase_backends::store::{Digest, StoreError, sessions as session_rows, workspaces};
use hexabase_core::ids::UserId;
use hexabase_oidc::opaque_token;
use hexabase_oidc::provider::{
    Client, DeviceAuthorizationRequest, DeviceAuthorizationResponse, OAuthError, Scopes, UserCode,
};

use super::{clients, refusal, tokens};
use crate::context::{App, Credential, Origin};
use crate::error::{Error, Result};
use crate::issuer::{Realm, check_member};
use crate::sessions::{self, Live, label_of};

const CODE_SECONDS: i64 = 600;
const INTERVAL_SECONDS: i64 = 2;

/// What a person is asked to confirm.
#[derive(Debug, Clone)]
pub struct DevicePrompt {
    /// The code as the device shows it.
    pub user_code: String,
    /// What people know the program by that asks.
    pub client: String,
    /// Whether it will act for the person, and not only learn who they are.
    pub acts_for_people: bool,
    /// The name of the workspace that it asks for; without one it asks for the platform.
    pub workspace: Option<String>,
}

/// Begins: codes for the device and for the person. `label` is the `User-Agent` of the device, or words.
pub async fn begin_device(
    app: &App,
    realm: &Realm,
    request: &DeviceAuthorizationRequest,
    label: &str,
) -> Result<DeviceAuthorizationResponse, OAuthError> {
    let known = clients(app, realm).map_err(refusal)?;
    let client = request.client.authenticate(&known)?;
    let label = label_of(tokens::label(realm, client, label));
    let now = app.clock.now();
    let device_code = opaque_token("hxd_")?;
    // Two living user codes may not be equal; among 10^10 that needs one more try at most.
    for _ in 0..3 {
        let user_code = UserCode::generate()?;
        let row = DeviceCode {
            device_code_hash: Digest::of(&device_code),
            user_code: user_code.as_str().to_owned(),
            realm: realm.to_string(),
            client_id: client.id().to_owned(),
            scope: request.scopes.limited_to(realm.scopes()).to_string(),
            state: DeviceState::Pending,
            user_id: None,
            session_id: None,
            created_at: now,
            expires_at: now.plus_seconds(CODE_SECONDS),
            interval_s: INTERVAL_SECONDS,
            last_polled_at: None,
            auth_time: None,
            label: label.clone(),
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

/// A device that waits for a decision.
struct Waiting {
    row: DeviceCode,
    realm: Realm,
    client: Client,
}

/// What stands behind a code, if it can come to anything when `user` agrees: nobody lets a program into a workspace that they
/// are not in.
async fn waiting(app: &App, user: &UserId, code: &UserCode) -> Result<Waiting> {
    let row = device_codes::find_pending(&app.store, code.as_str(), app.clock.now()).await?.ok_or_else(too_old)?;
    let realm: Realm = row.realm.parse()?;
    if let Realm::Workspace(workspace) = &realm {
        check_member(app, workspace, user).await?;
    }
    let mut known = clients(app, &realm)?.into_iter();
    let client = known.find(|client| client.id() == row.client_id).ok_or_else(too_old)?;
    Ok(Waiting { row, realm, client })
}

/// What stands behind a code that a person typed.
///
/// # Errors
/// [`Error::NotFound`] when it is unknown, decided or over; [`Error::Forbidden`] when it is for a workspace that the person is
/// no member of.
pub async fn device_prompt(app: &App, live: &Live, typed: &str) -> Result<DevicePrompt> {
    let code = parse(typed)?;
    let Waiting { realm, client, .. } = waiting(app, &live.user, &code).await?;
    let workspace = match &realm {
        Realm::Platform => None,
        Realm::Workspace(id) => workspaces::load_for_issuer(&app.store, id).await?.map(|row| row.name.to_string()),
    };
    let (client, acts_for_people) = (client.name().to_owned(), client.acts_for_people());
    Ok(DevicePrompt { user_code: code.to_string(), client, acts_for_people, workspace })
}

/// The person agrees or refuses. Agreeing makes the device's session.
///
/// # Errors
/// As for [`device_prompt`], and [`Error::Unauthenticated`] when the browser's session has just ended.
pub async fn decide_device(app: &App, live: &Live, typed: &str, agree: bool, origin: &Origin) -> Result<()> {
    let code = parse(typed)?;
    let now = app.clock.now();
    let agreed = match agree {
        true => Some(waiting(app, &live.user, &code).await?),
        false => None,
    };
    let tx = app.store.begin().await?;
    let browser = session_rows::find_live(&tx, &live.session, now).await?.ok_or_else(sessions::ended)?;
    let decided = match agreed {
        Some(Waiting { row, realm, client }) => {
            let granted = Scopes::parse(&row.scope).map_err(Error::internal)?;
            let session = tokens::session_for(app, &live.user, &row.label, &granted)?;
            let client = Some((&realm, client.id()));
            sessions::store(app, &tx, &session, Credential::Session(browser.id.clone()), client, origin).await?;
            let auth_time = sessions::auth_time(&browser);
            device_codes::approve(&tx, code.as_str(), &live.user, &session.id, auth_time, now).await?
        }
        None => device_codes::deny(&tx, code.as_str(), &live.user, now).await?,
    };
    if !decided {
        return Err(too_old());
    }
    tx.commit().await?;
    Ok(())
}
