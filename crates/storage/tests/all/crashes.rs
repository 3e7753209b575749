//! One scripted life of a node, cut at every operation that reached its disk.
//!
//! After every cut, whatever survives of what was not synced: the node starts, nothing acknowledged
//! is missing (`ACK_AFTER_STORE`, `HINT_NOT_LOST`), nothing is there that nobody wrote or that was forgotten, and the
//! same again after a crash in the middle of that start.

use std::collections::BTreeMap;
use std::time::Duration;

use paravon_model::{Hlc, Record};
use paravon_storage::conformance::record;
use paravon_storage::crash_disk::{CrashDisk, Faults, Image, Operation, Replay, Survival};
use paravon_storage::{Done, Durability, Error, Merged, Options};

use crate::hint_history::HintHistory;
use crate::mark_history::MarkHistory;
use crate::record_history::RecordHistory;
use crate::rig::{Node, small_options};

const KEYS: u8 = 24;

/// So few hints that some do not fit.
fn life_options() -> Options {
    Options { hint_bytes: 1200, ..small_options() }
}

/// What a life leaves for judging it.
struct Life {
    trace: Vec<Operation>,
    /// By key: each acknowledged record with the operations done by then.
    acked: BTreeMap<u8, Vec<(usize, Record)>>,
    /// By key: everything ever sent, acknowledged or not.
    sent: BTreeMap<u8, Vec<Record>>,
    hints: HintHistory,
    /// Of keys that are forgotten now and then.
    forgetful: RecordHistory,
    marks: MarkHistory,
    ceilings: Vec<(usize, Hlc)>,
    documents: Vec<(usize, Vec<u8>)>,
}

impl Life {
    /// Lives through merges, slices, checkpoints, ceilings and documents on an empty disk.
    fn live(rounds: u64, faults: Faults) -> Self {
        let disk = CrashDisk::new();
        disk.set_faults(faults);
        let mut node = Node::open_on(disk, &life_options()).unwrap();
        let mut life = Self {
            trace: Vec::new(),
            acked: BTreeMap::new(),
            sent: BTreeMap::new(),
            hints: HintHistory::default(),
            forgetful: RecordHistory::default(),
            marks: MarkHistory::default(),
            ceilings: Vec::new(),
            documents: vec![(node.disk.operations(), b"founding document".to_vec())],
        };
        for round in 1..=rounds {
            life.round(&mut node, round);
        }
        life.trace = node.disk.trace();
        life
    }

    fn round(&mut self, node: &mut Node, round: u64) {
        let mut tickets = BTreeMap::new();
        for i in 0..=round % 5 {
            let key = u8::try_from((round * 7 + i * 5) % u64::from(KEYS)).unwrap();
            let value = (!round.is_multiple_of(9)).then_some(u8::try_from(round % 251).unwrap());
            let record = record(round, value);
            self.sent.entry(key).or_default().push(record.clone());
            tickets.insert(node.merge(key, record.clone()).unwrap(), (key, record));
        }
        if round.is_multiple_of(11) {
            node.stepped.journal.raise_ceiling(Hlc::new(round * 100, 0));
        }
        self.hints.queue(node, round);
        self.forgetful.queue(node, round);
        self.marks.queue(node, round);
        let answers = node.sync();
        let now = node.disk.operations();
        self.hints.note(node, now);
        self.forgetful.note(&answers, now);
        self.marks.note(node, &answers, now);
        for (ticket, (key, record)) in tickets {
            let done = answers[&ticket].1.unwrap();
            assert!(matches!(done, Done::Merged(Merged::Applied { .. })));
            self.acked.entry(key).or_default().push((now, record));
        }
        self.ceilings.extend(node.ceilings.drain(..).map(|(hlc, _)| (now, hlc)));
        node.apply_once();
        match round % 16 {
            4 => node.apply_all(),
            8 => node.stepped.steps.checkpoint().unwrap(),
            12 => {
                let document = format!("document {round}").into_bytes();
                node.stepped.documents.replace(document.clone()).unwrap();
                self.documents.push((node.disk.operations(), document));
            }
            _ => node.stepped.steps.tick().unwrap(),
        }
        node.route();
    }

