//! How a node is told to stop, ends without being told, and what it costs while nobody asks anything.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rmpv::Value;

use crate::support::{Folder, Node, Raw, connect, message, wait_until};

/// Requests of one batch. All of them fit into one TLS record, so that a node reads them all at once.
const BATCH: u64 = 100;

fn put_frame(id: u64) -> Vec<u8> {
    let payload = message("put", &[("key", format!("key-{id}").into()), ("value", id.into())]);
    let length = u32::try_from(payload.len()).expect("short");
    [&length.to_be_bytes()[..], &payload].concat()
}

/// What a client was told of its puts.
#[derive(Default)]
struct Told {
    /// Ids whose puts were acknowledged.
    acknowledged: Vec<u64>,
    /// Replies to the batch that was under way when the connection ended.
    last_replies: u64,
    goaways: u64,
}

/// Puts batches of new keys, from `next` on, until it is asked to go or the connection ends.
fn put_until_the_end(client: &mut Raw, next: &AtomicU64) -> Told {
    let mut told = Told::default();
    while told.goaways == 0 {
        let first = next.fetch_add(BATCH, Ordering::Relaxed);
        let batch: Vec<u8> = (first..first + BATCH).flat_map(put_frame).collect();
        if client.try_send(&batch).is_err() {
            return told;
        }
        told.last_replies = 0;
        // Without ids of their own, requests are answered in order.
        let mut id = first;
        while id < first + BATCH {
            let Ok(reply) = client.try_receive_value() else { return told };
            if reply["type"] == Value::from("goaway") {
                told.goaways += 1;
                continue;
            }
            if reply["type"] == Value::from("ok") {
                told.acknowledged.push(id);
            } else {
                assert_eq!(reply["data"]["code"], Value::from("shutting_down"), "{reply}");
            }
            told.last_replies += 1;
            id += 1;
        }
    }
    told
}

/// Asserts that every acknowledged put is there, with its value.
fn assert_stored(folder: &Folder, address: SocketAddr, acknowledged: &[u64]) {
    let mut client = Raw::connect(folder, "client", address);
    for ids in acknowledged.chunks(usize::try_from(BATCH).expect("small")) {
        let frames = ids.iter().map(|id| message("get", &[("key", format!("key-{id}").into())]));
        frames.for_each(|payload| client.send_frame(&payload));
        for id in ids {
            let reply = client.receive_value();
            assert_eq!(
                reply["data"]["versions"][0]["value"],
                Value::from(*id),
                "key-{id}: {reply}"
            );
        }
    }
}

/// Runs clients that put keys from `first` on without a pause and calls `end` once they have been served for a while.
fn under_load(folder: &Folder, node: &Node, first: u64, end: impl FnOnce()) -> Vec<Told> {
    const CLIENTS: u64 = 4;
    let (next, address) = (AtomicU64::new(first), node.api);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Raw::connect(folder, "client", address);
                    client.hello();
                    put_until_the_end(&mut client, &next)
                })
            })
            .collect();
        wait_until("clients are served", || {
            next.load(Ordering::Relaxed) > first + 5 * CLIENTS * BATCH
        });
        end();
        clients.into_iter().map(|client| client.join().expect("no panic")).collect()
    })
}

#[test]
fn a_stop_answers_every_request_that_was_read_and_keeps_every_acknowledged_put() {
    let folder = Folder::new();
    // With three loops most requests go from the loop of their connection to that of their shard.
    for (signal, more) in [("TERM", ""), ("INT", ""), ("TERM", "  event_loops: 3\n")] {
        folder.configure(more);
        let node = folder.start();
        let told = under_load(&folder, &node, 0, || node.signal(signal));
        assert!(node.wait().success());
        for Told { last_replies, goaways, .. } in &told {
            assert_eq!((*last_replies, *goaways), (BATCH, 1), "answered in full, then asked to go");
        }
        let acknowledged: Vec<u64> = told.into_iter().flat_map(|told| told.acknowledged).collect();
        assert!(acknowledged.len() as u64 > BATCH);
        let node = folder.start();
        assert_stored(&folder, node.api, &acknowledged);
        assert!(node.stop().success());
    }
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let folder = Folder::new();
    let mut acknowledged = Vec::new();
    for round in 1..=3 {
        let node = folder.start();
        let told = under_load(&folder, &node, round * 1_000_000, || node.signal("KILL"));
        assert!(!node.wait().success(), "killed");
        let before = acknowledged.len();
        acknowledged.extend(told.into_iter().flat_map(|told| told.acknowledged));
        assert!(acknowledged.len() - before > 100, "round {round}");
        let node = folder.start();
        assert_stored(&folder, node.api, &acknowledged);
    }
}

