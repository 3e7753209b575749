//! The stored form of a record and the key it is stored under. Frozen: what this file wrote, every
//! later version reads (`fixtures/`).
//!
//! ```text
//! record: version 1 | flags | hlc u64 | ordinal u32 | expiry u64, if flagged | value | checksum u64
//! key:    key hash u64 | namespace length u8 | namespace | key
//! slot:   target u32 | key hash u64 | namespace length u8 | namespace | key
//! hint:   as a record; stored under its slot
//! ```
//! Numbers are big-endian. The checksum is xxh3-64 of everything before it, seeded by the xxh3-64 of the
//! encoded key, seeded by the key hash: a record under another key is caught too (`NO_SILENT_ROT`). A
//! hint's is seeded by the xxh3-64 of its slot, so one of another target is caught as well. Decoding
//! never panics and never gives a record whose checksum is wrong.

use paravon_model::{Body, Hlc, Key, Kind, Ordinal, Record, Value, Version};
use paravon_ring::KeyHash;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::hint::HintSlot;

/// The format that this version writes.
pub(crate) const RECORD_FORMAT: u8 = 1;

const TOMBSTONE: u8 = 1;
const EXPIRES: u8 = 2;
const MSGPACK: u8 = 4;

const FIXED_BYTES: usize = 2 + 8 + 4;
const CHECKSUM_BYTES: usize = 8;

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRecord {
    /// They fail their checksum, or are no record at all.
    Damaged,
    /// They are whole, but a later version wrote them.
    Newer,
}

/// Appends the storage key: ordered by hash, so that a partition is one range.
pub(crate) fn encode_key(out: &mut Vec<u8>, hash: KeyHash, key: &Key) {
    out.extend_from_slice(&hash.0.to_be_bytes());
    out.extend_from_slice(key.encoded());
}

/// What a storage key names; `None` where the bytes are none.
pub(crate) fn decode_key(bytes: &[u8]) -> Option<(KeyHash, Key)> {
    let (&hash, key) = bytes.split_first_chunk()?;
    Some((KeyHash(u64::from_be_bytes(hash)), Key::from_encoded(key).ok()?))
}

/// Appends the stored form of `record`.
pub(crate) fn encode_record(out: &mut Vec<u8>, hash: KeyHash, key: &Key, record: &Record) {
    encode(out, seed(hash, key), record);
}

/// Appends the stored form of the hint in `slot`.
pub(crate) fn encode_hint(out: &mut Vec<u8>, slot: &HintSlot, record: &Record) {
    encode(out, xxh3_64(slot.as_bytes()), record);
}

fn encode(out: &mut Vec<u8>, seed: u64, record: &Record) {
    let start = out.len();
    let mut flags = 0;
    let mut value: &[u8] = &[];
    match &record.body {
        Body::Tombstone => flags |= TOMBSTONE,
        Body::Live(live) => {
            value = &live.bytes;
            if live.kind == Kind::Msgpack {
                flags |= MSGPACK;
            }
        }
    }
    if record.expires_ms.is_some() {
        flags |= EXPIRES;
    }
    out.extend_from_slice(&[RECORD_FORMAT, flags]);
    out.extend_from_slice(&record.version.hlc.as_u64().to_be_bytes());
    out.extend_from_slice(&record.version.ordinal.0.to_be_bytes());
    if let Some(at) = record.expires_ms {
        out.extend_from_slice(&at.to_be_bytes());
    }
    out.extend_from_slice(value);
    let checksum = xxh3_64_with_seed(&out[start..], seed);
    out.extend_from_slice(&checksum.to_be_bytes());
}

/// How many bytes [`encode_record`] and [`encode_hint`] append.
pub(crate) fn encoded_len(record: &Record) -> usize {
    let expiry = if record.expires_ms.is_some() { 8 } else { 0 };
    FIXED_BYTES + expiry + record.body.value_bytes() + CHECKSUM_BYTES
}

/// The record that `bytes` hold under `key`.
pub(crate) fn decode_record(hash: KeyHash, key: &Key, bytes: &[u8]) -> Result<Record, BadRecord> {
    decode(seed(hash, key), bytes)
}

/// The hint that `bytes` hold in `slot`.
pub(crate) fn decode_hint(slot: &HintSlot, bytes: &[u8]) -> Result<Record, BadRecord> {
    decode(xxh3_64(slot.as_bytes()), bytes)
}

fn decode(seed: u64, bytes: &[u8]) -> Result<Record, BadRecord> {
    let (content, stored) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(BadRecord::Damaged)?;
    if xxh3_64_with_seed(content, seed) != u64::from_be_bytes(*stored) {
        return Err(BadRecord::Damaged);
    }
    let (&[format, flags], rest) = content.split_first_chunk().ok_or(BadRecord::Damaged)?;
    if format != RECORD_FORMAT || flags & !(TOMBSTONE | EXPIRES | MSGPACK) != 0 {
        return Err(BadRecord::Newer);
    }
    let (&hlc, rest) = rest.split_first_chunk().ok_or(BadRecord::Damaged)?;
    let (&ordinal, mut rest) = rest.split_first_chunk().ok_or(BadRecord::Damaged)?;
    let mut expires_ms = None;
    if flags & EXPIRES != 0 {
        let (&at, after) = rest.split_first_chunk().ok_or(BadRecord::Damaged)?;
        expires_ms = Some(u64::from_be_bytes(at));
        rest = after;
    }
    let body = if flags & TOMBSTONE != 0 {
        Body::Tombstone
    } else {
        let kind = if flags & MSGPACK == 0 { Kind::Bytes } else { Kind::Msgpack };
        Body::Live(Value { kind, bytes: rest.into() })
    };
    let version = Version {
        hlc: Hlc::from_u64(u64::from_be_bytes(hlc)),
        ordinal: Ordinal(u32::from_be_bytes(ordinal)),
    };
    Ok(Record { version, expires_ms, body })
}

