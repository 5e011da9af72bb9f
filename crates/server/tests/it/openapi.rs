use anyhow::{Context as _, Result};
use reqwest::Method;

use crate::strangers::{ask, operations};
use crate::support::{Platform, problem};

#[tokio::test]
async fn nobody_gets_anything_from_any_route() -> Result<()> {
    let platform = Platform::start().await?;
    let nobody = platform.nobody();
    for (method, path, body) in operations()? {
        let path = path.replace(['{', '}'], "");
        let answer = ask(&nobody, &method, &path, body.as_ref()).await?;
        problem(&answer, 401, "unauthenticated");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method} {path}");
        // Not even with a body that would be refused, or a method that does not exist.
        let unread = nobody.send(nobody.request(method.clone(), &format!("/api/v1{path}")).body("{")).await?;
        problem(&unread, 401, "unauthenticated");
        let patch = nobody.send(nobody.request(Method::PATCH, &format!("/api/v1{path}"))).await?;
        problem(&patch, 401, "unauthenticated");
    }
    Ok(())
}

#[tokio::test]
async fn the_document_is_the_one_the_server_was_built_with() -> Result<()> {
    let platform = Platform::start().await?;
    let served = platform.nobody().get("/openapi.json").await?.expect(200)?;
    assert_eq!(served.header("content-type"), "application/json");
    assert_eq!(served.json()?, serde_json::to_value(hexabase_server::http::openapi())?);
    Ok(())
}

#[tokio::test]
async fn every_operation_of_the_document_is_served() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let all = operations()?;
    for (method, path, body) in all.iter().filter(|(_, path, _)| path != "/events") {
        let answer = ask(&alice.api, method, &path.replace(['{', '}'], ""), body.as_ref()).await?;
        assert!(answer.status != 405 && !answer.text.contains("no such address"), "{method} {path}: {}", answer.text);
        // What the document promises not to exist does not.
        let other = [Method::PATCH, Method::PUT, Method::DELETE, Method::POST]
            .into_iter()
            .find(|method| !all.iter().any(|(one, there, _)| (one, there) == (method, path)));
        let other = ask(&alice.api, &other.context("every method")?, &path.replace(['{', '}'], ""), None).await?;
        problem(&other, 405, "method_not_allowed");
    }
    Ok(())
}
