//! Being asked: by whom, under which layout, with which stamp; and layouts that change under way.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    Command, Consistency, Failure, Fence, Merged, Ordinal, Outcome, Progress, Purpose,
    ReplicaReply, ReplicaRequest,
};
use paravon_ring::KeyHash;

use crate::event::{Effect, Event, Now, PeerToken};
use crate::test_cluster::{Cluster, Message, START_MS, TIMEOUT, document, key, layout, record};

const TOKEN: PeerToken = PeerToken(7);

fn fence(number: u64) -> Fence {
    Fence { generation: 0, number }
}

fn store(ms: u64, purpose: Purpose) -> Command {
    Command::Store { key: key("k"), record: record(ms, "v"), purpose }
}

/// What node 1 does when it is asked.
fn ask(cluster: &mut Cluster, from: u32, fence: Fence, command: Command) -> Vec<Effect> {
    let now = cluster.now(1);
    let request = ReplicaRequest { fence, time_left: TIMEOUT, command };
    ask_at(cluster, now, from, request)
}

fn ask_at(cluster: &mut Cluster, now: Now, from: u32, request: ReplicaRequest) -> Vec<Effect> {
    let mut effects = Vec::new();
    let hash = KeyHash::of(&key("k"), 0);
    let event = Event::Asked { from: Ordinal(from), token: TOKEN, hash, request };
    cluster.node(1).shard.step(now, event, &mut effects);
    effects
}

fn stored(effects: &[Effect]) -> &Result<Merged, Failure> {
    match effects {
        [Effect::Answer { token: TOKEN, reply: ReplicaReply::Stored { answer, .. } }] => answer,
        other => panic!("one answer to a store: {other:?}"),
    }
}

#[test]
fn a_replica_acknowledges_only_what_its_store_has_answered() {
    let mut cluster = Cluster::new(3);
    let now = cluster.now(1);
    let effects = ask(&mut cluster, 2, fence(1), store(START_MS, Purpose::Write));
    let [Effect::Store { operation, record, .. }] = &effects[..] else { panic!("{effects:?}") };
    let (operation, stamp) = (*operation, record.version);
    let mut effects = Vec::new();
    let answer = Ok(Merged::Applied);
    cluster.node(1).shard.step(now, Event::Stored { operation, stamp, answer }, &mut effects);
    assert_eq!(stored(&effects), &Ok(Merged::Applied));
}

#[test]
fn requests_of_another_layout_do_nothing() {
    let mut cluster = Cluster::new(3);
    cluster.step(1, Event::Layout { layout: layout(3, 5), new: [].into() });
    for command in [store(START_MS, Purpose::Write), Command::Read { key: key("k") }] {
        let older = ask(&mut cluster, 2, fence(4), command.clone());
        let reply = ReplicaReply::StaleLayout { document: document(3, 5) };
        assert_eq!(older, [Effect::Answer { token: TOKEN, reply }]);
        let later = ask(&mut cluster, 2, fence(6), command);
        let reply = ReplicaReply::LaterLayout { known: fence(5) };
        let asks = Effect::AskDocument { peer: Ordinal(2) };
        assert_eq!(later, [Effect::Answer { token: TOKEN, reply }, asks]);
        cluster.time += Duration::from_millis(50);
    }
}

#[test]
fn a_document_is_told_once_and_then_its_fence_until_it_should_have_come() {
    let mut cluster = Cluster::new(3);
    cluster.step(1, Event::Layout { layout: layout(3, 5), new: [].into() });
    let answer = |cluster: &mut Cluster, peer| {
        let effects = ask(cluster, peer, fence(4), Command::Read { key: key("k") });
        let [Effect::Answer { reply, .. }] = &effects[..] else { panic!("{effects:?}") };
        reply.clone()
    };
    let told = ReplicaReply::StaleLayout { document: document(3, 5) };
    let fenced = ReplicaReply::StaleFence { known: fence(5) };
    assert_eq!(answer(&mut cluster, 2), told);
    assert_eq!(answer(&mut cluster, 2), fenced);
    assert_eq!(answer(&mut cluster, 3), told, "another one");
    cluster.time += Duration::from_millis(50);
    assert_eq!(answer(&mut cluster, 2), told, "it may have been lost");
    cluster.step(1, Event::Layout { layout: layout(3, 6), new: [].into() });
    let later = ReplicaReply::StaleLayout { document: document(3, 6) };
    assert_eq!(answer(&mut cluster, 2), later);
}

