//! Tests of layouts: frozen sets, agreement with the definition written down plainly, and increments.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use paravon_model::{Document, Fence, Joint, Member, Ordinal, PastChange, Phase, Roster, Size};
use proptest::prelude::*;

use crate::sample::{SIZES, document, equals, member};
use crate::tickets::{Contender, PartitionKey};
use crate::{Layout, Partition, are_in_one_set};

fn numbers(ordinals: &[Ordinal]) -> Vec<u32> {
    ordinals.iter().map(|ordinal| ordinal.0).collect()
}

fn partitions(layout: &Layout) -> impl Iterator<Item = Partition> + use<> {
    (0..layout.shift().partitions()).map(Partition)
}

/// The definition of semantics, as plainly as it can be written.
fn plainly(document: &Document, partition: Partition) -> (Vec<Ordinal>, Vec<Ordinal>) {
    let key = PartitionKey::of(document.hash_seed, partition);
    let score = |member: &Member| Contender::of(document.hash_seed, member).score(key);
    let mut order: Vec<&Member> = document.current.members.iter().collect();
    order.sort_by_key(|&member| (core::cmp::Reverse(score(member)), member.ordinal));
    let (mut chosen, mut skipped): (Vec<&Member>, Vec<&Member>) = (vec![], vec![]);
    for member in order.iter().copied() {
        let is_taken = |other: &&Member| member.zone.is_some() && other.zone == member.zone;
        if chosen.iter().any(is_taken) { skipped.push(member) } else { chosen.push(member) }
    }
    chosen.extend(skipped);
    chosen.truncate(document.current.replication_factor.into());
    let set: Vec<Ordinal> = chosen.iter().map(|member| member.ordinal).collect();
    let others = order.iter().map(|member| member.ordinal).filter(|other| !set.contains(other));
    let all = set.iter().copied().chain(others).collect();
    (set, all)
}

/// Eight members of growing sizes, in three zones or without any.
fn eight(zones: Option<u32>) -> Vec<Member> {
    let zone = |ordinal| zones.map(|zones| ordinal % zones);
    (1..=8).map(|ordinal| member(ordinal, SIZES[ordinal as usize % 6], zone(ordinal))).collect()
}

#[test]
#[should_panic(expected = "a document's shift is checked")]
fn no_layout_is_made_with_another_number_of_partitions_than_the_document_s() {
    let _ = Layout::of(document(&eight(None), 25, 3, 0));
}

/// Frozen, and computed by another program: a different set here means that every cluster moves its
/// data.
#[test]
fn replica_sets_never_change() {
    let frozen = [
        (None, 0, 0, [4, 5, 1, 3, 7, 2, 8, 6]),
        (None, 0, 1, [5, 4, 3, 8, 6, 1, 7, 2]),
        (None, 0, 4095, [1, 4, 5, 8, 3, 2, 6, 7]),
        (None, 0, 65535, [4, 3, 5, 2, 1, 7, 6, 8]),
        (None, 2026, 0, [1, 2, 7, 5, 3, 4, 8, 6]),
        (None, 2026, 1, [4, 5, 3, 8, 1, 7, 2, 6]),
        (None, 2026, 4095, [4, 5, 7, 3, 8, 6, 1, 2]),
        (None, 2026, 65535, [5, 4, 2, 3, 1, 7, 6, 8]),
        (Some(3), 0, 0, [4, 5, 3, 1, 7, 2, 8, 6]),
        (Some(3), 0, 1, [5, 4, 3, 8, 6, 1, 7, 2]),
        (Some(3), 0, 4095, [1, 5, 3, 4, 8, 2, 6, 7]),
        (Some(3), 0, 65535, [4, 3, 5, 2, 1, 7, 6, 8]),
        (Some(3), 2026, 0, [1, 2, 3, 7, 5, 4, 8, 6]),
        (Some(3), 2026, 1, [4, 5, 3, 8, 1, 7, 2, 6]),
        (Some(3), 2026, 4095, [4, 5, 3, 7, 8, 6, 1, 2]),
        (Some(3), 2026, 65535, [5, 4, 3, 2, 1, 7, 6, 8]),
    ];
    for (zones, seed, partition, expected) in frozen {
        let layout = Layout::of(document(&eight(zones), 16, 4, seed));
        let preference = numbers(&layout.preference(Partition(partition)));
        assert_eq!(preference, expected, "zones {zones:?}, seed {seed}, partition {partition}");
        assert_eq!(numbers(layout.sets(Partition(partition)).current), expected[..4]);
    }
}

