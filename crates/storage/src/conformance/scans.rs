//! What every store must do with scans.

use std::collections::BTreeMap;

use paravon_model::{Key, Ordinal, Record};
use paravon_ring::{HashArc, KeyHash};

use super::forgets::forget;
use super::{Rig, key, merge, record};
use crate::hint;
use crate::page::PageLimit;

/// Keys that bound an arc with all of the ring in it. See [`arc_of`].
pub(super) const ALL: (u8, u8) = (u8::MAX, u8::MAX);

const WHOLE: PageLimit = PageLimit { count: usize::MAX, bytes: u64::MAX };

type Found = (KeyHash, Key, Record);

/// Runs every check of scans on rigs that `fresh` makes.
pub(super) fn check<R: Rig>(fresh: &mut impl FnMut() -> R) {
    a_scan_shows_what_is_durable_while_merges_wait(&mut fresh());
    a_scan_is_of_its_arc_and_comes_page_by_page(&mut fresh());
    a_page_is_bounded_in_bytes(&mut fresh());
    hints_are_not_scanned(&mut fresh());
}

/// The arc that two keys bound; all of the ring with [`ALL`].
fn arc_of((one, other): (u8, u8)) -> HashArc {
    if (one, other) == ALL {
        return HashArc::ALL;
    }
    let (one, other) = (key(one).0, key(other).0);
    HashArc { first: one.min(other), last: one.max(other) }
}

/// Compares a page with what is to be durable. Behind no key where `after` is none of the first twelve.
pub(super) fn compare(
    rig: &mut impl Rig,
    durable: &BTreeMap<u8, Record>,
    arc: (u8, u8),
    after: u8,
    limit: usize,
) {
    let arc = arc_of(arc);
    let after = (after < 12).then(|| key(after));
    let all = durable.iter().map(|(number, record)| {
        let (hash, key) = key(*number);
        (hash, key, record.clone())
    });
    let is_wanted = |(hash, key, _): &Found| {
        arc.contains(*hash) && after.as_ref().is_none_or(|(h, k)| (hash, key) > (h, k))
    };
    let mut expected: Vec<Found> = all.filter(is_wanted).collect();
    expected.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    expected.truncate(limit.max(1));
    let limit = PageLimit { count: limit, bytes: u64::MAX };
    // The view of an earlier read may be open still, and is to make no difference.
    let found = rig.store().scan(arc, after.as_ref(), limit);
    assert_eq!(found.expect("nothing is damaged here"), expected);
}

fn page(
    rig: &mut impl Rig,
    arc: HashArc,
    after: Option<&(KeyHash, Key)>,
    limit: PageLimit,
) -> Vec<Found> {
    rig.store().scan(arc, after, limit).expect("nothing is damaged here")
}

fn scan(rig: &mut impl Rig) -> Vec<Found> {
    page(rig, HashArc::ALL, None, WHOLE)
}

fn place(found: &Found) -> (KeyHash, Key) {
    (found.0, found.1.clone())
}

fn a_scan_shows_what_is_durable_while_merges_wait(rig: &mut impl Rig) {
    for number in 0..30 {
        merge(rig, 0, number, record(1, Some(1)));
        if number == 9 || number == 19 {
            rig.sync();
            rig.store().flush();
        }
        // One third lies in redb, one is on its way there.
        if number == 9 {
            rig.settle();
        }
    }
    rig.sync();
    let before = scan(rig);
    assert_eq!(before.len(), 30);
    assert!(before.is_sorted_by_key(place));
    for number in 0..40 {
        match number % 3 {
            0 => forget(rig, 0, number),
            1 => merge(rig, 0, number, record(2, Some(2))),
            _ => merge(rig, 0, number, record(2, None)),
        }
        assert_eq!(scan(rig), before);
    }
    rig.sync();
    let after = scan(rig);
    assert_eq!(after.len(), 26, "tombstones are records");
    assert!(after.iter().all(|(_, _, record)| record.version.hlc.physical_ms() == 2));
    rig.store().flush();
    rig.settle();
    assert_eq!(scan(rig), after);
}

fn a_scan_is_of_its_arc_and_comes_page_by_page(rig: &mut impl Rig) {
    for number in 0..60 {
        merge(rig, 0, number, record(u64::from(number) + 1, Some(1)));
        if number % 20 == 19 {
            rig.sync();
            rig.store().flush();
            // The last third stays where the log has it alone.
            if number < 40 {
                rig.settle();
            }
        }
    }
    for number in (0..60).step_by(7) {
        forget(rig, 0, number);
    }
    rig.sync();
    let all = scan(rig);
    assert_eq!(all.len(), 60 - 9);
    for (first, last) in [(0, 50), (0, 0), (10, 40), (50, 50), (17, 18)] {
        let arc = HashArc { first: all[first].0, last: all[last].0 };
        let expected = &all[first..=last];
        for count in [1, 2, 7, 51, 100] {
            let mut paged: Vec<Found> = Vec::new();
            loop {
                let after = paged.last().map(place);
                let next = page(rig, arc, after.as_ref(), PageLimit { count, ..WHOLE });
                assert!(next.len() <= count);
                if next.is_empty() {
                    break;
                }
                paged.extend(next);
            }
            assert_eq!(paged, expected);
        }
        let before = first.checked_sub(1).map(|before| place(&all[before]));
        assert_eq!(page(rig, arc, before.as_ref(), WHOLE), expected);
        assert_eq!(page(rig, arc, Some(&place(&all[50])), WHOLE), []);
        assert_eq!(page(rig, arc, None, PageLimit { count: 0, bytes: 0 }).len(), 1);
    }
    let nothing = HashArc { first: all[3].0, last: all[2].0 };
    assert_eq!(page(rig, nothing, None, WHOLE), []);
}

fn a_page_is_bounded_in_bytes(rig: &mut impl Rig) {
    for number in 0..20 {
        merge(rig, 0, number, record(1, Some(1)));
        if number == 9 {
            rig.sync();
            rig.store().flush();
            rig.settle();
        }
    }
    rig.sync();
    let cost = hint::cost(&key(0).1, &record(1, Some(1)));
    for (bytes, count) in [(0, 1), (1, 1), (cost, 1), (3 * cost - 1, 3), (3 * cost + 1, 4)] {
        let limit = PageLimit { bytes, ..WHOLE };
        assert_eq!(page(rig, HashArc::ALL, None, limit).len(), count, "{bytes}");
    }
}

fn hints_are_not_scanned(rig: &mut impl Rig) {
    let (hash, name) = key(1);
    rig.store().keep_hint(Ordinal(7), hash, name, record(1, None)).expect("nothing refuses here");
    rig.sync();
    assert_eq!(scan(rig), []);
    rig.store().flush();
    rig.settle();
    assert_eq!(scan(rig), []);
}
