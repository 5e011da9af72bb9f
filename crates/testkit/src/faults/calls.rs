//! Names of calls that are the same in every run, and the moments before and after one.

use std::fmt;
use std::str::FromStr;

use anyhow::Context as _;
use axum::http::{HeaderMap, Method, Uri};

/// Length of the part of an id behind its prefix.
const ID: usize = 20;

/// Before a call is carried out, or after that and before its caller knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The server has not seen it.
    Before,
    /// The server has answered it, and the answer has not been passed on.
    After,
}

/// A moment in the course of an operation, such as `create after POST /api/v1/namespaces`: the first time that this call is made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Boundary {
    /// What is being done.
    pub operation: String,
    /// Before or after the call.
    pub side: Side,
    /// Name of the call.
    pub call: String,
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Before => "before",
            Side::After => "after",
        };
        write!(f, "{} {side} {}", self.operation, self.call)
    }
}

impl FromStr for Boundary {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut parts = text.trim().splitn(3, ' ');
        let operation = parts.next().filter(|part| !part.is_empty()).context("a boundary without an operation")?;
        let side = match parts.next() {
            Some("before") => Side::Before,
            Some("after") => Side::After,
            _ => anyhow::bail!("the second word of a boundary is `before` or `after`: {text}"),
        };
        let call = parts.next().context("a boundary without a call")?;
        Ok(Self { operation: operation.to_owned(), side, call: call.to_owned() })
    }
}

/// The name of a call, without what differs from run to run.
pub(super) fn name(method: &Method, uri: &Uri, headers: &HeaderMap) -> String {
    let kind = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let verb = match method.as_str() {
        "PATCH" if kind.starts_with("application/apply-patch") => "APPLY",
        "PATCH" if kind.starts_with("application/merge-patch") => "MERGE",
        other => other,
    };
    let mut above = "";
    let mut path = String::new();
    for part in uri.path().split('/').skip(1) {
        path.push('/');
        // Kubernetes and vCluster make up names of pods.
        path.push_str(&if above == "pods" { "*".to_owned() } else { constant(part) });
        above = part;
    }
    format!("{verb} {path}")
}

/// A part of a path without ids.
fn constant(part: &str) -> String {
    if part.starts_with("pvc-") {
        return "pvc-*".to_owned();
    }
    let is_id = |word: &str| {
        let is_plain = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        word.len() == ID && is_plain && word.bytes().any(|byte| byte.is_ascii_digit())
    };
    part.split('-').map(|word| if is_id(word) { "ID" } else { word }).collect::<Vec<_>>().join("-")
}

/// Whether a call changes something. Reviews are made to be answered, and a dry run changes nothing.
pub(super) fn changes(method: &Method, uri: &Uri) -> bool {
    let is_read = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    !is_read && !uri.path().ends_with("reviews") && !uri.query().unwrap_or_default().contains("dryRun=")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(method: Method, uri: &str, kind: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", kind.parse().unwrap());
        name(&method, &uri.parse().unwrap(), &headers)
    }

    #[test]
    fn a_call_has_the_same_name_for_every_workspace() {
        let path = "/api/v1/namespaces/hxb-ws-0123456789abcdefghjk/secrets/vc-ws-0123456789abcdefghjk?fieldManager=x";
        let expected = "APPLY /api/v1/namespaces/hxb-ws-ID/secrets/vc-ws-ID";
        assert_eq!(named(Method::PATCH, path, "application/apply-patch+yaml"), expected);
        let pod = "/api/v1/namespaces/hxb-ws-0123456789abcdefghjk/pods/coredns-7c4b9d9f6d-x2x4x-x-kube-system";
        assert_eq!(named(Method::DELETE, pod, ""), "DELETE /api/v1/namespaces/hxb-ws-ID/pods/*");
        let volume = "/api/v1/persistentvolumes/pvc-0ab12c3d-0000-4000-8000-0123456789ab";
        assert_eq!(named(Method::DELETE, volume, ""), "DELETE /api/v1/persistentvolumes/pvc-*");
        let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/hexabase:workspace-viewer";
        assert_eq!(named(Method::PATCH, role, "application/merge-patch+json"), format!("MERGE {role}"));
    }

    #[test]
    fn a_boundary_is_read_as_it_is_written() {
        let text = "create after POST /api/v1/namespaces";
        let boundary: Boundary = text.parse().unwrap();
        assert_eq!((boundary.side, boundary.call.as_str()), (Side::After, "POST /api/v1/namespaces"));
        assert_eq!(boundary.to_string(), text);
        for wrong in ["", "create", "create while POST /", "create after"] {
            assert!(wrong.parse::<Boundary>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_only_asks_changes_nothing() {
        let changes = |method: Method, uri: &str| changes(&method, &uri.parse().unwrap());
        assert!(changes(Method::POST, "/api/v1/namespaces") && changes(Method::DELETE, "/api/v1/namespaces/x"));
        assert!(!changes(Method::POST, "/apis/authorization.k8s.io/v1/subjectaccessreviews"));
        assert!(!changes(Method::PATCH, "/api/v1/namespaces/x?dryRun=All"));
        assert!(!changes(Method::GET, "/api/v1/namespaces"));
    }
}
