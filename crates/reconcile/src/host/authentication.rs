//! Step 3: the Secret that tells the tenant API server which tokens to trust.
//!
//! Format: Kubernetes "Authenticating", "Authentication configuration from a file". The file is reloaded when it
//! changes; only the first one delays a start.

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

use crate::desired::{Authentication, DesiredWorkspace};
use crate::labels::Names;
use crate::manifest::{Kind, Manifest};

/// The Secret; vCluster's pod mounts it as a folder, so that a change arrives without a restart.
pub(crate) const SECRET: &str = "hexabase-authn";
/// The only key of the Secret, and so the name of the file.
pub(crate) const KEY: &str = "config.yaml";
/// Before every user and group name that comes out of a token.
pub(crate) const PREFIX: &str = "hexabase:";
/// Longest life of a token, in seconds.
const LONGEST: u32 = 600;
/// From this minor version on the configuration's format is stable.
const STABLE_SINCE: u32 = 34;

/// The Secret. Its text is JSON, which is YAML too.
pub(crate) fn build(
    desired: &DesiredWorkspace,
    kubernetes_tag: &str,
    names: &Names,
    labels: &Map<String, Value>,
) -> Manifest {
    let text = format!("{:#}\n", configuration(desired, kubernetes_tag));
    let body = json!({ "type": "Opaque", "data": { KEY: ByteString(text.into_bytes()) } });
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
            "claimValidationRules": [
                rule(format!("claims.?ws.orValue(\"\") == \"{workspace}\""), "the token is for another workspace"),
                rule("claims.?token_use.orValue(\"\") == \"workspace\"".to_owned(), "not a workspace token"),
                rule(format!("claims.exp - claims.iat <= {LONGEST}"), "the token lives too long"),
                rule("claims.?sub.orValue(\"\") != \"\"".to_owned(), "the token names nobody"),
                rule("!claims.?sub.orValue(\"\").startsWith(\"system:\")".to_owned(), "the name is reserved"),
                rule(
                    // A claim is of the type `any`, over which CEL does not iterate.
                    "dyn(claims.?groups.orValue([])).all(group, group != \"\" && !group.startsWith(\"system:\"))".to_owned(),
                    "a group's name is reserved",
                ),
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
