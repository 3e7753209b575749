//! Clients that write and read all the while, and notice what they must not see.
//!
//! Every key has one writer, so that what a quorum read must answer is known: what was acknowledged last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rmpv::Value;

use super::cluster::Cluster;
use super::node::wait_until;
use super::raw::{Raw, message};

/// Keys of a client that are in use at a time.
const KEYS: usize = 40;

/// Whether requests may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failures {
    /// No.
    Never,
    /// They may, as long as no answer is wrong.
    Happen,
}

/// Clients at work.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: Vec<JoinHandle<BTreeMap<String, u64>>>,
}

impl Load {
    /// One client for each of these nodes, which writes through it and reads through the next one.
    pub(crate) fn start(cluster: &Cluster, through: &[usize], failures: Failures) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let clients = (0..through.len()).map(|number| {
            let other = through[(number + 1) % through.len()];
            let mut client = Client {
                number,
                writer: cluster.client(through[number]),
                reader: cluster.client(other),
                failures,
                given_up: [0; KEYS],
                acknowledged: BTreeMap::new(),
            };
            let (stop, done) = (stop.clone(), done.clone());
            std::thread::spawn(move || {
                let mut turn = 0;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    client.work(turn);
                    done.fetch_add(1, Ordering::Relaxed);
                }
                client.acknowledged
            })
        });
        Self { clients: clients.collect(), stop, done }
    }

    /// Waits until so many more writes and reads have been made.
    pub(crate) fn wait_for(&self, more: u64) {
        let goal = self.done.load(Ordering::Relaxed) + more;
        wait_until("clients get on", || {
            let ended = self.clients.iter().any(JoinHandle::is_finished);
            assert!(!ended, "a client has seen what it must not");
            self.done.load(Ordering::Relaxed) >= goal
        });
    }

    /// Ends it; what was acknowledged last of each key.
    pub(crate) fn stop(self) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.clients.into_iter().map(|client| client.join());
        ended.flat_map(|written| written.expect("a client has seen what it must not")).collect()
    }
}

struct Client {
    number: usize,
    writer: Raw,
    reader: Raw,
    failures: Failures,
    /// How often each key was given up, because a write of it may still take effect at any time.
    given_up: [u64; KEYS],
    acknowledged: BTreeMap<String, u64>,
}

impl Client {
    /// Writes a key and reads it back.
    fn work(&mut self, turn: u64) {
        let slot = usize::try_from(turn).expect("small") % KEYS;
        let key = format!("load-{}-{slot}-{}", self.number, self.given_up[slot]);
        let value = turn.to_string();
        self.writer.send_frame(&message(
            "put",
            &[("key", key.as_str().into()), ("value", value.as_str().into())],
        ));
        let reply = self.writer.receive_value();
        if reply["type"] == Value::from("ok") {
            self.acknowledged.insert(key.clone(), turn);
        } else {
            assert_eq!(self.failures, Failures::Happen, "{key} = {value}: {reply}");
            if reply["data"]["outcome"] != Value::from("refused") {
                self.given_up[slot] += 1;
                self.acknowledged.remove(&key);
                return;
            }
        }
        let Some(expected) = self.acknowledged.get(&key) else { return };
        let reply = self.reader.get(&key);
        if reply["type"] == Value::from("ok") {
            let read = reply["data"]["versions"][0]["value"].as_str();
            assert_eq!(read, Some(expected.to_string().as_str()), "{key}: a stale read: {reply}");
        } else {
            assert_eq!(self.failures, Failures::Happen, "{key}: {reply}");
        }
    }
}
