//! The entries of a batch. Each begins with a tag; tags are given once and never reused.
//!
//! ```text
//! 1 record:       tag | shard u16 | key hash u64 | key length u16 | record length u32 | key | record
//! 2 ceiling:      tag | hlc u64
//! 3 hint:         tag | shard u16 | slot length u16 | record length u32 | slot | hint
//! 4 hint dropped: tag | shard u16 | slot length u16 | hlc u64 | ordinal u32 | slot
//! 5 dirty:        tag | shard u16 | target u32 | arc u32, all ones for all of the ring
//! 6 forgotten:    tag | shard u16 | key hash u64 | key length u16 | key
//! 7 marks, 8 damaged, 9 healed: see mark_entry.rs
//! 10 cleaned:     as 5, then quarantines u32
//! 11 dropped:     as 6, then hlc u64 | ordinal u32
//! ```
//! Records, slots and hints are those of `codec.rs`. A hint is kept in place of an older one of its
//! slot; it is dropped if the slot holds the version named or an older one. A forgotten key holds
//! nothing until a record of it follows; a dropped one too, if the record before it is of the version named. What was cleaned is dirty no more, unless the
//! shard's file was set aside since, as the number of its quarantines says; where a dirty or cleaned arc
//! is all of the ring, that is so whatever was said of other arcs before. Whoever wrote the entry had decided that already, so replaying
//! any part of the log again, in order and up to its end, changes nothing.
//!
//! An unknown tag is an error, never skipped: a later version wrote it and relies on it.

use paravon_model::{Hlc, Key, Ordinal, Record, Version};
use paravon_ring::KeyHash;

use crate::codec::{self, BadRecord};
use crate::hint::{DirtyMark, HintSlot};
use crate::log::mark_entry;
use crate::marks::MarkChange;
use crate::record_stage::Slot;

const RECORD: u8 = 1;
const CEILING: u8 = 2;
const HINT: u8 = 3;
const HINT_DROPPED: u8 = 4;
const DIRTY: u8 = 5;
const FORGOTTEN: u8 = 6;
pub(super) const MARKS: u8 = 7;
pub(super) const DAMAGED: u8 = 8;
pub(super) const HEALED: u8 = 9;
const CLEANED: u8 = 10;
const DROPPED: u8 = 11;

/// Bytes of a record entry before the key.
const RECORD_HEAD: usize = 1 + 2 + 8 + 2 + 4;

/// Bytes of a hint entry before the slot.
const HINT_HEAD: usize = 1 + 2 + 2 + 4;

/// Bytes of the entry of a dropped hint before the slot.
const HINT_DROPPED_HEAD: usize = 1 + 2 + 2 + 8 + 4;

/// Bytes of a dirty entry.
pub(crate) const DIRTY_LEN: usize = 1 + 2 + 4 + 4;

/// Bytes of a cleaned entry.
pub(crate) const CLEANED_LEN: usize = DIRTY_LEN + 4;

/// Bytes that the entry of a dropped record has behind the key.
const VERSION_LEN: usize = 8 + 4;

/// Bytes before the key of an entry that names a key alone.
const KEY_HEAD: usize = 1 + 2 + 8 + 2;

