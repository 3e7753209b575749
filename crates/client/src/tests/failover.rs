//! Several servers, of which some are down, leave, or refuse.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use paravon_model::Value;
use paravon_protocol::ClientMessage;
use tokio::sync::Notify;

use super::fake_server::{FakeServer, client, key, nobody, options};
use crate::{Client, ClientError, Code, Outcome, PutOptions, RequestOptions};

#[tokio::test]
async fn a_server_that_is_down_is_passed_over_by_reads_and_writes() {
    let server = FakeServer::start(|_, peer| peer.serve()).await;
    let client = client(&[&nobody(), &server.address]);
    client.put(&key("k"), Value::bytes(b"v"), PutOptions::default()).await.unwrap();
    client.get(&key("k"), RequestOptions::default()).await.unwrap();
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn when_nobody_can_be_reached_the_error_says_so_after_the_attempts() {
    let (first, second) = (nobody(), nobody());
    let mut options = options(&[&first, &second]);
    options.max_attempts = 3;
    let client = Client::new(options).unwrap();
    let error = client.put(&key("k"), Value::bytes(b"v"), PutOptions::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::Refused);
    assert_eq!(error.server().unwrap().to_string(), first);
    assert!(client.connect().await.is_err());
}

#[tokio::test]
async fn goaway_lets_what_is_in_flight_finish_and_sends_the_rest_elsewhere() {
    let may_answer = Arc::new(Notify::new());
    let answering = may_answer.clone();
    let leaving = FakeServer::start(move |_, mut peer| {
        let may_answer = answering.clone();
        async move {
            // A further connection of the client may end without a request.
            let Some(first) = peer.request().await else { return };
            peer.goaway().await;
            may_answer.notified().await;
            peer.answer(&first).await;
            // What was sent before the client heard it; a put sent after would be answered here too.
            while let Some(seen) = peer.request().await {
                assert!(matches!(seen.message, ClientMessage::Get(_)));
            }
        }
    })
    .await;
    let other = FakeServer::start(|_, peer| peer.serve()).await;
    let client = client(&[&leaving.address, &other.address]);
    let (key, value) = (key("k"), Value::bytes(b"v"));
    let later = async {
        let timeout = Some(Duration::from_millis(100));
        while other.connections() == 0 {
            let options = RequestOptions { timeout, ..RequestOptions::default() };
            let _may_time_out = client.get(&key, options).await;
        }
        let put = client.put(&key, value.clone(), PutOptions::default()).await;
        may_answer.notify_one();
        put
    };
    let first = client.put(&key, value.clone(), PutOptions::default());
    let (first, later) = tokio::join!(first, later);
    first.unwrap();
    later.unwrap();
}

#[tokio::test]
async fn a_refused_write_is_tried_again_and_an_unknown_one_is_not() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    let server = FakeServer::start(move |_, mut peer| {
        let seen = counter.clone();
        async move {
            while let Some(request) = peer.request().await {
                match seen.fetch_add(1, Ordering::SeqCst) {
                    0 => peer.refuse(&request, Code::Overloaded, Outcome::Refused).await,
                    1 => peer.answer(&request).await,
                    2 => peer.refuse(&request, Code::QuorumTimeout, Outcome::Unknown).await,
                    3 => peer.refuse(&request, Code::BadRequest, Outcome::Refused).await,
                    _ => peer.answer(&request).await,
                }
            }
        }
    })
    .await;
    let client = client(&[&server.address]);
    let put = || async { client.put(&key("k"), Value::bytes(b"v"), PutOptions::default()).await };
    put().await.unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    let unknown = put().await.unwrap_err();
    assert_eq!((unknown.outcome(), seen.load(Ordering::SeqCst)), (Outcome::Unknown, 3));
    let wrong = put().await.unwrap_err();
    assert_eq!((wrong.outcome(), seen.load(Ordering::SeqCst)), (Outcome::Refused, 4));
}

#[tokio::test]
async fn a_read_leaves_a_silent_server_in_time_to_ask_another() {
    let silent =
        FakeServer::start(|_, mut peer| async move { while peer.request().await.is_some() {} })
            .await;
    let server = FakeServer::start(|_, peer| peer.serve()).await;
    let client = client(&[&silent.address, &server.address]);
    let begun = Instant::now();
    client.get(&key("k"), RequestOptions::default()).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2));
    // The silent one is not preferred any more.
    client.put(&key("k"), Value::bytes(b"v"), PutOptions::default()).await.unwrap();
}
