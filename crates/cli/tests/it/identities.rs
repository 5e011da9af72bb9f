//! `hxb identity`.

use serde_json::{Value, json};

use crate::harness::Home;
use crate::stub::Stub;

fn identity(number: u32, provider: Option<&str>, email: Option<&str>) -> Value {
    json!({
        "id": format!("idn-{number:020}"), "provider": provider, "provider_name": provider.unwrap_or("https://gone.example"),
        "issuer": "https://gone.example", "subject": "583231", "display_name": null, "email": email, "email_verified": true,
        "primary": number == 1, "created_at": "2026-01-01T00:00:00Z", "last_used_at": null, "from_the_future": 1,
    })
}

#[tokio::test]
async fn identities_are_listed_with_their_provider_and_whom_it_knows() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let all = json!({ "items": [identity(1, Some("google"), Some("ada@example.com")), identity(2, None, None)] });
    stub.answer("GET /me/identities", 200, all.clone());
    let ended = home.hxb(&["identity", "list"]).await;
    assert_eq!(
        ended.out,
        "PROVIDER               WHO               PRIMARY   USED    ID\n\
         google                 ada@example.com   yes       never   idn-00000000000000000001\n\
         https://gone.example   583231            no        never   idn-00000000000000000002\n"
    );
    assert_eq!(home.hxb(&["identity", "list", "-o", "json"]).await.json(), all);
}

#[tokio::test]
async fn an_identity_is_unlinked_by_id_or_by_its_provider() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let all = json!({ "items": [identity(1, Some("google"), None), identity(2, Some("github"), None), identity(3, Some("github"), None)] });
    stub.answer("GET /me/identities", 200, all);
    let path = |number: u32| format!("DELETE /me/identities/idn-{number:020}");
    stub.answer(&path(1), 204, Value::Null);
    let refusal = json!({ "type": "/problems/last-identity", "title": "Conflict", "status": 409, "code": "last_identity",
        "detail": "This is the only identity.", "request_id": "req-1" });
    stub.answer(&path(3), 409, refusal);
    for wanted in ["google", "idn-00000000000000000001"] {
        let ended = home.hxb(&["identity", "unlink", wanted]).await;
        assert_eq!((ended.code, ended.err), (0, format!("You no longer sign in with {wanted}.\n")));
        assert_eq!(stub.world().requests.last().unwrap().0, path(1));
    }
    let refused = home.hxb(&["identity", "unlink", "idn-00000000000000000003"]).await;
    assert!(refused.code == 5 && refused.err.contains("This is the only identity."), "{refused:?}");
    let several = home.hxb(&["identity", "unlink", "github"]).await;
    assert!(several.code == 2 && several.err.contains("several identities of github"), "{several:?}");
    let none = home.hxb(&["identity", "unlink", "gitlab"]).await;
    assert!(none.code == 4 && none.err.contains("you can see: google, github, github"), "{none:?}");
}
