//! Holding a creation back at a step: the cluster refuses to let certain objects come into being.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;

use crate::support::{run, until};
use crate::surroundings::Surroundings;

/// What the API server says to whoever is held back.
pub(crate) const HELD: &str = "held back by a test";

/// An admission policy on one cluster. It is removed when this is dropped.
pub(crate) struct Hold<'a> {
    at: &'a Surroundings,
    kubeconfig: PathBuf,
    name: String,
    /// A CEL expression: which of the objects that come into being are meant.
    which: String,
    kinds: Vec<&'static str>,
}

impl<'a> Hold<'a> {
    /// Holds back those objects of `kinds` (plurals, of version `v1`) that `which` means. `probe` is one of them, as
    /// `kubectl create` makes it: when that is refused, the policy is in force.
    pub(crate) async fn place(
        at: &'a Surroundings,
        kubeconfig: &Path,
        name: &str,
        (kinds, which): (&[&'static str], String),
        probe: &[&str],
    ) -> Result<Self> {
        let kubeconfig = kubeconfig.to_owned();
        let hold = Self { at, kubeconfig, name: name.to_owned(), which, kinds: kinds.to_vec() };
        hold.apply().await?;
        until("the policy that holds back", async || {
            let mut command = at.kubectl(&hold.kubeconfig);
            command.args(["create", "--dry-run=server"]).args(probe);
            Ok(run(command).await?.stderr.contains(HELD))
        })
        .await?;
        Ok(hold)
    }

    /// Lets objects of this kind come into being, which must not be the last that is held back.
    pub(crate) async fn let_go(&mut self, kind: &str) -> Result<()> {
        self.kinds.retain(|held| *held != kind);
        self.apply().await
    }

    async fn apply(&self) -> Result<()> {
        let object = |kind: &str, spec: serde_json::Value| {
            json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
                "metadata": { "name": self.name }, "spec": spec })
        };
        let rule =
            json!({ "apiGroups": ["*"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": self.kinds });
        let policy = json!({
            // A mistake here must not hold up anybody else on the cluster.
            "failurePolicy": "Ignore",
            "matchConstraints": { "resourceRules": [rule] },
            "matchConditions": [{ "name": "meant", "expression": self.which }],
            "validations": [{ "expression": "false", "message": HELD }],
        });
        let binding = json!({ "policyName": self.name, "validationActions": ["Deny"] });
        let items = [object("ValidatingAdmissionPolicy", policy), object("ValidatingAdmissionPolicyBinding", binding)];
        let mut file = tempfile::NamedTempFile::new()?;
        write!(file, "{}", json!({ "apiVersion": "v1", "kind": "List", "items": items }))?;
        let mut command = self.at.kubectl(&self.kubeconfig);
        command.args(["apply", "-f"]).arg(file.path());
        run(command).await?.good().map(drop)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut command = self.at.kubectl(&self.kubeconfig);
        let kinds = "validatingadmissionpolicybindings,validatingadmissionpolicies";
        // Where it fails, the cluster is gone, and the policy with it.
        let _ = command.args(["delete", kinds, &self.name, "--ignore-not-found"]).as_std_mut().output();
    }
}
