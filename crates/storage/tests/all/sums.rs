//! The sums of a disk store over restarts and crashes: none, or exactly those of what a scan tells; and
//! what is dirty for a target, which survives until it was found clean.

use paravon_model::{Digest, Ordinal};
use paravon_ring::{HashArc, Partition, Shift, record_hash};
use paravon_storage::conformance::{Rig, fail_groups, key, record};
use paravon_storage::crash_disk::{CrashDisk, Image, Replay, Survival};
use paravon_storage::{Options, PageLimit, Store};
use proptest::prelude::*;

use crate::rig::{Node, small_options};

const SEED: u64 = 5;
const ALL: PageLimit = PageLimit { count: usize::MAX, bytes: u64::MAX };

/// Of two shards the first has half of these.
fn shift() -> Shift {
    Shift::new(4).unwrap()
}

/// Compares the sums of the first shard with a scan, and gives how many of its partitions have them.
fn summed(store: &mut dyn Store) -> u32 {
    let found = store.scan(HashArc::ALL, None, ALL).unwrap();
    let mut expected = vec![Digest::default(); 16];
    for (hash, key, record) in found {
        let of = &mut expected[usize::try_from(hash.partition(shift()).0).unwrap()];
        let sum = &mut of.0[hash.sixteenth(shift())];
        *sum = sum.wrapping_add(record_hash(SEED, &key, &record));
    }
    let mut summed = 0;
    for (partition, expected) in (0..).map(Partition).zip(expected) {
        if let Some(digest) = store.digest(partition) {
            assert_eq!(digest, expected, "{partition:?}");
            assert_eq!(partition.0 % 2, 0, "it is of the other shard");
            summed += 1;
        }
    }
    summed
}

fn scrub_round(store: &mut dyn Store, count: usize) {
    loop {
        let scrubbed = store.scrub(PageLimit { count, ..ALL }).unwrap();
        assert_eq!(scrubbed.mended, 0);
        assert_eq!(scrubbed.unsummed + summed(store), 8);
        if scrubbed.round {
            return;
        }
    }
}

/// Sums begin after a start: none are there that are not of an empty shard.
fn begin(node: &mut Node) {
    let is_empty = node.store().is_empty().unwrap();
    node.store().keep_sums(SEED, shift());
    assert_eq!(summed(node.store()), if is_empty { 8 } else { 0 });
}

#[derive(Clone, Debug)]
enum Act {
    Put {
        key: u8,
        ms: u8,
    },
    Delete {
        key: u8,
        ms: u8,
    },
    Forget {
        key: u8,
    },
    Drop {
        key: u8,
        ms: u8,
    },
    /// Drops what a read finds.
    DropStored {
        key: u8,
    },
    Sync,
    /// Every group fails.
    Fail,
    Apply,
    Checkpoint,
    Scrub {
        count: u8,
    },
    /// A start from what survives a crash.
    Crash {
        survival: u8,
    },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => (0..40u8, 1..60u8).prop_map(|(key, ms)| Act::Put { key, ms }),
        3 => (0..40u8, 1..60u8).prop_map(|(key, ms)| Act::Delete { key, ms }),
        1 => (0..40u8).prop_map(|key| Act::Forget { key }),
        6 => (0..40u8, 1..60u8).prop_map(|(key, ms)| Act::Drop { key, ms }),
        3 => (0..40u8).prop_map(|key| Act::DropStored { key }),
        6 => Just(Act::Sync),
        1 => Just(Act::Fail),
        2 => Just(Act::Apply),
        1 => Just(Act::Checkpoint),
        8 => (1..9u8).prop_map(|count| Act::Scrub { count }),
        1 => (0..4u8).prop_map(|survival| Act::Crash { survival }),
    ]
}

/// A node, and the disk that it was started from.
struct Life {
    node: Node,
    before: Image,
}

impl Life {
    fn crash(&mut self, survival: u8) {
        let mut replay = Replay::new(self.before.clone());
        self.node.disk.trace().iter().for_each(|operation| replay.step(operation));
        self.before = replay.crash(match survival {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            2 => Survival::TornLast(500),
            _ => Survival::Scattered(9),
        });
        self.node = Node::open(self.before.clone()).unwrap();
        begin(&mut self.node);
    }

