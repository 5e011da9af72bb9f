//! Which projects of one workspace reach each other, with real connections. What the policies say without a host:
//! `src/host/network/reach.rs`.

use std::collections::BTreeSet;

use hexabase_core::ids::WorkspaceId;
use hexabase_core::projects::NetworkIsolation;
use hexabase_reconcile::{DesiredProject, TenantEndpoint};
use kube::Client;

use super::Caller;
use super::places::{self, Place, WEB, address_of, dns, on_the_host, place, two_pods};
use super::stand_ins::StandIns;
use crate::inside::tenant;
use crate::support::{cleaned, client, desired, eventually, host, namespace, project, ready};

/// Projects, and a namespace that is none.
const SPACES: [&str; 4] = ["bank", "mint", "shop", "default"];
/// What all pods reach, whatever the network of their project is.
const OF_ALL: [&str; 4] = ["DNS", "DNS by UDP", "API", "public"];

/// A pod that calls in each namespace, in their order, and all that they try: a pod that serves in each, and what is outside of
/// them.
struct Spaces {
    callers: Vec<Caller>,
    places: Vec<Place>,
}

impl Spaces {
    async fn settle(client: &Client, id: &WorkspaceId, endpoint: &TenantEndpoint, fixed: Vec<Place>) -> Self {
        let inside = tenant(client, id, endpoint).await;
        let on_host = namespace(id);
        let (mut callers, mut places) = (Vec::new(), fixed);
        for space in SPACES {
            places.push(place(space, &two_pods(client, &inside, id, space).await, WEB));
            callers.push(Caller::new(client, &on_host, &on_the_host("caller", space, id)));
        }
        let names = address_of(&inside, "kube-system", "kube-dns").await;
        places.extend([place("DNS", &names, 53), dns("DNS by UDP", &names)]);
        places.push(place("API", &address_of(client, &on_host, id.as_str()).await, 443));
        Self { callers, places }
    }

    /// Every caller to every place, where these namespaces are open; what is not wanted is not reached even once.
    async fn reach_each_other(&self, open: &[&'static str]) {
        for (space, caller) in SPACES.into_iter().zip(&self.callers) {
            caller.reaches(&self.places, &wanted(space, open)).await;
        }
    }

    /// The same once it has come to that: what was open may be so for a moment more.
    async fn come_to_reach(&self, open: &[&'static str]) {
        for (space, caller) in SPACES.into_iter().zip(&self.callers) {
            let wanted: BTreeSet<String> = wanted(space, open).into_iter().map(ToOwned::to_owned).collect();
            eventually(&format!("{space} reaches what it should"), || async {
                (caller.reached(&self.places).await? == wanted).then_some(())
            })
            .await;
        }
    }
}

/// Those that are open reach each other; whoever is not, its own pods only.
fn wanted(space: &'static str, open: &[&'static str]) -> Vec<&'static str> {
    let own = [space];
    let pods = if open.contains(&space) { open } else { &own[..] };
    [&OF_ALL[..], pods].concat()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a host that enforces network policies: cargo xtask check --network-policy"]
async fn projects_reach_each_other_while_both_are_open_and_isolated_ones_only_themselves() {
    let mut desired = desired();
    let networks = [NetworkIsolation::Isolated, NetworkIsolation::Isolated, NetworkIsolation::Open];
    let projects = SPACES.into_iter().zip(networks);
    desired.projects = projects.map(|(name, network)| DesiredProject { network, ..project(name) }).collect();
    let host = host().await;
    let (runner, id) = (host.clone(), desired.id.clone());
    cleaned(&host, vec![id.clone()], async move {
        let client = client().await;
        let stand_ins = StandIns::make().await;
        let fixed = places::fixed(&client, &stand_ins).await;
        let observed = ready(&runner, &desired).await;
        let spaces = Spaces::settle(&client, &id, &observed.tenant.unwrap(), fixed).await;
        spaces.reach_each_other(&["shop", "default"]).await;

        // Opened while its pods run.
        desired.projects[1].network = NetworkIsolation::Open;
        ready(&runner, &desired).await;
        spaces.reach_each_other(&["mint", "shop", "default"]).await;

        // And another one closed.
        desired.projects[2].network = NetworkIsolation::Isolated;
        ready(&runner, &desired).await;
        spaces.come_to_reach(&["mint", "default"]).await;
    })
    .await;
}
