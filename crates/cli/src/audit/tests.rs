use hexabase_core::audit::AuditEntry;
use hexabase_core::time::Timestamp;
use serde_json::{Value, json};

use super::*;

const CHAIN: &str = "org-00000000000000000001";

fn entry(number: i64) -> AuditEntry {
    AuditEntry {
        id: format!("aud-{number:020}").parse().unwrap(),
        at: Timestamp::from_seconds(1_790_000_000 + number),
        actor: "usr-00000000000000000001".to_owned(),
        on_behalf_of: Some("operator".to_owned()),
        credential: "session ses-00000000000000000001".to_owned(),
        source: Some("192.0.2.1".to_owned()),
        request_id: format!("req-{number:020}"),
        action: "member.added".to_owned(),
        subject: format!("usr-{number:020}"),
        workspace: Some("ws-00000000000000000001".parse().unwrap()),
        before: Some(json!({ "groups": [] })),
        after: Some(json!({ "groups": ["WSUsers"], "limits": { "b": 1, "a": 2.5 } })),
    }
}

/// The lines of an honest log of this length.
fn log(length: i64) -> Vec<String> {
    let mut previous = GENESIS.to_owned();
    let line = |seq: i64| {
        let entry = entry(seq);
        let hash = sha256(&entry.canonical(CHAIN, seq, &previous));
        let record = AuditRecord::new(CHAIN.to_owned(), seq, previous.clone(), hash.clone(), entry);
        previous = hash;
        serde_json::to_string(&record).unwrap()
    };
    (1..=length).map(line).collect()
}

fn verify(lines: &[String], heads: Vec<Head>) -> Report {
    let mut verifier = Verifier::new(heads);
    lines.iter().for_each(|line| verifier.line(line));
    verifier.end()
}

fn findings(lines: &[String]) -> Vec<(u64, Wrong)> {
    verify(lines, Vec::new()).findings.into_iter().map(|finding| (finding.line, finding.wrong)).collect()
}

fn head_of(lines: &[String]) -> Head {
    verify(lines, Vec::new()).head
}

/// The record of a line with some members changed, its hash as it was.
fn changed(line: &str, changes: &Value) -> String {
    let mut record: Value = serde_json::from_str(line).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        record[name] = value.clone();
    }
    record.to_string()
}

/// The same with a hash that fits, as somebody makes it who knows the rules.
fn forged(line: &str, changes: &Value) -> String {
    let record: AuditRecord = serde_json::from_str(&changed(line, changes)).unwrap();
    let hash = sha256(&record.entry().canonical(&record.chain, record.seq, &record.previous));
    changed(line, &{
        let mut changes = changes.clone();
        changes["hash"] = json!(hash);
        changes
    })
}

#[test]
fn an_honest_log_is_whole_whatever_form_its_json_has() {
    let lines = log(5);
    let report = verify(&lines, Vec::new());
    assert_eq!((report.findings.len(), report.head.seq, report.chain.as_deref()), (0, 5, Some(CHAIN)));
    let pretty: Vec<_> = lines
        .iter()
        .map(|line| serde_json::to_string_pretty(&serde_json::from_str::<Value>(line).unwrap()).unwrap())
        .collect();
    let checked = Report { end_checked: true, ..report.clone() };
    assert_eq!(verify(&pretty, vec![report.head.clone()]), checked);
    // A server of tomorrow may tell more.
    let more: Vec<_> = lines.iter().map(|line| changed(line, &json!({ "from_the_future": 1 }))).collect();
    assert_eq!(verify(&more, Vec::new()), report);
    assert_eq!(verify(&[], Vec::new()).head, Head { seq: 0, hash: GENESIS.to_owned() });
}

#[test]
fn a_change_of_any_member_is_found_in_its_line() {
    let lines = log(4);
    for changes in [
        json!({ "id": "aud-00000000000000000009" }),
        json!({ "at": "2026-01-01T00:00:00Z" }),
        json!({ "actor": "usr-00000000000000000009" }),
        json!({ "on_behalf_of": null }),
        json!({ "credential": "system" }),
        json!({ "source": "192.0.2.9" }),
        json!({ "source": null }),
        json!({ "request_id": "req-00000000000000000009" }),
        json!({ "action": "member.removed" }),
        json!({ "subject": "usr-00000000000000000009" }),
        json!({ "workspace": null }),
        json!({ "before": null }),
        json!({ "before": { "groups": ["WSUsers"] } }),
        json!({ "after": { "groups": ["WSAdmins"] } }),
        json!({ "hash": GENESIS }),
    ] {
        let mut tampered = lines.clone();
        tampered[1] = changed(&lines[1], &changes);
        let found = findings(&tampered);
        assert_eq!(found.first(), Some(&(2, Wrong::Changed(2))), "{changes}");
    }
    let mut tampered = lines.clone();
    tampered[1] = changed(&lines[1], &json!({ "previous": GENESIS }));
    assert_eq!(findings(&tampered), [(2, Wrong::Changed(2)), (2, Wrong::Detached(2))]);
    tampered[1] = changed(&lines[1], &json!({ "seq": 7 }));
    assert_eq!(findings(&tampered)[..2], [(2, Wrong::Changed(7)), (2, Wrong::Missing { from: 2, to: 6, before: 7 })]);
    tampered[1] = changed(&lines[1], &json!({ "chain": "org-00000000000000000002" }));
    assert_eq!(findings(&tampered)[0], (2, Wrong::Foreign("org-00000000000000000002".to_owned())));
}

