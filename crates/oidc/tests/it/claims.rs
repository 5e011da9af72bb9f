//! What a token may say.

use std::sync::LazyLock;

use hexabase_oidc::{
    Issuer,
    claims::{AccessClaims, AccessGrant, ClaimsError, IdTokenClaims, WorkspaceClaims, WorkspaceGrant, WorkspaceSignIn},
    jwt::{self, Expectation, ExpectedTyp, TokenError, Typ},
};
use serde_json::{Value, json};

use crate::support::{EC, NOW, expectation, header, issuer, jwks, raw_token, with, without};

fn grant(issuer: &Issuer) -> WorkspaceGrant<'_> {
    WorkspaceGrant {
        issuer,
        subject: "usr_1",
        audience: "app",
        workspace: "ws-1",
        session: "ses_1",
        groups: vec!["WSUsers".into(), "WorkspaceMembers".into(), "WSUsers".into()],
        email: Some("alice@example.test".into()),
        name: None,
        client: None,
        sign_in: WorkspaceSignIn::default(),
        now: NOW,
        life: 600,
        jti: "j".into(),
    }
}

fn refused<'a>(change: impl FnOnce(&mut WorkspaceGrant<'a>)) -> ClaimsError {
    static WORKSPACE: LazyLock<Issuer> = LazyLock::new(issuer);
    let mut grant = grant(&WORKSPACE);
    change(&mut grant);
    WorkspaceClaims::new(grant).unwrap_err()
}

#[test]
fn a_workspace_token_says_what_kubernetes_needs() {
    let issuer = issuer();
    let claims = WorkspaceClaims::new(grant(&issuer)).unwrap();
    let json = serde_json::to_value(&claims).unwrap();
    let expected = json!({
        "iss": issuer.as_str(), "sub": "usr_1", "aud": "app", "exp": NOW + 600, "iat": NOW, "nbf": NOW, "jti": "j",
        "groups": ["WSUsers", "WorkspaceMembers"], "email": "alice@example.test", "ws": "ws-1",
        "sid": "ses_1", "token_use": "workspace",
    });
    assert_eq!(json, expected, "groups are sorted and not repeated, an absent name is not written");
    let token = jwt::sign(&EC, &claims, Typ::Jwt).unwrap();
    assert_eq!(jwt::verify::<WorkspaceClaims>(&token, &jwks(), &expectation()).unwrap(), claims);
}

#[test]
fn a_subject_of_the_system_is_refused_in_every_spelling() {
    for sub in [
        "system:admin",
        "system:",
        "system:serviceaccount:ns:name",
        "System:masters",
        "SYSTEM:x",
        " system:x",
        "\u{a0}system:x",
    ] {
        assert_eq!(refused(|grant| grant.subject = sub), ClaimsError::Reserved, "{sub:?}");
    }
}

#[test]
fn a_subject_that_is_no_plain_identifier_is_refused() {
    let long = "x".repeat(256);
    for sub in ["", " ", "a b", "a\n", "a\u{0}", long.as_str()] {
        assert_eq!(refused(|grant| grant.subject = sub), ClaimsError::Subject, "{sub:?}");
    }
}

#[test]
fn a_group_of_the_system_is_refused() {
    for group in ["system:masters", "system:authenticated", "System:masters", "\tsystem:masters", "SyStEm:x"] {
        let groups = vec!["ok".to_owned(), group.to_owned()];
        assert_eq!(refused(|grant| grant.groups = groups), ClaimsError::Reserved, "{group:?}");
    }
}

#[test]
fn a_group_without_a_plain_name_is_refused() {
    for group in ["", " x", "x ", "a\u{7}b", "a b", "a:b", "-x", ".x", "管理者", "a/b"]
        .map(str::to_owned)
        .into_iter()
        .chain(["x".repeat(64)])
    {
        assert_eq!(refused(|grant| grant.groups = vec![group.clone()]), ClaimsError::Group, "{group:?}");
    }
}

#[test]
fn two_hundred_groups_are_the_most() {
    let groups = |count: usize| (0..count).map(|index| format!("g{index:03}")).collect::<Vec<_>>();
    let issuer = issuer();
    let mut most = grant(&issuer);
    most.groups = groups(200);
    assert!(WorkspaceClaims::new(most).is_ok());
    assert_eq!(refused(|grant| grant.groups = groups(201)), ClaimsError::TooManyGroups);
    let wide = (0..131).map(|index| format!("{index:0>63}")).collect();
    assert_eq!(refused(|grant| grant.groups = wide), ClaimsError::TooManyGroups, "131 x 63 bytes");
}

#[test]
fn the_largest_workspace_token_still_fits_its_reader() {
    let issuer = issuer();
    let mut most = grant(&issuer);
    most.groups = (0..200).map(|index| format!("{index:0>40}")).collect();
    let token = jwt::sign(&EC, &WorkspaceClaims::new(most).unwrap(), Typ::Jwt).unwrap();
    assert!(jwt::verify::<WorkspaceClaims>(&token, &jwks(), &expectation()).is_ok());
}

#[test]
fn a_life_of_more_than_ten_minutes_or_none_is_refused() {
    for life in [601, 0, -1, i64::MAX, i64::MIN] {
        assert_eq!(refused(|grant| grant.life = life), ClaimsError::Life, "{life}");
    }
}

#[test]
fn audience_workspace_session_and_id_must_be_named() {
    assert_eq!(refused(|grant| grant.audience = ""), ClaimsError::Empty("aud"));
    assert_eq!(refused(|grant| grant.workspace = ""), ClaimsError::Empty("ws"));
    assert_eq!(refused(|grant| grant.session = ""), ClaimsError::Empty("sid"));
    assert_eq!(refused(|grant| grant.jti = String::new()), ClaimsError::Empty("jti"));
}

