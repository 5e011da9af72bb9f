use std::collections::BTreeSet;

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use crate::support::{Platform, problem, text};

#[tokio::test]
async fn a_problem_says_what_is_wrong_to_people_and_programs() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let answer = alice.api.post("/api/v1/organizations", &json!({ "name": "" })).await?;
    let body = problem(&answer, 422, "invalid");
    assert_eq!(body["type"], "/problems/invalid");
    assert_eq!(body["title"], "Unprocessable Entity");
    assert_eq!(body["status"], 422);
    assert_eq!(body["field"], "name");
    let fields: BTreeSet<&str> = body.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    assert_eq!(fields, BTreeSet::from(["type", "title", "status", "code", "detail", "field", "request_id"]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_text_that_a_database_cannot_hold_is_refused_with_its_field() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let workspace = alice.workspace("shop").await?;
        let of_organization = format!("/api/v1/organizations/{}/workspaces", alice.organization);
        let members = format!("/api/v1/workspaces/{workspace}/members");
        let projects = format!("/api/v1/workspaces/{workspace}/projects");
        for (path, body, field) in [
            ("/api/v1/organizations", json!({ "name": "\0" }), "name"),
            (&of_organization, json!({ "name": "a\0", "plan": "free" }), "name"),
            (&of_organization, json!({ "name": "web", "plan": "\0" }), "plan"),
            (&members, json!({ "email": "bob\0@example.test" }), "email"),
            (&members, json!({ "user": "usr-\0" }), "user"),
            (&members, json!({ "email": alice.email, "groups": ["WSUsers", "\0"] }), "groups"),
            (&projects, json!({ "name": "\0web" }), "name"),
            (&projects, json!({ "name": "web", "quota": { "cpu": "1\0" } }), "quota.cpu"),
        ] {
            let refused = problem(&alice.api.post(path, &body).await?, 422, "invalid");
            assert_eq!(refused["field"], field, "{path} {body}");
        }
        let refused = problem(&alice.api.get("/api/v1/workspaces?limit=9&name=%00").await?, 422, "invalid");
        assert_eq!(refused["field"], "name");
        // What only looks like it is a text like any other.
        let name = r"a \u0000 and %00";
        let made = alice.api.post("/api/v1/organizations", &json!({ "name": name })).await?.expect(201)?;
        assert_eq!(made.json()?["name"], name);
    }
    Ok(())
}

#[tokio::test]
async fn the_id_of_a_request_is_in_the_header_and_in_the_problem() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let nobody = platform.nobody();
    let mut seen = BTreeSet::new();
    for answer in [
        nobody.get("/api/v1/me").await?,
        nobody.get("/api/v1/nonsense").await?,
        alice.api.get("/api/v1/nonsense").await?,
        alice.api.get("/api/v1/workspaces/nonsense").await?,
        alice.api.get("/api/v1/workspaces?limit=0").await?,
        alice.api.post("/api/v1/organizations", &json!([])).await?,
    ] {
        let id = text(&answer.json()?["request_id"]);
        assert_eq!(id, answer.header("x-request-id"));
        assert!(id.starts_with("req-"), "{id}");
        assert!(seen.insert(id), "an id was used twice");
    }
    // One that the caller made up is not taken over.
    let own = nobody.request(Method::GET, "/api/v1/me").header("x-request-id", "req-mine");
    assert_ne!(nobody.send(own).await?.header("x-request-id"), "req-mine");
    for path in ["/healthz", "/sign-in", "/oidc/platform/jwks", "/k8s/x/version", "/nonsense"] {
        assert!(nobody.get(path).await?.header("x-request-id").starts_with("req-"), "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn an_address_that_does_not_exist_is_a_problem() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for path in
        ["/api/v1/nonsense", "/api/v1/", "/api/v1", "/api/v1/workspaces/", "/api/v1//me", "/api/v1/me/", "/api/v1/ME"]
    {
        problem(&alice.api.get(path).await?, 404, "not_found");
    }
    for path in ["/nonsense", "/api", "/api/v2/me", "/oidc", "/auth", "/.env", "/index.php"] {
        problem(&alice.api.get(path).await?, 404, "not_found");
    }
    Ok(())
}

#[tokio::test]
async fn a_method_that_an_address_does_not_take_is_a_problem() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for (method, path) in
        [(Method::DELETE, "/api/v1/me"), (Method::PUT, "/api/v1/organizations"), (Method::TRACE, "/api/v1/me")]
    {
        let answer = alice.api.send(alice.api.request(method, path)).await?;
        problem(&answer, 405, "method_not_allowed");
        assert!(answer.header("allow").contains("GET"), "{answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_authorization_header_that_is_not_one_token_is_nobodys() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let nobody = platform.nobody();
    let good = format!("Bearer {}", alice.api.token());
    let one_header = |value: &str| nobody.request(Method::GET, "/api/v1/me").header("authorization", value);
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "bearer",
        alice.api.token(),
        &format!("Basic {}", alice.api.token()),
        &format!("Token {}", alice.api.token()),
        &format!("Bearer  {}", alice.api.token()),
        &format!("Bearer {} {}", alice.api.token(), alice.api.token()),
        &format!("{good}, {good}"),
        &format!("{good},"),
        "Bearer null",
        "Bearer undefined",
        "Bearer a.b.c",
        "Bearer ..",
    ] {
        problem(&nobody.send(one_header(value)).await?, 401, "unauthenticated");
    }
    let twice = one_header(&good).header("authorization", &good);
    problem(&nobody.send(twice).await?, 401, "unauthenticated");
    let good_and_empty = one_header(&good).header("authorization", "");
    problem(&nobody.send(good_and_empty).await?, 401, "unauthenticated");
    // A bad token is not made good by a good cookie.
    let with = |request: reqwest::RequestBuilder| request.header("authorization", "Bearer a.b.c");
    let both = alice.browser.request(Method::GET, &platform.at("/api/v1/me"), with).await?;
    problem(&both, 401, "unauthenticated");
    // The scheme is not case-sensitive (RFC 9110 section 11.1), the rest is.
    nobody.send(one_header(&format!("bEARER {}", alice.api.token()))).await?.expect(200)?;
    // A token in the address is no token.
    problem(&nobody.get(&format!("/api/v1/me?access_token={}", alice.api.token())).await?, 401, "unauthenticated");
    Ok(())
}

#[tokio::test]
async fn answers_of_the_api_are_not_kept_by_anybody_in_between() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for path in ["/api/v1/me", "/api/v1/organizations", "/api/v1/workspaces", "/api/v1/nonsense"] {
        let answer = alice.api.get(path).await?;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
    for path in ["/sign-in", "/device", "/"] {
        assert_eq!(alice.browser.get(&platform.at(path)).await?.header("cache-control"), "no-store", "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn no_other_site_may_read_the_api() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let with = |request: reqwest::RequestBuilder| request.header("origin", "https://evil.example");
    let answer = alice.browser.request(Method::GET, &platform.at("/api/v1/me"), with).await?;
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let preflight = |request: reqwest::RequestBuilder| {
        let request = request.header("origin", "https://evil.example").header("access-control-request-method", "POST");
        request.header("access-control-request-headers", "x-hexabase-request")
    };
    let answer = alice.browser.request(Method::OPTIONS, &platform.at("/api/v1/organizations"), preflight).await?;
    assert_eq!(answer.header("access-control-allow-origin"), "");
    assert_eq!(answer.header("access-control-allow-headers"), "");
    Ok(())
}
