//! Flipped bits, cut files and missing files: an error that says what to do, a quarantine, or `Damaged`,
//! never a panic and never a wrong value (`NO_SILENT_ROT`).

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use paravon_model::{Hlc, Marks, Record};
use paravon_storage::conformance::record;
use paravon_storage::crash_disk::{CrashDisk, Image};
use paravon_storage::{Error, Options, ReadError};

use crate::rig::{Node, small_options};

const KEYS: u8 = 40;

/// Keys below this were written before the only checkpoint of a life.
const CHECKPOINTED: u8 = KEYS / 2 + 1;

/// A disk after a life: some records in redb alone, some in the log alone.
fn lived() -> (Image, Vec<Record>) {
    let mut node = Node::new();
    let mut expected = Vec::new();
    for key in 0..KEYS {
        expected.push(record(u64::from(key) + 1, Some(key)));
        node.merge(key, expected[usize::from(key)].clone()).unwrap();
        let closed = Hlc::new(u64::from(key), 0);
        node.set_marks(u32::from(key) % 16, Marks { closed, ..Marks::default() }).unwrap();
        node.sync();
        if key + 1 == CHECKPOINTED {
            node.apply_all();
            node.stepped.steps.checkpoint().unwrap();
        }
    }
    // An idle second: the log is sealed.
    for _ in 0..60 {
        node.stepped.steps.tick().unwrap();
    }
    (node.disk.image(), expected)
}

fn files(image: &Image, suffix: &str) -> Vec<String> {
    image.files().into_iter().filter(|name| name.ends_with(suffix)).collect()
}

/// Starts and reads everything: `Ok(true)` where every value is right, `Ok(false)` where some are
/// reported as damaged, or their shard as lost.
fn start_and_read(image: Image, expected: &[Record]) -> Result<bool, Error> {
    start_and_read_all(image, expected, CHECKPOINTED)
}

/// The same where the log need not have the keys below `checkpointed`: no others may be gone with a file.
fn start_and_read_all(image: Image, expected: &[Record], checkpointed: u8) -> Result<bool, Error> {
    let mut node = Node::open(image)?;
    let lost = [0, 1].map(|shard| node.is_lost(shard));
    assert_eq!(
        node.stepped.recovered.quarantined.len(),
        usize::from(lost[0]) + usize::from(lost[1])
    );
    let mut whole = lost == [false; 2];
    for (key, expected) in (0..).zip(expected) {
        match node.get(key) {
            Ok(None) if lost[usize::from(key) % 2] && key < checkpointed => {}
            Ok(found) => assert_eq!(found.as_ref(), Some(expected), "key {key}"),
            Err(ReadError::Damaged | ReadError::Unavailable) => whole = false,
        }
    }
    Ok(whole)
}

#[test]
fn a_flipped_bit_in_the_durable_log_stops_the_start_with_file_and_offset() {
    let (image, expected) = lived();
    let name = files(&image, ".log").into_iter().next().unwrap();
    let mut stopped = 0;
    for name in files(&image, ".log") {
        let bytes = image.read(&name).unwrap();
        for at in (0..bytes.len()).filter(|at| at % 4096 < 200 && bytes[*at] != 0).step_by(3) {
            let mut image = image.clone();
            image.corrupt(&name, at as u64, 1 << (at % 8));
            match start_and_read(image, &expected) {
                Ok(whole) => assert!(whole, "{name} {at}"),
                Err(Error::DamagedLog { path, offset }) => {
                    stopped += 1;
                    assert!(path.ends_with(&name));
                    assert_eq!(offset, at as u64 / 4096 * 4096);
                }
                Err(other) => panic!("{name} {at}: {other}"),
            }
        }
    }
    assert!(stopped > 100, "{name}: only {stopped} flips were noticed");
}

#[test]
fn no_flipped_bit_in_a_redb_file_gives_a_wrong_value_or_a_panic() {
    let (image, expected) = lived();
    let (mut noticed, mut tried) = (0, 0);
    for name in files(&image, ".redb") {
        let bytes = image.read(&name).unwrap();
        // Everything that is not zero, thinned out, and a few of the zeros.
        let picked =
            (0..bytes.len()).filter(|at| bytes[*at] != 0 && at % 23 == 0 || at % 20_011 == 0);
        for at in picked {
            let mut image = image.clone();
            image.corrupt(&name, at as u64, 1 << (at % 8));
            tried += 1;
            let outcome = catch_unwind(AssertUnwindSafe(|| start_and_read(image, &expected)));
            match outcome.unwrap_or_else(|_| panic!("{name} {at}: wrong value or panic")) {
                Ok(whole) => noticed += usize::from(!whole),
                Err(Error::NewerFormat { .. }) => noticed += 1,
                Err(other) => panic!("{name} {at}: {other}"),
            }
        }
    }
    assert!(noticed > 200, "only {noticed} of {tried} flips were noticed");
}

#[test]
fn a_bit_that_flips_while_the_node_runs_is_noticed_when_its_page_is_read() {
    let (image, expected) = lived();
    // Without a cache every read reaches the disk.
    let options = Options { cache_bytes: 0, ..small_options() };
    let mut noticed = 0;
    for name in files(&image, ".redb") {
        let bytes = image.read(&name).unwrap();
        for at in (0..bytes.len()).filter(|at| bytes[*at] != 0).step_by(97) {
            let disk = CrashDisk::from_image(image.clone());
            let mut node = Node::open_on(disk.clone(), &options).unwrap();
            disk.corrupt(&name, at as u64, 1 << (at % 8));
            for (key, expected) in (0..).zip(&expected) {
                match node.get(key) {
                    Ok(found) => assert_eq!(found.as_ref(), Some(expected), "{name} {at}"),
                    Err(ReadError::Damaged | ReadError::Unavailable) => noticed += 1,
                }
            }
        }
    }
    assert!(noticed > 100, "only {noticed} reads noticed anything");
}

