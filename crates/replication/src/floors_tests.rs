//! Deletes that go, and what must not come back, among whole shards.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    Body, Command, Consistency, Failure, Hlc, Marks, Merged, Ordinal, Purpose, Record,
    ReplicaReply, ReplicaRequest, Version,
};
use paravon_ring::{KeyHash, Partition};

use super::{Floors, Found, MAX_OPEN, MAX_OPEN_OR_HELD_UP};
use crate::event::Event;
use crate::floors::FloorStatus;
use crate::marks::EMPTIED;
use crate::test_cluster::{Cluster, START_MS, joint, key, layout, record, version};

/// Longer than any request, and some rounds of comparisons and of telling marks.
const CYCLE: Duration = Duration::from_secs(150);

fn partition_of(name: &str) -> Partition {
    KeyHash::of(&key(name), 0).partition(layout(3, 1).shift())
}

fn floor(cluster: &Cluster, node: u32, name: &str) -> Hlc {
    cluster.nodes[node as usize - 1].shard.floor_of(partition_of(name))
}

/// Another coordinator's store, as it arrives: gives what is answered.
fn store(
    cluster: &mut Cluster,
    node: u32,
    name: &str,
    record: Record,
    purpose: Purpose,
) -> ReplicaReply {
    let fence = cluster.node(node).shard.layout.fence();
    let command = Command::Store { key: key(name), record, purpose };
    let request = ReplicaRequest { fence, time_left: Duration::from_secs(1), command };
    let hash = KeyHash::of(&key(name), 0);
    let from = if node == 1 { 2 } else { 1 };
    cluster.answers_to(from, node, hash, request)
}

fn stored(reply: &ReplicaReply) -> Merged {
    match reply {
        ReplicaReply::Stored { answer: Ok(merged), .. } => *merged,
        other => panic!("{other:?}"),
    }
}

/// Three nodes that have deleted a key and dropped it.
fn dropped() -> (Cluster, Version) {
    dropped_among(3)
}

/// The same, of so many nodes, the first three of which are members.
fn dropped_among(nodes: u32) -> (Cluster, Version) {
    let mut cluster = Cluster::of(nodes, &layout(3, 1));
    cluster.put(1, "k", "v").unwrap();
    let deleted = cluster.delete(1, "k").unwrap();
    cluster.pass(CYCLE);
    assert!((1..=3).all(|node| cluster.held(node, "k").is_none()), "the delete has gone");
    assert!((1..=3).all(|node| floor(&cluster, node, "k") >= deleted.hlc));
    (cluster, deleted)
}

#[test]
fn a_delete_goes_when_all_replicas_have_agreed_and_no_sooner_than_a_request_lasts() {
    let mut cluster = Cluster::new(3);
    cluster.put(1, "k", "v").unwrap();
    cluster.delete(2, "k").unwrap();
    cluster.pass(Duration::from_secs(60));
    assert!((1..=3).all(|node| cluster.held(node, "k").is_some()));
    cluster.pass(CYCLE);
    assert!((1..=3).all(|node| cluster.held(node, "k").is_none()));
    assert_eq!(cluster.get(3, "k"), Ok(None));
    let status = cluster.node(1).shard.floors();
    assert_eq!((status.open, status.droppable), (0, 0), "{status:?}");
    let marks = cluster.node(1).marks.clone();
    cluster.pass(CYCLE);
    assert_eq!(cluster.node(1).marks, marks, "with nothing to drop no mark moves");
}

#[test]
fn a_node_alone_drops_by_itself() {
    let mut cluster = Cluster::new(1);
    cluster.put(1, "k", "v").unwrap();
    cluster.delete(1, "k").unwrap();
    cluster.pass(Duration::from_secs(60));
    assert!(cluster.held(1, "k").is_some());
    cluster.pass(Duration::from_secs(10));
    assert!(cluster.held(1, "k").is_none());
}

