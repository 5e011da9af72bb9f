//! How what is inside a workspace is read. Its people make its objects as many and as large as they like, and all workspaces
//! share this process: no answer, and no question of several, may fill its memory or hold up what others ask.

use std::collections::BTreeMap;
use std::convert::identity;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use http_body_util::BodyExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ListParams;
use kube::client::Body;
use kube::core::{Request, Status};
use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::TenantUser;
use crate::error::ReconcileError;
use crate::tenant::bounds::is_too_long;

/// Most bytes of one answer that are read, and of one that says no.
const MOST_BYTES: usize = 4 << 20;
const MOST_REFUSED: usize = 64 << 10;
/// Most letters of a refusal that is no object of Kubernetes.
const MOST_LETTERS: usize = 500;
/// Longest time that one answer may take, however it drips.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long one question goes on asking for further pages; what is not read by then is told as more than that.
const PERSISTENCE: Duration = Duration::from_secs(40);
/// Most questions about one workspace that are answered at the same time, from the first byte until all is told; and how
/// long a question waits for its turn.
const TURNS: usize = 4;
const QUEUE: Duration = Duration::from_secs(2);
/// Most items of one page. What measures pods takes no notice of how many are asked for.
const MOST_ITEMS: usize = 5_000;
/// Most bytes of a name, and of what Kubernetes wants to be given for the next page; it has no longer ones.
const MOST_NAME: usize = 253;
const MOST_NEXT: usize = 4_096;
/// Objects that are asked for at once, pages that are read at most, and objects after which no other page is read.
const PAGE: u32 = 100;
const MOST_PAGES: usize = 100;
const MOST_OBJECTS: usize = 10_000;

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Listed<T> {
    /// Its items.
    pub items: Vec<T>,
    /// What Kubernetes wants to be given for the next page.
    pub next: Option<String>,
}

/// What was seen, and its asker's turn.
#[derive(Debug)]
pub struct Told<T> {
    /// What was seen.
    pub what: T,
    /// To be kept until it is sent.
    pub turn: Turn,
}

/// Leave to look inside a workspace. Of these there are few at a time: whoever does not take their answers holds up those who
/// look inside the same workspace, and fills nobody's memory.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// A list as Kubernetes answers with it.
#[derive(Deserialize)]
struct List<T> {
    #[serde(default)]
    metadata: ListMetadata,
    items: Option<Few<T, MOST_ITEMS>>,
}

#[derive(Default, Deserialize)]
struct ListMetadata {
    #[serde(rename = "continue", default, deserialize_with = "token")]
    next: Option<String>,
}

/// Of an object's metadata what is told or needed here; the rest may be long.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    #[serde(deserialize_with = "name")]
    pub(super) namespace: Option<String>,
    #[serde(deserialize_with = "name")]
    pub(super) name: Option<String>,
    pub(super) creation_timestamp: Option<Time>,
    pub(super) deletion_timestamp: Option<Time>,
}

/// A name, unless it is longer than any.
pub(super) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    at_most(deserializer, MOST_NAME)
}

fn token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    at_most(deserializer, MOST_NEXT)
}

fn at_most<'de, D: Deserializer<'de>>(deserializer: D, most: usize) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    match text.as_ref().is_some_and(|text| text.len() > most) {
        true => Err(serde::de::Error::custom(format_args!("a text of more than {most} bytes"))),
        false => Ok(text),
    }
}

/// The beginning of a text of which whoever writes it makes more than is of use.
pub(super) fn shortened(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate((0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
        text.shrink_to_fit();
    }
    text
}

/// The first `MOST` items of what may have more.
#[derive(Debug)]
pub(super) struct First<T, const MOST: usize> {
    pub(super) items: Vec<T>,
    /// Whether there are more.
    pub(super) cut: bool,
}

impl<T, const MOST: usize> First<T, MOST> {
    /// The items, where there are any.
    pub(super) fn of(first: &Option<Self>) -> &[T] {
        match first {
            Some(first) => &first.items,
            None => &[],
        }
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for First<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Beginning(PhantomData))
    }
}

struct Beginning<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Beginning<T, MOST> {
    type Value = First<T, MOST>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < MOST {
            match sequence.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(First { items, cut: false }),
            }
        }
        let mut cut = false;
        while sequence.next_element::<IgnoredAny>()?.is_some() {
            cut = true;
        }
        Ok(First { items, cut })
    }
}

/// No more than `MOST` items: three bytes of an answer can become hundreds of memory.
#[derive(Debug)]
struct Few<T, const MOST: usize>(Vec<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Few<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Items(PhantomData))
    }
}

struct Items<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Items<T, MOST> {
    type Value = Few<T, MOST>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "no more than {MOST} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            if items.len() == MOST {
                return Err(serde::de::Error::invalid_length(MOST + 1, &self));
            }
            items.push(item);
        }
        Ok(Few(items))
    }
}

