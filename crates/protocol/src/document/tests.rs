//! Documents come back as they went, and none is taken that no cluster can have.

use paravon_model::limits::{MAX_MEMBERS, MAX_VALUE_BYTES};
use paravon_model::{Address, ChangeId, OperationKind, OperationState, Roster};
use proptest::prelude::*;

use super::*;
use crate::peer::samples::{document, joint_document, member, name, newcomer, roster};

#[test]
fn a_later_version_s_fields_are_passed_over_and_its_format_is_not() {
    let plain = encode_document(&document(1));
    assert_eq!(plain[0], 0x8f);
    let later = [b"\xde\x00\x10", &plain[1..], b"\xa5later\x91\xc0"].concat();
    assert_eq!(decode_document(&later), Ok(document(1)));
    for format in [FORMAT - 1, FORMAT + 1] {
        let mut other = plain.clone();
        other[8] = u8::try_from(format).unwrap();
        assert_eq!(decode_document(&other).unwrap_err().field, "format");
    }
}

#[test]
fn a_change_of_the_layout_comes_back_with_all_that_belongs_to_it() {
    let document = joint_document();
    let bytes = encode_document(&document);
    assert_eq!(decode_document(&bytes), Ok(document));
    // A member is written once, in however many layouts it is.
    assert_eq!(bytes.windows(11).filter(|window| window == b"node-3:6000").count(), 1);
}

#[test]
fn a_rescue_is_told_from_any_other_change() {
    let document = joint_document();
    let Phase::Joint(joint) = document.phase.clone() else { panic!("it is joint") };
    let rescue = Document { phase: Phase::Rescue(joint), ..document };
    assert_eq!(decode_document(&encode_document(&rescue)), Ok(rescue));
}

/// Something that makes a document one that no cluster can have.
type Change = fn(&mut Document);

const WRONG: [(&str, Change); 31] = [
    ("current", |d| d.current.members.clear()),
    ("current", |d| d.current.members.swap(0, 1)),
    ("current", |d| d.current.members[1] = d.current.members[0].clone()),
    ("current", |d| every(d, 2, |member| member.node_id = name("node-1"))),
    ("ordinals", |d| d.current = document(1025).current),
    ("address", |d| every(d, 1, |member| member.address = Address::new(""))),
    ("replication_factor", |d| d.current.replication_factor = 0),
    ("next", |d| joint(d).next.members.clear()),
    ("next", |d| joint(d).next.members.swap(0, 1)),
    ("next", |d| joint(d).next.members[2].node_id = name("node-1")),
    ("next", |d| (d.current.members[2].ordinal, d.next_ordinal) = (Ordinal(6), 7)),
    ("replication_factor", |d| joint(d).next.replication_factor = 8),
    ("lost", |d| joint(d).lost = vec![Ordinal(1)]),
    ("lost", |d| joint(d).lost = vec![Ordinal(5)]),
    ("lost", |d| joint(d).lost = vec![Ordinal(2); 2]),
    ("lost", |d| joint(d).lost = vec![Ordinal(2); 1025]),
    ("past", |d| d.past[0].fence = 6),
    ("past", |d| d.past.push(d.past[0].clone())),
    ("past", |d| d.past[0].from.members.clear()),
    ("past", |d| d.past[0].to.members.swap(0, 1)),
    ("past", |d| {
        d.past = (0..33).map(|at| PastChange { fence: at, ..d.past[0].clone() }).collect()
    }),
    ("council", |d| d.council.clear()),
    ("council", |d| d.council = vec![Ordinal(5)]),
    ("council", |d| d.council = vec![Ordinal(2), Ordinal(1)]),
    ("council", |d| d.council = (1..=8).map(Ordinal).collect()),
    ("next_ordinal", |d| d.next_ordinal = 5),
    ("shift", |d| d.shift = 0),
    ("operations", |d| d.operations[1].id = d.operations[0].id),
    ("operations", |d| d.operations = document(130).operations),
    ("factor", |d| d.operations[0].kind = OperationKind::SetReplication { factor: 8 }),
    ("address", |d| {
        let address = Address::new(" ");
        let by = paravon_model::Newcomer { address, ..newcomer("n") };
        d.operations[0].kind = OperationKind::Replace { member: Ordinal(1), by };
    }),
];

