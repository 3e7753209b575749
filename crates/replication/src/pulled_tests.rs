//! Being pulled from: by whom, when, and how much at once.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    Command, Compare, Compared, Detail, Failure, Fence, Key, Ordinal, Outcome, Part, Pull, Pulled,
    ReplicaReply, ReplicaRequest, Rest,
};
use paravon_ring::{KeyHash, Partition};

use super::MAX_ASKED_PULLS;
use crate::admission::Admission;
use crate::event::{Effect, Event, Now, PeerToken, ScanFailure};
use crate::operations::OperationId;
use crate::shard::Shard;
use crate::test_cluster::{START_MS, key, record, shard};
use crate::transfer::tests::{joint, stable};

const NOW: Now = Now { monotonic: Duration::from_secs(1), wall_ms: START_MS };
const TIME_LEFT: Duration = Duration::from_secs(10);
const FENCE: Fence = Fence { generation: 0, number: 2 };

/// Node 1, which node 4 is to take over from, and a partition that it is new to.
fn source() -> (Shard, Partition) {
    let layout = joint(&[1, 2, 3], &[1, 2, 4], &[], 2);
    let new = layout.made_new(Ordinal(4), None);
    (shard(1, &layout, Admission::Stored), new[0])
}

fn listing(after: Option<Key>) -> Pull {
    Pull { part: Part::Whole, detail: Detail::Listing, after }
}

fn records(after: Option<Key>) -> Pull {
    Pull { part: Part::Whole, detail: Detail::Record, after }
}

fn ask(shard: &mut Shard, from: u32, partition: Partition, pull: Pull) -> Vec<Effect> {
    let command = Command::Pull { partition: partition.0, pull };
    let request = ReplicaRequest { fence: FENCE, time_left: TIME_LEFT, command };
    let (token, hash) = (PeerToken(7), KeyHash(0));
    step(shard, NOW, Event::Asked { from: Ordinal(from), token, hash, request })
}

fn step(shard: &mut Shard, now: Now, event: Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    shard.step(now, event, &mut effects);
    effects
}

fn scanned(shard: &mut Shard, operation: OperationId, keys: &[Key]) -> Vec<Effect> {
    let entry = |key: &Key| (KeyHash::of(key, 0), key.clone(), record(5, "v"));
    let page = Ok(keys.iter().map(entry).collect());
    step(shard, NOW, Event::Scanned { operation, page })
}

fn scan_of(effects: &[Effect]) -> (OperationId, Option<Key>) {
    match effects {
        [Effect::Scan { operation, after, .. }] => {
            (*operation, after.as_ref().map(|(_, key)| key.clone()))
        }
        other => panic!("one scan: {other:?}"),
    }
}

fn answer(effects: &[Effect]) -> &Result<Pulled, Failure> {
    match effects {
        [Effect::Answer { reply: ReplicaReply::Pulled { answer }, .. }] => answer,
        other => panic!("one answer to a pull: {other:?}"),
    }
}

/// Keys of the partition, in order.
fn keys(shard: &Shard, partition: Partition) -> Vec<Key> {
    let keys = (0..100).map(|number| key(&format!("key-{number}")));
    let of_partition = |key: &Key| KeyHash::of(key, 0).partition(shard.layout.shift()) == partition;
    let mut keys: Vec<_> = keys.filter(of_partition).collect();
    keys.sort_by_key(|key| (KeyHash::of(key, 0), key.clone()));
    keys
}

#[test]
fn a_page_is_a_listing_or_records_and_only_an_empty_one_is_the_last() {
    let (mut shard, partition) = source();
    let keys = keys(&shard, partition);
    let (scan, after) = scan_of(&ask(&mut shard, 4, partition, listing(None)));
    assert_eq!(after, None);
    let effects = scanned(&mut shard, scan, &keys[..2]);
    let Ok(Pulled::Listing { listed, rest: Rest::More }) = answer(&effects) else {
        panic!("{effects:?}")
    };
    let told: Vec<_> = listed.iter().map(|listed| (listed.key.clone(), listed.version)).collect();
    let held: Vec<_> = keys[..2].iter().map(|key| (key.clone(), record(5, "v").version)).collect();
    assert_eq!(told, held);
    assert_ne!(listed[0].check, listed[1].check);

    let pull = records(Some(keys[1].clone()));
    let (scan, after) = scan_of(&ask(&mut shard, 4, partition, pull));
    assert_eq!(after, Some(keys[1].clone()));
    let effects = scanned(&mut shard, scan, &[]);
    let end = Pulled::Records { records: Vec::new(), rest: Rest::End };
    assert_eq!(answer(&effects), &Ok(end));
    assert_eq!(shard.under_way(), 0);
}

#[test]
fn nobody_is_told_before_the_layout_is_stored() {
    let layout = joint(&[1, 2, 3], &[1, 2, 4], &[], 2);
    let partition = layout.made_new(Ordinal(4), None)[0];
    let mut shard = shard(1, &stable(&[1, 2, 3], 1), Admission::Stored);
    step(&mut shard, NOW, Event::Layout { layout, new: [].into() });
    let later = ReplicaReply::LaterLayout { known: FENCE };
    let refused = [Effect::Answer { token: PeerToken(7), reply: later }];
    assert_eq!(ask(&mut shard, 4, partition, listing(None)), refused);
    step(&mut shard, NOW, Event::Admit { fence: FENCE });
    scan_of(&ask(&mut shard, 4, partition, listing(None)));
}

