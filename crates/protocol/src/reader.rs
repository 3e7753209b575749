//! A cursor over MessagePack that borrows, checks every length against what is there, and never goes
//! deeper than [`MAX_DEPTH`].
//!
//! The hot path reads with it by hand because a value's bytes must be borrowed, its raw encoding kept,
//! and the field that is wrong named; `rmp` supplies the markers.

use rmp::Marker;

/// How deep values may nest: the deepest array or map has this many around it, itself included.
pub const MAX_DEPTH: u32 = 32;

/// How deep a value may nest: in the reply to a get it stands in an entry of `versions` of the map of
/// fields, and that must not be too deep either.
pub const MAX_VALUE_DEPTH: u32 = MAX_DEPTH - 3;

/// What is wrong with a message, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {problem}")]
pub struct DecodeError {
    /// The field, as the protocol names it.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is required.
    #[error("is missing")]
    Missing,
    /// It is there twice, or together with a field that means the same.
    #[error("is given twice")]
    Twice,
    /// Its MessagePack is cut short.
    #[error("is cut short")]
    CutShort,
    /// Bytes follow where the message should end.
    #[error("is followed by more bytes")]
    Trailing,
    /// It nests too deep.
    #[error("nests deeper than {most}")]
    TooDeep {
        /// How deep it may nest.
        most: u32,
    },
    /// A text is not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// It has another type.
    #[error("must be {expected}")]
    WrongType {
        /// What it must be.
        expected: &'static str,
    },
    /// It has the right type and no sense.
    #[error("is out of range: {expected}")]
    OutOfRange {
        /// What it must be.
        expected: &'static str,
    },
}

/// The cursor. Every method names the field it reads for the error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    field: &'static str,
}