/// One thing that the log remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A record that won its merge in this shard.
    Record {
        /// The shard that it belongs to.
        shard: u16,
        /// The hash of the key.
        hash: KeyHash,
        /// Its key.
        key: Key,
        /// The record.
        record: Record,
    },
    /// The node may stamp up to here.
    Ceiling(Hlc),
    /// A hint that is newer than what its slot held.
    Hint {
        /// The shard that keeps it.
        shard: u16,
        /// For whom, and of which key.
        slot: HintSlot,
        /// What the target lacks.
        record: Record,
    },
    /// A hint that is not needed any more.
    HintDropped {
        /// The shard that kept it.
        shard: u16,
        /// For whom, and of which key.
        slot: HintSlot,
        /// Dropped up to this version.
        version: Version,
    },
    /// An arc with writes that a target may lack, and no hint tells.
    Dirty {
        /// The shard that lacks the hint.
        shard: u16,
        /// For whom, and where.
        mark: DirtyMark,
    },
    /// An arc with writes that its target was found to lack none of.
    Cleaned {
        /// The shard that lacked the hint.
        shard: u16,
        /// For whom, and where.
        mark: DirtyMark,
        /// How often the shard's file had been set aside by then.
        quarantines: u32,
    },
    /// A key of which nothing is stored any more.
    Forgotten {
        /// The shard that it belonged to.
        shard: u16,
        /// The hash of the key.
        hash: KeyHash,
        /// The key.
        key: Key,
    },
    /// A version of a record that is not stored any more.
    Dropped {
        /// The shard that it belonged to.
        shard: u16,
        /// The hash of the key.
        hash: KeyHash,
        /// The key.
        key: Key,
        /// Of the record that went.
        version: Version,
    },
    /// Something that a shard remembers beside its records.
    Mark {
        /// The shard.
        shard: u16,
        /// What is true from here on.
        change: MarkChange,
    },
}

impl Entry {
    /// The shard that it belongs to; none for the node's own.
    pub(crate) fn shard(&self) -> Option<u16> {
        match *self {
            Self::Record { shard, .. }
            | Self::Hint { shard, .. }
            | Self::HintDropped { shard, .. }
            | Self::Dirty { shard, .. }
            | Self::Cleaned { shard, .. }
            | Self::Forgotten { shard, .. }
            | Self::Dropped { shard, .. }
            | Self::Mark { shard, .. } => Some(shard),
            Self::Ceiling(_) => None,
        }
    }
}

/// Why the payload of a whole batch cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadEntry {
    /// A later version's tag, or a known one before what only a later version knows.
    Newer(u8),
    /// Cut short or not a record: a bug of the writer, since the batch's checksum is right.
    Malformed,
}

/// Appends a record entry.
pub(crate) fn put_record(out: &mut Vec<u8>, shard: u16, hash: KeyHash, key: &Key, record: &Record) {
    let record_len = u32::try_from(codec::encoded_len(record)).expect("bounded by the segment");
    out.push(RECORD);
    out.extend_from_slice(&shard.to_be_bytes());
    out.extend_from_slice(&hash.0.to_be_bytes());
    out.extend_from_slice(&key_len(key).to_be_bytes());
    out.extend_from_slice(&record_len.to_be_bytes());
    out.extend_from_slice(key.encoded());
    codec::encode_record(out, hash, key, record);
}

/// How many bytes [`put_record`] appends.
pub(crate) fn record_len(key: &Key, record: &Record) -> usize {
    RECORD_HEAD + key.encoded().len() + codec::encoded_len(record)
}

/// Appends a ceiling entry.
pub(crate) fn put_ceiling(out: &mut Vec<u8>, hlc: Hlc) {
    out.push(CEILING);
    out.extend_from_slice(&hlc.as_u64().to_be_bytes());
}

/// Appends a hint entry.
pub(crate) fn put_hint(out: &mut Vec<u8>, shard: u16, slot: &HintSlot, record: &Record) {
    let record_len = u32::try_from(codec::encoded_len(record)).expect("bounded by the segment");
    out.push(HINT);
    out.extend_from_slice(&shard.to_be_bytes());
    out.extend_from_slice(&slot_len(slot).to_be_bytes());
    out.extend_from_slice(&record_len.to_be_bytes());
    out.extend_from_slice(slot.as_bytes());
    codec::encode_hint(out, slot, record);
}

/// How many bytes [`put_hint`] appends.
pub(crate) fn hint_len(slot: &HintSlot, record: &Record) -> usize {
    HINT_HEAD + slot.as_bytes().len() + codec::encoded_len(record)
}

/// Appends the entry of a dropped hint.
pub(crate) fn put_hint_dropped(out: &mut Vec<u8>, shard: u16, slot: &HintSlot, version: Version) {
    out.push(HINT_DROPPED);
    out.extend_from_slice(&shard.to_be_bytes());
    out.extend_from_slice(&slot_len(slot).to_be_bytes());
    put_version(out, version);
    out.extend_from_slice(slot.as_bytes());
}

