//! When each mark may rise, rule by rule.

use core::time::Duration;

use paravon_model::{Body, Damage, Hlc, Marks, Ordinal, Record, Value, Version};

use super::{Closing, EMPTIED, Health, PartitionMarks, is_covered, shown};

const NOW: Duration = Duration::from_secs(100);
const OTHERS: [Ordinal; 2] = [Ordinal(2), Ordinal(3)];

fn hlc(ms: u64) -> Hlc {
    Hlc::new(ms, 0)
}

fn version(ms: u64) -> Version {
    Version { hlc: hlc(ms), ordinal: Ordinal(1) }
}

fn marks(floor: u64, full: u64, closed: u64) -> Marks {
    let (floor, full, closed) = (hlc(floor), hlc(full), hlc(closed));
    Marks { floor, full, closed, damage: Damage::None }
}

fn others() -> impl Iterator<Item = Ordinal> {
    OTHERS.into_iter()
}

/// With something to drop, closed at this time, durably.
fn closed(ms: u64) -> PartitionMarks {
    let mut own = PartitionMarks::new(Marks::default());
    own.note_droppable(hlc(1));
    assert_eq!(own.close(NOW, hlc(ms), Closing::Begins), Some(marks(0, 0, ms)));
    own.set(NOW, Ok(()));
    own
}

#[test]
fn closed_stops_admission_at_once_and_is_told_when_it_is_durable() {
    let mut own = PartitionMarks::new(Marks::default());
    assert!(own.admits(version(5)));
    own.note_droppable(hlc(1));
    own.close(NOW, hlc(5), Closing::Begins);
    assert!(!own.admits(version(5)) && own.admits(version(6)));
    assert_eq!(own.told(), Some(Marks::default()));
    assert_eq!(own.all_closed(NOW, core::iter::empty()), None, "its own stores may not have ended");
    own.set(NOW, Err(()));
    assert!(!own.admits(version(5)), "what was refused stays so");
    assert_eq!((own.told(), own.unset(NOW)), (Some(Marks::default()), None));
    assert_eq!(own.unset(NOW + Duration::from_secs(1)), Some(marks(0, 0, 5)));
    own.set(NOW, Ok(()));
    assert_eq!(own.told(), Some(marks(0, 0, 5)));
}

#[test]
fn it_closes_only_for_something_to_drop_that_is_old_enough_and_not_all_the_time() {
    let mut own = PartitionMarks::new(Marks::default());
    assert_eq!(own.close(NOW, hlc(5), Closing::Begins), None, "there is nothing to drop");
    own.note_droppable(hlc(6));
    assert_eq!(own.close(NOW, hlc(5), Closing::Begins), None, "not at or below it");
    assert_eq!(own.close(NOW, hlc(6), Closing::Follows), None, "others go first");
    assert!(own.close(NOW, hlc(6), Closing::Begins).is_some());
    own.set(NOW, Ok(()));
    assert_eq!(own.close(NOW, hlc(7), Closing::Begins), None, "its floor is not there yet");

    let mut own = PartitionMarks::new(marks(5, 5, 5));
    assert!(own.drops, "what the floor had let go of before the start may still be here");
    own.note_droppable(hlc(6));
    assert_eq!(own.close(NOW, hlc(6), Closing::Begins), None, "that goes first");
    own.drops = false;
    assert!(own.close(NOW, hlc(6), Closing::Begins).is_some());
    own.set(NOW, Ok(()));
    own.all_closed(NOW, core::iter::empty());
    own.fill(NOW, core::iter::empty(), |_| None);
    own.set(NOW, Ok(()));
    own.raise_floor(NOW, core::iter::empty());
    own.set(NOW, Ok(()));
    assert!(own.drops);
    own.drops = false;
    own.note_droppable(hlc(7));
    assert_eq!(own.close(NOW + Duration::from_secs(59), hlc(9), Closing::Begins), None);
    assert!(own.close(NOW + Duration::from_secs(60), hlc(9), Closing::Begins).is_some());
}

#[test]
fn a_member_that_is_closed_higher_is_followed_where_all_is_full_and_it_is_old_enough() {
    let mut own = PartitionMarks::new(Marks::default());
    own.hear(Ordinal(2), marks(0, 0, 8));
    assert_eq!(own.close(NOW, hlc(7), Closing::Follows), None);
    assert_eq!(own.close(NOW, hlc(8), Closing::Follows), Some(marks(0, 0, 8)));
    own.set(NOW, Ok(()));
    own.hear(Ordinal(3), marks(0, 0, 9));
    assert_eq!(own.close(NOW, hlc(9), Closing::Follows), None, "it is not full");
}