#[test]
fn one_that_is_told_a_fence_alone_asks_for_its_document_and_waits() {
    let mut cluster = Cluster::new(3);
    let request = cluster.begin_put(1, "k", "v", Consistency::Quorum);
    let asked = |message: &Message| match message {
        Message::Request { to, operation, .. } => Some((*to, *operation)),
        Message::Reply { .. } => None,
    };
    let asked: Vec<_> = cluster.wire.drain(..).filter_map(|message| asked(&message)).collect();
    assert_eq!(asked.len(), 2);
    let first = Ordinal(asked[0].0);
    for (from, operation) in asked {
        let reply = ReplicaReply::StaleFence { known: fence(5) };
        cluster.deliver(Message::Reply { from, to: 1, operation, reply });
    }
    let asks: Vec<_> = core::mem::take(&mut cluster.said);
    assert_eq!(asks, [(1, Effect::AskDocument { peer: first })], "one of them is enough");
    cluster.learn(&[1, 2, 3], &layout(3, 5));
    cluster.run();
    assert!(matches!(cluster.written(request), Some(Ok(_))), "it was sent again");
}

#[test]
fn strangers_and_late_requests_get_no_answer() {
    let mut cluster = Cluster::new(3);
    assert!(ask(&mut cluster, 9, fence(1), store(START_MS, Purpose::Write)).is_empty());
    let command = Command::Read { key: key("k") };
    let request = ReplicaRequest { fence: fence(1), time_left: Duration::ZERO, command };
    let now = cluster.now(1);
    assert!(ask_at(&mut cluster, now, 2, request).is_empty());
}

#[test]
fn a_node_that_does_not_store_the_partition_is_not_ready() {
    let mut cluster = Cluster::new(4);
    let hash = KeyHash::of(&key("k"), 0);
    let command = store(START_MS, Purpose::Write);
    let request = ReplicaRequest { fence: fence(1), time_left: TIMEOUT, command };
    let (now, from, token) = (cluster.now(4), Ordinal(1), TOKEN);
    let mut effects = Vec::new();
    let event = Event::Asked { from, token, hash, request };
    cluster.node(4).shard.step(now, event, &mut effects);
    assert_eq!(stored(&effects), &Err(Failure::NotReady));
}

#[test]
fn a_fresh_stamp_from_the_far_future_is_refused_and_an_old_record_is_not() {
    let mut cluster = Cluster::new(3);
    let wall_ms = cluster.now(1).wall_ms;
    let far = wall_ms + 1001;
    let refused = ask(&mut cluster, 2, fence(1), store(far, Purpose::Write));
    let (offset_ms, outcome) = (1001, Outcome::Refused);
    assert_eq!(stored(&refused), &Err(Failure::ClockSkew { offset_ms, outcome }));
    for purpose in [Purpose::Repair, Purpose::Hint] {
        let effects = ask(&mut cluster, 2, fence(1), store(far, purpose));
        assert!(matches!(effects[..], [Effect::Store { .. }]), "{effects:?}");
    }
    ask(&mut cluster, 2, fence(1), store(wall_ms + 900, Purpose::Write));
    cluster.node(1).stalled = false;
    cluster.run();
    let version = cluster.put(1, "other", "v").unwrap();
    assert_eq!(version.hlc.physical_ms(), wall_ms + 900, "past the one, not past the other");
}

#[test]
fn hints_yield_to_everything_else() {
    let mut cluster = Cluster::new(3);
    for _ in 0..=1024 {
        ask(&mut cluster, 2, fence(1), store(START_MS, Purpose::Write));
    }
    let refused = ask(&mut cluster, 2, fence(1), store(START_MS, Purpose::Hint));
    assert!(matches!(stored(&refused), Err(Failure::Overloaded { .. })));
    let effects = ask(&mut cluster, 2, fence(1), store(START_MS, Purpose::Write));
    assert!(matches!(effects[..], [Effect::Store { .. }]));
}

#[test]
fn what_a_replica_has_under_way_is_bounded() {
    let mut cluster = Cluster::new(3);
    let read = || Command::Read { key: key("k") };
    let mut reads = Vec::new();
    for _ in 0..8192 {
        let effects = ask(&mut cluster, 2, fence(1), store(START_MS, Purpose::Write));
        assert!(matches!(effects[..], [Effect::Store { .. }]));
        match ask(&mut cluster, 2, fence(1), read())[..] {
            [Effect::Read { operation, .. }] => reads.push(operation),
            ref effects => panic!("a read: {effects:?}"),
        }
    }
    let refused = ask(&mut cluster, 2, fence(1), store(START_MS, Purpose::Write));
    assert!(matches!(stored(&refused), Err(Failure::Overloaded { .. })));
    let refused = ask(&mut cluster, 2, fence(1), read());
    let [Effect::Answer { reply: ReplicaReply::Found { answer, .. }, .. }] = &refused[..] else {
        panic!("an answer: {refused:?}")
    };
    assert!(matches!(answer, Err(Failure::Overloaded { .. })));

    let (now, operation) = (cluster.now(1), reads[0]);
    let event = Event::Read { operation, answer: Ok(None) };
    cluster.node(1).shard.step(now, event, &mut Vec::new());
    let effects = ask(&mut cluster, 2, fence(1), read());
    assert!(matches!(effects[..], [Effect::Read { .. }]), "there is room again");
}

