//! What a broken server may answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paravon_protocol::{
    ClusterStatus, Envelope, LossReply, NodeStatus, OperationReply, OperationStatus,
    PartitionsReply, PlanReply, Welcome, decode_reply,
};

fuzz_target!(|payload: &[u8]| {
    if let Ok(envelope) = Envelope::decode(payload) {
        let _ = decode_reply(envelope.kind, envelope.data);
        let _ = Welcome::decode(envelope.data);
        let _ = NodeStatus::decode(envelope.data);
        let _ = ClusterStatus::decode(envelope.data);
        let _ = OperationReply::decode(envelope.data);
        let _ = OperationStatus::decode(envelope.data);
        let _ = PlanReply::decode(envelope.data);
        let _ = PartitionsReply::decode(envelope.data);
        let _ = LossReply::decode(envelope.data);
    }
});
