//! What is kept for a replica that could not be reached, as both engines name it.
//!
//! A hint has a slot of its own per target and key. An arc that is dirty for a target stands for
//! hints that are not kept: anti-entropy must compare it with that target. Nothing here decides
//! which record wins; that is [`Record::precedence`].

use std::borrow::Borrow;
use std::ops::RangeInclusive;

use paravon_model::{Key, Ordinal, Record, Version};
use paravon_ring::{HashArc, KeyHash, Shift};

use crate::codec;
use crate::page::Page;

/// A write kept for a replica that could not be reached (`HINT_NOT_LOST`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptHint {
    /// Where the key lies on the ring.
    pub hash: KeyHash,
    /// The key.
    pub key: Key,
    /// The newest record kept for the target.
    pub record: Record,
}

/// Puts the hint of a slot into a page.
pub(crate) fn push(page: &mut Page<KeptHint>, slot: &HintSlot, record: &Record) {
    if let Some(hint) = slot.with(record.clone()) {
        let cost = cost(&hint.key, &hint.record);
        page.push(hint, cost);
    }
}

/// What one store keeps for one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HintTotals {
    /// For whom.
    pub target: Ordinal,
    /// Hints, durable or queued.
    pub count: u64,
    /// What they take of the limit, in bytes.
    pub bytes: u64,
    /// Partitions with writes that the target may lack and no hint tells. The store notes arcs of the
    /// finest partitions that there can be, and one dirty arc makes its partition dirty, whatever the
    /// shift; past 65,536 arcs it stops telling them apart, and all partitions of the shard are dirty
    /// (all of the ring, before the store knows which those are). Only anti-entropy clears them, since
    /// it alone knows what the target lacks: see [`Store::clean`](crate::Store::clean).
    pub dirty: u64,
}

/// What a hint takes of the limit beside its key and record: the target, the hash, and its share of
/// the pages and of the log.
const OVERHEAD: usize = 64;

/// What the hint of a key takes of the limit, in bytes.
pub(crate) fn cost(key: &Key, record: &Record) -> u64 {
    cost_of(SLOT_HEAD + key.encoded().len(), codec::encoded_len(record))
}

/// What a hint takes of the limit whose slot and record have these lengths.
pub(crate) fn cost_of(slot_bytes: usize, record_bytes: usize) -> u64 {
    (OVERHEAD + slot_bytes - SLOT_HEAD + record_bytes) as u64
}

/// Bytes of a slot before the key.
const SLOT_HEAD: usize = 4 + 8;

/// The place of a hint, written as `codec.rs` says, in the order that all hints are kept in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HintSlot(Box<[u8]>);

impl HintSlot {
    /// The place of the hint of `key` for `target`.
    pub(crate) fn new(target: Ordinal, hash: KeyHash, key: &Key) -> Self {
        let mut bytes = Vec::with_capacity(SLOT_HEAD + key.encoded().len());
        bytes.extend_from_slice(&target.0.to_be_bytes());
        codec::encode_key(&mut bytes, hash, key);
        Self(bytes.into())
    }

    /// The slot of these bytes; `None` where they are none.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let slot = Self(bytes.into());
        slot.parts().map(|_| slot)
    }

    /// As it is stored.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Target, hash and key. Always there in a slot that was made here.
    pub(crate) fn parts(&self) -> Option<(Ordinal, KeyHash, Key)> {
        let (&target, rest) = self.0.split_first_chunk()?;
        let (&hash, key) = rest.split_first_chunk()?;
        let key = Key::from_encoded(key).ok()?;
        Some((Ordinal(u32::from_be_bytes(target)), KeyHash(u64::from_be_bytes(hash)), key))
    }

    /// With its record, as a caller sees it.
    pub(crate) fn with(&self, record: Record) -> Option<KeptHint> {
        self.parts().map(|(_, hash, key)| KeptHint { hash, key, record })
    }
}

