//! The few calls made to an API server, each with an error that names the object.

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, ObjectList, Patch, PatchParams, PostParams, Preconditions,
};
use kube::{Client, Error};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::ReconcileError;
use crate::exact::fights::Fights;
use crate::labels::MANAGER;
use crate::ledger::tolerate;
use crate::manifest::{Kind, Manifest};
use crate::status::Progress;
use crate::tenant::bounds::is_too_long;

/// How many calls are made at the same time.
const PARALLEL: usize = 6;
/// Objects of a list that are asked for at once where a tenant answers, and pages that are read of it: more than of what its
/// etcd has room for.
const PAGE: u32 = 1_000;
const MOST_PAGES: usize = 500;
/// Most letters that are kept of a refusal.
const MOST_LETTERS: usize = 2_000;

/// What becomes of the objects that an object owns, when it is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dependents {
    /// Kubernetes deletes them.
    Go,
    /// Kubernetes makes them nobody's first: until then its finalizer holds the object.
    Stay,
}

/// An API server: the host's or a tenant's.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// For messages.
    pub(crate) title: &'static str,
    pub(crate) fights: Fights,
}

impl Cluster {
    fn api(&self, kind: Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace.filter(|_| kind.is_namespaced()) {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind.resource()),
            None => Api::all_with(self.client.clone(), &kind.resource()),
        }
    }

    fn error(&self, action: &'static str, kind: Kind, name: &str, error: Error) -> ReconcileError {
        match error {
            // 401, 429 and 5xx say nothing about the object.
            Error::Api(status) if status.code != 401 && status.code != 429 && status.code < 500 => {
                ReconcileError::Refused {
                    action,
                    object: format!("{} {name}", kind.as_str()),
                    code: status.code,
                    message: status.message.chars().take(MOST_LETTERS).collect(),
                }
            }
            error => ReconcileError::Unreachable { api: self.title, source: Box::new(error) },
        }
    }

    /// The object, if it exists.
    pub(crate) async fn get(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<DynamicObject>, ReconcileError> {
        self.api(kind, namespace).get_opt(name).await.map_err(|error| self.error("read", kind, name, error))
    }

    /// The object as its own type, if it exists.
    pub(crate) async fn get_as<T: DeserializeOwned>(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<T>, ReconcileError> {
        match self.get(kind, namespace, name).await? {
            Some(object) => typed(object).map(Some).map_err(|error| self.error("read", kind, name, error)),
            None => Ok(None),
        }
    }

    /// All objects that match a label selector; all in the namespace when it is empty.
    pub(crate) async fn list(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Vec<DynamicObject>, ReconcileError> {
        let parameters = ListParams::default().labels(selector);
        let list = self.api(kind, namespace).list(&parameters).await;
        list.map(|list| list.items).map_err(|error| self.error("list", kind, selector, error))
    }

    /// The same, each as its own type; what cannot be read as one is left out.
    pub(crate) async fn list_as<T: DeserializeOwned>(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Vec<T>, ReconcileError> {
        Ok(self.list(kind, namespace, selector).await?.into_iter().filter_map(|object| typed(object).ok()).collect())
    }

    /// The names of all objects that match a label selector; only metadata is transferred. None of a kind that the
    /// server does not know.
    pub(crate) async fn list_names(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Vec<String>, ReconcileError> {
        let found = self.list_metadata(kind, namespace, selector).await?;
        Ok(found.into_iter().filter_map(|metadata| metadata.name).collect())
    }

    /// The same with all of their metadata.
    pub(crate) async fn list_metadata(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Vec<ObjectMeta>, ReconcileError> {
        self.metadata(kind, namespace, ListParams::default().labels(selector), selector).await
    }

    /// The metadata of all objects, in all namespaces, of whose fields a selector such as `type=Opaque` holds.
    pub(crate) async fn list_metadata_by_field(
        &self,
        kind: Kind,
        selector: &str,
    ) -> Result<Vec<ObjectMeta>, ReconcileError> {
        self.metadata(kind, None, ListParams::default().fields(selector), selector).await
    }

    async fn metadata(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        parameters: ListParams,
        selector: &str,
    ) -> Result<Vec<ObjectMeta>, ReconcileError> {
        match self.api(kind, namespace).list_metadata(&parameters).await {
            Ok(list) => Ok(list.items.into_iter().map(|object| object.metadata).collect()),
            Err(Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
            Err(error) => Err(self.error("list", kind, selector, error)),
        }
    }

    /// Gives all objects, in all namespaces, that match a label selector to `note`, which keeps what it needs of what a tenant
    /// answers. `false` when there was no end to them.
    pub(crate) async fn each_object(
        &self,
        kind: Kind,
        selector: &str,
        mut note: impl FnMut(DynamicObject) + Send,
    ) -> Result<bool, ReconcileError> {
        let mut pages = Pages::of(ListParams::default().labels(selector));
        while pages.go_on() {
            let page = self.api(kind, None).list(&pages.next).await;
            let items = pages.take(page).map_err(|error| self.error("list", kind, selector, error))?;
            items.into_iter().for_each(&mut note);
        }
        Ok(pages.is_over)
    }

    /// The same with the metadata alone, of all objects that the parameters choose; of a kind that the server does not know
    /// there are none.
    pub(crate) async fn each_metadata(
        &self,
        kind: Kind,
        chosen: ListParams,
        mut note: impl FnMut(ObjectMeta) + Send,
    ) -> Result<bool, ReconcileError> {
        let mut pages = Pages::of(chosen);
        while pages.go_on() {
            let page = match self.api(kind, None).list_metadata(&pages.next).await {
                Err(Error::Api(status)) if status.code == 404 => return Ok(true),
                page => page,
            };
            let items = pages.take(page).map_err(|error| self.error("list", kind, "in all namespaces", error))?;
            items.into_iter().for_each(|object| note(object.metadata));
        }
        Ok(pages.is_over)
    }

    /// Creates the object; refused with 409 when it exists.
    pub(crate) async fn create(&self, manifest: &Manifest) -> Result<DynamicObject, ReconcileError> {
        let refuse = |error| self.error("create", manifest.kind, &manifest.name, error);
        let object: DynamicObject =
            serde_json::from_value(manifest.json.clone()).map_err(|error| refuse(Error::SerdeError(error)))?;
        let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        self.api(manifest.kind, manifest.namespace.as_deref()).create(&parameters, &object).await.map_err(refuse)
    }

    /// Makes the fields of the manifest true, whoever set them before; leaves all others alone.
    pub(crate) async fn apply(&self, manifest: &Manifest) -> Result<DynamicObject, ReconcileError> {
        self.apply_with(manifest, PatchParams::apply(MANAGER).force()).await
    }

    /// Lets the API server judge what [`Self::apply`] would do, and changes nothing.
    pub(crate) async fn try_apply(&self, manifest: &Manifest) -> Result<(), ReconcileError> {
        self.apply_with(manifest, PatchParams::apply(MANAGER).force().dry_run()).await.map(drop)
    }

    async fn apply_with(&self, manifest: &Manifest, parameters: PatchParams) -> Result<DynamicObject, ReconcileError> {
        let patch = Patch::Apply(&manifest.json);
        let api = self.api(manifest.kind, manifest.namespace.as_deref());
        let applied = api.patch(&manifest.name, &parameters, &patch).await;
        applied.map_err(|error| self.error("apply", manifest.kind, &manifest.name, error))
    }

    /// Makes the object that was read be the manifest and nothing else, whoever set the other fields.
    pub(crate) async fn replace(
        &self,
        read: &DynamicObject,
        manifest: &Manifest,
    ) -> Result<DynamicObject, ReconcileError> {
        let mut wanted = manifest.json.clone();
        wanted["metadata"]["uid"] = json!(read.metadata.uid);
        wanted["metadata"]["resourceVersion"] = json!(read.metadata.resource_version);
        let refuse = |error| self.error("replace", manifest.kind, &manifest.name, Error::SerdeError(error));
        let wanted: DynamicObject = serde_json::from_value(wanted).map_err(refuse)?;
        self.put(manifest, &wanted).await
    }

    /// Makes the manifest's object be this one; refused with 409 when somebody changed it since it was read.
    pub(crate) async fn put(
        &self,
        manifest: &Manifest,
        object: &DynamicObject,
    ) -> Result<DynamicObject, ReconcileError> {
        let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let api = self.api(manifest.kind, manifest.namespace.as_deref());
        let replaced = api.replace(&manifest.name, &parameters, object).await;
        replaced.map_err(|error| self.error("replace", manifest.kind, &manifest.name, error))
    }

    /// A JSON merge patch.
    pub(crate) async fn merge(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
        patch: &Value,
    ) -> Result<(), ReconcileError> {
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let merged = self.api(kind, namespace).patch(name, &parameters, &Patch::Merge(patch)).await;
        merged.map(drop).map_err(|error| self.error("change", kind, name, error))
    }

    /// Deletes the object; `grace` in seconds is for pods. Says whether there was one.
    pub(crate) async fn delete(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
        grace: Option<u32>,
    ) -> Result<bool, ReconcileError> {
        let mut parameters = DeleteParams::background();
        if let Some(seconds) = grace {
            parameters = parameters.grace_period(seconds);
        }
        self.delete_with(kind, namespace, name, &parameters).await
    }

    /// Deletes the object that was read; refused with 409 when it is another one by now, or in another state.
    pub(crate) async fn delete_this(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
        only: Preconditions,
        dependents: Dependents,
    ) -> Result<bool, ReconcileError> {
        let parameters = match dependents {
            Dependents::Go => DeleteParams::background(),
            Dependents::Stay => DeleteParams::orphan(),
        };
        self.delete_with(kind, namespace, name, &parameters.preconditions(only)).await
    }

    /// Has the pod that was read end within so many seconds; refused with 409 when it is another one by now.
    pub(crate) async fn end_this(
        &self,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
        grace: u32,
    ) -> Result<bool, ReconcileError> {
        let only = Preconditions { uid: uid.map(ToOwned::to_owned), resource_version: None };
        let parameters = DeleteParams::background().grace_period(grace).preconditions(only);
        self.delete_with(Kind::Pod, Some(namespace), name, &parameters).await
    }

    /// Has the pod that was read end, as far as budgets of disruption let it; gives Kubernetes' sentence where they do not.
    pub(crate) async fn evict(
        &self,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
    ) -> Result<Option<String>, ReconcileError> {
        let eviction = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": { "name": name, "namespace": namespace },
            "deleteOptions": { "preconditions": { "uid": uid } },
        });
        let pods = self.api(Kind::Pod, Some(namespace));
        let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match pods.create_subresource::<Value, Value>("eviction", name, &parameters, &eviction).await {
            Ok(_) => Ok(None),
            Err(Error::Api(status)) if status.code == 429 => Ok(Some(status.message)),
            Err(error) => Err(self.error("evict", Kind::Pod, name, error)),
        }
    }

    /// Changes what containers of a pod may use, in place. When its node does so is not waited for.
    pub(crate) async fn resize(&self, namespace: &str, name: &str, patch: &Value) -> Result<(), ReconcileError> {
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let pods = self.api(Kind::Pod, Some(namespace));
        let resized = pods.patch_subresource("resize", name, &parameters, &Patch::Strategic(patch)).await;
        resized.map(drop).map_err(|error| self.error("resize", Kind::Pod, name, error))
    }

    async fn delete_with(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
        parameters: &DeleteParams,
    ) -> Result<bool, ReconcileError> {
        match self.api(kind, namespace).delete(name, parameters).await {
            Ok(_) => Ok(true),
            Err(Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(self.error("delete", kind, name, error)),
        }
    }
}

/// How far a list is read that a tenant answers.
struct Pages {
    /// What the next page is asked for with.
    next: ListParams,
    /// How many more are read.
    left: usize,
    is_over: bool,
}

impl Pages {
    fn of(chosen: ListParams) -> Self {
        Self { next: chosen.limit(PAGE), left: MOST_PAGES, is_over: false }
    }

    fn go_on(&self) -> bool {
        !self.is_over && self.left > 0
    }

    /// What is on the page; nothing yet of one that was too long, which is asked for again with fewer.
    fn take<K: Clone>(&mut self, page: Result<ObjectList<K>, Error>) -> Result<Vec<K>, Error> {
        let limit = self.next.limit.unwrap_or(PAGE);
        match page {
            Ok(page) => {
                self.left -= 1;
                // Those further on may be shorter.
                self.next.limit = Some((limit + limit / 4 + 1).min(PAGE));
                self.next.continue_token = page.metadata.continue_.filter(|next| !next.is_empty());
                self.is_over = self.next.continue_token.is_none();
                Ok(page.items)
            }
            Err(error) if limit > 1 && is_too_long(&error) => {
                self.next.limit = Some(limit / 2);
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }
}

/// Makes the calls, several at a time, and gives their results in order; stops at the first error.
///
/// Boxed, because a stream of borrowing closures is not `Send` in the eyes of today's compiler.
pub(crate) async fn in_parallel<T>(
    calls: Vec<BoxFuture<'_, Result<T, ReconcileError>>>,
) -> Result<Vec<T>, ReconcileError> {
    stream::iter(calls).buffered(PARALLEL).try_collect().await
}

/// Makes the calls, several at a time, and gives what came of each, in order.
pub(crate) async fn all_of<T>(calls: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    stream::iter(calls).buffered(PARALLEL).collect().await
}

/// Makes the calls, several at a time. An object that is refused is told of, the first one in words, and keeps none of the
/// others from its turn.
pub(crate) async fn each(
    calls: Vec<BoxFuture<'_, Result<Progress, ReconcileError>>>,
) -> Result<Progress, ReconcileError> {
    let told = calls.into_iter().map(|call| call.map(told).boxed()).collect();
    Ok(in_parallel(told).await?.into_iter().fold(Progress::Done, Progress::and))
}

fn told(result: Result<Progress, ReconcileError>) -> Result<Progress, ReconcileError> {
    match result {
        Err(error) if error.concerns_one_object() => Ok(tolerate(Err(error)).unwrap_or_else(|wait| wait)),
        other => other,
    }
}

fn typed<T: DeserializeOwned>(object: DynamicObject) -> Result<T, Error> {
    serde_json::to_value(object).and_then(serde_json::from_value).map_err(Error::SerdeError)
}
