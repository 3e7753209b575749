//! Emptied before it counts as stored, cleaned up after; nothing else is ever forgotten.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Consistency, Failure, Get, Hlc, Ordinal, Outcome};
use paravon_ring::{KeyHash, Layout, Partition};

use crate::admission::Admission;
use crate::event::{Effect, Event, Now, RequestToken};
use crate::operations::OperationId;
use crate::shard::{Settings, Shard};
use crate::test_cluster::{Cluster, START_MS, key, record, settings, shard};
use crate::transfer::tests::{joint, stable};

const NOW: Now = Now { monotonic: Duration::from_secs(1), wall_ms: START_MS };
const READ_ONLY: Failure = Failure::ReadOnly { outcome: Outcome::Unknown };

fn step(shard: &mut Shard, event: Event) -> Vec<Effect> {
    step_at(shard, NOW, event)
}

fn step_at(shard: &mut Shard, now: Now, event: Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    shard.step(now, event, &mut effects);
    effects
}

/// Node 4 learns a layout that makes it new to these partitions.
fn learn(shard: &mut Shard, layout: &Arc<Layout>, new: &[u32]) -> Vec<Effect> {
    let new = new.iter().copied().map(Partition).collect();
    step(shard, Event::Layout { layout: layout.clone(), new })
}

fn scans(effects: &[Effect]) -> Vec<(OperationId, u32)> {
    let scan = |effect: &Effect| match effect {
        Effect::Scan { operation, partition, .. } => Some((*operation, partition.0)),
        _ => None,
    };
    effects.iter().filter_map(scan).collect()
}

fn is_settled(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Settled { .. }))
}

fn page(shard: &mut Shard, operation: OperationId, names: &[&str]) -> Vec<Effect> {
    let entry = |name: &&str| (KeyHash::of(&key(name), 0), key(name), record(1, "old"));
    let page = Ok(names.iter().map(entry).collect());
    step(shard, Event::Scanned { operation, page })
}

/// The partition was found empty, and the disk gives up its marks.
fn empty(shard: &mut Shard, operation: OperationId) -> Vec<Effect> {
    let effects = page(shard, operation, &[]);
    let [Effect::SetMarks { operation, marks, .. }] = effects[..] else { panic!("{effects:?}") };
    assert_eq!((marks.floor, marks.full), (Hlc::ZERO, Hlc::ZERO));
    assert!(marks.closed < Hlc::new(1, 0));
    step(shard, Event::MarksSet { operation, answer: Ok(()) })
}

fn forgets(effects: &[Effect]) -> Vec<OperationId> {
    let forget = |effect: &Effect| match effect {
        Effect::Forget { operation, .. } => Some(*operation),
        _ => None,
    };
    effects.iter().filter_map(forget).collect()
}

/// Node 4, not a member, and the layout that makes it one.
fn newcomer() -> (Shard, Arc<Layout>) {
    let shard = shard(4, &stable(&[1, 2, 3], 1), Admission::Stored);
    (shard, joint(&[1, 2, 3], &[1, 2, 4], &[], 2))
}

#[test]
fn a_layout_settles_when_every_new_partition_was_scanned_and_found_empty() {
    let (mut shard, layout) = newcomer();
    let effects = learn(&mut shard, &layout, &[5]);
    let [(scan, 5)] = scans(&effects)[..] else { panic!("{effects:?}") };
    assert!(!is_settled(&effects));
    let [first, second] = forgets(&page(&mut shard, scan, &["a", "b"]))[..] else { panic!() };
    let failed = Event::Forgotten { operation: first, answer: Err(READ_ONLY) };
    assert!(step(&mut shard, failed).is_empty());
    let done = step(&mut shard, Event::Forgotten { operation: second, answer: Ok(()) });
    assert!(done.is_empty(), "one is left, and a disk that failed rests: {done:?}");
    assert!(scans(&step(&mut shard, Event::Tick)).is_empty());
    let later = Now { monotonic: NOW.monotonic + Duration::from_millis(500), ..NOW };
    let [(scan, 5)] = scans(&step_at(&mut shard, later, Event::Tick))[..] else { panic!() };
    let [again] = forgets(&page(&mut shard, scan, &["a"]))[..] else { panic!() };
    let effects = step(&mut shard, Event::Forgotten { operation: again, answer: Ok(()) });
    let [(scan, 5)] = scans(&effects)[..] else { panic!("behind it: {effects:?}") };
    let effects = page(&mut shard, scan, &[]);
    let [(scan, 5)] = scans(&effects)[..] else { panic!("once more: {effects:?}") };
    assert!(is_settled(&empty(&mut shard, scan)));
}

