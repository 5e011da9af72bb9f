//! Plans as an operator of the platform writes them down. There is no route for it: whoever can do this has the database anyway.

use hexabase_backends::store::plans::{self, PlanKey, PlanRecord};
use hexabase_backends::store::{MAX_PAGE, Store, workspaces};
use hexabase_core::names::{DisplayName, InvalidName, PlanName};
use hexabase_core::nodes::MOST_NODES;
use hexabase_core::plans::{KubernetesVersion, Limits, Plan, PlanVersion, Price, StoreKind};
use hexabase_core::quantity::{Bytes, Cpu};
use hexabase_core::quota::Amounts;
use hexabase_core::sleep;
use serde::Deserialize;

use crate::clock::Clock;
use crate::error::{Error, Result};

/// What a plan says, as written in a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanTerms {
    /// Readable, stable name.
    pub id: String,
    /// Name for people.
    pub display_name: String,
    /// Price of a workspace per month, in minor units of the currency.
    pub price_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// Place in lists, lowest first.
    pub display_order: i32,
    /// How many nodes of its own a workspace can have; it runs on shared ones when absent.
    #[serde(default)]
    pub max_nodes: u32,
    /// The release of Kubernetes in its workspaces; the installation's own when absent.
    #[serde(default)]
    pub kubernetes: Option<KubernetesVersion>,
    /// After how many minutes without use a new workspace falls asleep, until it is given another rule; never when absent.
    #[serde(default)]
    pub sleep_after_minutes: Option<u32>,
    /// What its workspaces keep their objects in.
    #[serde(default)]
    pub store: Option<StoreKind>,
    /// What a workspace may use.
    pub limits: LimitTerms,
}

/// What a workspace may use. Where a count is left out it follows from the number of pods.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitTerms {
    /// CPU.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Bytes,
    /// Storage of volume claims.
    pub storage: Bytes,
    /// Pods.
    pub pods: u32,
    /// Services; as many as pods when absent.
    #[serde(default)]
    pub services: Option<u32>,
    /// Services that are reached from outside; none when absent.
    #[serde(default)]
    pub load_balancers: u32,
    /// Claims of volumes; as many as pods when absent.
    #[serde(default)]
    pub persistent_volume_claims: Option<u32>,
    /// Secrets, and as many ConfigMaps; ten for each pod when absent.
    #[serde(default)]
    pub objects: Option<u32>,
    /// Projects.
    pub projects: u32,
    /// People with access.
    pub members: u32,
    /// Living workspaces of one organisation.
    pub workspaces: u32,
}

impl PlanTerms {
    /// The plan that they make, in this version.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the rule that is broken.
    pub fn plan(&self, version: PlanVersion) -> Result<Plan> {
        let named = |field| move |cause: InvalidName| Error::invalid(field, cause.to_string());
        self.id.parse::<PlanName>().map_err(named("id"))?;
        self.display_name.parse::<DisplayName>().map_err(named("display_name"))?;
        if self.price_minor < 0 {
            return Err(Error::invalid("price_minor", "must not be negative"));
        }
        if self.currency.len() != 3 || !self.currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(Error::invalid("currency", "must be three upper-case letters, such as USD (ISO 4217)"));
        }
        if self.sleep_after_minutes.is_some_and(|minutes| !sleep::MINUTES.contains(&minutes)) {
            let (least, most) = sleep::MINUTES.into_inner();
            let sentence = format!("must be from {least} to {most}; leave it out for never");
            return Err(Error::invalid("sleep_after_minutes", sentence));
        }
        if self.max_nodes > MOST_NODES {
            return Err(Error::invalid("max_nodes", format!("must be {MOST_NODES} at most")));
        }
        Ok(Plan {
            id: self.id.clone(),
            version,
            display_name: self.display_name.clone(),
            limits: self.limits.limits()?,
            price: Price { amount_minor: self.price_minor, currency: self.currency.clone() },
            max_nodes: self.max_nodes,
            kubernetes: self.kubernetes,
            sleep_after_minutes: self.sleep_after_minutes,
            store: self.store.unwrap_or(StoreKind::Sqlite),
            active: true,
            display_order: self.display_order,
        })
    }
}

impl LimitTerms {
    fn limits(&self) -> Result<Limits> {
        let whole = [
            ("limits.cpu", self.cpu.as_millis()),
            ("limits.memory", self.memory.get()),
            ("limits.pods", self.pods.into()),
            ("limits.projects", self.projects.into()),
            ("limits.members", self.members.into()),
            ("limits.workspaces", self.workspaces.into()),
        ];
        if let Some((field, _)) = whole.into_iter().find(|(_, number)| *number == 0) {
            return Err(Error::invalid(field, "must be more than nothing: a workspace could not be used"));
        }
        // Those of a workspace are read at once, to share out what it has.
        if u64::from(self.projects) > MAX_PAGE {
            return Err(Error::invalid("limits.projects", format!("must be {MAX_PAGE} at most")));
        }
        let amounts = Amounts {
            cpu: self.cpu,
            memory: self.memory,
            storage: self.storage,
            pods: self.pods,
            services: self.services.unwrap_or(self.pods),
            load_balancers: self.load_balancers,
            persistent_volume_claims: self.persistent_volume_claims.unwrap_or(self.pods),
            objects: self.objects.unwrap_or(self.pods.saturating_mul(10)),
        };
        Ok(Limits { amounts, projects: self.projects, members: self.members, workspaces: self.workspaces })
    }
}