/// Changes a member of `current` in all layouts.
fn every(document: &mut Document, ordinal: u32, change: fn(&mut Member)) {
    let Phase::Joint(joint) = &mut document.phase else { panic!("a joint document") };
    let past = document.past.iter_mut().flat_map(|change| [&mut change.from, &mut change.to]);
    for roster in past.chain([&mut document.current, &mut joint.next]) {
        roster.members.iter_mut().filter(|member| member.ordinal.0 == ordinal).for_each(change);
    }
}

fn joint(document: &mut Document) -> &mut Joint {
    match &mut document.phase {
        Phase::Joint(joint) | Phase::Rescue(joint) => joint,
        Phase::Stable => panic!("a joint document"),
    }
}

#[test]
fn no_document_that_no_cluster_can_have_is_taken() {
    assert_eq!(check_document(&joint_document()), Ok(()));
    for (number, (field, change)) in WRONG.into_iter().enumerate() {
        let mut wrong = joint_document();
        change(&mut wrong);
        let read = decode_document(&encode_document(&wrong));
        assert_eq!(read.unwrap_err().field, field, "number {number}");
    }
}

#[test]
fn an_ordinal_means_one_member_in_all_layouts() {
    let mut wrong = joint_document();
    joint(&mut wrong).next.members[0].address = Address::new("elsewhere:6000");
    assert_eq!(check_document(&wrong).unwrap_err().field, "members");
}

#[test]
fn a_phase_and_its_parts_come_together() {
    let bytes = encode_document(&joint_document());
    let at = bytes.windows(6).position(|window| window == b"\xa5joint").unwrap();
    let stable = [&bytes[..at], b"\xa6stable", &bytes[at + 6..]].concat();
    assert_eq!(decode_document(&stable).unwrap_err().field, "phase");
    let unknown = [&bytes[..at], b"\xa5split", &bytes[at + 6..]].concat();
    assert_eq!(decode_document(&unknown).unwrap_err().field, "phase");
    let bytes = encode_document(&document(2));
    let at = bytes.windows(7).position(|window| window == b"\xa6stable").unwrap();
    let half = [&bytes[..at], b"\xa5joint", &bytes[at + 7..]].concat();
    assert_eq!(decode_document(&half).unwrap_err().field, "next");
}

#[test]
fn a_layout_names_only_members_that_are_listed() {
    let bytes = encode_document(&document(3));
    let current = b"\xa7current\x92\x03\x93\x01\x02\x03";
    let at = bytes.windows(current.len()).position(|window| window == current).unwrap();
    let mut unlisted = bytes.clone();
    unlisted[at + current.len() - 1] = 4;
    assert_eq!(decode_document(&unlisted).unwrap_err().field, "current");
    // Without an order no ordinal could be looked up.
    let ordinal = b"\xa7ordinal\x02";
    let at = bytes.windows(ordinal.len()).position(|window| window == ordinal).unwrap();
    let mut unsorted = bytes;
    unsorted[at + ordinal.len() - 1] = 9;
    assert_eq!(decode_document(&unsorted).unwrap_err().field, "members");
}

/// A member with the longest fields.
fn long(ordinal: u32) -> Member {
    Member {
        ordinal: Ordinal(u32::MAX - 10_000 + ordinal),
        node_id: name(&format!("{ordinal:064}")),
        size: paravon_model::Size::Xxl,
        zone: Some(name(&"z".repeat(64))),
        address: Address::new(&"a".repeat(512)),
    }
}