    /// Checks a node that was started from a disk cut after `cut` operations.
    fn judge(&self, node: &mut Node, cut: usize) -> Result<(), String> {
        for key in 0..KEYS {
            let found = node.get(key).map_err(|e| format!("key {key}: {e}"))?;
            let acked = self.acked.get(&key).into_iter().flatten();
            let owed = acked.filter(|(at, _)| *at <= cut).map(|(_, record)| record).next_back();
            match (&found, owed) {
                (None, Some(owed)) => return Err(format!("key {key}: {owed:?} is lost")),
                (Some(found), Some(owed)) if found.version < owed.version => {
                    return Err(format!("key {key}: {owed:?} is lost, there is {found:?}"));
                }
                _ => {}
            }
            let sent = self.sent.get(&key).into_iter().flatten();
            if let Some(found) = found
                && !sent.into_iter().any(|sent| *sent == found)
            {
                return Err(format!("key {key}: nobody sent {found:?}"));
            }
        }
        self.hints.judge(node, cut)?;
        self.forgetful.judge(node, cut)?;
        self.marks.judge(node, cut)?;
        let recovered = &node.stepped.recovered;
        let owed = self.ceilings.iter().filter(|(at, _)| *at <= cut).map(|(_, hlc)| *hlc).max();
        if owed > Some(recovered.ceiling) {
            return Err(format!("ceiling {owed:?} is lost: {:?}", recovered.ceiling));
        }
        // The latest that was confirmed, or the one that was under way.
        let confirmed = self.documents.partition_point(|(at, _)| *at <= cut);
        let possible = &self.documents[confirmed.saturating_sub(1)..];
        if !possible.iter().take(2).any(|(_, document)| *document == recovered.document) {
            return Err(format!("document {:?}", recovered.document.escape_ascii()));
        }
        Ok(())
    }

    /// Starts from what survives a crash after `cut` operations, and judges.
    fn restart(&self, image: Image, cut: usize) -> Result<Node, String> {
        let disk = CrashDisk::from_image(image);
        let mut node =
            Node::open_on(disk, &life_options()).map_err(|error| format!("no start: {error}"))?;
        self.judge(&mut node, cut)?;
        Ok(node)
    }
}

fn survivals(cut: usize) -> [Survival; 4] {
    let seed = u64::try_from(cut).unwrap();
    let thousandths = u16::try_from(seed * 389 % 1000).unwrap();
    [
        Survival::Nothing,
        Survival::Everything,
        Survival::TornLast(thousandths),
        Survival::Scattered(seed),
    ]
}

#[test]
fn every_cut_of_a_life_keeps_what_was_acknowledged() {
    let life = Life::live(100, Faults::default());
    assert!(life.hints.had_everything());
    assert!(life.forgetful.had_everything());
    assert!(life.marks.had_everything());
    let mut replay = Replay::new(Image::default());
    for (done, operation) in life.trace.iter().enumerate() {
        replay.step(operation);
        let cut = done + 1;
        for survival in survivals(cut) {
            if let Err(problem) = life.restart(replay.crash(survival), cut) {
                panic!("cut after {cut} of {}, {survival:?}: {problem}", life.trace.len());
            }
        }
    }
}

/// A crash in the middle of recovery, at every operation of it, for some cuts of the life.
#[test]
fn every_cut_of_a_recovery_keeps_it_too() {
    let life = Life::live(60, Faults::default());
    let mut replay = Replay::new(Image::default());
    for (done, operation) in life.trace.iter().enumerate() {
        replay.step(operation);
        let cut = done + 1;
        if !cut.is_multiple_of(23) {
            continue;
        }
        for survival in survivals(cut) {
            let image = replay.crash(survival);
            let node = life.restart(image.clone(), cut).unwrap();
            let mut second = Replay::new(image);
            for (again, operation) in node.disk.trace().iter().enumerate() {
                second.step(operation);
                for survival in [Survival::Nothing, Survival::Scattered(again as u64)] {
                    if let Err(problem) = life.restart(second.crash(survival), cut) {
                        panic!("cut after {cut}, then {again}, {survival:?}: {problem}");
                    }
                }
            }
        }
    }
}