#[test]
fn a_document_is_settled_when_what_was_admitted_before_has_ended() {
    let mut cluster = Cluster::new(3);
    cluster.node(1).stalled = true;
    cluster.begin_put(2, "k", "v", Consistency::Quorum);
    cluster.run();
    cluster.step(1, Event::Layout { layout: layout(3, 2), new: [].into() });
    let settled = (1, Effect::Settled { fence: fence(2), progress: Progress::default() });
    assert!(!cluster.said.contains(&settled));
    cluster.sync(1);
    assert!(cluster.said.contains(&settled));
    cluster.step(3, Event::Layout { layout: layout(3, 2), new: [].into() });
    assert!(
        cluster
            .said
            .contains(&(3, Effect::Settled { fence: fence(2), progress: Progress::default() })),
        "nothing to wait for"
    );
}

#[test]
fn a_coordinator_that_is_behind_learns_and_sends_again_to_the_new_sets() {
    let mut old = Cluster::new(3);
    for node in 2..=3 {
        old.step(node, Event::Layout { layout: layout(3, 2), new: [].into() });
    }
    let put = old.begin_put(1, "k", "v", Consistency::Quorum);
    let get = old.begin_get(1, "k", Consistency::Quorum);
    old.run();
    assert_eq!((old.written(put), old.read(get)), (None, None), "no answer counts");
    let learn = (1, Effect::Learn { document: document(3, 2) });
    assert!(old.said.contains(&learn));
    old.step(1, Event::Layout { layout: layout(3, 2), new: [].into() });
    old.run();
    assert!(old.written(put).unwrap().is_ok() && old.read(get).unwrap().is_ok());
}

#[test]
fn a_replica_that_is_behind_is_taught_and_asked_again_after_a_while() {
    let mut cluster = Cluster::new(3);
    cluster.step(1, Event::Layout { layout: layout(3, 2), new: [].into() });
    let put = cluster.begin_put(1, "k", "v", Consistency::Quorum);
    let get = cluster.begin_get(1, "k", Consistency::Quorum);
    cluster.run();
    assert!(cluster.said.contains(&(1, Effect::Teach { peer: Ordinal(2) })));
    assert!(cluster.said.contains(&(2, Effect::AskDocument { peer: Ordinal(1) })));
    cluster.step(2, Event::Layout { layout: layout(3, 2), new: [].into() });
    for _ in 0..10 {
        cluster.time += Duration::from_millis(1);
        cluster.step(1, Event::Tick);
        assert!(cluster.wire.is_empty(), "a document takes longer than a tick");
    }
    assert_eq!((cluster.written(put), cluster.read(get)), (None, None));
    assert!(cluster.node(1).shard.next_wake().unwrap() <= cluster.time + Duration::from_millis(40));
    cluster.pass(Duration::from_millis(50));
    assert!(cluster.written(put).unwrap().is_ok() && cluster.read(get).unwrap().is_ok());
}

#[test]
fn answers_of_an_earlier_layout_are_void() {
    let mut cluster = Cluster::new(3);
    cluster.node(1).stalled = true;
    cluster.node(3).stalled = true;
    let put = cluster.begin_put(1, "k", "v", Consistency::Quorum);
    let to_two = cluster.wire.iter().position(|message| message.ends() == (1, 2)).unwrap();
    let message = cluster.wire.remove(to_two).unwrap();
    cluster.wire.clear();
    cluster.deliver(message);
    cluster.sync(2);
    let old_answer = cluster.wire.pop_front().unwrap();
    assert!(matches!(old_answer, Message::Reply { .. }));
    cluster.step(1, Event::Layout { layout: layout(3, 2), new: [].into() });
    cluster.wire.clear();
    cluster.deliver(old_answer);
    cluster.sync(1);
    assert_eq!(cluster.written(put), None, "one acknowledgement, its own, under the new layout");
    let again = cluster.node(1).shard.under_way();
    assert!(again > 0);
    cluster.cut(1, 3);
    cluster.cut(1, 2);
    cluster.step(2, Event::Layout { layout: layout(3, 2), new: [].into() });
    cluster.link(1, 2);
    cluster.run();
    assert!(cluster.written(put).unwrap().is_ok());
}

#[test]
fn the_level_is_taken_anew_when_the_layout_grows() {
    let mut lone = Cluster::new(1);
    lone.node(1).stalled = true;
    let put = lone.begin_put(1, "k", "v", Consistency::Quorum);
    lone.step(1, Event::Layout { layout: layout(3, 2), new: [].into() });
    lone.sync(1);
    assert_eq!(lone.written(put), None, "one of three is no majority");
}