type Read<T> = Result<T, DecodeError>;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], field: &'static str) -> Self {
        Self { rest: bytes, field }
    }

    /// Names what is read next.
    pub(crate) fn at(&mut self, field: &'static str) -> &mut Self {
        self.field = field;
        self
    }

    pub(crate) fn error<T>(&self, problem: Problem) -> Read<T> {
        Err(DecodeError { field: self.field, problem })
    }

    pub(crate) fn end(&self) -> Read<()> {
        if self.rest.is_empty() { Ok(()) } else { self.error(Problem::Trailing) }
    }

    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => self.error(Problem::CutShort),
        }
    }

    fn number<const N: usize>(&mut self) -> Read<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => self.error(Problem::CutShort),
        }
    }

    fn length8(&mut self) -> Read<usize> {
        self.number::<1>().map(|n| usize::from(n[0]))
    }

    fn length16(&mut self) -> Read<usize> {
        self.number().map(|n| usize::from(u16::from_be_bytes(n)))
    }

    fn length32(&mut self) -> Read<usize> {
        self.number().map(|n| u32::from_be_bytes(n) as usize)
    }

    fn marker(&mut self) -> Read<Marker> {
        self.number::<1>().map(|byte| Marker::from_u8(byte[0]))
    }

    /// The number of pairs of a map.
    pub(crate) fn map(&mut self) -> Read<usize> {
        match self.marker()? {
            Marker::FixMap(pairs) => Ok(usize::from(pairs)),
            Marker::Map16 => self.length16(),
            Marker::Map32 => self.length32(),
            _ => self.error(Problem::WrongType { expected: "a map" }),
        }
    }

    /// The number of items of an array.
    pub(crate) fn array(&mut self) -> Read<usize> {
        match self.marker()? {
            Marker::FixArray(items) => Ok(usize::from(items)),
            Marker::Array16 => self.length16(),
            Marker::Array32 => self.length32(),
            _ => self.error(Problem::WrongType { expected: "an array" }),
        }
    }

    /// A text.
    pub(crate) fn text(&mut self) -> Read<&'a str> {
        let length = match self.marker()? {
            Marker::FixStr(length) => usize::from(length),
            Marker::Str8 => self.length8()?,
            Marker::Str16 => self.length16()?,
            Marker::Str32 => self.length32()?,
            _ => return self.error(Problem::WrongType { expected: "a string" }),
        };
        let bytes = self.take(length)?;
        core::str::from_utf8(bytes).or_else(|_| self.error(Problem::NotUtf8))
    }

    /// Bytes, or the UTF-8 bytes of a text.
    pub(crate) fn bytes_or_text(&mut self) -> Read<&'a [u8]> {
        match self.binary()? {
            Some(bytes) => Ok(bytes),
            None if self.peek_is_text() => self.text().map(str::as_bytes),
            None => self.error(Problem::WrongType { expected: "bytes or a string" }),
        }
    }

    /// Bytes; none, and nothing consumed, where something else follows.
    pub(crate) fn binary(&mut self) -> Read<Option<&'a [u8]>> {
        let mut ahead = *self;
        let length = match ahead.marker()? {
            Marker::Bin8 => ahead.length8()?,
            Marker::Bin16 => ahead.length16()?,
            Marker::Bin32 => ahead.length32()?,
            _ => return Ok(None),
        };
        let bytes = ahead.take(length)?;
        *self = ahead;
        Ok(Some(bytes))
    }

    /// Bytes, and nothing else.
    pub(crate) fn bytes(&mut self) -> Read<&'a [u8]> {
        match self.binary()? {
            Some(bytes) => Ok(bytes),
            None => self.error(Problem::WrongType { expected: "bytes" }),
        }
    }

    /// Passes over nil; false, and nothing consumed, where something else follows.
    pub(crate) fn nil(&mut self) -> Read<bool> {
        let mut ahead = *self;
        let is_nil = ahead.marker()? == Marker::Null;
        if is_nil {
            *self = ahead;
        }
        Ok(is_nil)
    }

    fn peek_is_text(&self) -> bool {
        let first = self.rest.first().map(|&byte| Marker::from_u8(byte));
        matches!(first, Some(Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32))
    }

    pub(crate) fn boolean(&mut self) -> Read<bool> {
        match self.marker()? {
            Marker::True => Ok(true),
            Marker::False => Ok(false),
            _ => self.error(Problem::WrongType { expected: "true or false" }),
        }
    }

    /// A number that is whole and not negative, in whatever integer form it comes.
    pub(crate) fn unsigned(&mut self) -> Read<u64> {
        const EXPECTED: Problem =
            Problem::WrongType { expected: "a whole number that is not negative" };
        let signed = match self.marker()? {
            Marker::FixPos(number) => return Ok(u64::from(number)),
            Marker::U8 => return self.length8().map(|n| n as u64),
            Marker::U16 => return self.length16().map(|n| n as u64),
            Marker::U32 => return self.length32().map(|n| n as u64),
            Marker::U64 => return self.number().map(u64::from_be_bytes),
            Marker::I8 => i64::from(i8::from_be_bytes(self.number()?)),
            Marker::I16 => i64::from(i16::from_be_bytes(self.number()?)),
            Marker::I32 => i64::from(i32::from_be_bytes(self.number()?)),
            Marker::I64 => i64::from_be_bytes(self.number()?),
            _ => return self.error(EXPECTED),
        };
        u64::try_from(signed).or_else(|_| self.error(EXPECTED))
    }

    /// A number that is whole, not negative, and no larger than its type holds.
    pub(crate) fn fitting<T: TryFrom<u64>>(&mut self) -> Read<T> {
        const TOO_LARGE: Problem = Problem::OutOfRange { expected: "a smaller number" };
        T::try_from(self.unsigned()?).or_else(|_| self.error(TOO_LARGE))
    }

    /// Seconds, whole or not.
    pub(crate) fn seconds(&mut self) -> Read<f64> {
        let mut ahead = *self;
        let seconds = match ahead.marker()? {
            Marker::F32 => f64::from(f32::from_be_bytes(ahead.number()?)),
            Marker::F64 => f64::from_be_bytes(ahead.number()?),
            #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 seconds nobody waits")]
            _ => return self.unsigned().map(|whole| whole as f64),
        };
        *self = ahead;
        if seconds.is_finite() && seconds >= 0.0 {
            Ok(seconds)
        } else {
            self.error(Problem::OutOfRange { expected: "seconds, not negative" })
        }
    }

    /// The whole of the next value in its own encoding, checked for form and depth.
    pub(crate) fn raw(&mut self) -> Read<&'a [u8]> {
        self.raw_within(MAX_DEPTH)
    }

    /// The same, for a value that may nest as deep as `most`, at most [`MAX_DEPTH`].
    pub(crate) fn raw_within(&mut self, most: u32) -> Read<&'a [u8]> {
        let before = self.rest;
        self.skip_within(most)?;
        Ok(&before[..before.len() - self.rest.len()])
    }

    /// Passes over the next value. Its cost is bounded by the bytes that are there, its memory by
    /// [`MAX_DEPTH`].
    pub(crate) fn skip(&mut self) -> Read<()> {
        self.skip_within(MAX_DEPTH)
    }

    fn skip_within(&mut self, most: u32) -> Read<()> {
        // How many values are still to come at each depth.
        let mut pending = [0_usize; MAX_DEPTH as usize + 1];
        let mut depth = 0;
        pending[0] = 1;
        loop {
            while pending[depth] == 0 {
                if depth == 0 {
                    return Ok(());
                }
                depth -= 1;
            }
            pending[depth] -= 1;
            let children = self.skip_head()?;
            if let Some(children) = children {
                depth += 1;
                if depth > most.min(MAX_DEPTH) as usize {
                    return self.error(Problem::TooDeep { most });
                }
                pending[depth] = children;
            }
        }
    }

    /// Passes over a scalar whole, or over the head of an array or map and says how many values
    /// follow in it.
    fn skip_head(&mut self) -> Read<Option<usize>> {
        let length = match self.marker()? {
            Marker::FixArray(items) => return Ok(Some(usize::from(items))),
            Marker::Array16 => return self.length16().map(Some),
            Marker::Array32 => return self.length32().map(Some),
            Marker::FixMap(pairs) => return Ok(Some(2 * usize::from(pairs))),
            Marker::Map16 => return self.length16().map(|pairs| Some(2 * pairs)),
            Marker::Map32 => return self.length32().map(|pairs| Some(pairs.saturating_mul(2))),
            Marker::FixPos(_) | Marker::FixNeg(_) => 0,
            Marker::Null | Marker::True | Marker::False => 0,
            Marker::U8 | Marker::I8 => 1,
            Marker::U16 | Marker::I16 => 2,
            Marker::U32 | Marker::I32 | Marker::F32 => 4,
            Marker::U64 | Marker::I64 | Marker::F64 => 8,
            Marker::FixStr(length) => usize::from(length),
            Marker::Str8 | Marker::Bin8 => self.length8()?,
            Marker::Str16 | Marker::Bin16 => self.length16()?,
            Marker::Str32 | Marker::Bin32 => self.length32()?,
            Marker::FixExt1 => 2,
            Marker::FixExt2 => 3,
            Marker::FixExt4 => 5,
            Marker::FixExt8 => 9,
            Marker::FixExt16 => 17,
            Marker::Ext8 => self.length8()? + 1,
            Marker::Ext16 => self.length16()? + 1,
            Marker::Ext32 => self.length32()?.saturating_add(1),
            Marker::Reserved => {
                return self.error(Problem::WrongType { expected: "MessagePack" });
            }
        };
        self.take(length)?;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> Reader<'_> {
        Reader::new(bytes, "x")
    }

    fn nested(depth: usize) -> Vec<u8> {
        let mut bytes = vec![0x91; depth];
        bytes.push(0xc0);
        bytes
    }

    #[test]
    fn nesting_stops_at_the_limit() {
        let deepest = nested(MAX_DEPTH as usize);
        assert_eq!(reader(&deepest).raw(), Ok(&deepest[..]));
        let problem = reader(&nested(MAX_DEPTH as usize + 1)).raw().unwrap_err().problem;
        assert_eq!(problem, Problem::TooDeep { most: MAX_DEPTH });
        let bomb = reader(&nested(1_000_000)).raw().unwrap_err().problem;
        assert_eq!(bomb, Problem::TooDeep { most: MAX_DEPTH });
    }

    #[test]
    fn announced_lengths_reserve_nothing() {
        for bytes in [
            &[0xc6, 0xff, 0xff, 0xff, 0xff][..],
            &[0xdd, 0xff, 0xff, 0xff, 0xff],
            &[0xdf, 0xff, 0xff, 0xff, 0xff],
            &[0xdb, 0xff, 0xff, 0xff, 0xff],
            &[0xc9, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(reader(bytes).raw().unwrap_err().problem, Problem::CutShort);
        }
    }

    #[test]
    fn every_integer_form_reads_the_same() {
        let forms: [&[u8]; 9] = [
            &[5],
            &[0xcc, 5],
            &[0xcd, 0, 5],
            &[0xce, 0, 0, 0, 5],
            &[0xcf, 0, 0, 0, 0, 0, 0, 0, 5],
            &[0xd0, 5],
            &[0xd1, 0, 5],
            &[0xd2, 0, 0, 0, 5],
            &[0xd3, 0, 0, 0, 0, 0, 0, 0, 5],
        ];
        for form in forms {
            assert_eq!(reader(form).unsigned(), Ok(5));
            assert_eq!(reader(form).seconds(), Ok(5.0));
        }
        assert!(reader(&[0xd0, 0xff]).unsigned().is_err());
        assert!(reader(&[0xff]).unsigned().is_err());
    }

    #[test]
    fn seconds_are_finite_and_not_negative() {
        let encode = |seconds: f64| {
            let mut bytes = vec![0xcb];
            bytes.extend(seconds.to_be_bytes());
            bytes
        };
        assert_eq!(reader(&encode(0.05)).seconds(), Ok(0.05));
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(reader(&encode(bad)).seconds().is_err());
        }
    }

    #[test]
    fn no_two_bytes_of_anything_panic() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let bytes = [first, second];
                let _ = reader(&bytes).raw();
                let _ = reader(&bytes).bytes_or_text();
                let _ = reader(&bytes).unsigned();
                let _ = reader(&bytes).seconds();
                let _ = reader(&bytes).map();
            }
        }
    }
}
