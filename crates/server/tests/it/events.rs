use anyhow::{Context as _, Result, bail};
use hexabase_testkit::http::Http;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::{HOST, Platform, SESSION_COOKIE, problem, soon, text};

const PATH: &str = "/api/v1/events";

/// An open feed.
struct Feed {
    response: Response,
    unread: String,
}

/// One event with its SSE fields.
#[derive(Debug)]
struct Heard {
    id: String,
    name: String,
    data: Value,
}

impl Feed {
    async fn open(api: &Http, after: Option<&str>) -> Result<Self> {
        let mut request = api.request(Method::GET, PATH);
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        Self::begin(request).await
    }

    async fn begin(request: RequestBuilder) -> Result<Self> {
        let response = request.send().await?.error_for_status()?;
        let kind = response.headers().get("content-type").context("no content type")?.to_str()?;
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Ok(Self { response, unread: String::new() })
    }

    /// The next event; `None` when the feed has ended.
    async fn next(&mut self) -> Result<Option<Heard>> {
        soon("an event", async {
            loop {
                if let Some((block, rest)) = self.unread.split_once("\n\n") {
                    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                    let heard = match (field("id:"), field("event:"), field("data:")) {
                        (Some(id), Some(name), Some(data)) => {
                            Some(Heard { id: id.to_owned(), name: name.to_owned(), data: serde_json::from_str(data)? })
                        }
                        _ => None,
                    };
                    self.unread = rest.to_owned();
                    if heard.is_some() {
                        return Ok(heard);
                    }
                    continue;
                }
                // A server that goes away without a last chunk ends the feed as well.
                match self.response.chunk().await {
                    Ok(Some(chunk)) => self.unread.push_str(std::str::from_utf8(&chunk)?),
                    Ok(None) | Err(_) => return Ok(None),
                }
            }
        })
        .await?
    }

    async fn expect(&mut self, name: &str) -> Result<Heard> {
        match self.next().await? {
            Some(heard) if heard.name == name => Ok(heard),
            other => bail!("expected {name}, heard {other:?}"),
        }
    }
}

#[tokio::test]
async fn whoever_makes_a_workspace_hears_of_it() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let mut feed = Feed::open(&alice.api, None).await?;
    let workspace = alice.workspace("shop").await?;
    let heard = feed.expect("workspace.created").await?;
    assert_eq!(heard.data["kind"], "workspace.created");
    assert_eq!((&heard.data["workspace"], &heard.data["subject"]), (&json!(workspace), &json!(workspace)));
    assert_eq!(heard.data["organization"], alice.organization);
    assert_eq!(heard.data["data"], json!({ "name": "shop", "plan": "standard" }));
    assert_eq!(heard.id, heard.data["sequence"].to_string());
    alice
        .api
        .post(&format!("/api/v1/workspaces/{workspace}/projects"), &json!({ "name": "web" }))
        .await?
        .expect(201)?;
    assert_eq!(feed.expect("project.created").await?.data["data"]["name"], "web");
    alice.api.delete(&format!("/api/v1/workspaces/{workspace}")).await?.expect(202)?;
    feed.expect("workspace.deleting").await?;
    Ok(())
}

#[tokio::test]
async fn a_feed_goes_on_after_the_last_event_that_was_heard() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let mut feed = Feed::open(&alice.api, Some("0")).await?;
    feed.expect("organization.created").await?;
    alice.workspace("one").await?;
    let first = feed.expect("workspace.created").await?;
    drop(feed);
    let (two, three) = (alice.workspace("two").await?, alice.workspace("three").await?);
    let mut feed = Feed::open(&alice.api, Some(&first.id)).await?;
    for expected in [two, three] {
        assert_eq!(feed.expect("workspace.created").await?.data["subject"], expected);
    }
    Ok(())
}

#[tokio::test]
async fn a_stranger_hears_nothing() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, mallory) = (platform.person("alice").await?, platform.person("mallory").await?);
    let mut live = Feed::open(&mallory.api, None).await?;
    let workspace = alice.workspace("shop").await?;
    alice
        .api
        .post(&format!("/api/v1/workspaces/{workspace}/projects"), &json!({ "name": "web" }))
        .await?
        .expect(201)?;
    let mut from_the_start = Feed::open(&mallory.api, Some("0")).await?;
    let mut from_nowhere = Feed::open(&mallory.api, Some("-1")).await?;
    // The first that reaches a stranger is the stranger's own.
    let own = mallory.workspace("own").await?;
    for feed in [&mut from_the_start, &mut from_nowhere] {
        assert_eq!(feed.expect("organization.created").await?.data["subject"], mallory.organization);
    }
    for feed in [&mut live, &mut from_the_start, &mut from_nowhere] {
        assert_eq!(feed.expect("workspace.created").await?.data["subject"], own);
    }
    Ok(())
}