fn put_version(out: &mut Vec<u8>, version: Version) {
    out.extend_from_slice(&version.hlc.as_u64().to_be_bytes());
    out.extend_from_slice(&version.ordinal.0.to_be_bytes());
}

/// How many bytes [`put_hint_dropped`] appends.
pub(crate) fn hint_dropped_len(slot: &HintSlot) -> usize {
    HINT_DROPPED_HEAD + slot.as_bytes().len()
}

/// Appends a dirty entry, of [`DIRTY_LEN`] bytes.
pub(crate) fn put_dirty(out: &mut Vec<u8>, shard: u16, mark: DirtyMark) {
    put_mark(out, DIRTY, shard, mark);
}

/// Appends a cleaned entry, of [`CLEANED_LEN`] bytes.
pub(crate) fn put_cleaned(out: &mut Vec<u8>, shard: u16, mark: DirtyMark, quarantines: u32) {
    put_mark(out, CLEANED, shard, mark);
    out.extend_from_slice(&quarantines.to_be_bytes());
}

fn put_mark(out: &mut Vec<u8>, tag: u8, shard: u16, mark: DirtyMark) {
    out.push(tag);
    out.extend_from_slice(&shard.to_be_bytes());
    out.extend_from_slice(&mark.target.0.to_be_bytes());
    out.extend_from_slice(&mark.arc.to_be_bytes());
}

/// Appends the entry of a forgotten key.
pub(crate) fn put_forgotten(out: &mut Vec<u8>, shard: u16, hash: KeyHash, key: &Key) {
    put_key(out, FORGOTTEN, shard, hash, key);
}

/// Appends the entry of a dropped record.
pub(crate) fn put_dropped(
    out: &mut Vec<u8>,
    shard: u16,
    hash: KeyHash,
    key: &Key,
    version: Version,
) {
    put_key(out, DROPPED, shard, hash, key);
    put_version(out, version);
}

/// How many bytes [`put_dropped`] appends.
pub(crate) fn dropped_len(key: &Key) -> usize {
    key_entry_len(key) + VERSION_LEN
}

/// Appends an entry that names a key alone, of [`key_entry_len`] bytes.
pub(super) fn put_key(out: &mut Vec<u8>, tag: u8, shard: u16, hash: KeyHash, key: &Key) {
    out.push(tag);
    out.extend_from_slice(&shard.to_be_bytes());
    out.extend_from_slice(&hash.0.to_be_bytes());
    out.extend_from_slice(&key_len(key).to_be_bytes());
    out.extend_from_slice(key.encoded());
}

/// How many bytes [`put_forgotten`] appends.
pub(crate) fn forgotten_len(key: &Key) -> usize {
    key_entry_len(key)
}

/// How many bytes an entry takes that names a key alone.
pub(super) fn key_entry_len(key: &Key) -> usize {
    KEY_HEAD + key.encoded().len()
}

fn key_len(key: &Key) -> u16 {
    u16::try_from(key.encoded().len()).expect("a key is shorter than 64 KiB")
}

fn slot_len(slot: &HintSlot) -> u16 {
    u16::try_from(slot.as_bytes().len()).expect("a slot is shorter than 64 KiB")
}

/// The entries of a batch's payload, in order. Ends after the first error.
pub(crate) struct Entries<'a>(pub(crate) &'a [u8]);

impl Iterator for Entries<'_> {
    type Item = Result<Entry, BadEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.0.split_first()?;
        let parsed = match tag {
            RECORD => parse_record(rest),
            CEILING => parse_ceiling(rest).ok_or(BadEntry::Malformed),
            HINT => parse_hint(rest),
            HINT_DROPPED => parse_hint_dropped(rest).ok_or(BadEntry::Malformed),
            DIRTY => parse_dirty(rest).ok_or(BadEntry::Malformed),
            CLEANED => parse_cleaned(rest).ok_or(BadEntry::Malformed),
            FORGOTTEN => parse_forgotten(rest).ok_or(BadEntry::Malformed),
            DROPPED => parse_dropped(rest).ok_or(BadEntry::Malformed),
            MARKS => mark_entry::parse_marks(rest),
            DAMAGED | HEALED => mark_entry::parse_key_mark(tag, rest),
            unknown => Err(BadEntry::Newer(unknown)),
        };
        self.0 = parsed.as_ref().map_or(&[], |(_, rest)| *rest);
        Some(parsed.map(|(entry, _)| entry))
    }
}

