//! Making the tokens that a grant answers with.

use hexabase_backends::store::refresh_tokens::RefreshToken;
use hexabase_backends::store::sessions::{Session, SessionKind};
use hexabase_backends::store::{Digest, users};
use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_core::time::Timestamp;
use hexabase_oidc::claims::{AccessClaims, AccessGrant, Audience, IdTokenClaims, WorkspaceSignIn};
use hexabase_oidc::jwt::{Typ, half_hash};
use hexabase_oidc::provider::{ClaimsRequest, Client, Scopes, TokenResponse};
use hexabase_oidc::random::random_id;
use hexabase_oidc::{Issuer, opaque_token};
use serde::{Deserialize, Serialize};

use super::HXB;
use crate::context::App;
use crate::error::{Error, Result};
use crate::gateway::Basis;
use crate::issuer::{ALGORITHM, API_AUDIENCE, Realm, WorkspaceBearer, check_member, groups_of, workspace_token};
use crate::sessions::{DEVICE_SECONDS, new_session};

/// Seconds an access token lives.
pub(super) const ACCESS_SECONDS: i64 = 600;
/// Seconds an ID token lives: it is read once, when somebody signs in.
const ID_TOKEN_SECONDS: i64 = 600;

/// Claims about a person that a client may ask for one by one.
const CLAIMS: [&str; 3] = ["name", "email", "email_verified"];

impl Realm {
    /// The scopes that mean something here; others are ignored.
    pub(super) fn scopes(&self) -> &'static [&'static str] {
        match self {
            Self::Platform => &["openid", "profile", "email", "offline_access"],
            Self::Workspace(_) => &["openid", "profile", "email", "groups", "offline_access"],
        }
    }
}

/// Single claims that were asked for, and that there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) userinfo: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) id_token: Vec<String>,
}

impl Wanted {
    pub(super) fn of(realm: &Realm, asked: &ClaimsRequest) -> Self {
        let groups = matches!(realm, Realm::Workspace(_)).then_some("groups");
        let known = |name: &&String| CLAIMS.into_iter().chain(groups).any(|claim| claim == name.as_str());
        let some = |names: &[String]| names.iter().filter(known).cloned().collect();
        Self { userinfo: some(&asked.userinfo), id_token: some(&asked.id_token) }
    }

    /// As the store keeps it.
    pub(super) fn stored(&self) -> Result<Option<String>> {
        if *self == Self::default() {
            return Ok(None);
        }
        serde_json::to_string(self).map(Some).map_err(Error::internal)
    }

    fn read(stored: Option<&str>) -> Result<Self> {
        stored.map_or_else(|| Ok(Self::default()), |text| serde_json::from_str(text).map_err(Error::internal))
    }
}

/// What a person recognises a client's session by: the name under which the operator registered it. A program of ours runs on
/// a machine of the person's own, of which its `User-Agent` tells.
pub(super) fn label<'a>(realm: &Realm, client: &'a Client, agent: &'a str) -> &'a str {
    let ours = client.id() == HXB || matches!(realm, Realm::Workspace(workspace) if client.id() == workspace.as_str());
    if ours { agent } else { client.name() }
}

/// Whether a refresh token was granted, for a program that wants to act while nobody looks.
pub(super) fn may_refresh(granted: &Scopes) -> bool {
    granted.contains("offline_access")
}

/// The session of a client, which is not yet stored. Without a refresh token nobody could use it any more once its access token
/// is over, so that it ends then.
pub(super) fn session_for(app: &App, user: &UserId, label: &str, granted: &Scopes) -> Result<Session> {
    let seconds = if may_refresh(granted) { DEVICE_SECONDS } else { ACCESS_SECONDS };
    new_session(app, user, SessionKind::Device, label, seconds, None)
}

/// Whom tokens are for, and what they may say.
pub(super) struct Holder<'a> {
    pub(super) realm: &'a Realm,
    pub(super) client: &'a Client,
    /// The client's own, of the person whom they tell about.
    pub(super) session: &'a Session,
    /// What was granted.
    pub(super) scopes: Scopes,
    /// When the person had signed in.
    pub(super) auth_time: Option<Timestamp>,
    /// [`Wanted`], as stored.
    pub(super) claims: Option<String>,
}

impl Holder<'_> {
    fn issuer(&self, app: &App) -> Result<Issuer> {
        Issuer::parse(&self.realm.issuer(&app.settings)).map_err(Error::internal)
    }
}

/// The short-lived tokens of a grant: an access token and, where `openid` was asked for, an ID token.
pub(super) async fn short_lived(app: &App, holder: &Holder<'_>, nonce: Option<String>) -> Result<TokenResponse> {
    let wanted = Wanted::read(holder.claims.as_deref())?;
    let mut response = access_token(app, holder, &wanted).await?;
    if holder.scopes.contains("openid") {
        let at_hash = Some(half_hash(&response.access_token));
        response.id_token = Some(
            id_token(
                app,
                holder,
                &wanted,
                WorkspaceSignIn { nonce, auth_time: holder.auth_time.map(Timestamp::as_seconds), at_hash },
            )
            .await?,
        );
    }
    response.scope = Some(holder.scopes.to_string()).filter(|scope| !scope.is_empty());
    Ok(response)
}