#[test]
fn it_is_full_when_every_other_was_pulled_since_all_were_closed() {
    let mut own = closed(5);
    own.hear(Ordinal(2), marks(0, 0, 5));
    assert_eq!(own.all_closed(NOW, others()), None, "one is not closed");
    own.hear(Ordinal(3), marks(0, 0, 4));
    assert_eq!(own.all_closed(NOW, others()), None, "it is, but too low");
    own.hear(Ordinal(3), marks(0, 0, 6));
    assert_eq!(own.all_closed(NOW, others()), Some(NOW));
    let before = NOW.checked_sub(Duration::from_millis(1)).unwrap();
    let agreed = |at| move |member: Ordinal| Some(if member == Ordinal(2) { NOW } else { at });
    assert_eq!(own.fill(NOW, others(), agreed(before)), None, "that began before all were closed");
    own.listed(Ordinal(3), before);
    assert_eq!(own.fill(NOW, others(), agreed(before)), None, "so did that");
    assert!(!own.is_full_at(version(5)));
    let mut by_listing = own.clone();
    by_listing.listed(Ordinal(3), NOW);
    assert_eq!(by_listing.fill(NOW, others(), agreed(before)), Some(marks(0, 5, 5)));
    assert_eq!(own.fill(NOW, others(), agreed(NOW)), Some(marks(0, 5, 5)));
    assert!(own.is_full_at(version(5)) && !own.is_full_at(version(6)));
}

#[test]
fn the_floor_is_the_least_full_of_all_or_what_a_member_claims_up_to_ones_own_full() {
    let mut own = PartitionMarks::new(marks(0, 5, 5));
    assert_eq!(own.raise_floor(NOW, others()), None, "nobody has told anything");
    own.hear(Ordinal(2), marks(0, 5, 5));
    assert_eq!(own.raise_floor(NOW, others()), None);
    own.hear(Ordinal(3), marks(0, 3, 5));
    assert_eq!(own.raise_floor(NOW, others()), Some(marks(3, 5, 5)));
    assert_eq!((own.floor(), own.drops), (Hlc::ZERO, false), "the disk does not hold it");
    own.set(NOW, Ok(()));
    assert_eq!((own.floor(), own.drops), (hlc(3), true));
    own.hear(Ordinal(2), marks(9, 9, 9));
    assert_eq!(own.raise_floor(NOW, others()), Some(marks(5, 5, 5)));
}

#[test]
fn nothing_told_or_pulled_under_another_fence_counts() {
    let mut own = closed(5);
    own.hear(Ordinal(2), marks(4, 5, 5));
    own.hear(Ordinal(3), marks(4, 5, 5));
    assert_eq!(own.all_closed(NOW, others()), Some(NOW));
    own.listed(Ordinal(2), NOW);
    own.listed(Ordinal(3), NOW);
    own.relayout();
    assert_eq!(own.fill(NOW, others(), |_| Some(NOW)), None);
    assert_eq!((own.all_closed(NOW, others()), own.raise_floor(NOW, others())), (None, None));
    own.hear(Ordinal(2), marks(0, 0, 5));
    own.hear(Ordinal(3), marks(0, 0, 5));
    assert_eq!(own.all_closed(NOW, others()), Some(NOW));
    assert_eq!(own.fill(NOW, others(), |_| None), None, "listings are void");
}

#[test]
fn a_newcomer_tells_nothing_and_moves_nothing_until_it_has_taken_closed() {
    let mut own = PartitionMarks::new(marks(3, 4, 5));
    own.note_droppable(hlc(1));
    assert_eq!(own.empty(), EMPTIED);
    own.set(NOW, Ok(()));
    own.hear(Ordinal(2), marks(9, 9, 9));
    let mut restarted = PartitionMarks::new(EMPTIED);
    restarted.hear(Ordinal(2), marks(9, 9, 9));
    for mut own in [own, restarted] {
        assert!(own.awaits_closed());
        assert_eq!((own.told(), own.floor()), (None, Hlc::ZERO));
        assert_eq!(own.close(NOW, hlc(9), Closing::Begins), None);
        assert_eq!(own.raise_floor(NOW, others()), None);
        assert_eq!(own.take_closed(NOW, hlc(7)), Some(marks(0, 0, 9)), "the highest that was told");
        assert!(own.awaits_closed(), "until it is durable");
        own.set(NOW, Ok(()));
        assert_eq!((own.awaits_closed(), own.told()), (false, Some(marks(0, 0, 9))));
        assert_eq!(own.take_closed(NOW, hlc(10)), None);
    }
}