#[test]
fn reading_a_workspace_token_checks_what_making_one_checks() {
    let issuer = issuer();
    let good = serde_json::to_value(WorkspaceClaims::new(grant(&issuer)).unwrap()).unwrap();
    let read = |claims: Value| {
        let token = raw_token(&EC, &header(&EC).to_string(), &claims.to_string());
        jwt::verify::<WorkspaceClaims>(&token, &jwks(), &expectation()).map(|_| ())
    };
    assert_eq!(read(good.clone()), Ok(()));
    let bad = [
        with(good.clone(), "sub", json!("")),
        with(good.clone(), "sub", json!("system:admin")),
        with(good.clone(), "groups", json!(["system:masters"])),
        with(good.clone(), "groups", json!("WSAdmins")),
        with(good.clone(), "exp", json!(NOW + 3600)),
        with(good.clone(), "token_use", json!("access")),
        with(good.clone(), "aud", json!(["app", "other"])),
        with(good.clone(), "ws", json!("")),
        without(good.clone(), "ws"),
        without(good.clone(), "token_use"),
        without(good.clone(), "jti"),
        without(good.clone(), "sid"),
        without(good, "groups"),
    ];
    for claims in bad {
        assert!(matches!(read(claims.clone()), Err(TokenError::Claims(_))), "{claims}");
    }
}

#[test]
fn access_and_workspace_tokens_do_not_pass_for_each_other() {
    let issuer = issuer();
    let access = AccessClaims::new(AccessGrant {
        issuer: &issuer,
        subject: "usr_1",
        audience: "app",
        client_id: "hxb",
        session: "ses_1",
        scope: Some("openid offline_access".into()),
        userinfo: Some("name email".into()),
        now: NOW,
        life: 3600,
        jti: "j".into(),
    })
    .unwrap();
    let token = jwt::sign(&EC, &access, Typ::AccessToken).unwrap();
    let at = Expectation { typ: ExpectedTyp::Exactly(Typ::AccessToken), ..expectation() };
    let read = jwt::verify::<AccessClaims>(&token, &jwks(), &at).unwrap();
    assert_eq!((read.subject(), read.session(), read.client_id()), ("usr_1", "ses_1", "hxb"));
    assert_eq!(read.scopes().collect::<Vec<_>>(), ["openid", "offline_access"]);
    assert_eq!(read.userinfo().collect::<Vec<_>>(), ["name", "email"]);
    assert_eq!((read.audience(), read.issued_at(), read.expires_at()), ("app", NOW, NOW + 3600));
    assert_eq!(jwt::verify::<WorkspaceClaims>(&token, &jwks(), &expectation()), Err(TokenError::WrongType));
    assert!(matches!(jwt::verify::<WorkspaceClaims>(&token, &jwks(), &at), Err(TokenError::Claims(_))));
    let workspace = jwt::sign(&EC, &WorkspaceClaims::new(grant(&issuer)).unwrap(), Typ::Jwt).unwrap();
    assert_eq!(jwt::verify::<AccessClaims>(&workspace, &jwks(), &at), Err(TokenError::WrongType));
    assert!(matches!(jwt::verify::<AccessClaims>(&workspace, &jwks(), &expectation()), Err(TokenError::Claims(_))));
}

#[test]
fn an_access_token_names_its_client_and_session_and_ends_within_the_hour() {
    let issuer = issuer();
    let grant = AccessGrant {
        issuer: &issuer,
        subject: "usr_1",
        audience: "app",
        client_id: "hxb",
        session: "ses_1",
        scope: None,
        userinfo: None,
        now: NOW,
        life: 60,
        jti: "j".into(),
    };
    let refused = |grant: AccessGrant<'_>| AccessClaims::new(grant).unwrap_err();
    assert_eq!(refused(AccessGrant { session: "", ..grant.clone() }), ClaimsError::Empty("sid"));
    assert_eq!(refused(AccessGrant { client_id: "", ..grant.clone() }), ClaimsError::Empty("client_id"));
    assert_eq!(refused(AccessGrant { audience: "", ..grant.clone() }), ClaimsError::Empty("aud"));
    assert_eq!(refused(AccessGrant { subject: "system:x", ..grant.clone() }), ClaimsError::Reserved);
    assert_eq!(refused(AccessGrant { life: 3601, ..grant }), ClaimsError::Life);
}

#[test]
fn a_workspace_token_can_be_an_id_token_of_the_client_that_is_called_like_the_workspace() {
    let issuer = issuer();
    let sign_in = WorkspaceSignIn {
        nonce: Some("n".into()),
        auth_time: Some(NOW - 5),
        at_hash: Some(jwt::half_hash("the access token")),
    };
    let claims = WorkspaceClaims::new(WorkspaceGrant { client: Some("app"), sign_in, ..grant(&issuer) }).unwrap();
    assert_eq!(claims.client_id(), Some("app"));
    let token = jwt::sign(&EC, &claims, Typ::Jwt).unwrap();
    assert_eq!(jwt::verify::<WorkspaceClaims>(&token, &jwks(), &expectation()).unwrap(), claims);
    let read: IdTokenClaims = jwt::verify(&token, &jwks(), &expectation()).unwrap();
    assert_eq!((read.nonce.as_deref(), read.auth_time, read.azp.as_deref()), (Some("n"), Some(NOW - 5), Some("app")));
    assert_eq!(read.at_hash, Some(jwt::half_hash("the access token")));
}
