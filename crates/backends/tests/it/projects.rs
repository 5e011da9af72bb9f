use std::collections::BTreeMap;

use anyhow::Context;
use hexabase_backends::store::projects::{self, NewProject, ProjectChange};
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_backends::store::{Store, StoreError, Unique};
use hexabase_core::ids::ProjectId;
use hexabase_core::phases::ProjectPhase;
use hexabase_core::projects::{NetworkIsolation, PodSecurity, ProjectLabels};
use hexabase_core::quantity::{Bytes, Cpu};
use hexabase_core::quota::Amounts;
use hexabase_testkit::clock::new_id;
use hexabase_testkit::on_both_engines;

use crate::scenery::{add_organization, add_workspace, is_stale, now};

pub(crate) fn limits() -> Amounts {
    Amounts {
        cpu: Cpu::from_millis(500),
        memory: Bytes::from_gibibytes(1),
        storage: Bytes::from_gibibytes(2),
        pods: 5,
        services: 5,
        load_balancers: 0,
        persistent_volume_claims: 5,
        objects: 50,
    }
}

pub(crate) fn new_project(name: &str, parent: Option<&ProjectId>) -> anyhow::Result<NewProject> {
    Ok(NewProject {
        id: new_id(now()),
        name: name.parse()?,
        limits: limits(),
        parent_id: parent.cloned(),
        labels: ProjectLabels::default(),
        pod_security: PodSecurity::Restricted,
        network: NetworkIsolation::Isolated,
    })
}

async fn add(store: &Store, scope: &WorkspaceScope, name: &str) -> anyhow::Result<ProjectId> {
    add_below(store, scope, name, None).await
}

pub(crate) async fn add_below(
    store: &Store,
    scope: &WorkspaceScope,
    name: &str,
    parent: Option<&ProjectId>,
) -> anyhow::Result<ProjectId> {
    let new = new_project(name, parent)?;
    let tx = store.begin().await?;
    projects::insert(&tx, scope, &new, now()).await?;
    tx.commit().await?;
    Ok(new.id)
}

on_both_engines! {
    async fn a_project_lives_from_creation_to_deletion(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let scope = add_workspace(&store, &organization, "shop").await?;
        let id = add(&store, &scope, "web").await?;
        let tx = store.begin().await?;
        assert!(is_stale(&projects::set_phase(&tx, &id, ProjectPhase::Deleted, now()).await), "nobody asked for it");
        projects::set_phase(&tx, &id, ProjectPhase::Ready, now()).await?;
        tx.commit().await?;
        let project = projects::get(&*store, &scope, &id).await?.context("the project")?;
        assert_eq!((project.phase, project.name.as_str()), (ProjectPhase::Ready, "web"));
        assert_eq!(project.limits, limits());

        let tx = store.begin().await?;
        assert!(projects::request_deletion(&tx, &scope, &id).await?);
        assert!(!projects::request_deletion(&tx, &scope, &id).await?);
        assert!(is_stale(&projects::set_phase(&tx, &id, ProjectPhase::Ready, now()).await));
        tx.commit().await?;
        assert_eq!(projects::count_living(&*store, &scope).await?, 1);
        let tx = store.begin().await?;
        projects::set_phase(&tx, &id, ProjectPhase::Deleted, now()).await?;
        tx.commit().await?;
        assert_eq!(projects::count_living(&*store, &scope).await?, 0);
        let project = projects::get(&*store, &scope, &id).await?.context("kept as a record")?;
        assert_eq!((project.phase, project.deleted_at), (ProjectPhase::Deleted, Some(now())));
        add(&store, &scope, "web").await?;
    }

    async fn a_project_knows_what_it_stands_below(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let web = add(&store, &scope, "web").await?;
        let api = add_below(&store, &scope, "api", Some(&web)).await?;
        assert_eq!(projects::get(&*store, &scope, &api).await?.context("the project")?.parent_id, Some(web.clone()));
        assert_eq!(projects::count_below(&*store, &scope, &web).await?, 1);
        assert_eq!(projects::count_below(&*store, &scope, &api).await?, 0);
        let tx = store.begin().await?;
        projects::request_deletion(&tx, &scope, &api).await?;
        assert_eq!(projects::count_below(&tx, &scope, &web).await?, 1, "its namespace is still there");
        projects::set_phase(&tx, &api, ProjectPhase::Deleted, now()).await?;
        assert_eq!(projects::count_below(&tx, &scope, &web).await?, 0);
        tx.commit().await?;
        let nowhere = new_project("lost", Some(&new_id(now())))?;
        let tx = store.begin().await?;
        let refused = projects::insert(&tx, &scope, &nowhere, now()).await;
        assert!(matches!(refused, Err(StoreError::MissingReference)), "{refused:?}");
    }

    async fn what_people_decide_about_a_project_changes_until_it_leaves(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let (web, api) = (add(&store, &scope, "web").await?, add(&store, &scope, "api").await?);
        let labels = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
        let change = ProjectChange {
            limits: Amounts { pods: 7, ..limits() },
            parent_id: Some(web.clone()),
            labels: labels.try_into()?,
            pod_security: PodSecurity::Baseline,
            network: NetworkIsolation::Open,
        };
        let bank = add_workspace(&store, &add_organization(&store, "Bob").await?, "bank").await?;
        let tx = store.begin().await?;
        assert!(!projects::update(&tx, &bank, &api, &change).await?, "it is of another workspace");
        assert!(projects::update(&tx, &scope, &api, &change).await?);
        let found = projects::get(&tx, &scope, &api).await?.context("the project")?;
        assert_eq!((found.limits.pods, found.parent_id, found.labels), (7, Some(web.clone()), change.labels.clone()));
        assert_eq!((found.pod_security, found.phase), (PodSecurity::Baseline, ProjectPhase::Creating));
        assert_eq!(found.network, NetworkIsolation::Open);
        projects::request_deletion(&tx, &scope, &api).await?;
        assert!(!projects::update(&tx, &scope, &api, &change).await?);
    }

    async fn a_project_of_another_workspace_is_not_found(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let shop = add_workspace(&store, &organization, "shop").await?;
        let bank = add_workspace(&store, &organization, "bank").await?;
        let id = add(&store, &shop, "web").await?;
        add(&store, &bank, "web").await?;
        assert_eq!(projects::get(&*store, &bank, &id).await?, None);
        let tx = store.begin().await?;
        assert!(!projects::request_deletion(&tx, &bank, &id).await?);
        drop(tx);
        assert_eq!(projects::list(&*store, &shop, None, 10).await?.len(), 1);
        let again = new_project("web", None)?;
        let tx = store.begin().await?;
        let refused = projects::insert(&tx, &shop, &again, now()).await;
        assert!(matches!(refused, Err(StoreError::NotUnique(Unique::ProjectName))), "{refused:?}");
    }
}