#[test]
fn of_one_member_it_holds_everything_and_of_none_nobody_does() {
    let alone = Layout::of(document(&equals(1), 4, 3, 0));
    assert!(partitions(&alone).all(|partition| numbers(alone.sets(partition).current) == [1]));
    assert!(Layout::of(document(&[], 4, 3, 0)).sets(Partition(15)).current.is_empty());
}

#[test]
fn a_document_that_moves_nothing_shares_the_table() {
    let mut next = (*document(&eight(None), 8, 3, 1)).clone();
    let layout = Layout::of(Arc::new(next.clone()));
    next.version += 1;
    next.current.members[0].address = paravon_model::Address::new("elsewhere:1");
    let after = layout.after(Arc::new(next));
    assert_eq!(after.document().version, 2);
    assert!(Arc::ptr_eq(&layout.current, &after.current));
}

/// A zone is named by its first member here, who must be free to leave.
#[test]
fn a_zone_outlives_its_first_member() {
    let members = eight(Some(3));
    let layout = Layout::of(document(&members, 8, 3, 1));
    let left = document(&members[1..], 8, 3, 1);
    assert_eq!(layout.after(Arc::clone(&left)), Layout::of(left));
}

#[test]
fn copies_that_are_added_leave_those_that_there_are() {
    for zones in [None, Some(2), Some(3)] {
        let layouts = [1, 2, 3, 5, 7].map(|n| Layout::of(document(&eight(zones), 8, n, 3)));
        for (fewer, more) in layouts.iter().zip(&layouts[1..]) {
            for partition in partitions(fewer) {
                assert!(more.sets(partition).current.starts_with(fewer.sets(partition).current));
            }
        }
    }
}

#[test]
fn who_is_in_one_set_is_told_as_the_sets_tell() {
    let mut answers = [0; 2];
    for (zones, factor, seed) in [None, Some(2), Some(4)]
        .into_iter()
        .flat_map(|zones| (1..=5).map(move |n| (zones, n)))
        .flat_map(|(zones, factor)| (0..8).map(move |seed| (zones, factor, seed)))
    {
        let document = document(&eight(zones), 2, factor, seed);
        let layout = Layout::of(Arc::clone(&document));
        for bits in 0..256_u32 {
            let is_one = |ordinal: &u32| bits & (1 << (ordinal - 1)) != 0;
            let members: Vec<Ordinal> = (1..=8).filter(is_one).map(Ordinal).collect();
            for count in 1..=3 {
                let held = |set: &[Ordinal]| set.iter().filter(|m| members.contains(m)).count();
                let expected = partitions(&layout)
                    .any(|partition| held(layout.sets(partition).current) >= count);
                let told = are_in_one_set(&document, &document.current, &members, count);
                assert_eq!(told, expected, "{zones:?} {factor} {seed} {members:?} {count}");
                answers[usize::from(told)] += 1;
            }
        }
    }
    assert!(answers.iter().all(|&count| count > 1000), "{answers:?}");
}

/// What only must move, moves: all but `newcomer` keep their order, and only the last may go.
fn assert_inserted(before: &[Ordinal], after: &[Ordinal], newcomer: Ordinal) {
    let stayed: Vec<Ordinal> = after.iter().copied().filter(|&held| held != newcomer).collect();
    assert!(before.starts_with(&stayed), "{before:?} to {after:?} with {newcomer}");
    assert!(after.len() >= before.len() && stayed.len() + 1 >= after.len());
}

/// With zones the order may change, but nobody comes beside `newcomer`.
fn assert_contained(before: &[Ordinal], after: &[Ordinal], newcomer: Ordinal) {
    let is_known = |held: &Ordinal| *held == newcomer || before.contains(held);
    assert!(after.iter().all(is_known), "{before:?} to {after:?} with {newcomer}");
}

/// Compares the layouts with and without one member.
fn assert_only_what_must(without: &Layout, with: &Layout, newcomer: Ordinal) {
    let zones = with.document().members().any(|member| member.zone.is_some());
    let check = if zones { assert_contained } else { assert_inserted };
    for partition in partitions(with) {
        check(without.sets(partition).current, with.sets(partition).current, newcomer);
    }
}

