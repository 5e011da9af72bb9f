//! The authorisation matrix: every operation of the OpenAPI document, by everybody, on one's own ids, on foreign ones and on
//! ids that do not exist. An operation without a row here fails the run.

mod cast;

use anyhow::{Result, bail};
use reqwest::Method;

use self::cast::{Caller, Cast, Standing};
use crate::strangers::{Ids, operations};

/// What an operation asks of whoever calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    /// To be signed in, or to have a token.
    Anybody,
    /// To change one's own account: no token for reading or for one workspace.
    Account,
    /// To read what was done to one's own account: no token for one workspace.
    OwnAudit,
    /// To manage one's own credentials: no token at all.
    Credentials,
    /// To be in the organisation.
    Organization,
    /// To read what only its admins may.
    AdminReads,
    /// To administer it.
    Admin,
    /// To administer it, without a token.
    AdminInPerson,
    /// To see the workspace.
    Workspace,
    /// To see it and be its member, for what Kubernetes itself decides by the person's own rights.
    Member,
    /// To be its member, for changes that Kubernetes decides.
    MemberWrites,
    /// To administer it.
    WorkspaceAdmin,
    /// To administer the organisation that pays for it: no token for one workspace.
    Payer,
    /// To administer it as its member, for what its admins see with their own rights inside.
    InsideAdminReads,
    /// To administer it as its member, for what its admins change with their own rights inside.
    InsideAdmin,
}

