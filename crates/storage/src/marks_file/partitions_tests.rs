//! Tests of `partitions.rs`: that what is told by differences comes back, and takes few bytes.

use paravon_model::Damage;
use proptest::prelude::*;

use super::*;

/// Milliseconds of a day on which somebody may use this.
const TODAY_MS: u64 = 1_800_000_000_000;

type All = BTreeMap<Partition, Marked>;

fn encoded(partitions: &All) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, partitions);
    bytes
}

/// What comes back where all bytes are taken.
fn decoded(bytes: &[u8], count: usize) -> Option<All> {
    let mut rest = Rest(bytes);
    let partitions = decode(&mut rest, u32::try_from(count).unwrap())?;
    rest.0.is_empty().then_some(partitions)
}

fn marked(floor: Hlc, full: Hlc, closed: Hlc) -> Marked {
    Marked { marks: Marks { floor, full, closed, damage: Damage::None }, quarantines: 0 }
}

/// Marks that have come to rest.
fn resting(ms: u64) -> Marked {
    let at = Hlc::new(ms, 0);
    marked(at, at, at)
}

fn comes_back(partitions: &All) {
    let bytes = encoded(partitions);
    assert_eq!(decoded(&bytes, partitions.len()).as_ref(), Some(partitions));
    for len in 0..bytes.len() {
        assert_eq!(decoded(&bytes[..len], partitions.len()), None, "cut to {len}");
    }
}

#[test]
fn numbers_come_back_however_long_and_not_where_they_are_longer() {
    for number in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
        let mut bytes = Vec::new();
        write(&mut bytes, number);
        assert_eq!(read(&mut Rest(&bytes)), Some(number));
        for cut in 0..bytes.len() {
            assert_eq!(read(&mut Rest(&bytes[..cut])), None);
        }
        assert_eq!(signed_first(signed_last(number)), number);
    }
    assert_eq!([0, 1, -1, 2, -2].map(|n: i64| signed_last(n.cast_unsigned())), [0, 2, 1, 4, 3]);
    let too_long = [[MORE; 9].as_slice(), &[2]].concat();
    assert_eq!(read(&mut Rest(&too_long)), None, "65 bits");
    assert_eq!(read(&mut Rest(&[MORE; 11])), None);
}

#[test]
fn every_shape_comes_back() {
    let (zero, awaits, taken) = (Hlc::ZERO, Hlc::from_u64(1), Hlc::from_u64(2));
    let [early, now] = [5, TODAY_MS].map(|ms| Hlc::new(ms, 3));
    let lost = |of: Marked| Marked {
        marks: Marks { damage: Damage::Lost, ..of.marks },
        quarantines: u32::MAX,
    };
    let shapes = [
        marked(zero, zero, zero),
        marked(zero, zero, awaits),
        marked(zero, zero, taken),
        marked(zero, zero, now),
        marked(early, now, now),
        marked(early, early, now),
        marked(now, now, now),
        marked(Hlc::MAX, Hlc::MAX, Hlc::MAX),
        // No such marks are set, but they would come back.
        marked(Hlc::MAX, now, zero),
        lost(marked(zero, zero, zero)),
        lost(marked(early, now, Hlc::MAX)),
    ];
    comes_back(&All::new());
    let numbers = [0, 1, 0xffff, u32::MAX - 1, u32::MAX].map(Partition);
    for one in shapes {
        for number in numbers {
            comes_back(&[(number, one)].into());
        }
        for other in shapes {
            for pair in numbers.windows(2) {
                comes_back(&[(pair[0], one), (pair[1], other)].into());
            }
        }
    }
    comes_back(&(0..).map(Partition).zip(shapes).collect());
}

#[test]
fn a_partition_beyond_the_last_one_is_none() {
    let last = [(Partition(u32::MAX), resting(TODAY_MS))].into();
    let bytes = encoded(&last);
    assert_eq!(decoded(&bytes, 1), Some(last));
    let behind = encoded(&[(Partition(0), resting(TODAY_MS))].into());
    assert_eq!(decoded(&[bytes.as_slice(), &behind].concat(), 2), None);
    let mut far = Vec::new();
    write(&mut far, u64::MAX);
    assert_eq!(decoded(&[&far, &behind[1..]].concat(), 1), None);
    assert_eq!(decoded(&[behind.as_slice(), &far, &behind[1..]].concat(), 2), None);
}

