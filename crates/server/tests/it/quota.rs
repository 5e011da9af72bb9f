//! How an organisation's quota is shared out among workspaces, and a workspace's plan among projects and those below them.

use anyhow::Result;
use hexabase_app::organization_quota;
use hexabase_backends::store::projects;
use hexabase_core::ids::OrganizationId;
use hexabase_core::phases::ProjectPhase;
use hexabase_core::quota::{Amounts, Resource};
use hexabase_testkit::http::Answer;
use hexabase_testkit::tenant::FakeTenant;
use serde_json::{Value, json};

use crate::role_assignments::team;
use crate::roles::answering;
use crate::support::{Person, Platform, items, problem, text};

/// A workspace under the plan `standard`: 4 CPUs, 8Gi, 50 pods, 10 projects.
struct Shop {
    alice: Person,
    path: String,
}

impl Shop {
    async fn open(platform: &Platform) -> Result<Self> {
        let alice = platform.person("alice").await?;
        let path = format!("/api/v1/workspaces/{}", alice.workspace("shop").await?);
        Ok(Self { alice, path })
    }

    async fn try_project(&self, name: &str, cpu: Option<&str>, parent: Option<&str>) -> Result<Answer> {
        let body = json!({ "name": name, "quota": { "cpu": cpu }, "parent": parent });
        self.alice.api.post(&format!("{}/projects", self.path), &body).await
    }

    /// The id of a new project.
    async fn project(&self, name: &str, cpu: &str, parent: Option<&str>) -> Result<String> {
        Ok(text(&self.try_project(name, Some(cpu), parent).await?.expect(201)?.json()?["id"]))
    }

    async fn change(&self, project: &str, body: Value) -> Result<Answer> {
        self.alice.api.patch(&format!("{}/projects/{project}", self.path), &body).await
    }

    async fn give_cpu(&self, project: &str, cpu: &str) -> Result<Answer> {
        self.change(project, json!({ "quota": { "cpu": cpu } })).await
    }

    async fn one(&self, project: &str) -> Result<Value> {
        self.alice.api.get(&format!("{}/projects/{project}", self.path)).await?.expect(200)?.json()
    }

    /// What is left of the plan's CPU.
    async fn left(&self) -> Result<String> {
        let quota = self.alice.api.get(&format!("{}/quota", self.path)).await?.expect(200)?.json()?;
        Ok(text(&quota["left"]["cpu"]))
    }
}

fn says(answer: &Answer, status: u16, code: &str, words: &[&str]) {
    let body = problem(answer, status, code);
    let detail = text(&body["detail"]);
    assert!(words.iter().all(|word| detail.contains(word)), "{words:?} in {detail}");
}

#[tokio::test]
async fn what_is_left_is_known_before_anything_is_asked_for() -> Result<()> {
    let platform = Platform::start().await?;
    let shop = Shop::open(&platform).await?;
    let quota = shop.alice.api.get(&format!("{}/quota", shop.path)).await?.expect(200)?.json()?;
    assert_eq!(
        (&quota["plan"], &quota["limit"], &quota["left"]),
        (&json!("standard"), &quota["left"], &quota["limit"])
    );
    assert_eq!((&quota["default_project"]["cpu"], &quota["given"]["cpu"]), (&json!("400m"), &json!("0")));
    assert_eq!(quota["projects"], json!({ "limit": 10, "used": 0 }));
    assert_eq!(quota["used"], Value::Null, "nothing of it was ever counted");
    assert_eq!(quota["members"], json!({ "limit": 50, "used": 1 }));
    let web = shop.project("web", "3", None).await?;
    shop.project("api", "2", Some(&web)).await?;
    assert_eq!(shop.left().await?, "1", "what is below is part of what is above");
    let found = shop.one(&web).await?;
    assert_eq!((&found["quota"]["cpu"], &found["available"]["cpu"]), (&json!("3"), &json!("1")));
    let listed = items(&shop.alice.api.get(&format!("{}/projects", shop.path)).await?);
    assert!(listed.contains(&found), "{listed:?}");
    Ok(())
}