/// Every operation, what it asks, and what is answered to whoever may: a change that is possible once only is asked for in a
/// way that is refused after the question of rights.
const ROWS: &[(&str, &str, Right, u16)] = &[
    ("GET", "/events", Right::Anybody, 200),
    ("POST", "/invitations/accept", Right::Account, 404),
    ("GET", "/me", Right::Anybody, 200),
    ("GET", "/me/audit", Right::OwnAudit, 200),
    ("GET", "/me/identities", Right::Anybody, 200),
    ("DELETE", "/me/identities/{identity}", Right::Credentials, 409),
    ("GET", "/me/sessions", Right::Credentials, 200),
    ("POST", "/me/sessions/end-others", Right::Credentials, 200),
    ("DELETE", "/me/sessions/{session}", Right::Credentials, 204),
    ("GET", "/me/tokens", Right::Credentials, 200),
    ("POST", "/me/tokens", Right::Credentials, 201),
    ("DELETE", "/me/tokens/{token}", Right::Credentials, 204),
    ("GET", "/organizations", Right::Anybody, 200),
    ("POST", "/organizations", Right::Account, 201),
    ("GET", "/organizations/{organization}", Right::Organization, 200),
    ("PATCH", "/organizations/{organization}", Right::Admin, 200),
    ("DELETE", "/organizations/{organization}", Right::Admin, 409),
    ("GET", "/organizations/{organization}/audit", Right::AdminReads, 200),
    ("GET", "/organizations/{organization}/audit/export", Right::AdminReads, 200),
    ("GET", "/organizations/{organization}/audit/head", Right::AdminReads, 200),
    ("GET", "/organizations/{organization}/estimate", Right::AdminReads, 200),
    ("GET", "/organizations/{organization}/invitations", Right::AdminReads, 200),
    ("POST", "/organizations/{organization}/invitations", Right::Admin, 409),
    ("DELETE", "/organizations/{organization}/invitations/{invitation}", Right::Admin, 204),
    ("POST", "/organizations/{organization}/invitations/{invitation}/resend", Right::Admin, 200),
    ("GET", "/organizations/{organization}/members", Right::Organization, 200),
    ("PATCH", "/organizations/{organization}/members/{user}", Right::AdminInPerson, 200),
    ("DELETE", "/organizations/{organization}/members/{user}", Right::Admin, 200),
    ("GET", "/organizations/{organization}/quota", Right::AdminReads, 200),
    ("GET", "/organizations/{organization}/service-accounts", Right::AdminReads, 200),
    ("POST", "/organizations/{organization}/service-accounts", Right::Admin, 201),
    ("GET", "/organizations/{organization}/service-accounts/{account}", Right::AdminReads, 200),
    ("DELETE", "/organizations/{organization}/service-accounts/{account}", Right::Admin, 200),
    ("GET", "/organizations/{organization}/service-accounts/{account}/tokens", Right::AdminReads, 200),
    ("POST", "/organizations/{organization}/service-accounts/{account}/tokens", Right::AdminInPerson, 201),
    ("DELETE", "/organizations/{organization}/service-accounts/{account}/tokens/{token}", Right::Admin, 204),
    ("POST", "/organizations/{organization}/transfer", Right::AdminInPerson, 409),
    ("GET", "/organizations/{organization}/workspaces", Right::Organization, 200),
    ("POST", "/organizations/{organization}/workspaces", Right::Admin, 409),
    ("GET", "/plans", Right::Anybody, 200),
    ("GET", "/workspaces", Right::Anybody, 200),
    ("GET", "/workspaces/{workspace}", Right::Workspace, 200),
    ("DELETE", "/workspaces/{workspace}", Right::WorkspaceAdmin, 202),
    ("GET", "/workspaces/{workspace}/access/explain", Right::Member, 503),
    ("GET", "/workspaces/{workspace}/access/who-can", Right::Member, 503),
    ("GET", "/workspaces/{workspace}/cluster-roles", Right::Workspace, 200),
    ("POST", "/workspaces/{workspace}/cluster-roles", Right::MemberWrites, 503),
    ("GET", "/workspaces/{workspace}/cluster-roles/{role}", Right::Workspace, 200),
    ("PUT", "/workspaces/{workspace}/cluster-roles/{role}", Right::MemberWrites, 503),
    ("DELETE", "/workspaces/{workspace}/cluster-roles/{role}", Right::MemberWrites, 503),
    ("GET", "/workspaces/{workspace}/groups", Right::Workspace, 200),
    ("POST", "/workspaces/{workspace}/groups", Right::WorkspaceAdmin, 409),
    ("GET", "/workspaces/{workspace}/groups/{group}", Right::Workspace, 200),
    ("PATCH", "/workspaces/{workspace}/groups/{group}", Right::WorkspaceAdmin, 200),
    ("DELETE", "/workspaces/{workspace}/groups/{group}", Right::WorkspaceAdmin, 204),
    ("GET", "/workspaces/{workspace}/groups/{group}/members", Right::Workspace, 200),
    ("PUT", "/workspaces/{workspace}/groups/{group}/members/{user}", Right::WorkspaceAdmin, 204),
    ("DELETE", "/workspaces/{workspace}/groups/{group}/members/{user}", Right::WorkspaceAdmin, 204),
    ("GET", "/workspaces/{workspace}/kubeconfig", Right::Workspace, 200),
    ("GET", "/workspaces/{workspace}/kubernetes-events", Right::Member, 503),
    ("GET", "/workspaces/{workspace}/members", Right::Workspace, 200),
    ("POST", "/workspaces/{workspace}/members", Right::WorkspaceAdmin, 201),
    ("DELETE", "/workspaces/{workspace}/members/{user}", Right::WorkspaceAdmin, 204),
    ("GET", "/workspaces/{workspace}/nodes", Right::Workspace, 200),
    ("PUT", "/workspaces/{workspace}/nodes", Right::WorkspaceAdmin, 202),
    ("GET", "/workspaces/{workspace}/pods", Right::Member, 503),
    ("GET", "/workspaces/{workspace}/pods/{namespace}/{pod}/log", Right::Member, 503),
    ("PUT", "/workspaces/{workspace}/plan", Right::Payer, 200),
    ("GET", "/workspaces/{workspace}/projects", Right::Workspace, 200),
    ("POST", "/workspaces/{workspace}/projects", Right::WorkspaceAdmin, 409),
    ("GET", "/workspaces/{workspace}/projects/{project}", Right::Workspace, 200),
    ("PATCH", "/workspaces/{workspace}/projects/{project}", Right::WorkspaceAdmin, 200),
    ("DELETE", "/workspaces/{workspace}/projects/{project}", Right::WorkspaceAdmin, 202),
    ("GET", "/workspaces/{workspace}/projects/{project}/roles", Right::Workspace, 200),
    ("POST", "/workspaces/{workspace}/projects/{project}/roles", Right::MemberWrites, 503),
    ("GET", "/workspaces/{workspace}/projects/{project}/roles/{role}", Right::Workspace, 200),
    ("PUT", "/workspaces/{workspace}/projects/{project}/roles/{role}", Right::MemberWrites, 503),
    ("DELETE", "/workspaces/{workspace}/projects/{project}/roles/{role}", Right::MemberWrites, 503),
    ("GET", "/workspaces/{workspace}/quota", Right::Workspace, 200),
    ("POST", "/workspaces/{workspace}/restore", Right::WorkspaceAdmin, 409),
    ("GET", "/workspaces/{workspace}/role-assignments", Right::Workspace, 200),
    ("POST", "/workspaces/{workspace}/role-assignments", Right::WorkspaceAdmin, 409),
    ("GET", "/workspaces/{workspace}/role-assignments/{assignment}", Right::Workspace, 200),
    ("DELETE", "/workspaces/{workspace}/role-assignments/{assignment}", Right::WorkspaceAdmin, 204),
    ("GET", "/workspaces/{workspace}/service-account-tokens", Right::InsideAdminReads, 503),
    ("POST", "/workspaces/{workspace}/service-account-tokens/revoke", Right::InsideAdmin, 503),
    ("POST", "/workspaces/{workspace}/sleep", Right::WorkspaceAdmin, 409),
    ("PUT", "/workspaces/{workspace}/sleep-rule", Right::WorkspaceAdmin, 200),
    ("POST", "/workspaces/{workspace}/wake", Right::WorkspaceAdmin, 202),
    ("GET", "/workspaces/{workspace}/usage", Right::Member, 503),
];

