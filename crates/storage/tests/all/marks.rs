//! Marks and damage over crashes and over checkpoints that let go of the log (`NO_SILENT_ROT`).

use paravon_model::{Damage, Hlc, Marks};
use paravon_storage::conformance::{key, record};
use paravon_storage::crash_disk::{CrashDisk, Image, Operation, Replay, Survival, rot_record};
use paravon_storage::{Done, Durability, Merged, Options, ReadError};

use crate::rig::{Node, small_options};

const SHARD: &str = "data/shard-00.redb";
const ROTTEN: u8 = 2;

fn marks(at_ms: u64) -> Marks {
    let at = Hlc::new(at_ms, 0);
    Marks { floor: at, full: at, closed: at, damage: Damage::None }
}

/// The disk of a node that has stopped after one of its records in redb has rotten.
fn rotten(node: &Node) -> Image {
    let (hash, key) = key(ROTTEN);
    rot_record(&node.disk.image(), SHARD, hash, &key).expect("the file holds the record")
}

fn segments(image: &Image) -> Vec<String> {
    image.files().into_iter().filter(|name| name.ends_with(".log")).collect()
}

/// Writes until a checkpoint has let go of every segment that there is now.
fn let_go_of_the_log(node: &mut Node) {
    let before = segments(&node.disk.image());
    let mut round = 10_000;
    while segments(&node.disk.image()).iter().any(|name| before.contains(name)) {
        round += 1;
        for number in 10..16 {
            node.merge(number, record(round, Some(1))).unwrap();
        }
        node.sync();
        if round % 16 == 0 {
            node.apply_all();
            node.stepped.steps.checkpoint().unwrap();
            node.route();
        }
        assert!(round < 20_000, "the log is never let go of");
    }
}

/// What a power failure leaves of a disk that began as `image`.
fn after_power_failure(image: Image, disk: &CrashDisk, survival: Survival) -> Image {
    let mut replay = Replay::new(image);
    disk.trace().iter().for_each(|operation| replay.step(operation));
    replay.crash(survival)
}

#[test]
fn marks_are_there_when_the_log_that_said_so_is_gone() {
    let mut node = Node::new();
    node.set_marks(1, marks(5)).unwrap();
    node.set_marks(4, marks(6)).unwrap();
    node.sync();
    let_go_of_the_log(&mut node);
    let expected = [(1, marks(5)), (4, marks(6))].into();
    for survival in [Survival::Nothing, Survival::Everything] {
        let mut node =
            Node::open(after_power_failure(Image::default(), &node.disk, survival)).unwrap();
        assert_eq!(node.marks(), expected);
        // And again when nothing has changed since.
        let_go_of_the_log(&mut node);
        let image = node.disk.image();
        assert_eq!(Node::open(image).unwrap().marks(), expected);
    }
}

/// Nothing is written to a shard but its marks: the log must not wait for it for ever.
#[test]
fn marks_alone_do_not_hold_the_log() {
    let mut node = Node::new();
    node.set_marks(1, marks(5)).unwrap();
    node.sync();
    let before = segments(&node.disk.image());
    for round in 1..1000 {
        node.merge(u8::try_from(round % 20 * 2).unwrap(), record(round, Some(2))).unwrap();
        node.sync();
        node.apply_once();
        node.stepped.steps.tick().unwrap();
        node.route();
    }
    let after = segments(&node.disk.image());
    assert!(!before.iter().any(|name| after.contains(name)), "{before:?} {after:?}");
    assert_eq!(Node::open(node.disk.image()).unwrap().marks(), [(1, marks(5))].into());
}