#[tokio::test]
async fn a_member_hears_of_a_workspace_from_being_added_to_being_removed() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let (shared, hidden) = (alice.workspace("shared").await?, alice.workspace("hidden").await?);
    let mut feed = Feed::open(&bob.api, None).await?;
    let project = |workspace: &str, name: &str| {
        let (path, body) = (format!("/api/v1/workspaces/{workspace}/projects"), json!({ "name": name }));
        let alice = &alice;
        async move { alice.api.post(&path, &body).await?.expect(201) }
    };
    project(&shared, "before").await?;
    alice.add(&shared, &bob.id, &[]).await?.expect(201)?;
    // What was before is not told again, unless asked for.
    let heard = feed.next().await?.context("the feed ended")?;
    assert!(["member.added", "project.created"].contains(&heard.name.as_str()), "{heard:?}");
    if heard.name == "project.created" {
        feed.expect("member.added").await?;
    }
    project(&hidden, "secret").await?;
    project(&shared, "during").await?;
    assert_eq!(feed.expect("project.created").await?.data["data"]["name"], "during");
    alice.remove(&shared, &bob.id).await?.expect(204)?;
    project(&shared, "after").await?;
    let own = bob.workspace("own").await?;
    assert_eq!(feed.expect("workspace.created").await?.data["subject"], own);
    Ok(())
}

#[tokio::test]
async fn a_feed_ends_when_its_browser_signs_out() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let cookie = alice.browser.cookie(HOST, SESSION_COOKIE).context("no session")?;
    let nobody = platform.nobody();
    let request = nobody.request(Method::GET, PATH).header("cookie", format!("{SESSION_COOKIE}={cookie}"));
    let mut feed = Feed::begin(request).await?;
    alice.browser.post(&platform.at("/auth/logout"), &[]).await?.expect(303)?;
    assert!(feed.next().await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_feed_ends_when_its_programs_session_is_revoked() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let mut feed = Feed::open(&alice.api, None).await?;
    let token = alice.tokens.refresh_token.clone().context("no refresh token")?;
    platform
        .nobody()
        .post_form("/oidc/platform/revoke", &[("token", &token), ("client_id", "hxb")])
        .await?
        .expect(200)?;
    assert!(feed.next().await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_feed_hears_of_what_another_server_did() -> Result<()> {
    let one = Platform::start().await?;
    let two = one.replica().await?;
    let alice = one.person("alice").await?;
    let mut feed = Feed::open(&two.nobody().with_token(alice.api.token()), None).await?;
    let workspace = alice.workspace("shop").await?;
    assert_eq!(feed.expect("workspace.created").await?.data["subject"], workspace);
    Ok(())
}

#[tokio::test]
async fn a_feed_ends_when_the_server_stops() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let mut feed = Feed::open(&alice.api, None).await?;
    let (ended, stopped) = tokio::join!(feed.next(), soon("the stop", platform.stop()));
    assert!(ended?.is_none());
    stopped?
}

#[tokio::test]
async fn a_hundred_events_and_more_come_in_order_and_once() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let mut expected = vec!["organization.created".to_owned(), "workspace.created".to_owned()];
    for _ in 0..60 {
        alice.add(&workspace, &alice.id, &[]).await?.expect(201)?;
        alice.add(&workspace, &alice.id, &["WSUsers"]).await?.expect(201)?;
        expected.extend(["member.added".to_owned(), "member.added".to_owned()]);
    }
    let mut feed = Feed::open(&alice.api, Some("0")).await?;
    let mut last = 0;
    for name in expected {
        let heard = feed.expect(&name).await?;
        let sequence: i64 = text(&json!(heard.id)).parse()?;
        assert!(sequence > last, "{sequence} after {last}");
        last = sequence;
    }
    Ok(())
}

#[tokio::test]
async fn nobody_hears_anything() -> Result<()> {
    let platform = Platform::start().await?;
    problem(&platform.nobody().get(PATH).await?, 401, "unauthenticated");
    Ok(())
}
