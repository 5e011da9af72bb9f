//! Step 3: the Secret that tells the tenant API server which tokens to trust, and which pods.
//!
//! Format: Kubernetes "Authenticating", "Authentication configuration from a file". The file is reloaded when it
//! changes; only the first one delays a start, and one that somebody made so that nobody can change it (`workload.rs`).

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

use super::admission;
use crate::desired::{Authentication, DesiredWorkspace};
use crate::labels::Names;
use crate::manifest::{Kind, Manifest};

/// The Secret; vCluster's pod mounts it as a folder, so that a change arrives without a restart.
pub(crate) const SECRET: &str = "hexabase-authn";
/// A key of the Secret, and so the name of the file.
pub(crate) const KEY: &str = "config.yaml";
/// Before every user and group name that comes out of a token.
pub(crate) const PREFIX: &str = "hexabase:";
/// Longest life of a token, in seconds.
const LONGEST: u32 = 600;
/// Characters of an id after its prefix.
const ID: u32 = 20;
/// A group's name, as `GroupName` has it.
const GROUP: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";
/// Most groups in a token.
const MOST_GROUPS: u32 = 200;
/// From this minor version on the configuration's format is stable.
const STABLE_SINCE: u32 = 34;

/// The Secret. Its text is JSON, which is YAML too.
pub(crate) fn build(
    desired: &DesiredWorkspace,
    kubernetes_tag: &str,
    names: &Names,
    labels: &Map<String, Value>,
) -> Manifest {
    let file = |configuration: Value| ByteString(format!("{configuration:#}\n").into_bytes());
    let data = json!({
        KEY: file(configuration(desired, kubernetes_tag)),
        admission::KEY: file(admission::configuration()),
    });
    let body = json!({ "type": "Opaque", "data": data });
    Manifest::new(Kind::Secret, Some(&names.namespace), SECRET, labels, body)
}

/// The API server's `AuthenticationConfiguration`.
pub(crate) fn configuration(desired: &DesiredWorkspace, kubernetes_tag: &str) -> Value {
    let Authentication { issuer_url, discovery_url, audience, ca_pem } = &desired.authentication;
    let mut issuer = json!({ "url": issuer_url, "audiences": [audience] });
    if let Some(url) = discovery_url {
        issuer["discoveryURL"] = json!(url);
    }
    if let Some(pem) = ca_pem {
        issuer["certificateAuthority"] = json!(pem);
    }
    let version = if minor(kubernetes_tag).is_none_or(|minor| minor >= STABLE_SINCE) { "v1" } else { "v1beta1" };
    let rule = |expression: String, message: &str| json!({ "expression": expression, "message": message });
    // The id's alphabet has no quotation mark: it may stand in an expression as it is.
    let workspace = &desired.id;
    json!({
        "apiVersion": format!("apiserver.config.k8s.io/{version}"),
        "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": issuer,
            // An expression that fails, because a claim is missing or of another type, refuses as well.
            "claimValidationRules": [
                // The API server itself is content with one of several.
                rule(format!("claims.aud == \"{audience}\""), "the token is for others too"),
                rule(format!("claims.?ws.orValue(\"\") == \"{workspace}\""), "the token is for another workspace"),
                rule("claims.?token_use.orValue(\"\") == \"workspace\"".to_owned(), "not a workspace token"),
                rule(
                    format!("claims.iat < claims.exp && claims.exp - claims.iat <= {LONGEST}"),
                    "the token lives too long, or not at all",
                ),
                // It looks at `nbf` and not at `iat`.
                rule("claims.nbf == claims.iat".to_owned(), "the token does not say from when it is good"),
                rule(format!("claims.sub.matches(\"^usr-[0-9a-z]{{{ID}}}$\")"), "the token names nobody"),
                rule("claims.sid.matches(\"^[^ ]+$\")".to_owned(), "the token belongs to no session"),
                rule("claims.jti.matches(\"^[^ ]+$\")".to_owned(), "the token has no id"),
                rule(
                    // A claim is of the type `any`, over which CEL does not iterate.
                    format!("dyn(claims.groups).all(group, group.matches(\"{GROUP}\"))"),
                    "a group's name is none",
                ),
                rule(
                    "dyn(claims.groups).all(group, !group.matches(\"^(?i)system\"))".to_owned(),
                    "a group's name is reserved",
                ),
                rule(format!("dyn(claims.groups).size() <= {MOST_GROUPS}"), "too many groups"),
            ],
            "claimMappings": {
                "username": { "claim": "sub", "prefix": PREFIX },
                "groups": { "claim": "groups", "prefix": PREFIX },
                "uid": { "claim": "sub" },
                "extra": [
                    { "key": "hexabase.ai/email", "valueExpression": "claims.?email.orValue(\"\")" },
                ],
            },
            "userValidationRules": [
                rule(format!("user.username.startsWith(\"{PREFIX}\") && user.username != \"{PREFIX}\""), "no user name"),
                rule(
                    format!("user.groups.all(group, group.startsWith(\"{PREFIX}\") && group != \"{PREFIX}\")"),
                    "a group's name is reserved",
                ),
            ],
        }],
    })
}

/// The minor version in a tag such as `v1.35.4`.
pub(crate) fn minor(tag: &str) -> Option<u32> {
    tag.trim_start_matches('v').split('.').nth(1).and_then(|minor| minor.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_read_from_a_tag() {
        assert_eq!(minor("v1.35.4"), Some(35));
        assert_eq!(minor("1.33"), Some(33));
        assert_eq!(minor("latest"), None);
    }
}