#[test]
fn a_newcomer_among_members_that_are_closed_nowhere_is_closed_nowhere() {
    let mut own = PartitionMarks::new(EMPTIED);
    let taken = own.take_closed(NOW, Hlc::ZERO).unwrap();
    own.set(NOW, Ok(()));
    assert_eq!((own.told(), own.is_open()), (Some(Marks::default()), false));
    assert!(own.admits(version(1)));
    assert!(!PartitionMarks::new(taken).awaits_closed(), "a restart knows that it has taken it");
    own.hear(Ordinal(2), marks(0, 0, 8));
    assert!(own.close(NOW, hlc(8), Closing::Follows).is_some(), "and it follows like the others");
}

#[test]
fn a_replica_that_lost_its_file_moves_no_mark() {
    let damaged = Marks { damage: Damage::Lost, ..marks(0, 5, 5) };
    let mut own = PartitionMarks::new(damaged);
    own.note_droppable(hlc(1));
    own.hear(Ordinal(2), marks(5, 5, 9));
    own.hear(Ordinal(3), marks(5, 5, 9));
    assert_eq!(own.close(NOW, hlc(9), Closing::Begins), None);
    assert_eq!(own.raise_floor(NOW, others()), None);
}

#[test]
fn the_floor_lets_go_of_deletes_and_of_what_expired_by_version_and_instant() {
    let of = |body, expires_ms| Record { version: version(5), expires_ms, body };
    let live = || Body::Live(Value::bytes(b"v"));
    let delete = of(Body::Tombstone, None);
    assert!(is_covered(&delete, hlc(5)) && !is_covered(&delete, hlc(4)));
    assert!(!is_covered(&of(live(), None), hlc(99)));
    for (expires_ms, floor, goes) in [(9, 8, false), (9, 9, true), (1, 4, false), (1, 5, true)] {
        let expiring = of(live(), Some(expires_ms));
        assert_eq!(is_covered(&expiring, hlc(floor)), goes, "{expires_ms} {floor}");
        assert_eq!(shown(Some(expiring), hlc(floor)).is_none(), goes);
    }
}

#[test]
fn while_it_is_damaged_it_claims_no_floor_tells_no_full_and_moves_no_mark() {
    let mut own = closed(5);
    OTHERS.into_iter().for_each(|member| own.hear(member, marks(0, 5, 5)));
    own.all_closed(NOW, others());
    own.fill(NOW, others(), |_| Some(NOW));
    own.set(NOW, Ok(()));
    own.raise_floor(NOW, others());
    own.set(NOW, Ok(()));
    own.note_droppable(hlc(6));
    own.fare(Health::Damaged);
    assert_eq!((own.floor(), own.claimed()), (hlc(5), Hlc::ZERO));
    assert_eq!(own.told(), Some(marks(0, 0, 5)), "the floors of the others wait");
    let later = NOW + Duration::from_secs(60);
    assert_eq!(own.close(later, hlc(7), Closing::Begins), None);
    own.fare(Health::Whole);
    assert_eq!((own.claimed(), own.told()), (hlc(5), Some(marks(5, 5, 5))));
    own.drops = false;
    assert_eq!(own.close(later, hlc(7), Closing::Begins), Some(marks(5, 5, 7)));
}

#[test]
fn what_was_pulled_before_something_was_damaged_counts_no_more() {
    let mut own = closed(5);
    OTHERS.into_iter().for_each(|member| own.hear(member, marks(0, 0, 5)));
    assert_eq!(own.all_closed(NOW, others()), Some(NOW));
    own.listed(OTHERS[0], NOW);
    own.listed(OTHERS[1], NOW);
    own.fare(Health::Damaged);
    assert_eq!(own.all_closed(NOW, others()), None);
    assert_eq!(own.fill(NOW, others(), |_| Some(NOW)), None);
    own.fare(Health::Whole);
    let later = NOW + Duration::from_secs(9);
    assert_eq!(own.all_closed(later, others()), Some(later));
    assert_eq!(own.fill(later, others(), |_| Some(NOW)), None, "agreed before that");
    assert_eq!(own.fill(later, others(), |_| Some(later)), Some(marks(0, 5, 5)));
}

