//! The replies of one connection on their way out.
//!
//! A reply under an `id` leaves as soon as it is there; the others leave in the order of their
//! requests, because nothing else tells them apart.

use std::collections::VecDeque;

/// What ties a reply to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Correlation {
    /// The request's `id`.
    Id(u64),
    /// The request's place among those without an `id`.
    Order(u64),
}

/// Replies that wait to be sent, and places that wait for their reply.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    ready: Vec<u8>,
    /// One entry per request without an `id` that has not been answered, or was answered too early.
    places: VecDeque<Option<Vec<u8>>>,
    /// The place of the first entry.
    first: u64,
    /// Bytes of replies that were there too early.
    early_bytes: usize,
}

impl Outbox {
    /// The correlation of a request that has just been received.
    pub(crate) fn correlate(&mut self, id: Option<u64>) -> Correlation {
        match id {
            Some(id) => Correlation::Id(id),
            None => {
                self.places.push_back(None);
                Correlation::Order(self.first + self.places.len() as u64 - 1)
            }
        }
    }

    /// Adds the reply that `write` appends under the id that it is given.
    pub(crate) fn reply(
        &mut self,
        correlation: Correlation,
        write: impl FnOnce(&mut Vec<u8>, Option<u64>),
    ) {
        match correlation {
            Correlation::Id(id) => write(&mut self.ready, Some(id)),
            Correlation::Order(place) if place == self.first => {
                write(&mut self.ready, None);
                self.places.pop_front();
                self.first += 1;
                self.move_ready();
            }
            Correlation::Order(place) => {
                let mut early = Vec::new();
                write(&mut early, None);
                self.early_bytes += early.len();
                let index = usize::try_from(place.wrapping_sub(self.first)).unwrap_or(usize::MAX);
                match self.places.get_mut(index) {
                    Some(slot) => *slot = Some(early),
                    None => unreachable!("a place is answered once"),
                }
            }
        }
    }

    fn move_ready(&mut self) {
        while let Some(Some(_)) = self.places.front() {
            if let Some(Some(early)) = self.places.pop_front() {
                self.early_bytes -= early.len();
                self.ready.extend_from_slice(&early);
                self.first += 1;
            }
        }
    }

    /// Adds a message that answers nothing.
    pub(crate) fn announce(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.ready);
    }

    /// Bytes that wait here, sendable or not.
    pub(crate) fn bytes(&self) -> usize {
        self.ready.len() + self.early_bytes
    }

    /// Moves what may be sent now to the end of `out`.
    pub(crate) fn drain_to(&mut self, out: &mut Vec<u8>) {
        if out.is_empty() {
            std::mem::swap(out, &mut self.ready);
        } else {
            out.append(&mut self.ready);
        }
    }

    /// Gives back memory beyond `bytes`, for a connection that falls idle.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        self.ready.shrink_to(bytes);
        self.places.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(outbox: &mut Outbox, to: Correlation, text: &str) {
        outbox.reply(to, |out, id| {
            out.extend_from_slice(text.as_bytes());
            out.extend(id.map(|id| b'0' + u8::try_from(id).unwrap()));
        });
    }

    fn sendable(outbox: &mut Outbox) -> Vec<u8> {
        let mut out = Vec::new();
        outbox.drain_to(&mut out);
        out
    }

    #[test]
    fn replies_without_an_id_keep_the_order_of_their_requests() {
        let mut outbox = Outbox::default();
        let a = outbox.correlate(None);
        let b = outbox.correlate(None);
        let seven = outbox.correlate(Some(7));
        let c = outbox.correlate(None);
        reply(&mut outbox, c, "c");
        reply(&mut outbox, seven, "x");
        reply(&mut outbox, b, "b");
        assert_eq!(sendable(&mut outbox), b"x7");
        assert_eq!(outbox.bytes(), 2, "b and c are early");
        reply(&mut outbox, a, "a");
        let d = outbox.correlate(None);
        reply(&mut outbox, d, "d");
        assert_eq!(sendable(&mut outbox), b"abcd");
        assert_eq!(outbox.bytes(), 0);
    }
}
