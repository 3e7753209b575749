//! How the failure detector names nodes, and the bytes of its messages.
//!
//! **Never:** trusts a length or a tag from outside.

use bytes::{Buf, BufMut};
use core::fmt;
use foca::{Codec, Header, Identity, Member, Message, State};
use paravon_model::Ordinal;

/// A node as the failure detector knows it: its number, and which of its lives this is. A later life
/// of a number replaces an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Life {
    /// Whose.
    pub(super) ordinal: Ordinal,
    /// How often its disk was opened.
    pub(super) start: u64,
    /// Raised when it hears, alive, that it was declared dead.
    pub(super) renewal: u32,
}

impl Identity for Life {
    type Addr = Ordinal;

    fn renew(&self) -> Option<Self> {
        Some(Self { renewal: self.renewal.checked_add(1)?, ..*self })
    }

    fn addr(&self) -> Ordinal {
        self.ordinal
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self > adversary
    }
}

/// The number in front of a message: who says that it has sent it.
pub(super) fn sender(message: &[u8]) -> Option<Ordinal> {
    let bytes = message.get(..4)?.try_into().ok()?;
    Some(Ordinal(u32::from_be_bytes(bytes)))
}

/// The encoding of the failure detector's messages: numbers of fixed length, first byte first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes;

/// Bytes that are no message, or a buffer that is full.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotEncoded;

impl fmt::Display for NotEncoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no message of the failure detector")
    }
}

impl core::error::Error for NotEncoded {}

const LIFE_BYTES: usize = 4 + 8 + 4;
const MEMBER_BYTES: usize = LIFE_BYTES + 2 + 1;
/// Two lives, an incarnation, and the longest message: a tag, a life and a number.
const MOST_HEADER_BYTES: usize = 2 * LIFE_BYTES + 2 + 1 + LIFE_BYTES + 1;

impl Codec<Life> for Bytes {
    type Error = NotEncoded;

    fn encode_header(
        &mut self,
        header: &Header<Life>,
        mut buf: impl BufMut,
    ) -> Result<(), NotEncoded> {
        if buf.remaining_mut() < MOST_HEADER_BYTES {
            return Err(NotEncoded);
        }
        put_life(&header.src, &mut buf);
        buf.put_u16(header.src_incarnation);
        put_life(&header.dst, &mut buf);
        put_message(&header.message, &mut buf);
        Ok(())
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Life>, NotEncoded> {
        let src = life(&mut buf)?;
        let src_incarnation = buf.try_get_u16().map_err(|_| NotEncoded)?;
        let dst = life(&mut buf)?;
        let message = message(&mut buf)?;
        Ok(Header { src, src_incarnation, dst, message })
    }

    fn encode_member(
        &mut self,
        member: &Member<Life>,
        mut buf: impl BufMut,
    ) -> Result<(), NotEncoded> {
        if buf.remaining_mut() < MEMBER_BYTES {
            return Err(NotEncoded);
        }
        put_life(member.id(), &mut buf);
        buf.put_u16(member.incarnation());
        buf.put_u8(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        Ok(())
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Life>, NotEncoded> {
        let id = life(&mut buf)?;
        let incarnation = buf.try_get_u16().map_err(|_| NotEncoded)?;
        let state = match byte(&mut buf)? {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Down,
            _ => return Err(NotEncoded),
        };
        Ok(Member::new(id, incarnation, state))
    }
}

fn put_message(message: &Message<Life>, buf: &mut impl BufMut) {
    let (tag, life, number) = match message {
        Message::Ping(number) => (0, None, Some(number)),
        Message::Ack(number) => (1, None, Some(number)),
        Message::PingReq { target, probe_number } => (2, Some(target), Some(probe_number)),
        Message::IndirectPing { origin, probe_number } => (3, Some(origin), Some(probe_number)),
        Message::IndirectAck { target, probe_number } => (4, Some(target), Some(probe_number)),
        Message::ForwardedAck { origin, probe_number } => (5, Some(origin), Some(probe_number)),
        Message::Announce => (6, None, None),
        Message::Feed => (7, None, None),
        Message::Gossip => (8, None, None),
        Message::Broadcast => (9, None, None),
        Message::TurnUndead => (10, None, None),
    };
    buf.put_u8(tag);
    if let Some(life) = life {
        put_life(life, buf);
    }
    if let Some(&number) = number {
        buf.put_u8(number);
    }
}

fn message(buf: &mut impl Buf) -> Result<Message<Life>, NotEncoded> {
    Ok(match byte(buf)? {
        0 => Message::Ping(byte(buf)?),
        1 => Message::Ack(byte(buf)?),
        2 => Message::PingReq { target: life(buf)?, probe_number: byte(buf)? },
        3 => Message::IndirectPing { origin: life(buf)?, probe_number: byte(buf)? },
        4 => Message::IndirectAck { target: life(buf)?, probe_number: byte(buf)? },
        5 => Message::ForwardedAck { origin: life(buf)?, probe_number: byte(buf)? },
        6 => Message::Announce,
        7 => Message::Feed,
        8 => Message::Gossip,
        9 => Message::Broadcast,
        10 => Message::TurnUndead,
        _ => return Err(NotEncoded),
    })
}

fn put_life(life: &Life, buf: &mut impl BufMut) {
    buf.put_u32(life.ordinal.0);
    buf.put_u64(life.start);
    buf.put_u32(life.renewal);
}

fn life(buf: &mut impl Buf) -> Result<Life, NotEncoded> {
    let ordinal = Ordinal(buf.try_get_u32().map_err(|_| NotEncoded)?);
    let start = buf.try_get_u64().map_err(|_| NotEncoded)?;
    let renewal = buf.try_get_u32().map_err(|_| NotEncoded)?;
    Ok(Life { ordinal, start, renewal })
}

fn byte(buf: &mut impl Buf) -> Result<u8, NotEncoded> {
    buf.try_get_u8().map_err(|_| NotEncoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn life(ordinal: u32) -> Life {
        Life { ordinal: Ordinal(ordinal), start: 70_000, renewal: 3 }
    }

    #[test]
    fn every_message_comes_back_and_a_cut_one_does_not() {
        let (target, origin, probe_number) = (life(3), life(4), 9);
        let messages = [
            Message::Ping(1),
            Message::Ack(2),
            Message::PingReq { target, probe_number },
            Message::IndirectPing { origin, probe_number },
            Message::IndirectAck { target, probe_number },
            Message::ForwardedAck { origin, probe_number },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
            Message::Broadcast,
            Message::TurnUndead,
        ];
        for message in messages {
            let header = Header { src: life(1), src_incarnation: 5, dst: life(2), message };
            let mut bytes = Vec::new();
            Bytes.encode_header(&header, &mut bytes).expect("there is room");
            assert_eq!(Bytes.decode_header(&bytes[..]).expect("whole"), header);
            assert_eq!(sender(&bytes), Some(Ordinal(1)));
            assert!(bytes.len() <= MOST_HEADER_BYTES);
            for length in 0..bytes.len() {
                assert!(Bytes.decode_header(&bytes[..length]).is_err());
            }
        }
    }

    #[test]
    fn a_later_life_wins() {
        let now = life(1);
        let renewed = now.renew().expect("far from the end");
        assert!(renewed.win_addr_conflict(&now));
        assert!(Life { start: 70_001, renewal: 0, ..now }.win_addr_conflict(&renewed));
    }
}
