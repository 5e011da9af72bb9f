//! The nodes of the devhost, and what each has of its own. The first is the machine itself. The second lives in a network
//! namespace and shares all the rest with the machine; a pair of interfaces joins the bridges of both to one network.
//!
//! ```text
//!          machine                            namespace
//!   pods   10.x.0.2 .. 10.x.239.255           10.x.240.2 .. 10.x.255.254
//!   bridge hxb0, 10.x.0.1  ---- hxb2 == hxb2 ----  hxb0, 10.x.240.1
//! ```

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use super::layout::{Kept, Layout, NETWORK, NODE, SECOND_NODE, State};
use crate::cmd;

/// Where the second node keeps its files, below the devhost's folder.
pub(crate) const SECOND_FOLDER: &str = "second";
/// The second node and its pods have addresses that begin with the network's two octets and this one, or a higher one.
const SECOND_FROM: u8 = 240;

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// As the cluster calls it.
    pub(crate) name: &'static str,
    /// Its own address, on its bridge.
    pub(crate) ip: Ipv4Addr,
    /// The first and the last address that its pods are given.
    pub(crate) pods: (Ipv4Addr, Ipv4Addr),
    /// Where its health checks answer. Nobody outside a namespace reaches its loopback.
    pub(crate) health: Ipv4Addr,
    /// Its folder.
    pub(crate) files: Layout,
    /// The file that keeps its network namespace; none for the machine's own.
    pub(crate) netns: Option<PathBuf>,
    /// Its pods are below this one.
    pub(crate) cgroup: String,
    /// Names of its processes.
    pub(crate) containerd: &'static str,
    pub(crate) kubelet: &'static str,
    pub(crate) kube_proxy: &'static str,
}

impl Node {
    /// The machine.
    pub(crate) fn first(layout: &Layout, state: &State) -> Self {
        let [a, b, ..] = state.node_ip.octets();
        Self {
            name: NODE,
            ip: state.node_ip,
            pods: (Ipv4Addr::new(a, b, 0, 2), Ipv4Addr::new(a, b, SECOND_FROM - 1, 255)),
            health: Ipv4Addr::LOCALHOST,
            files: layout.clone(),
            netns: None,
            cgroup: NETWORK.to_owned(),
            containerd: "containerd",
            kubelet: "kubelet",
            kube_proxy: "kube-proxy",
        }
    }

    /// The one in a namespace, whether it was asked for or not.
    pub(crate) fn second(layout: &Layout, state: &State) -> Self {
        let [a, b, ..] = state.node_ip.octets();
        let ip = Ipv4Addr::new(a, b, SECOND_FROM, 1);
        let files = layout.below(SECOND_FOLDER);
        Self {
            name: SECOND_NODE,
            ip,
            pods: (Ipv4Addr::new(a, b, SECOND_FROM, 2), Ipv4Addr::new(a, b, 255, 254)),
            health: ip,
            netns: Some(files.path("netns")),
            files,
            cgroup: format!("{NETWORK}/{SECOND_FOLDER}"),
            containerd: "second-containerd",
            kubelet: "second-kubelet",
            kube_proxy: "second-kube-proxy",
        }
    }

    /// Those that this devhost has.
    pub(crate) fn all(layout: &Layout, state: &State) -> Vec<Self> {
        let second = state.second.is_some().then(|| Self::second(layout, state));
        [Self::first(layout, state)].into_iter().chain(second).collect()
    }

    /// True for the machine.
    pub(crate) fn is_first(&self) -> bool {
        self.netns.is_none()
    }

    /// What is remembered of it, if there is something.
    pub(crate) fn kept<'a>(&self, state: &'a State) -> Option<&'a Kept> {
        if self.is_first() { Some(&state.first) } else { state.second.as_ref() }
    }

    /// The same, to be changed.
    pub(crate) fn kept_mut<'a>(&self, state: &'a mut State) -> &'a mut Kept {
        if self.is_first() { &mut state.first } else { state.second.get_or_insert_default() }
    }

    /// A program of the machine, run in the node's network.
    pub(crate) fn command(&self, program: &str) -> Command {
        let Some(netns) = &self.netns else { return cmd::system(program) };
        let mut command = cmd::system("nsenter");
        command.arg(format!("--net={}", netns.display())).arg("--");
        command.arg(cmd::which(program).unwrap_or_else(|| PathBuf::from(program)));
        command
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::layout::Ports;
    use super::*;

    #[test]
    fn two_nodes_share_a_network_and_nothing_in_it() {
        let layout = Layout::at(Path::new("/c/devhost"));
        let alone = State::on(10, 11, Ports::from_base(16000));
        assert_eq!(Node::all(&layout, &alone).len(), 1);
        let state = State { second: Some(Kept::default()), ..alone };
        let [first, second]: [Node; 2] = Node::all(&layout, &state).try_into().unwrap();
        assert_eq!((first.ip, first.pods.1), (Ipv4Addr::new(10, 10, 0, 1), Ipv4Addr::new(10, 10, 239, 255)));
        assert_eq!((second.ip, second.pods.0), (Ipv4Addr::new(10, 10, 240, 1), Ipv4Addr::new(10, 10, 240, 2)));
        assert!(first.ip < first.pods.0 && first.pods.1 < second.ip && second.ip < second.pods.0);
        assert_eq!(second.files.text("kubelet"), "/c/devhost/second/kubelet");
        assert_eq!(second.cgroup, "hexabase/second");
    }

    #[test]
    fn what_runs_on_the_second_node_runs_in_its_namespace() {
        let layout = Layout::at(Path::new("/c/devhost"));
        let node = Node::second(&layout, &State::on(10, 11, Ports::from_base(16000)));
        let command = node.command("hexabase-no-such-tool");
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
        assert_eq!(arguments, ["--net=/c/devhost/second/netns", "--", "hexabase-no-such-tool"]);
    }
}
