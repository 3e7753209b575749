//! The frozen bytes of all formats, and what a broken disk may hold instead.

use paravon_model::{ChangeId, Hlc};

use super::*;
use crate::peer::samples::{document, joint_document, name};
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
        stored: Some(Fence { generation: 0, number: 1 }),
        vote: VoteSlot {
            promised: Ballot { round: 3, proposer: 2 },
            accepted: Some(Accepted { ballot, value: Arc::new(document(3)) }),
        },
        waits_for: None,
        joining: None,
        remembered: vec![(Ordinal(2), disk(1)), (Ordinal(3), disk(2))],
    }
}

/// A member that has not stored the change under way.
fn changing() -> ClusterState {
    ClusterState {
        document: Some(Arc::new(joint_document())),
        stored: Some(Fence { generation: 0, number: 5 }),
        vote: VoteSlot::default(),
        ..full()
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
        ("format 3, a member that has voted", encode_cluster_state(&full())),
        ("format 3, a member while the layout changes", encode_cluster_state(&changing())),
        ("format 3, a node that waits to join", encode_cluster_state(&waiting())),
    ];
    let frozen = vectors::parse(VECTORS);
    let present: Vec<_> = frozen.iter().filter(|(name, _)| name.starts_with("format 3")).collect();
    let text: String = present.iter().map(|(name, bytes)| line(name, bytes)).collect();
    vectors::assert_same(&text, &expected);
    for ((_, bytes), state) in expected.iter().zip([full(), changing(), waiting()]) {
        assert_eq!(decode_cluster_state(bytes), Ok(StoredState::Current(state)));
    }
}

fn line(name: &str, bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}: {digits}\n")
}

fn frozen(start: &str) -> Vec<u8> {
    let frozen = vectors::parse(VECTORS);
    let (_, bytes) = frozen.iter().find(|(name, _)| name.starts_with(start)).unwrap();
    bytes.clone()
}

fn founded_1() -> Vec<u8> {
    frozen("format 1")
}

#[test]
fn a_disk_of_the_second_format_has_stored_its_document_and_names_no_operations() {
    let without_operations =
        |members| Arc::new(Document { operations: Vec::new(), ..document(members) });
    let mut voted = full();
    voted.document = Some(without_operations(2));
    voted.stored = Some(Fence { generation: 0, number: 2 });
    accepted(&mut voted).value = without_operations(3);
    for (start, state) in [("format 2, a member", voted), ("format 2, a node", waiting())] {
        let read = decode_cluster_state(&frozen(start));
        assert_eq!(read, Ok(StoredState::Current(state.clone())), "{start}");
        let again = decode_cluster_state(&encode_cluster_state(&state));
        assert_eq!(again, Ok(StoredState::Current(state)), "{start}");
    }
}

#[test]
fn a_document_belongs_to_the_format_of_its_state() {
    let mut relabelled = encode_cluster_state(&full());
    relabelled[8] -= 1;
    assert_eq!(decode_cluster_state(&relabelled).unwrap_err().field, "format");
    let mut relabelled = frozen("format 2, a member");
    relabelled[8] += 1;
    assert_eq!(decode_cluster_state(&relabelled).unwrap_err().field, "format");
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
    let present = [full(), changing(), waiting()].map(|state| encode_cluster_state(&state));
    let earlier = ["format 1", "format 2, a member", "format 2, a node"].map(frozen);
    for bytes in present.into_iter().chain(earlier) {
        for end in 0..bytes.len() {
            assert!(decode_cluster_state(&bytes[..end]).is_err(), "cut at {end}");
        }
        let mut broken = bytes.clone();
        let step = if bytes.len() > 300 { 15 } else { 5 };
        for at in 0..broken.len() {
            for wrong in (0..=u8::MAX).step_by(step) {
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
fn a_state_of_a_later_format_is_refused() {
    let mut later = encode_cluster_state(&full());
    later[8] += 1;
    assert_eq!(decode_cluster_state(&later).unwrap_err().field, "format");
    assert!(decode_cluster_state(&[3]).is_err());
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

const WRONG: [(&str, Wrong); 10] = [
    ("stored", |state| state.document = None),
    ("stored", |state| state.stored = Some(Fence { generation: 0, number: 3 })),
    ("accepted", |state| (state.document, state.stored) = (None, None)),
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
