//! How a workspace's plan is shared out among its projects: what is asked for, what is left, and why more is refused.

use hexabase_backends::store::projects::{self, Project};
use hexabase_backends::store::workspaces::{self, Workspace};
use hexabase_backends::store::{plans, workspace_members};
use hexabase_core::ids::{ProjectId, WorkspaceId};
use hexabase_core::names::ProjectName;
use hexabase_core::phases::WorkspacePhase;
use hexabase_core::plans::Plan;
use hexabase_core::quantity::{Bytes, Cpu, InvalidQuantity};
use hexabase_core::quota::{Amounts, GivenOn, Ledger, Refusal, Resource, Share, TooMuch};
use hexabase_reconcile::ProjectUsage;

use crate::authz::{self, WorkspaceAction};
use crate::context::{App, OpContext};
use crate::error::{Error, Result};
use crate::projects::{is_wanted, living};

/// What a project may use, as asked for.
#[derive(Debug, Clone, Default)]
pub struct QuotaRequest {
    /// CPU.
    pub cpu: Option<String>,
    /// Memory.
    pub memory: Option<String>,
    /// Storage.
    pub storage: Option<String>,
    /// Pods.
    pub pods: Option<u32>,
    /// Services.
    pub services: Option<u32>,
    /// Services that are reached from outside.
    pub load_balancers: Option<u32>,
    /// Claims of volumes.
    pub persistent_volume_claims: Option<u32>,
    /// Secrets, and as many ConfigMaps.
    pub objects: Option<u32>,
}

/// Of whose share a project's is.
pub(crate) struct Giver<'a> {
    /// What there is in all.
    has: Amounts,
    /// Who has it, as in "more than … has".
    who: String,
    /// Who can give it more, as a sentence.
    raised: &'static str,
    ledger: &'a Ledger<ProjectId>,
    id: Option<&'a ProjectId>,
}

impl<'a> Giver<'a> {
    /// The project with this id, or the plan.
    pub(crate) fn new(
        plan: &Plan,
        living: &[Project],
        ledger: &'a Ledger<ProjectId>,
        id: Option<&'a ProjectId>,
    ) -> Self {
        let (who, raised) = match id.and_then(|id| living.iter().find(|project| project.id == *id)) {
            Some(project) => (format!("the project {} has", project.name), "members of WSAdmins can raise that"),
            None => (format!("the plan {} allows", plan.id), "an admin of the organization can choose a larger plan"),
        };
        Self { has: ledger.had(id), who, raised, ledger, id }
    }

    /// What a project gets that asks for nothing: at the top the plan's default, below another one half of what that has left and does
    /// not use.
    pub(crate) fn default_share(&self, plan: &Plan, used: &Amounts) -> Amounts {
        let left = self.ledger.left(self.id);
        match self.id {
            Some(_) => left.less(used).half(),
            None => plan.limits.default_project().at_most(&left),
        }
    }
}