/// Makes a plan, which new workspaces can choose from then on.
///
/// # Errors
/// [`Error::Invalid`], and [`Error::Conflict`] when there is a plan with this id, retired or not.
pub async fn create(store: &Store, clock: &Clock, terms: &PlanTerms, operator: &str) -> Result<Plan> {
    let plan = terms.plan(1)?;
    let tx = store.begin().await?;
    if !plans::insert_if_absent(&tx, &plan, Some((operator, clock.now()))).await? {
        let detail = format!("there is a plan {} already; give it another version instead", plan.id);
        return Err(Error::conflict("name_taken", detail));
    }
    tx.commit().await?;
    Ok(plan)
}

/// Gives a plan another version, which new workspaces get from then on; those that are there keep theirs.
///
/// # Errors
/// [`Error::Invalid`], and [`Error::NotFound`] when there is no such plan.
pub async fn add_version(store: &Store, clock: &Clock, terms: &PlanTerms, operator: &str) -> Result<Plan> {
    let tx = store.begin().await?;
    let newest = plans::lock_for_operator(&tx, &terms.id).await?.ok_or(Error::NotFound("plan"))?;
    let plan = terms.plan(newest + 1)?;
    plans::add_version(&tx, &plan, operator, clock.now()).await?;
    tx.commit().await?;
    Ok(plan)
}

/// Retires a plan: nobody can choose it any more, and workspaces under it go on. `retired` false offers it again.
///
/// # Errors
/// [`Error::NotFound`] when there is no such plan, or it is so already.
pub async fn set_retired(store: &Store, clock: &Clock, id: &str, retired: bool, operator: &str) -> Result<()> {
    let tx = store.begin().await?;
    let by = retired.then_some(operator);
    if !plans::set_retired(&tx, id, by, clock.now()).await? {
        return Err(Error::NotFound(if retired { "plan that is offered" } else { "plan that is retired" }));
    }
    Ok(tx.commit().await?)
}

/// A plan, and how many living workspaces are under each of its versions.
pub type PlanInUse = (PlanRecord, Vec<(PlanVersion, u64)>);

/// All plans, retired ones included.
pub async fn list(store: &Store) -> Result<Vec<PlanInUse>> {
    let counted = workspaces::count_by_plan_for_operator(store).await?;
    let in_use = |record: PlanRecord| {
        let of_plan = counted.iter().filter(|((id, _), _)| *id == record.plan.id);
        let versions = of_plan.map(|((_, version), count): &(PlanKey, u64)| (*version, *count)).collect();
        (record, versions)
    };
    Ok(plans::list_for_operator(store).await?.into_iter().map(in_use).collect())
}

#[cfg(test)]
mod tests {
    use hexabase_core::nodes::NodeClass;
    use serde_json::{Value, json};

    use super::*;

    fn terms(change: impl FnOnce(&mut Value)) -> Result<Plan> {
        let mut terms = json!({
            "id": "team", "display_name": "Team", "price_minor": 9_900, "currency": "EUR", "display_order": 4,
            "limits": {
                "cpu": "8", "memory": "16Gi", "storage": "100Gi", "pods": 80, "projects": 8, "members": 20, "workspaces": 3,
            },
        });
        change(&mut terms);
        serde_json::from_value::<PlanTerms>(terms).map_err(Error::internal)?.plan(2)
    }

    #[test]
    fn what_is_left_out_follows_from_the_pods() {
        let plan = terms(|_| {}).unwrap();
        let Amounts { services, load_balancers, persistent_volume_claims, objects, .. } = plan.limits.amounts;
        assert_eq!((services, load_balancers, persistent_volume_claims, objects), (80, 0, 80, 800));
        assert_eq!((plan.version, plan.store, plan.kubernetes, plan.active), (2, StoreKind::Sqlite, None, true));
        assert_eq!((plan.max_nodes, plan.node_class()), (0, NodeClass::Shared));
        let plan = terms(|terms| terms["max_nodes"] = json!(2)).unwrap();
        assert_eq!((plan.max_nodes, plan.node_class()), (2, NodeClass::Dedicated));
        let plan = terms(|terms| terms["limits"]["load_balancers"] = json!(2)).unwrap();
        assert_eq!(plan.limits.amounts.load_balancers, 2);
    }

    #[test]
    fn terms_that_break_a_rule_are_refused_with_the_field() {
        for (field, value) in [
            ("id", json!("Team")),
            ("display_name", json!("")),
            ("price_minor", json!(-1)),
            ("currency", json!("eur")),
            ("sleep_after_minutes", json!(0)),
            ("max_nodes", json!(MOST_NODES + 1)),
        ] {
            let refused = terms(|terms| terms[field] = value.clone());
            assert!(matches!(refused, Err(Error::Invalid { field: named, .. }) if named == field), "{field}");
        }
        let many = |projects: u64| terms(|terms| terms["limits"]["projects"] = json!(projects));
        assert!(many(MAX_PAGE).is_ok());
        assert!(matches!(many(MAX_PAGE + 1), Err(Error::Invalid { field: "limits.projects", .. })));
        let refused = terms(|terms| terms["limits"]["pods"] = json!(0));
        assert!(matches!(refused, Err(Error::Invalid { field: "limits.pods", .. })));
        for (field, value) in
            [("store", json!("etcd")), ("kubernetes", json!("1.35")), ("colour", json!("red")), ("limits", json!({}))]
        {
            assert!(matches!(terms(|terms| terms[field] = value.clone()), Err(Error::Internal(_))), "{field}");
        }
    }
}