/// The largest there is: the longest members, as many operations as possible, and as many changes, each
/// of which replaced as many members as operations can.
fn largest() -> Document {
    let layout = |change: usize| {
        let first = u32::try_from(change * MAX_DOCUMENT_OPERATIONS).unwrap();
        let members = first..first + u32::try_from(MAX_MEMBERS).unwrap();
        Roster { members: members.map(long).collect(), replication_factor: 7 }
    };
    let past = (0..MAX_PAST_CHANGES).map(|change| PastChange {
        generation: 0,
        fence: u64::MAX - 100 + change as u64,
        from: layout(change),
        to: layout(change + 1),
    });
    let by = |number: u32| {
        let Member { node_id, size, zone, address, .. } = long(number);
        paravon_model::Newcomer { node_id, size, zone, address }
    };
    let operations = (0..u32::try_from(MAX_DOCUMENT_OPERATIONS).unwrap()).map(|number| Operation {
        id: ChangeId(u128::MAX - u128::from(number)),
        kind: OperationKind::Replace { member: long(number).ordinal, by: by(number) },
        state: OperationState::Cancelled,
    });
    let current = layout(MAX_PAST_CHANGES);
    let lost = current.members[..MAX_DOCUMENT_OPERATIONS].iter().map(|member| member.ordinal);
    let lost = lost.collect();
    let council = current.members[..MAX_COUNCIL].iter().map(|member| member.ordinal).collect();
    Document {
        fence: u64::MAX,
        phase: Phase::Joint(Joint { next: layout(MAX_PAST_CHANGES + 1), lost }),
        current,
        past: past.collect(),
        council,
        next_ordinal: u32::MAX,
        operations: operations.collect(),
        ..document(1)
    }
}

#[test]
fn the_largest_document_fits_twice_into_a_frame_between_nodes() {
    let largest = largest();
    assert_eq!(distinct(&largest).len(), MAX_DOCUMENT_MEMBERS);
    let bytes = encode_document(&largest);
    assert_eq!(decode_document(&bytes), Ok(largest));
    assert!(2 * bytes.len() < MAX_VALUE_BYTES, "{} bytes", bytes.len());
}

#[test]
fn a_document_that_names_more_members_than_any_can_is_neither_read_nor_written() {
    let mut larger = largest();
    let next = &mut joint(&mut larger).next.members;
    let first = next.len() - MAX_DOCUMENT_OPERATIONS - 1;
    next.remove(first);
    next.push(long(9_999));
    assert_eq!(check_document(&larger).unwrap_err().field, "members");
    assert_eq!(decode_document(&encode_document(&larger)).unwrap_err().field, "members");
}

/// A document on the way from some members to others, after some changes.
fn any_document() -> impl Strategy<Value = Document> {
    let keeps = prop::collection::vec(any::<bool>(), 1..12);
    let past = prop::collection::btree_map(0..50_u64, (1..20_u32, 1..20_u32), 0..8);
    (keeps, 0..5_u32, any::<bool>(), past, any::<[u64; 3]>()).prop_map(
        |(keeps, new, is_joint, past, [generation, version, hash_seed])| {
            let members = u32::try_from(keeps.len()).unwrap();
            let kept = (1..=members).zip(&keeps).filter(|(_, keep)| **keep).map(|(at, _)| at);
            // Numbers up to 20 were given to members that came in changes that are past.
            let next: Vec<u32> = kept.chain(21..=21 + new).collect();
            let gone = (1..=members).filter(|ordinal| !next.contains(ordinal));
            let lost = gone.step_by(2).map(Ordinal).collect();
            let joint = Phase::Joint(Joint { next: roster(next), lost });
            let past = past.into_iter().map(|(fence, (from, to))| PastChange {
                generation,
                fence,
                from: roster(1..=from),
                to: roster(2..=to.max(2)),
            });
            Document {
                generation,
                version,
                hash_seed,
                fence: 50,
                phase: if is_joint { joint } else { Phase::Stable },
                past: past.collect(),
                next_ordinal: member(26).ordinal.0,
                ..document(members)
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_document_comes_back(document in any_document()) {
        prop_assert_eq!(check_document(&document), Ok(()));
        prop_assert_eq!(decode_document(&encode_document(&document)), Ok(document));
    }

    #[test]
    fn what_is_understood_of_a_corrupted_document_comes_back_the_same(
        document in any_document(),
        (at, wrong) in any::<(usize, u8)>(),
    ) {
        let mut bytes = encode_document(&document);
        let at = at % bytes.len();
        bytes[at] = wrong;
        if let Ok(document) = decode_document(&bytes) {
            prop_assert_eq!(decode_document(&encode_document(&document)), Ok(document));
        }
    }
}
