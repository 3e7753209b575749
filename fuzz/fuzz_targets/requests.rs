//! What a stranger may send: frames, envelopes and requests of both ports. Whatever is understood
//! must come back the same from our own encoder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paravon_protocol::{
    AdminRequest, ClientRequest, Envelope, FrameLimit, HEADER_BYTES, Hello, split_frame,
};

const MAX_VALUE_BYTES: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some(payload)) = split_frame(rest, FrameLimit::for_values(MAX_VALUE_BYTES)) {
        take(&rest[payload.clone()]);
        rest = &rest[payload.end..];
    }
    take(bytes);
});

fn take(payload: &[u8]) {
    let Ok(envelope) = Envelope::decode(payload) else { return };
    if let Ok(request) = AdminRequest::decode(&envelope) {
        let mut frame = Vec::new();
        request.encode(envelope.id, &mut frame);
        let again = Envelope::decode(&frame[HEADER_BYTES..]).expect("our own encoding");
        assert_eq!(AdminRequest::decode(&again), Ok(request));
    }
    let _ = Hello::decode(envelope.data);
    let Ok(request) = ClientRequest::decode(&envelope, MAX_VALUE_BYTES) else { return };
    let mut frame = Vec::new();
    request.encode(envelope.id, &mut frame);
    let again = Envelope::decode(&frame[HEADER_BYTES..]).expect("our own encoding");
    let again = ClientRequest::decode(&again, MAX_VALUE_BYTES).expect("our own encoding");
    assert_eq!(again.message, request.message);
}