#[test]
fn a_file_that_was_cut_short_is_an_error_and_never_an_empty_store() {
    let (image, expected) = lived();
    for name in image.files() {
        let (mut quarantined, is_shard) = (0, name.ends_with(".redb"));
        let len = image.read(&name).unwrap().len() as u64;
        for keep in [0, 1, len / 3, len / 2, len - 1] {
            let mut image = image.clone();
            image.truncate(&name, keep);
            match start_and_read(image, &expected) {
                Ok(false) if is_shard => quarantined += 1,
                Ok(whole) => assert!(whole, "{name} cut to {keep}"),
                Err(Error::LostMarks { path }) => assert!(path.ends_with(&name)),
                Err(Error::DamagedLog { .. } | Error::Damaged { .. }) => {}
                Err(other) => panic!("{name} cut to {keep}: {other}"),
            }
        }
        assert!(!is_shard || quarantined > 2, "{name}: {quarantined}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let (image, _) = lived();
    let needed = ["data/format", "data/node.state", "data/shard-00.redb", "data/shard-01.redb"];
    let marks = ["data/shard-00.marks", "data/shard-01.marks"];
    for name in marks {
        let mut image = image.clone();
        image.remove(name);
        match Node::open(image).map(|_| ()) {
            Err(error @ Error::LostMarks { .. }) => {
                assert!(error.to_string().contains("admin replace"), "{error}");
                assert!(error.to_string().contains(name), "{error}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    let first_segment = files(&image, ".log").into_iter().next().unwrap();
    for name in needed.into_iter().chain([first_segment.as_str()]) {
        let mut image = image.clone();
        image.remove(name);
        match Node::open(image).map(|_| ()) {
            Err(Error::Missing { path }) => assert!(path.ends_with(name)),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// A shard's file of an earlier time is whole, but what it lacks is gone from the log.
#[test]
fn an_older_copy_of_one_shard_is_quarantined() {
    let mut node = Node::new();
    let mut older = None;
    for round in 1..200 {
        node.merge(u8::try_from(round % 40).unwrap(), record(round, Some(1))).unwrap();
        node.sync();
        if round % 50 == 0 {
            node.apply_all();
            node.stepped.steps.checkpoint().unwrap();
            older.get_or_insert_with(|| node.disk.image());
        }
    }
    let (image, older) = (node.disk.image(), older.unwrap());
    for name in files(&image, ".redb") {
        let mut image = image.clone();
        image.restore(&name, &older);
        let mut node = Node::open(image).unwrap();
        let set_aside = format!("{name}.quarantined-1");
        assert!(node.stepped.recovered.quarantined[0].ends_with(&set_aside));
        assert_eq!(
            [0, 1].map(|shard| node.is_lost(shard)),
            [name.contains("00"), name.contains("01")]
        );
        assert!(node.disk.image().read(&set_aside).is_some());
    }
    assert!(Node::open(image).unwrap().stepped.recovered.quarantined.is_empty());
}

/// What a file of marks says was promised, so neither rot in it nor an older copy may pass for it.
#[test]
fn a_file_of_marks_that_is_rotten_or_older_stops_the_start() {
    let (image, expected) = lived();
    let mut node = Node::open(image.clone()).unwrap();
    node.set_marks(0, Marks::default()).unwrap();
    node.set_marks(1, Marks::default()).unwrap();
    node.sync();
    node.apply_all();
    node.stepped.steps.checkpoint().unwrap();
    let newer = node.disk.image();
    assert_eq!(files(&newer, ".marks").len(), 2);
    for name in files(&newer, ".marks") {
        for at in 0..newer.read(&name).unwrap().len() {
            let mut image = newer.clone();
            image.corrupt(&name, at as u64, 1 << (at % 8));
            assert!(matches!(Node::open(image), Err(Error::LostMarks { .. })), "{name} {at}");
        }
        let mut older = newer.clone();
        older.restore(&name, &image);
        assert!(matches!(Node::open(older), Err(Error::LostMarks { .. })), "{name}");
    }
    start_and_read(newer, &expected).unwrap();
}

/// redb's header says which of its two states counts, and no checksum covers that.
#[test]
fn no_flipped_bit_in_the_header_of_a_redb_file_brings_an_older_state_back() {
    let mut node = Node::new();
    let mut expected = BTreeMap::new();
    for round in 1..=150 {
        let key = u8::try_from(round % u64::from(KEYS)).unwrap();
        expected.insert(key, record(round, Some(1)));
        node.merge(key, record(round, Some(1))).unwrap();
        node.sync();
        if round % 25 == 0 {
            node.apply_all();
            node.stepped.steps.checkpoint().unwrap();
        }
    }
    let (image, expected) = (node.disk.image(), expected.into_values().collect::<Vec<_>>());
    for bit in 0..320 * 8 {
        let mut image = image.clone();
        image.corrupt("data/shard-00.redb", bit / 8, 1 << (bit % 8));
        match start_and_read_all(image, &expected, KEYS) {
            // Quarantined or as it was.
            Ok(_) => {}
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
}