fn parse_record(bytes: &[u8]) -> Result<(Entry, &[u8]), BadEntry> {
    let (stored, rest) = split_record(bytes).ok_or(BadEntry::Malformed)?;
    let Stored { shard, hash, key, record } = stored;
    let record = codec::decode_record(hash, &key, record).map_err(|bad| bad_entry(RECORD, bad))?;
    Ok((Entry::Record { shard, hash, key, record }, rest))
}

fn bad_entry(tag: u8, bad: BadRecord) -> BadEntry {
    match bad {
        BadRecord::Damaged => BadEntry::Malformed,
        BadRecord::Newer => BadEntry::Newer(tag),
    }
}

/// A record entry whose record is not decoded yet.
struct Stored<'a> {
    shard: u16,
    hash: KeyHash,
    key: Key,
    record: &'a [u8],
}

fn split_record(bytes: &[u8]) -> Option<(Stored<'_>, &[u8])> {
    let (&shard, bytes) = bytes.split_first_chunk()?;
    let (&hash, bytes) = bytes.split_first_chunk()?;
    let (&key_len, bytes) = bytes.split_first_chunk()?;
    let (&record_len, bytes) = bytes.split_first_chunk()?;
    let (key, bytes) = bytes.split_at_checked(usize::from(u16::from_be_bytes(key_len)))?;
    let (record, rest) = bytes.split_at_checked(u32::from_be_bytes(record_len).try_into().ok()?)?;
    let hash = KeyHash(u64::from_be_bytes(hash));
    let key = Key::from_encoded(key).ok()?;
    Some((Stored { shard: u16::from_be_bytes(shard), hash, key, record }, rest))
}

fn parse_ceiling(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (&hlc, rest) = bytes.split_first_chunk()?;
    Some((Entry::Ceiling(Hlc::from_u64(u64::from_be_bytes(hlc))), rest))
}

fn parse_hint(bytes: &[u8]) -> Result<(Entry, &[u8]), BadEntry> {
    let (shard, slot, record, rest) = split_hint(bytes).ok_or(BadEntry::Malformed)?;
    let record = codec::decode_hint(&slot, record).map_err(|bad| bad_entry(HINT, bad))?;
    Ok((Entry::Hint { shard, slot, record }, rest))
}

fn split_hint(bytes: &[u8]) -> Option<(u16, HintSlot, &[u8], &[u8])> {
    let (&shard, bytes) = bytes.split_first_chunk()?;
    let (&slot_len, bytes) = bytes.split_first_chunk()?;
    let (&record_len, bytes) = bytes.split_first_chunk()?;
    let (slot, bytes) = bytes.split_at_checked(usize::from(u16::from_be_bytes(slot_len)))?;
    let (record, rest) = bytes.split_at_checked(u32::from_be_bytes(record_len).try_into().ok()?)?;
    Some((u16::from_be_bytes(shard), HintSlot::from_bytes(slot)?, record, rest))
}

fn parse_hint_dropped(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (&shard, bytes) = bytes.split_first_chunk()?;
    let (&slot_len, bytes) = bytes.split_first_chunk()?;
    let (version, bytes) = split_version(bytes)?;
    let (slot, rest) = bytes.split_at_checked(usize::from(u16::from_be_bytes(slot_len)))?;
    let (shard, slot) = (u16::from_be_bytes(shard), HintSlot::from_bytes(slot)?);
    Some((Entry::HintDropped { shard, slot, version }, rest))
}

