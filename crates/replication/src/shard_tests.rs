//! A cluster of one, step by step.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    Address, Body, ClusterId, Consistency, Delete, Document, Failure, Fence, Get, Hlc, Key, Kind,
    Member, Merged, NodeId, Ordinal, Outcome, Phase, Put, Record, Roster, Size, Value, Version,
};
use paravon_ring::{KeyHash, Layout};

use super::{Settings, Shard};
use crate::admission::Admission;
use crate::clock::{ClockSettings, Permit};
use crate::event::{Effect, Event, Now, Reply, RequestToken};
use crate::operations::OperationId;
use crate::test_cluster::{Cluster, layout};

const DEADLINE: Duration = Duration::from_secs(5);
const CLIENT: RequestToken = RequestToken(7);

struct World {
    shard: Shard,
    now: Now,
}

impl World {
    fn new() -> Self {
        let node_id = NodeId::new("node-1").unwrap();
        let (size, address) = (Size::L, Address::new("127.0.0.1:6000"));
        let member = Member { ordinal: Ordinal(1), node_id, size, zone: None, address };
        let document = Document {
            cluster_id: ClusterId(1),
            generation: 0,
            rescue_id: 0,
            version: 1,
            fence: 1,
            phase: Phase::Stable,
            hash_seed: 0,
            shift: 16,
            current: Roster { members: vec![member], replication_factor: 3 },
            past: vec![],
            council: vec![Ordinal(1)],
            next_ordinal: 2,
            operations: vec![],
        };
        let layout = Arc::new(Layout::of(Arc::new(document)));
        let max_skew = Duration::from_millis(500);
        let clock = ClockSettings { max_skew, recovered: Hlc::ZERO, lane: 0, lanes: 1 };
        let hinted = Vec::new();
        let shard = Shard::new(Settings {
            ordinal: Ordinal(1),
            number: 0,
            shards: 1,
            layout,
            admission: Admission::Stored,
            clock,
            hinted,
            damaged: Vec::new(),
            marks: Vec::new(),
        });
        let now = Now { monotonic: Duration::ZERO, wall_ms: 10_000 };
        let mut world = Self { shard, now };
        world.step(Event::Clock { permit: Permit::Alone });
        world
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.shard.step(self.now, event, &mut effects);
        effects
    }

    /// Puts, raising the ceiling on the way, until the record goes to the store.
    fn put(&mut self, put: Put) -> (OperationId, Record) {
        let mut effects =
            self.step(Event::Put { request: CLIENT, hash: KeyHash(0), put, deadline: DEADLINE });
        if let [Effect::RaiseCeiling { ceiling }] = effects[..] {
            effects = self.step(Event::CeilingRaised { ceiling });
        }
        store_of(effects)
    }

    fn stored(
        &mut self,
        to: OperationId,
        stamp: Version,
        answer: Result<Merged, Failure>,
    ) -> Vec<Effect> {
        self.step(Event::Stored { operation: to, stamp, answer })
    }
}

fn key() -> Key {
    Key::new("default", b"k").unwrap()
}

fn put() -> Put {
    let (value, ttl) = (Value::bytes(b"v"), None);
    Put { key: key(), value, ttl, consistency: Consistency::Quorum }
}

fn store_of(mut effects: Vec<Effect>) -> (OperationId, Record) {
    match effects.pop() {
        Some(Effect::Store { operation, record, .. }) if effects.is_empty() => (operation, record),
        other => panic!("expected one store, got {other:?} after {effects:?}"),
    }
}

fn reply_of(mut effects: Vec<Effect>) -> Result<Reply, Failure> {
    match effects.pop() {
        Some(Effect::Reply { request: CLIENT, reply }) if effects.is_empty() => reply,
        other => panic!("expected one reply, got {other:?} after {effects:?}"),
    }
}

