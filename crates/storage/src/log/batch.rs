//! The frame of a batch: what one write put into the log, or no batch at all.
//!
//! ```text
//! magic 4 | crc32c u32 | payload length u32 | reserved u32 | segment u64 | position u64 |
//! follows u64 | durable u64 | payload
//! ```
//! Numbers are big-endian; the checksum covers everything behind it. `position` is where the batch
//! begins and `follows` where the one before it ended: the next batch stands there, or at the start
//! of a later segment where it did not fit. `durable` is the position up to which the log had been
//! synced when this batch was written; an empty batch says only that. Parsing never panics and never believes a length unchecked.

use crate::position::Position;

/// Every batch begins on a multiple of this within its segment: the largest sector in use, so that a
/// torn write of one batch cannot harm another.
pub(crate) const BLOCK: u64 = BLOCK_BYTES as u64;
const BLOCK_BYTES: usize = 4096;

/// Bytes before the payload.
pub(crate) const HEADER: usize = 48;

/// The last character is the format.
const MAGIC: [u8; 4] = *b"PVB1";

/// The fields of a whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The number of the segment it was written to.
    pub(crate) segment: u64,
    /// Where it begins.
    pub(crate) position: Position,
    /// Where the batch before it ended.
    pub(crate) follows: Position,
    /// Up to where the log was synced when it was written.
    pub(crate) durable: Position,
}

/// `bytes` rounded up to whole blocks.
pub(crate) fn padded(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK) * BLOCK
}

/// Makes the batch in `frame`: a header's place, then the payload; padded with zeros.
///
/// The buffer is built in place because it is large and reused.
pub(crate) fn seal(frame: &mut Vec<u8>, header: &Header) {
    assert!(frame.len() >= HEADER, "room for the header comes first");
    let length = u32::try_from(frame.len() - HEADER).expect("a batch fits into a segment");
    frame[0..4].copy_from_slice(&MAGIC);
    frame[8..12].copy_from_slice(&length.to_be_bytes());
    frame[12..16].fill(0);
    frame[16..24].copy_from_slice(&header.segment.to_be_bytes());
    frame[24..32].copy_from_slice(&header.position.0.to_be_bytes());
    frame[32..40].copy_from_slice(&header.follows.0.to_be_bytes());
    frame[40..48].copy_from_slice(&header.durable.0.to_be_bytes());
    let checksum = crc32c::crc32c(&frame[8..]);
    frame[4..8].copy_from_slice(&checksum.to_be_bytes());
    frame.resize(frame.len().next_multiple_of(BLOCK_BYTES), 0);
}

/// The batch at the start of `bytes`, if there is a whole one: its header and payload.
pub(crate) fn parse(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    if *magic != MAGIC {
        return None;
    }
    let (checksum, covered) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32_at(covered, 0)?).ok()?;
    let covered = covered.get(..(HEADER - 8).checked_add(length)?)?;
    let is_whole = crc32c::crc32c(covered) == u32::from_be_bytes(*checksum);
    #[cfg(feature = "mutants")]
    let is_whole = is_whole || crate::mutants::skips_log_checksum();
    if !is_whole {
        return None;
    }
    let header = Header {
        segment: u64_at(covered, 8)?,
        position: Position(u64_at(covered, 16)?),
        follows: Position(u64_at(covered, 24)?),
        durable: Position(u64_at(covered, 32)?),
    };
    Some((header, &covered[HEADER - 8..]))
}

/// Whether the bytes look like what is left of a batch of this segment at this place. Proves nothing:
/// only to name the place of damage that is proven otherwise.
pub(crate) fn began(bytes: &[u8], segment: u64, position: Position) -> bool {
    u64_at(bytes, 16) == Some(segment) || u64_at(bytes, 24) == Some(position.0)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Header, Vec<u8>) {
        let header = Header {
            segment: 7,
            position: Position(7 * 65_536),
            follows: Position(6 * 65_536 + 8192),
            durable: Position(6 * 65_536 + 8192),
        };
        let mut frame = vec![0; HEADER];
        frame.extend_from_slice(b"who wants to live for ever");
        seal(&mut frame, &header);
        (header, frame)
    }

    #[test]
    fn a_sealed_batch_fills_blocks_and_gives_back_its_parts() {
        let (header, frame) = sample();
        assert_eq!(frame.len() as u64, padded(HEADER as u64 + 26));
        assert_eq!(parse(&frame), Some((header, &b"who wants to live for ever"[..])));
    }

    #[test]
    fn no_flipped_bit_in_header_or_payload_gives_a_batch() {
        let (_, frame) = sample();
        for bit in 0..(HEADER + 26) * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn no_cut_gives_a_batch_and_none_panics() {
        let (_, frame) = sample();
        for len in 0..HEADER + 26 {
            assert_eq!(parse(&frame[..len]), None);
        }
    }
}
