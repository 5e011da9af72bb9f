//! The token of an invitation: in the database as a digest, and sealed for as long as a mail with it has to be sent.

use hexabase_backends::seal::Place;
use hexabase_backends::store::Digest;
use hexabase_backends::store::invitations::Invitation;
use hexabase_core::ids::InvitationId;
use hexabase_core::invitations::Language;
use hexabase_oidc::opaque_token;

use crate::context::App;
use crate::error::{Error, Result};

/// What is left of a token once it is made.
pub(super) struct Issued {
    pub(super) hash: Digest,
    /// For the job that sends the mail, where one does.
    pub(super) sealed: Option<Vec<u8>>,
    /// For the inviter, where no mail is sent.
    pub(super) accept_url: Option<String>,
}

pub(super) fn issue(app: &App, id: &InvitationId, language: Language) -> Result<Issued> {
    let token = opaque_token("hxi_").map_err(Error::internal)?;
    let hash = Digest::of(&token);
    if !app.mailer.sends() {
        return Ok(Issued { hash, sealed: None, accept_url: Some(link(app, language, &token)) });
    }
    let sealed = app.sealer.seal(place(id), token.as_bytes()).map_err(Error::internal)?;
    Ok(Issued { hash, sealed: Some(sealed), accept_url: None })
}

/// The token that is sealed in a row.
pub(crate) fn opened(app: &App, row: &Invitation) -> Result<Option<String>> {
    let Some(sealed) = &row.token_sealed else { return Ok(None) };
    let plain = app.sealer.open(place(&row.id), sealed).map_err(Error::internal)?;
    Ok(Some(String::from_utf8_lossy(&plain).into_owned()))
}

fn place(id: &InvitationId) -> Place<'_> {
    Place { purpose: "invitations.token_sealed", row: id.as_str() }
}

/// What the invited person opens. The token stands behind the `#`, which browsers send to no server.
pub(super) fn link(app: &App, language: Language, token: &str) -> String {
    let query = match language {
        Language::English => "",
        Language::Japanese => "?language=ja",
    };
    app.settings.address(&format!("/invitation{query}#token={token}"))
}
