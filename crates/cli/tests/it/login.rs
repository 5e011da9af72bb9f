//! Signing in and out.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Child;

use crate::harness::{Home, mode};
use crate::stub::Stub;

/// The address of the sign-in page, once it is printed; and stderr from there on.
async fn sign_in_address(child: &mut Child) -> (String, BufReader<tokio::process::ChildStderr>) {
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).await.unwrap();
    let address = line.strip_prefix("Open this address to sign in: ").unwrap_or_else(|| panic!("{line}"));
    (address.trim().to_owned(), stderr)
}

#[tokio::test]
async fn sign_in_through_the_browser_keeps_a_private_session_and_says_who_you_are() {
    let (stub, home) = (Stub::start().await, Home::new());
    let mut child = home.command(&["login", &stub.address(), "--no-browser"]).spawn().unwrap();
    let (address, _stderr) = sign_in_address(&mut child).await;
    let page = reqwest::get(&address).await.unwrap();
    assert!(page.text().await.unwrap().contains("You are signed in."));
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, format!("Signed in to {} as Ada <ada@example.com>\n", stub.address()));
    assert_eq!(mode(&home.path(".config/hexabase/hxb.json")), 0o600);
    assert_eq!(mode(&home.path(".config/hexabase")), 0o700);
    assert_eq!(home.config()["servers"][stub.address()]["session"]["refresh_token"], "refresh-1");
    assert_eq!(home.hxb(&["whoami"]).await.code, 0);
}

#[tokio::test]
async fn a_callback_with_a_foreign_state_is_refused_and_the_right_one_still_counts() {
    let (stub, home) = (Stub::start().await, Home::new());
    let mut child = home.command(&["login", &stub.address(), "--no-browser"]).spawn().unwrap();
    let (address, _stderr) = sign_in_address(&mut child).await;
    let parsed = url::Url::parse(&address).unwrap();
    let redirect = parsed.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
    let forged = reqwest::get(format!("{redirect}?code=stolen&state=forged")).await.unwrap();
    assert_eq!(forged.status(), 400);
    assert_eq!(stub.world().refreshes, 0);
    reqwest::get(&address).await.unwrap();
    assert!(child.wait().await.unwrap().success());
    assert_eq!(stub.world().refreshes, 1);
}

#[tokio::test]
async fn a_refusal_in_the_browser_ends_the_wait() {
    let (stub, home) = (Stub::start().await, Home::new());
    let mut child = home.command(&["login", &stub.address(), "--no-browser"]).spawn().unwrap();
    let (address, mut stderr) = sign_in_address(&mut child).await;
    let address = url::Url::parse(&address).unwrap();
    let of = |wanted: &str| address.query_pairs().find(|(name, _)| name == wanted).unwrap().1.into_owned();
    reqwest::get(format!("{}?error=access_denied&state={}", of("redirect_uri"), of("state"))).await.unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(3));
    let mut text = String::new();
    stderr.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "error: sign-in was refused: access_denied\n");
}

#[tokio::test]
async fn without_a_display_sign_in_goes_to_another_device() {
    let (stub, home) = (Stub::start().await, Home::new());
    stub.world().device_answers.extend(["authorization_pending", "authorization_pending"]);
    let ended = home.hxb(&["login", &stub.address()]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let page = format!("Open this address to sign in: {}/device?code=ABCD-EFGH\n", stub.address());
    assert!(ended.err.starts_with(&page) && ended.err.contains("this code: ABCD-EFGH\n"), "{ended:?}");
}

#[tokio::test]
async fn a_new_sign_in_ends_the_session_before_it() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    assert_eq!(home.hxb(&["login", "--device"]).await.code, 0);
    assert_eq!(stub.world().revoked, ["refresh-0"]);
}

#[tokio::test]
async fn signing_out_revokes_the_session_and_forgets_it() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let ended = home.hxb(&["logout"]).await;
    assert_eq!((ended.code, ended.err), (0, format!("Signed out of {}\n", stub.address())));
    assert_eq!(stub.world().revoked, ["refresh-0"]);
    assert_eq!(home.config()["servers"][stub.address()]["session"], Value::Null);
    assert_eq!(home.hxb(&["whoami"]).await.code, 3);
    assert!(home.hxb(&["logout"]).await.err.starts_with("You were not signed in to"));
}
