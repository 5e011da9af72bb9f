//! Whose devhost runs on this machine. There is room for one: bridge, cgroup and ports have fixed names and numbers.

use super::layout::Layout;
use super::{cgroups, network, proc};

/// What containerd is told, below the folder of its devhost.
const CONFIGURATION: &str = "/containerd/config.toml";

/// The folder of another devhost that has this machine's bridge or processes; empty if nobody can tell whose they are.
pub(crate) fn other(layout: &Layout) -> Option<String> {
    let own = layout.root().display().to_string();
    judge(network::bridge_label(), running(), &own, layout.path("state.json").exists())
}

/// True if there is a bridge of our name and it is ours.
pub(crate) fn has_bridge(layout: &Layout) -> bool {
    network::bridge_exists() && other(layout).is_none()
}

fn judge(bridge: Option<String>, running: Option<String>, own: &str, is_set_up: bool) -> Option<String> {
    match bridge {
        // The kernel takes no label while it makes an interface, so an interrupted `up` leaves one without.
        Some(label) if label.is_empty() && is_set_up => None,
        Some(label) => Some(label).filter(|label| label != own),
        None => running.filter(|folder| folder != own),
    }
}

/// The folder of the devhost whose containerd runs in our cgroup.
fn running() -> Option<String> {
    let mut arguments = cgroups::system_members().into_iter().flat_map(proc::command_line);
    arguments.find_map(|argument| argument.strip_suffix(CONFIGURATION).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bridge: Option<&str>, running: Option<&str>, is_set_up: bool) -> Option<String> {
        judge(bridge.map(str::to_owned), running.map(str::to_owned), "/own", is_set_up)
    }

    #[test]
    fn the_bridge_tells_whose_devhost_it_is() {
        assert_eq!(said(Some("/own"), None, true), None);
        assert_eq!(said(Some("/other"), None, true), Some("/other".into()));
        assert_eq!(said(None, None, false), None);
    }

    #[test]
    fn without_a_bridge_containerd_tells_it() {
        assert_eq!(said(None, Some("/other"), false), Some("/other".into()));
        assert_eq!(said(None, Some("/own"), true), None);
    }

    #[test]
    fn a_bridge_without_a_label_is_ours_only_if_a_devhost_was_set_up_here() {
        assert_eq!(said(Some(""), None, true), None);
        assert_eq!(said(Some(""), None, false), Some(String::new()));
    }
}
