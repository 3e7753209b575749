//! What trims give back, and what they never lose.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use paravon_model::Ordinal;

use super::*;
use crate::conformance::{key, record};
use crate::crash_disk::{CrashDisk, Faults, Image, Replay, Survival};
use crate::disk::Disk;
use crate::engine::filled::{fill, founded, rows};
use crate::hint::HintSlot;
use crate::position::Position;

/// Trims until no more is due; how often.
fn trim_all(engine: &Engine) -> u32 {
    let mut trims = 0;
    while engine.wants_trim() {
        engine.trim().unwrap();
        trims += 1;
        assert!(trims < 1000, "no end");
    }
    trims
}

fn assert_small(disk: &CrashDisk, empty: u64) {
    let left = disk.allocated();
    assert!(2 * left <= 3 * empty, "{left}, {empty} when it was empty");
}

#[test]
fn a_file_of_which_all_was_removed_becomes_as_small_as_an_empty_one_at_once() {
    for count in [20_000, 60_000] {
        let disk = CrashDisk::new();
        let engine = founded(&disk);
        let empty = disk.allocated();
        assert!(!engine.wants_trim());
        fill(&engine, 0..count, &Some(record(1, Some(1))));
        assert!(!engine.wants_trim(), "nothing was removed");
        assert!(disk.allocated() > 3 * empty);
        fill(&engine, 0..count, &None);
        assert_eq!(trim_all(&engine), 2, "one that cuts, and one that finds nothing to do");
        assert_small(&disk, empty);
        fill(&engine, 0..10, &Some(record(2, Some(2))));
        fill(&engine, 10..20, &None);
        assert!(!engine.wants_trim(), "nothing was there to be removed");
        drop(engine);
        let (engine, _) = Engine::open(&disk, "shard", 1 << 20).unwrap();
        assert_eq!(rows(&engine), 10);
    }
}

/// A cut of the power at every operation of it.
#[test]
fn rows_that_stay_all_over_the_file_are_moved_and_no_crash_loses_one() {
    let disk = CrashDisk::new();
    let engine = founded(&disk);
    let empty = disk.allocated();
    fill(&engine, 0..20_000, &Some(record(1, Some(1))));
    fill(&engine, (0..20_000).filter(|number| number % 100 > 0), &None);
    engine.checkpoint(Position(1)).unwrap();
    disk.sync_dir("").unwrap();
    let before = disk.operations();
    assert_eq!(trim_all(&engine), 2);
    assert_small(&disk, empty);
    assert_eq!(rows(&engine), 200);
    let mut replay = Replay::new(Image::default());
    let mut lengths = BTreeSet::new();
    for (done, operation) in disk.trace().iter().enumerate() {
        replay.step(operation);
        if done < before {
            continue;
        }
        let survivals = [Survival::Nothing, Survival::Everything, Survival::Scattered(done as u64)];
        for survival in survivals {
            let disk = CrashDisk::from_image(replay.crash(survival));
            lengths.insert(disk.allocated());
            let (engine, _) = Engine::open(&disk, "shard", 1 << 20).unwrap();
            assert_eq!(rows(&engine), 200, "{done}, {survival:?}");
            trim_all(&engine);
            assert_small(&disk, empty);
        }
    }
    assert!(lengths.len() > 1, "before and after the cut: {lengths:?}");
}

#[test]
fn a_view_puts_a_compaction_off_and_is_not_disturbed() {
    let disk = CrashDisk::new();
    let engine = founded(&disk);
    let empty = disk.allocated();
    fill(&engine, 0..20_000, &Some(record(1, Some(1))));
    let view = engine.view().unwrap();
    fill(&engine, 0..20_000, &None);
    let before = disk.operations();
    for _ in 0..3 * VAIN_TRIMS {
        engine.trim().unwrap();
        assert!(engine.wants_trim());
    }
    assert_eq!(disk.operations(), before, "what does not help is not paid for");
    let mut seen = 0;
    let visit = |_: &[u8], _: &[u8]| {
        seen += 1;
        ControlFlow::Continue(())
    };
    engine.visit_records(&view, Bound::Unbounded, visit).unwrap();
    assert_eq!(seen, 20_000);
    drop(view);
    trim_all(&engine);
    assert_small(&disk, empty);
}

