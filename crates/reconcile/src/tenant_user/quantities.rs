//! What pods ask for: of each nothing else is read, because the rest may be long. And the amounts, as Kubernetes writes them.

use serde::Deserialize;

use super::reading::{First, Metadata};

/// Most containers of one kind that are read of one pod. Kubernetes has no limit.
pub(super) const MOST_CONTAINERS: usize = 256;

/// A pod.
#[derive(Debug, Deserialize)]
pub(super) struct AskingPod {
    #[serde(default)]
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

impl AskingPod {
    /// Whether it is over and counts for nothing any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }
}

#[derive(Debug, Default, Deserialize)]
struct PodStatus {
    phase: Option<String>,
}

/// Its containers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec {
    containers: Option<First<Container, MOST_CONTAINERS>>,
    init_containers: Option<First<Container, MOST_CONTAINERS>>,
    /// Of the pod as a whole; where it says something, that counts in place of what its containers say.
    #[serde(default)]
    resources: Resources,
}

impl PodSpec {
    /// Those that run together.
    pub(super) fn containers(&self) -> &[Container] {
        First::of(&self.containers)
    }

    /// Those that are started before, in their order.
    pub(super) fn before(&self) -> &[Container] {
        First::of(&self.init_containers)
    }

    /// How much of something Kubernetes counts: what the pod says as a whole; else its containers together with those before them that
    /// stay, or the one that runs before and wants more together with those that stay by then.
    pub(super) fn counts(&self, of: impl Fn(&Resources) -> f64) -> f64 {
        let whole = of(&self.resources);
        if whole > 0.0 {
            return whole;
        }
        let (mut beside, mut most) = (0.0, 0.0_f64);
        for container in self.before() {
            most = most.max(beside + of(&container.resources));
            if container.stays() {
                beside += of(&container.resources);
            }
        }
        most.max(beside + self.containers().iter().map(|container| of(&container.resources)).sum::<f64>())
    }

    /// The more of what it requests and what it may use.
    pub(super) fn bound(&self, amount: fn(&Asked) -> f64) -> f64 {
        let (requested, allowed) =
            (self.counts(|resources| amount(&resources.requests)), self.counts(|resources| amount(&resources.limits)));
        requested.max(allowed)
    }

    /// Whether it has more than are read.
    pub(super) fn is_cut(&self) -> bool {
        [&self.containers, &self.init_containers].into_iter().flatten().any(|first| first.cut)
    }
}

/// A container.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    restart_policy: Option<String>,
    #[serde(default)]
    pub(super) resources: Resources,
}

impl Container {
    /// Whether it goes on beside those that come after it.
    pub(super) fn stays(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

/// What is asked for and allowed.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Resources {
    #[serde(default)]
    pub(super) requests: Asked,
    #[serde(default)]
    pub(super) limits: Asked,
}

/// Amounts.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    cpu: Option<String>,
    memory: Option<String>,
    storage: Option<String>,
}

impl Asked {
    /// Cores.
    pub(super) fn cpu(&self) -> f64 {
        amount(&self.cpu)
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> f64 {
        amount(&self.memory)
    }

    /// Bytes of storage.
    pub(super) fn storage(&self) -> f64 {
        amount(&self.storage)
    }
}

fn amount(text: &Option<String>) -> f64 {
    text.as_deref().and_then(number).unwrap_or(0.0)
}

/// A quantity in whichever way Kubernetes writes it; people and programs use them all.
pub(super) fn number(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 15] = [
        ("Ki", 1_024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let (digits, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits, *factor)))
        .unwrap_or((text, 1.0));
    let plain = |letter: char| letter.is_ascii_digit() || ".+-eE".contains(letter);
    if !digits.chars().all(plain) {
        return None;
    }
    digits.parse::<f64>().ok().map(|number| number * factor).filter(|number| number.is_finite() && *number >= 0.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_a_pod_says_as_a_whole_counts_in_place_of_its_containers() {
        let container = json!({ "resources": { "limits": { "cpu": "1", "memory": "1Gi" } } });
        let spec = |whole: Value| -> PodSpec {
            let spec =
                json!({ "containers": [container, container], "initContainers": [container], "resources": whole });
            serde_json::from_value(spec).unwrap()
        };
        let bound = |whole: Value| (spec(whole.clone()).bound(Asked::cpu), spec(whole).bound(Asked::memory));
        let gibibyte = 1_073_741_824.0;
        assert_eq!(bound(json!({})), (2.0, 2.0 * gibibyte));
        let said = json!({ "requests": { "cpu": "3" }, "limits": { "cpu": "4" } });
        assert_eq!(bound(said), (4.0, 2.0 * gibibyte), "of what it says nothing about the containers' counts");
    }

    #[test]
    fn every_way_of_writing_an_amount_is_read() {
        let in_billionths = |number: f64| (number * 1e9).round();
        for (text, expected) in [
            ("2", 2.0),
            ("1.5", 1.5),
            ("250m", 0.25),
            ("123456789n", 0.123_456_789),
            ("7u", 0.000_007),
            ("1e3", 1_000.0),
            ("2E3", 2_000.0),
            ("1k", 1_000.0),
            ("64Ki", 65_536.0),
            ("1.5Gi", 1_610_612_736.0),
            ("129M", 129_000_000.0),
            ("1E", 1e18),
        ] {
            assert_eq!(number(text).map(in_billionths), Some(in_billionths(expected)), "{text}");
        }
        for bad in ["", "Gi", "x", "-1", "1 Gi", "inf", "nan", "1e999"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