impl QuotaRequest {
    /// The amounts asked for, and those of `otherwise` where nothing is asked; none above what there is in all.
    pub(crate) fn amounts(&self, otherwise: &Amounts, giver: &Giver<'_>) -> Result<Amounts> {
        let pieces = |field: &'static str, asked: Option<u32>, least: u32, resource: Resource| {
            let most = giver.has.get(resource);
            match asked {
                Some(asked) if asked < least || u64::from(asked) > most => {
                    let (who, raised) = (&giver.who, giver.raised);
                    Err(Error::invalid(
                        field,
                        format!("{resource} must be from {least} to {most}, which {who}; {raised}"),
                    ))
                }
                asked => Ok(asked),
            }
        };
        Ok(Amounts {
            cpu: amount("quota.cpu", self.cpu.as_deref(), giver.has.cpu, giver)?.unwrap_or(otherwise.cpu),
            memory: amount("quota.memory", self.memory.as_deref(), giver.has.memory, giver)?
                .unwrap_or(otherwise.memory),
            storage: amount("quota.storage", self.storage.as_deref(), giver.has.storage, giver)?
                .unwrap_or(otherwise.storage),
            pods: pieces("quota.pods", self.pods, 1, Resource::Pods)?.unwrap_or(otherwise.pods),
            services: pieces("quota.services", self.services, 0, Resource::Services)?.unwrap_or(otherwise.services),
            load_balancers: pieces("quota.load_balancers", self.load_balancers, 0, Resource::LoadBalancers)?
                .unwrap_or(otherwise.load_balancers),
            persistent_volume_claims: pieces(
                "quota.persistent_volume_claims",
                self.persistent_volume_claims,
                0,
                Resource::PersistentVolumeClaims,
            )?
            .unwrap_or(otherwise.persistent_volume_claims),
            objects: pieces("quota.objects", self.objects, 0, Resource::Objects)?.unwrap_or(otherwise.objects),
        })
    }

    /// Whether less of something is asked for than there is now.
    pub(crate) fn lowers(&self, now: &Amounts) -> bool {
        self.asks(now, |asked, now| asked < now)
    }

    /// Whether more of something is.
    pub(crate) fn raises(&self, now: &Amounts) -> bool {
        self.asks(now, |asked, now| asked > now)
    }

    fn asks(&self, now: &Amounts, is: impl Fn(u64, u64) -> bool) -> bool {
        let cpu = self.cpu.as_deref().and_then(|text| text.parse::<Cpu>().ok());
        let bytes = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Bytes>().ok()).map(Bytes::get);
        let asked = |resource: Resource| match resource {
            Resource::Cpu => cpu.map(Cpu::as_millis),
            Resource::Memory => bytes(&self.memory),
            Resource::Storage => bytes(&self.storage),
            Resource::Pods => self.pods.map(u64::from),
            Resource::Services => self.services.map(u64::from),
            Resource::LoadBalancers => self.load_balancers.map(u64::from),
            Resource::PersistentVolumeClaims => self.persistent_volume_claims.map(u64::from),
            Resource::Objects => self.objects.map(u64::from),
        };
        Resource::ALL.iter().any(|resource| asked(*resource).is_some_and(|asked| is(asked, now.get(*resource))))
    }

    /// Refuses a new project that asked for nothing and would get nothing.
    pub(crate) fn check_not_empty(&self, amounts: &Amounts, giver: &Giver<'_>) -> Result<()> {
        let silent = [
            (Resource::Cpu, self.cpu.is_none()),
            (Resource::Memory, self.memory.is_none()),
            (Resource::Pods, self.pods.is_none()),
        ];
        match silent.into_iter().find(|(resource, silent)| *silent && amounts.get(*resource) == 0) {
            Some((resource, _)) => {
                let (has, who) = (resource.write(giver.has.get(resource)), &giver.who);
                let first = match giver.id {
                    Some(_) => "end some of what is used in it, or lower the share of another project below it, first",
                    None => "lower the share of another project first",
                };
                let detail =
                    format!("no {resource} is left of the {has} that {who}; {first}, which members of WSAdmins can");
                Err(Error::LimitReached(detail))
            }
            None => Ok(()),
        }
    }
}

fn amount<T>(field: &'static str, text: Option<&str>, most: T, giver: &Giver<'_>) -> Result<Option<T>>
where
    T: std::str::FromStr<Err = InvalidQuantity> + PartialOrd + std::fmt::Display,
{
    let Some(text) = text else { return Ok(None) };
    let asked: T = text.parse().map_err(|cause: InvalidQuantity| Error::invalid(field, cause.to_string()))?;
    if asked > most {
        let (who, raised) = (&giver.who, giver.raised);
        let resource = field.trim_start_matches("quota.");
        return Err(Error::invalid(
            field,
            format!("{text} of {resource} is more than {who}, which is {most}; {raised}"),
        ));
    }
    Ok(Some(asked))
}

/// The shares of all living projects, those included that are leaving: their namespaces are still there.
pub(crate) fn ledger(whole: &Amounts, living: &[Project]) -> Ledger<ProjectId> {
    let share = |project: &Project| {
        (project.id.clone(), Share { from: project.parent_id.clone(), amounts: project.limits.clone() })
    };
    Ledger::new(whole.clone(), living.iter().map(share))
}

/// A refusal of the ledger, with the limit and who can raise it.
pub(crate) fn refused(refusal: Refusal<ProjectId>, plan: &Plan, living: &[Project]) -> Error {
    let name = |id: &ProjectId| living.iter().find(|project| project.id == *id).map(|project| project.name.as_str());
    match refusal {
        Refusal::Short { from, each } => {
            let each = more_than_left(&each);
            Error::LimitReached(match from.as_ref().and_then(name) {
                Some(above) => format!(
                    "{each} that can be had of the share of the project {above}; members of WSAdmins can raise that, or lower \
                     another one below it"
                ),
                None => format!(
                    "{each} that can be had of the plan {}; members of WSAdmins can lower the share of another project, and an \
                     admin of the organization can choose a larger plan",
                    plan.id
                ),
            })
        }
        Refusal::InUse { of, each } => {
            let limit = match of.as_ref().and_then(name) {
                Some(project) => format!("the share of the project {project} would be too small"),
                None => format!("the plan {} is too small", plan.id),
            };
            Error::conflict("quota_in_use", format!("{limit}: {}", given_on(&each, living)))
        }
        Refusal::Unknown => Error::invalid("parent", "there is no such project in this workspace"),
        Refusal::Circle => Error::invalid("parent", "a project cannot stand below itself"),
    }
}

/// What more is asked for of than is left, to be followed by whose that is.
pub(crate) fn more_than_left(each: &[TooMuch]) -> String {
    let each = each.iter().map(|TooMuch { resource, asked, most }| {
        format!("{} of {resource} is more than the {}", resource.write(*asked), resource.write(*most))
    });
    each.collect::<Vec<_>>().join(", and ")
}