#[test]
fn a_partition_whose_marks_the_disk_keeps_is_not_emptied() {
    let (mut shard, layout) = newcomer();
    let [(scan, 5)] = scans(&learn(&mut shard, &layout, &[5]))[..] else { panic!() };
    let effects = page(&mut shard, scan, &[]);
    let [Effect::SetMarks { operation, .. }] = effects[..] else { panic!("{effects:?}") };
    let effects = step(&mut shard, Event::MarksSet { operation, answer: Err(READ_ONLY) });
    assert!(!is_settled(&effects));
    let [(scan, 5)] = scans(&step(&mut shard, Event::Tick))[..] else { panic!() };
    assert!(is_settled(&empty(&mut shard, scan)));
}

#[test]
fn a_later_layout_begins_anew_once_what_is_being_forgotten_is() {
    let (mut shard, layout) = newcomer();
    let [(scan, 5)] = scans(&learn(&mut shard, &layout, &[5]))[..] else { panic!() };
    let [forget] = forgets(&page(&mut shard, scan, &["a"]))[..] else { panic!() };
    let effects = learn(&mut shard, &joint(&[1, 2, 3], &[1, 3, 4], &[], 3), &[5, 6]);
    assert!(scans(&effects).is_empty() && !is_settled(&effects), "{effects:?}");
    let effects = step(&mut shard, Event::Forgotten { operation: forget, answer: Ok(()) });
    let scans = scans(&effects);
    assert_eq!(scans.len(), 2, "{effects:?}");
    assert!(page(&mut shard, scan, &["b"]).is_empty(), "a page of the emptying before is void");
    assert!(!is_settled(&empty(&mut shard, scans[0].0)));
    assert!(is_settled(&empty(&mut shard, scans[1].0)));
}

#[test]
fn a_document_of_the_same_fence_does_not_cut_an_emptying_short() {
    let (mut shard, layout) = newcomer();
    let [(scan, 5)] = scans(&learn(&mut shard, &layout, &[5]))[..] else { panic!() };
    let mut document = (**layout.document()).clone();
    document.version += 1;
    let same = Arc::new(Layout::of(Arc::new(document)));
    assert_eq!(learn(&mut shard, &same, &[5]), []);
    assert!(is_settled(&empty(&mut shard, scan)));
}

#[test]
fn a_start_in_the_middle_of_an_emptying_does_it_again() {
    let layout = joint(&[1, 2, 3], &[1, 2, 4], &[], 2);
    let new = [Partition(5)].into();
    let mut shard = shard(4, &layout, Admission::Empties(new));
    assert!(shard.next_wake().is_some_and(|wake| wake <= NOW.monotonic));
    let [(scan, 5)] = scans(&step(&mut shard, Event::Tick))[..] else { panic!() };
    assert!(is_settled(&empty(&mut shard, scan)));
}

#[test]
fn every_shard_empties_and_takes_over_its_own_partitions() {
    let layout = joint(&[1, 2, 3], &[1, 2, 4], &[], 2);
    let new: Arc<[Partition]> = layout.made_new(Ordinal(4), None).into();
    let (mut emptied, mut partitions) = (Vec::new(), 0);
    for number in 0..3 {
        let settings = settings(4, &layout, Admission::Empties(new.clone()));
        let mut shard = Shard::new(Settings { number, shards: 3, ..settings });
        let scans = scans(&step(&mut shard, Event::Tick));
        emptied.extend(scans.iter().map(|(_, partition)| *partition));
        let mut effects = Vec::new();
        for (scan, _) in scans {
            effects.extend(empty(&mut shard, scan));
        }
        let [Effect::Settled { progress, .. }] = effects[..] else { panic!("{effects:?}") };
        partitions += progress.partitions;
    }
    emptied.sort_unstable();
    assert!(emptied.iter().eq(new.iter().map(|partition| &partition.0)), "each once");
    assert_eq!(partitions, u64::try_from(new.len()).unwrap());
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("key-{number}")).collect()
}

