//! Every message comes back as it went, and no bytes make a decoder panic.

use std::sync::Arc;
use std::time::Duration;

use paravon_model::limits::{
    MAX_FOLDS, MAX_KEY_BYTES, MAX_PAGE_RECORDS, MAX_REQUEST_TIMEOUT, MAX_SWIM_BYTES,
    MAX_VALUE_BYTES,
};
use paravon_model::{
    Address, Body, ChangeId, Class, ClusterMessage, Command, Compare, Compared, Damage, Detail,
    Digest, Failure, Fence, Hlc, Key, Kind, Listed, Marks, Merged, Moment, Newcomer, NodeId,
    OperationKind, Ordinal, Outcome, Part, Progress, Pull, Pulled, Purpose, Record, ReplicaReply,
    ReplicaRequest, Report, Rest, Size, Unlisted, Value, Version,
};
use proptest::prelude::*;

use super::samples::{document, encoded, failures, hellos, samples, version};
use super::{PeerFrame, decode_peer_frame, is_peer_frame};
use crate::envelope::Envelope;
use crate::frame::{FrameLimit, HEADER_BYTES, split_frame};
use crate::hello::{Hello, Limits, Welcome};
use crate::reader::{DecodeError, Problem};
use crate::vectors;

const VECTORS: &str = include_str!("../../../../tests/vectors/peer.txt");

fn decode(payload: &[u8]) -> Result<PeerFrame, DecodeError> {
    decode_peer_frame(payload, MAX_VALUE_BYTES)
}

fn round_trip(frame: &PeerFrame) -> PeerFrame {
    let bytes = encoded(frame);
    let payload = split_frame(&bytes, FrameLimit::PEER).unwrap().expect("a whole frame");
    assert_eq!(payload.end, bytes.len());
    assert!(is_peer_frame(&bytes[payload.clone()]));
    decode(&bytes[payload]).expect("our own encoding")
}

fn hello_frame(node: Option<paravon_model::PeerHello>) -> Vec<u8> {
    let (client_id, program) = (String::new(), "paravon 0.1.0".to_owned());
    let mut out = Vec::new();
    Hello { protocol: 1, client_id, program, node }.encode(Some(1), &mut out);
    out
}

#[test]
fn every_message_is_its_vector() {
    let messages = samples();
    let mut expected: Vec<_> =
        messages.iter().map(|(name, frame)| (*name, encoded(frame))).collect();
    expected.extend(hellos().map(|(name, hello)| (name, hello_frame(Some(hello)))));
    vectors::assert_same(VECTORS, &expected);
    for (name, frame) in messages {
        assert_eq!(round_trip(&frame), frame, "{name}");
    }
}

#[test]
fn a_failure_detector_s_message_is_bounded_before_it_is_copied() {
    let swim = |bytes| PeerFrame::Cluster(ClusterMessage::Swim(vec![7; bytes]));
    assert_eq!(round_trip(&swim(MAX_SWIM_BYTES)), swim(MAX_SWIM_BYTES));
    let longer = encoded(&swim(MAX_SWIM_BYTES + 1));
    assert_eq!(decode(&longer[HEADER_BYTES..]).unwrap_err().field, "swim");
}

#[test]
fn every_failure_keeps_its_numbers_and_its_outcome() {
    for failure in failures() {
        let answer = Err(failure);
        let reply = ReplicaReply::Stored { stamp: version(1), answer };
        let frame = PeerFrame::Reply { shard: 0, operation: 0, reply };
        assert_eq!(round_trip(&frame), frame);
    }
}

