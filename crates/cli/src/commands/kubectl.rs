//! `hxb kubeconfig` and `hxb credential`: what kubectl needs.

use std::path::PathBuf;

use hexabase_api::workspaces::Workspace;
use hexabase_core::ids::WorkspaceId;
use hexabase_core::phases::WorkspacePhase;

use crate::args::Plugin;
use crate::client::Api;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::files::{self, KubeconfigLock};
use crate::kubeconfig::{Entry, Login, holder, merge, standalone};
use crate::output::{self, say};
use crate::{credential, resolve};

/// Where the entry goes, and how it is called.
pub(crate) struct Target {
    pub(crate) file: Option<PathBuf>,
    pub(crate) print: bool,
    pub(crate) name: Option<String>,
    pub(crate) set_current: bool,
    pub(crate) plugin: Plugin,
}

pub(crate) async fn kubeconfig(context: &Context, wanted: &str, target: Target) -> Result<()> {
    let api = context.api()?;
    let workspace = resolve::workspace(&api, wanted).await?.value;
    let going = going(&workspace);
    let server = api.server().to_owned();
    let certificate_authority = context.certificate_authority(&server)?;
    let login = match target.plugin {
        Plugin::Hxb => own_login(context, &server, &workspace.id)?,
        Plugin::Kubelogin => Login::kubelogin(&server, workspace.id.as_str(), certificate_authority.as_deref()),
    };
    let entry = Entry {
        name: format!("hexabase-{}", workspace.id),
        context: target.name.unwrap_or_else(|| format!("hexabase-{}", workspace.name)),
        certificate_authority,
        server: workspace.server,
        login,
    };
    if target.print {
        return output::write(&standalone(&entry)?);
    }
    let (path, only, elsewhere) = match target.file {
        Some(path) => (path, true, true),
        None => {
            let (path, only) = context.environment.kubeconfig()?;
            (path, only, false)
        }
    };
    // Asked before the file is locked: kubectl does not wait for the lock.
    let gone = gone(&api, holder(&files::read(&path)?.unwrap_or_default(), &entry)?).await?;
    let lock = KubeconfigLock::take(&path).await?;
    let existing = files::read(&path)?.unwrap_or_default();
    // kubectl with a file of one context and no current one would talk to localhost.
    let set_current = target.set_current || (only && existing.trim().is_empty());
    files::replace(&path, &merge(&existing, &entry, gone.as_ref(), set_current)?)?;
    drop(lock);
    let written = format!("Context {} is in {}.", entry.context, path.display());
    if let Some(going) = going {
        say(&format!("{written} {going}"));
        return Ok(());
    }
    let file = if elsewhere { format!(" --kubeconfig {}", path.display()) } else { String::new() };
    let select = if set_current { String::new() } else { format!(" --context {}", entry.context) };
    say(&format!("{written} Try: kubectl{file}{select} get namespaces"));
    Ok(())
}

/// Why kubectl cannot use the workspace for long, or not at all, if it is one that goes.
fn going(workspace: &Workspace) -> Option<String> {
    let Workspace { name, id, phase, removal_at, .. } = workspace;
    match (phase, removal_at) {
        (WorkspacePhase::ToBeDeleted, Some(at)) => Some(format!(
            "Workspace {name} is closed and will be deleted at {at}; to use it before: hxb workspace restore {id}"
        )),
        (WorkspacePhase::ToBeDeleted | WorkspacePhase::Deleting | WorkspacePhase::Deleted, _) => {
            Some(format!("Workspace {name} is {phase} and cannot be used."))
        }
        _ => None,
    }
}

/// How kubectl starts this program.
fn own_login(context: &Context, server: &str, workspace: &WorkspaceId) -> Result<Login> {
    let program = std::env::current_exe()
        .map_err(|error| Error::new(Kind::Failure, "cannot find this program's path").because(error))?;
    let mut options = Vec::new();
    if !context.default_file {
        options.extend(["--config".to_owned(), context.file.path().display().to_string()]);
    }
    for (option, path) in [("--token-file", &context.token_file), ("--certificate-authority", &context.authority_file)]
    {
        options.extend(path.iter().flat_map(|path| [option.to_owned(), path.display().to_string()]));
    }
    Ok(Login::own(context.environment.command_name(&program), server, workspace.as_str(), options))
}

/// The workspace, if it is deleted or cannot be seen any more.
async fn gone(api: &Api, workspace: Option<WorkspaceId>) -> Result<Option<WorkspaceId>> {
    let Some(id) = workspace else { return Ok(None) };
    match api.get::<Workspace>(&["workspaces", id.as_str()]).await {
        Ok(found) => Ok((found.value.phase == WorkspacePhase::Deleted).then_some(id)),
        Err(error) if error.kind() == Kind::NotFound => Ok(Some(id)),
        Err(error) => Err(error),
    }
}

pub(crate) async fn credential(context: &Context, workspace: &str) -> Result<()> {
    let workspace: WorkspaceId = workspace.parse().map_err(|_| {
        Error::new(Kind::Usage, format!("{workspace:?} is not a workspace id"))
            .hint("write the kubeconfig again with: hxb kubeconfig")
    })?;
    let token = credential::workspace_token(&context.api()?.sessions, &workspace).await?;
    output::write(&format!("{}\n", token.exec_credential()))
}
