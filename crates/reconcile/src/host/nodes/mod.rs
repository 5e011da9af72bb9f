//! Nodes of the host that are kept for workspaces: whose they are, as a label and a taint say, and how that changes.
//!
//! Two workspaces never write the same node at once: the database gives it to one of them, and every change is made to exactly
//! what was read. A node is marked for a workspace only once nobody else's pod is left on it; until then it bears a taint that
//! nobody tolerates.

mod fit;
mod mark;
mod settle;

pub(crate) use self::fit::{Bound, bound};
pub(crate) use self::mark::{Mark, holder, is_offered, is_tainted, is_usable, patch, reclosed};
pub(crate) use self::settle::{disown, hand_back, is_empty, settle};