/// Whose ids stand in the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The ones that the cast lives with.
    Own,
    /// Those of an organisation that nobody of the cast belongs to.
    Foreign,
    /// Of nothing.
    Absent,
}

/// The status that a caller is answered with.
fn expected(right: Right, done: u16, path: &str, caller: &Caller, whose: Whose) -> u16 {
    let Standing { unknown, belongs, admin, member, workspace_admin, reads_only, bound, elsewhere } = caller.standing;
    if unknown {
        return 401;
    }
    let token = caller.is_token;
    let account = match right {
        Right::Anybody => Some(done),
        Right::Account => Some(if reads_only || bound { 403 } else { done }),
        Right::OwnAudit => Some(if bound { 403 } else { done }),
        Right::Credentials if token => return 403,
        Right::Credentials => Some(done),
        _ => None,
    };
    let outside = !belongs && !path.starts_with("/me");
    if path.contains('{') && (whose != Whose::Own || outside) {
        return 404;
    }
    if let Some(status) = account {
        return status;
    }
    let when = |may: bool| if may { done } else { 403 };
    match right {
        Right::Organization => when(!bound),
        Right::AdminReads => when(admin && !bound),
        Right::Admin => when(admin && !bound && !reads_only),
        Right::AdminInPerson => when(admin && !token),
        // What one may not see is as if it were not there.
        _ if elsewhere || !(member || admin) => 404,
        Right::Workspace => done,
        Right::Member => when(member),
        Right::MemberWrites => when(member && !reads_only),
        Right::Payer => when(admin && !reads_only && !bound),
        Right::InsideAdminReads => when(member && workspace_admin),
        Right::InsideAdmin => when(member && workspace_admin && !reads_only),
        _ => when((workspace_admin || admin) && !reads_only),
    }
}

/// The row of an operation.
fn row(method: &Method, path: &str) -> Result<(Right, u16)> {
    match ROWS.iter().find(|row| row.0 == method.as_str() && row.1 == path) {
        Some((_, _, right, done)) => Ok((*right, *done)),
        None => bail!("{method} {path} has no row in the authorisation matrix"),
    }
}

#[tokio::test]
async fn every_operation_answers_everybody_as_the_matrix_says() -> Result<()> {
    let cast = Cast::gather().await?;
    let operations = operations()?;
    assert_eq!(operations.len(), ROWS.len(), "a row without an operation, or an operation twice");
    let (mut cells, mut wrong) = (0, Vec::new());
    for (method, path, body) in &operations {
        let (right, done) = row(method, path)?;
        for whose in [Whose::Own, Whose::Foreign, Whose::Absent] {
            if whose != Whose::Own && !path.contains('{') {
                continue;
            }
            for caller in &cast.callers {
                let expected = expected(right, done, path, caller, whose);
                let (ids, instead) = match whose {
                    Whose::Own if expected == done || path.contains("/roles/") => {
                        cast.target(method, path, caller).await?
                    }
                    Whose::Own => (cast.ids_of(caller), None),
                    Whose::Foreign => (cast.foreign.clone(), None),
                    Whose::Absent => (Ids::absent(), None),
                };
                let api = instead.as_ref().unwrap_or(&caller.api);
                let found = cast.ask(api, method, path, &ids, body.as_ref()).await?;
                cells += 1;
                if found.status != expected {
                    let name = caller.name;
                    wrong.push(format!(
                        "{method} {path}, {whose:?}, {name}: {} instead of {expected}: {}",
                        found.status, found.text
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cells} cells:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cells > 1_500, "{cells}");
    Ok(())
}
