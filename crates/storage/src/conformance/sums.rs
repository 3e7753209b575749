//! What every store must do with the sums that it keeps, and with scrubbing.

use std::collections::BTreeMap;

use paravon_model::{Digest, Record};
use paravon_ring::{HashArc, Partition, Shift, record_hash, shard_of};

use super::forgets::forget;
use super::{Rig, key, merge, record};
use crate::page::PageLimit;
use crate::store::Scrubbed;

/// The seed of the cluster. Other than that of the keys' hashes: nothing is to take the one for the other.
const SEED: u64 = 11;

/// So few partitions that a dozen keys meet in them.
const SHIFT: u8 = 3;

/// Runs every check of sums on rigs that `fresh` makes.
pub(super) fn check<R: Rig>(fresh: &mut impl FnMut() -> R) {
    an_empty_store_is_summed_up_and_follows_what_is_durable(&mut fresh());
    what_was_there_before_is_summed_up_page_by_page(fresh);
    a_forgotten_key_takes_the_sums_along_until_they_are_read(&mut fresh());
    changes_while_a_partition_is_read_are_in_its_sums(fresh);
    a_scrub_reads_everything_once_a_round(&mut fresh());
    before_sums_are_kept_there_are_none(&mut fresh());
    a_ring_of_many_partitions_is_read_in_steps(&mut fresh());
}

fn shift() -> Shift {
    Shift::new(SHIFT).expect("in range")
}

fn partitions() -> impl Iterator<Item = Partition> {
    (0..shift().partitions()).map(Partition)
}

fn is_own(rig: &impl Rig, partition: Partition) -> bool {
    shard_of(partition, rig.shards()) == 0
}

fn own_count(rig: &impl Rig) -> usize {
    partitions().filter(|partition| is_own(rig, *partition)).count()
}

/// Begins to keep sums.
pub(super) fn keep(rig: &mut impl Rig) {
    rig.store().keep_sums(SEED, shift());
}

/// One step; nothing is ever mended.
pub(super) fn scrub(rig: &mut impl Rig, count: usize) -> Scrubbed {
    let limit = PageLimit { count, bytes: u64::MAX };
    let scrubbed = rig.store().scrub(limit).expect("nothing is damaged here");
    assert_eq!(scrubbed.mended, 0, "the sums that were kept are wrong");
    let summed = partitions().filter(|partition| rig.store().digest(*partition).is_some()).count();
    let unsummed = usize::try_from(scrubbed.unsummed).expect("not many");
    // Where no sums are kept none are missing.
    assert!(unsummed + summed == own_count(rig) || (unsummed, summed) == (0, 0), "{scrubbed:?}");
    rig.store().end_batch();
    scrubbed
}

/// Steps to the end of a round.
pub(super) fn scrub_round(rig: &mut impl Rig, count: usize) -> u64 {
    let mut records = 0;
    loop {
        let scrubbed = scrub(rig, count);
        records += scrubbed.records;
        if scrubbed.round {
            return records;
        }
    }
}

/// Compares the sums of each partition with what is to be durable, and gives how many there are.
pub(super) fn compare(rig: &mut impl Rig, durable: &BTreeMap<u8, Record>) -> usize {
    let mut expected: BTreeMap<Partition, Digest> = BTreeMap::new();
    for (number, record) in durable {
        let (hash, key) = key(*number);
        let digest = expected.entry(hash.partition(shift())).or_default();
        let sum = &mut digest.0[hash.sixteenth(shift())];
        *sum = sum.wrapping_add(record_hash(SEED, &key, record));
    }
    let mut summed = 0;
    for partition in partitions() {
        let digest = rig.store().digest(partition);
        summed += usize::from(digest.is_some());
        let expected = expected.get(&partition).copied().unwrap_or_default();
        assert!(digest.is_none_or(|digest| digest == expected), "{partition:?}");
        assert!(digest.is_none() || is_own(rig, partition), "{partition:?} is of another shard");
    }
    assert_eq!(rig.store().digest(Partition(shift().partitions())), None);
    summed
}

