//! What is known of a provider's configuration.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hexabase_oidc::Issuer;
use hexabase_oidc::client::{ClientError, Fault, Outbound, ProviderMetadata};
use tokio::sync::Mutex;

/// How long a discovery document is believed.
const FRESH: Duration = Duration::from_secs(600);
/// How long one is used while the provider does not give another.
const USABLE: Duration = Duration::from_secs(6 * 3600);
/// How long one failed attempt speaks for everybody: twenty people who wait for a provider that is away are told so
/// together, not one after the other.
const PAUSE: Duration = Duration::from_secs(5);

/// A provider's configuration, fetched when first needed and kept for a while.
#[derive(Debug)]
pub(super) struct Discovery {
    issuer: Issuer,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    known: Option<(Instant, Arc<ProviderMetadata>)>,
    failed: Option<(Instant, Arc<ClientError>)>,
}

impl Discovery {
    pub(super) fn new(issuer: Issuer) -> Self {
        Self { issuer, slot: Mutex::default() }
    }

    /// The configuration by the clock `now`; people who wait for the same one cause one request.
    pub(super) async fn get(
        &self,
        http: &Outbound,
        now: impl Fn() -> Instant,
    ) -> Result<Arc<ProviderMetadata>, Arc<ClientError>> {
        let mut slot = self.slot.lock().await;
        let begun = now();
        let known = |slot: &Slot, life: Duration| match &slot.known {
            Some((at, metadata)) if begun.duration_since(*at) < life => Some(Arc::clone(metadata)),
            _ => None,
        };
        if let Some(metadata) = known(&slot, FRESH) {
            return Ok(metadata);
        }
        let failed = match &slot.failed {
            Some((at, failed)) if begun.duration_since(*at) < PAUSE => Arc::clone(failed),
            _ => match ProviderMetadata::discover(http, &self.issuer).await {
                Ok(metadata) => {
                    let metadata = Arc::new(metadata);
                    *slot = Slot { known: Some((now(), Arc::clone(&metadata))), failed: None };
                    return Ok(metadata);
                }
                Err(error) => {
                    let error = Arc::new(error);
                    tracing::warn!(issuer = %self.issuer, error = %error, "a provider's configuration cannot be read");
                    slot.failed = Some((now(), Arc::clone(&error)));
                    error
                }
            },
        };
        // A provider that is away for a moment has not changed; one that says something else has.
        match known(&slot, USABLE) {
            Some(metadata) if failed.fault() == Fault::Outage => Ok(metadata),
            _ => Err(failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;
    use axum::{Json, Router};
    use hexabase_oidc::client::Reach;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    /// A provider that can be away or say that it is another one, and a clock that a test moves.
    struct Site {
        discovery: Discovery,
        http: Outbound,
        state: Arc<AtomicUsize>,
        asked: Arc<AtomicUsize>,
        begun: Instant,
        seconds: AtomicU64,
    }

    const GOOD: usize = 0;
    const AWAY: usize = 1;
    const ANOTHER: usize = 2;

    async fn site(state: usize) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let (state, asked) = (Arc::new(AtomicUsize::new(state)), Arc::new(AtomicUsize::new(0)));
        let (own, saying, count) = (issuer.clone(), Arc::clone(&state), Arc::clone(&asked));
        let answer = move || {
            count.fetch_add(1, Ordering::SeqCst);
            let issuer = match saying.load(Ordering::SeqCst) {
                GOOD => own.clone(),
                ANOTHER => format!("{own}/another"),
                _ => String::new(),
            };
            async move {
                if issuer.is_empty() {
                    return StatusCode::SERVICE_UNAVAILABLE.into_response();
                }
                let document = json!({
                    "issuer": issuer, "authorization_endpoint": format!("{issuer}/a"), "token_endpoint": format!("{issuer}/t"),
                    "jwks_uri": format!("{issuer}/k"), "response_types_supported": ["code"],
                    "id_token_signing_alg_values_supported": ["ES256"],
                });
                Json(document).into_response()
            }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        let discovery = Discovery::new(Issuer::parse(&issuer).unwrap());
        let http = Outbound::new(Reach { loopback: true, ..Reach::default() }).unwrap();
        Site { discovery, http, state, asked, begun: Instant::now(), seconds: AtomicU64::new(0) }
    }

    impl Site {
        async fn get_at(&self, seconds: u64) -> Result<(), Fault> {
            self.seconds.store(seconds, Ordering::SeqCst);
            let now = || self.begun + Duration::from_secs(self.seconds.load(Ordering::SeqCst));
            self.discovery.get(&self.http, now).await.map(drop).map_err(|error| error.fault())
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn a_failure_speaks_for_five_seconds_and_then_the_provider_is_asked_again() {
        let site = site(AWAY).await;
        for (second, asked) in [(0, 1), (1, 1), (4, 1), (5, 2), (9, 2)] {
            assert_eq!(site.get_at(second).await, Err(Fault::Outage), "at {second}");
            assert_eq!(site.asked(), asked, "at {second}");
        }
        site.state.store(GOOD, Ordering::SeqCst);
        assert_eq!(site.get_at(10).await, Ok(()));
    }

    #[tokio::test]
    async fn twenty_who_wait_for_a_provider_that_is_away_ask_once() {
        let site = site(AWAY).await;
        let all = futures::future::join_all((0..20).map(|_| site.get_at(0))).await;
        assert!(all.iter().all(|outcome| *outcome == Err(Fault::Outage)), "{all:?}");
        assert_eq!(site.asked(), 1);
    }

    #[tokio::test]
    async fn what_is_known_serves_while_the_provider_is_away_but_not_for_ever() {
        let site = site(GOOD).await;
        assert_eq!(site.get_at(0).await, Ok(()));
        assert_eq!(site.get_at(599).await, Ok(()));
        assert_eq!(site.asked(), 1);
        site.state.store(AWAY, Ordering::SeqCst);
        assert_eq!(site.get_at(600).await, Ok(()), "away");
        assert_eq!(site.get_at(604).await, Ok(()));
        assert_eq!(site.asked(), 2, "not asked by everybody either");
        assert_eq!(site.get_at(6 * 3600).await, Err(Fault::Outage));
    }

    #[tokio::test]
    async fn a_provider_that_says_it_is_another_one_is_not_served_from_memory() {
        let site = site(GOOD).await;
        assert_eq!(site.get_at(0).await, Ok(()));
        site.state.store(ANOTHER, Ordering::SeqCst);
        assert_eq!(site.get_at(600).await, Err(Fault::Configuration));
    }
}