/// What more is given of than there would be, to whom, and what to do about it. A share that is leaving with its project cannot be
/// lowered.
fn given_on(each: &[GivenOn<ProjectId>], living: &[Project]) -> String {
    let holders =
        |to: &[ProjectId]| -> Vec<&Project> { living.iter().filter(|project| to.contains(&project.id)).collect() };
    let less = each.iter().map(|GivenOn { resource, asked, given, to }| {
        let share = |project: &Project| format!("{} ({})", project.name, resource.write(project.limits.get(*resource)));
        let shares: Vec<String> = holders(to).into_iter().map(share).collect();
        let (asked, given) = (resource.write(*asked), resource.write(*given));
        format!("{asked} of {resource} is less than the {given} given to {}", shares.join(", "))
    });
    let less: Vec<String> = less.collect();
    let all: Vec<ProjectId> = each.iter().flat_map(|one| one.to.iter().cloned()).collect();
    let (staying, leaving): (Vec<&Project>, Vec<&Project>) =
        holders(&all).into_iter().partition(|project| is_wanted(project));
    let names = |projects: &[&Project]| -> String {
        let names: Vec<&str> = projects.iter().map(|project| project.name.as_str()).collect();
        names.join(", ")
    };
    let gone = format!("wait until the deletion of {} is over", names(&leaving));
    let first = match (staying.is_empty(), leaving.is_empty()) {
        (_, true) => "lower these first, which members of WSAdmins can".to_owned(),
        (true, false) => gone,
        (false, false) => format!("lower {} first, which members of WSAdmins can, and {gone}", names(&staying)),
    };
    format!("{}; {first}", less.join("; "))
}

/// Refuses to leave a project's namespace less of anything than is used there, and says what does; `gives` when another project is to
/// have the rest.
pub(crate) fn check_used(
    project: &ProjectName,
    usage: &ProjectUsage,
    (before, after): (&Amounts, &Amounts),
    gives: bool,
) -> Result<()> {
    let each = too_much(&usage.used, before, after).map(|resource| {
        let (left, used) = (resource.write(after.get(resource)), resource.write(usage.used.get(resource)));
        let who = usage.users.most_of(resource);
        format!("{left} of {resource} would be left for the namespace of {project}, in which {used} is used{who}")
    });
    let each: Vec<String> = each.collect();
    if each.is_empty() {
        return Ok(());
    }
    let instead = if gives { "ask for less, or end some of that first" } else { "end some of that first" };
    Err(Error::conflict("quota_in_use", format!("{}; {instead}", each.join("; "))))
}

/// What there would be less of than is used, of that which becomes less.
pub(crate) fn too_much(used: &Amounts, before: &Amounts, after: &Amounts) -> impl Iterator<Item = Resource> {
    Resource::ALL.iter().copied().filter(move |resource| {
        let left = after.get(*resource);
        left < before.get(*resource) && left < used.get(*resource)
    })
}

/// What the host counts as used in the workspace. It is not counted while it sleeps. The worker forgets it when a look cannot count it;
/// a message alone may tell of something else.
pub(crate) fn counted(row: &Workspace) -> Option<&Amounts> {
    row.used.as_ref().filter(|_| row.phase == WorkspacePhase::Ready)
}

/// A number that is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The most.
    pub limit: u32,
    /// How many there are.
    pub used: u64,
}

/// What a workspace's plan allows, and how much of it is left.
#[derive(Debug, Clone)]
pub struct Headroom {
    /// The plan, in the workspace's version.
    pub plan: Plan,
    /// What projects at the top were given.
    pub given: Amounts,
    /// What can still be given.
    pub left: Amounts,
    /// What is used in the workspace, in its projects and outside of them, where the host has counted it within the last minute.
    pub used: Option<Amounts>,
    /// What the next project at the top gets that asks for nothing.
    pub default_project: Amounts,
    /// Projects.
    pub projects: Count,
    /// People with access.
    pub members: Count,
}

/// What is left of a workspace's plan, to be known before anything is asked for.
pub async fn headroom(app: &App, ctx: &OpContext, workspace: &WorkspaceId) -> Result<Headroom> {
    let scope = authz::workspace(&app.store, ctx, workspace, WorkspaceAction::View).await?;
    let row = workspaces::get(&app.store, &scope).await?.ok_or(Error::NotFound("workspace"))?;
    let plan = plans::get_version(&app.store, &row.plan_id, row.plan_version).await?;
    let plan = plan.ok_or_else(|| Error::internal("the plan's row is missing"))?;
    let ledger = ledger(&plan.limits.amounts, &living(&app.store, &scope).await?);
    let (given, left) = (ledger.given(None), ledger.left(None));
    let projects = Count { limit: plan.limits.projects, used: projects::count_living(&app.store, &scope).await? };
    let members = Count { limit: plan.limits.members, used: workspace_members::count(&app.store, &scope).await? };
    let default_project = plan.limits.default_project().at_most(&left);
    let used = counted(&row).cloned();
    Ok(Headroom { plan, given, left, used, default_project, projects, members })
}