/// Writes three batches behind a finished life, none of which is synced, and loses the first.
fn three_batches_of_which_the_first_is_lost(life: &Life, faults: Faults) -> Image {
    let mut replay = Replay::new(Image::default());
    life.trace.iter().for_each(|operation| replay.step(operation));
    let durable = replay.crash(Survival::Nothing);
    let disk = CrashDisk::from_image(durable.clone());
    let durability = Durability::Interval(Duration::MAX);
    let mut node = Node::open_on(disk, &Options { durability, ..small_options() }).unwrap();
    node.disk.set_faults(faults);
    for round in 900..903 {
        node.merge(1, record(round, Some(9))).unwrap();
        if faults.lying_sync {
            node.stepped.journal.raise_ceiling(Hlc::new(round, 0));
        }
        node.sync();
    }
    let is_batch = |operation: &Operation| matches!(operation, Operation::Write { data, .. } if data.starts_with(b"PVB1"));
    let trace = node.disk.trace();
    let lost = trace.iter().position(is_batch).unwrap();
    assert_eq!(trace.iter().filter(|operation| is_batch(operation)).count(), 3);
    let mut replay = Replay::new(durable);
    trace.iter().enumerate().filter(|(at, _)| *at != lost).for_each(|(_, op)| replay.step(op));
    replay.crash(Survival::Everything)
}

/// What was cut off must not come back once something newer stands in its place.
#[test]
fn a_batch_that_was_cut_off_never_comes_back() {
    let mut life = Life::live(20, Faults::default());
    let cut = life.trace.len();
    let before = three_batches_of_which_the_first_is_lost(&life, Faults::default());
    let mut node = Node::open(before.clone()).unwrap();
    assert!(node.stepped.recovered.torn);
    life.judge(&mut node, cut).unwrap();
    // Something shorter takes the place; then the power fails.
    life.sent.entry(2).or_default().push(record(800, Some(8)));
    node.merge(2, record(800, Some(8))).unwrap();
    assert_eq!(node.sync().len(), 1);
    let mut replay = Replay::new(before);
    node.disk.trace().iter().for_each(|operation| replay.step(operation));
    let mut node = life.restart(replay.crash(Survival::Nothing), cut).unwrap();
    assert_eq!(node.get(2).unwrap(), Some(record(800, Some(8))));
    assert!(!node.stepped.recovered.torn);
}

/// The same hole, where the disk had said that everything before it was synced: that is no torn tail.
#[test]
fn a_hole_in_what_was_said_to_be_durable_stops_the_start() {
    let life = Life::live(20, Faults::default());
    let faults = Faults { lying_sync: true, ..Faults::default() };
    let image = three_batches_of_which_the_first_is_lost(&life, faults);
    assert!(matches!(Node::open(image), Err(Error::DamagedLog { .. })));
}

/// The last batch is gone, and no later batch says that it had been durable; but redb does.
#[test]
fn a_log_that_ends_before_what_redb_holds_stops_the_start() {
    let mut node = Node::new();
    for round in 1..4 {
        node.merge(2, record(round, Some(1))).unwrap();
        node.sync();
    }
    node.apply_all();
    node.stepped.steps.checkpoint().unwrap();
    let mut image = node.disk.image();
    let log = image.files().into_iter().find(|name| name.ends_with(".log")).unwrap();
    image.corrupt(&log, 2 * 4096 + 60, 1);
    let before = image.read(&log);
    let disk = CrashDisk::from_image(image);
    match Node::open_on(disk.clone(), &small_options()).map(|_| ()) {
        Err(Error::DamagedLog { path, offset: 8192 }) => assert!(path.ends_with(&log)),
        other => panic!("{other:?}"),
    }
    assert_eq!(disk.image().read(&log), before, "nothing was cut");
}

