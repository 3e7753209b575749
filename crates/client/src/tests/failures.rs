//! Connections that break, servers that are silent or send garbage.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use paravon_model::Value;
use tokio::sync::Notify;

use super::fake_server::{FakeServer, client, files, key, options};
use crate::{Client, ClientError, Outcome, PutOptions, RequestOptions, Violation};

/// A server whose first connection ends after one request, without an answer.
async fn breaks_once() -> (FakeServer, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    let server = FakeServer::start(move |connection, mut peer| {
        let requests = counter.clone();
        async move {
            while let Some(seen) = peer.request().await {
                requests.fetch_add(1, Ordering::SeqCst);
                if connection == 0 {
                    return;
                }
                peer.answer(&seen).await;
            }
        }
    })
    .await;
    (server, requests)
}

#[tokio::test]
async fn a_read_is_sent_again_when_its_connection_breaks() {
    let (server, requests) = breaks_once().await;
    let client = client(&[&server.address]);
    let found = client.get(&key("k"), RequestOptions::default()).await.unwrap().unwrap();
    assert_eq!(found.value, Value::bytes(b"k"));
    assert_eq!((server.connections(), requests.load(Ordering::SeqCst)), (2, 2));
}

#[tokio::test]
async fn a_write_whose_connection_breaks_is_unknown_and_not_sent_again() {
    let (server, requests) = breaks_once().await;
    let client = client(&[&server.address]);
    let error = client.put(&key("k"), Value::bytes(b"v"), PutOptions::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Lost { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    // The next one connects anew.
    client.delete(&key("k"), RequestOptions::default()).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_deadline_passes_with_the_outcome_and_a_silent_connection_ends() {
    let server = FakeServer::start(|connection, mut peer| async move {
        if connection > 0 {
            return peer.serve().await;
        }
        while let Some(seen) = peer.request().await {
            // The server has to answer before the client gives up.
            assert!(seen.timeout.unwrap() < Duration::from_millis(100));
        }
    })
    .await;
    let client = client(&[&server.address]);
    let timeout = Some(Duration::from_millis(100));
    let begun = Instant::now();
    let options = PutOptions { timeout, ..PutOptions::default() };
    let error = client.put(&key("k"), Value::bytes(b"v"), options).await.unwrap_err();
    assert!(matches!(error, ClientError::Deadline { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert!(begun.elapsed() >= Duration::from_millis(100));
    client.get(&key("k"), RequestOptions::default()).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn garbage_ends_the_connection_and_leaves_a_write_unknown() {
    let cases: [(&[u8], &str); 5] = [
        (b"\xff\xff\xff\xff", "Frame"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "Frame"),
        (b"\0\0\0\x01\xc1", "Message"),
        (b"\0\0\0\x15\x83\xa2id\xcd\x03\xe7\xa4type\xa2ok\xa4data\x80", "NoRequest"),
        (b"\0\0\0\x13\x83\xa2id\0\xa4type\xa2hm\xa4data\x80", "UnknownType"),
    ];
    for (garbage, what) in cases {
        let server = FakeServer::start(move |_, mut peer| async move {
            peer.request().await.unwrap();
            peer.send_raw(garbage).await;
            assert!(peer.request().await.is_none(), "the client must go");
        })
        .await;
        let client = client(&[&server.address]);
        let put = client.put(&key("k"), Value::bytes(b"v"), PutOptions::default()).await;
        let error = put.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{what}");
        let ClientError::Garbage { source, .. } = error else { panic!("{what}: {error}") };
        assert!(format!("{source:?}").starts_with(what), "{what}: {source:?}");
    }
}

#[tokio::test]
async fn an_answer_without_a_version_is_garbage() {
    let server = FakeServer::start(|_, mut peer| async move {
        peer.request().await.unwrap();
        peer.send_raw(b"\0\0\0\x13\x83\xa2id\0\xa4type\xa2ok\xa4data\x80").await;
        peer.request().await;
    })
    .await;
    let client = client(&[&server.address]);
    let error = client.put(&key("k"), Value::bytes(b"v"), PutOptions::default()).await.unwrap_err();
    let incomplete = matches!(error, ClientError::Garbage { source: Violation::Incomplete, .. });
    assert!(incomplete, "{error}");
}

#[tokio::test]
async fn an_authority_that_the_other_side_does_not_trust_is_told_as_such() {
    let server = FakeServer::start(|_, peer| peer.serve()).await;
    let mut options = options(&[&server.address]);
    options.max_attempts = 1;
    options.tls = files("other");
    let client = Client::new(options.clone()).unwrap();
    let error = client.get(&key("k"), RequestOptions::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Handshake { .. }), "{error}");
    // A certificate that is not of our own authority is found out before anybody is asked.
    options.tls.cafile = files("client").cafile;
    let error = Client::new(options).err().unwrap();
    assert!(matches!(error, ClientError::Certificate { .. }), "{error}");
}

#[tokio::test]
async fn dropping_the_client_ends_its_connections() {
    let gone = Arc::new(Notify::new());
    let notify = gone.clone();
    let server = FakeServer::start(move |_, peer| {
        let gone = notify.clone();
        async move {
            peer.serve().await;
            gone.notify_one();
        }
    })
    .await;
    for polite in [true, false] {
        let client = client(&[&server.address]);
        client.get(&key("k"), RequestOptions::default()).await.unwrap();
        if polite {
            client.close().await;
        }
        drop(client);
        gone.notified().await;
    }
}