/// What a later version might append for `record`: whole, in a format that this one does not know.
#[cfg(test)]
pub(crate) fn encode_later_record(out: &mut Vec<u8>, hash: KeyHash, key: &Key, record: &Record) {
    let start = out.len();
    encode_record(out, hash, key, record);
    out[start] = RECORD_FORMAT + 1;
    out.truncate(out.len() - CHECKSUM_BYTES);
    let checksum = xxh3_64_with_seed(&out[start..], seed(hash, key));
    out.extend_from_slice(&checksum.to_be_bytes());
}

/// Chained rather than streamed: the same cover at half the cost for short records.
fn seed(hash: KeyHash, key: &Key) -> u64 {
    xxh3_64_with_seed(key.encoded(), hash.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Record> {
        let version = Version { hlc: Hlc::new(1_700_000_000_000, 7), ordinal: Ordinal(3) };
        let msgpack = Value { kind: Kind::Msgpack, bytes: (*b"\x81\xa1a\x01").into() };
        let mut samples = Vec::new();
        for expires_ms in [None, Some(1_800_000_000_000)] {
            for body in [
                Body::Tombstone,
                Body::Live(Value::bytes(b"")),
                Body::Live(Value::bytes(b"immortal")),
                Body::Live(msgpack.clone()),
            ] {
                samples.push(Record { version, expires_ms, body });
            }
        }
        samples
    }

    fn place() -> (KeyHash, Key) {
        let key = Key::new("users", b"souls").unwrap();
        (KeyHash::of(&key, 7), key)
    }

    fn encoded(record: &Record) -> Vec<u8> {
        let (hash, key) = place();
        let mut bytes = Vec::new();
        encode_record(&mut bytes, hash, &key, record);
        bytes
    }

    fn bytes_of(hex: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    /// One record a line, in hex. Never regenerate it: add a file for a new format.
    #[test]
    fn the_frozen_records_of_format_1_are_still_read_and_written() {
        let (hash, key) = place();
        let fixture = include_str!("../fixtures/records-1.hex");
        let lines: Vec<&str> = fixture.lines().collect();
        assert_eq!(lines.len(), samples().len());
        for (line, record) in lines.iter().zip(samples()) {
            let bytes = bytes_of(line);
            assert_eq!(decode_record(hash, &key, &bytes), Ok(record.clone()));
            assert_eq!(encoded(&record), bytes);
        }
    }

    /// Slot and stored form of each hint, as above.
    #[test]
    fn the_frozen_hints_of_format_1_are_still_read_and_written() {
        let (hash, key) = place();
        let slot = HintSlot::new(Ordinal(9), hash, &key);
        let fixture = include_str!("../fixtures/hints-1.hex");
        let lines: Vec<Vec<u8>> = fixture.lines().map(bytes_of).collect();
        assert_eq!(lines.len(), 1 + samples().len());
        assert_eq!(HintSlot::from_bytes(&lines[0]).as_ref(), Some(&slot));
        for (bytes, record) in lines[1..].iter().zip(samples()) {
            assert_eq!(decode_hint(&slot, bytes), Ok(record.clone()));
            let mut written = Vec::new();
            encode_hint(&mut written, &slot, &record);
            assert_eq!(&written, bytes);
        }
    }

    #[test]
    fn a_hint_in_another_slot_is_damaged() {
        let (hash, key) = place();
        let mut bytes = Vec::new();
        encode_hint(&mut bytes, &HintSlot::new(Ordinal(9), hash, &key), &samples()[2]);
        let slot = HintSlot::new(Ordinal(8), hash, &key);
        assert_eq!(decode_hint(&slot, &bytes), Err(BadRecord::Damaged));
        assert_eq!(decode_record(hash, &key, &bytes), Err(BadRecord::Damaged));
    }

    #[test]
    fn the_storage_key_begins_with_the_hash() {
        let (hash, key) = place();
        let mut bytes = Vec::new();
        encode_key(&mut bytes, hash, &key);
        assert_eq!(bytes[..8], hash.0.to_be_bytes());
        assert_eq!(&bytes[8..], key.encoded());
        assert_eq!(decode_key(&bytes), Some((hash, key)));
        assert_eq!(decode_key(&bytes[..9]), None);
    }

    #[test]
    fn no_flipped_bit_and_no_cut_gives_a_record() {
        let (hash, key) = place();
        for record in samples() {
            let bytes = encoded(&record);
            assert_eq!(bytes.len(), encoded_len(&record));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode_record(hash, &key, &flipped), Err(BadRecord::Damaged));
            }
            for len in 0..bytes.len() {
                assert_eq!(decode_record(hash, &key, &bytes[..len]), Err(BadRecord::Damaged));
            }
        }
    }

    #[test]
    fn a_record_under_another_key_is_damaged_and_a_later_format_says_so() {
        let (hash, key) = place();
        let bytes = encoded(&samples()[2]);
        let other = Key::new("users", b"soulz").unwrap();
        assert_eq!(decode_record(hash, &other, &bytes), Err(BadRecord::Damaged));
        assert_eq!(decode_record(KeyHash(hash.0 ^ 1), &key, &bytes), Err(BadRecord::Damaged));

        let mut later = bytes[..bytes.len() - CHECKSUM_BYTES].to_vec();
        later[0] = RECORD_FORMAT + 1;
        let sum = xxh3_64_with_seed(&later, seed(hash, &key));
        later.extend_from_slice(&sum.to_be_bytes());
        assert_eq!(decode_record(hash, &key, &later), Err(BadRecord::Newer));
    }
}
