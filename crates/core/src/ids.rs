//! Opaque ids: prefixed, sortable by creation time, never reused, safe as a DNS label and as a Kubernetes label value.
//!
//! The text is `<prefix>-` and 20 characters of lower-case Crockford base 32: 48 bits of milliseconds since the Unix
//! epoch, then 52 random bits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const BODY_LENGTH: usize = 20;

/// A text that is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}-…")]
pub struct InvalidId {
    prefix: &'static str,
}

/// What every kind of id has in common.
pub trait Id: Sized + fmt::Display + FromStr<Err = InvalidId> {
    /// The text before the hyphen, naming the kind.
    const PREFIX: &'static str;

    /// The id made at `now` with `random`, of which the low 52 bits are used.
    fn from_parts(now: Timestamp, random: u64) -> Self;
}

fn encode(prefix: &str, now: Timestamp, random: u64) -> String {
    let millis = u128::try_from(now.as_micros().div_euclid(1_000)).unwrap_or(0) & 0xffff_ffff_ffff;
    let bits = (millis << 52) | u128::from(random & 0xf_ffff_ffff_ffff);
    let mut text = String::with_capacity(prefix.len() + 1 + BODY_LENGTH);
    text.push_str(prefix);
    text.push('-');
    for position in (0..BODY_LENGTH).rev() {
        let index = usize::try_from((bits >> (position * 5)) & 31).unwrap_or(0);
        text.push(char::from(ALPHABET[index]));
    }
    text
}

fn is_valid(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|body| body.len() == BODY_LENGTH && body.bytes().all(|byte| ALPHABET.contains(&byte)))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Id for $name {
            const PREFIX: &'static str = $prefix;

            fn from_parts(now: Timestamp, random: u64) -> Self {
                Self(encode(Self::PREFIX, now, random))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if is_valid(Self::PREFIX, text) { Ok(Self(text.to_owned())) } else { Err(InvalidId { prefix: Self::PREFIX }) }
            }
        }

        crate::text::via_text!($name: InvalidId);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// A person; the subject of every token the platform issues.
    UserId = "usr";
    /// An organisation: the unit of billing and of user management.
    OrganizationId = "org";
    /// A workspace: one virtual cluster.
    WorkspaceId = "ws";
    /// A project: one namespace of a workspace.
    ProjectId = "prj";
    /// A group of workspace members.
    GroupId = "grp";
    /// A role given to a group.
    RoleAssignmentId = "ra";
    /// A custom role of a workspace or project.
    RoleId = "rol";
    /// An invitation into an organisation.
    InvitationId = "inv";
    /// Who a person is at an identity provider.
    IdentityId = "idn";
    /// One signed-in browser or device.
    SessionId = "ses";
    /// A long-lived credential for a program.
    ApiTokenId = "tok";
    /// Access of the platform's staff to one organisation for a short time.
    BreakGlassId = "brg";
    /// One line of the audit log.
    AuditEntryId = "aud";
    /// One line of the activity feed.
    EventId = "evt";
    /// One HTTP request.
    RequestId = "req";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_itself_and_as_no_other_kind() {
        let id = WorkspaceId::from_parts(Timestamp::from_seconds(1_790_000_000), u64::MAX);
        assert_eq!(id.as_str().len(), 23);
        assert_eq!(id.as_str().parse::<WorkspaceId>(), Ok(id.clone()));
        assert!(id.as_str().parse::<ProjectId>().is_err());
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let earlier = UserId::from_parts(Timestamp::from_seconds(1), u64::MAX);
        let later = UserId::from_parts(Timestamp::from_seconds(2), 0);
        assert!(earlier < later);
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in [
            "",
            "ws-",
            "ws-short",
            "ws-0123456789ABCDEFGHJK",
            "ws-0123456789abcdefghjk1",
            "ws_0123456789abcdefghjk",
            "ws-0123456789abcdefghi\u{e9}",
        ] {
            assert!(text.parse::<WorkspaceId>().is_err(), "{text:?}");
        }
    }
}
