//! Invitations: for which address, in which language, and how far one has come.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{GroupId, WorkspaceId};
use crate::time::Timestamp;
use crate::words;

/// Seconds for which an invitation can be accepted.
pub const INVITATION_SECONDS: i64 = 7 * 24 * 3600;

words! {
    /// The language of a mail and of the pages that follow from it.
    Language, "language" {
        /// English.
        English = "en",
        /// Japanese.
        Japanese = "ja",
    }
}

words! {
    /// How far an invitation has come.
    InvitationState, "invitation state" {
        /// It can be accepted.
        Pending = "pending",
        /// Somebody accepted it.
        Accepted = "accepted",
        /// It was taken back.
        Revoked = "revoked",
        /// Nobody accepted it in time.
        Expired = "expired",
    }
}

impl InvitationState {
    /// Where an invitation stands at `now`. It can be accepted before `expires_at`, not at that moment.
    pub fn at(now: Timestamp, expires_at: Timestamp, accepted: bool, revoked: bool) -> Self {
        match (accepted, revoked) {
            (true, _) => Self::Accepted,
            (false, true) => Self::Revoked,
            (false, false) if expires_at <= now => Self::Expired,
            (false, false) => Self::Pending,
        }
    }
}

words! {
    /// What has become of an invitation's mail.
    MailState, "mail state" {
        /// Waits to be taken by the mail server.
        Queued = "queued",
        /// The mail server took it.
        Sent = "sent",
        /// The mail server refused it, or did not take it for too long.
        Failed = "failed",
    }
}

/// Groups of a workspace into which an invitation puts somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitedTo {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Groups of it.
    pub groups: Vec<GroupId>,
}

/// Why a text is no address that can be invited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an address consists of ASCII letters, digits and .!#$%&'*+/=?^_`{{|}}~- before one @, and of a host name after it"
)]
pub struct InvalidAddress;

/// An e-mail address that can be put into a mail's header and compared with what identity providers say.
///
/// ASCII only: letters of other scripts that look alike, or that become alike in lower case, would let somebody else's
/// address pass for this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InvitedAddress(String);

impl InvitedAddress {
    /// The address as it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is compared: two addresses are the same if their keys are.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// Whether `other` is this address, whatever its capitals.
    pub fn is(&self, other: &str) -> bool {
        self.0.eq_ignore_ascii_case(other)
    }

    /// The address as those may see it who need not know it: `a***@example.com`.
    pub fn masked(&self) -> String {
        let (local, domain) = self.0.rsplit_once('@').unwrap_or_default();
        format!("{}***@{domain}", local.chars().next().unwrap_or_default())
    }
}

/// Dot-separated parts, none of them empty.
fn is_dotted(text: &str, most: usize, part: impl Fn(&str) -> bool) -> bool {
    !text.is_empty() && text.len() <= most && text.split('.').all(|one| !one.is_empty() && part(one))
}

impl FromStr for InvitedAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&byte);
        let label = |part: &str| {
            let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            part.len() <= 63 && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
        };
        let (local, domain) = text.split_once('@').ok_or(InvalidAddress)?;
        let good = is_dotted(local, 64, |part| part.bytes().all(atom)) && is_dotted(domain, 189, label);
        if good { Ok(Self(text.to_owned())) } else { Err(InvalidAddress) }
    }
}

crate::text::via_text!(InvitedAddress: InvalidAddress);

impl fmt::Display for InvitedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_could_be_read_in_two_ways_is_refused() {
        for good in ["alice@example.test", "A.B+tag@Mail.Example.co.jp", "o'neil@x", "a_b-c@1.example", "!@a"] {
            assert_eq!(good.parse::<InvitedAddress>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "@",
            "alice",
            "alice@",
            "@example.test",
            "alice@good.test@evil.test",
            "Alice <alice@example.test>",
            "alice@example.test, bob@example.test",
            " alice@example.test",
            "alice@example.test ",
            "alice@example.test\r\nBcc: bob@example.test",
            "alice@example.test\0",
            "\"a b\"@example.test",
            "al..ice@example.test",
            ".alice@example.test",
            "alice.@example.test",
            "alice@-example.test",
            "alice@example..test",
            "alice@example.test.",
            "alice@[127.0.0.1]",
            "álice@example.test",
            "alice@exämple.test",
            "\u{212a}ate@example.test",
            "alice@ex_ample.test",
        ] {
            assert!(bad.parse::<InvitedAddress>().is_err(), "{bad:?}");
        }
        assert!(format!("{}@example.test", "a".repeat(64)).parse::<InvitedAddress>().is_ok());
        assert!(format!("{}@example.test", "a".repeat(65)).parse::<InvitedAddress>().is_err());
        assert!(format!("a@{}", "a.".repeat(95)).parse::<InvitedAddress>().is_err());
    }

    #[test]
    fn capitals_do_not_tell_addresses_apart_and_letters_that_only_look_alike_do() {
        let kate: InvitedAddress = "Kate@Example.test".parse().unwrap();
        assert!(kate.is("kATE@eXAMPLE.TEST") && kate.is("kate@example.test"));
        assert_eq!(kate.key(), "kate@example.test");
        // The Kelvin sign, whose lower case is k.
        assert!(!kate.is("\u{212a}ate@example.test"));
        assert!(!kate.is("kate@example.test ") && !kate.is("kate") && !kate.is(""));
    }

    #[test]
    fn a_masked_address_shows_its_first_letter_and_its_host() {
        for (address, masked) in [("alice@example.test", "a***@example.test"), ("b@x", "b***@x")] {
            assert_eq!(address.parse::<InvitedAddress>().unwrap().masked(), masked);
        }
    }

    #[test]
    fn an_invitation_ends_at_the_very_moment_it_says() {
        let end = Timestamp::from_seconds(1_790_000_000);
        let at = |now, accepted, revoked| InvitationState::at(now, end, accepted, revoked);
        let just_before = Timestamp::from_micros(end.as_micros() - 1);
        assert_eq!(at(just_before, false, false), InvitationState::Pending);
        assert_eq!(at(end, false, false), InvitationState::Expired);
        assert_eq!(at(end, true, false), InvitationState::Accepted);
        assert_eq!(at(just_before, false, true), InvitationState::Revoked);
    }
}
