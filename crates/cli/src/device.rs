//! Sign-in on another device (RFC 8628).

use std::time::Duration;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::oauth::{self, CLIENT_ID, Endpoints, Refusal, SCOPE, Tokens};
use crate::output::say;

/// What the device authorization endpoint gives (section 3.2).
#[derive(Clone, Deserialize)]
struct Authorization {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

const DEFAULT_INTERVAL: u64 = 5;
const MOST_FAILURES: u32 = 5;

/// Shows the address and the code, and waits until the user has signed in there.
pub(crate) async fn sign_in(http: &reqwest::Client, server: &str, endpoints: &Endpoints) -> Result<Tokens> {
    let Some(endpoint) = &endpoints.device_authorization_endpoint else {
        return Err(Error::new(Kind::Failure, format!("{server} offers no sign-in on another device"))
            .hint("run: hxb login --no-browser, and open the address on this machine"));
    };
    let form = [("client_id", CLIENT_ID), ("scope", SCOPE)];
    let authorization = match oauth::ask::<Authorization>(http, server, endpoint, &form).await? {
        Ok(authorization) => authorization,
        Err(refusal) => return Err(Error::new(Kind::Refused, format!("{server} refused: {}", refusal.sentence()))),
    };
    match &authorization.verification_uri_complete {
        Some(address) => {
            say(&format!("Open this address to sign in: {address}"));
            say(&format!("Go on only if the page shows this code: {}", authorization.user_code));
        }
        None => {
            say(&format!("Open this address to sign in: {}", authorization.verification_uri));
            say(&format!("Enter this code there: {}", authorization.user_code));
        }
    }
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let form = [("grant_type", grant), ("device_code", &authorization.device_code), ("client_id", CLIENT_ID)];
    let ask = async || oauth::ask::<Tokens>(http, server, &endpoints.token_endpoint, &form).await;
    let interval = Duration::from_secs(authorization.interval.unwrap_or(DEFAULT_INTERVAL));
    poll(ask, tokio::time::sleep, interval, Duration::from_secs(authorization.expires_in)).await
}

/// Asks every `interval` until there is an answer or the code has expired. A server that says `slow_down` is asked five
/// seconds less often from then on (section 3.5); one that cannot be reached is asked half as often.
async fn poll(
    mut ask: impl AsyncFnMut() -> Result<Result<Tokens, Refusal>>,
    mut sleep: impl AsyncFnMut(Duration),
    mut interval: Duration,
    expires_in: Duration,
) -> Result<Tokens> {
    let mut waited = Duration::ZERO;
    let mut failures = 0;
    while waited < expires_in {
        sleep(interval).await;
        waited += interval.max(Duration::from_secs(1));
        let refusal = match ask().await {
            Ok(Ok(tokens)) => return Ok(tokens),
            Ok(Err(refusal)) => refusal,
            Err(error) if error.kind() == Kind::Failure && failures < MOST_FAILURES => {
                failures += 1;
                interval *= 2;
                continue;
            }
            Err(error) => return Err(error),
        };
        failures = 0;
        match refusal.error.as_str() {
            "authorization_pending" => {}
            "slow_down" => interval += Duration::from_secs(5),
            "access_denied" => return Err(Error::new(Kind::NotSignedIn, "sign-in was refused")),
            "expired_token" => break,
            _ => return Err(Error::new(Kind::NotSignedIn, format!("sign-in failed: {}", refusal.sentence()))),
        }
    }
    Err(Error::new(Kind::TimedOut, "nobody signed in before the code expired").hint("run: hxb login --device"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(word: &str) -> Result<Result<Tokens, Refusal>> {
        Ok(Err(Refusal { error: word.to_owned(), error_description: None }))
    }

    async fn run(answers: Vec<Result<Result<Tokens, Refusal>>>) -> (Result<String>, Vec<u64>) {
        let mut answers = answers.into_iter();
        let mut slept = Vec::new();
        let ask = async || answers.next().unwrap_or_else(|| refusal("authorization_pending"));
        let sleep = async |time: Duration| slept.push(time.as_secs());
        let result = poll(ask, sleep, Duration::from_secs(5), Duration::from_secs(60)).await;
        (result.map(|tokens| tokens.access_token), slept)
    }

    fn tokens() -> Result<Result<Tokens, Refusal>> {
        Ok(Ok(Tokens { access_token: "A".to_owned(), refresh_token: None, expires_in: 600 }))
    }

    #[tokio::test]
    async fn polling_goes_on_while_nobody_has_answered_and_slows_down_when_told() {
        let answers =
            vec![refusal("authorization_pending"), refusal("slow_down"), refusal("authorization_pending"), tokens()];
        let (result, slept) = run(answers).await;
        assert_eq!(result.unwrap(), "A");
        assert_eq!(slept, [5, 5, 10, 10]);
    }

    #[tokio::test]
    async fn a_refusal_ends_it_and_so_does_the_end_of_the_code() {
        assert_eq!(run(vec![refusal("access_denied")]).await.0.unwrap_err().kind(), Kind::NotSignedIn);
        assert_eq!(run(vec![refusal("expired_token")]).await.0.unwrap_err().kind(), Kind::TimedOut);
        let (result, slept) = run(Vec::new()).await;
        assert_eq!(result.unwrap_err().kind(), Kind::TimedOut);
        assert_eq!(slept.len(), 12);
    }

    #[tokio::test]
    async fn a_broken_connection_is_forgiven_but_not_for_ever() {
        let broken = || Err(Error::new(Kind::Failure, "broken"));
        let (result, slept) = run(vec![broken(), tokens()]).await;
        assert_eq!(result.unwrap(), "A");
        assert_eq!(slept, [5, 10]);
    }
}
