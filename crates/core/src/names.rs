//! Names that people choose. A value of one of these types is safe where Kubernetes will put it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a name was refused; the sentence is meant for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing was given.
    #[error("a {what} must not be empty")]
    Empty {
        /// What was being named.
        what: &'static str,
    },
    /// Longer than allowed.
    #[error("a {what} has at most {max} characters")]
    TooLong {
        /// What was being named.
        what: &'static str,
        /// Most characters allowed.
        max: usize,
    },
    /// Contains a character, or starts or ends with one, that is not allowed.
    #[error("a {what} {rule}")]
    Malformed {
        /// What was being named.
        what: &'static str,
        /// The rule in words.
        rule: &'static str,
    },
    /// Kept for the platform or for Kubernetes.
    #[error("the {what} \"{name}\" is reserved")]
    Reserved {
        /// What was being named.
        what: &'static str,
        /// The name that was asked for.
        name: String,
    },
}

const LABEL_RULE: &str =
    "consists of lower-case letters, digits and hyphens, and starts and ends with a letter or digit";

fn check_length(what: &'static str, text: &str, max: usize) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::Empty { what });
    }
    if text.chars().count() > max {
        return Err(InvalidName::TooLong { what, max });
    }
    Ok(())
}

/// An RFC 1123 label (Kubernetes "Object Names and IDs").
fn check_dns_label(what: &'static str, text: &str, max: usize) -> Result<(), InvalidName> {
    check_length(what, text, max)?;
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let allowed = text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-');
    if allowed { Ok(()) } else { Err(InvalidName::Malformed { what, rule: LABEL_RULE }) }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $check:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> Result<(), InvalidName> = $check;
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        crate::text::via_text!($name: InvalidName);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

names! {
    /// A workspace's name: a DNS label of at most 40 characters, unique among the organisation's living workspaces.
    WorkspaceName, |text| {
        let what = "workspace name";
        check_dns_label(what, text, 40)?;
        if text.starts_with("ws-") || ["platform", "default", "new"].contains(&text) {
            return Err(InvalidName::Reserved { what, name: text.to_owned() });
        }
        Ok(())
    };
    /// A project's name, which is also its namespace in the workspace: a DNS label of at most 40 characters that neither
    /// Kubernetes nor the platform keeps for itself.
    ProjectName, |text| {
        let what = "project name";
        check_dns_label(what, text, 40)?;
        if text.starts_with("kube-") || text.starts_with("hexabase") || text.starts_with("prj-") || text == "default" {
            return Err(InvalidName::Reserved { what, name: text.to_owned() });
        }
        Ok(())
    };
    /// A plan's name, by which people choose it: a DNS label of at most 40 characters.
    PlanName, |text| check_dns_label("plan name", text, 40);
    /// A group's name. It becomes a claim in tokens, so it is ASCII and never changes.
    GroupName, |text| {
        let what = "group name";
        check_length(what, text, 63)?;
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || byte == b'.';
        if !text.bytes().all(inner) || !text.as_bytes()[0].is_ascii_alphanumeric() {
            return Err(InvalidName::Malformed { what, rule: "consists of ASCII letters, digits, '-', '_' and '.', and starts with a letter or digit" });
        }
        if text.to_ascii_lowercase().starts_with("system") {
            return Err(InvalidName::Reserved { what, name: text.to_owned() });
        }
        Ok(())
    };
    /// A custom role's name: a DNS label of at most 40 characters that is none of the platform's or Kubernetes' own.
    RoleName, |text| {
        let what = "role name";
        check_dns_label(what, text, 40)?;
        let own = ["view", "edit", "admin", "cluster-admin"].contains(&text);
        if own || ["hexabase", "system", "workspace-"].iter().any(|start| text.starts_with(start)) {
            return Err(InvalidName::Reserved { what, name: text.to_owned() });
        }
        Ok(())
    };
    /// Free text shown to people: 1 to 80 characters, no control characters, not blank.
    DisplayName, |text| {
        let what = "display name";
        check_length(what, text, 80)?;
        if text.chars().any(char::is_control) || text.trim() != text {
            return Err(InvalidName::Malformed { what, rule: "has no control characters and no space at either end" });
        }
        Ok(())
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_name_is_a_dns_label() {
        assert!("shop".parse::<WorkspaceName>().is_ok());
        assert!("a".repeat(40).parse::<WorkspaceName>().is_ok());
        for bad in ["", "Shop", "-shop", "shop-", "sh op", "shöp", "shop.prod", "ws-1", &"a".repeat(41), "a\u{0}b"] {
            assert!(bad.parse::<WorkspaceName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn namespaces_of_kubernetes_and_of_the_platform_are_reserved() {
        for bad in ["default", "kube-system", "kube-anything", "hexabase-system"] {
            assert!(matches!(bad.parse::<ProjectName>(), Err(InvalidName::Reserved { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_group_name_never_looks_like_a_system_group() {
        assert!("WSAdmins".parse::<GroupName>().is_ok());
        for bad in ["system:masters", "System", "system.masters", "a:b", "グループ", ""] {
            assert!(bad.parse::<GroupName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_role_name_is_never_that_of_a_preset() {
        assert!("deployer".parse::<RoleName>().is_ok());
        for bad in
            ["view", "edit", "admin", "cluster-admin", "workspace-admin", "hexabase-x", "system-x", "a:b", "A", ""]
        {
            assert!(bad.parse::<RoleName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_display_name_may_be_in_any_language() {
        assert!("株式会社ヘキサ".parse::<DisplayName>().is_ok());
        for bad in [" lead", "a\nb", ""] {
            assert!(bad.parse::<DisplayName>().is_err(), "{bad:?}");
        }
    }
}
