//! What a shard does between the moment at which it learns a layout and the one at which its node has
//! stored the document.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    Command, Consistency, Document, Fence, Ordinal, Purpose, ReplicaReply, ReplicaRequest,
};
use paravon_ring::{KeyHash, Layout};

use super::Admission;
use crate::event::{Effect, Event, PeerToken};
use crate::test_cluster::{Cluster, START_MS, TIMEOUT, document, joint, key, layout, record};

const TOKEN: PeerToken = PeerToken(7);
const SECOND: Fence = Fence { generation: 0, number: 2 };

fn times_settled(cluster: &Cluster, node: u32) -> usize {
    let of_node = |(number, said): &&(u32, Effect)| {
        *number == node && matches!(said, Effect::Settled { fence, .. } if *fence == SECOND)
    };
    cluster.said.iter().filter(of_node).count()
}

/// Three nodes that use a second layout, of which the first has not stored the document.
fn one_waits() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.node(1).unstored = true;
    cluster.learn(&[1, 2, 3], &layout(3, 2));
    cluster
}

/// What node 1 does when another one asks.
fn ask(cluster: &mut Cluster, command: Command) -> Vec<Effect> {
    let request = ReplicaRequest { fence: SECOND, time_left: TIMEOUT, command };
    let (from, token, hash) = (Ordinal(2), TOKEN, KeyHash::of(&key("k"), 0));
    let (now, mut effects) = (cluster.now(1), Vec::new());
    let event = Event::Asked { from, token, hash, request };
    cluster.node(1).shard.step(now, event, &mut effects);
    effects
}

#[test]
fn nothing_is_admitted_before_the_node_has_stored_the_document() {
    let mut cluster = one_waits();
    let commands = [Purpose::Write, Purpose::Repair, Purpose::Hint].map(|purpose| {
        let (key, record) = (key("k"), record(START_MS, "v"));
        Command::Store { key, record, purpose }
    });
    let commands = commands.into_iter().chain([Command::Read { key: key("k") }]);
    let later = Effect::Answer { token: TOKEN, reply: ReplicaReply::LaterLayout { known: SECOND } };
    for command in commands.clone() {
        let effects = ask(&mut cluster, command);
        assert!(effects.iter().eq([&later]), "and it asks for no document: {effects:?}");
    }
    assert_eq!(times_settled(&cluster, 1), 1);
    cluster.admit(1);
    for command in commands {
        let effects = ask(&mut cluster, command);
        assert!(matches!(effects[..], [Effect::Store { .. } | Effect::Read { .. }]), "{effects:?}");
    }
}

#[test]
fn the_own_store_waits_for_the_admission_like_any_other() {
    let mut cluster = one_waits();
    cluster.node(3).stalled = true;
    let put = cluster.begin_put(1, "k", "v", Consistency::Quorum);
    assert!(!cluster.node(1).has_queued());
    cluster.run();
    assert_eq!(cluster.written(put), None, "one of three");
    assert_eq!(cluster.held(1, "k"), None);
    cluster.admit(1);
    assert!(cluster.node(1).has_queued());
    cluster.run();
    assert!(cluster.written(put).unwrap().is_ok());
}

#[test]
fn a_read_does_not_ask_its_own_store_before_the_admission() {
    let mut cluster = one_waits();
    cluster.cut(1, 3);
    cluster.node(1).merge(key("k"), record(START_MS, "left from before"));
    let get = cluster.begin_get(1, "k", Consistency::Quorum);
    cluster.run();
    assert_eq!(cluster.read(get), None, "one of three");
    cluster.admit(1);
    cluster.run();
    assert!(cluster.read(get).unwrap().unwrap().is_some());
}

#[test]
fn a_hint_for_the_own_store_waits_for_the_admission() {
    let mut cluster = Cluster::new(3);
    cluster.node(1).broken = Some(paravon_model::Failure::StorageFull);
    cluster.put(1, "k", "v").unwrap();
    cluster.node(1).broken = None;
    cluster.node(1).unstored = true;
    cluster.learn(&[1, 2, 3], &layout(3, 2));
    cluster.pass(TIMEOUT);
    assert_eq!((cluster.hinted(1, 1), cluster.held(1, "k")), (1, None));
    cluster.admit(1);
    cluster.run();
    assert_eq!(cluster.hinted(1, 1), 0);
    assert!(cluster.held(1, "k").is_some());
}