#[test]
fn a_put_waits_for_its_ceiling_and_is_answered_only_once_it_is_stored() {
    let mut world = World::new();
    let effects = world.step(Event::Put {
        request: CLIENT,
        hash: KeyHash(0),
        put: put(),
        deadline: DEADLINE,
    });
    let [Effect::RaiseCeiling { ceiling }] = effects[..] else {
        panic!("nothing is stamped before the ceiling is durable: {effects:?}");
    };
    let (operation, record) = store_of(world.step(Event::CeilingRaised { ceiling }));
    assert_eq!(record.version.hlc, Hlc::new(10_000, 0));
    let reply = reply_of(world.stored(operation, record.version, Ok(Merged::Applied))).unwrap();
    let Reply::Written(written) = reply else { panic!("a put is answered as one") };
    assert_eq!((written.acks, written.replicas, written.kind), (1, 1, Some(Kind::Bytes)));
    assert_eq!(world.shard.under_way(), 0);
    assert!(world.stored(operation, record.version, Ok(Merged::Applied)).is_empty());
}

#[test]
fn later_writes_get_larger_versions_although_the_wall_goes_back() {
    let mut world = World::new();
    let (_, first) = world.put(put());
    world.now.wall_ms = 5_000;
    let (_, second) = world.put(put());
    assert!(second.version > first.version);
}

#[test]
fn a_superseded_write_is_stamped_anew_once_and_then_counts() {
    let mut world = World::new();
    let (operation, first) = world.put(put());
    let version = Version { hlc: Hlc::new(10_050, 3), ordinal: Ordinal(2) };
    let superseded = Ok(Merged::Superseded { version });
    let (again, second) = store_of(world.stored(operation, first.version, superseded.clone()));
    assert!(second.version > version);
    assert!(world.stored(operation, first.version, Ok(Merged::Applied)).is_empty(), "too late");
    let reply = reply_of(world.stored(again, second.version, superseded));
    assert!(matches!(reply, Ok(Reply::Written(written)) if written.version == second.version));
}

#[test]
fn a_version_from_the_far_future_is_refused_and_moves_no_clock() {
    let mut world = World::new();
    let (operation, record) = world.put(put());
    let version = Version { hlc: Hlc::new(99_000, 0), ordinal: Ordinal(2) };
    let superseded = Ok(Merged::Superseded { version });
    let reply = reply_of(world.stored(operation, record.version, superseded));
    let (offset_ms, outcome) = (89_000, Outcome::Unknown);
    assert_eq!(reply, Err(Failure::ClockSkew { offset_ms, outcome }));
    assert!(world.put(put()).1.version.hlc < version.hlc);
}

#[test]
fn a_delete_stores_a_tombstone() {
    let mut world = World::new();
    world.put(put());
    let delete = Delete { key: key(), consistency: Consistency::All };
    let effects =
        world.step(Event::Delete { request: CLIENT, hash: KeyHash(0), delete, deadline: DEADLINE });
    let (operation, record) = store_of(effects);
    assert!(record.is_tombstone());
    let reply = reply_of(world.stored(operation, record.version, Ok(Merged::Applied)));
    assert!(matches!(reply, Ok(Reply::Written(written)) if written.kind.is_none()));
}

fn get(world: &mut World, answer: Result<Option<Record>, Failure>) -> Result<Reply, Failure> {
    let get = Get { key: key(), consistency: Consistency::Quorum };
    let effects =
        world.step(Event::Get { request: CLIENT, hash: KeyHash(0), get, deadline: DEADLINE });
    let [Effect::Read { operation, .. }] = effects[..] else { panic!("one read: {effects:?}") };
    reply_of(world.step(Event::Read { operation, answer }))
}

#[test]
fn a_get_shows_what_is_live_now() {
    let mut world = World::new();
    let version = Version { hlc: Hlc::new(1, 0), ordinal: Ordinal(1) };
    let live = |expires_ms| Record { version, expires_ms, body: Body::Live(Value::bytes(b"")) };
    let dead = Record { version, expires_ms: None, body: Body::Tombstone };
    let seen = |reply| match reply {
        Ok(Reply::Reading(reading)) => reading.found.map(|found| found.value),
        other => panic!("a reading: {other:?}"),
    };
    assert_eq!(seen(get(&mut world, Ok(Some(live(None))))), Some(Value::bytes(b"")));
    assert_eq!(seen(get(&mut world, Ok(Some(live(Some(10_001)))))), Some(Value::bytes(b"")));
    assert_eq!(seen(get(&mut world, Ok(Some(live(Some(10_000)))))), None);
    assert_eq!(seen(get(&mut world, Ok(Some(dead)))), None);
    assert_eq!(seen(get(&mut world, Ok(None))), None);
    assert_eq!(
        get(&mut world, Err(Failure::Damaged { outcome: Outcome::Refused })),
        Err(Failure::Damaged { outcome: Outcome::Refused })
    );
}

