//! Tests of the questions that a document answers.

use super::*;
use alloc::string::ToString;
use alloc::vec;

fn member(ordinal: u32, name: &str) -> Member {
    Member {
        ordinal: Ordinal(ordinal),
        node_id: NodeId::new(name).expect("a name"),
        size: Size::L,
        zone: None,
        address: Address::new(name),
    }
}

fn roster(members: &[(u32, &str)]) -> Roster {
    let members = members.iter().map(|&(ordinal, name)| member(ordinal, name)).collect();
    Roster { members, replication_factor: 3 }
}

/// Node b lost its disk, and number 4 takes the place of number 2.
fn replacing() -> Document {
    let next = roster(&[(1, "a"), (3, "c"), (4, "b")]);
    Document {
        cluster_id: ClusterId(1),
        generation: 0,
        rescue_id: 0,
        version: 5,
        fence: 3,
        phase: Phase::Joint(Joint { next, lost: vec![Ordinal(2)] }),
        hash_seed: 7,
        shift: 4,
        current: roster(&[(1, "a"), (2, "b"), (3, "c")]),
        past: Vec::new(),
        council: vec![Ordinal(1), Ordinal(2), Ordinal(3)],
        next_ordinal: 5,
        operations: Vec::new(),
    }
}

#[test]
fn while_joint_all_of_both_layouts_are_members_and_a_name_means_the_newest() {
    let document = replacing();
    let ordinals: Vec<u32> = document.members().map(|member| member.ordinal.0).collect();
    assert_eq!(ordinals, [1, 2, 3, 4]);
    let named = document.member_named(&NodeId::new("b").expect("a name"));
    assert_eq!(named.map(|member| member.ordinal), Some(Ordinal(4)));
    assert!(document.member(Ordinal(2)).is_some() && document.member(Ordinal(5)).is_none());
    assert!(document.is_leaving(Ordinal(2)));
    assert!(!document.is_leaving(Ordinal(1)) && !document.is_leaving(Ordinal(4)));
}

#[test]
fn a_rescue_goes_on_with_what_is_left_and_has_no_way_back() {
    let mut document = replacing();
    assert_eq!(document.left().count(), 3);
    let rules = |phase: &Phase| {
        [phase.can_be_cancelled(), phase.ends_with_live_majorities(), phase.majorities_hold_all()]
    };
    assert_eq!(rules(&document.phase), [true; 3]);
    let Phase::Joint(joint) = core::mem::take(&mut document.phase) else { panic!("it is joint") };
    assert_eq!(rules(&document.phase), [false, true, true], "nothing is under way");
    document.phase = Phase::Rescue(joint);
    assert_eq!(rules(&document.phase), [false; 3]);
    let left: Vec<u32> = document.left().map(|member| member.ordinal.0).collect();
    assert_eq!(left, [1, 3]);
}

#[test]
fn one_that_has_left_keeps_its_name_while_a_layout_has_it() {
    let mut document = replacing();
    let name = |document: &Document, ordinal| {
        document.name_of(Ordinal(ordinal)).map(|name| name.to_string())
    };
    assert_eq!(name(&document, 4).as_deref(), Some("b"));
    assert_eq!(name(&document, 9), None);
    let (from, to) = (roster(&[(9, "z")]), roster(&[(1, "a")]));
    document.past.push(PastChange { generation: 0, fence: 2, from, to });
    assert_eq!(name(&document, 9).as_deref(), Some("z"));
}

#[test]
fn sets_are_as_large_as_there_are_members() {
    assert_eq!(roster(&[(1, "a"), (2, "b")]).copies(), 2);
    let five = roster(&[(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")]);
    assert_eq!(five.copies(), 3);
}

#[test]
fn the_name_of_a_change_is_32_digits() {
    let id = ChangeId(0xfe_dcba);
    let text = id.to_string();
    assert_eq!(text, "00000000000000000000000000fedcba");
    assert_eq!(ChangeId::from_text(&text), Some(id));
    for wrong in ["", "fedcba", &text[1..], &text.replace('f', "+"), &text.replace('f', "g")] {
        assert_eq!(ChangeId::from_text(wrong), None, "{wrong}");
    }
}