#[tokio::test]
async fn more_than_is_left_is_refused_with_the_limit_and_who_can_raise_it() -> Result<()> {
    let platform = Platform::start().await?;
    let shop = Shop::open(&platform).await?;
    let web = shop.project("web", "3", None).await?;
    let refused = shop.try_project("api", Some("1500m"), None).await?;
    says(&refused, 409, "limit_reached", &["cpu", "1500m", "the 1 that", "plan standard", "WSAdmins", "an admin"]);
    // Everything of which it is too much is named at once, and nothing else.
    shop.change(&web, json!({ "quota": { "pods": 50 } })).await?.expect(200)?;
    let body = json!({ "name": "api", "quota": { "cpu": "2", "pods": 2, "memory": "1Gi" } });
    let refused = shop.alice.api.post(&format!("{}/projects", shop.path), &body).await?;
    let words = &[
        "2 of cpu is more than the 1, and 2 of pods is more than the 0 that can be had of the plan standard; members",
    ];
    says(&refused, 409, "limit_reached", words);
    shop.change(&web, json!({ "quota": { "pods": 5 } })).await?.expect(200)?;
    let refused = shop.try_project("api", Some("5"), None).await?;
    assert_eq!(problem(&refused, 422, "invalid")["field"], "quota.cpu");
    let api = shop.project("api", "2", Some(&web)).await?;
    let refused = shop.try_project("more", Some("2"), Some(&web)).await?;
    says(&refused, 409, "limit_reached", &["cpu", "the 1 that", "project web", "WSAdmins"]);
    let refused = shop.try_project("more", Some("4"), Some(&web)).await?;
    says(&refused, 422, "invalid", &["the project web has, which is 3; members of WSAdmins can"]);
    says(&shop.give_cpu(&api, "3500m").await?, 422, "invalid", &["the project web has"]);
    says(&shop.give_cpu(&web, "1").await?, 409, "quota_in_use", &["the share of the project web", "cpu", "api (2)"]);
    shop.give_cpu(&web, "2").await?.expect(200)?;
    assert_eq!(shop.left().await?, "2");
    shop.give_cpu(&web, "4").await?.expect(200)?;
    shop.give_cpu(&api, "4").await?.expect(200)?;
    says(&shop.try_project("none", None, None).await?, 409, "limit_reached", &["no cpu is left of the 4"]);
    Ok(())
}

#[tokio::test]
async fn less_than_pods_use_is_refused_with_the_pods_if_the_workspace_answers() -> Result<()> {
    let platform = Platform::start().await?;
    let shop = Shop::open(&platform).await?;
    let web = shop.project("web", "3", None).await?;
    shop.project("api", "500m", Some(&web)).await?;
    let is = async |phase: ProjectPhase| {
        let store = platform.store().await?;
        let tx = store.begin().await?;
        projects::set_phase(&tx, &web.parse()?, phase, platform.clock.now()).await?;
        anyhow::Ok(tx.commit().await?)
    };
    is(ProjectPhase::Ready).await?;
    let tenant = answering(&platform, shop.path.rsplit('/').next().unwrap_or_default()).await?;
    let pod = |name: &str, cpu: &str| {
        let resources = json!({ "limits": { "cpu": cpu, "memory": "64Mi" } });
        json!({ "metadata": { "name": name }, "spec": { "containers": [{ "name": "c", "resources": resources }] } })
    };
    let pods = json!([pod("front", "500m"), pod("back", "1")]);
    let list = json!({ "apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": pods });
    let used = json!({ "limits.cpu": "1500m", "requests.cpu": "50m", "limits.memory": "128Mi", "pods": "2" });
    let quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "hexabase-quota" },
        "status": { "used": used } });
    tenant.answer("GET", "/api/v1/namespaces/web/pods", 200, list);
    tenant.answer("GET", "/api/v1/namespaces/web/resourcequotas/hexabase-quota", 200, quota);
    // Nothing is asked for somebody who may not change it anyway.
    let bob = platform.person("bob").await?;
    let workspace = shop.path.rsplit('/').next().unwrap_or_default();
    shop.alice.add(workspace, &bob.id, &[]).await?.expect(201)?;
    let path = format!("{}/projects/{web}", shop.path);
    let refused = bob.api.patch(&path, &json!({ "quota": { "cpu": "1m" } })).await?;
    problem(&refused, 403, "forbidden");
    let asked = || tenant.asked("GET").into_iter().find(|asked| asked.path == "/api/v1/namespaces/web/pods");
    assert!(asked().is_none());
    // A half of it is given on already.
    let words = &["1400m of cpu would be left", "1500m is used", "back (1), front (500m)"];
    says(&shop.give_cpu(&web, "1900m").await?, 409, "quota_in_use", words);
    let query = asked().map(|asked| asked.query).unwrap_or_default();
    assert!(query.contains("limit=100"), "{query}");
    // Nor while something of it is missing.
    is(ProjectPhase::Creating).await?;
    says(&shop.give_cpu(&web, "1900m").await?, 409, "quota_in_use", words);
    // Of what nobody uses it may be less.
    shop.change(&web, json!({ "quota": { "cpu": "4", "objects": 40 } })).await?.expect(200)?;
    shop.give_cpu(&web, "2").await?.expect(200)?;
    // What is used is known also where nobody can tell of which pods.
    tenant.refuse("GET", "/api/v1/namespaces/web/pods", 403, "pods is forbidden");
    says(&shop.give_cpu(&web, "1").await?, 409, "quota_in_use", &["500m of cpu would be left", "1500m is used"]);
    // Nobody knows.
    tenant.refuse("GET", "/api/v1/namespaces/web/resourcequotas/hexabase-quota", 403, "resourcequotas is forbidden");
    shop.give_cpu(&web, "1").await?.expect(200)?;
    Ok(())
}

