//! What is damaged covers its keys and partitions, is tried when it may be, and rests longer and longer.

use super::*;
use crate::test_cluster::key;
use alloc::vec;

const SECOND: Duration = Duration::from_secs(1);
const WAIT: Duration = MAX_REQUEST_TIMEOUT;

fn shift() -> Shift {
    Shift::new(4).unwrap()
}

fn lost(partition: u32) -> (Partition, Marks) {
    (Partition(partition), Marks { damage: Mark::Lost, ..Marks::default() })
}

fn subject(place: u64) -> Subject {
    Subject::Key(KeyHash(place), key("k"))
}

#[test]
fn a_key_is_covered_at_its_place_and_a_lost_partition_at_every_place() {
    let whole = (Partition(1), Marks::default());
    let damage = Damage::new(vec![(KeyHash(7), key("k"))], &[lost(3), whole]);
    let of = |partition: u32| Partition(partition).arc(shift());
    for (hash, covered) in [(KeyHash(7), true), (KeyHash(8), false), (of(1).first, false)] {
        assert_eq!(damage.covers(hash, shift()), covered, "{hash:?}");
    }
    assert!(damage.covers(of(3).first, shift()) && damage.covers(of(3).last, shift()));
    let touched: Vec<_> = (0..16).filter(|&of| damage.touches(Partition(of), shift())).collect();
    assert_eq!(touched, [0, 3], "the key lies in the first one");
    assert!(damage.is_lost(Partition(3)) && !damage.is_lost(Partition(0)));
    assert!(!Damage::new(vec![], &[whole]).covers(of(1).first, shift()));
}

#[test]
fn nothing_is_tried_before_the_longest_deadline_has_passed_since_the_mark_or_the_start() {
    let mut damage = Damage::new(vec![(KeyHash(7), key("k"))], &[lost(3)]);
    assert_eq!(damage.wake(), Some(Duration::ZERO), "to be told the time");
    damage.start(5 * SECOND);
    damage.mark(20 * SECOND, KeyHash(9), key("k"));
    damage.start(30 * SECOND);
    assert_eq!(damage.wake(), Some(5 * SECOND + WAIT));
    assert_eq!(damage.next(4 * SECOND + WAIT), None);
    let first: Vec<_> = core::iter::from_fn(|| damage.next(6 * SECOND + WAIT)).collect();
    assert_eq!(
        first,
        [(subject(7), Required::All), (Subject::Partition(Partition(3)), Required::All)]
    );
    assert_eq!(damage.wake(), Some(20 * SECOND + WAIT));
    damage.mark(40 * SECOND, KeyHash(7), key("k"));
    damage.mark(40 * SECOND, KeyHash(9), key("k"));
    damage.relayout(50 * SECOND);
    let _ = damage.accept_loss(50 * SECOND, Partition(0), None, shift());
    assert_eq!(damage.next(39 * SECOND + WAIT).unwrap().0, Subject::Partition(Partition(3)));
    assert_eq!(damage.next(39 * SECOND + WAIT), None, "marked anew is waited for anew");
    assert_eq!(damage.next(40 * SECOND + WAIT), Some((subject(7), Required::WhoeverTells)));
}

#[test]
fn a_failure_is_tried_again_after_growing_pauses_and_at_once_when_its_member_comes() {
    let mut damage = Damage::new(vec![(KeyHash(7), key("k"))], &[]);
    damage.start(Duration::ZERO);
    let (mut now, mut pauses) = (WAIT, Vec::new());
    for _ in 0..8 {
        assert!(damage.next(now).is_some());
        assert_eq!(damage.wake(), None, "it is under way");
        let silent = vec![Ordinal(2)];
        damage.rest(now, &subject(7), Obstacles { silent, ..Obstacles::default() });
        let next = damage.wake().unwrap();
        pauses.push((next - now).as_secs());
        now = next;
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 600, 600]);
    damage.linked(now - SECOND, Ordinal(3));
    assert_eq!(damage.wake(), Some(now));
    damage.linked(now - SECOND, Ordinal(2));
    assert_eq!(damage.wake(), Some(now - SECOND));
    damage.healed(&subject(7));
    assert_eq!((damage.wake(), damage.is_empty()), (None, true));
}

#[test]
fn no_more_than_a_limit_are_tried_at_once() {
    let keys = (0..40).map(|place| (KeyHash(place), key("k"))).collect();
    let mut damage = Damage::new(keys, &[]);
    damage.start(Duration::ZERO);
    let tried: Vec<_> = core::iter::from_fn(|| damage.next(WAIT)).collect();
    assert_eq!((tried.len(), damage.wake()), (MAX_TRIED, None));
    damage.healed(&tried[0].0);
    damage.rest(WAIT, &tried[1].0, Obstacles::default());
    assert!(damage.next(WAIT).is_some() && damage.next(WAIT).is_some());
    assert!(damage.next(WAIT).is_none());
    damage.relayout(WAIT);
    assert_eq!(core::iter::from_fn(|| damage.next(WAIT)).count(), MAX_TRIED, "all begin anew");
}

#[test]
fn what_was_emptied_is_whole_but_for_the_mark_of_a_partition() {
    let mut damage = Damage::new(vec![(KeyHash(7), key("k"))], &[lost(0), lost(3)]);
    damage.start(Duration::ZERO);
    damage.emptied(SECOND, Partition(0), shift());
    assert_eq!(damage.next(SECOND), Some((Subject::Partition(Partition(0)), Required::Nobody)));
    assert_eq!(damage.next(SECOND), None);
    let damages = damage.damages();
    assert_eq!((damages.keys, damages.partitions, damages.unhealable), (0, 2, 0));
    damage.healed(&Subject::Partition(Partition(0)));
    assert!(!damage.covers(KeyHash(7), shift()));
}