/// An access token. For a client that acts for people it is good at the realm's API: the platform's, or the workspace's API
/// server. For any other it is good at userinfo alone.
async fn access_token(app: &App, holder: &Holder<'_>, wanted: &Wanted) -> Result<TokenResponse> {
    let Holder { realm, session, client, scopes, .. } = holder;
    let issuer = holder.issuer(app)?;
    let audience = match realm {
        Realm::Platform if client.acts_for_people() => API_AUDIENCE,
        Realm::Platform => issuer.as_str(),
        Realm::Workspace(workspace) if client.acts_for_people() => {
            let (token, seconds) = of_workspace(app, holder, workspace, WorkspaceSignIn::default()).await?;
            return Ok(TokenResponse::bearer(token, seconds));
        }
        Realm::Workspace(workspace) => {
            check_member(app, workspace, &session.user_id).await?;
            issuer.as_str()
        }
    };
    let now = app.clock.now().as_seconds();
    let claims = AccessClaims::new(AccessGrant {
        issuer: &issuer,
        subject: session.user_id.as_str(),
        audience,
        client_id: client.id(),
        session: session.id.as_str(),
        scope: Some(scopes.to_string()).filter(|scope| !scope.is_empty()),
        userinfo: Some(wanted.userinfo.join(" ")).filter(|names| !names.is_empty()),
        now,
        life: ACCESS_SECONDS,
        jti: random_id().map_err(Error::internal)?,
    })
    .map_err(Error::internal)?;
    let token = app.keys.with(|ring| ring.sign(ALGORITHM, &claims, Typ::AccessToken, now)).map_err(Error::internal)?;
    Ok(TokenResponse::bearer(token, ACCESS_SECONDS))
}

async fn of_workspace(
    app: &App,
    holder: &Holder<'_>,
    workspace: &WorkspaceId,
    sign_in: WorkspaceSignIn,
) -> Result<(String, i64)> {
    let Holder { session, client, .. } = holder;
    let basis = Basis::Session(session.id.clone());
    let (user, basis, client) = (&session.user_id, Some(&basis), Some(client.id()));
    workspace_token(app, WorkspaceBearer { workspace, user, basis, client, sign_in }).await
}

/// An ID token. What userinfo tells it does not repeat, except for what was asked for by name and, for programs that know
/// no userinfo, groups. For the client that is called like the workspace it is what the tenant's API server believes.
async fn id_token(app: &App, holder: &Holder<'_>, wanted: &Wanted, sign_in: WorkspaceSignIn) -> Result<String> {
    let Holder { realm, session, client, scopes, .. } = holder;
    let user = &session.user_id;
    let mut groups = None;
    if let Realm::Workspace(workspace) = realm {
        if client.id() == workspace.as_str() {
            return Ok(of_workspace(app, holder, workspace, sign_in).await?.0);
        }
        if scopes.contains("groups") || wanted.id_token.iter().any(|name| name == "groups") {
            groups = Some(groups_of(app, workspace, user).await?);
        }
    }
    let person = users::get(&app.store, user).await?.ok_or(Error::NotFound("user"))?;
    let asked = |name: &str| wanted.id_token.iter().any(|wanted| wanted == name);
    let now = app.clock.now().as_seconds();
    let algorithm = client.id_token_algorithm();
    let claims = IdTokenClaims {
        iss: holder.issuer(app)?.into(),
        sub: user.to_string(),
        aud: Audience::One(client.id().to_owned()),
        exp: now + ID_TOKEN_SECONDS,
        iat: now,
        auth_time: sign_in.auth_time,
        nonce: sign_in.nonce,
        azp: Some(client.id().to_owned()),
        at_hash: sign_in.at_hash,
        sid: Some(session.id.to_string()),
        email_verified: (asked("email_verified") || asked("email")).then_some(person.email_verified),
        email: person.email.filter(|_| asked("email")),
        name: asked("name").then(|| person.display_name.into()),
        picture: None,
        groups,
    };
    app.keys.with(|ring| ring.sign(algorithm, &claims, Typ::Jwt, now)).map_err(Error::internal)
}

/// A refresh token and its row, which is not yet stored. It keeps all that was granted, whatever `holder` asks for now.
pub(super) fn refresh(app: &App, holder: &Holder<'_>, granted: &Scopes) -> Result<(String, RefreshToken)> {
    let token = opaque_token("hxr_").map_err(Error::internal)?;
    let now = app.clock.now();
    let row = RefreshToken {
        token_hash: Digest::of(&token),
        session_id: holder.session.id.clone(),
        user_id: holder.session.user_id.clone(),
        realm: holder.realm.to_string(),
        client_id: holder.client.id().to_owned(),
        scope: granted.to_string(),
        created_at: now,
        expires_at: now.plus_seconds(DEVICE_SECONDS),
        rotated_at: None,
        replaced_by: None,
        auth_time: holder.auth_time,
        claims: holder.claims.clone(),
    };
    Ok((token, row))
}
