use anyhow::Context as _;
use hexabase_oidc::claims::WorkspaceClaims;
use hexabase_oidc::jwt::{Expectation, ExpectedTyp, TokenError, Typ};
use hexabase_testkit::on_both_engines;
use serde_json::json;

use super::*;
use crate::clock::Clock;

const POLICY: RotationPolicy = RotationPolicy::DEFAULT;

/// A clock that stands at a whole second, as the instants of keys do.
fn clock() -> Clock {
    Clock::standing_at(Timestamp::from_seconds(Clock::System.now().as_seconds()))
}

async fn load(store: &Store, clock: &Clock, policy: RotationPolicy) -> anyhow::Result<Keys> {
    Ok(Keys::load(store, &Sealer::new(&[7; 32], "master")?, policy, clock.now()).await?)
}

/// The id of the key that signs with ES256.
fn signer(keys: &Keys, clock: &Clock) -> anyhow::Result<String> {
    let now = clock.now().as_seconds();
    keys.with(|ring| ring.signer(Algorithm::Es256, now).map(|key| key.kid().to_owned())).context("nothing signs")
}

fn published(keys: &Keys, clock: &Clock) -> BTreeSet<String> {
    let set = keys.with(|ring| ring.jwks(clock.now().as_seconds()));
    set.keys.into_iter().filter_map(|key| key.kid).collect()
}

fn request(kids: &[&String]) -> RevocationRequest {
    let kids = kids.iter().map(|kid| (*kid).clone()).collect();
    RevocationRequest { kids, reason: "a laptop was lost".to_owned(), operator: "ada".to_owned() }
}

async fn status_of(keys: &Keys, store: &Store, clock: &Clock, kid: &str) -> anyhow::Result<KeyStatus> {
    keys.list(store, clock.now()).await?.into_iter().find(|key| key.kid == kid).context("no such key")
}

