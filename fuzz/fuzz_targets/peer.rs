//! What a broken node may send, and what a broken disk may hold of the cluster. Whatever is understood
//! must come back the same from our own encoder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paravon_protocol::{
    FrameLimit, HEADER_BYTES, Hello, MAX_VALUE_BYTES, PeerFrame, StoredState, Welcome,
    decode_cluster_state, decode_document, decode_peer_frame, encode_cluster_message,
    encode_cluster_state, encode_document, encode_replica_reply, encode_replica_request,
    split_frame,
};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some(payload)) = split_frame(rest, FrameLimit::PEER) {
        take(&rest[payload.clone()]);
        rest = &rest[payload.end..];
    }
    take(bytes);
    let _ = Hello::decode(bytes);
    let _ = Welcome::decode(bytes);
    if let Ok(document) = decode_document(bytes) {
        assert_eq!(decode_document(&encode_document(&document)), Ok(document));
    }
    if let Ok(StoredState::Current(state)) = decode_cluster_state(bytes) {
        let again = decode_cluster_state(&encode_cluster_state(&state));
        assert_eq!(again, Ok(StoredState::Current(state)));
    }
});

fn take(payload: &[u8]) {
    let Ok(message) = decode_peer_frame(payload, MAX_VALUE_BYTES) else { return };
    let mut frame = Vec::new();
    match &message {
        PeerFrame::Request { shard, operation, request } => {
            encode_replica_request(&mut frame, *shard, *operation, request);
        }
        PeerFrame::Reply { shard, operation, reply } => {
            encode_replica_reply(&mut frame, *shard, *operation, reply);
        }
        PeerFrame::Cluster(message) => encode_cluster_message(&mut frame, message),
    }
    assert_eq!(decode_peer_frame(&frame[HEADER_BYTES..], MAX_VALUE_BYTES), Ok(message));
}
