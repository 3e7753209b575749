//! The marks of partitions as the file of a shard holds them. After a while every partition has some, and
//! they are like those of its neighbours: so they are told by what they differ in.
//!
//! ```text
//! of each partition, ascending:
//! partitions between the one before and it | damage u8 | quarantines |
//! closed - closed of the one before | closed - full | full - floor
//! ```
//!
//! Numbers are LEB128, and differences modulo 2^64. That from the one before may go either way, so it is
//! zigzag, as Protocol Buffers have it. Before the first is partition -1, closed at 0.
//! **Never:** gives marks for bytes that end too early, to a partition twice, or to one that cannot be.

use std::collections::BTreeMap;

use paravon_model::{Hlc, Marks};
use paravon_ring::Partition;

use super::{Rest, damage_number, damage_of};
use crate::marks::Marked;

/// Bits of a number in one byte; the other says whether more follow.
const BITS: u32 = 7;
const MORE: u8 = 1 << BITS;

/// Appends them.
pub(super) fn encode(out: &mut Vec<u8>, partitions: &BTreeMap<Partition, Marked>) {
    let (mut next, mut before) = (0, 0);
    for (partition, Marked { marks, quarantines }) in partitions {
        let number = u64::from(partition.0);
        let [floor, full, closed] = [marks.floor, marks.full, marks.closed].map(Hlc::as_u64);
        write(out, number - next);
        out.push(damage_number(marks.damage));
        write(out, u64::from(*quarantines));
        write(out, signed_last(closed.wrapping_sub(before)));
        write(out, closed.wrapping_sub(full));
        write(out, full.wrapping_sub(floor));
        (next, before) = (number + 1, closed);
    }
}

/// Takes so many.
pub(super) fn decode(rest: &mut Rest<'_>, count: u32) -> Option<BTreeMap<Partition, Marked>> {
    let mut partitions = BTreeMap::new();
    let (mut next, mut before) = (0_u64, 0_u64);
    for _ in 0..count {
        let number = u32::try_from(next.checked_add(read(rest)?)?).ok()?;
        let damage = damage_of(rest.take::<1>()?[0])?;
        let quarantines = u32::try_from(read(rest)?).ok()?;
        let closed = before.wrapping_add(signed_first(read(rest)?));
        let full = closed.wrapping_sub(read(rest)?);
        let floor = full.wrapping_sub(read(rest)?);
        (next, before) = (u64::from(number) + 1, closed);
        let [floor, full, closed] = [floor, full, closed].map(Hlc::from_u64);
        let marks = Marks { floor, full, closed, damage };
        partitions.insert(Partition(number), Marked { marks, quarantines });
    }
    Some(partitions)
}

/// Takes so many as format 1 has them, each in 33 bytes.
pub(super) fn decode_format_1(
    rest: &mut Rest<'_>,
    count: u32,
) -> Option<BTreeMap<Partition, Marked>> {
    let mut partitions = BTreeMap::new();
    for _ in 0..count {
        let (partition, quarantines) = (Partition(rest.u32()?), rest.u32()?);
        let [floor, full, closed] = [rest.u64()?, rest.u64()?, rest.u64()?].map(Hlc::from_u64);
        let damage = damage_of(rest.take::<1>()?[0])?;
        let marks = Marks { floor, full, closed, damage };
        partitions.insert(partition, Marked { marks, quarantines });
    }
    Some(partitions)
}

/// A difference of either sign as a number that is small where it is: the sign becomes the lowest bit.
fn signed_last(difference: u64) -> u64 {
    let sign = difference.cast_signed() >> (u64::BITS - 1);
    (difference << 1) ^ sign.cast_unsigned()
}

/// The difference of which [`signed_last`] made this.
fn signed_first(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

fn write(out: &mut Vec<u8>, mut number: u64) {
    while number >= u64::from(MORE) {
        out.push(number.to_le_bytes()[0] | MORE);
        number >>= BITS;
    }
    out.push(number.to_le_bytes()[0]);
}

fn read(rest: &mut Rest<'_>) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(BITS as usize) {
        let [byte] = rest.take()?;
        let bits = u64::from(byte & !MORE);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & MORE == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
#[path = "partitions_tests.rs"]
mod tests;
