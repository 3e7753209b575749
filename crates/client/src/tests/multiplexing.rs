//! Many requests, one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use paravon_model::Value;
use tokio::task::JoinSet;

use super::fake_server::{FakeServer, VALUE_BYTES, client, key};
use crate::{ClientError, Outcome, PutOptions, RequestOptions};

#[tokio::test]
async fn answers_may_come_in_any_order_over_one_connection() {
    const COUNT: usize = 50;
    // All requests are there before the first answer, and the last one is answered first.
    let server = FakeServer::start(|_, mut peer| async move {
        let mut seen = Vec::new();
        while seen.len() < COUNT {
            seen.push(peer.request().await.unwrap());
        }
        for request in seen.iter().rev() {
            peer.answer(request).await;
        }
        peer.serve().await;
    })
    .await;
    let client = client(&[&server.address]);
    let mut gets = JoinSet::new();
    for number in 0..COUNT {
        let client = client.clone();
        gets.spawn(async move {
            let name = format!("key-{number}");
            let found = client.get(&key(&name), RequestOptions::default()).await.unwrap().unwrap();
            assert_eq!(found.value, Value::bytes(name.as_bytes()));
        });
    }
    gets.join_all().await;
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn no_more_requests_are_in_flight_than_the_server_allows() {
    let most = Arc::new(AtomicUsize::new(0));
    let seen_most = most.clone();
    let server = FakeServer::start_with(3, move |_, mut peer| {
        let most = seen_most.clone();
        async move {
            let mut open = Vec::new();
            for _ in 0..30 {
                open.push(peer.request().await.unwrap());
                most.fetch_max(open.len(), Ordering::SeqCst);
                if open.len() == 3 {
                    for request in std::mem::take(&mut open) {
                        peer.answer(&request).await;
                    }
                }
            }
            peer.serve().await;
        }
    })
    .await;
    let client = client(&[&server.address]);
    let mut puts = JoinSet::new();
    for number in 0..30 {
        let client = client.clone();
        puts.spawn(async move {
            let key = key(&format!("key-{number}"));
            client.put(&key, Value::bytes(b"v"), PutOptions::default()).await.unwrap()
        });
    }
    for written in puts.join_all().await {
        assert_eq!((written.acks, written.replicas), (Some(2), Some(3)));
        assert_eq!(written.version.to_string(), "1.2@node-1");
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_value_that_the_server_does_not_take_is_not_sent() {
    let server = FakeServer::start(|_, peer| peer.serve()).await;
    let client = client(&[&server.address]);
    let value = Value::bytes(&[0; VALUE_BYTES + 1]);
    let error = client.put(&key("k"), value, PutOptions::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::ValueTooLarge { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::Refused);
    // The connection lives on.
    client.delete(&key("k"), RequestOptions::default()).await.unwrap();
    assert_eq!(server.connections(), 1);
}
