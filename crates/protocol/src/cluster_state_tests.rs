//! The frozen bytes of both formats, and what a broken disk may hold instead.

use paravon_model::limits::{MAX_MEMBERS, MAX_VALUE_BYTES};
use paravon_model::{ChangeId, Hlc, Phase};

use super::*;
use crate::document::{decode_document, encode_document};
use crate::peer::samples::{document, name};
use crate::vectors;

/// What was once written must be readable for ever: a changed format gets another number.
const VECTORS: &str = include_str!("../../../tests/vectors/cluster_state.txt");

fn full() -> ClusterState {
    let ballot = Ballot { round: 2, proposer: 1 };
    let disk = |start| RememberedDisk { start, run: u64::MAX, ceiling: Hlc::new(1, 2) };
    ClusterState {
        node_id: name("node-1"),
        ordinal: Some(Ordinal(1)),
        document: Some(Arc::new(document(2))),
        vote: VoteSlot {
            promised: Ballot { round: 3, proposer: 2 },
            accepted: Some(Accepted { ballot, value: Arc::new(document(3)) }),
        },
        waits_for: None,
        joining: None,
        remembered: vec![(Ordinal(2), disk(1)), (Ordinal(3), disk(2))],
    }
}

fn waiting() -> ClusterState {
    ClusterState {
        waits_for: Some(name("node-1")),
        joining: Some(ChangeId(7)),
        ..ClusterState::new(name("node-2"))
    }
}

#[test]
fn the_frozen_bytes_of_the_present_format_read_and_write_the_same() {
    let expected = [
        ("format 2, a member that has voted", encode_cluster_state(&full())),
        ("format 2, a node that waits to join", encode_cluster_state(&waiting())),
    ];
    let frozen = vectors::parse(VECTORS);
    let present: Vec<_> = frozen.iter().filter(|(name, _)| name.starts_with("format 2")).collect();
    let text: String = present.iter().map(|(name, bytes)| line(name, bytes)).collect();
    vectors::assert_same(&text, &expected);
    for ((_, bytes), state) in expected.iter().zip([full(), waiting()]) {
        assert_eq!(decode_cluster_state(bytes), Ok(StoredState::Current(state)));
    }
}

fn line(name: &str, bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}: {digits}\n")
}

fn founded_1() -> Vec<u8> {
    let frozen = vectors::parse(VECTORS);
    let (_, bytes) = frozen.iter().find(|(name, _)| name.starts_with("format 1")).unwrap();
    bytes.clone()
}

#[test]
fn a_disk_of_the_first_format_is_read() {
    let expected = StoredState::Founded1 {
        cluster_id: ClusterId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0fff),
        node_id: name("node-1"),
        ordinal: Ordinal(1),
        hash_seed: u64::MAX,
        shift: 16,
        replication_factor: 3,
    };
    assert_eq!(decode_cluster_state(&founded_1()), Ok(expected));
}

#[test]
fn no_cut_or_corrupted_state_panics_and_no_cut_one_is_taken() {
    for bytes in [encode_cluster_state(&full()), encode_cluster_state(&waiting()), founded_1()] {
        for end in 0..bytes.len() {
            assert!(decode_cluster_state(&bytes[..end]).is_err(), "cut at {end}");
        }
        let mut broken = bytes.clone();
        for at in 0..broken.len() {
            for wrong in (0..=u8::MAX).step_by(5) {
                broken[at] = wrong;
                if let Ok(StoredState::Current(state)) = decode_cluster_state(&broken) {
                    let again = decode_cluster_state(&encode_cluster_state(&state));
                    assert_eq!(again, Ok(StoredState::Current(state)));
                }
            }
            broken[at] = bytes[at];
        }
    }
}

#[test]
fn a_later_version_s_fields_are_passed_over_and_its_format_is_not() {
    let mut bytes = encode_document(&document(1));
    assert_eq!(bytes[0], 0x8e);
    bytes[0] = 0x8f;
    bytes.extend(b"\xa5later\x91\xc0");
    assert_eq!(decode_document(&bytes), Ok(document(1)));
    let mut later = encode_document(&document(1));
    later[8] += 1;
    assert_eq!(decode_document(&later).unwrap_err().field, "format");
    let mut later = encode_cluster_state(&full());
    later[8] += 1;
    assert_eq!(decode_cluster_state(&later).unwrap_err().field, "format");
    assert!(decode_cluster_state(&[3]).is_err());
}

