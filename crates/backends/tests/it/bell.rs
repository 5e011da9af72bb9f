use hexabase_backends::bell::{Bell, Ring, Topic};

fn topic(subject: &str) -> Topic {
    Topic { kind: "reconcile-workspace".to_owned(), subject: subject.to_owned() }
}

#[tokio::test]
async fn everybody_who_listens_hears_a_ring() {
    let bell = Bell::new();
    bell.ring(topic("before anybody listened"));
    let (mut first, mut second) = (bell.subscribe(), bell.clone().subscribe());
    bell.ring(topic("ws-1"));
    assert_eq!(first.next().await, Some(Ring::Topic(topic("ws-1"))));
    assert_eq!(second.next().await, Some(Ring::Topic(topic("ws-1"))));
}

#[tokio::test]
async fn a_slow_listener_is_told_that_it_missed_rings() {
    let bell = Bell::new();
    let mut slow = bell.subscribe();
    for number in 0..2000 {
        bell.ring(topic(&number.to_string()));
    }
    assert_eq!(slow.next().await, Some(Ring::Missed));
    assert!(matches!(slow.next().await, Some(Ring::Topic(_))));
    drop(bell);
    while let Some(ring) = slow.next().await {
        assert_ne!(ring, Ring::Missed);
    }
}