#[test]
fn a_damage_or_quarantines_that_cannot_be_are_none() {
    let bytes = encoded(&[(Partition(0), resting(TODAY_MS))].into());
    assert_eq!(bytes[..3], [0, 0, 0], "number, damage, quarantines");
    for damage in 2..=u8::MAX {
        assert_eq!(decoded(&[&[0, damage], &bytes[2..]].concat(), 1), None);
    }
    let mut quarantines = Vec::new();
    write(&mut quarantines, 1 << 32);
    assert_eq!(decoded(&[&[0, 0], quarantines.as_slice(), &bytes[3..]].concat(), 1), None);
}

/// A count that lies is noticed at the end of the bytes: nothing is reserved for it.
#[test]
fn more_than_there_are_is_none() {
    let bytes = encoded(&[(Partition(0), resting(TODAY_MS))].into());
    for count in [0, 2, 1 << 16, u32::MAX as usize] {
        assert_eq!(decoded(&bytes, count), None, "{count}");
    }
}

/// The marks of all partitions of a node with one shard.
fn of_all(marks: impl Fn(u64) -> Marked) -> All {
    (0..1 << 16).map(|number| (Partition(number), marks(number.into()))).collect()
}

/// An empty store takes 2 MiB: one of which everything was deleted is to take at most half as much again.
#[test]
fn marks_of_all_partitions_take_few_bytes() {
    let within = |most_kib: usize, partitions: &All| {
        let bytes = encoded(partitions);
        assert_eq!(decoded(&bytes, partitions.len()).as_ref(), Some(partitions));
        let kib = bytes.len().div_ceil(1024);
        assert!(kib <= most_kib && kib > most_kib - most_kib / 50, "{kib} KiB of {most_kib}");
    };
    // As many close at one look as may, one look a second.
    within(385, &of_all(|number| resting(TODAY_MS + number / 2048 * 1000)));
    // Neighbours close at different looks, within a minute or within an hour.
    let seconds = |number: u64| resting(TODAY_MS + number * 37 % 60 * 1003);
    within(641, &of_all(seconds));
    within(705, &of_all(|number| resting(TODAY_MS + number * 7919 % 3600 * 1003)));
    // As many as may be are between closed and floor besides, half of them not full yet.
    let open = |number: u64| {
        let Marked { marks: Marks { closed, .. }, .. } = seconds(number);
        let before = |seconds: u64| Hlc::new(closed.physical_ms() - 1000 * seconds, 0);
        match number % 16 {
            3 => marked(before(180), before(180), closed),
            7 => marked(before(180), closed, closed),
            _ => seconds(number),
        }
    };
    within(674, &of_all(open));
    // A node that has joined where nothing was deleted: it closed nowhere, but awaits nothing.
    within(385, &of_all(|_| marked(Hlc::ZERO, Hlc::ZERO, Hlc::from_u64(2))));
    // The same once half of its partitions have marks.
    let half = |number: u64| match number % 2 {
        0 => seconds(number),
        _ => marked(Hlc::ZERO, Hlc::ZERO, Hlc::from_u64(2)),
    };
    within(896, &of_all(half));
    // Nothing that can be told differs by more than this.
    let far = |number: u64| {
        let closed = if number.is_multiple_of(2) { Hlc::MAX } else { Hlc::from_u64(u64::MAX / 2) };
        let full = Hlc::from_u64(closed.as_u64().wrapping_add(1));
        let floor = Hlc::from_u64(full.as_u64().wrapping_add(1));
        Marked { quarantines: u32::MAX, ..marked(floor, full, closed) }
    };
    within(2368, &of_all(far));
}

prop_compose! {
    fn any_marked()(
        (floor, full, closed) in any::<(u64, u64, u64)>(),
        is_lost: bool,
        quarantines: u32,
    ) -> Marked {
        let [floor, full, closed] = [floor, full, closed].map(Hlc::from_u64);
        let damage = if is_lost { Damage::Lost } else { Damage::None };
        Marked { marks: Marks { floor, full, closed, damage }, quarantines }
    }
}

proptest! {
    #[test]
    fn whatever_was_set_comes_back(
        partitions in prop::collection::btree_map(any::<u32>().prop_map(Partition), any_marked(), 0..20),
    ) {
        prop_assert_eq!(decoded(&encoded(&partitions), partitions.len()), Some(partitions));
    }

    /// It does not panic, and what it gives is what the bytes say: written again it comes back.
    #[test]
    fn any_bytes_are_marks_or_none(
        bytes in prop::collection::vec(prop_oneof![0..3_u8, any::<u8>()], 0..80),
        count in 0..10_usize,
    ) {
        let mut rest = Rest(&bytes);
        if let Some(partitions) = decode(&mut rest, u32::try_from(count).unwrap()) {
            prop_assert_eq!(partitions.len(), count, "no partition twice");
            prop_assert_eq!(decoded(&encoded(&partitions), count), Some(partitions));
        }
    }
}