#[test]
fn a_node_alone_waits_for_its_own_stores() {
    let mut cluster = Cluster::new(1);
    cluster.put(1, "k", "v").unwrap();
    cluster.delete(1, "k").unwrap();
    cluster.node(1).stalled = true;
    cluster.pass(Duration::from_secs(90));
    assert_eq!((floor(&cluster, 1, "k"), cluster.node(1).marks.len()), (Hlc::ZERO, 0));
    cluster.node(1).stalled = false;
    cluster.pass(Duration::from_secs(10));
    assert!(cluster.held(1, "k").is_none());
}

#[test]
fn what_was_deleted_before_a_restart_is_found_again() {
    let mut cluster = Cluster::new(3);
    cluster.delete(1, "k").unwrap();
    cluster.run();
    for node in 1..=3 {
        cluster.restart(node, &layout(3, 1));
    }
    for (one, other) in [(1, 2), (1, 3), (2, 3)] {
        cluster.link(one, other);
    }
    cluster.pass(CYCLE + Duration::from_secs(60));
    assert!((1..=3).all(|node| cluster.held(node, "k").is_none()));
}

#[test]
fn a_late_hint_or_write_is_not_stored_and_names_what_to_stamp_past() {
    let (mut cluster, deleted) = dropped();
    for purpose in [Purpose::Hint, Purpose::Write] {
        let late = Record { version: version(START_MS + 10_000, 2), ..record(1, "late") };
        assert!(late.version < deleted || late.version.hlc <= floor(&cluster, 2, "k"));
        let Merged::BelowFloor { version } = stored(&store(&mut cluster, 2, "k", late, purpose))
        else {
            panic!("it is refused")
        };
        assert!(version.hlc >= deleted.hlc);
        assert!(cluster.held(2, "k").is_none());
    }
}

#[test]
fn a_retry_of_the_very_record_is_acknowledged_and_a_larger_one_held_supersedes() {
    let (mut cluster, _) = dropped();
    let name = "k";
    let closed = cluster.node(2).marks[&partition_of(name)].closed;
    let old = record(closed.physical_ms() - 1, "held");
    cluster.node(2).merge(key(name), old.clone());
    let again = store(&mut cluster, 2, name, old.clone(), Purpose::Write);
    assert_eq!(stored(&again), Merged::Applied);
    let other = Record { body: Body::Tombstone, ..old };
    let refused = store(&mut cluster, 2, name, other.clone(), Purpose::Write);
    assert!(matches!(stored(&refused), Merged::BelowFloor { .. }), "the same version alone is not");
    let newer = record(closed.physical_ms() + 1, "newer");
    cluster.node(2).merge(key(name), newer.clone());
    let superseded = Merged::Superseded { version: newer.version };
    assert_eq!(stored(&store(&mut cluster, 2, name, other, Purpose::Write)), superseded);
}

#[test]
fn a_write_back_below_full_is_answered_with_what_is_held_and_the_floor() {
    let (mut cluster, deleted) = dropped();
    let old = record(START_MS + 1, "old");
    let reply = store(&mut cluster, 2, "k", old, Purpose::Repair);
    let ReplicaReply::Found { answer: Ok(None), floor } = reply else { panic!("{reply:?}") };
    assert!(floor >= deleted.hlc);
    assert!(cluster.held(2, "k").is_none());
}

#[test]
fn an_absence_at_a_floor_covers_what_came_back_below_it() {
    let (mut cluster, _) = dropped();
    let old = record(START_MS + 1, "from an old disk");
    cluster.node(3).merge(key("k"), old);
    for node in 1..=3 {
        assert_eq!(cluster.get(node, "k"), Ok(None));
    }
    assert!((1..=2).all(|node| cluster.held(node, "k").is_none()));
}