fn split_version(bytes: &[u8]) -> Option<(Version, &[u8])> {
    let (&hlc, bytes) = bytes.split_first_chunk()?;
    let (&ordinal, rest) = bytes.split_first_chunk()?;
    let hlc = Hlc::from_u64(u64::from_be_bytes(hlc));
    Some((Version { hlc, ordinal: Ordinal(u32::from_be_bytes(ordinal)) }, rest))
}

fn parse_dirty(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (shard, mark, rest) = split_mark(bytes)?;
    Some((Entry::Dirty { shard, mark }, rest))
}

fn parse_cleaned(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (shard, mark, bytes) = split_mark(bytes)?;
    let (&quarantines, rest) = bytes.split_first_chunk()?;
    let quarantines = u32::from_be_bytes(quarantines);
    Some((Entry::Cleaned { shard, mark, quarantines }, rest))
}

fn split_mark(bytes: &[u8]) -> Option<(u16, DirtyMark, &[u8])> {
    let (&shard, bytes) = bytes.split_first_chunk()?;
    let (&target, bytes) = bytes.split_first_chunk()?;
    let (&arc, rest) = bytes.split_first_chunk()?;
    let mark =
        DirtyMark { target: Ordinal(u32::from_be_bytes(target)), arc: u32::from_be_bytes(arc) };
    Some((u16::from_be_bytes(shard), mark, rest))
}

fn parse_forgotten(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (shard, Slot { hash, key }, rest) = parse_key(bytes)?;
    Some((Entry::Forgotten { shard, hash, key }, rest))
}

fn parse_dropped(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (shard, Slot { hash, key }, bytes) = parse_key(bytes)?;
    let (version, rest) = split_version(bytes)?;
    Some((Entry::Dropped { shard, hash, key, version }, rest))
}