/// The turns of those who look inside the workspace whose API server is at `address`. In a static, because each of them
/// makes a client of their own.
pub(super) fn turns(address: &str) -> Arc<Semaphore> {
    static ALL: Mutex<BTreeMap<String, Weak<Semaphore>>> = Mutex::new(BTreeMap::new());
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|_, turns| turns.strong_count() > 0);
    if let Some(turns) = all.get(address).and_then(Weak::upgrade) {
        return turns;
    }
    let turns = Arc::new(Semaphore::new(TURNS));
    all.insert(address.to_owned(), Arc::downgrade(&turns));
    turns
}

impl TenantUser {
    /// Leave to ask one question, to be held until its answer is sent.
    ///
    /// # Errors
    /// [`ReconcileError::Refused`] with 429 when too many are asked already.
    pub(super) async fn turn(&self) -> Result<Turn, ReconcileError> {
        match tokio::time::timeout(QUEUE, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn { _permit: permit }),
            // Nobody closes it.
            _ => Err(ReconcileError::Refused {
                action: "read",
                object: "the workspace".to_owned(),
                code: 429,
                message: "too many look inside this workspace at the same time; try again in a moment".to_owned(),
            }),
        }
    }

    /// Gives each object of a list to `note`, page by page; says whether there are more than are read.
    pub(super) async fn each<T: DeserializeOwned + Send + 'static>(
        &self,
        what: &'static str,
        path: &str,
        mut note: impl FnMut(T),
    ) -> Result<bool, ReconcileError> {
        let (mut limit, mut read, mut next) = (PAGE, 0, None::<String>);
        let begun = Instant::now();
        for _ in 0..MOST_PAGES {
            let page = match self.page(what, path, ListParams::default(), (limit, next.as_deref()), identity::<T>).await
            {
                // Fewer may be short enough.
                Err(error) if error.is(413) && limit > 1 => {
                    limit /= 2;
                    continue;
                }
                page => page?,
            };
            read += page.items.len();
            page.items.into_iter().for_each(&mut note);
            next = page.next;
            if next.is_none() {
                return Ok(false);
            }
            if read >= MOST_OBJECTS || begun.elapsed() >= PERSISTENCE {
                break;
            }
        }
        Ok(true)
    }

    /// One page of the list at `path`, of so many objects from there on, as `see` sees them.
    pub(super) async fn page<T: DeserializeOwned + 'static, U: Send + 'static>(
        &self,
        what: &'static str,
        path: &str,
        parameters: ListParams,
        (limit, next): (u32, Option<&str>),
        see: fn(T) -> U,
    ) -> Result<Listed<U>, ReconcileError> {
        let mut parameters = parameters.limit(limit);
        if let Some(next) = next {
            parameters = parameters.continue_token(next);
        }
        let request = Request::new(path).list(&parameters).map_err(kube::Error::BuildRequest);
        let bytes = self.read("the list of", what, request).await?;
        // Not on a thread on which others are answered.
        let seen = tokio::task::spawn_blocking(move || {
            let list = serde_json::from_slice::<List<T>>(&bytes)?;
            let items = list.items.map(|Few(items)| items).unwrap_or_default();
            let next = list.metadata.next.filter(|next| !next.is_empty());
            Ok::<_, serde_json::Error>(Listed { items: items.into_iter().map(see).collect(), next })
        });
        let seen = match seen.await {
            Ok(seen) => seen.map_err(kube::Error::SerdeError),
            Err(error) => Err(kube::Error::ReadEvents(std::io::Error::other(error))),
        };
        seen.map_err(|error| self.unread("the list of", what, error))
    }

    /// An answer of no more than [`MOST_BYTES`].
    pub(super) async fn read(
        &self,
        what: &'static str,
        name: &str,
        request: Result<http::Request<Vec<u8>>, kube::Error>,
    ) -> Result<Vec<u8>, ReconcileError> {
        let late = || kube::Error::ReadEvents(std::io::ErrorKind::TimedOut.into());
        let answer = tokio::time::timeout(PATIENCE, self.answer(request)).await.unwrap_or_else(|_| Err(late()));
        let (bytes, whole) = match answer {
            Err(error) if is_too_long(&error) => (Vec::new(), false),
            answer => answer.map_err(|error| self.unread(what, name, error))?,
        };
        match whole {
            true => Ok(bytes),
            false => Err(ReconcileError::Refused {
                action: "read",
                object: format!("{what} {name}"),
                code: 413,
                message: format!("{what} {name} is longer than {} MiB; ask for less of it", MOST_BYTES >> 20),
            }),
        }
    }

    /// The bytes of a good answer, and whether these are all. Not by the client's own means: those read whatever says no to
    /// its end.
    async fn answer(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::Error>,
    ) -> Result<(Vec<u8>, bool), kube::Error> {
        let answer = self.cluster.client.send(request?.map(Body::from)).await?;
        let code = answer.status();
        if !code.is_client_error() && !code.is_server_error() {
            return beginning(answer.into_body(), MOST_BYTES).await;
        }
        let (bytes, _) = beginning(answer.into_body(), MOST_REFUSED).await?;
        let said = serde_json::from_slice::<Status>(&bytes).unwrap_or_else(|_| {
            let text: String = String::from_utf8_lossy(&bytes).trim().chars().take(MOST_LETTERS).collect();
            Status::failure(&text, "")
        });
        Err(kube::Error::Api(said.with_code(code.as_u16()).boxed()))
    }

    fn unread(&self, what: &str, name: &str, error: kube::Error) -> ReconcileError {
        match error {
            // 401, 429 and 5xx say nothing about what was asked for.
            kube::Error::Api(status) if status.code != 401 && status.code != 429 && status.code < 500 => {
                ReconcileError::Refused {
                    action: "read",
                    object: format!("{what} {name}"),
                    code: status.code,
                    message: status.message,
                }
            }
            // It did answer, and will answer the same next time.
            kube::Error::SerdeError(_) => ReconcileError::Refused {
                action: "read",
                object: format!("{what} {name}"),
                code: 502,
                message: format!("the workspace's API server answered with something else than {what} {name}"),
            },
            error => ReconcileError::Unreachable { api: self.cluster.title, source: Box::new(error) },
        }
    }
}