#[test]
fn an_older_leftover_does_not_come_back() {
    let mut cluster = Cluster::of(4, &stable(&[1, 2, 3], 1));
    cluster.node(4).merge(key("leftover"), record(START_MS * 2, "deleted long since"));
    let layout = joint(&[1, 2, 3], &[1, 2, 4], &[], 2);
    for node in 1..=4 {
        let new = layout.made_new(Ordinal(node), Some(stable(&[1], 1).fence())).into();
        cluster.step(node, Event::Layout { layout: layout.clone(), new });
    }
    cluster.run();
    assert!((1..=4).all(|node| cluster.held(node, "leftover").is_none()));
}

#[test]
fn what_is_stored_no_longer_is_cleaned_up_and_nothing_else() {
    let before = stable(&[1, 2, 3], 1);
    let mut cluster = Cluster::of(4, &before);
    for name in names(500) {
        for node in 1..=3 {
            cluster.node(node).merge(key(&name), record(START_MS, "v"));
        }
    }
    let layout = joint(&[1, 2, 3], &[1, 2, 3, 4], &[], 2);
    let after = stable(&[1, 2, 3, 4], 3);
    for layout in [&layout, &after] {
        for node in 1..=4 {
            let new = layout.made_new(Ordinal(node), Some(before.fence())).into();
            cluster.step(node, Event::Layout { layout: layout.clone(), new });
        }
        cluster.run();
        cluster.pass(Duration::from_secs(1));
        if layout.document().joint().is_some() {
            let kept = |node: u32| names(500).iter().all(|n| cluster.held(node, n).is_some());
            assert!((1..=3).all(kept), "nothing goes while the change is under way");
        }
    }
    cluster.pass(Duration::from_secs(60));
    for name in names(500) {
        let partition = KeyHash::of(&key(&name), 0).partition(after.shift());
        for node in 1..=4 {
            let stores = after.sets(partition).contains(Ordinal(node));
            assert_eq!(cluster.held(node, &name).is_some(), stores, "{name} on {node}");
        }
    }
    assert!((1..=4).all(|node| cluster.node(node).shard.under_way() == 0));
}

#[test]
fn nothing_is_cleaned_up_before_the_layout_is_stored() {
    let mut cluster = Cluster::of(3, &stable(&[1, 2, 3], 1));
    cluster.node(3).merge(key("k"), record(START_MS, "v"));
    cluster.node(3).unstored = true;
    let layout = stable(&[1, 2], 2);
    cluster.step(3, Event::Layout { layout, new: [].into() });
    cluster.pass(Duration::from_secs(5));
    assert!(cluster.held(3, "k").is_some());
    cluster.admit(3);
    cluster.pass(Duration::from_secs(5));
    assert!(cluster.held(3, "k").is_none());
}

#[test]
fn what_cannot_be_read_is_forgotten_like_everything_else() {
    let (before, layout) = (stable(&[1, 2, 3], 1), joint(&[1, 2, 3], &[1, 2, 4], &[], 2));
    let mut cluster = Cluster::of(4, &before);
    for name in names(200) {
        cluster.node(3).merge(key(&name), record(START_MS, "v"));
        cluster.node(4).merge(key(&name), record(START_MS, "old"));
    }
    let damaged = names(200).into_iter().step_by(7).map(|name| key(&name));
    cluster.node(4).damaged.extend(damaged.clone());
    let new = layout.made_new(Ordinal(4), Some(before.fence())).into();
    cluster.step(4, Event::Layout { layout, new });
    cluster.pass(Duration::from_secs(1));
    assert!(cluster.node(4).stored.is_empty() && cluster.node(4).damaged.is_empty());
    assert!(
        cluster
            .said
            .iter()
            .any(|(node, said)| *node == 4 && is_settled(core::slice::from_ref(said)))
    );

    cluster.node(3).damaged.extend(damaged);
    cluster.step(3, Event::Layout { layout: stable(&[1, 2, 4], 3), new: [].into() });
    cluster.pass(Duration::from_secs(60));
    assert!(cluster.node(3).stored.is_empty() && cluster.node(3).damaged.is_empty());
}

/// Node 3 after it has left, which still holds so many records.
fn leftovers(count: usize) -> Cluster {
    let mut cluster = Cluster::of(3, &stable(&[1, 2, 3], 1));
    for name in names(count) {
        cluster.node(3).merge(key(&name), record(START_MS, "v"));
    }
    cluster
}

