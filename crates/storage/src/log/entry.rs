//! The entries of a batch. Each begins with a tag; tags are given once and never reused.
//!
//! ```text
//! 1 record:  tag | shard u16 | key hash u64 | key length u16 | record length u32 | key | record
//! 2 ceiling: tag | hlc u64
//! ```
//! An unknown tag is an error, never skipped: a later version wrote it and relies on it.

use paravon_model::{Hlc, Key, Record};
use paravon_ring::KeyHash;

use crate::codec::{self, BadRecord};

const RECORD: u8 = 1;
const CEILING: u8 = 2;

/// Bytes of a record entry before the key.
const RECORD_HEAD: usize = 1 + 2 + 8 + 2 + 4;

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
    let key_len = u16::try_from(key.encoded().len()).expect("a key is shorter than 64 KiB");
    let record_len = u32::try_from(codec::encoded_len(record)).expect("bounded by the segment");
    out.push(RECORD);
    out.extend_from_slice(&shard.to_be_bytes());
    out.extend_from_slice(&hash.0.to_be_bytes());
    out.extend_from_slice(&key_len.to_be_bytes());
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

/// The entries of a batch's payload, in order. Ends after the first error.
pub(crate) struct Entries<'a>(pub(crate) &'a [u8]);

impl Iterator for Entries<'_> {
    type Item = Result<Entry, BadEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.0.split_first()?;
        let parsed = match tag {
            RECORD => parse_record(rest),
            CEILING => parse_ceiling(rest).ok_or(BadEntry::Malformed),
            unknown => Err(BadEntry::Newer(unknown)),
        };
        self.0 = parsed.as_ref().map_or(&[], |(_, rest)| *rest);
        Some(parsed.map(|(entry, _)| entry))
    }
}

fn parse_record(bytes: &[u8]) -> Result<(Entry, &[u8]), BadEntry> {
    let (stored, rest) = split_record(bytes).ok_or(BadEntry::Malformed)?;
    let Stored { shard, hash, key, record } = stored;
    let record = codec::decode_record(hash, &key, record).map_err(|bad| match bad {
        BadRecord::Damaged => BadEntry::Malformed,
        BadRecord::Newer => BadEntry::Newer(RECORD),
    })?;
    Ok((Entry::Record { shard, hash, key, record }, rest))
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

#[cfg(test)]
mod tests {
    use super::*;
    use paravon_model::{Body, Ordinal, Value, Version};

    fn sample() -> (Vec<u8>, Vec<Entry>) {
        let key = Key::new("default", b"k").unwrap();
        let version = Version { hlc: Hlc::new(1, 2), ordinal: Ordinal(3) };
        let record = Record { version, expires_ms: Some(9), body: Body::Live(Value::bytes(b"v")) };
        let hash = KeyHash::of(&key, 0);
        let mut bytes = Vec::new();
        put_record(&mut bytes, 5, hash, &key, &record);
        assert_eq!(bytes.len(), record_len(&key, &record));
        put_ceiling(&mut bytes, Hlc::new(10, 0));
        (
            bytes,
            vec![Entry::Record { shard: 5, hash, key, record }, Entry::Ceiling(Hlc::new(10, 0))],
        )
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
        let Entry::Record { shard, hash, key, record } = &entries[0] else { panic!("{entries:?}") };
        let len = record_len(key, record);
        put_record(&mut bytes, *shard, *hash, key, record);
        bytes.truncate(bytes.len() - codec::encoded_len(record));
        codec::encode_later_record(&mut bytes, *hash, key, record);
        assert_eq!(bytes.len(), 2 * len + 9);
        assert_eq!(Entries(&bytes).last(), Some(Err(BadEntry::Newer(RECORD))));
    }

    #[test]
    fn no_cut_panics() {
        let (bytes, _) = sample();
        for len in 0..bytes.len() {
            assert!(Entries(&bytes[..len]).count() <= 2);
        }
    }
}
