//! Who reaches whom, with real connections, on a host that enforces network policies: two tenants and an outsider, before,
//! during and after creation, sleep, wake and deletion. What the policies say without a host: `src/host/network/reach.rs`.

mod places;
mod projects;
mod stand_ins;
mod watch;

use std::collections::BTreeSet;

use hexabase_reconcile::Workloads;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, AttachParams, DeleteParams, PostParams};
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::sleep::asleep;
use crate::support::{cleaned, client, desired, eventually, host, namespace, objects, project, ready, remove};
use places::{Place, Tenant, on_the_host};
use stand_ins::StandIns;
use watch::Watch;

/// What the pod of a tenant reaches: of itself, of the other one nothing, of the host nothing, and the internet.
const WANTED: [&str; 6] = ["own pod", "own service", "own DNS", "own DNS by UDP", "own API", "public"];
/// What nobody's policy is about. That it is reached shows that the others would find somebody there.
const OPEN: [&str; 5] = ["host API", "node", "kubelet", "metadata", "public"];

/// A pod that tries to reach places.
#[derive(Clone)]
struct Caller {
    client: Client,
    namespace: String,
    pod: String,
}

impl Caller {
    fn new(client: &Client, namespace: &str, pod: &str) -> Self {
        Self { client: client.clone(), namespace: namespace.to_owned(), pod: pod.to_owned() }
    }

    /// The names of those places that it reaches, all tried at once.
    async fn reached(&self, places: &[Place]) -> Option<BTreeSet<String>> {
        let tries = places
            .iter()
            .enumerate()
            .map(|(number, place)| format!("({} </dev/null >/dev/null 2>&1 && echo {number}) &", place.attempt()));
        let script = tries.chain(["wait".to_owned()]).collect::<Vec<_>>().join("\n");
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let streams = AttachParams::default().stderr(false);
        let mut process = pods.exec(&self.pod, ["/bin/busybox", "sh", "-c", &script], &streams).await.ok()?;
        let mut text = String::new();
        process.stdout()?.read_to_string(&mut text).await.ok()?;
        let numbers = text.lines().filter_map(|line| line.trim().parse::<usize>().ok());
        Some(numbers.filter_map(|number| places.get(number)).map(|place| place.name.clone()).collect())
    }

    /// Tries until everything is reached that is wanted; nothing else may be reached even once.
    async fn reaches(&self, places: &[Place], wanted: &[&str]) {
        let wanted: BTreeSet<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        let what = format!("{} in {} reaches {} of {} places", self.pod, self.namespace, wanted.len(), places.len());
        eventually(&what, || async {
            let reached = self.reached(places).await?;
            let unwanted: Vec<&String> = reached.difference(&wanted).collect();
            assert!(unwanted.is_empty(), "{} in {} reaches {unwanted:?}", self.pod, self.namespace);
            (reached == wanted).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a host that enforces network policies: cargo xtask check --network-policy"]
async fn every_pair_is_connected_that_should_be_and_no_other_whatever_happens_meanwhile() {
    let (mut first, mut second) = (desired(), desired());
    first.projects = vec![project("shop")];
    second.projects = vec![project("shop")];
    let outside = format!("outside-{}", first.id);
    let host = host().await;
    let (runner, place) = (host.clone(), outside.clone());
    let outcome = tokio::spawn(async move {
        let ids = vec![first.id.clone(), second.id.clone()];
        cleaned(&host, ids, async move {
            let client = client().await;
            let stand_ins = StandIns::make().await;
            let fixed = places::fixed(&client, &stand_ins).await;
            let outsider = outsider(&client, &place).await;
            let observed = ready(&runner, &first).await;
            let one = Tenant::settle(&client, &first.id, &observed.tenant.unwrap()).await;
            let caller = Caller::new(&client, &one.namespace, &one.caller);

            // Alone, before there is another one.
            let alone = [one.places("own"), fixed.clone()].concat();
            caller.reaches(&alone, &WANTED).await;
            outsider.reaches(&alone, &OPEN).await;

            // From here on, without a pause, all that is ever there.
            let other = Caller::new(&client, &namespace(&second.id), &on_the_host("caller", "shop", &second.id));
            let watch = Watch::start([&caller, &outsider, &other], &one, &fixed);

            let observed = ready(&runner, &second).await;
            let mut two = Tenant::settle(&client, &second.id, &observed.tenant.unwrap()).await;
            both(&caller, &other, &outsider, [&one, &two], &fixed).await;
            let mut kept = two.places("own");
            kept.retain(|place| place.name != "own API");
            watch.expect_of_newcomer(kept);

            // Without a control plane, while what it made goes on.
            asleep(&runner, &second, Workloads::Stay).await;
            let left = [two.places("own"), one.places("other"), fixed.clone()].concat();
            let without_api: Vec<&str> = WANTED.into_iter().filter(|name| *name != "own API").collect();
            other.reaches(&left, &without_api).await;
            caller.reaches(&[one.places("own"), two.places("other"), fixed.clone()].concat(), &WANTED).await;

            ready(&runner, &second).await;
            both(&caller, &other, &outsider, [&one, &two], &fixed).await;

            // With all that runs in it, as a workspace sleeps of itself: at the end all of that comes up at once.
            watch.expect_of_newcomer(Vec::new());
            asleep(&runner, &second, Workloads::Stop).await;
            caller.reaches(&alone, &WANTED).await;
            outsider.reaches(&alone, &OPEN).await;
            let observed = ready(&runner, &second).await;
            two.settle_again(&client, &second.id, &observed.tenant.unwrap()).await;
            both(&caller, &other, &outsider, [&one, &two], &fixed).await;

            remove(&runner, &second.id, 2).await;
            caller.reaches(&alone, &WANTED).await;
            outsider.reaches(&alone, &OPEN).await;
            let [(rounds, wrong), (visits, wrong_of_newcomer)] = watch.stop().await;
            println!("watched for {rounds} rounds, the one that came for {visits}");
            assert!(rounds > 10 && visits > 5, "{rounds}, {visits}");
            assert_eq!([wrong, wrong_of_newcomer].concat(), Vec::<String>::new());
        })
        .await;
    })
    .await;
    // It may not have been made.
    let _ = objects(&client().await, "v1", "Namespace", None).delete(&outside, &DeleteParams::default()).await;
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Every caller to every place.
async fn both(one: &Caller, two: &Caller, outsider: &Caller, tenants: [&Tenant; 2], fixed: &[Place]) {
    for (caller, own, other) in [(one, tenants[0], tenants[1]), (two, tenants[1], tenants[0])] {
        let all = [own.places("own"), other.places("other"), fixed.to_vec()].concat();
        assert_eq!(all.iter().map(|place| place.name.as_str()).collect::<BTreeSet<_>>().len(), 15);
        caller.reaches(&all, &WANTED).await;
    }
    let all = [tenants[0].places("one's"), tenants[1].places("the other's"), fixed.to_vec()].concat();
    outsider.reaches(&all, &OPEN).await;
}

/// A pod that no policy is about.
async fn outsider(client: &Client, place: &str) -> Caller {
    let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": place } });
    let namespaces = objects(client, "v1", "Namespace", None);
    namespaces.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    places::running_pod(client, place, "outsider").await;
    Caller::new(client, place, "outsider")
}
