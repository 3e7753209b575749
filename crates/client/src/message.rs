//! What a client sends, whichever port it is for, and what it can leave behind.
//!
//! **Never:** an effect that is guessed: each message says itself whether it changes anything.

use std::time::Duration;

use paravon_protocol::{AdminRequest, ClientMessage, ClientRequest};

/// A request, before it has a number and a deadline. Cheap to clone, for retries.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// For the client port.
    Data(ClientMessage),
    /// For the peer port.
    Admin(AdminRequest),
}

/// What a request can leave behind when its answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: it may be sent again.
    None,
    /// A change: it may not.
    Change,
}

impl Message {
    /// What it can leave behind.
    pub(crate) fn effect(&self) -> Effect {
        match self {
            Self::Data(ClientMessage::Get(_)) => Effect::None,
            Self::Data(ClientMessage::Put(_) | ClientMessage::Delete(_)) => Effect::Change,
            Self::Admin(request) if request.needs_administrator() => Effect::Change,
            Self::Admin(_) => Effect::None,
        }
    }

    /// The length of the value that it carries.
    pub(crate) fn value_bytes(&self) -> usize {
        match self {
            Self::Data(ClientMessage::Put(put)) => put.value.bytes.len(),
            _ => 0,
        }
    }

    /// Appends it as a frame. `timeout` is how long the server may take.
    pub(crate) fn encode(self, id: u64, timeout: Duration, out: &mut Vec<u8>) {
        match self {
            Self::Data(message) => {
                let request = ClientRequest { message, timeout: Some(timeout), request_id: None };
                request.encode(Some(id), out);
            }
            Self::Admin(request) => request.encode(Some(id), out),
        }
    }
}