#[test]
fn a_key_healed_by_an_absence_takes_its_floor_up_to_full_durably() {
    for (absence, floor) in [(3, Some(3)), (9, Some(5)), (0, None)] {
        let mut own = PartitionMarks::new(marks(1, 5, 7));
        own.fare(Health::Damaged);
        own.take_absence(hlc(absence));
        let raised = floor.map(|floor| marks(floor, 5, 7));
        assert_eq!(own.is_durable(), floor.is_none());
        assert_eq!(own.unset(NOW), raised, "{absence}");
        own.set(NOW, Ok(()));
        assert!(own.is_durable() && own.floor() == hlc(floor.unwrap_or(1)));
    }
}

#[test]
fn what_not_all_could_make_good_takes_back_full_and_what_the_floor_says_beyond_them() {
    for (floor, kept) in [(0, 0), (2, 2), (9, 3)] {
        let mut own = PartitionMarks::new(marks(3, 5, 7));
        own.fare(Health::Damaged);
        own.fall(hlc(floor));
        own.take_absence(hlc(6));
        assert_eq!(own.unset(NOW), Some(marks(kept, kept, 7)), "{floor}");
        own.set(NOW, Ok(()));
        own.fare(Health::Whole);
        assert_eq!(own.told(), Some(marks(kept, kept, 7)));
        assert!(!own.is_full_at(version(4)) && !own.admits(version(7)));
    }
}

#[test]
fn a_member_that_is_heard_no_more_is_full_at_nothing_before_it_is_heard_anew() {
    let mut own = PartitionMarks::new(marks(0, 5, 5));
    own.hear(Ordinal(2), marks(0, 5, 5));
    own.unhear(Ordinal(2));
    own.hear(Ordinal(3), marks(0, 5, 5));
    assert_eq!(own.raise_floor(NOW, others()), None);
    own.hear(Ordinal(2), marks(0, 4, 5));
    assert_eq!(own.raise_floor(NOW, others()), Some(marks(4, 5, 5)));
}

#[test]
fn lifting_the_mark_of_a_lost_file_writes_the_marks_of_now() {
    let lost = Marks { damage: Damage::Lost, ..marks(3, 4, 5) };
    let mut own = PartitionMarks::new(lost);
    assert!(
        own.is_lost()
            && own.told()
                == Some(Marks { closed: hlc(5), damage: Damage::Lost, ..Marks::default() })
    );
    assert_eq!(own.lift(NOW), Some(marks(3, 4, 5)));
    assert_eq!(own.lift(NOW), None, "it is on its way");
    own.set(NOW, Err(()));
    assert!(own.is_lost() && own.unset(NOW).is_none());
    assert_eq!(own.unset(NOW + Duration::from_secs(1)), Some(marks(3, 4, 5)));
    own.set(NOW, Ok(()));
    assert!(!own.is_lost());

    let mut emptied = PartitionMarks::new(lost);
    assert_eq!(emptied.empty(), EMPTIED);
    assert_eq!(emptied.lift(NOW), None, "not what it had before");
    emptied.set(NOW, Ok(()));
    assert_eq!((emptied.lift(NOW), emptied.is_lost(), emptied.told()), (None, false, None));
}

#[test]
fn what_is_wanted_while_marks_are_on_their_way_is_not_taken_for_durable() {
    let mut own = PartitionMarks::new(Marks { damage: Damage::Lost, ..Marks::default() });
    own.hear(OTHERS[0], marks(0, 0, 9));
    let sent = own.empty();
    own.lift(NOW);
    own.set(NOW, Ok(()));
    assert_eq!(own.told(), None);
    let taken = own.take_closed(NOW, hlc(9)).expect("a member is closed there");
    assert_eq!((sent, taken), (EMPTIED, marks(0, 0, 9)));
    assert!(own.awaits_closed(), "until that is durable");
    own.set(NOW, Ok(()));
    assert!(!own.awaits_closed());
}