#[test]
fn only_members_of_the_sets_are_told_and_no_number_makes_it_panic() {
    let (mut shard, partition) = source();
    for number in [8, u32::MAX] {
        let effects = ask(&mut shard, 4, Partition(number), listing(None));
        assert_eq!(answer(&effects), &Err(Failure::NotReady));
    }
    assert!(ask(&mut shard, 9, partition, listing(None)).is_empty(), "a stranger");
    let apart = stable(&[1, 2, 3, 4, 5, 6], 2);
    let foreign = apart.partitions().find(|p| !apart.sets(*p).contains(Ordinal(1))).unwrap();
    let mut shard = crate::test_cluster::shard(1, &apart, Admission::Stored);
    let effects = ask(&mut shard, 2, foreign, listing(None));
    assert_eq!(answer(&effects), &Err(Failure::NotReady), "it does not store it");
}

#[test]
fn no_more_pulls_than_a_limit_are_under_way() {
    let (mut shard, partition) = source();
    let pull = || records(None);
    let scans: Vec<_> =
        (0..MAX_ASKED_PULLS).map(|_| scan_of(&ask(&mut shard, 4, partition, pull())).0).collect();
    let effects = ask(&mut shard, 4, partition, pull());
    assert!(matches!(answer(&effects), Err(Failure::Overloaded { .. })));
    scanned(&mut shard, scans[0], &[]);
    scan_of(&ask(&mut shard, 4, partition, pull()));
}

#[test]
fn a_pull_that_came_under_another_fence_or_is_late_tells_nothing() {
    let (mut shard, partition) = source();
    let (scan, _) = scan_of(&ask(&mut shard, 4, partition, listing(None)));
    let late = Now { monotonic: NOW.monotonic + TIME_LEFT, ..NOW };
    assert!(
        step(&mut shard, late, Event::Scanned { operation: scan, page: Ok(Vec::new()) }).is_empty()
    );

    let (scan, _) = scan_of(&ask(&mut shard, 4, partition, listing(None)));
    let layout = stable(&[1, 2, 3], 3);
    step(&mut shard, NOW, Event::Layout { layout: layout.clone(), new: [].into() });
    let document = layout.document().clone();
    let stale =
        Effect::Answer { token: PeerToken(7), reply: ReplicaReply::StaleLayout { document } };
    assert_eq!(scanned(&mut shard, scan, &[]), [stale]);
    assert_eq!(shard.under_way(), 0);
}

#[test]
fn a_store_that_cannot_read_is_told_as_a_failure() {
    let (mut shard, partition) = source();
    let (operation, _) = scan_of(&ask(&mut shard, 4, partition, listing(None)));
    let failure = Failure::Damaged { outcome: Outcome::Refused };
    let page = Err(ScanFailure { failure: failure.clone(), at: None });
    let effects = step(&mut shard, NOW, Event::Scanned { operation, page });
    assert_eq!(answer(&effects), &Err(failure));
}

#[test]
fn a_record_that_cannot_be_read_spoils_a_sum_and_is_named_on_its_page() {
    let (mut shard, partition) = source();
    let damaged = keys(&shard, partition)[1].clone();
    let failure = Failure::Damaged { outcome: Outcome::Refused };
    let page = || {
        let at = Some((KeyHash::of(&damaged, 0), damaged.clone()));
        Err(ScanFailure { failure: failure.clone(), at })
    };
    for pull in [listing(None), records(None)] {
        let (operation, _) = scan_of(&ask(&mut shard, 4, partition, pull));
        let effects = step(&mut shard, NOW, Event::Scanned { operation, page: page() });
        assert_eq!(answer(&effects), &Ok(Pulled::Damaged { key: damaged.clone() }));
    }
    assert_eq!(shard.under_way(), 0);
}

#[test]
fn a_marked_key_is_told_as_damaged_whatever_was_stored_over_it() {
    let (mut shard, partition) = source();
    let keys = keys(&shard, partition);
    let marked = keys[2].clone();
    step(&mut shard, NOW, Event::Damaged { hash: KeyHash::of(&marked, 0), key: marked.clone() });
    let (first, _) = scan_of(&ask(&mut shard, 4, partition, records(None)));
    let effects = scanned(&mut shard, first, &keys[..4]);
    let Ok(Pulled::Records { records: told, rest: Rest::More }) = answer(&effects) else {
        panic!()
    };
    assert_eq!(told.iter().map(|(key, _)| key).collect::<Vec<_>>(), [&keys[0], &keys[1]]);
    let (second, _) = scan_of(&ask(&mut shard, 4, partition, records(Some(keys[1].clone()))));
    let effects = scanned(&mut shard, second, &keys[2..4]);
    assert_eq!(answer(&effects), &Ok(Pulled::Damaged { key: marked }));

    let compare = Compare::Digest { partition: partition.0 };
    let request =
        ReplicaRequest { fence: FENCE, time_left: TIME_LEFT, command: Command::Compare(compare) };
    let (token, hash) = (PeerToken(8), KeyHash(0));
    let effects = step(&mut shard, NOW, Event::Asked { from: Ordinal(4), token, hash, request });
    let reply = ReplicaReply::Compared { answer: Ok(Compared::Digest(None)) };
    assert_eq!(effects, [Effect::Answer { token, reply }]);
}