#[test]
fn no_document_that_no_cluster_can_have_is_taken() {
    type Change = fn(&mut Document);
    let cases: [(&str, Change); 14] = [
        ("current", |d| d.current.clear()),
        ("current", |d| d.current.swap(0, 1)),
        ("current", |d| d.current[1].ordinal = Ordinal(1)),
        ("current", |d| d.current[1].node_id = d.current[0].node_id.clone()),
        ("current", |d| d.current = document(1025).current),
        ("address", |d| d.current[0].address = paravon_model::Address::new("")),
        ("council", |d| d.council.clear()),
        ("council", |d| d.council = vec![Ordinal(4)]),
        ("council", |d| d.council = vec![Ordinal(2), Ordinal(1)]),
        ("council", |d| d.council = (1..=8).map(Ordinal).collect()),
        ("next_ordinal", |d| d.next_ordinal = 3),
        ("replication_factor", |d| d.replication_factor = 8),
        ("shift", |d| d.shift = 0),
        ("operations", |d| d.operations = vec![ChangeId(1); 65]),
    ];
    for (field, change) in cases {
        let mut wrong = document(3);
        change(&mut wrong);
        assert_eq!(decode_document(&encode_document(&wrong)).unwrap_err().field, field);
    }
    assert_eq!(document(3).phase, Phase::Stable);
}

#[test]
fn the_largest_document_fits_twice_into_a_frame_between_nodes() {
    let mut largest = document(u32::try_from(MAX_MEMBERS).unwrap());
    largest.operations.truncate(64);
    for (member, number) in largest.current.iter_mut().zip(1_000..) {
        member.node_id = name(&format!("{number:064}"));
        member.zone = Some(name(&"z".repeat(64)));
        member.address = paravon_model::Address::new(&"a".repeat(512));
    }
    let bytes = encode_document(&largest);
    assert_eq!(decode_document(&bytes), Ok(largest));
    assert!(2 * bytes.len() < MAX_VALUE_BYTES, "{} bytes", bytes.len());
}

#[test]
#[should_panic(expected = "could not be read back")]
fn a_state_that_could_not_be_read_back_is_not_written() {
    let mut wrong = full();
    let mut document = document(1);
    document.council.clear();
    wrong.document = Some(Arc::new(document));
    let _ = encode_cluster_state(&wrong);
}

/// A state in which something is wrong that no field shows alone.
type Wrong = fn(&mut ClusterState);

fn accepted(state: &mut ClusterState) -> &mut Accepted {
    state.vote.accepted.as_mut().unwrap()
}

const WRONG: [(&str, Wrong); 8] = [
    ("accepted", |state| state.document = None),
    ("accepted", |state| state.document = Some(Arc::new(document(1)))),
    ("accepted", |state| state.document = Some(Arc::new(document(3)))),
    ("accepted", |state| Arc::make_mut(&mut accepted(state).value).cluster_id.0 += 1),
    ("accepted", |state| Arc::make_mut(&mut accepted(state).value).generation += 1),
    ("accepted", |state| Arc::make_mut(&mut accepted(state).value).rescue_id += 1),
    ("promised", |state| accepted(state).ballot.round = 4),
    ("remembered", |state| state.remembered[0].0 = state.remembered[1].0),
];

#[test]
fn a_vote_that_is_not_of_the_document_beside_it_is_neither_read_nor_written() {
    for (field, change) in WRONG {
        let mut state = full();
        change(&mut state);
        assert_eq!(check(&state).unwrap_err().field, field);
        let read = decode_cluster_state(&encode_unchecked(&state));
        assert_eq!(read.unwrap_err().field, field);
        let written = std::panic::catch_unwind(|| encode_cluster_state(&state));
        assert!(written.is_err(), "{field}");
    }
    let mut many = full();
    let disk = many.remembered[0].1;
    many.remembered = (0..=65_536).map(|ordinal| (Ordinal(ordinal), disk)).collect();
    assert_eq!(check(&many).unwrap_err().field, "remembered");
}