/// The shard and the key of an entry that names a key alone, and what follows it.
pub(super) fn parse_key(bytes: &[u8]) -> Option<(u16, Slot, &[u8])> {
    let (&shard, bytes) = bytes.split_first_chunk()?;
    let (&hash, bytes) = bytes.split_first_chunk()?;
    let (&key_len, bytes) = bytes.split_first_chunk()?;
    let (key, rest) = bytes.split_at_checked(usize::from(u16::from_be_bytes(key_len)))?;
    let (hash, key) = (KeyHash(u64::from_be_bytes(hash)), Key::from_encoded(key).ok()?);
    Some((u16::from_be_bytes(shard), Slot { hash, key }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use paravon_model::{Body, Value};

    fn sample() -> (Vec<u8>, Vec<Entry>) {
        let key = Key::new("default", b"k").unwrap();
        let version = Version { hlc: Hlc::new(1, 2), ordinal: Ordinal(3) };
        let record = Record { version, expires_ms: Some(9), body: Body::Live(Value::bytes(b"v")) };
        let hash = KeyHash::of(&key, 0);
        let slot = HintSlot::new(Ordinal(4), hash, &key);
        let mark = DirtyMark { target: Ordinal(4), arc: 0x00ab_cdef };
        let mut bytes = Vec::new();
        put_record(&mut bytes, 5, hash, &key, &record);
        assert_eq!(bytes.len(), record_len(&key, &record));
        put_ceiling(&mut bytes, Hlc::new(10, 0));
        let before = bytes.len();
        put_hint(&mut bytes, 6, &slot, &record);
        assert_eq!(bytes.len() - before, hint_len(&slot, &record));
        let before = bytes.len();
        put_hint_dropped(&mut bytes, 6, &slot, version);
        assert_eq!(bytes.len() - before, hint_dropped_len(&slot));
        let before = bytes.len();
        put_dirty(&mut bytes, 6, mark);
        assert_eq!(bytes.len() - before, DIRTY_LEN);
        let before = bytes.len();
        put_forgotten(&mut bytes, 6, hash, &key);
        assert_eq!(bytes.len() - before, forgotten_len(&key));
        let entries = vec![
            Entry::Record { shard: 5, hash, key: key.clone(), record: record.clone() },
            Entry::Ceiling(Hlc::new(10, 0)),
            Entry::Hint { shard: 6, slot: slot.clone(), record },
            Entry::HintDropped { shard: 6, slot, version },
            Entry::Dirty { shard: 6, mark },
            Entry::Forgotten { shard: 6, hash, key },
        ];
        (bytes, entries)
    }

    /// Entries of a batch, in hex: those that the first versions had, then the forgotten key. Never
    /// regenerate them: add a tag for another form.
    #[test]
    fn the_frozen_entries_are_still_read_and_written() {
        let (bytes, _) = sample();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let first = include_str!("../../fixtures/entries-1.hex").trim_end();
        let forgotten = include_str!("../../fixtures/forgotten-1.hex").trim_end();
        assert_eq!(hex, format!("{first}{forgotten}"));
    }

    #[test]
    fn the_frozen_entry_of_a_cleaned_arc_is_still_read_and_written() {
        let mark = DirtyMark { target: Ordinal(4), arc: 0x00ab_cdef };
        let mut bytes = Vec::new();
        put_cleaned(&mut bytes, 6, mark, 2);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("../../fixtures/cleaned-1.hex").trim_end());
        assert_eq!(bytes.len(), CLEANED_LEN);
        let cleaned = Entry::Cleaned { shard: 6, mark, quarantines: 2 };
        assert_eq!(Entries(&bytes).collect::<Vec<_>>(), [Ok(cleaned)]);
        for len in 1..bytes.len() {
            let cut: Vec<_> = Entries(&bytes[..len]).collect();
            assert_eq!(cut, [Err(BadEntry::Malformed)]);
        }
    }

    #[test]
    fn the_frozen_entry_of_a_dropped_record_is_still_read_and_written() {
        let key = Key::new("default", b"k").unwrap();
        let hash = KeyHash::of(&key, 0);
        let version = Version { hlc: Hlc::new(1, 2), ordinal: Ordinal(3) };
        let mut bytes = Vec::new();
        put_dropped(&mut bytes, 6, hash, &key, version);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("../../fixtures/dropped-1.hex").trim_end());
        assert_eq!(bytes.len(), dropped_len(&key));
        let dropped = Entry::Dropped { shard: 6, hash, key, version };
        assert_eq!(Entries(&bytes).collect::<Vec<_>>(), [Ok(dropped)]);
        for len in 1..bytes.len() {
            let cut: Vec<_> = Entries(&bytes[..len]).collect();
            assert_eq!(cut, [Err(BadEntry::Malformed)]);
        }
    }

    #[test]
    fn entries_come_back_in_order() {
        let (bytes, entries) = sample();
        assert_eq!(Entries(&bytes).map(Result::unwrap).collect::<Vec<_>>(), entries);
    }

    #[test]
    fn an_unknown_tag_is_an_error_and_ends_the_entries() {
        let (mut bytes, entries) = sample();
        bytes.extend_from_slice(&[77, 1, 2, 3]);
        let read: Vec<_> = Entries(&bytes).collect();
        assert_eq!(read.len(), entries.len() + 1);
        assert_eq!(read.last(), Some(&Err(BadEntry::Newer(77))));
    }

    #[test]
    fn a_record_of_a_later_format_is_not_damage() {
        let (mut bytes, entries) = sample();
        let whole = bytes.len();
        let Entry::Record { shard, hash, key, record } = &entries[0] else { panic!("{entries:?}") };
        let len = record_len(key, record);
        put_record(&mut bytes, *shard, *hash, key, record);
        bytes.truncate(bytes.len() - codec::encoded_len(record));
        codec::encode_later_record(&mut bytes, *hash, key, record);
        assert_eq!(bytes.len(), whole + len);
        assert_eq!(Entries(&bytes).last(), Some(Err(BadEntry::Newer(RECORD))));
    }

    #[test]
    fn no_cut_panics() {
        let (bytes, _) = sample();
        for len in 0..bytes.len() {
            assert!(Entries(&bytes[..len]).count() <= 6);
        }
    }
}