/// Compares where all are to be summed up.
pub(super) fn compare_all(rig: &mut impl Rig, durable: &BTreeMap<u8, Record>) {
    assert_eq!(compare(rig, durable), own_count(rig));
}

/// Compares with what is durable as a scan says it.
fn compare_with_scan(rig: &mut impl Rig) -> usize {
    let all = PageLimit { count: usize::MAX, bytes: u64::MAX };
    let found = rig.store().scan(HashArc::ALL, None, all).expect("nothing is damaged here");
    let durable = (0..=u8::MAX).filter_map(|number| {
        let place = key(number);
        let found = found.iter().find(|(hash, key, _)| (*hash, key) == (place.0, &place.1));
        found.map(|(_, _, record)| (number, record.clone()))
    });
    let durable: BTreeMap<u8, Record> = durable.collect();
    assert_eq!(durable.len(), found.len());
    compare(rig, &durable)
}

fn fill(rig: &mut impl Rig, ms: u64) {
    rig.store().flush();
    rig.settle();
    for number in 0..40 {
        merge(rig, 0, number, record(ms, (number % 5 != 0).then_some(number)));
        if number == 15 || number == 30 {
            rig.sync();
            rig.store().flush();
        }
        // One part lies in the file, one is on its way there, and one is in the log alone.
        if number == 15 {
            rig.settle();
        }
    }
    rig.sync();
}

fn an_empty_store_is_summed_up_and_follows_what_is_durable(rig: &mut impl Rig) {
    keep(rig);
    assert_eq!(compare(rig, &BTreeMap::new()), own_count(rig));
    for ms in 1..5 {
        fill(rig, ms);
        assert_eq!(compare_with_scan(rig), own_count(rig));
        for number in (0..40).step_by(3) {
            merge(rig, 0, number, record(ms + 1, Some(200)));
            merge(rig, 0, number, record(ms, Some(1)));
            assert_eq!(compare_with_scan(rig), own_count(rig), "what is queued does not count");
        }
        rig.sync();
        assert_eq!(compare_with_scan(rig), own_count(rig));
    }
    // A key that is healed with something newer, and with nothing newer.
    for (number, ms) in [(1, 9), (2, 1)] {
        let (hash, key) = key(number);
        let healed = rig.store().heal(1, hash, key, Some(record(ms, Some(9))));
        healed.expect("nothing refuses here");
    }
    rig.sync();
    assert_eq!(compare_with_scan(rig), own_count(rig));
    // What is there twice, is too old or comes a second time changes nothing.
    fill(rig, 1);
    assert_eq!(compare_with_scan(rig), own_count(rig));
}

fn what_was_there_before_is_summed_up_page_by_page<R: Rig>(fresh: &mut impl FnMut() -> R) {
    for count in [1, 3, 7, 100] {
        let rig = &mut fresh();
        fill(rig, 1);
        keep(rig);
        assert_eq!(compare_with_scan(rig), 0);
        let mut summed = 0;
        while summed < own_count(rig) {
            scrub(rig, count);
            let now = compare_with_scan(rig);
            assert!(now >= summed);
            summed = now;
        }
        scrub_round(rig, count);
        scrub_round(rig, count);
        assert_eq!(compare_with_scan(rig), own_count(rig));
    }
}

fn a_forgotten_key_takes_the_sums_along_until_they_are_read(rig: &mut impl Rig) {
    keep(rig);
    fill(rig, 1);
    let numbers = (0..40).filter(|number| is_own(rig, key(*number).0.partition(shift())));
    let forgotten = numbers.last().expect("not all are of the other shard");
    let partition = key(forgotten).0.partition(shift());
    forget(rig, 1, forgotten);
    assert_eq!(compare_with_scan(rig), own_count(rig), "it is not durable");
    rig.sync();
    assert_eq!(compare_with_scan(rig), own_count(rig) - 1);
    assert_eq!(rig.store().digest(partition), None);
    merge(rig, 2, forgotten, record(1, Some(1)));
    rig.sync();
    assert_eq!(rig.store().digest(partition), None);
    scrub_round(rig, 5);
    assert_eq!(compare_with_scan(rig), own_count(rig));
    // Forgotten and there again in one group.
    forget(rig, 3, forgotten);
    merge(rig, 4, forgotten, record(1, Some(9)));
    rig.sync();
    assert_eq!(compare_with_scan(rig), own_count(rig) - 1);
    scrub_round(rig, 5);
    assert_eq!(compare_with_scan(rig), own_count(rig));
}