#[test]
fn a_quiet_node_cleans_up_at_once_and_goes_through_each_partition_once() {
    let mut cluster = leftovers(8000);
    cluster.pass(Duration::from_secs(1));
    cluster.node(3).scanned = 0;
    cluster.step(3, Event::Layout { layout: stable(&[1, 2], 2), new: [].into() });
    assert_eq!(cluster.node(3).stored.len(), 8000, "its marks go first");
    cluster.sync(3);
    assert!(cluster.node(3).stored.is_empty(), "no clock has gone on");
    let scanned = cluster.node(3).scanned;
    assert!(scanned <= 8 * (1 + 8000 / 8 / 512 + 2), "from page to page: {scanned}");
    assert_eq!(cluster.node(3).shard.under_way(), 0);
}

#[test]
fn while_clients_wait_little_is_cleaned_up_at_once() {
    let layout = stable(&[1, 2], 2);
    let mut shard = shard(3, &layout, Admission::Stored);
    let get = |request| {
        let (hash, deadline) = (KeyHash(0), NOW.monotonic);
        let get = Get { key: key("k"), consistency: Consistency::One };
        Event::Get { request: RequestToken(request), hash, get, deadline }
    };
    step(&mut shard, get(1));
    let [(scan, partition)] = scans(&step(&mut shard, Event::Tick))[..] else { panic!() };
    let names = names(64);
    let page_names: Vec<_> = names.iter().map(String::as_str).collect();
    let effects = page(&mut shard, scan, &page_names);
    let [Effect::SetMarks { operation, .. }] = effects[..] else { panic!("{effects:?}") };
    let begun = forgets(&step(&mut shard, Event::MarksSet { operation, answer: Ok(()) }));
    assert_eq!(begun.len(), 4);
    let done = |operation| Event::Forgotten { operation, answer: Ok(()) };
    assert_eq!(forgets(&step(&mut shard, done(begun[0]))).len(), 1);

    let later = Now { monotonic: NOW.monotonic + Duration::from_millis(100), ..NOW };
    let effects = step_at(&mut shard, later, done(begun[1]));
    assert_eq!(forgets(&effects).len(), 64 - 5, "all of the page, since it is quiet");
    let others = scans(&step_at(&mut shard, later, Event::Tick));
    assert!(others.len() == 7 && others.iter().all(|(_, other)| *other != partition));
    let effects = page(&mut shard, others[0].0, &page_names);
    let [Effect::SetMarks { operation, .. }] = effects[..] else { panic!("{effects:?}") };
    let effects = step_at(&mut shard, NOW, Event::MarksSet { operation, answer: Ok(()) });
    assert_eq!(forgets(&effects).len(), 1, "of eight partitions at once");
}

#[test]
fn of_very_many_partitions_some_are_looked_at_in_each_step() {
    let mut document = (**stable(&[1, 2, 3, 4, 5, 6], 2).document()).clone();
    document.shift = 16;
    let layout = Arc::new(Layout::of(Arc::new(document)));
    let stores = layout.partitions().filter(|p| layout.sets(*p).contains(Ordinal(1))).count();
    let mut shard = shard(1, &layout, Admission::Stored);
    let (mut scanned, mut steps) = (0, 0);
    let mut effects = step(&mut shard, Event::Tick);
    while shard.cleaning_wake().is_some() || !scans(&effects).is_empty() {
        let scans = scans(&effects);
        assert!(scans.len() <= 16);
        scanned += scans.len();
        effects.clear();
        for (scan, _) in scans {
            effects.extend(page(&mut shard, scan, &[]));
        }
        effects.extend(step(&mut shard, Event::Tick));
        steps += 1;
    }
    assert_eq!(scanned + stores, 1 << 16);
    assert!(steps > (1 << 16) / 4096, "{steps}");
}

#[test]
fn a_step_finds_nothing_to_clean_and_goes_on_at_the_next() {
    let mut document = (**stable(&[1, 2, 3], 2).document()).clone();
    document.shift = 14;
    let layout = Arc::new(Layout::of(Arc::new(document)));
    let mut shard = shard(1, &layout, Admission::Stored);
    let mut ticks = 0;
    while shard.cleaning_wake().is_some() {
        assert_eq!(scans(&step(&mut shard, Event::Tick)), []);
        ticks += 1;
    }
    assert_eq!(ticks, 1 + (1 << 14) / 4096, "the last one finds the end");
}
