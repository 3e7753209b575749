//! What marks promised before a rescue, and a member that comes back to what it has cleaned.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Damage, Document, Hlc, Joint, Marks, Ordinal, Phase};
use paravon_ring::{Layout, Partition};

use crate::admission::Admission;
use crate::event::{Effect, Event, Now};
use crate::shard::{Settings, Shard};
use crate::test_cluster::{Cluster, START_MS, key, record, settings};
use crate::transfer::tests::{roster, stable};

const NOW: Now = Now { monotonic: Duration::from_secs(1), wall_ms: START_MS };
const FULL: Hlc = Hlc::new(START_MS, 0);

fn marks(floor: Hlc, full: Hlc, closed: Hlc) -> Marks {
    Marks { floor, full, closed, damage: Damage::None }
}

fn promised() -> Marks {
    marks(FULL, FULL, FULL)
}

/// The document by which these go on without those, in the next generation.
fn rescued(left: &[u32], lost: &[u32], fence: u64) -> Arc<Layout> {
    let all: Vec<u32> = left.iter().chain(lost).copied().collect();
    let lost = lost.iter().copied().map(Ordinal).collect();
    let document = (**stable(&all, fence).document()).clone();
    let phase = Phase::Rescue(Joint { next: roster(left), lost });
    Arc::new(Layout::of(Arc::new(Document { generation: 1, phase, ..document })))
}

fn step(shard: &mut Shard, event: Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    shard.step(NOW, event, &mut effects);
    effects
}

/// Takes the only marks that are to be set, and lets them be durable; gives what follows.
fn set(shard: &mut Shard, effects: &[Effect]) -> (Marks, Vec<Effect>) {
    let [Effect::SetMarks { operation, marks, .. }] = effects[..] else { panic!("{effects:?}") };
    (marks, step(shard, Event::MarksSet { operation, answer: Ok(()) }))
}

fn is_settled(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Settled { .. }))
}

#[test]
fn a_document_of_a_higher_generation_settles_when_no_mark_promises_anything() {
    let before = stable(&[1, 2, 3], 1);
    let with_marks = |admission, layout: &Arc<Layout>| {
        let marks = Vec::from([(Partition(3), promised())]);
        Shard::new(Settings { marks, ..settings(1, layout, admission) })
    };
    let after = rescued(&[1, 2], &[3], 2);
    let mut goes_on = with_marks(Admission::Stored, &before);
    let event = Event::Layout { layout: after.clone(), new: [].into() };
    let first = step(&mut goes_on, event);
    let mut starts = with_marks(Admission::Rescued([].into()), &after);
    let start = step(&mut starts, Event::Tick);
    for (mut shard, effects) in [(goes_on, first), (starts, start)] {
        assert!(!is_settled(&effects));
        let (fallen, effects) = set(&mut shard, &effects);
        assert_eq!(fallen, marks(Hlc::ZERO, Hlc::ZERO, FULL));
        assert!(is_settled(&effects));
        assert_eq!(shard.floor_of(Partition(3)), Hlc::ZERO);
    }
    let event = Event::Layout { layout: stable(&[1, 2], 2), new: [].into() };
    let mut same = with_marks(Admission::Stored, &before);
    assert!(is_settled(&step(&mut same, event)), "of the same generation they stay");
    assert_eq!(same.floor_of(Partition(3)), FULL);
}

/// Nodes 1, 2 and 3 stored everything. These were in no set any more when a rescue from the layout before
/// made them members again.
fn cleaned(cleaners: &[u32]) -> Cluster {
    let first = stable(&[1, 2, 3], 1);
    let mut cluster = Cluster::of(3, &first);
    for node in 1..=3 {
        cluster.node(node).merge(key("k"), record(START_MS - 1, "v"));
        for number in 0..first.shift().partitions() {
            cluster.node(node).marks.insert(Partition(number), promised());
        }
        cluster.restart(node, &first);
    }
    for &node in cleaners {
        let layout = stable(&[4, 5, 6], 3);
        cluster.step(node, Event::Layout { layout, new: [].into() });
        cluster.run();
        cluster.pass(Duration::from_secs(2));
        assert_eq!(cluster.held(node, "k"), None, "it is cleaned");
    }
    let rescued = rescued(&[1, 2], &[3], 9);
    for node in [1, 2] {
        cluster.step(node, Event::Layout { layout: rescued.clone(), new: [].into() });
    }
    cluster.link(1, 2);
    cluster.run();
    cluster
}

#[test]
fn marks_are_given_up_before_the_first_key_of_a_partition_is_forgotten() {
    let mut cluster = cleaned(&[2]);
    cluster.pass(Duration::from_secs(30));
    assert!(cluster.held(2, "k").is_some(), "nothing that it was full at is refused");
    let known = cluster.node(2).marks.values().filter(|marks| marks.closed == FULL).count();
    assert_eq!(known, cluster.node(2).marks.len(), "it has taken closed from node 1");
}

#[test]
fn members_that_all_await_a_closed_wait_for_nobody() {
    let mut cluster = cleaned(&[1, 2]);
    cluster.pass(Duration::from_secs(30));
    assert!(cluster.put(1, "k", "anew").is_ok());
    assert!(cluster.get(2, "k").unwrap().is_some());
}
