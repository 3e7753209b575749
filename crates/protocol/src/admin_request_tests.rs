//! Every request comes back and is its vector, and what is wrong with one is named.

use super::*;
use crate::frame::HEADER_BYTES;
use crate::vectors;

const VECTORS: &str = include_str!("../../../tests/vectors/admin_requests.txt");

fn samples() -> [(&'static str, AdminRequest); 19] {
    let node = NodeId::new("node-2").unwrap();
    let key = Key::new("users", b"\x00k").unwrap();
    [
        ("node status", AdminRequest::NodeStatus),
        ("healthz", AdminRequest::Healthz),
        ("reload", AdminRequest::Reload),
        ("cluster status", AdminRequest::ClusterStatus),
        ("operation status", AdminRequest::OperationStatus { id: ChangeId(7) }),
        ("join", AdminRequest::Join { dry_run: false }),
        ("plan a join", AdminRequest::Join { dry_run: true }),
        ("replace", AdminRequest::Replace { node: node.clone(), dry_run: false }),
        ("drain", AdminRequest::Drain { node: Some(node.clone()), dry_run: false }),
        ("drain the node that is asked", AdminRequest::Drain { node: None, dry_run: false }),
        ("remove", AdminRequest::Remove { node: node.clone(), dry_run: false }),
        ("plan a removal", AdminRequest::Remove { node, dry_run: true }),
        ("set replication", AdminRequest::SetReplication { factor: 5, dry_run: false }),
        ("plan a replication", AdminRequest::SetReplication { factor: 7, dry_run: true }),
        ("cancel", AdminRequest::Cancel),
        ("the first partitions", AdminRequest::Partitions { after: None, limit: 1024 }),
        ("more partitions", AdminRequest::Partitions { after: Some(65_535), limit: 100 }),
        ("accept the loss of a key", AdminRequest::AcceptLoss(Loss::Key(key))),
        ("accept the loss of a partition", AdminRequest::AcceptLoss(Loss::Partition(7))),
    ]
}

fn encoded(request: &AdminRequest) -> Vec<u8> {
    let mut frame = Vec::new();
    request.encode(Some(1), &mut frame);
    frame
}

fn decode(kind: &str, data: &[u8]) -> Result<AdminRequest, Refusal> {
    AdminRequest::decode(&Envelope { kind, data, id: None })
}

#[test]
fn every_request_is_its_vector_and_comes_back() {
    let expected = samples().map(|(name, request)| (name, encoded(&request)));
    vectors::assert_same(VECTORS, &expected);
    for ((_, frame), (name, request)) in expected.iter().zip(samples()) {
        let envelope = Envelope::decode(&frame[HEADER_BYTES..]).unwrap();
        assert_eq!(AdminRequest::decode(&envelope), Ok(request), "{name}");
    }
}

#[test]
fn what_is_unknown_is_told_every_name() {
    let refusal = decode("leave", b"\x80").unwrap_err();
    assert_eq!(refusal.code, Code::UnknownType);
    let names = "hello, status/node, healthz, reload, status/cluster, status/operation, join, \
                 replace, drain, remove, set_replication, cancel, status/partitions, accept_loss";
    assert!(refusal.message.ends_with(names), "{}", refusal.message);
    for (name, request) in samples() {
        assert!(KINDS.contains(&request.kind()), "{name}");
    }
}

#[test]
fn a_request_is_meant_unless_it_says_otherwise() {
    assert_eq!(decode("join", b"\x80"), Ok(AdminRequest::Join { dry_run: false }));
    assert_eq!(decode("join", b"\x81\xa7dry_run\xc3"), Ok(AdminRequest::Join { dry_run: true }));
    let itself = AdminRequest::Drain { node: None, dry_run: false };
    assert_eq!(decode("drain", b"\x81\xa5later\x01"), Ok(itself));
}

#[test]
fn a_list_and_a_loss_have_their_defaults() {
    let all = AdminRequest::Partitions { after: None, limit: MAX_LISTED_PARTITIONS };
    assert_eq!(decode("status/partitions", b"\x80"), Ok(all));
    let lost = |key| Ok(AdminRequest::AcceptLoss(Loss::Key(key)));
    let key = Key::new(Key::DEFAULT_NAMESPACE, b"k").unwrap();
    assert_eq!(decode("accept_loss", b"\x81\xa3key\xa1k"), lost(key));
}

#[test]
fn what_is_wrong_with_a_request_is_named() {
    let cases: [(&str, &[u8], &str); 20] = [
        ("join", b"\x81\xa7dry_run\x01", "`dry_run` must be true or false"),
        ("remove", b"\x80", "`node` is missing"),
        ("replace", b"\x80", "`node` is missing"),
        ("remove", b"\x81\xa4node\xa1!", "`node`"),
        ("remove", b"\x82\xa4node\xa1a\xa4node\xa1b", "`node` is given twice"),
        ("drain", b"\x81\xa4node\xc0", "`node` must be a string"),
        ("set_replication", b"\x80", "`factor` is missing"),
        ("set_replication", b"\x81\xa6factor\x00", "`factor` is out of range: 1 to 7"),
        ("set_replication", b"\x81\xa6factor\x08", "`factor` is out of range: 1 to 7"),
        ("set_replication", b"\x81\xa6factor\xcd\x01\x03", "`factor` is out of range: 1 to 7"),
        ("status/operation", b"\x80", "`id` is missing"),
        ("status/partitions", b"\x81\xa5limit\x00", "`limit` is out of range: 1 to 1024"),
        ("status/partitions", b"\x81\xa5limit\xcd\x04\x01", "`limit` is out of range"),
        ("status/partitions", b"\x81\xa5after\xce\x01\x00\x00\x00", "`after` is out of range"),
        ("accept_loss", b"\x80", "`key` is missing"),
        ("accept_loss", b"\x81\xa9namespace\xa1a", "`key` is missing"),
        ("accept_loss", b"\x82\xa3key\xa1a\xa9partition\x01", "a key or a partition, not both"),
        ("accept_loss", b"\x81\xa3key\xa0", "key"),
        ("accept_loss", b"\x82\xa3key\xa1a\xa9namespace\xa1!", "namespace"),
        ("status/operation", b"\x81\xa2id\xa17", "`id` is out of range: 32 hexadecimal digits"),
    ];
    for (kind, data, message) in cases {
        let refusal = decode(kind, data).unwrap_err();
        assert_eq!(refusal.code, Code::BadRequest);
        assert!(refusal.message.contains(message), "{}", refusal.message);
    }
}

#[test]
fn whoever_only_looks_need_not_be_an_administrator() {
    let free = samples().into_iter().filter(|(_, request)| !request.needs_administrator());
    let free: Vec<_> = free.map(|(name, _)| name).collect();
    let looks = ["node status", "healthz", "cluster status", "operation status"];
    assert_eq!(free, [&looks[..], &["the first partitions", "more partitions"]].concat());
}

#[test]
fn no_corrupted_request_panics() {
    for (_, request) in samples() {
        let mut payload = encoded(&request).split_off(HEADER_BYTES);
        for at in 0..payload.len() {
            let right = payload[at];
            for wrong in 0..=u8::MAX {
                payload[at] = wrong;
                let Ok(envelope) = Envelope::decode(&payload) else { continue };
                let Ok(request) = AdminRequest::decode(&envelope) else { continue };
                let again = encoded(&request);
                let again = Envelope::decode(&again[HEADER_BYTES..]).unwrap();
                assert_eq!(AdminRequest::decode(&again), Ok(request));
            }
            payload[at] = right;
        }
    }
}