#[test]
fn while_a_member_is_down_its_partitions_marks_wait() {
    let mut cluster = Cluster::new(3);
    cluster.put(1, "k", "v").unwrap();
    cluster.cut(1, 3);
    cluster.cut(2, 3);
    let deleted = cluster.delete(1, "k").unwrap();
    cluster.pass(CYCLE * 2);
    for node in [1, 2] {
        assert!(floor(&cluster, node, "k") < deleted.hlc);
        assert_eq!(cluster.held(node, "k"), Some(deleted));
    }
    assert_eq!(cluster.node(1).shard.floors().waiting_for, [Ordinal(3)]);
    cluster.link(1, 3);
    cluster.link(2, 3);
    cluster.pass(CYCLE);
    assert!((1..=3).all(|node| cluster.held(node, "k").is_none()));
}

/// A key of every partition.
fn one_of_each() -> impl Iterator<Item = String> {
    let names = || (0..1000).map(|number| format!("key-{number}"));
    let of = move |number| names().find(|name| partition_of(name) == Partition(number));
    (0..layout(3, 1).shift().partitions()).map(move |number| of(number).expect("one of so many"))
}

#[test]
fn nothing_begins_to_close_that_cannot_end_and_the_rest_goes_on_without_it() {
    let layout = layout(4, 1);
    let mut cluster = Cluster::of(4, &layout);
    for node in 1..=3 {
        cluster.cut(4, node);
    }
    let names: Vec<_> = one_of_each().collect();
    for name in &names {
        let node = layout.sets(partition_of(name)).all().find(|node| node.0 < 4).unwrap();
        cluster.delete(node.0, name).unwrap();
    }
    cluster.pass(CYCLE);
    let waits = |name: &&String| layout.sets(partition_of(name)).contains(Ordinal(4));
    for name in names.iter().filter(waits) {
        let marks = |node: u32| cluster.nodes[node as usize - 1].marks.get(&partition_of(name));
        assert!((1..=4).all(|node| marks(node).is_none()), "it would only stay open");
    }
    assert!(names.iter().any(|name| waits(&name)) && names.iter().any(|name| !waits(&name)));
    for name in names.iter().filter(|name| !waits(name)) {
        assert!((1..=3).all(|node| cluster.held(node, name).is_none()), "{name}");
    }
    let status = cluster.node(1).shard.floors();
    assert_eq!((status.open, &status.waiting_for[..]), (0, &[Ordinal(4)][..]));
}

#[test]
fn what_is_held_up_by_a_member_takes_no_place_from_the_others_up_to_a_bound() {
    let mut cluster = Cluster::new(3);
    cluster.delete(1, "k").unwrap();
    cluster.pass(Duration::from_secs(61));
    cluster.cut(1, 3);
    cluster.cut(2, 3);
    cluster.pass(Duration::from_secs(2));
    let floors = &mut cluster.node(1).shard.floors;
    assert_eq!((floors.found.open, floors.found.held_up), (1, 1));
    assert!(!floors.is_rising());
    assert_eq!(floors.room(), MAX_OPEN);
    for (open, held_up, room) in [
        (MAX_OPEN, 0, 0),
        (MAX_OPEN, MAX_OPEN, MAX_OPEN),
        (MAX_OPEN + 10, MAX_OPEN, MAX_OPEN - 10),
        (MAX_OPEN_OR_HELD_UP - 1, MAX_OPEN_OR_HELD_UP - 1, 1),
        (MAX_OPEN_OR_HELD_UP, MAX_OPEN_OR_HELD_UP, 0),
    ] {
        floors.found = Found { open, held_up, ..Found::default() };
        assert_eq!(floors.room(), room, "{open} {held_up}");
    }
}