impl Borrow<[u8]> for HintSlot {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// The slots of `target` begin with this and no others do.
pub(crate) fn prefix(target: Ordinal) -> [u8; 4] {
    target.0.to_be_bytes()
}

/// The target and hash of a slot, also of one whose key is damaged.
pub(crate) fn place_of(slot: &[u8]) -> Option<(Ordinal, KeyHash)> {
    let (&target, rest) = slot.split_first_chunk()?;
    let (&hash, _) = rest.split_first_chunk()?;
    Some((Ordinal(u32::from_be_bytes(target)), KeyHash(u64::from_be_bytes(hash))))
}

/// Above every stamp: what is dropped up to it is dropped whatever it is.
pub(crate) fn any_version() -> Version {
    Version { hlc: paravon_model::Hlc::from_u64(u64::MAX), ordinal: Ordinal(u32::MAX) }
}

/// What a mark became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    /// What it names is dirty.
    Dirty,
    /// It is dirty no more.
    Clean,
}

/// An arc of the ring, or all of it, that is dirty for a target. Where all of it is, or is no more, that
/// is so whatever the marks of arcs said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DirtyMark {
    /// For whom.
    pub(crate) target: Ordinal,
    /// The leading bits of the hashes in it, or [`ALL`](Self::ALL).
    pub(crate) arc: u32,
}

impl DirtyMark {
    /// In place of an arc: every one.
    pub(crate) const ALL: u32 = u32::MAX;

    /// An arc is one of the finest partitions that there can be. Frozen: arcs are on disks.
    const SHIFT: u8 = 24;

    /// The arc that holds `hash`.
    pub(crate) fn arc_of(hash: KeyHash) -> u32 {
        u32::try_from(hash.0 >> (64 - Self::SHIFT)).expect("24 bits")
    }

    /// The arcs that lie in one of the ring as a whole.
    pub(crate) fn within(arc: HashArc) -> RangeInclusive<u32> {
        let width = 1 << (64 - Self::SHIFT);
        let number = |bits: u64| u32::try_from(bits).expect("25 bits");
        let first = number(arc.first.0.div_ceil(width));
        match arc.last.0 / width {
            last if arc.last.0 % width == width - 1 => first..=number(last),
            0 => RangeInclusive::new(1, 0),
            cut => first..=number(cut - 1),
        }
    }

    /// The partition that holds `arc`.
    pub(crate) fn partition_of(arc: u32, shift: Shift) -> u32 {
        arc >> (Self::SHIFT - shift.get())
    }
}

const _: () = assert!(Shift::MAX == DirtyMark::SHIFT, "finer partitions need finer arcs");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::key;

    #[test]
    fn slots_sort_by_target_then_hash_then_key_and_give_back_their_parts() {
        let mut slots = Vec::new();
        for target in [Ordinal(1), Ordinal(256), Ordinal(u32::MAX)] {
            for hash in [KeyHash(0), KeyHash(255), KeyHash(u64::MAX)] {
                for number in [1, 2] {
                    let key = key(number).1;
                    let slot = HintSlot::new(target, hash, &key);
                    assert_eq!(slot.parts(), Some((target, hash, key)));
                    assert_eq!(place_of(slot.as_bytes()), Some((target, hash)));
                    slots.push(slot);
                }
            }
        }
        assert!(slots.is_sorted());
    }

    #[test]
    fn bytes_that_are_no_slot_are_refused() {
        let (hash, key) = key(1);
        let slot = HintSlot::new(Ordinal(1), hash, &key);
        for len in 0..slot.as_bytes().len() - 2 {
            assert_eq!(HintSlot::from_bytes(&slot.as_bytes()[..len]), None, "{len}");
        }
    }

    #[test]
    fn an_arc_lies_in_the_partition_of_its_hashes() {
        for shift in [1, 16, 24].map(|shift| Shift::new(shift).unwrap()) {
            for hash in [0, 1 << 40, u64::MAX >> 3, u64::MAX].map(KeyHash) {
                let arc = DirtyMark::arc_of(hash);
                assert_eq!(DirtyMark::partition_of(arc, shift), hash.partition(shift).0);
            }
        }
    }

    #[test]
    fn an_arc_is_the_leading_24_bits() {
        assert_eq!(DirtyMark::arc_of(KeyHash(u64::MAX)), 0x00ff_ffff);
        assert_eq!(DirtyMark::arc_of(KeyHash(1 << 40)), 1);
        assert_eq!(DirtyMark::arc_of(KeyHash((1 << 40) - 1)), 0);
    }
}