#[test]
fn who_knows_the_layout_and_has_not_stored_it_is_asked_again_and_not_taught() {
    let mut cluster = one_waits();
    let put = cluster.begin_put(2, "k", "v", Consistency::All);
    cluster.run();
    cluster.pass(Duration::from_millis(200));
    assert_eq!(cluster.written(put), None);
    let taught =
        |said: &&(u32, Effect)| matches!(said.1, Effect::Teach { .. } | Effect::AskDocument { .. });
    assert_eq!(cluster.said.iter().find(taught), None);
    cluster.admit(1);
    cluster.pass(Duration::from_millis(100));
    assert!(cluster.written(put).unwrap().is_ok());
}

#[test]
fn an_admission_counts_only_for_the_layout_in_use_once_it_has_settled() {
    let mut cluster = Cluster::new(3);
    for node in [1, 2, 3] {
        cluster.node(node).unstored = true;
    }
    cluster.node(1).stalled = true;
    cluster.begin_put(2, "k", "v", Consistency::Quorum);
    cluster.run();
    let read = || Command::Read { key: key("k") };
    cluster.learn(&[1], &layout(3, 2));
    cluster.step(1, Event::Admit { fence: SECOND });
    assert!(
        matches!(ask(&mut cluster, read())[..], [Effect::Answer { .. }]),
        "a store is under way"
    );
    cluster.sync(1);
    cluster.step(1, Event::Admit { fence: Fence { generation: 0, number: 1 } });
    assert!(matches!(ask(&mut cluster, read())[..], [Effect::Answer { .. }]), "of another layout");
    cluster.step(1, Event::Admit { fence: SECOND });
    assert!(matches!(ask(&mut cluster, read())[..], [Effect::Read { .. }]));
}

#[test]
fn a_later_document_of_the_same_fence_changes_neither_what_is_admitted_nor_what_is_awaited() {
    let later = |members, version| {
        let document = document(members, 2);
        let document = Document { version, ..Document::clone(&document) };
        Arc::new(Layout::of(Arc::new(document)))
    };
    let mut cluster = one_waits();
    let put = cluster.begin_put(1, "k", "v", Consistency::All);
    cluster.learn(&[1, 2, 3], &later(3, 7));
    cluster.run();
    assert_eq!(cluster.node(1).shard.layout.document().version, 7);
    assert_eq!((times_settled(&cluster, 1), times_settled(&cluster, 2)), (1, 1), "told once");
    assert_eq!(cluster.written(put), None, "not admitted");
    cluster.admit(1);
    cluster.run();
    assert!(cluster.written(put).unwrap().is_ok(), "what was answered still counts");
    cluster.learn(&[1], &later(3, 8));
    assert!(cluster.put(1, "k", "w").is_ok(), "still admitted");
}

#[test]
fn a_shard_that_is_made_with_a_layout_that_is_not_stored_settles_at_its_first_tick() {
    let mut cluster = one_waits();
    let change = joint(&[2, 3], &[1, 2, 3], 2);
    let settings = crate::test_cluster::settings(1, &change, Admission::Empties([].into()));
    cluster.node(1).shard = crate::shard::Shard::new(settings);
    cluster.said.clear();
    let wake = cluster.node(1).shard.next_wake();
    assert!(wake.is_some_and(|wake| wake <= cluster.time), "it is due: {wake:?}");
    assert!(matches!(
        ask(&mut cluster, Command::Read { key: key("k") })[..],
        [Effect::Answer { .. }]
    ));
    cluster.step(1, Event::Tick);
    cluster.step(1, Event::Tick);
    assert_eq!(times_settled(&cluster, 1), 1);
    cluster.admit(1);
    assert!(matches!(
        ask(&mut cluster, Command::Read { key: key("k") })[..],
        [Effect::Read { .. }]
    ));
}

#[test]
fn a_further_layout_waits_for_what_all_earlier_ones_admitted() {
    let mut cluster = Cluster::new(3);
    for node in [1, 2, 3] {
        cluster.node(node).stalled = true;
    }
    cluster.begin_put(2, "k", "v", Consistency::Quorum);
    cluster.run();
    cluster.node(1).unstored = true;
    cluster.learn(&[1], &joint(&[1, 2, 3], &[1, 2, 4], 2));
    cluster.learn(&[1], &layout(3, 3));
    let is_settled = |cluster: &Cluster| {
        let of = |said: &(u32, Effect)| matches!(said, (1, Effect::Settled { .. }));
        cluster.said.iter().filter(|said| of(said)).count()
    };
    assert_eq!(is_settled(&cluster), 0);
    cluster.sync(1);
    assert_eq!(is_settled(&cluster), 1, "once, for the layout in use");
    assert_eq!(times_settled(&cluster, 1), 0);
}
