//! What is found in the course of one call, step by step.

use std::time::Duration;

use hexabase_core::ids::ProjectId;
use hexabase_core::phases::{ProjectPhase, WorkspaceStep};
use hexabase_core::quota::Amounts;

use crate::error::ReconcileError;
use crate::status::{Fit, Observed, Progress, StepStatus, TenantEndpoint};

/// What has been found so far.
#[derive(Default)]
pub(crate) struct Ledger {
    steps: Vec<StepStatus>,
    pub(crate) tenant: Option<TenantEndpoint>,
    pub(crate) projects: Vec<(ProjectId, ProjectPhase)>,
    pub(crate) project_rights: Option<Progress>,
    pub(crate) used: Option<Amounts>,
    pub(crate) moved: Option<Progress>,
    pub(crate) fit: Option<Fit>,
    pub(crate) contested: Option<String>,
}

impl Ledger {
    /// Notes a step; says whether it is done.
    pub(crate) fn record(&mut self, step: WorkspaceStep, progress: Progress) -> bool {
        let done = progress == Progress::Done;
        self.steps.push(StepStatus { step, progress });
        done
    }

    /// What somebody else goes on writing into is used as it is: it is told of, and holds up nothing.
    pub(crate) fn bear(&mut self, applied: Result<(), ReconcileError>) -> Result<(), ReconcileError> {
        match applied {
            Err(error @ ReconcileError::Contested { .. }) => {
                self.contested = Some(error.to_string());
                Ok(())
            }
            applied => applied,
        }
    }

    /// Every step, in order. Those that were not taken wait for the first that is not done.
    pub(crate) fn finish(mut self) -> Observed {
        let waiting = self.steps.iter().find_map(|status| match &status.progress {
            Progress::Wait { after, .. } => Some((status.step.as_str(), *after)),
            Progress::Done => None,
        });
        let (first, after) = waiting.unwrap_or(("", Duration::ZERO));
        let unknown = || Progress::Wait { reason: format!("waits for {first}"), after };
        let project_rights = self.project_rights.unwrap_or_else(unknown);
        let mut steps = Vec::with_capacity(WorkspaceStep::ALL.len());
        for step in WorkspaceStep::ALL {
            let known = self.steps.iter().position(|status| status.step == *step);
            steps.push(match known {
                Some(place) => self.steps.swap_remove(place),
                None => {
                    let reason = format!("waits for {first}");
                    StepStatus { step: *step, progress: Progress::Wait { reason, after } }
                }
            });
        }
        let Self { tenant, projects, used, moved, fit, contested, .. } = self;
        Observed { steps, tenant, projects, project_rights, used, moved, fit, contested, unbound: None }
    }
}

/// What the API server refused, or the chart, is not broken but has to wait for somebody: the reason is shown.
pub(crate) fn settle<T>(result: Result<T, ReconcileError>) -> Result<Result<T, Progress>, ReconcileError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(ReconcileError::Refused { action, object, code, message }) => {
            // A conflict or a missing namespace is somebody else's change a moment ago.
            let after = if matches!(code, 404 | 409) { 500 } else { 10_000 };
            Ok(Err(Progress::wait(after, format!("{action} {object}: {message}"))))
        }
        Err(error @ (ReconcileError::Rendering { .. } | ReconcileError::Contested { .. })) => {
            Ok(Err(Progress::wait(30_000, error.to_string())))
        }
        Err(error) => Err(error),
    }
}

/// Nothing that a tenant's API server does may fail the whole call.
pub(crate) fn tolerate<T>(result: Result<T, ReconcileError>) -> Result<T, Progress> {
    match settle(result) {
        Ok(settled) => settled,
        Err(error) => {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            Err(Progress::wait(2_000, format!("{error}{source}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_reported_in_order_and_later_ones_wait_for_the_first_that_waits() {
        let mut ledger = Ledger::default();
        assert!(ledger.record(WorkspaceStep::Namespace, Progress::Done));
        assert!(!ledger.record(WorkspaceStep::Limits, Progress::wait(150, "ResourceQuota hexabase: not counted")));
        let observed = ledger.finish();
        let steps: Vec<WorkspaceStep> = observed.steps.iter().map(|status| status.step).collect();
        assert_eq!(steps, WorkspaceStep::ALL);
        let (step, reason, after) = observed.waiting().unwrap();
        assert_eq!((step, after), (WorkspaceStep::Limits, Duration::from_millis(150)));
        assert!(reason.starts_with("ResourceQuota"));
        assert!(observed.is_done(WorkspaceStep::Namespace) && !observed.is_done(WorkspaceStep::Limits));
    }

    #[test]
    fn a_step_that_was_taken_ahead_of_one_that_waits_keeps_its_own_status() {
        let mut ledger = Ledger::default();
        ledger.record(WorkspaceStep::Namespace, Progress::Done);
        ledger.record(WorkspaceStep::Limits, Progress::wait(10_000, "apply LimitRange hexabase: forbidden"));
        ledger.record(WorkspaceStep::Access, Progress::Done);
        let observed = ledger.finish();
        let progress = |place: usize| &observed.steps[place].progress;
        assert_eq!(progress(5), &Progress::Done);
        assert_eq!(progress(2), &Progress::wait(10_000, "waits for limits"));
        assert!(!observed.is_done(WorkspaceStep::Access));
    }

    #[test]
    fn a_workspace_is_open_once_every_right_in_its_projects_is_true_as_well() {
        let found = |rights: Option<Progress>| {
            let mut ledger = Ledger { project_rights: rights, ..Ledger::default() };
            ledger.record(WorkspaceStep::Access, Progress::Done);
            ledger.record(WorkspaceStep::Projects, Progress::wait(150, "project shop: its namespace is being made"));
            ledger.finish().is_open()
        };
        assert!(found(Some(Progress::Done)));
        assert!(!found(Some(Progress::wait(1_000, "project shop: delete RoleBinding x: forbidden"))) && !found(None));
    }

    #[test]
    fn what_somebody_else_goes_on_writing_into_is_told_of_and_holds_up_nothing() {
        let mut ledger = Ledger::default();
        let [object, namespace, managers] = ["Secret x", "n", "injector"].map(str::to_owned);
        assert!(ledger.bear(Err(ReconcileError::Contested { object, namespace, managers })).is_ok());
        assert!(ledger.contested.as_deref().is_some_and(|told| told.starts_with("Secret x: injector")));
        let fenced = ReconcileError::Fenced { namespace: "n".to_owned(), own: 1, found: 2 };
        assert!(ledger.bear(Err(fenced)).is_err());
    }

    #[test]
    fn what_the_api_server_refuses_is_shown_and_tried_again() {
        let refused = |code| ReconcileError::Refused {
            action: "apply",
            object: "StatefulSet ws".to_owned(),
            code,
            message: "spec is immutable".to_owned(),
        };
        let Ok(Err(Progress::Wait { reason, after })) = settle::<()>(Err(refused(422))) else { panic!() };
        assert_eq!(reason, "apply StatefulSet ws: spec is immutable");
        assert_eq!(after, Duration::from_secs(10));
        let Ok(Err(Progress::Wait { after, .. })) = settle::<()>(Err(refused(409))) else { panic!() };
        assert!(after < Duration::from_secs(1));
        let fenced = ReconcileError::Fenced { namespace: "n".to_owned(), own: 1, found: 2 };
        assert!(settle::<()>(Err(fenced)).is_err());
    }
}
