//! How a workspace comes to life, shown while it does: moving lines on a terminal, a line for each change elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use hexabase_api::workspaces::{Step, Workspace};
use hexabase_core::phases::{WorkspacePhase, WorkspaceStep};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::output::{printable, say};

/// What has been shown so far.
#[derive(Default)]
pub(crate) struct Progress {
    phase: Option<WorkspacePhase>,
    message: Option<String>,
    steps: Vec<Step>,
    screen: Option<Screen>,
}

struct Screen {
    bars: MultiProgress,
    steps: BTreeMap<WorkspaceStep, ProgressBar>,
}

impl Progress {
    /// Shows on stderr.
    pub(crate) fn on_stderr() -> Self {
        let screen =
            std::io::stderr().is_terminal().then(|| Screen { bars: MultiProgress::new(), steps: BTreeMap::new() });
        Self { screen, ..Self::default() }
    }

    /// Shows what is new.
    pub(crate) fn observe(&mut self, workspace: &Workspace) {
        let changes = self.changes(workspace);
        match &mut self.screen {
            Some(screen) => {
                screen.observe(&workspace.steps);
                for change in changes.iter().filter(|change| change.step.is_none()) {
                    let _ = screen.bars.println(printable(&change.line(&workspace.name)));
                }
            }
            None => changes.iter().for_each(|change| say(&change.line(&workspace.name))),
        }
    }

    /// What is new: a phase that begins before its steps, a phase that is an outcome after them.
    fn changes(&mut self, workspace: &Workspace) -> Vec<Change> {
        let mut changes = self.step_changes(workspace);
        if let Some(change) = self.phase_change(workspace) {
            let begins = begins(workspace.phase) || workspace.phase == WorkspacePhase::Deleting;
            changes.insert(if begins { 0 } else { changes.len() }, change);
        }
        changes
    }

    fn phase_change(&mut self, workspace: &Workspace) -> Option<Change> {
        let same_phase = self.phase == Some(workspace.phase);
        let same_message = self.message == workspace.message;
        self.phase = Some(workspace.phase);
        self.message.clone_from(&workspace.message);
        // While steps are shown, their messages say the same in more detail.
        if same_phase && (same_message || begins(workspace.phase)) {
            return None;
        }
        Some(Change { step: None, state: workspace.phase.to_string(), message: workspace.message.clone() })
    }

    fn step_changes(&mut self, workspace: &Workspace) -> Vec<Change> {
        // Of a workspace that goes, the steps tell how it once came.
        if matches!(workspace.phase, WorkspacePhase::Deleting | WorkspacePhase::Deleted) {
            return Vec::new();
        }
        let mut changes = Vec::new();
        for step in &workspace.steps {
            let before = self.steps.iter().find(|before| before.name == step.name);
            if before.is_none_or(|before| before.state != step.state || before.message != step.message) {
                changes.push(Change {
                    step: Some(step.name),
                    state: step.state.clone(),
                    message: step.message.clone().or_else(|| took(step)),
                });
            }
        }
        self.steps.clone_from(&workspace.steps);
        changes
    }
}

/// Whether steps follow, which say what happens.
fn begins(phase: WorkspacePhase) -> bool {
    matches!(phase, WorkspacePhase::Creating | WorkspacePhase::Waking)
}

/// How long a finished step took, such as `1.4 s`.
fn took(step: &Step) -> Option<String> {
    let millis = step.finished_at?.millis_since(step.started_at).max(0);
    Some(format!("{}.{} s", millis / 1_000, millis % 1_000 / 100))
}

struct Change {
    step: Option<WorkspaceStep>,
    state: String,
    message: Option<String>,
}

impl Change {
    fn line(&self, name: &str) -> String {
        let step = self.step.map(|step| format!(" {step}:")).unwrap_or_default();
        let message = self.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
        format!("{name}:{step} {}{message}", self.state)
    }
}

impl Screen {
    fn observe(&mut self, steps: &[Step]) {
        for step in steps {
            let bars = &self.bars;
            let bar = self.steps.entry(step.name).or_insert_with(|| {
                let bar = bars.add(ProgressBar::new_spinner());
                if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:<16} {wide_msg}") {
                    bar.set_style(style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏✓"));
                }
                bar.set_prefix(step.name.as_str());
                bar.enable_steady_tick(Duration::from_millis(120));
                bar
            });
            if bar.is_finished() {
                continue;
            }
            match took(step) {
                Some(time) => bar.finish_with_message(time),
                None => bar.set_message(printable(step.message.as_deref().unwrap_or(&step.state))),
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        for bar in self.steps.values().filter(|bar| !bar.is_finished()) {
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn workspace(phase: &str, message: Option<&str>, steps: Value) -> Workspace {
        let at = "2026-01-01T00:00:00Z";
        serde_json::from_value(json!({
            "id": "ws-00000000000000000000", "organization": "org-00000000000000000000", "name": "shop", "plan": "standard",
            "phase": phase, "message": message, "steps": steps, "server": "s", "issuer": "i",
            "created_at": at, "ready_at": null, "deleted_at": null,
        }))
        .unwrap()
    }

    fn step(name: &str, state: &str, message: Option<&str>) -> Value {
        let at = "2026-01-01T00:00:00Z";
        json!({ "name": name, "state": state, "message": message, "started_at": at, "finished_at": null })
    }

    #[test]
    fn each_change_is_one_line_and_no_change_is_none() {
        let mut progress = Progress::default();
        let mut lines = |workspace: &Workspace| {
            progress.changes(workspace).iter().map(|change| change.line("shop")).collect::<Vec<_>>()
        };
        let first = workspace("creating", None, json!([step("namespace", "waiting", Some("being made"))]));
        assert_eq!(lines(&first), ["shop: creating", "shop: namespace: waiting: being made"]);
        assert!(lines(&first).is_empty());
        let second =
            workspace("creating", None, json!([step("namespace", "done", None), step("limits", "waiting", None)]));
        assert_eq!(lines(&second), ["shop: namespace: done", "shop: limits: waiting"]);
        let failed = workspace("failed", Some("no node has room"), json!([]));
        assert_eq!(lines(&failed), ["shop: failed: no node has room"]);
    }
}