#[test]
fn a_look_finds_each_partition_once_and_begins_behind_those_that_may_have_taken_the_room() {
    let (room, count) = (u32::try_from(MAX_OPEN).unwrap(), 10 + u32::try_from(MAX_OPEN).unwrap());
    let marks: Vec<_> = (0..count).map(|number| (Partition(number), Marks::default())).collect();
    let mut floors = Floors::new(&marks, core::iter::empty());
    let mut look = |goes: fn(u32) -> bool| {
        let (mut turn, mut found) = (floors.begin_turn(), Vec::new());
        while let Some(partition) = floors.next_in_turn(&mut turn) {
            found.push(partition.0);
            if goes(partition.0) {
                floors.partitions.remove(&partition);
            }
        }
        found
    };
    assert!(look(|_| false).into_iter().eq(0..count));
    assert!(look(|_| false).into_iter().eq((room..count).chain(0..room)));
    assert!(look(|number| number > 5).into_iter().eq((room - 10..count).chain(0..room - 10)));
    assert!(look(|_| false).into_iter().eq(0..6), "few are left");
}

#[test]
fn marks_of_partitions_of_others_are_counted_nowhere() {
    let mut cluster = Cluster::of(4, &layout(3, 1));
    let open = Marks { closed: Hlc::new(START_MS, 0), ..Marks::default() };
    cluster.node(4).marks.extend([(Partition(1), open), (Partition(2), EMPTIED)]);
    cluster.restart(4, &layout(3, 1));
    let shard = &mut cluster.node(4).shard;
    shard.floors.note_droppable(Partition(1), Some(Hlc::new(START_MS, 0)));
    cluster.pass(Duration::from_secs(2));
    let shard = &cluster.node(4).shard;
    assert_eq!(shard.floors(), FloorStatus::default());
    assert!(!shard.floors.awaits() && !shard.floors.is_rising());
}

#[test]
fn a_delete_that_is_old_enough_goes_within_seconds() {
    let mut cluster = Cluster::new(3);
    cluster.put(1, "k", "v").unwrap();
    cluster.delete(1, "k").unwrap();
    cluster.pass(Duration::from_secs(61));
    let mut taken = 0;
    while (1..=3).any(|node| cluster.held(node, "k").is_some()) {
        cluster.pass(Duration::from_secs(1));
        taken += 1;
    }
    assert!(taken <= 8, "{taken}");
}

#[test]
fn deletes_of_many_partitions_go_without_a_rest_after_each() {
    let mut cluster = Cluster::new(1);
    for name in one_of_each() {
        cluster.delete(1, &name).unwrap();
    }
    cluster.pass(Duration::from_secs(55));
    while cluster.node(1).stored.len() == 16 {
        cluster.pass(Duration::from_millis(50));
    }
    cluster.pass(Duration::from_millis(500));
    assert_eq!(cluster.node(1).stored.len(), 0);
}

#[test]
fn what_expires_goes_by_agreement_when_its_instant_has_passed() {
    let mut cluster = Cluster::new(3);
    let expires_ms = START_MS + 200_000;
    let name = "k";
    for node in 1..=3 {
        let expiring = Record { expires_ms: Some(expires_ms), ..record(START_MS, "v") };
        let reply = store(&mut cluster, node, name, expiring, Purpose::Repair);
        assert_eq!(stored(&reply), Merged::Applied);
    }
    cluster.pass(Duration::from_secs(240));
    assert!((1..=3).all(|node| cluster.held(node, name).is_some()), "a minute is not over");
    cluster.pass(CYCLE);
    assert!((1..=3).all(|node| cluster.held(node, name).is_none()));
}

#[test]
fn many_deletes_go_page_by_page_and_what_lives_stays() {
    let mut cluster = Cluster::new(3);
    for number in 0..600 {
        let body = if number % 3 == 0 { record(1, "v").body } else { Body::Tombstone };
        let stored = Record { body, ..record(START_MS + number, "v") };
        for node in 1..=3 {
            let name = format!("key-{number}");
            store(&mut cluster, node, &name, stored.clone(), Purpose::Repair);
        }
    }
    cluster.pass(CYCLE);
    for node in 1..=3 {
        let held = &cluster.node(node).stored;
        assert_eq!(held.len(), 200);
        assert!(held.values().all(|record| !record.is_tombstone()));
    }
}