/// A change of the members.
#[derive(Clone, Debug)]
enum Step {
    Add(Size, Option<u32>),
    Remove(prop::sample::Index),
    Resize(prop::sample::Index, Size),
    Rezone(prop::sample::Index, Option<u32>),
}

/// A member's size and zone.
type Traits = (Size, Option<u32>);

/// Any of the smaller sizes, and one of `zones` zones or none.
fn traits(zones: u32) -> impl Strategy<Value = Traits> {
    (prop::sample::select(&SIZES[..4]), (0..=zones).prop_map(|zone| zone.checked_sub(1)))
}

fn step(zones: u32) -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => traits(zones).prop_map(|(size, zone)| Step::Add(size, zone)),
        4 => index().prop_map(Step::Remove),
        1 => (index(), traits(zones)).prop_map(|(at, (size, _))| Step::Resize(at, size)),
        1 => (index(), traits(zones)).prop_map(|(at, (_, zone))| Step::Rezone(at, zone)),
    ]
}

fn apply(step: &Step, members: &mut Vec<Member>, next_ordinal: &mut u32) {
    let count = members.len();
    match step {
        Step::Add(size, zone) => {
            members.push(member(*next_ordinal, *size, *zone));
            *next_ordinal += 1;
        }
        Step::Remove(at) if count > 1 => drop(members.remove(at.index(count))),
        Step::Remove(_) => {}
        Step::Resize(at, size) => members[at.index(count)].size = *size,
        Step::Rezone(at, zone) => {
            let place = at.index(count);
            let old = &members[place];
            members[place] = member(old.ordinal.0, old.size, *zone);
        }
    }
}

/// Some members, and groups of steps that each become one document.
fn history() -> impl Strategy<Value = (Vec<Traits>, Vec<Vec<Step>>)> {
    (0..5_u32).prop_flat_map(|zones| {
        let steps = prop::collection::vec(step(zones), 1..4);
        (prop::collection::vec(traits(zones), 1..12), prop::collection::vec(steps, 1..6))
    })
}