#[test]
fn a_failure_of_a_later_version_keeps_its_outcome() {
    let read = |failure: &[u8]| {
        let payload = [&[0x96, 4, 0, 0, 0, 2][..], failure].concat();
        match decode(&payload) {
            Ok(PeerFrame::Reply { reply: ReplicaReply::Found { answer, .. }, .. }) => answer,
            other => panic!("{other:?}"),
        }
    };
    let internal = |outcome| Err(Failure::Internal { id: 0, outcome });
    assert_eq!(read(&[0x94, 99, 0, 0xa1, b'x', 7]), internal(Outcome::Refused));
    assert_eq!(read(&[0x92, 99, 1]), internal(Outcome::Unknown));
    assert_eq!(read(&[0x92, 99, 2]), internal(Outcome::Unknown), "an outcome of a later version");
    assert_eq!(read(&[0x92, 5, 1]), internal(Outcome::Unknown), "a full disk, perhaps stored");
    assert_eq!(read(&[0x93, 10, 0, 7]), Err(Failure::NotReady), "with a later version's number");
}

#[test]
fn items_of_a_later_version_are_passed_over() {
    assert_eq!(decode(&[0x91, 22]), Ok(PeerFrame::Cluster(ClusterMessage::AskToFound)));
    let more = [0x93, 22, 0x81, 1, 2, 0xc4, 1, 0];
    assert_eq!(decode(&more), Ok(PeerFrame::Cluster(ClusterMessage::AskToFound)));
}

#[test]
fn every_way_to_be_wrong_names_its_field() {
    let mut long_key = vec![0x97, 2, 0, 0, 0, 1, 0, 0xc5];
    let key_bytes = u16::try_from(8 + MAX_KEY_BYTES + 1).unwrap();
    long_key.extend(key_bytes.to_be_bytes());
    long_key.extend(b"\x07default");
    long_key.resize(long_key.len() + MAX_KEY_BYTES + 1, b'k');
    let cases: [(&[u8], &str); 48] = [
        (b"", "message"),
        (b"\x80", "message"),
        (b"\x90", "tag"),
        (b"\x91\x00", "tag"),
        (b"\x91\x0b", "tag"),
        (b"\x91\x21", "tag"),
        (b"\x91\xcd\x01\x02", "tag"),
        (b"\x91\x16\x00", "message"),
        (b"\x92\x01\xce\x00\x01\x00\x00", "shard"),
        (b"\x92\x01\x00", "operation"),
        (b"\x97\x02\x00\x00\x00\x01\x00\xa1k", "key"),
        (b"\x97\x02\x00\x00\x00\x01\x00\xc4\x01\x05", "key"),
        (&long_key, "key"),
        (b"\x97\x03\x00\x00\x07\x00\x04\xc0", "answer"),
        (b"\x96\x04\x00\x00\xc0\x00\xc0", "floor"),
        (b"\x96\x04\x00\x00\x00\x03\xc0", "answer"),
        (b"\xdd\xff\xff\xff\xff\x16", "message"),
        (b"\x93\x1f\xc4\x0f000000000000000\xc0", "id"),
        (b"\x9a\x07\x00\x00\x00\x01\x00\xce\x01\x00\x00\x00\xc0\x00\xc0", "partition"),
        (b"\x9a\x07\x00\x00\x00\x01\x00\x00\x10\x00\xc0", "part"),
        (b"\x9a\x07\x00\x00\x00\x01\x00\x00\xc0\x02\xc0", "detail"),
        (b"\x9a\x07\x00\x00\x00\x01\x00\x00\xc0\x01\xc4\x01\x05", "after"),
        (b"\x95\x08\x00\x00\x00\xc0", "answer"),
        (b"\x97\x08\x00\x00\x01\x03\x90\xc2", "pulled"),
        (b"\x97\x08\x00\x00\x01\x02\x90\xc2", "key"),
        (b"\x97\x08\x00\x00\x01\x00\xdc\x02\x01\xc2", "listing"),
        (b"\x97\x08\x00\x00\x01\x01\xdd\xff\xff\xff\xff\xc2", "records"),
        (b"\x97\x08\x00\x00\x01\x01\x90\x00", "more"),
        (b"\x97\x09\x00\x00\x00\x01\x00\x03", "compare"),
        (b"\x9c\x09\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01", "modulus"),
        (b"\x9c\x09\x00\x00\x00\x01\x00\x00\x02\x02\x00\x00\x01", "residue"),
        (b"\x9c\x09\x00\x00\x00\x01\x00\x00\x02\x01\x19\x00\x01", "span"),
        (b"\x9c\x09\x00\x00\x00\x01\x00\x00\x02\x01\x18\x00\x00", "count"),
        (b"\x9c\x09\x00\x00\x00\x01\x00\x00\x02\x01\x18\x00\xcd\x04\x01", "count"),
        (b"\x9c\x09\x00\x00\x00\x01\x00\x02\x02\x01\x00\x00\xce\x01\x00\x00\x00", "first"),
        (b"\x95\x0a\x00\x00\x00", "answer"),
        (b"\x96\x0a\x00\x00\x01\x04\xc0", "compared"),
        (b"\x96\x0a\x00\x00\x01\x00\xdc\x04\x01", "folds"),
        (b"\x96\x0a\x00\x00\x01\x01\xc4\x02\x00\x00", "digest"),
        (b"\x9a\x0a\x00\x00\x01\x02\xdc\x04\x01\x00\xc0\x00\x00", "marks"),
        (b"\x9a\x0a\x00\x00\x01\x02\x91\x95\x00\x02\x01\x03\x00\x00\xc0\x00\x00", "closed"),
        (b"\x9a\x0a\x00\x00\x01\x02\x91\x95\x00\x00\x00\x00\x02\x00\xc0\x00\x00", "damage"),
        (b"\x9a\x0a\x00\x00\x01\x02\x91\x91\x00\x00\xc0\x00\x00", "floor"),
        (b"\x9a\x0a\x00\x00\x01\x02\x90\x02\xc0\x00\x00", "unlisted"),
        (b"\x9a\x0a\x00\x00\x01\x02\x91\x95\x01\x00\x00\x00\x00\x00\x01\x00\x00", "next"),
        (b"\x9a\x0a\x00\x00\x01\x02\x91\x92\x01\xc0\x01\x01\x00\x00", "next"),
        (b"\x9a\x0a\x00\x00\x01\x02\x90\x01\x01\x00\x00", "next"),
        (b"\x96\x0a\x00\x00\x01\x03\x00", "shards"),
    ];
    for (payload, field) in cases {
        let error = decode(payload).unwrap_err();
        assert_eq!(error.field, field, "{error}: {}", payload.escape_ascii());
    }
}