    fn act(&mut self, act: &Act) {
        let node = &mut self.node;
        // Refused where too much waits: that is no change either.
        let mut merge = |number, record| {
            let (hash, key) = key(number);
            let _ = node.store().merge(0, hash, key, record);
        };
        match *act {
            Act::Put { key, ms } => merge(key, record(ms.into(), Some(ms))),
            Act::Delete { key, ms } => merge(key, record(ms.into(), None)),
            Act::Forget { key: number } => {
                let (hash, key) = key(number);
                let _ = node.store().forget(0, hash, key);
            }
            Act::Drop { key: number, ms } => {
                let (hash, key) = key(number);
                let version = record(ms.into(), None).version;
                let _ = node.store().drop_record(0, hash, key, version);
            }
            Act::DropStored { key: number } => {
                let (hash, key) = key(number);
                let found = node.store().get(hash, &key).unwrap();
                if let Some(found) = found {
                    let _ = node.store().drop_record(0, hash, key, found.version);
                }
            }
            Act::Sync => {
                node.sync();
            }
            Act::Fail => {
                fail_groups(node.store());
            }
            Act::Apply => node.apply_all(),
            Act::Checkpoint => node.stepped.steps.checkpoint().unwrap(),
            Act::Scrub { count } => {
                let limit = PageLimit { count: count.into(), ..ALL };
                assert_eq!(node.store().scrub(limit).unwrap().mended, 0);
            }
            Act::Crash { survival } => self.crash(survival),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sums_are_exact_whatever_happens(script in prop::collection::vec(act(), 0..150)) {
        let before = Image::default();
        let mut life = Life { node: Node::open(before.clone()).unwrap(), before };
        begin(&mut life.node);
        for act in &script {
            life.act(act);
            summed(life.node.store());
        }
        life.node.sync();
        scrub_round(life.node.store(), 3);
        scrub_round(life.node.store(), 3);
        prop_assert_eq!(summed(life.node.store()), 8);
    }
}

/// What was told as dirty at each moment of a life in which arcs are marked and found clean.
#[test]
fn what_is_dirty_survives_every_cut_until_it_was_found_clean() {
    // No hint has room.
    let options = Options { hint_bytes: 0, ..small_options() };
    let mut node = Node::open_on(CrashDisk::new(), &options).unwrap();
    let dirty = |node: &Node| [7, 8].map(|target| node.hint_totals(target).1);
    let mut told = vec![(node.disk.operations(), dirty(&node))];
    for round in 1..60_u64 {
        let mut targets = [7, 8].into_iter().cycle();
        for number in 0..4 {
            let number = u8::try_from((round * 5 + number * 3) % 40).unwrap();
            node.keep_hint(targets.next().unwrap(), number, record(round, Some(1)));
        }
        if round % 3 == 0 {
            let (hash, _) = key(u8::try_from(round % 40).unwrap());
            for store in &mut node.stepped.stores {
                let moment = store.dirty_moment();
                store.clean(Ordinal(7), hash.partition(shift()).arc(shift()), moment);
                let rest = if round % 12 == 0 { moment } else { moment / 2 };
                store.clean(Ordinal(8), HashArc::ALL, rest);
            }
        }
        node.sync();
        told.push((node.disk.operations(), dirty(&node)));
        match round % 5 {
            0 => node.apply_all(),
            3 => node.stepped.steps.checkpoint().unwrap(),
            _ => node.apply_once(),
        }
    }
    assert!(told.windows(2).any(|pair| pair[0].1[1] > 4 && pair[1].1[1] == 0), "{told:?}");
    let mut replay = Replay::new(Image::default());
    for (done, operation) in node.disk.trace().iter().enumerate() {
        replay.step(operation);
        let cut = done + 1;
        let confirmed = told.partition_point(|(at, _)| *at <= cut).saturating_sub(1);
        for survival in [Survival::Nothing, Survival::Everything, Survival::Scattered(3)] {
            let disk = CrashDisk::from_image(replay.crash(survival));
            let node = Node::open_on(disk, &options).unwrap();
            let mut possible = told[confirmed..].iter().take(2).map(|(_, dirty)| *dirty);
            let found = dirty(&node);
            assert!(possible.any(|possible| possible == found), "{cut}: {found:?} in {told:?}");
        }
    }
}