on_both_engines! {
    async fn a_process_that_cannot_read_the_keys_soon_publishes_none(store: TestStore) {
        let clock = clock();
        let keys = load(&store, &clock, POLICY).await?;
        let now = clock.now().as_seconds();
        keys.published(now)?;
        let long_ago = Instant::now().checked_sub(PUBLISHED_UNREAD + Duration::from_secs(1));
        let long_ago = long_ago.context("the machine has just been started")?;
        keys.0.held.write().unwrap().read_at = Some(long_ago);
        assert!(matches!(keys.published(now), Err(Error::Unavailable(_))));
        keys.reload(&store).await?;
        keys.published(now)?;
    }

    async fn of_a_row_only_what_is_sealed_is_believed(store: TestStore) {
        let clock = clock();
        let keys = load(&store, &clock, POLICY).await?;
        let (now, life) = (clock.now().as_seconds(), POLICY.first(clock.now().as_seconds()));
        let thief = SigningKey::generate(Algorithm::Es256)?;
        let published = |row: &KeyRow| keys.ring_of(std::slice::from_ref(row)).map(|ring| ring.jwks(now).keys);

        let planted = KeyRow { private_sealed: Vec::new(), ..keys.row(&thief, KeyPurpose::Sign, life, None)? };
        assert!(published(&planted)?.is_empty());
        let own = keys.rows().remove(0);
        let sealed = Some(keys.seal_public(&own)?);
        assert!(published(&KeyRow { public_sealed: sealed.clone(), ..planted.clone() }).is_err(), "the seal of another row");
        let garbage = Some(b"garbage".to_vec());
        assert!(published(&KeyRow { public_sealed: garbage, ..planted.clone() }).is_err());

        let public_jwk = planted.public_jwk.clone();
        let retired = KeyRow { private_sealed: Vec::new(), public_sealed: sealed, public_jwk, ..own.clone() };
        let found = published(&retired)?;
        assert_eq!((found.len(), found[0].kid.as_ref()), (1, Some(&own.kid)), "what is written beside does not count");

        let witness = keys.row(&thief, KeyPurpose::Witness, life, None)?;
        assert_eq!(published(&witness)?.len(), 1);
        assert!(published(&KeyRow { purpose: KeyPurpose::Sign, ..witness }).is_err(), "a witness that is called a signer");
    }

    async fn a_retired_key_keeps_its_public_half_sealed_and_a_revoked_one_nothing(store: TestStore) {
        let clock = clock();
        let keys = load(&store, &clock, POLICY).await?;
        let first = signer(&keys, &clock)?;
        keys.rotate(&store, &clock, "ada").await?;
        clock.advance_seconds(2 * POLICY.lead());
        keys.tend(&store, &clock).await?;
        let row = |kid: &str| keys.rows().into_iter().find(|row| row.kid == kid).context("no row");
        let retired = row(&first)?;
        assert!(retired.private_sealed.is_empty() && retired.public_sealed.is_some(), "{retired:?}");
        assert!(published(&keys, &clock).contains(&first));
        assert_eq!(status_of(&keys, &store, &clock, &first).await?.state, "retired");
        let second = signer(&keys, &clock)?;
        keys.revoke(&store, &clock, &request(&[&first, &second])).await?;
        for kid in [&first, &second] {
            let revoked = row(kid)?;
            assert!(revoked.private_sealed.is_empty() && revoked.public_sealed.is_none(), "{revoked:?}");
        }
    }

    async fn a_successor_waits_for_the_longest_set_that_anybody_may_still_keep(store: TestStore) {
        let clock = clock();
        let long = load(&store, &clock, RotationPolicy { jwks_max_age: 3_600, ..POLICY }).await?;
        long.note_served(&store, clock.now()).await?;
        // The setting was changed, and the servers started anew.
        let short = load(&store, &clock, RotationPolicy { jwks_max_age: 60, ..POLICY }).await?;
        let waits = async || -> anyhow::Result<i64> {
            let listed = short.rotate(&store, &clock, "ada").await?;
            let next = listed.into_iter().find(|key| key.state == "announced").context("none is announced")?;
            Ok(next.sign_from.millis_since(clock.now()) / 1_000)
        };
        assert_eq!(waits().await?, 3_660);
        let done = short.revoke(&store, &clock, &request(&[&signer(&short, &clock)?])).await?;
        assert!(done.tenants_forget_by > clock.now().plus_seconds(3_600));
        clock.advance_seconds(2 * 3_600 + 61);
        short.tend(&store, &clock).await?;
        assert_eq!(waits().await?, 120, "nobody can have kept a set for longer");
    }

    async fn what_is_revoked_ends_at_once_by_a_clock_that_is_behind_as_well(store: TestStore) {
        let (clock, ahead) = (clock(), clock());
        ahead.advance_seconds(59);
        let keys = load(&store, &clock, POLICY).await?;
        let stolen = signer(&keys, &clock)?;
        let done = keys.revoke(&store, &ahead, &request(&[&stolen])).await?;
        assert!(!published(&keys, &clock).contains(&stolen));
        assert_eq!(signer(&keys, &clock)?, done.successors[0]);
        assert_eq!(published(&keys, &clock).len(), 3, "two that sign, and the witness");
    }

    async fn a_revocation_may_be_repeated_and_then_asks_again(store: TestStore) {
        let clock = clock();
        let keys = load(&store, &clock, POLICY).await?;
        let stolen = signer(&keys, &clock)?;
        let done = keys.revoke(&store, &clock, &request(&[&stolen, &stolen])).await?;
        assert_eq!((done.revoked, done.revoked_before), (vec![stolen.clone()], vec![]));
        // There is no workspace: all of them know the witness.
        keys.tend(&store, &clock).await?;
        assert_eq!(keys.in_workspaces(&store).await?, None);
        assert_eq!(published(&keys, &clock).len(), 2);

        clock.advance_seconds(7);
        let next = signer(&keys, &clock)?;
        let unknown = "unknown".to_owned();
        let refused = keys.revoke(&store, &clock, &request(&[&next, &unknown])).await;
        assert!(refused.is_err_and(|error| error.to_string().contains("no such key: unknown")));
        keys.reload(&store).await?;
        assert_eq!(signer(&keys, &clock)?, next, "nothing was revoked");
        let done = keys.revoke(&store, &clock, &request(&[&stolen, &next])).await?;
        assert_eq!((done.revoked, done.revoked_before), (vec![next], vec![stolen.clone()]));
        let done = keys.revoke(&store, &clock, &request(&[&stolen])).await?;
        assert_eq!((done.revoked.len(), done.successors.len()), (0, 0));
        assert_eq!(keys.in_workspaces(&store).await?.context("not asked again")?.since, clock.now());
    }

    async fn revoking_a_key_that_signs_no_more_changes_no_other_one(store: TestStore) {
        let clock = clock();
        let keys = load(&store, &clock, POLICY).await?;
        let first = signer(&keys, &clock)?;
        keys.rotate(&store, &clock, "ada").await?;
        clock.advance_seconds(2 * POLICY.lead());
        keys.tend(&store, &clock).await?;
        let current = signer(&keys, &clock)?;
        keys.rotate(&store, &clock, "ada").await?;
        let ends = status_of(&keys, &store, &clock, &current).await?.sign_until;
        assert!(ends.is_some(), "its successor waits");
        let done = keys.revoke(&store, &clock, &request(&[&first])).await?;
        assert_eq!((done.revoked, done.successors.len()), (vec![first], 0));
        assert_eq!(status_of(&keys, &store, &clock, &current).await?.sign_until, ends);
        let waiting = keys.list(&store, clock.now()).await?.iter().filter(|key| key.state == "announced").count();
        assert_eq!(waiting, 2);
        assert_eq!(signer(&keys, &clock)?, current);
    }

    async fn who_made_and_who_revoked_a_key_and_why_is_kept(store: TestStore) {
        let clock = clock();
        let keys = load(&store, &clock, POLICY).await?;
        let first = signer(&keys, &clock)?;
        for reason in ["", " \t", "two\nlines", &"x".repeat(501)] {
            let request = RevocationRequest { reason: reason.to_owned(), ..request(&[&first]) };
            assert!(keys.revoke(&store, &clock, &request).await.is_err(), "{reason:?}");
        }
        let listed = keys.rotate(&store, &clock, "ada").await?;
        let made_by = |state: &str| listed.iter().find(|key| key.state == state).and_then(|key| key.made_by.clone());
        assert_eq!((made_by("signing"), made_by("announced").as_deref()), (None, Some("ada")));
        keys.revoke(&store, &clock, &request(&[&first])).await?;
        // Longer than keys are listed that merely were replaced.
        clock.advance_seconds(400 * 24 * 3_600);
        keys.tend(&store, &clock).await?;
        let found = status_of(&keys, &store, &clock, &first).await?;
        let revoked = found.revoked.context("not revoked")?;
        assert_eq!((found.state, revoked.by.as_str(), revoked.because.as_str()), ("revoked", "ada", "a laptop was lost"));
        assert!(keys.is_revoked(&first) && keys.revoked().len() == 1);
    }

    async fn a_witness_is_published_until_it_has_served_and_believed_by_nobody_of_ours(store: TestStore) {
        let clock = clock();
        let keys = load(&store, &clock, POLICY).await?;
        let stolen = signer(&keys, &clock)?;
        keys.revoke(&store, &clock, &request(&[&stolen])).await?;
        let first = keys.witness(&store, clock.now()).await?.context("no witness")?;
        assert!(published(&keys, &clock).contains(first.key.kid()));
        assert_eq!(status_of(&keys, &store, &clock, first.key.kid()).await?.state, "witness");
        let expected = Expectation {
            issuer: "https://hexabase.example",
            audience: "x",
            typ: ExpectedTyp::Exactly(Typ::Jwt),
            algorithms: &Algorithm::ALL,
            now: clock.now().as_seconds(),
            leeway: 0,
        };
        let token = hexabase_oidc::jwt::sign(&first.key, &json!({ "iss": expected.issuer, "aud": "x" }), Typ::Jwt)?;
        let refused = keys.with(|ring| ring.verify::<WorkspaceClaims>(&token, &expected));
        assert_eq!(refused, Err(TokenError::UnknownKey));
        // A later revocation has a witness of its own, which nobody can know from before.
        keys.revoke(&store, &clock, &request(&[&stolen])).await?;
        let second = keys.witness(&store, clock.now()).await?.context("no witness")?;
        assert!(published(&keys, &clock).contains(second.key.kid()));
        assert!(!published(&keys, &clock).contains(first.key.kid()));
        keys.tend(&store, &clock).await?;
        assert!(keys.witness(&store, clock.now()).await?.is_none(), "nobody is left who does not know it");
        assert!(!published(&keys, &clock).contains(second.key.kid()));
        let mut witnesses = keys.rows().into_iter().filter(|row| row.purpose == KeyPurpose::Witness);
        assert!(witnesses.all(|row| row.private_sealed.is_empty()));
    }
}