#[test]
fn marks_come_in_order_and_once() {
    let marks = |partitions: &[u32]| {
        let marks = partitions.iter().map(|partition| (*partition, None)).collect();
        let (unlisted, moment) = (Unlisted::Unmarked, Moment::default());
        let answer = Ok(Compared::Marks { marks, unlisted, next: None, moment });
        let reply = ReplicaReply::Compared { answer };
        let frame = encoded(&PeerFrame::Reply { shard: 0, operation: 0, reply });
        decode(&frame[HEADER_BYTES..]).map(drop).map_err(|error| error.field)
    };
    assert_eq!(marks(&[1, 2, 7]), Ok(()));
    assert_eq!(marks(&[2, 1]), Err("marks"));
    assert_eq!(marks(&[2, 2]), Err("marks"));
}

#[test]
fn the_fullest_answer_about_folds_takes_18_bytes_for_each() {
    let folds = Compared::Folds(vec![Some(u128::MAX); usize::from(MAX_FOLDS)]);
    let reply = ReplicaReply::Compared { answer: Ok(folds) };
    let frame = PeerFrame::Reply { shard: u16::MAX, operation: u64::MAX, reply };
    assert_eq!(round_trip(&frame), frame);
    let bytes = encoded(&frame).len();
    assert!(bytes <= 18 * usize::from(MAX_FOLDS) + 32, "{bytes}");
}

#[test]
fn no_message_of_an_earlier_version_is_taken_for_another() {
    for tag in 25..=28 {
        let message = [&[0x93, tag, 0xc4, 16][..], &[0; 16], &[0xc0]].concat();
        assert_eq!(decode(&message).unwrap_err().field, "tag");
    }
}