#[test]
fn goaway_is_sent_to_those_that_said_hello_and_to_nobody_else() {
    let folder = Folder::new();
    let node = folder.start();
    let mut greeted = [node.api, node.peer].map(|port| Raw::connect(&folder, "client", port));
    greeted.iter_mut().for_each(Raw::hello);
    let mut silent = Raw::connect(&folder, "client", node.api);
    silent.get("k");
    node.signal("TERM");
    for client in &mut greeted {
        let goaway = client.receive_value();
        assert_eq!(goaway["type"], Value::from("goaway"), "{goaway}");
    }
    assert!(silent.try_receive_value().is_err(), "closed without a word");
    let refused = greeted[0].get("k");
    assert_eq!(refused["data"]["code"], Value::from("shutting_down"), "{refused}");
    drop(greeted);
    assert!(node.wait().success());
}

#[test]
fn a_client_that_stays_after_goaway_is_left_and_the_stop_is_in_order() {
    let folder = Folder::new();
    folder.configure("  timeout_graceful_shutdown: 500ms\n");
    let node = folder.start();
    let mut deaf = Raw::connect(&folder, "client", node.api);
    deaf.hello();
    assert!(node.stop().success(), "no request was in flight");
}

#[test]
fn old_connections_are_sent_elsewhere_once_they_said_hello() {
    let folder = Folder::new();
    folder.configure("  max_connection_age: 1s\n");
    let node = folder.start();
    let mut silent = Raw::connect(&folder, "client", node.api);
    silent.get("k");
    let mut greeted = Raw::connect(&folder, "client", node.api);
    greeted.hello();
    assert_eq!(greeted.receive_value()["type"], Value::from("goaway"));
    assert_eq!(greeted.get("k")["type"], Value::from("ok"), "what it sends before it goes is done");
    assert_eq!(silent.get("k")["type"], Value::from("ok"), "it would not understand");
}

#[test]
fn nobody_who_says_nothing_delays_a_stop() {
    let folder = Folder::new();
    folder.configure("  timeout_graceful_shutdown: 20s\n  handshake_timeout: 20s\n");
    let node = folder.start();
    let unshaken = connect(node.api);
    let mut half = Raw::connect(&folder, "client", node.api);
    half.get("k");
    half.send(&[0, 0, 0, 100, 0x82]);
    let asked = Instant::now();
    assert!(node.stop().success());
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    drop(unshaken);
}

#[test]
fn sighup_stops_nothing() {
    let folder = Folder::new();
    let node = folder.start();
    let mut client = Raw::connect(&folder, "client", node.api);
    client.put("k", b"v");
    for _ in 0..3 {
        node.signal("HUP");
        node.wait_for_log("certificates reloaded");
    }
    assert_eq!(client.get("k")["data"]["versions"][0]["value"], Value::from(&b"v"[..]));
    assert!(node.stop().success());
}

#[test]
fn an_idle_connection_costs_less_than_20_kib() {
    const CONNECTIONS: u64 = 500;
    const MOST_BYTES: u64 = 20 * 1024;
    let folder = Folder::new();
    let node = folder.start();
    let open = |count: u64| -> Vec<Raw> {
        let connect = |_| {
            let mut client = Raw::connect(&folder, "client", node.api);
            client.put("k", b"v");
            client
        };
        (0..count).map(connect).collect()
    };
    // What every connection shares is there once these are.
    let _first = open(50);
    let before = node.resident_bytes();
    let mut idle = open(CONNECTIONS);
    let each = node.resident_bytes().saturating_sub(before) / CONNECTIONS;
    println!("an idle connection costs {each} bytes of resident memory");
    assert!(each < MOST_BYTES, "an idle connection costs {each} bytes");
    let last = idle.last_mut().expect("some");
    assert_eq!(last.get("k")["type"], Value::from("ok"), "they were served all the while");
}