#[test]
fn a_full_disk_is_given_space_back_and_asked_for_none() {
    let disk = CrashDisk::new();
    let engine = founded(&disk);
    let empty = disk.allocated();
    fill(&engine, 0..20_000, &Some(record(1, Some(1))));
    fill(&engine, 20..20_000, &None);
    disk.set_faults(Faults { capacity: Some(disk.allocated()), ..Faults::default() });
    trim_all(&engine);
    assert_small(&disk, empty);
    assert_eq!(rows(&engine), 20);
    fill(&engine, 0..20, &Some(record(2, Some(2))));
    assert!(!engine.is_broken());
}

#[test]
fn a_disk_that_fails_under_a_compaction_breaks_the_engine_and_loses_no_row() {
    for fault in 0.. {
        let disk = CrashDisk::new();
        let engine = founded(&disk);
        fill(&engine, 0..20_000, &Some(record(1, Some(1))));
        fill(&engine, 20..20_000, &None);
        engine.checkpoint(Position(1)).unwrap();
        disk.set_faults(Faults { fail_sync: Some(fault), ..Faults::default() });
        let trimmed = engine.trim();
        if disk.faults().fail_sync.is_some() {
            assert_eq!(trimmed, Ok(()));
            assert!(fault > 5, "{fault} syncs");
            break;
        }
        assert_eq!(trimmed, Err(EngineError::Broken), "sync {fault}");
        assert!(engine.is_broken());
        assert!(engine.take_failure().is_some());
        drop(engine);
        let disk = CrashDisk::from_image(disk.image());
        let (engine, _) = Engine::open(&disk, "shard", 1 << 20).unwrap();
        assert_eq!(rows(&engine), 20, "sync {fault}");
    }
}

#[test]
fn what_helps_nothing_is_not_done_for_ever() {
    let disk = CrashDisk::new();
    let engine = founded(&disk);
    fill(&engine, 0..20_000, &Some(record(1, Some(1))));
    fill(&engine, 0..1, &None);
    assert_eq!(trim_all(&engine), VAIN_TRIMS);
    assert_eq!(rows(&engine), 19_999);
}

#[test]
fn an_engine_rests_when_nothing_was_applied_between_two_questions() {
    let engine = founded(&CrashDisk::new());
    assert!(engine.rests());
    fill(&engine, 0..1, &None);
    assert!(!engine.rests());
    assert!(engine.rests());
    engine.apply_hints(std::iter::empty(), None, Durability::None).unwrap();
    assert!(!engine.rests());
}

#[test]
fn a_hint_that_goes_makes_a_trim_due_and_one_that_comes_does_not() {
    let engine = founded(&CrashDisk::new());
    fill(&engine, 0..20_000, &Some(record(1, Some(1))));
    let (hash, key) = key(1);
    let slot = HintSlot::new(Ordinal(3), hash, &key);
    let apply = |state| {
        let slots = [(&slot, &state)].into_iter();
        engine.apply_hints(slots, None, Durability::None).unwrap();
        engine.wants_trim()
    };
    assert!(!apply(None));
    assert!(!apply(Some(record(1, Some(1)))));
    assert!(apply(None));
}

#[test]
fn a_file_that_a_killed_process_left_mostly_free_is_trimmed_at_the_next_start() {
    let disk = CrashDisk::new();
    let engine = founded(&disk);
    let empty = disk.allocated();
    fill(&engine, 0..20_000, &Some(record(1, Some(1))));
    fill(&engine, 0..20_000, &None);
    engine.checkpoint(Position(1)).unwrap();
    let disk = CrashDisk::from_image(disk.image());
    let (engine, _) = Engine::open(&disk, "shard", 1 << 20).unwrap();
    assert!(disk.allocated() > 3 * empty);
    trim_all(&engine);
    assert_small(&disk, empty);
}
