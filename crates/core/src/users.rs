//! Who or what is known by the id of a user.

use crate::words;

words! {
    /// Who or what is known by the id of a user.
    UserKind, "kind of user" {
        /// Somebody who signs in.
        Person = "person",
        /// A program of an organisation, which has tokens only.
        Service = "service",
    }
}