/// From now on this much CPU is used in the namespace of a project, by one pod.
fn uses(tenant: &FakeTenant, project: &str, pod: &str, cpu: &str) {
    let resources = json!({ "limits": { "cpu": cpu } });
    let spec = json!({ "containers": [{ "name": "c", "resources": resources }] });
    let pods = json!([{ "metadata": { "name": pod }, "spec": spec }]);
    let list = json!({ "apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": pods });
    let quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "hexabase-quota" },
        "status": { "used": { "limits.cpu": cpu } } });
    let namespace = format!("/api/v1/namespaces/{project}");
    tenant.answer("GET", &format!("{namespace}/pods"), 200, list);
    tenant.answer("GET", &format!("{namespace}/resourcequotas/hexabase-quota"), 200, quota);
}

#[tokio::test]
async fn no_project_is_given_what_is_used_in_the_one_above_it() -> Result<()> {
    let platform = Platform::start().await?;
    let shop = Shop::open(&platform).await?;
    let hall = shop.project("hall", "1", None).await?;
    let yard = shop.project("yard", "500m", None).await?;
    let tenant = answering(&platform, shop.path.rsplit('/').next().unwrap_or_default()).await?;
    uses(&tenant, "hall", "busy", "600m");
    let left = "200m of cpu would be left for the namespace of hall, in which 600m is used";
    let words = &[left, "busy (600m)", "; ask for less, or end some of that first"];
    says(&shop.try_project("room", Some("800m"), Some(&hall)).await?, 409, "quota_in_use", words);
    let room = shop.project("room", "200m", Some(&hall)).await?;
    says(&shop.give_cpu(&room, "800m").await?, 409, "quota_in_use", words);
    shop.give_cpu(&room, "400m").await?.expect(200)?;
    let below = json!({ "parent": hall, "quota": { "memory": "1Mi", "storage": "1Mi", "pods": 1, "services": 1,
        "persistent_volume_claims": 1, "objects": 1 } });
    let refused = shop.change(&yard, below.clone()).await?;
    says(&refused, 409, "quota_in_use", &["100m of cpu would be left for the namespace of hall", "busy (600m)"]);
    // Nobody knows.
    tenant.refuse("GET", "/api/v1/namespaces/hall/resourcequotas/hexabase-quota", 403, "resourcequotas is forbidden");
    shop.change(&yard, below).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_project_below_another_one_gets_half_of_what_that_has_left() -> Result<()> {
    let platform = Platform::start().await?;
    let shop = Shop::open(&platform).await?;
    let web = shop.project("web", "1", None).await?;
    let share = async |name: &str| {
        let made = shop.try_project(name, None, Some(&web)).await?.expect(201)?.json()?;
        anyhow::Ok((text(&made["quota"]["cpu"]), made["quota"]["pods"].as_u64()))
    };
    assert_eq!(share("one").await?, ("500m".to_owned(), Some(3)));
    assert_eq!(share("two").await?, ("250m".to_owned(), Some(1)));
    assert_eq!(share("three").await?, ("125m".to_owned(), Some(1)));
    says(&shop.try_project("four", None, Some(&web)).await?, 409, "limit_reached", &["no pods", "the project web has"]);
    Ok(())
}

#[tokio::test]
async fn a_project_below_a_busy_one_gets_half_of_what_is_not_used_there() -> Result<()> {
    let platform = Platform::start().await?;
    let shop = Shop::open(&platform).await?;
    let hall = shop.project("hall", "1", None).await?;
    let tenant = answering(&platform, shop.path.rsplit('/').next().unwrap_or_default()).await?;
    uses(&tenant, "hall", "busy", "600m");
    let room = shop.try_project("room", None, Some(&hall)).await?.expect(201)?.json()?;
    assert_eq!(room["quota"]["cpu"], "200m");
    uses(&tenant, "hall", "busy", "800m");
    let words = &["no cpu is left of the 1 that the project hall has", "end some of what is used in it"];
    says(&shop.try_project("den", None, Some(&hall)).await?, 409, "limit_reached", words);
    // Nobody has to look for what is refused in any case.
    let asked = tenant.asked("GET").len();
    problem(&shop.try_project("room", Some("1m"), Some(&hall)).await?, 409, "name_taken");
    assert_eq!(tenant.asked("GET").len(), asked);
    Ok(())
}

#[tokio::test]
async fn a_project_that_leaves_keeps_its_share_until_its_namespace_is_gone() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let shop = Shop::open(&platform).await?;
        let web = shop.project("web", "3", None).await?;
        let api = shop.project("api", "2", Some(&web)).await?;
        let leave = async |project: &str| -> Result<()> {
            shop.alice.api.delete(&format!("{}/projects/{project}", shop.path)).await?.expect(202)?;
            Ok(())
        };
        // As the worker notes it.
        let is_gone = async |project: &str| -> Result<()> {
            let store = platform.store().await?;
            let tx = store.begin().await?;
            projects::set_phase(&tx, &project.parse()?, ProjectPhase::Deleted, platform.clock.now()).await?;
            Ok(tx.commit().await?)
        };
        let headroom = async || shop.alice.api.get(&format!("{}/quota", shop.path)).await?.expect(200)?.json();
        let before = headroom().await?;

        leave(api.as_str()).await?;
        assert_eq!(shop.one(&web).await?["available"]["cpu"], "1", "its pods may still run");
        let refused = shop.try_project("next", Some("2"), Some(&web)).await?;
        says(&refused, 409, "limit_reached", &["the 1 that", "project web"]);
        is_gone(api.as_str()).await?;
        assert_eq!(shop.one(&web).await?["available"]["cpu"], "3");

        leave(web.as_str()).await?;
        let left = headroom().await?;
        assert_eq!((&left["left"], &left["given"]), (&before["left"], &before["given"]));
        assert_eq!(left["projects"]["used"], 1);
        let refused = shop.try_project("next", Some("2"), None).await?;
        says(&refused, 409, "limit_reached", &["the 1 that", "plan standard"]);
        is_gone(web.as_str()).await?;
        let left = headroom().await?;
        assert_eq!((&left["left"], &left["given"]["cpu"]), (&left["limit"], &json!("0")));
        assert_eq!(left["projects"]["used"], 0);
        shop.project("next", "4", None).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_project_moves_with_all_below_it_where_there_is_room() -> Result<()> {
    let platform = Platform::start().await?;
    let shop = Shop::open(&platform).await?;
    let web = shop.project("web", "2", None).await?;
    let api = shop.project("api", "1", Some(&web)).await?;
    let other = shop.project("other", "1500m", None).await?;
    for (project, parent) in [(&web, &web), (&web, &api)] {
        let refused = shop.change(project, json!({ "parent": parent })).await?;
        assert_eq!(problem(&refused, 422, "invalid")["field"], "parent");
    }
    says(&shop.change(&api, json!({ "parent": null })).await?, 409, "limit_reached", &["cpu", "plan standard"]);
    says(&shop.change(&other, json!({ "parent": web })).await?, 409, "limit_reached", &["project web"]);
    // With less it fits.
    let body = json!({ "parent": other, "quota": { "cpu": "500m", "memory": "1Mi", "storage": "1Mi", "pods": 1, "services": 1,
        "persistent_volume_claims": 1, "objects": 1 } });
    let moved = shop.change(&api, body).await?.expect(200)?.json()?;
    assert_eq!((&moved["parent"], &moved["quota"]["cpu"]), (&json!(other), &json!("500m")));
    assert_eq!(shop.one(&web).await?["available"]["cpu"], "2");
    assert_eq!(shop.one(&other).await?["available"]["cpu"], "1");
    shop.change(&api, json!({ "parent": null })).await?.expect(200)?;
    assert_eq!((shop.left().await?, &shop.one(&api).await?["parent"]), ("0".to_owned(), &Value::Null));
    Ok(())
}

#[tokio::test]
async fn a_project_moves_no_deeper_than_one_is_made() -> Result<()> {
    let platform = Platform::start().await?;
    let shop = Shop::open(&platform).await?;
    let mut chain = vec![shop.project("a", "1", None).await?];
    for (name, cpu) in [("b", "500m"), ("c", "250m")] {
        chain.push(shop.project(name, cpu, chain.last().map(String::as_str)).await?);
    }
    let top = shop.project("top", "500m", None).await?;
    let below = shop.project("below", "250m", Some(&top)).await?;
    let small = json!({ "cpu": "10m", "memory": "1Mi", "storage": "0", "pods": 1, "services": 0,
        "persistent_volume_claims": 0, "objects": 0 });
    shop.change(&below, json!({ "quota": small })).await?.expect(200)?;
    let refused = shop.change(&top, json!({ "parent": chain[2], "quota": small })).await?;
    says(&refused, 409, "limit_reached", &["at most 4 deep", "nobody can raise"]);
    // Whoever has a role there has it in both from then on.
    let group = team(&shop.alice, shop.path.rsplit('/').next().unwrap_or_default()).await?;
    let given = json!({ "group": group, "role": "edit", "project": chain[0] });
    shop.alice.api.post(&format!("{}/role-assignments", shop.path), &given).await?.expect(201)?;
    shop.change(&top, json!({ "parent": chain[0], "quota": small })).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn labels_the_pod_security_level_and_the_network_are_set_kept_and_replaced() -> Result<()> {
    let platform = Platform::start().await?;
    let shop = Shop::open(&platform).await?;
    let body = json!({ "name": "web", "labels": { "team": "shop" }, "pod_security": "baseline" });
    let made = shop.alice.api.post(&format!("{}/projects", shop.path), &body).await?.expect(201)?.json()?;
    assert_eq!((&made["labels"], &made["pod_security"]), (&body["labels"], &body["pod_security"]));
    let web = text(&made["id"]);
    let strict = shop.change(&web, json!({ "pod_security": "restricted" })).await?.expect(200)?.json()?;
    assert_eq!((&strict["labels"], &strict["pod_security"]), (&body["labels"], &json!("restricted")));
    let bare = shop.change(&web, json!({ "labels": {} })).await?.expect(200)?.json()?;
    assert_eq!(
        (&bare["labels"], &bare["pod_security"], &bare["quota"]),
        (&json!({}), &json!("restricted"), &made["quota"])
    );
    for labels in
        [json!({ "pod-security.kubernetes.io/enforce": "privileged" }), json!({ "a b": "c" }), json!({ "a": "b c" })]
    {
        let refused = shop.change(&web, json!({ "labels": labels })).await?;
        assert_eq!(problem(&refused, 422, "invalid")["field"], "labels", "{labels}");
    }
    problem(&shop.change(&web, json!({ "pod_security": "privileged" })).await?, 422, "invalid");
    let open = shop.change(&web, json!({ "network": "open" })).await?.expect(200)?.json()?;
    assert_eq!((&open["network"], &open["pod_security"]), (&json!("open"), &json!("restricted")));
    problem(&shop.change(&web, json!({ "network": "host" })).await?, 422, "invalid");
    let bare = shop.change(&web, json!({ "network": "isolated" })).await?.expect(200)?.json()?;
    problem(&shop.change(&web, json!({ "name": "other" })).await?, 422, "invalid");
    // Nothing new is no change.
    assert_eq!(shop.change(&web, json!({})).await?.expect(200)?.json()?, bare);
    shop.alice.api.delete(&format!("{}/projects/{web}", shop.path)).await?.expect(202)?;
    problem(&shop.change(&web, json!({ "labels": {} })).await?, 409, "not_ready");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn shares_that_are_asked_for_at_once_do_not_exceed_the_plan() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let shop = Shop::open(&platform).await?;
        let names: Vec<String> = (0..6).map(|number| format!("web-{number}")).collect();
        let made = names.iter().map(|name| shop.try_project(name, Some("1500m"), None));
        let answers = futures::future::try_join_all(made).await?;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 2, "{answers:?}");
        assert_eq!(shop.left().await?, "1");
        let ids: Vec<String> = items(&shop.alice.api.get(&format!("{}/projects", shop.path)).await?)
            .iter()
            .map(|project| text(&project["id"]))
            .collect();
        let raised = futures::future::try_join_all(ids.iter().map(|id| shop.give_cpu(id, "2500m"))).await?;
        assert_eq!(raised.iter().filter(|answer| answer.status == 200).count(), 1, "{raised:?}");
        assert_eq!(shop.left().await?, "0");
    }
    Ok(())
}

