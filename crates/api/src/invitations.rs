//! Invitations into organisations.

use hexabase_core::ids::{InvitationId, OrganizationId, UserId, WorkspaceId};
use hexabase_core::invitations::{InvitationState, Language, MailState};
use hexabase_core::roles::OrganizationRole;
use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A person to be invited.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationCreate {
    /// The person's address. Only whoever has it, verified by their identity provider, can accept.
    #[schema(example = "bob@example.com")]
    pub email: String,
    /// What the person will be able to do in the organisation.
    #[serde(default = "member")]
    #[schema(value_type = String, example = "member", default = "member")]
    pub role: OrganizationRole,
    /// Workspaces of the organisation that the person will have access to.
    #[serde(default)]
    pub workspaces: Vec<InvitationWorkspaceCreate>,
    /// Language of the mail: `en` or `ja`.
    #[serde(default = "english")]
    #[schema(value_type = String, example = "en", default = "en")]
    pub language: Language,
}

fn member() -> OrganizationRole {
    OrganizationRole::Member
}

fn english() -> Language {
    Language::English
}

/// A workspace that an invitation is to open.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationWorkspaceCreate {
    /// Its id.
    #[schema(example = "ws-01ja2m4qk8v5x3c7d9ef")]
    pub workspace: String,
    /// Names of groups; `WSUsers` when empty.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// The token of an invitation. Not printable by accident: whoever has it may use it.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationAccept {
    /// As the mail or the inviter told it.
    #[schema(example = "hxi_…")]
    pub token: String,
}

/// An invitation into an organisation.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Invitation {
    /// Opaque id.
    #[schema(value_type = String)]
    pub id: InvitationId,
    /// Into which organisation.
    #[schema(value_type = String)]
    pub organization: OrganizationId,
    /// Whose address.
    pub email: String,
    /// What the person will be able to do in the organisation.
    #[schema(value_type = String, example = "member")]
    pub role: OrganizationRole,
    /// Workspaces that it opens, as far as they are still there.
    pub workspaces: Vec<InvitationWorkspace>,
    /// Language of the mail.
    #[schema(value_type = String, example = "en")]
    pub language: Language,
    /// `pending`, `accepted`, `revoked` or `expired`.
    #[schema(value_type = String, example = "pending")]
    pub state: InvitationState,
    /// Who vouches for it: who invited, or sent it again last.
    #[schema(value_type = String)]
    pub invited_by: UserId,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// From when on it can no longer be accepted.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// Who accepted it.
    #[schema(value_type = Option<String>)]
    pub accepted_by: Option<UserId>,
    /// When it was accepted.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub accepted_at: Option<Timestamp>,
    /// How often it was sent again.
    pub resent: u32,
    /// What has become of its mail; absent where the server sends none.
    pub mail: Option<InvitationMail>,
    /// What the person has to open, to be passed on by the inviter. Told once, when the invitation is made or sent again,
    /// and only where the server sends no mail.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accept_url: Option<String>,
}

/// A workspace that an invitation opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvitationWorkspace {
    /// The workspace.
    #[schema(value_type = String)]
    pub workspace: WorkspaceId,
    /// Its name.
    pub name: String,
    /// Names of the groups the person will be in.
    pub groups: Vec<String>,
}

/// What has become of an invitation's mail.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct InvitationMail {
    /// `queued`, `sent` or `failed`.
    #[schema(value_type = String, example = "sent")]
    pub state: MailState,
    /// What the mail server said, where something is wrong.
    pub message: Option<String>,
}

/// What an invitation has given.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct InvitationAccepted {
    /// The organisation.
    #[schema(value_type = String)]
    pub organization: OrganizationId,
    /// Its name.
    pub name: String,
    /// What the caller may do there now.
    #[schema(value_type = String, example = "member")]
    pub role: OrganizationRole,
    /// The workspaces that were opened.
    pub workspaces: Vec<InvitationWorkspace>,
}