fn founding(founders: &[Traits]) -> Vec<Member> {
    (1..).zip(founders).map(|(ordinal, &(size, zone))| member(ordinal, size, zone)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn increments_and_the_definition_give_the_same(
        (founders, documents) in history(),
        shift in 1..7_u8,
        factor in 1..=7_u8,
        seed: u64,
    ) {
        let mut members = founding(&founders);
        let mut next_ordinal = 1 + u32::try_from(members.len()).unwrap();
        let mut layout = Layout::of(document(&members, shift, factor, seed));
        for steps in documents {
            steps.iter().for_each(|step| apply(step, &mut members, &mut next_ordinal));
            let next = document(&members, shift, factor, seed);
            layout = layout.after(Arc::clone(&next));
            prop_assert_eq!(&layout, &Layout::of(Arc::clone(&next)));
            for partition in partitions(&layout) {
                let (set, all) = plainly(&next, partition);
                prop_assert_eq!(layout.sets(partition).current, &set);
                prop_assert_eq!(layout.preference(partition), all);
            }
        }
    }

    #[test]
    fn only_what_must_move_moves(
        (founders, _) in history(),
        newcomer in traits(4),
        shift in 1..7_u8,
        factor in 1..=7_u8,
        seed: u64,
    ) {
        let mut members = founding(&founders);
        let without = Layout::of(document(&members, shift, factor, seed));
        let zones = members.iter().any(|member| member.zone.is_some());
        members.push(member(99, newcomer.0, newcomer.1.filter(|_| zones)));
        let with = Layout::of(document(&members, shift, factor, seed));
        assert_only_what_must(&without, &with, Ordinal(99));
    }

    #[test]
    fn a_change_of_what_is_fixed_begins_anew(
        (founders, _) in history(), factors in (1..=7_u8, 1..=7_u8), seeds in (0..2_u64, 0..2_u64),
    ) {
        let members = founding(&founders);
        let next = document(&members, 4, factors.1, seeds.1);
        let layout = Layout::of(document(&members, 4, factors.0, seeds.0)).after(Arc::clone(&next));
        prop_assert_eq!(layout, Layout::of(next));
    }
}

/// On the way from `from` to `to`, after `past`.
fn joint(from: &[Member], to: &[Member], fence: u64, past: Vec<PastChange>) -> Arc<Document> {
    let stable = (*document(from, 6, 3, 1)).clone();
    let next = Roster { members: to.to_vec(), replication_factor: 3 };
    let phase = Phase::Joint(Joint { next, lost: Vec::new() });
    Arc::new(Document { phase, fence, past, ..stable })
}

#[test]
fn while_joint_a_partition_has_two_sets_where_they_differ() {
    let (four, three) = (equals(4), equals(3));
    let before = Layout::of(document(&three, 6, 3, 1));
    let after = Layout::of(document(&four, 6, 3, 1));
    let between = before.after(joint(&three, &four, 2, Vec::new()));
    assert_eq!(between, Layout::of(Arc::clone(between.document())));
    let mut moved = 0;
    for partition in partitions(&between) {
        let sets = between.sets(partition);
        assert_eq!(sets.current, before.sets(partition).current);
        let new = after.sets(partition).current;
        let is_new = new.contains(&Ordinal(4));
        assert_eq!((sets.next.is_some(), sets.is_new(Ordinal(4))), (is_new, is_new));
        assert_eq!(sets.next.unwrap_or(sets.current).contains(&Ordinal(4)), is_new);
        assert_eq!(sets.all().count(), if is_new { 4 } else { 3 });
        moved += usize::from(is_new);
    }
    assert!((32..64).contains(&moved), "three of four: {moved}");
    let finished = between.after(document(&four, 6, 3, 1));
    assert!(Arc::ptr_eq(&finished.current, between.next.as_ref().expect("it is joint")));
}

#[test]
fn a_node_is_new_to_what_every_change_that_it_missed_gave_it() {
    let (three, four) = (equals(3), equals(4));
    let fourth = Ordinal(4);
    let fence = |number| Some(Fence { generation: 0, number });
    let first = Layout::of(joint(&three, &four, 2, Vec::new()));
    let gained: Vec<Partition> =
        partitions(&first).filter(|&p| first.sets(p).is_new(fourth)).collect();
    assert_eq!(first.made_new(fourth, None), gained);
    assert_eq!(first.made_new(fourth, fence(1)), gained);
    assert_eq!(first.made_new(fourth, fence(2)), [], "it has stored that document");
    assert_eq!(first.made_new(Ordinal(1), fence(1)), [], "it was there before");

    // The change ended, and now number 3 leaves.
    let change = PastChange {
        generation: 0,
        fence: 2,
        from: Roster { members: three, replication_factor: 3 },
        to: Roster { members: four.clone(), replication_factor: 3 },
    };
    let without_third = [four[0].clone(), four[1].clone(), four[3].clone()];
    let second = Layout::of(joint(&four, &without_third, 4, vec![change]));
    let all: Vec<Partition> = partitions(&second).collect();
    assert_eq!(second.made_new(fourth, fence(1)), all, "it missed both");
    let later = second.made_new(fourth, fence(3));
    assert!(later.iter().all(|partition| !gained.contains(partition)));
    assert_eq!(later.len() + gained.len(), all.len());
}

#[test]
fn what_is_given_up_is_in_no_set_and_what_nobody_holds_begins_anew() {
    let (five, two) = (equals(5), equals(2));
    let lost = vec![Ordinal(3), Ordinal(4), Ordinal(5)];
    let next = Roster { members: two, replication_factor: 3 };
    let stable = document(&five, 6, 3, 1);
    let phase = Phase::Rescue(Joint { next, lost: lost.clone() });
    let rescued = Layout::of(Arc::new(Document { phase, fence: 2, ..(*stable).clone() }));
    let before = Layout::of(Arc::clone(&stable));
    let (mut empty, mut same) = (0, 0);
    for partition in partitions(&rescued) {
        let old = before.sets(partition).current.iter().copied();
        let left: Vec<Ordinal> = old.filter(|member| !lost.contains(member)).collect();
        let sets = rescued.sets(partition);
        assert!(sets.all().all(|member| member.0 <= 2));
        if left.is_empty() {
            empty += 1;
            assert_eq!((sets.current.len(), sets.next), (2, None));
        } else {
            assert_eq!(sets.current, left);
            // Also where its members stay the same: they take over from each other.
            assert!(sets.next.is_some());
            same += usize::from(left.len() == 2);
        }
    }
    assert!(same > 0, "both survivors had a copy");
    assert!(empty > 0, "one of ten partitions or so");
    assert_eq!(before.after(Arc::clone(rescued.document())), rescued);
    assert_eq!(rescued.after(Arc::clone(&stable)), before);
}