/// After every record that is read, one key changes, before the place that was reached or behind it.
fn changes_while_a_partition_is_read_are_in_its_sums<R: Rig>(fresh: &mut impl FnMut() -> R) {
    for changed in 0..12 {
        let rig = &mut fresh();
        for number in 0..12 {
            merge(rig, 0, number, record(1, Some(1)));
        }
        rig.sync();
        keep(rig);
        let mut ms = 1;
        loop {
            let scrubbed = scrub(rig, 1);
            ms += 1;
            merge(rig, 0, changed, record(ms, Some(2)));
            // A key that is new, and may lie anywhere.
            merge(rig, 0, u8::try_from(20 + ms).expect("few steps"), record(ms, Some(2)));
            rig.sync();
            compare_with_scan(rig);
            if scrubbed.round {
                break;
            }
        }
        assert_eq!(compare_with_scan(rig), own_count(rig));
        scrub_round(rig, 1);
    }
}

fn a_scrub_reads_everything_once_a_round(rig: &mut impl Rig) {
    keep(rig);
    assert_eq!(scrub_round(rig, 1), 0);
    fill(rig, 1);
    for count in [0, 1, 4, 40, 100] {
        assert_eq!(scrub_round(rig, count), 40, "{count}");
    }
    let bytes = |scrubbed: Scrubbed| (scrubbed.records, scrubbed.bytes);
    let limit = PageLimit { count: usize::MAX, bytes: 1 };
    let scrubbed = rig.store().scrub(limit).expect("nothing is damaged here");
    let (_, key) = key(0);
    let own = key.encoded().len() as u64;
    assert!([(1, own), (1, own + 1)].contains(&bytes(scrubbed)), "{scrubbed:?}");
}

fn before_sums_are_kept_there_are_none(rig: &mut impl Rig) {
    fill(rig, 1);
    assert_eq!(scrub_round(rig, 9), 40, "checksums are verified all the same");
    assert_eq!(compare_with_scan(rig), 0);
    // What waits was decided before.
    merge(rig, 1, 1, record(2, Some(2)));
    keep(rig);
    scrub_round(rig, 9);
    assert_eq!(compare_with_scan(rig), own_count(rig));
    rig.sync();
    compare_with_scan(rig);
    scrub_round(rig, 9);
    assert_eq!(compare_with_scan(rig), own_count(rig));
}

fn a_ring_of_many_partitions_is_read_in_steps(rig: &mut impl Rig) {
    let shift = Shift::new(13).expect("in range");
    fill(rig, 1);
    rig.store().keep_sums(SEED, shift);
    let limit = PageLimit { count: 30, bytes: u64::MAX };
    let (mut steps, mut records) = (0, 0);
    loop {
        let scrubbed = rig.store().scrub(limit).expect("nothing is damaged here");
        (steps, records) = (steps + 1, records + scrubbed.records);
        if scrubbed.round {
            assert_eq!((scrubbed.unsummed, scrubbed.mended), (0, 0));
            break;
        }
    }
    assert_eq!(records, 40, "each is read once, however far it is to the next");
    assert!((8..=10).contains(&steps), "{steps}");
    for number in 0..40 {
        let (hash, key) = key(number);
        let partition = hash.partition(shift);
        let record = rig.store().get(hash, &key).expect("nothing is damaged here");
        let sum = record_hash(SEED, &key, &record.expect("it is stored"));
        let expected = (shard_of(partition, rig.shards()) == 0).then_some(sum);
        assert_eq!(rig.store().digest(partition).map(|digest| digest.total()), expected);
    }
    rig.store().end_batch();
}