/// The first `most` bytes of a body; whether these are all.
async fn beginning(mut body: Body, most: usize) -> Result<(Vec<u8>, bool), kube::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = most - bytes.len();
        if data.len() > room {
            bytes.extend_from_slice(&data[..room]);
            return Ok((bytes, false));
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_look_inside_the_same_workspace_wait_for_each_other() {
        let (one, same, other) = (turns("10.0.0.1:443"), turns("10.0.0.1:443"), turns("10.0.0.2:443"));
        let _taken = one.try_acquire_many(TURNS as u32).unwrap();
        assert!(same.try_acquire().is_err() && other.try_acquire().is_ok());
    }

    #[test]
    fn more_items_than_were_asked_for_are_not_kept() {
        let read = |text: &str| serde_json::from_str::<Few<u8, 3>>(text).map(|Few(items)| items).ok();
        assert_eq!(read("[1,2,3]"), Some(vec![1, 2, 3]));
        assert_eq!(read("[1,2,3,4]"), None);
        let list = format!("{{\"items\":[{}{{}}]}}", "{},".repeat(MOST_ITEMS));
        assert!(serde_json::from_str::<List<Metadata>>(&list).is_err());
        for empty in ["{}", "{\"items\":null}", "{\"metadata\":{},\"items\":[]}"] {
            let list = serde_json::from_str::<List<Metadata>>(empty).unwrap();
            assert!(list.items.is_none_or(|Few(items)| items.is_empty()), "{empty}");
        }
    }

    #[test]
    fn no_name_is_longer_than_kubernetes_makes_them_and_of_long_texts_the_beginning_is_kept() {
        let read = |length: usize| {
            serde_json::from_value::<Metadata>(serde_json::json!({ "namespace": "x".repeat(length), "name": null }))
        };
        assert_eq!(read(MOST_NAME).unwrap().namespace, Some("x".repeat(MOST_NAME)));
        assert!(read(MOST_NAME + 1).is_err());
        let next = format!("{{\"metadata\":{{\"continue\":\"{}\"}}}}", "x".repeat(MOST_NEXT + 1));
        assert!(serde_json::from_str::<List<Metadata>>(&next).is_err());
        let cut = |text: &str, most: usize| shortened(text.to_owned(), most);
        assert_eq!([cut("ab", 2), cut("abc", 2), cut("a\u{e9}", 2)], ["ab", "ab", "a"]);
    }

    #[test]
    fn of_too_many_items_the_first_are_kept() {
        let read =
            |text: &str| serde_json::from_str::<First<u8, 3>>(text).map(|first| (first.items, first.cut)).unwrap();
        assert_eq!((read("[]"), read("[1,2,3]")), ((vec![], false), (vec![1, 2, 3], false)));
        assert_eq!(read("[1,2,3,4,\"x\",{}]"), (vec![1, 2, 3], true));
    }

    #[tokio::test]
    async fn no_more_of_a_body_is_read_than_is_wanted() {
        let body = || Body::from(vec![b'x'; 100]);
        assert_eq!(beginning(body(), 100).await.unwrap(), (vec![b'x'; 100], true));
        assert_eq!(beginning(body(), 99).await.unwrap(), (vec![b'x'; 99], false));
    }
}
