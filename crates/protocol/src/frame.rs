//! Frames: a big-endian `u32` length, then that many bytes. Nothing is reserved before the length has
//! been checked.

use core::ops::Range;

pub use paravon_model::limits::MAX_VALUE_BYTES;

/// Bytes of the length in front of a payload.
pub const HEADER_BYTES: usize = 4;

/// What a frame may hold besides its value: the key, names and MessagePack's own bytes.
pub const FRAME_SLACK_BYTES: usize = 64 * 1024;

/// The longest payload that a receiver takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimit(usize);

impl FrameLimit {
    /// The limit between nodes, whatever each is configured to take from clients.
    pub const PEER: Self = Self(MAX_VALUE_BYTES + FRAME_SLACK_BYTES);

    /// The limit for values of at most `max_message_size` bytes.
    #[must_use]
    pub fn for_values(max_message_size: usize) -> Self {
        Self(max_message_size.saturating_add(FRAME_SLACK_BYTES))
    }

    /// The longest payload in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.0
    }
}

/// A frame announces more bytes than the limit allows. The connection cannot go on: the boundary of
/// the next frame is unknown until all of this one has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {announced} bytes is announced, the most is {limit}")]
pub struct TooLarge {
    /// Bytes announced.
    pub announced: usize,
    /// Bytes allowed.
    pub limit: usize,
}

/// Where the first frame's payload lies in `buffer`; none while it is incomplete. The next frame
/// begins where the range ends.
///
/// # Errors
/// The announced length is above `limit`.
pub fn split_frame(buffer: &[u8], limit: FrameLimit) -> Result<Option<Range<usize>>, TooLarge> {
    let Some(header) = buffer.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let announced = u32::from_be_bytes(*header) as usize;
    if announced > limit.0 {
        return Err(TooLarge { announced, limit: limit.0 });
    }
    let payload = HEADER_BYTES..HEADER_BYTES + announced;
    Ok((buffer.len() >= payload.end).then_some(payload))
}

/// Appends to `out` one frame whose payload `write` appends.
pub(crate) fn append_frame(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    write(out);
    let payload = out.len() - start - HEADER_BYTES;
    let length = u32::try_from(payload).unwrap_or(u32::MAX);
    out[start..start + HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: FrameLimit = FrameLimit(3);

    #[test]
    fn a_frame_is_whole_or_waited_for() {
        let frame = [0, 0, 0, 2, 7, 8, 9];
        for cut in 0..6 {
            assert_eq!(split_frame(&frame[..cut], LIMIT), Ok(None), "{cut} bytes");
        }
        assert_eq!(split_frame(&frame, LIMIT), Ok(Some(4..6)));
    }

    #[test]
    fn a_length_above_the_limit_is_refused_by_its_header_alone() {
        let refused = TooLarge { announced: 4, limit: 3 };
        assert_eq!(split_frame(&[0, 0, 0, 4], LIMIT), Err(refused));
        let huge = TooLarge { announced: 0xffff_ffff, limit: 3 };
        assert_eq!(split_frame(&[0xff; 4], LIMIT), Err(huge));
    }
}
