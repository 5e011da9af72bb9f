use hexabase_backends::store::roles::{self, NewRole};
use hexabase_backends::store::{StoreError, Unique};
use hexabase_core::ids::ProjectId;
use hexabase_core::roles::{RolePhase, Rule};
use hexabase_testkit::clock::new_id;
use hexabase_testkit::on_both_engines;

use crate::projects::add_below;
use crate::scenery::{add_organization, add_workspace, now};

fn rules(verb: &str) -> Vec<Rule> {
    let word = |word: &str| vec![word.to_owned()];
    vec![Rule { api_groups: word(""), resources: word("pods"), verbs: word(verb), resource_names: word("web") }]
}

fn role(name: &str, project_id: Option<&ProjectId>) -> anyhow::Result<NewRole> {
    Ok(NewRole { id: new_id(now()), project_id: project_id.cloned(), name: name.parse()?, rules: rules("get") })
}

on_both_engines! {
    async fn a_custom_role_is_pending_until_it_is_accepted_or_refused(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let new = role("reader", None)?;
        let tx = store.begin().await?;
        roles::insert(&tx, &scope, &new, now()).await?;
        let asked = roles::get(&tx, &scope, &new.id).await?.expect("the role");
        assert_eq!((asked.phase, asked.accepted.clone(), &asked.changed_by), (RolePhase::Pending, None, scope.user()));
        assert_eq!(asked.rules, rules("get"));
        assert!(roles::accept(&tx, &asked).await?);
        assert!(!roles::accept(&tx, &asked).await?, "it is settled");
        let held = roles::get(&tx, &scope, &new.id).await?.expect("the role");
        assert_eq!((held.phase, held.accepted), (RolePhase::Ready, Some(rules("get"))));

        // Other rules, and others again while the first are being tried.
        assert!(roles::set_rules(&tx, &scope, &new.id, &rules("list"), now()).await?);
        let first = roles::get(&tx, &scope, &new.id).await?.expect("the role");
        assert_eq!((first.phase, &first.accepted), (RolePhase::Pending, &Some(rules("get"))), "what was accepted holds");
        assert!(roles::set_rules(&tx, &scope, &new.id, &rules("watch"), now()).await?);
        assert!(!roles::accept(&tx, &first).await? && !roles::refuse(&tx, &first, "no").await?);
        let second = roles::get(&tx, &scope, &new.id).await?.expect("the role");
        assert!(roles::refuse(&tx, &second, "not held").await?);
        let refused = roles::get(&tx, &scope, &new.id).await?.expect("the role");
        assert_eq!((refused.phase, refused.message.as_deref()), (RolePhase::Refused, Some("not held")));
        assert_eq!((refused.rules, refused.accepted), (rules("watch"), Some(rules("get"))));
        tx.commit().await?;
        assert_eq!(roles::list_for_job(&*store, scope.workspace()).await?.len(), 1);
        let tx = store.begin().await?;
        assert!(roles::delete(&tx, &scope, &new.id).await? && !roles::delete(&tx, &scope, &new.id).await?);
    }

    async fn a_role_name_is_unique_in_its_workspace_or_project(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let web = add_below(&store, &scope, "web", None).await?;
        let api = add_below(&store, &scope, "api", None).await?;
        let tx = store.begin().await?;
        for project in [None, Some(&web), Some(&api)] {
            roles::insert(&tx, &scope, &role("reader", project)?, now()).await?;
        }
        tx.commit().await?;
        assert_eq!(roles::count(&*store, &scope).await?, 3);
        for project in [None, Some(&web)] {
            let tx = store.begin().await?;
            let refused = roles::insert(&tx, &scope, &role("reader", project)?, now()).await;
            assert!(matches!(refused, Err(StoreError::NotUnique(Unique::RoleName))), "{refused:?}");
        }
        let tx = store.begin().await?;
        assert_eq!(roles::count_of_project(&tx, &scope, &web).await?, 1);
        let taken = roles::take_of_project(&tx, &scope, &web).await?;
        assert_eq!(taken.iter().map(|role| role.project_id.as_ref()).collect::<Vec<_>>(), [Some(&web)]);
        assert_eq!(roles::count_of_project(&tx, &scope, &web).await?, 0);
        tx.commit().await?;
        assert_eq!(roles::count(&*store, &scope).await?, 2);
    }

    async fn a_role_of_another_workspace_is_not_found(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let shop = add_workspace(&store, &organization, "shop").await?;
        let bank = add_workspace(&store, &organization, "bank").await?;
        let vault = add_below(&store, &bank, "vault", None).await?;
        let new = role("reader", Some(&vault))?;
        let tx = store.begin().await?;
        roles::insert(&tx, &bank, &new, now()).await?;
        tx.commit().await?;
        assert_eq!(roles::get(&*store, &shop, &new.id).await?, None);
        assert_eq!(roles::list(&*store, &shop).await?, []);
        let tx = store.begin().await?;
        assert!(!roles::delete(&tx, &shop, &new.id).await?);
        assert!(!roles::set_rules(&tx, &shop, &new.id, &rules("list"), now()).await?);
        assert_eq!(roles::take_of_project(&tx, &shop, &vault).await?, []);
        let stray = roles::insert(&tx, &shop, &role("reader", Some(&vault))?, now()).await;
        assert!(matches!(stray, Err(StoreError::MissingReference)), "{stray:?}");
    }
}