/// The checks above can fail: a disk that lies about syncs loses what was acknowledged.
#[test]
fn a_disk_that_lies_about_syncs_is_caught() {
    let life = Life::live(60, Faults { lying_sync: true, ..Faults::default() });
    let mut replay = Replay::new(Image::default());
    let mut caught = 0;
    for (done, operation) in life.trace.iter().enumerate() {
        replay.step(operation);
        if done % 10 == 0 {
            let image = replay.crash(Survival::Nothing);
            caught += usize::from(life.restart(image, done + 1).is_err());
        }
    }
    assert!(caught > 0);
}

/// One batch carries two groups of a shard; between their completions the table is frozen, applied
/// and checkpointed. The position of that must not cover the second group.
#[test]
fn a_checkpoint_between_two_groups_of_one_batch_loses_neither() {
    let mut node = Node::new();
    node.merge(2, record(1, Some(1))).unwrap();
    node.submit();
    node.merge(4, record(2, Some(2))).unwrap();
    node.submit();
    node.stepped.steps.commit();
    node.route_first();
    node.stepped.stores[0].flush();
    while node.stepped.steps.apply(0) {}
    node.stepped.steps.checkpoint().unwrap();
    let mut replay = Replay::new(Image::default());
    node.disk.trace().iter().for_each(|operation| replay.step(operation));
    let mut node = Node::open(replay.crash(Survival::Nothing)).unwrap();
    assert_eq!(node.get(2).unwrap(), Some(record(1, Some(1))));
    assert_eq!(node.get(4).unwrap(), Some(record(2, Some(2))));
}

/// The process dies, the machine does not: what the next start finds may be in the page cache alone.
/// Once it is read, a power failure must not lose it.
#[test]
fn what_a_start_found_survives_a_later_power_failure() {
    let disk = CrashDisk::new();
    let durability = Durability::Interval(Duration::MAX);
    let options = Options { durability, ..small_options() };
    let mut node = Node::open_on(disk.clone(), &options).unwrap();
    node.merge(2, record(1, Some(1))).unwrap();
    node.sync();
    // Not dropped: a killed process closes nothing.
    std::mem::forget(node);
    let mut node = Node::open_on(disk.clone(), &options).unwrap();
    assert_eq!(node.get(2).unwrap(), Some(record(1, Some(1))));
    let mut replay = Replay::new(Image::default());
    disk.trace().iter().for_each(|operation| replay.step(operation));
    let mut node = Node::open(replay.crash(Survival::Nothing)).unwrap();
    assert_eq!(node.get(2).unwrap(), Some(record(1, Some(1))));
}

/// The process dies between founding the directory and making its name durable.
#[test]
fn a_founding_that_was_cut_short_is_durable_after_the_next_start() {
    let first = Node::new();
    let mut replay = Replay::new(Image::default());
    for operation in first.disk.trace() {
        replay.step(&operation);
        if matches!(&operation, Operation::Rename { to, .. } if to == "data") {
            break;
        }
    }
    let mut node = Node::open(replay.crash(Survival::Everything)).unwrap();
    assert!(!node.stepped.recovered.founded);
    node.merge(2, record(1, Some(1))).unwrap();
    assert_eq!(node.sync().len(), 1);
    node.disk.trace().iter().for_each(|operation| replay.step(operation));
    let mut node = Node::open(replay.crash(Survival::Nothing)).unwrap();
    assert_eq!(node.get(2).unwrap(), Some(record(1, Some(1))));
}

/// Two starts without a crash count up and change nothing.
#[test]
fn a_start_counts_and_keeps_everything() {
    let life = Life::live(40, Faults::default());
    let mut replay = Replay::new(Image::default());
    life.trace.iter().for_each(|operation| replay.step(operation));
    let mut image = replay.crash(Survival::Everything);
    for start in 2..5 {
        let mut node = life.restart(image, life.trace.len()).unwrap();
        assert_eq!(node.stepped.recovered.start_counter, start);
        assert!(!node.stepped.recovered.founded);
        node.apply_all();
        node.stepped.steps.checkpoint().unwrap();
        assert!(node.stepped.stores.iter_mut().all(|store| store.is_empty() == Ok(false)));
        image = node.disk.image();
    }
}