#[test]
fn a_key_that_is_written_again_is_not_dropped_with_its_delete() {
    let mut cluster = Cluster::new(1);
    cluster.delete(1, "k").unwrap();
    let mut drops = 0;
    for _ in 0..1600 {
        cluster.time += Duration::from_millis(50);
        cluster.step(1, Event::Tick);
        if floor(&cluster, 1, "k") > Hlc::ZERO && drops == 0 {
            // The drop may be queued; the put comes behind it, or before.
            drops += 1;
            let request = cluster.begin_put(1, "k", "again", Consistency::Quorum);
            cluster.run();
            assert!(cluster.written(request).is_some_and(|end| end.is_ok()));
        }
        cluster.sync(1);
    }
    assert_eq!(drops, 1);
    assert!(cluster.get(1, "k").unwrap().is_some());
}

/// The mark may be lost, and with it the refusal that the keeper has given the hint up for.
#[test]
fn a_hint_is_not_refused_for_good_by_a_mark_that_is_not_durable() {
    let mut cluster = Cluster::new(3);
    cluster.put(1, "k", "v").unwrap();
    cluster.delete(1, "k").unwrap();
    cluster.run();
    cluster.node(2).stalled = true;
    cluster.pass(Duration::from_secs(75));
    assert!(cluster.node(2).marks.is_empty());
    let late = record(START_MS - 1, "late");
    let reply = store(&mut cluster, 2, "k", late.clone(), Purpose::Hint);
    let ReplicaReply::Stored { answer, .. } = reply else { panic!("{reply:?}") };
    assert!(matches!(answer, Err(Failure::Overloaded { .. })), "{answer:?}");
    cluster.node(2).stalled = false;
    cluster.pass(Duration::from_secs(1));
    let refused = store(&mut cluster, 2, "k", late, Purpose::Hint);
    assert!(matches!(stored(&refused), Merged::BelowFloor { .. }));
}

#[test]
fn a_hint_below_closed_is_given_up_by_its_keeper() {
    let (mut cluster, _) = dropped();
    let old = record(START_MS + 1, "late");
    let hash = KeyHash::of(&key("k"), 0);
    cluster.node(1).hints.insert((Ordinal(3), hash, key("k")), old);
    cluster.crash(1, &layout(3, 1));
    cluster.link(1, 2);
    cluster.link(1, 3);
    cluster.pass(Duration::from_secs(5));
    assert!(cluster.node(1).hints.is_empty());
    assert!(cluster.held(3, "k").is_none());
}

#[test]
fn a_node_new_to_a_set_serves_nobody_before_it_has_taken_closed_from_a_member() {
    let (mut cluster, deleted) = dropped_among(4);
    for node in 1..=3 {
        cluster.cut(4, node);
    }
    let joint = joint(&[1, 2, 3], &[1, 2, 4], 2);
    for node in 1..=4 {
        let new = joint.made_new(Ordinal(node), Some(layout(3, 1).fence())).into();
        cluster.step(node, Event::Layout { layout: joint.clone(), new });
    }
    cluster.run();
    cluster.pass(Duration::from_secs(1));
    let old = record(START_MS + 1, "old");
    for purpose in [Purpose::Write, Purpose::Hint, Purpose::Repair] {
        let reply = store(&mut cluster, 4, "k", old.clone(), purpose);
        let ReplicaReply::Stored { answer, .. } = reply else { panic!("{reply:?}") };
        assert_eq!(answer, Err(Failure::NotReady));
    }
    for node in 1..=3 {
        cluster.link(4, node);
    }
    cluster.pass(Duration::from_secs(1));
    let refused = store(&mut cluster, 4, "k", old, Purpose::Hint);
    let Merged::BelowFloor { version } = stored(&refused) else { panic!("{refused:?}") };
    assert!(version.hlc >= deleted.hlc);
    assert_eq!(floor(&cluster, 4, "k"), Hlc::ZERO, "what others have is to be pulled first");
}
