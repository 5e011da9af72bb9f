//! Answers: what they must be, and what they say.

use hexabase_testkit::http::Answer;
use serde_json::Value;

/// A string of an answer; empty for anything else.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The body of an answer, which must be JSON.
#[track_caller]
pub(crate) fn body(answer: &Answer) -> Value {
    let body = serde_json::from_str(&answer.text);
    assert!(body.is_ok(), "not JSON: {answer:?}");
    body.unwrap_or_default()
}

/// Fails unless `answer` is a problem of this status and code; returns it.
#[track_caller]
pub(crate) fn problem(answer: &Answer, status: u16, code: &str) -> Value {
    let body = body(answer);
    assert_eq!((answer.status, body["code"].as_str()), (status, Some(code)), "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    body
}

/// The error of an answer of the token endpoint.
#[track_caller]
pub(crate) fn oauth_error(answer: &Answer) -> String {
    let body = body(answer);
    assert!((400..500).contains(&answer.status), "{answer:?}");
    text(&body["error"])
}

/// The items of a list.
#[track_caller]
pub(crate) fn items(answer: &Answer) -> Vec<Value> {
    let body = body(answer);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let items = body["items"].as_array();
    assert!(items.is_some(), "no items: {body}");
    items.cloned().unwrap_or_default()
}

/// An object with some members changed; one that becomes null is left out.
pub(crate) fn changed(object: &Value, changes: Value) -> Value {
    let mut object = object.clone();
    for (name, value) in changes.as_object().cloned().unwrap_or_default() {
        if value.is_null() {
            object.as_object_mut().map(|object| object.remove(&name));
        } else {
            object[name] = value;
        }
    }
    object
}