#[test]
fn a_deadline_ends_an_operation_and_says_whether_it_may_be_stored() {
    let mut world = World::new();
    world.step(Event::Put { request: CLIENT, hash: KeyHash(0), put: put(), deadline: DEADLINE });
    world.now.monotonic = DEADLINE;
    let unstamped = reply_of(world.step(Event::Tick)).unwrap_err();
    assert_eq!(unstamped.outcome(), Outcome::Refused);

    world.now.monotonic = Duration::ZERO;
    let mut sent = World::new();
    let (operation, record) = sent.put(put());
    sent.now.monotonic = DEADLINE;
    let failure = reply_of(sent.step(Event::Tick)).unwrap_err();
    assert_eq!(failure.outcome(), Outcome::Unknown);
    assert!(sent.stored(operation, record.version, Ok(Merged::Applied)).is_empty());
}

#[test]
fn more_replicas_than_there_are_is_an_error_that_says_which() {
    let mut world = World::new();
    for (count, expected) in [
        (2, Failure::QuorumUnavailable { needed: 2, alive: 1, down: Vec::new() }),
        (4, Failure::TooManyReplicas { needed: 4, replication_factor: 3 }),
    ] {
        let put = Put { consistency: Consistency::Count(count), ..put() };
        let effects =
            world.step(Event::Put { request: CLIENT, hash: KeyHash(0), put, deadline: DEADLINE });
        assert_eq!(reply_of(effects), Err(expected));
    }
}

#[test]
fn a_time_to_live_becomes_an_instant_of_the_record() {
    let mut world = World::new();
    let (_, record) = world.put(Put { ttl: Some(Duration::from_secs(1)), ..put() });
    assert_eq!(record.expires_ms, Some(11_000));
}

#[test]
fn a_log_that_takes_no_ceiling_refuses_the_writes_that_wait_for_it() {
    let mut world = World::new();
    let event = || Event::Put { request: CLIENT, hash: KeyHash(0), put: put(), deadline: DEADLINE };
    assert!(matches!(world.step(event())[..], [Effect::RaiseCeiling { .. }]));
    let failure = Failure::ReadOnly { outcome: Outcome::Refused };
    let refused = world.step(Event::CeilingRefused { failure: failure.clone() });
    assert_eq!(reply_of(refused), Err(failure));
    assert!(matches!(world.step(event())[..], [Effect::RaiseCeiling { .. }]), "asked anew");
}

#[test]
fn nothing_is_stamped_after_the_deadline() {
    let mut world = World::new();
    let effects = world.step(Event::Put {
        request: CLIENT,
        hash: KeyHash(0),
        put: put(),
        deadline: DEADLINE,
    });
    let [Effect::RaiseCeiling { ceiling }] = effects[..] else { panic!("{effects:?}") };
    world.now.monotonic = DEADLINE;
    let late = reply_of(world.step(Event::CeilingRaised { ceiling })).unwrap_err();
    assert_eq!(late.outcome(), Outcome::Refused);

    let mut world = World::new();
    let (operation, first) = world.put(put());
    world.now.monotonic = DEADLINE;
    let version = Version { hlc: Hlc::new(10_050, 3), ordinal: Ordinal(2) };
    let superseded = Ok(Merged::Superseded { version });
    let late = reply_of(world.stored(operation, first.version, superseded)).unwrap_err();
    assert_eq!(late.outcome(), Outcome::Unknown);
}

#[test]
fn an_older_document_changes_nothing() {
    let mut cluster = Cluster::new(3);
    cluster.step(1, Event::Layout { layout: layout(3, 5), new: [].into() });
    cluster.said.clear();
    cluster.step(1, Event::Layout { layout: layout(1, 4), new: [].into() });
    assert!(cluster.said.is_empty(), "it is not settled: {:?}", cluster.said);
    assert_eq!(cluster.node(1).shard.layout.fence(), Fence { generation: 0, number: 5 });
    assert_eq!(cluster.node(1).shard.sets(KeyHash(0)).current.len(), 3);
}
