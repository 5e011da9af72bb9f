use reqwest::Client;

use super::*;
use crate::http;
use crate::tenant::FakeTenant;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server, a proxy before it, and somebody who calls it.
async fn stage(these: &[(&str, Fault)]) -> anyhow::Result<(FakeTenant, FaultProxy, Client)> {
    let server = FakeTenant::start().await?;
    let address = server.host.parse()?;
    let upstream = Upstream::of_tenant(address, server.port, server.ca_pem.as_bytes(), None)?;
    let proxy = FaultProxy::of(upstream).await?;
    let client = http::client(Some(proxy.authority_pem()))?;
    let these: anyhow::Result<_> = these.iter().map(|(text, fault)| Ok((text.parse()?, *fault))).collect();
    proxy.aim(Aim::These(these?));
    assert!(proxy.begin("make"));
    proxy.open();
    Ok((server, proxy, client))
}

#[tokio::test]
async fn a_call_is_held_before_it_is_carried_out_and_before_its_answer_is_known() {
    let namespaces = "/api/v1/namespaces";
    let moments =
        [("make before POST /api/v1/namespaces", Fault::Halt), ("make after POST /api/v1/namespaces", Fault::Halt)];
    let (server, mut proxy, client) = stage(&moments).await.unwrap();
    for (moment, carried_out) in [(moments[0].0, 0), (moments[1].0, 1)] {
        let call = client.post(format!("{}{namespaces}", proxy.url())).body("{}").send();
        let call = tokio::spawn(call);
        assert_eq!(proxy.halted().await.unwrap().to_string(), moment);
        assert_eq!(server.asked("POST").len(), carried_out);
        // Nobody else's call passes, and no operation begins, until the caller is dead.
        assert!(!proxy.begin("next") && !proxy.rest());
        let other = tokio::spawn(client.get(format!("{}/api", proxy.url())).send());
        proxy.forget();
        assert!(call.await.unwrap().is_err());
        // It came before or after that: it is answered, or ends like the first.
        if let Ok(answer) = other.await.unwrap() {
            assert_eq!(answer.status(), 200);
        }
    }
    let passed = client.post(format!("{}{namespaces}", proxy.url())).body("{}").send().await.unwrap();
    assert_eq!((passed.status().as_u16(), server.asked("POST").len()), (200, 2));
    let struck: Vec<String> = proxy.struck().iter().map(|(boundary, _)| boundary.to_string()).collect();
    assert_eq!(struck, moments.map(|(moment, _)| moment.to_owned()));
}

#[tokio::test]
async fn a_caller_that_was_only_stopped_goes_on_where_it_was_held() {
    let (server, mut proxy, client) = stage(&[("make before DELETE /api/v1/namespaces/x", Fault::Halt)]).await.unwrap();
    let call = tokio::spawn(client.delete(format!("{}/api/v1/namespaces/x", proxy.url())).send());
    proxy.halted().await.unwrap();
    assert_eq!(server.asked("DELETE"), []);
    proxy.open();
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
    assert_eq!(server.asked("DELETE").len(), 1);
}

#[tokio::test]
async fn every_fault_is_what_it_says() {
    let (server, proxy, client) = stage(&[
        ("make after GET /cut", Fault::Cut),
        ("make after GET /lost", Fault::Reset),
        ("make before GET /reset", Fault::Reset),
        ("make before GET /gone", Fault::Gone),
    ])
    .await
    .unwrap();
    let get = async |path: &str| client.get(format!("{}{path}", proxy.url())).send().await;
    let cut = get("/cut").await.unwrap();
    assert_eq!(cut.status(), 200);
    assert!(cut.text().await.is_err());
    assert!(get("/lost").await.is_err() && get("/reset").await.is_err());
    assert_eq!(get("/gone").await.unwrap().status(), 410);
    let seen: Vec<String> = server.asked("GET").into_iter().map(|asked| asked.path).collect();
    assert_eq!(seen, ["/cut", "/lost"]);
    // Each comes once.
    for path in ["/cut", "/lost", "/reset", "/gone"] {
        get(path).await.unwrap().text().await.unwrap();
    }
    proxy.storm(Some(Fault::TooMany));
    let refused = get("/api").await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    proxy.storm(None);
    assert_eq!(get("/api").await.unwrap().status(), 200);
    assert_eq!(proxy.calls().len(), 10);
}

#[tokio::test]
async fn a_late_answer_comes_whole_to_whoever_waits_and_the_call_is_carried_out_for_whoever_does_not() {
    let moments = [("make after POST /waited", Fault::Late), ("make after POST /left", Fault::Late)];
    let (server, proxy, client) = stage(&moments).await.unwrap();
    let late = Duration::from_millis(200);
    proxy.late_by(late);
    let begun = Instant::now();
    let answer = client.post(format!("{}/waited", proxy.url())).body("{\"a\":1}").send().await.unwrap();
    assert!(answer.status() == 200 && begun.elapsed() >= late);
    assert_eq!(answer.text().await.unwrap(), "{\"a\":1}");

    proxy.late_by(10 * PATIENCE);
    let left = tokio::spawn(client.post(format!("{}/left", proxy.url())).body("{}").send());
    let is_held_back = async {
        while proxy.struck().len() < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_held_back).await.unwrap();
    assert_eq!(server.asked("POST").len(), 2);
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());

    // In a storm every answer is late, and nothing is refused.
    proxy.late_by(late);
    proxy.storm(Some(Fault::Late));
    for _ in 0..2 {
        let begun = Instant::now();
        let answer = client.get(format!("{}/api", proxy.url())).send().await.unwrap();
        assert!(answer.status() == 200 && begun.elapsed() >= late);
    }
    let struck: Vec<String> =
        proxy.struck().iter().map(|(boundary, fault)| format!("{boundary} = {fault}")).skip(2).collect();
    assert_eq!(struck, ["make after GET /api = late"; 2]);
}

#[tokio::test]
async fn the_body_of_a_call_can_be_changed_on_its_way() {
    let (server, proxy, client) = stage(&[]).await.unwrap();
    proxy.bend(Some(|method, path, body| {
        if (method, path) == ("POST", "/bent") {
            body["spec"] = json!({ "nodeSelector": { "no": "node" } });
        }
    }));
    for path in ["/bent", "/plain"] {
        client.post(format!("{}{path}", proxy.url())).body("{\"a\":1}").send().await.unwrap();
    }
    let bodies: Vec<Value> = server.asked("POST").into_iter().map(|asked| asked.body).collect();
    assert_eq!(bodies, [json!({ "a": 1, "spec": { "nodeSelector": { "no": "node" } } }), json!({ "a": 1 })]);
}
