//! Which request each answer belongs to, and what is left of the others when a connection breaks.
//!
//! **Never:** calls a request unsent of which the last byte has been handed to TLS, or waits for an
//! answer that nobody asked for.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use paravon_model::Outcome;
use paravon_protocol::{Envelope, GOAWAY, Refused, decode_reply};
use tokio::sync::oneshot;

use crate::error::Violation;

/// A server's answer to one request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// It did as asked; the data's encoding.
    Done(Vec<u8>),
    /// It did not.
    Refused(Refused),
}

/// Why a connection ended.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The network, TLS, or the server's process.
    Io(Arc<io::Error>),
    /// The server broke the protocol.
    Garbage(Violation),
    /// The server refused a message without saying which.
    Told(Refused),
    /// The server asked for new requests to go elsewhere.
    Leaving,
}

/// A request that got no answer, because its connection ended.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    /// `Refused` where the server cannot have had it in full.
    pub(crate) outcome: Outcome,
    /// Why.
    pub(crate) fault: Fault,
}

/// Where an answer goes.
pub(crate) type ReplySender = oneshot::Sender<Result<Reply, Broken>>;

/// What a message from the server was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// An answer, given to whom it belongs.
    Answer,
    /// The server asks for new requests to go elsewhere.
    Goaway,
}

/// The requests of one connection that wait for answers.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    next_id: u64,
    waiting: HashMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    reply: ReplySender,
    /// The position in the stream just after the request.
    ends_at: u64,
}

impl InFlight {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The number for the next request.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// A request went out under [`next_id`](Self::next_id); it ends at this position of the stream.
    pub(crate) fn insert(&mut self, ends_at: u64, reply: ReplySender) {
        self.waiting.insert(self.next_id, Waiting { reply, ends_at });
        self.next_id += 1;
    }

    /// Makes room: drops the requests whose callers have given up.
    pub(crate) fn forget_abandoned(&mut self) {
        self.waiting.retain(|_, waiting| !waiting.reply.is_closed());
    }

    /// Takes the payload of one frame from the server.
    pub(crate) fn deliver(&mut self, payload: &[u8]) -> Result<Delivered, Fault> {
        let envelope = Envelope::decode(payload).map_err(|e| Fault::Garbage(e.error.into()))?;
        if envelope.kind == GOAWAY {
            return Ok(Delivered::Goaway);
        }
        let reply = read(&envelope)?;
        match (envelope.id, reply) {
            (Some(id), _) if id >= self.next_id => Err(Fault::Garbage(Violation::NoRequest)),
            (Some(id), reply) => {
                // A caller that has given up is not there any more; its answer comes all the same.
                if let Some(waiting) = self.waiting.remove(&id) {
                    let _gone = waiting.reply.send(Ok(reply));
                }
                Ok(Delivered::Answer)
            }
            (None, Reply::Refused(refused)) => Err(Fault::Told(refused)),
            (None, Reply::Done(_)) => Err(Fault::Garbage(Violation::NoRequest)),
        }
    }

    /// Tells everyone who waits that the connection has ended, with what was handed to TLS until
    /// `handed_over`.
    pub(crate) fn fail(&mut self, fault: &Fault, handed_over: u64) {
        for (_, waiting) in self.waiting.drain() {
            let whole = waiting.ends_at <= handed_over;
            let outcome = if whole { Outcome::Unknown } else { Outcome::Refused };
            let _gone = waiting.reply.send(Err(Broken { outcome, fault: fault.clone() }));
        }
    }
}

fn read(envelope: &Envelope<'_>) -> Result<Reply, Fault> {
    match envelope.kind {
        // A health check has always been answered under its own name.
        "ok" | "healthz" => Ok(Reply::Done(envelope.data.to_vec())),
        "ko" => match decode_reply("ko", envelope.data) {
            Ok(Err(refused)) => Ok(Reply::Refused(refused)),
            Ok(Ok(_)) => Err(Fault::Garbage(Violation::UnknownType)),
            Err(error) => Err(Fault::Garbage(error.into())),
        },
        _ => Err(Fault::Garbage(Violation::UnknownType)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_handed_over_in_full_is_unknown() {
        let mut in_flight = InFlight::default();
        let mut receivers = Vec::new();
        for ends_at in [10, 20, 30] {
            let (sender, receiver) = oneshot::channel();
            in_flight.insert(ends_at, sender);
            receivers.push(receiver);
        }
        in_flight.fail(&Fault::Leaving, 20);
        let outcomes: Vec<_> = receivers
            .iter_mut()
            .map(|receiver| receiver.try_recv().unwrap().unwrap_err().outcome)
            .collect();
        assert_eq!(outcomes, [Outcome::Unknown, Outcome::Unknown, Outcome::Refused]);
    }

    #[test]
    fn a_late_answer_is_dropped_and_one_without_a_request_ends_the_connection() {
        let mut in_flight = InFlight::default();
        let (sender, receiver) = oneshot::channel();
        in_flight.insert(10, sender);
        drop(receiver);
        in_flight.forget_abandoned();
        assert_eq!(in_flight.len(), 0);
        let answer =
            |id: u8| [b"\x83\xa2id".as_slice(), &[id], b"\xa4type\xa2ok\xa4data\x80"].concat();
        assert_eq!(in_flight.deliver(&answer(0)).unwrap(), Delivered::Answer);
        let fault = in_flight.deliver(&answer(1)).unwrap_err();
        assert!(matches!(fault, Fault::Garbage(Violation::NoRequest)), "{fault:?}");
    }
}
