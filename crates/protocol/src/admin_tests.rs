//! Every answer to an operator is its vector and is read again, older and later ones too.

use super::*;
use crate::cluster_status::{MemberStatus, ReportStatus};
use crate::envelope::Envelope;
use crate::frame::HEADER_BYTES;
use crate::operation_status::OperationSummary;
use crate::peer::samples::joint_document;
use crate::plan::PlannedNode;
use crate::repair_status::PartitionStatus;
use crate::vectors;

use paravon_model::{ChangeId, Fence, OperationState, Ordinal, Progress, Report};

const VECTORS: &str = include_str!("../../../tests/vectors/admin_replies.txt");

fn report() -> Report {
    let progress = Progress { partitions: 100, complete: 70, records: 50_000, bytes: 5_000_000 };
    Report { stored: Fence { generation: 0, number: 6 }, progress, hints: 3 }
}

fn cluster_status() -> ClusterStatus {
    let document = joint_document();
    let member = |ordinal: u32| MemberStatus {
        node_id: format!("node-{ordinal}"),
        ordinal,
        size: "L".to_owned(),
        address: format!("node-{ordinal}:6000"),
        state: "alive".to_owned(),
        linked: true,
        partitions: 65_536,
        share: 0.25,
        joining: ordinal == 5,
        leaving: ordinal == 2,
        report: (ordinal == 5).then(|| ReportStatus::from(&report())),
        ..MemberStatus::default()
    };
    let told = |operation| OperationSummary::of(operation, &document);
    ClusterStatus {
        cluster_id: document.cluster_id.to_string(),
        phase: "joint".to_owned(),
        version: document.version,
        fence: document.fence,
        replication_factor: 3,
        shift: document.shift,
        council: vec!["node-1".to_owned()],
        members: [2, 5].map(member).to_vec(),
        operations: document.operations.iter().map(told).collect(),
        ..ClusterStatus::default()
    }
}

fn plan() -> PlanReply {
    let node = |name: &str, ordinal, gained, lost| PlannedNode {
        node: name.to_owned(),
        ordinal,
        partitions_gained: gained,
        partitions_lost: lost,
        bytes_in: gained * 1000,
        bytes_out: lost * 500,
    };
    PlanReply {
        members_before: 3,
        members_after: 4,
        copies_before: 3,
        copies_after: 3,
        partitions_changed: 49_152,
        nodes: vec![node("node-1", Some(1), 0, 16_384), node("node-4", None, 49_152, 0)],
        seconds: 12,
    }
}

fn operation_status() -> OperationStatus {
    let reports = [(Ordinal(5), report())];
    OperationStatus::of(&joint_document(), ChangeId(2), &reports).expect("it is named")
}

fn partitions() -> PartitionsReply {
    let agreed = PartitionStatus {
        partition: 7,
        agreed_seconds: Some(12),
        floor_seconds: Some(300),
        waits_for: "node-2".to_owned(),
        ..PartitionStatus::default()
    };
    let (damaged_keys, lost) = (3, true);
    let behind = PartitionStatus { partition: 9, damaged_keys, lost, ..PartitionStatus::default() };
    PartitionsReply { partitions: vec![agreed, behind], next: Some(9) }
}

fn encoded(reply: &AdminReply) -> Vec<u8> {
    let mut frame = Vec::new();
    reply.encode(Some(1), &mut frame);
    frame
}

#[test]
fn every_answer_to_an_operator_is_its_vector_and_is_read_again() {
    let accepted = OperationReply::accepted(ChangeId(7), OperationState::Pending);
    let (joined, cancelled) = (OperationReply::joined(Ordinal(4)), OperationReply::cancelled());
    let operation = |reply: &OperationReply| encoded(&AdminReply::Operation(reply.clone()));
    let loss = LossReply { keys: 2, partitions: 1 };
    let frames = [
        ("accepted", operation(&accepted)),
        ("joined", operation(&joined)),
        ("cancelled", operation(&cancelled)),
        ("plan", encoded(&AdminReply::Plan(Box::new(plan())))),
        ("operation status", encoded(&AdminReply::OperationStatus(Box::new(operation_status())))),
        ("cluster status", encoded(&AdminReply::ClusterStatus(Box::new(cluster_status())))),
        ("partitions", encoded(&AdminReply::Partitions(partitions()))),
        ("accepted loss", encoded(&AdminReply::Loss(loss.clone()))),
    ];
    vectors::assert_same(VECTORS, &frames);
    let data = |at: usize| Envelope::decode(&frames[at].1[HEADER_BYTES..]).unwrap().data;
    for (at, reply) in [accepted, joined, cancelled].into_iter().enumerate() {
        assert_eq!(OperationReply::decode(data(at)).unwrap(), reply);
    }
    assert_eq!(PlanReply::decode(data(3)).unwrap(), plan());
    assert_eq!(OperationStatus::decode(data(4)).unwrap(), operation_status());
    assert_eq!(ClusterStatus::decode(data(5)).unwrap(), cluster_status());
    assert_eq!(PartitionsReply::decode(data(6)).unwrap(), partitions());
    assert_eq!(LossReply::decode(data(7)).unwrap(), loss);
}

#[test]
fn what_another_version_sends_is_read() {
    assert_eq!(PlanReply::decode(b"\x80").unwrap(), PlanReply::default());
    assert_eq!(OperationStatus::decode(b"\x80").unwrap(), OperationStatus::default());
    assert_eq!(PartitionsReply::decode(b"\x80").unwrap(), PartitionsReply::default());
    assert_eq!(LossReply::decode(b"\x80").unwrap(), LossReply::default());
    let joined = OperationReply { state: "split".to_owned(), ..OperationReply::default() };
    let later = b"\x82\xa5state\xa5split\xa5later\x90";
    assert_eq!(OperationReply::decode(later).unwrap(), joined);
}

#[test]
fn the_status_of_an_older_node_is_read() {
    let peer = PeerStatus { node_id: "n".to_owned(), ..PeerStatus::default() };
    let older = b"\x82\xa5hints\x80\xa5peers\x91\x81\xa7node_id\xa1n";
    let status = NodeStatus::decode(older).unwrap();
    assert_eq!(status, NodeStatus { peers: vec![peer], ..NodeStatus::default() });
}
