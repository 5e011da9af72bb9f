//! What is used in namespaces that an edit leaves less: the project's own, and that of the project which gives it its share.

use hexabase_backends::store::projects::{self, Project};
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_core::ids::ProjectId;
use hexabase_core::quota::{Amounts, Ledger};
use hexabase_reconcile::ProjectUsage;

use super::is_wanted;
use crate::context::App;
use crate::error::Result;
use crate::quota::{self, QuotaRequest};
use crate::tenant;

/// What is used in each of them. Nothing is known of that, and nothing refused, when the workspace does not answer or the caller may
/// not look: then Kubernetes refuses what is new until less is used.
#[derive(Default)]
pub(super) struct Used(Vec<(Project, ProjectUsage)>);

impl Used {
    /// Before a project is made below this one. Not to be called inside a transaction.
    pub(super) async fn before_create(app: &App, scope: &WorkspaceScope, parent: &ProjectId) -> Result<Self> {
        let parent = projects::get(&app.store, scope, parent).await?;
        Ok(Self::ask(app, scope, parent).await)
    }

    /// Before a project is changed; `place` is where it is to stand, if that is said. Not to be called inside a transaction.
    pub(super) async fn before_update(
        app: &App,
        scope: &WorkspaceScope,
        id: &ProjectId,
        quota: &QuotaRequest,
        place: Option<&Option<ProjectId>>,
    ) -> Result<Self> {
        let Some(project) = projects::get(&app.store, scope, id).await? else { return Ok(Self::default()) };
        let parent = place.unwrap_or(&project.parent_id);
        let takes = *parent != project.parent_id || quota.raises(&project.limits);
        let above = match parent {
            Some(parent) if takes => projects::get(&app.store, scope, parent).await?,
            Some(_) | None => None,
        };
        let own = quota.lowers(&project.limits).then_some(project);
        Ok(Self::ask(app, scope, own.into_iter().chain(above)).await)
    }

    /// One whose namespace is not there yet uses nothing; one that was ready is not called so while something of it is missing.
    async fn ask(app: &App, scope: &WorkspaceScope, projects: impl IntoIterator<Item = Project>) -> Self {
        let projects: Vec<Project> = projects.into_iter().filter(is_wanted).collect();
        let mut used = Vec::new();
        if projects.is_empty() {
            return Self(used);
        }
        let Ok(user) = tenant::as_caller(app, scope).await else { return Self(used) };
        for project in projects {
            if let Ok(usage) = user.project_usage(&project.name).await {
                used.push((project, usage));
            }
        }
        Self(used)
    }

    /// What is used in the project's own namespace, as far as that is known.
    pub(super) fn of(&self, id: Option<&ProjectId>) -> Amounts {
        let found = self.0.iter().find(|(project, _)| Some(&project.id) == id);
        found.map_or(Amounts::NONE, |(_, usage)| usage.used.clone())
    }

    /// Refuses an edit of the project `edited` that leaves one of them less than is used there.
    pub(super) fn check(
        &self,
        before: &Ledger<ProjectId>,
        after: &Ledger<ProjectId>,
        edited: &ProjectId,
    ) -> Result<()> {
        self.0.iter().try_for_each(|(project, usage)| {
            let (before, after) = (before.left(Some(&project.id)), after.left(Some(&project.id)));
            let gives = project.id != *edited;
            quota::check_used(&project.name, usage, (&before, &after), gives)
        })
    }
}