#[test]
fn the_fullest_pages_fit_into_a_frame() {
    let key = |number: usize| {
        let mut bytes = [b'k'; MAX_KEY_BYTES];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        Key::new(&"n".repeat(64), &bytes).unwrap()
    };
    let listed = (0..MAX_PAGE_RECORDS).map(|number| {
        let version = version(u64::MAX >> 16);
        Listed { key: key(number), version, check: u64::MAX }
    });
    let listing = Pulled::Listing { listed: listed.collect(), rest: Rest::More };
    let value = |bytes| Body::Live(Value::bytes(&vec![7; bytes]));
    let record = |body| Record { version: version(1), expires_ms: Some(u64::MAX), body };
    let longest = vec![(key(0), record(value(MAX_VALUE_BYTES)))];
    let short = (0..MAX_PAGE_RECORDS).map(|number| (key(number), record(value(512))));
    for records in [longest, short.collect()] {
        let answer = Ok(Pulled::Records { records, rest: Rest::End });
        let frame =
            PeerFrame::Reply { shard: 0, operation: 0, reply: ReplicaReply::Pulled { answer } };
        assert_eq!(round_trip(&frame), frame);
    }
    let reply = ReplicaReply::Pulled { answer: Ok(listing) };
    let frame = PeerFrame::Reply { shard: 0, operation: 0, reply };
    assert_eq!(round_trip(&frame), frame);
}