#[tokio::test]
async fn an_organization_has_no_more_than_the_operator_allows_and_reads_that_in_its_log() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let shop = Shop::open(&platform).await?;
        let (store, organization): (_, OrganizationId) = (platform.store().await?, shop.alice.organization.parse()?);
        let path = format!("/api/v1/organizations/{organization}/quota");
        let quota = async || shop.alice.api.get(&path).await?.expect(200)?.json();
        assert_eq!((&quota().await?["limit"], &quota().await?["given"]["pods"]), (&Value::Null, &json!(50)));
        // Room for the plans standard and free, and for half of another free one.
        let pods = |resource: Resource| if resource == Resource::Pods { 65 } else { u64::from(u32::MAX) << 20 };
        let (allowed, less) = (Amounts::of(pods), Amounts::of(|_| 1));
        let set = async |amounts: Option<&Amounts>| {
            organization_quota::set(&store, &platform.clock, &organization, amounts, "ada").await
        };
        let refused = set(Some(&less)).await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains("the plans of shop (plan standard) give"), "{refused}");
        set(Some(&allowed)).await?;
        assert_eq!(quota().await?["left"]["pods"], 15);
        let refused = shop.alice.create_workspace("large", "standard").await?;
        says(&refused, 409, "limit_reached", &["50 of pods", "the 15 that", "the platform's operator"]);
        let small = text(&shop.alice.create_workspace("small", "free").await?.expect(201)?.json()?["id"]);
        let premium = json!({ "plan": "premium" });
        let api = &shop.alice.api;
        let path = format!("/api/v1/workspaces/{small}/plan");
        let refused = api.send(api.request(reqwest::Method::PUT, &path).json(&premium)).await?;
        says(&refused, 409, "limit_reached", &["250 of pods", "the 15 that"]);
        set(None).await?;
        api.send(api.request(reqwest::Method::PUT, &path).json(&premium)).await?.expect(200)?;
        let log = items(
            &api.get(&format!("/api/v1/organizations/{organization}/audit?action=organization.quota_set")).await?,
        );
        assert_eq!((log.len(), &log[0]["actor"], &log[1]["after"]), (2, &json!("operator"), &json!({ "quota": null })));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workspaces_that_are_asked_for_at_once_do_not_exceed_an_organizations_quota() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let (store, organization): (_, OrganizationId) = (platform.store().await?, alice.organization.parse()?);
        let amounts = Amounts::of(|resource| if resource == Resource::Pods { 120 } else { u64::from(u32::MAX) << 20 });
        organization_quota::set(&store, &platform.clock, &organization, Some(&amounts), "ada").await?;
        let names: Vec<String> = (0..5).map(|number| format!("shop-{number}")).collect();
        let made = names.iter().map(|name| alice.create_workspace(name, "standard"));
        let answers = futures::future::try_join_all(made).await?;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 2, "{answers:?}");
    }
    Ok(())
}
