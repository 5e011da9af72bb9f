//! Checking audit logs.

use aws_lc_rs::digest::{SHA256, digest};
use hexabase_api::audit::AuditRecord;
use hexabase_core::audit::{AuditEntry, GENESIS};
use hexabase_core::time::Timestamp;
use serde_json::{Value, json};

use crate::harness::{Home, ORGANIZATION};
use crate::stub::Stub;

/// The records of an honest log.
fn log(length: i64) -> Vec<Value> {
    let mut previous = GENESIS.to_owned();
    let record = |seq: i64| {
        let entry = AuditEntry {
            id: format!("aud-{seq:020}").parse().unwrap(),
            at: Timestamp::from_seconds(1_790_000_000 + seq),
            actor: "usr-00000000000000000001".to_owned(),
            on_behalf_of: None,
            credential: "session ses-00000000000000000001".to_owned(),
            source: None,
            request_id: format!("req-{seq:020}"),
            action: "token.created".to_owned(),
            subject: format!("tok-{seq:020}"),
            workspace: None,
            before: None,
            after: Some(json!({ "name": "deploy" })),
        };
        let bytes = entry.canonical(ORGANIZATION, seq, &previous);
        let hash: String = digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let record = AuditRecord::new(ORGANIZATION.to_owned(), seq, previous.clone(), hash.clone(), entry);
        previous = hash;
        serde_json::to_value(record).unwrap()
    };
    (1..=length).map(record).collect()
}

fn lines(records: &[Value]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

#[tokio::test]
async fn an_exported_log_is_checked_without_a_server() {
    let home = Home::new();
    let records = log(4);
    let head = format!("4:{}", records[3]["hash"].as_str().unwrap());
    home.write("log", &lines(&records));
    let whole = home.hxb(&["audit", "verify", "--file", "log", "--head", &head]).await;
    assert_eq!(whole.code, 0, "{whole:?}");
    assert!(whole.out.contains("is whole: 4 records") && whole.out.ends_with(&format!("{head}\n")), "{whole:?}");
    let mut changed = records.clone();
    changed[2]["after"]["name"] = json!("other");
    home.write("changed", &lines(&changed));
    let found = home.hxb(&["audit", "verify", "--file", "changed"]).await;
    assert_eq!((found.code, found.out.as_str()), (7, "line 3: record 3 was changed after it was written\n"));
    let expected = format!("error: the log of {ORGANIZATION} is not whole: 1 findings\n");
    assert_eq!(found.err, format!("The end was not checked; give --head.\n{expected}"));
    home.write("cut", &lines(&records[..3]));
    let unchecked = home.hxb(&["audit", "verify", "--file", "cut"]).await;
    assert_eq!((unchecked.code, unchecked.err.as_str()), (0, "The end was not checked; give --head.\n"));
    assert_eq!(whole.err, "");
    let cut = home.hxb(&["audit", "verify", "--file", "cut", "--head", &head, "-o", "json"]).await;
    assert_eq!(cut.code, 7);
    let told: Value = serde_json::from_str(&cut.out).unwrap();
    assert_eq!(
        (&told["chain"], &told["head"]["seq"], &told["findings"][0]["line"]),
        (&json!(ORGANIZATION), &json!(3), &json!(3))
    );
    assert_eq!(home.hxb(&["audit", "verify", "--file", "missing"]).await.code, 1);
    assert_eq!(home.hxb(&["audit", "verify", "--file", "log", "--head", "4:x"]).await.code, 2);
    assert_eq!(home.hxb(&["audit", "verify", "--file", "log", "--org", "acme"]).await.code, 2);
}

#[tokio::test]
async fn an_exported_log_has_its_head_beside_it_and_is_checked_against_it() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let records = log(3);
    let head = format!("3:{}", records[2]["hash"].as_str().unwrap());
    stub.export(&lines(&records), &head);
    // An organisation that is no more is known by its id only.
    let ended = home.hxb(&["audit", "export", "--file", "log", "--org", ORGANIZATION]).await;
    assert_eq!((ended.code, ended.err), (0, format!("Head: {head}\n")));
    assert_eq!(stub.world().requests.len(), 1);
    assert_eq!((home.read("log"), home.read("log.head")), (lines(&records), format!("{head}\n")));
    let whole = home.hxb(&["audit", "verify", "--file", "log"]).await;
    assert_eq!((whole.code, whole.err.as_str()), (0, ""), "{whole:?}");
    home.write("log", &lines(&records[..2]));
    let cut = home.hxb(&["audit", "verify", "--file", "log"]).await;
    assert_eq!(cut.code, 7);
    assert!(cut.out.contains("the log once reached record 3"), "{cut:?}");
    home.write("log", "");
    assert_eq!(home.hxb(&["audit", "verify", "--file", "log"]).await.code, 7);
    home.write("log.head", "nonsense");
    let garbled = home.hxb(&["audit", "verify", "--file", "log"]).await;
    assert!(garbled.code == 1 && garbled.err.contains("log.head holds no head"), "{garbled:?}");
}

#[tokio::test]
async fn an_empty_log_without_a_head_proves_nothing() {
    let home = Home::new();
    home.write("empty", "");
    let ended = home.hxb(&["audit", "verify", "--file", "empty"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (7, ""));
    assert!(ended.err.contains("the log is empty") && ended.err.contains("--head"), "{ended:?}");
    let first = format!("0:{GENESIS}");
    assert_eq!(home.hxb(&["audit", "verify", "--file", "empty", "--head", &first]).await.code, 0);
    let later = format!("4:{GENESIS}");
    assert_eq!(home.hxb(&["audit", "verify", "--file", "empty", "--head", &later]).await.code, 7);
}

#[tokio::test]
async fn the_own_accounts_log_is_listed_and_checked() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let records = log(3);
    stub.answer("GET /me/audit?limit=200", 200, json!({ "items": records[..2], "next_cursor": "Mg" }));
    stub.answer("GET /me/audit?limit=200&cursor=Mg", 200, json!({ "items": records[2..] }));
    let listed = home.hxb(&["audit", "list", "--me"]).await;
    assert_eq!((listed.code, listed.out.lines().count()), (0, 4), "{listed:?}");
    assert!(listed.out.contains("tok-00000000000000000003"), "{listed:?}");
    assert_eq!(home.hxb(&["audit", "verify", "--me"]).await.code, 0);
    stub.answer("GET /me/audit?limit=200&cursor=Mg", 200, json!({ "items": [records[0]] }));
    assert_eq!(home.hxb(&["audit", "verify", "--me"]).await.code, 7);
}

#[tokio::test]
async fn conditions_go_to_the_server() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let path = format!("GET /organizations/{ORGANIZATION}/audit");
    stub.answer(&path, 200, json!({ "items": [] }));
    let conditions = ["--actor", "usr-1", "--action", "member", "--since", "2026-01-01T00:00:00Z"];
    let ended = home.hxb(&[&["audit", "list"][..], &conditions].concat()).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, "Nothing of that kind was changed.\n"));
    let asked = stub.world().requests.last().unwrap().0.clone();
    assert_eq!(asked, format!("{path}?actor=usr-1&action=member&since=2026-01-01T00%3A00%3A00Z&limit=200"));
}