#[test]
fn a_change_with_a_hash_that_fits_is_found_by_the_next_line() {
    let mut lines = log(4);
    lines[1] = forged(&lines[1], &json!({ "actor": "usr-00000000000000000009" }));
    assert_eq!(findings(&lines), [(3, Wrong::Detached(3))]);
}

#[test]
fn a_change_of_the_last_line_or_of_all_after_it_is_found_by_what_was_written_down() {
    let lines = log(4);
    let once = head_of(&lines);
    let mut last = lines.clone();
    last[3] = forged(&lines[3], &json!({ "actor": "usr-00000000000000000009" }));
    assert!(findings(&last).is_empty(), "nothing in the log itself tells");
    assert_eq!(verify(&last, vec![once.clone()]).findings[0].wrong, Wrong::Anew(4));
    // Everything from the second on written anew.
    let mut anew = lines;
    let mut previous = head_of(&anew[..1]).hash;
    for line in &mut anew[1..] {
        *line = forged(line, &json!({ "previous": previous, "actor": "usr-00000000000000000009" }));
        previous = serde_json::from_str::<AuditRecord>(line).unwrap().hash;
    }
    assert!(findings(&anew).is_empty());
    assert_eq!(verify(&anew, vec![once]).findings[0].wrong, Wrong::Anew(4));
}

#[test]
fn what_was_removed_is_named() {
    let lines = log(6);
    let without = |removed: &[usize]| -> Vec<String> {
        lines.iter().enumerate().filter(|(place, _)| !removed.contains(place)).map(|(_, line)| line.clone()).collect()
    };
    assert_eq!(findings(&without(&[2])), [(3, Wrong::Missing { from: 3, to: 3, before: 4 })]);
    assert_eq!(findings(&without(&[1, 2, 3])), [(2, Wrong::Missing { from: 2, to: 4, before: 5 })]);
    assert_eq!(findings(&without(&[0])), [(1, Wrong::Missing { from: 1, to: 1, before: 2 })]);
    // Numbers made to fit betray themselves.
    let mut renumbered = without(&[2]);
    renumbered[2] = forged(&renumbered[2], &json!({ "seq": 3 }));
    assert_eq!(findings(&renumbered)[0], (3, Wrong::Detached(3)));
}

#[test]
fn what_stands_in_another_order_is_found() {
    let mut lines = log(5);
    lines.swap(1, 2);
    assert_eq!(findings(&lines), [(2, Wrong::Missing { from: 2, to: 2, before: 3 }), (3, Wrong::Moved(2))]);
    lines.swap(1, 2);
    lines.insert(3, lines[1].clone());
    assert_eq!(findings(&lines), [(4, Wrong::Moved(2))]);
}

#[test]
fn an_end_that_is_cut_off_is_found_when_it_was_written_down() {
    let lines = log(5);
    let (early, late) = (head_of(&lines[..2]), head_of(&lines));
    assert!(verify(&lines, vec![early.clone(), late.clone()]).findings.is_empty());
    let cut = verify(&lines[..3], vec![early, late.clone()]);
    assert_eq!(cut.findings, [Finding { line: 3, wrong: Wrong::CutOff { once: 5, now: 3 } }]);
    assert_eq!(verify(&[], vec![late]).findings[0].wrong, Wrong::CutOff { once: 5, now: 0 });
}

#[test]
fn a_line_that_is_no_record_is_named_and_the_rest_is_read() {
    let mut lines = log(3);
    lines[1] = "{}".to_owned();
    let found = findings(&lines);
    assert!(matches!(&found[0], (2, Wrong::Unreadable(_))), "{found:?}");
    assert_eq!(found[1], (3, Wrong::Missing { from: 2, to: 2, before: 3 }));
    // A member that is there twice could be read either way.
    let twice = log(1)[0].replacen('{', "{\"actor\":\"nobody\",", 1);
    assert!(matches!(&findings(&[twice])[0], (1, Wrong::Unreadable(_))));
}

#[test]
fn a_head_is_written_as_it_is_read() {
    let head = head_of(&log(3));
    assert_eq!(head.to_string().parse(), Ok(head));
    let long = format!("1:{}", "a".repeat(65));
    let capital = format!("1:{}", "A".repeat(64));
    for bad in ["", "1", "1:", "x:y", ":", "-1:0", &long, &capital] {
        assert!(bad.parse::<Head>().is_err(), "{bad:?}");
    }
}