/// With interval durability too a power failure takes no mark and no damage that was answered.
#[test]
fn marks_and_damage_are_synced_whatever_the_durability() {
    let mut node = Node::new();
    node.merge(ROTTEN, record(1, Some(1))).unwrap();
    node.sync();
    node.apply_all();
    node.stepped.steps.checkpoint().unwrap();
    let image = rotten(&node);
    let disk = CrashDisk::from_image(image.clone());
    let durability = Durability::Interval(std::time::Duration::MAX);
    let mut node = Node::open_on(disk.clone(), &Options { durability, ..small_options() }).unwrap();
    node.set_marks(3, marks(4)).unwrap();
    node.sync();
    let survivor = after_power_failure(image.clone(), &disk, Survival::Nothing);
    assert_eq!(Node::open(survivor).unwrap().marks(), [(3, marks(4))].into());
    node.merge(ROTTEN, record(2, Some(2))).unwrap();
    node.sync();
    let survivor = after_power_failure(image, &disk, Survival::Nothing);
    assert_eq!(Node::open(survivor).unwrap().damaged(), [key(ROTTEN)]);
}

/// A life in which a record has rotten, is found, is stored over and is healed.
struct Rot {
    /// What it began with.
    image: Image,
    trace: Vec<Operation>,
    /// How many operations were done: when a mark was durable, before the healing, and when that was.
    marked: usize,
    healing: usize,
    healed: usize,
}

impl Rot {
    fn live() -> Self {
        let mut node = Node::new();
        for number in 0..10 {
            node.merge(number, record(1, Some(1))).unwrap();
        }
        node.sync();
        let_go_of_the_log(&mut node);
        let image = rotten(&node);
        let mut node = Node::open(image.clone()).unwrap();
        let over = node.merge(ROTTEN, record(2, Some(2))).unwrap();
        assert_eq!(node.sync()[&over].1, Ok(Done::Merged(Merged::OverDamaged)));
        let marked = node.disk.operations();
        node.apply_all();
        assert_eq!(node.get(ROTTEN), Ok(Some(record(2, Some(2)))), "what can be read is told");
        let_go_of_the_log(&mut node);
        node.merge(ROTTEN, record(3, Some(3))).unwrap();
        node.sync();
        assert_eq!(node.damaged(), [key(ROTTEN)]);
        let healing = node.disk.operations();
        let ticket = node.heal(ROTTEN, Some(record(4, Some(4)))).unwrap();
        assert_eq!(node.sync()[&ticket].1, Ok(Done::Healed));
        let healed = node.disk.operations();
        let_go_of_the_log(&mut node);
        Self { image, trace: node.disk.trace(), marked, healing, healed }
    }

    /// Checks a node that was started from a disk cut after `cut` operations.
    fn judge(&self, node: &mut Node, cut: usize) -> Result<(), String> {
        let is_marked = node.damaged() == [key(ROTTEN)];
        let found = node.get(ROTTEN);
        let is_right = match found {
            // Before it was ever stored over.
            Err(ReadError::Damaged) => cut < self.marked && node.damaged() == [key(ROTTEN)],
            Ok(Some(ref found)) if *found == record(4, Some(4)) => {
                cut >= self.healing && !is_marked
            }
            Ok(Some(_)) => cut < self.healed && is_marked,
            _ => false,
        };
        if is_right { Ok(()) } else { Err(format!("{found:?}, marked: {is_marked}")) }
    }
}

#[test]
fn damage_that_was_stored_over_is_forgotten_by_no_crash() {
    let life = Rot::live();
    let mut replay = Replay::new(life.image.clone());
    let mut starts = 0;
    for (done, operation) in life.trace.iter().enumerate() {
        replay.step(operation);
        let cut = done + 1;
        let moments = [life.marked, life.healing, life.healed];
        if !cut.is_multiple_of(5) && moments.iter().all(|moment| cut.abs_diff(*moment) > 20) {
            continue;
        }
        let thousandths = u16::try_from(cut * 389 % 1000).unwrap();
        for survival in [
            Survival::Nothing,
            Survival::Everything,
            Survival::TornLast(thousandths),
            Survival::Scattered(cut as u64),
        ] {
            let mut node = Node::open(replay.crash(survival)).unwrap();
            starts += 1;
            if let Err(problem) = life.judge(&mut node, cut) {
                panic!("cut after {cut} of {}, {survival:?}: {problem}", life.trace.len());
            }
        }
    }
    assert!(starts > 100, "{starts}");
}