#[test]
fn time_left_is_rounded_down_and_cut_to_the_longest() {
    let time_left = |time_left| {
        let key = Key::new("default", b"k").unwrap();
        let command = Command::Read { key };
        let request = ReplicaRequest { fence: Fence::default(), time_left, command };
        match round_trip(&PeerFrame::Request { shard: 0, operation: 0, request }) {
            PeerFrame::Request { request, .. } => request.time_left,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(time_left(Duration::from_micros(1999)), Duration::from_millis(1));
    assert_eq!(time_left(Duration::from_micros(999)), Duration::ZERO);
    assert_eq!(time_left(Duration::MAX), MAX_REQUEST_TIMEOUT);
    let forged = b"\x97\x02\x00\x00\x00\x01\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xc4\x03\x01ak";
    let Ok(PeerFrame::Request { request, .. }) = decode(forged) else { panic!("a request") };
    assert_eq!(request.time_left, MAX_REQUEST_TIMEOUT);
}

#[test]
fn a_value_is_measured_before_it_is_copied() {
    let frame = &samples()[0].1;
    let payload = &encoded(frame)[HEADER_BYTES..];
    assert!(decode_peer_frame(payload, 1).is_ok());
    let error = decode_peer_frame(payload, 0).unwrap_err();
    let expected = "a shorter value";
    assert_eq!((error.field, error.problem), ("value", Problem::OutOfRange { expected }));
}

#[test]
fn no_cut_message_is_taken() {
    for (name, frame) in samples() {
        let bytes = encoded(&frame);
        for end in HEADER_BYTES..bytes.len() {
            assert!(decode(&bytes[HEADER_BYTES..end]).is_err(), "{name}, cut at {end}");
        }
    }
}

#[test]
fn what_is_understood_of_a_corrupted_message_comes_back_the_same() {
    for (_, frame) in samples() {
        let mut payload = encoded(&frame).split_off(HEADER_BYTES);
        // Messages with several documents are long and alike.
        let step = if payload.len() > 200 { 15 } else { 1 };
        for at in 0..payload.len() {
            let right = payload[at];
            for wrong in (0..=u8::MAX).step_by(step) {
                payload[at] = wrong;
                if let Ok(frame) = decode(&payload) {
                    assert_eq!(round_trip(&frame), frame);
                }
            }
            payload[at] = right;
        }
    }
}

#[test]
fn a_hello_carries_the_node_both_ways_and_a_client_s_is_unchanged() {
    let limits = Limits { key_bytes: 4096, value_bytes: 1 << 20, in_flight: 1024 };
    for node in hellos().map(|(_, hello)| Some(hello)).into_iter().chain([None]) {
        let bytes = hello_frame(node.clone());
        let envelope = Envelope::decode(&bytes[HEADER_BYTES..]).unwrap();
        assert_eq!(Hello::decode(envelope.data).unwrap().node, node);
        let (node_id, cluster_id) = ("n".to_owned(), String::new());
        let limits = limits.clone();
        let mut bytes = Vec::new();
        let welcome = Welcome { protocol: 1, node_id, cluster_id, limits, node };
        welcome.encode(None, &mut bytes);
        let envelope = Envelope::decode(&bytes[HEADER_BYTES..]).unwrap();
        assert_eq!(Welcome::decode(envelope.data).unwrap(), welcome);
    }
    let client = hello_frame(None);
    assert!(!client.windows(5).any(|window| window == b"\xa4node"));
    assert_eq!(Hello::decode(b"\x81\xa8protocol\x01").unwrap().node, None);
}

#[test]
fn a_hello_is_checked_as_it_is_read() {
    let of = |node: &[u8]| {
        Hello::decode(&[&b"\x82\xa8protocol\x01\xa4node"[..], node].concat())
            .map_err(|error| error.to_string())
    };
    let tail = b"\xa5start\x01\xa3run\x02\xa7ceiling\x03";
    let node = |head: &[u8], rest: &[u8]| [head, rest, tail].concat();
    let good = node(b"\x85", b"\xa7node_id\xa1n\xa7address\xa3n:1");
    assert_eq!(of(&good).unwrap().node.unwrap().start, 1);
    let part = b"\xa7node_id\xa1n\xa7address\xa3n:1\xa7ordinal\x05";
    assert!(of(&node(b"\x86", part)).unwrap_err().contains("all of its cluster or nothing"));
    let name = b"\xa7node_id\xa1!\xa7address\xa3n:1";
    assert!(of(&node(b"\x85", name)).unwrap_err().contains("node_id"));
    let address = b"\xa7node_id\xa1n\xa7address\xa2 1";
    assert!(of(&node(b"\x85", address)).unwrap_err().contains("address"));
    for (_, hello) in hellos() {
        let mut payload = hello_frame(Some(hello)).split_off(HEADER_BYTES);
        for at in 0..payload.len() {
            let right = payload[at];
            for wrong in 0..=u8::MAX {
                payload[at] = wrong;
                let envelope = Envelope::decode(&payload);
                let _ = envelope.map(|envelope| Hello::decode(envelope.data));
            }
            payload[at] = right;
        }
    }
}

fn any_key() -> impl Strategy<Value = Key> {
    ("[A-Za-z0-9._-]{1,64}", prop::collection::vec(any::<u8>(), 1..300))
        .prop_map(|(namespace, key)| Key::new(&namespace, &key).unwrap())
}

fn any_version() -> impl Strategy<Value = Version> {
    (any::<u64>(), any::<u32>())
        .prop_map(|(hlc, ordinal)| Version { hlc: Hlc::from_u64(hlc), ordinal: Ordinal(ordinal) })
}

fn any_record() -> impl Strategy<Value = Record> {
    let kind = prop_oneof![Just(Kind::Bytes), Just(Kind::Msgpack)];
    let value = (kind, prop::collection::vec(any::<u8>(), 0..2_000))
        .prop_map(|(kind, bytes)| Body::Live(Value { kind, bytes: bytes.into() }));
    let body = prop_oneof![Just(Body::Tombstone), value];
    (any_version(), any::<Option<u64>>(), body).prop_map(|(version, expires_ms, body)| Record {
        version,
        expires_ms,
        body,
    })
}

fn any_command() -> impl Strategy<Value = Command> {
    let purpose = prop_oneof![Just(Purpose::Write), Just(Purpose::Repair), Just(Purpose::Hint)];
    prop_oneof![
        any_key().prop_map(|key| Command::Read { key }),
        (any_key(), any_record(), purpose).prop_map(|(key, record, purpose)| Command::Store {
            key,
            record,
            purpose
        }),
        (0..1_u32 << 24, any_pull())
            .prop_map(|(partition, pull)| Command::Pull { partition, pull }),
        any_compare().prop_map(Command::Compare),
    ]
}

fn any_pull() -> impl Strategy<Value = Pull> {
    let part = prop_oneof![Just(Part::Whole), (0..16_u8).prop_map(Part::Sixteenth)];
    let detail = prop_oneof![Just(Detail::Listing), Just(Detail::Record)];
    (part, detail, prop::option::of(any_key())).prop_map(|(part, detail, after)| Pull {
        part,
        detail,
        after,
    })
}

fn any_compare() -> impl Strategy<Value = Compare> {
    let class = || {
        (1..1_u32 << 24)
            .prop_flat_map(|modulus| (Just(modulus), 0..modulus))
            .prop_map(|(modulus, residue)| Class { modulus, residue })
    };
    let partition = || 0..1_u32 << 24;
    prop_oneof![
        (class(), 0..=24_u8, partition(), 1..=MAX_FOLDS)
            .prop_map(|(class, span, first, count)| Compare::Folds { class, span, first, count }),
        partition().prop_map(|partition| Compare::Digest { partition }),
        (class(), any_moment(), partition()).prop_map(|(class, since, first)| Compare::Marks {
            class,
            since,
            first
        }),
    ]
}

fn any_moment() -> impl Strategy<Value = Moment> {
    any::<(u64, u64)>().prop_map(|(run, changes)| Moment { run, changes })
}

fn any_marks() -> impl Strategy<Value = Marks> {
    let damage = prop_oneof![Just(Damage::None), Just(Damage::Lost)];
    (any::<[u64; 3]>(), damage).prop_map(|(mut marks, damage)| {
        marks.sort_unstable();
        let [floor, full, closed] = marks.map(Hlc::from_u64);
        Marks { floor, full, closed, damage }
    })
}

fn any_compared() -> impl Strategy<Value = Compared> {
    let marks = prop::option::of(any_marks());
    let marks = prop::collection::btree_map(0..1_u32 << 20, marks, 0..20);
    let unlisted = prop_oneof![Just(Unlisted::Unchanged), Just(Unlisted::Unmarked)];
    let next = prop::option::of(1_u32 << 20..1 << 24);
    prop_oneof![
        prop::collection::vec(any::<Option<u128>>(), 0..40).prop_map(Compared::Folds),
        any::<Option<[u128; 16]>>()
            .prop_map(|sums| Compared::Digest(sums.map(|sums| Box::new(Digest(sums))))),
        (marks, unlisted, next, any_moment()).prop_map(|(marks, unlisted, next, moment)| {
            let marks: Vec<_> = marks.into_iter().collect();
            let next = next.filter(|_| !marks.is_empty());
            Compared::Marks { marks, unlisted, next, moment }
        }),
        (1..=u16::MAX).prop_map(Compared::Shards),
    ]
}

fn any_listed() -> impl Strategy<Value = Listed> {
    (any_key(), any_version(), any::<u64>()).prop_map(|(key, version, check)| Listed {
        key,
        version,
        check,
    })
}

fn any_pulled() -> impl Strategy<Value = Pulled> {
    let rest = || prop_oneof![Just(Rest::More), Just(Rest::End)];
    let listed = prop::collection::vec(any_listed(), 0..20);
    let records = prop::collection::vec((any_key(), any_record()), 0..8);
    prop_oneof![
        (listed, rest()).prop_map(|(listed, rest)| Pulled::Listing { listed, rest }),
        (records, rest()).prop_map(|(records, rest)| Pulled::Records { records, rest }),
        any_key().prop_map(|key| Pulled::Damaged { key }),
    ]
}

fn any_newcomer() -> impl Strategy<Value = Newcomer> {
    let name = || "[A-Za-z0-9._-]{1,64}".prop_map(|text| NodeId::new(&text).unwrap());
    let size = prop::sample::select(Size::NAMES.map(|(_, size)| size).to_vec());
    let address = "[!-~]{1,512}".prop_map(|text| Address::new(&text));
    (name(), size, prop::option::of(name()), address)
        .prop_map(|(node_id, size, zone, address)| Newcomer { node_id, size, zone, address })
}

fn any_operation() -> impl Strategy<Value = OperationKind> {
    let member = || any::<u32>().prop_map(Ordinal);
    prop_oneof![
        any_newcomer().prop_map(OperationKind::Join),
        member().prop_map(|member| OperationKind::Drain { member }),
        member().prop_map(|member| OperationKind::Remove { member }),
        (member(), any_newcomer()).prop_map(|(member, by)| OperationKind::Replace { member, by }),
        any::<u8>().prop_map(|factor| OperationKind::SetReplication { factor }),
    ]
}

fn any_report() -> impl Strategy<Value = Report> {
    any::<[u64; 7]>().prop_map(|numbers| {
        let [generation, number, partitions, complete, records, bytes, hints] = numbers;
        let progress = Progress { partitions, complete, records, bytes };
        Report { stored: Fence { generation, number }, progress, hints }
    })
}

fn any_reply() -> impl Strategy<Value = ReplicaReply> {
    let failure = || prop::sample::select(failures());
    let merged = prop_oneof![
        Just(Ok(Merged::Applied)),
        any_version().prop_map(|version| Ok(Merged::Superseded { version })),
        any_version().prop_map(|version| Ok(Merged::BelowFloor { version })),
        failure().prop_map(Err),
    ];
    let found = prop_oneof![prop::option::of(any_record()).prop_map(Ok), failure().prop_map(Err)];
    prop_oneof![
        (any_version(), merged).prop_map(|(stamp, answer)| ReplicaReply::Stored { stamp, answer }),
        (found, any::<u64>()).prop_map(|(answer, floor)| {
            ReplicaReply::Found { answer, floor: Hlc::from_u64(floor) }
        }),
        prop_oneof![any_compared().prop_map(Ok), failure().prop_map(Err)]
            .prop_map(|answer| ReplicaReply::Compared { answer }),
        prop_oneof![any_pulled().prop_map(Ok), failure().prop_map(Err)]
            .prop_map(|answer| ReplicaReply::Pulled { answer }),
        (1_u32..1024).prop_map(|members| {
            ReplicaReply::StaleLayout { document: Arc::new(some_document(members)) }
        }),
        (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(generation, number, later)| {
            let known = Fence { generation, number };
            if later {
                ReplicaReply::LaterLayout { known }
            } else {
                ReplicaReply::StaleFence { known }
            }
        }),
    ]
}

fn some_document(members: u32) -> paravon_model::Document {
    let mut document = document(members);
    document.operations.truncate(128);
    document
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_request_comes_back(
        (shard, operation) in any::<(u16, u64)>(),
        (generation, number) in any::<(u64, u64)>(),
        milliseconds in 0..=60_000_u64,
        command in any_command(),
    ) {
        let fence = Fence { generation, number };
        let time_left = Duration::from_millis(milliseconds);
        let request = ReplicaRequest { fence, time_left, command };
        let frame = PeerFrame::Request { shard, operation, request };
        prop_assert_eq!(round_trip(&frame), frame);
    }

    #[test]
    fn every_reply_comes_back(
        (shard, operation) in any::<(u16, u64)>(),
        reply in any_reply(),
    ) {
        let frame = PeerFrame::Reply { shard, operation, reply };
        prop_assert_eq!(round_trip(&frame), frame);
    }

    #[test]
    fn every_operation_and_report_comes_back(
        id in any::<u128>(),
        kind in any_operation(),
        report in any_report(),
    ) {
        let operate = ClusterMessage::Operate { id: ChangeId(id), kind };
        for message in [operate, ClusterMessage::Report { member: Ordinal(7), report }] {
            let frame = PeerFrame::Cluster(message);
            prop_assert_eq!(round_trip(&frame), frame);
        }
    }

    #[test]
    fn no_bytes_panic(payload in prop::collection::vec(any::<u8>(), 0..200), tag in 0..34_u8) {
        let _ = decode(&payload);
        let tagged = [&[0x9c, tag][..], &payload].concat();
        if let Ok(frame) = decode(&tagged) {
            prop_assert_eq!(round_trip(&frame), frame);
        }
    }
}
