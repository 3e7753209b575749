//! Hybrid logical timestamps and the versions that order all writes (`VERSION_MONOTONIC`,
//! `VERSION_UNIQUE`). After Kulkarni et al., "Logical Physical Clocks" (2014).
//!
//! This file holds values only; the clock that makes them lives in `replication`, and no value here
//! ever reads a clock.

use core::fmt;

use crate::identity::Ordinal;

/// A hybrid logical timestamp: 48 bits of milliseconds since the Unix epoch, 16 bits of counter.
/// Numeric order is the order of time.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(u64);

impl Hlc {
    /// Before every write.
    pub const ZERO: Self = Self(0);
    /// The latest timestamp there is, in the year 10889.
    pub const MAX: Self = Self(u64::MAX);

    const COUNTER_BITS: u32 = 16;
    const MAX_PHYSICAL_MS: u64 = u64::MAX >> Self::COUNTER_BITS;

    /// The timestamp of `physical_ms` and `logical`; milliseconds beyond 48 bits are cut to the
    /// latest.
    #[must_use]
    pub const fn new(physical_ms: u64, logical: u16) -> Self {
        let ms =
            if physical_ms > Self::MAX_PHYSICAL_MS { Self::MAX_PHYSICAL_MS } else { physical_ms };
        Self((ms << Self::COUNTER_BITS) | logical as u64)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn physical_ms(self) -> u64 {
        self.0 >> Self::COUNTER_BITS
    }

    /// The counter within the millisecond.
    #[must_use]
    pub const fn logical(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// The timestamp as stored: its byte order is its numeric order.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The timestamp that [`as_u64`](Self::as_u64) gave.
    #[must_use]
    pub const fn from_u64(bits: u64) -> Self {
        Self(bits)
    }

    /// `steps` later. A counter that overflows carries into the milliseconds; `None` at the end of
    /// time.
    #[must_use]
    pub fn checked_add(self, steps: u64) -> Option<Self> {
        self.0.checked_add(steps).map(Self)
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.physical_ms(), self.logical())
    }
}

/// The version of a write: totally ordered, and no two writes have the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// When the write was stamped.
    pub hlc: Hlc,
    /// Who stamped it; breaks ties.
    pub ordinal: Ordinal,
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{}", self.hlc, self.ordinal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_overflow_carries_into_the_milliseconds() {
        let last = Hlc::new(7, u16::MAX);
        assert_eq!(last.checked_add(1), Some(Hlc::new(8, 0)));
        assert_eq!(Hlc::MAX.checked_add(1), None);
    }

    #[test]
    fn numeric_order_is_time_then_counter_then_ordinal() {
        let version = |ms, logical, ordinal| Version {
            hlc: Hlc::new(ms, logical),
            ordinal: Ordinal(ordinal),
        };
        let ordered = [version(1, 0, 9), version(1, 1, 0), version(2, 0, 0), version(2, 0, 1)];
        assert!(ordered.is_sorted());
        for v in ordered {
            assert_eq!(Hlc::from_u64(v.hlc.as_u64()), v.hlc);
            assert_eq!(Hlc::new(v.hlc.physical_ms(), v.hlc.logical()), v.hlc);
        }
    }

    #[test]
    fn milliseconds_beyond_48_bits_are_cut() {
        assert_eq!(Hlc::new(u64::MAX, u16::MAX), Hlc::MAX);
    }
}
