//! The hash of a record, which replicas add up and compare.
//!
//! Peers of all versions compare the sums, so what is hashed **never** changes.

use paravon_model::{Body, Key, Kind, Record};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Of the key's hash, the version, the expiry, the kind, and the value's hash.
const HASHED: usize = 16 + 8 + 4 + 9 + 1 + 16;

/// The 128-bit hash of everything that a record of `key` says, in a cluster founded with `seed`.
/// Records with the same hash are the same record, but for one chance in 2^128.
#[must_use]
pub fn record_hash(seed: u64, key: &Key, record: &Record) -> u128 {
    let (kind, value) = match &record.body {
        Body::Tombstone => (0, 0),
        Body::Live(value) => {
            let kind = match value.kind {
                Kind::Bytes => 1,
                Kind::Msgpack => 2,
            };
            (kind, xxh3_128_with_seed(&value.bytes, seed))
        }
    };
    let mut hashed = [0; HASHED];
    let (expires, expires_ms) = (u8::from(record.expires_ms.is_some()), record.expires_ms);
    let fields: [&[u8]; 7] = [
        &xxh3_128_with_seed(key.encoded(), seed).to_be_bytes(),
        &record.version.hlc.as_u64().to_be_bytes(),
        &record.version.ordinal.0.to_be_bytes(),
        &[expires],
        &expires_ms.unwrap_or_default().to_be_bytes(),
        &[kind],
        &value.to_be_bytes(),
    ];
    let mut rest = hashed.as_mut_slice();
    for field in fields {
        let (head, tail) = rest.split_at_mut(field.len());
        head.copy_from_slice(field);
        rest = tail;
    }
    xxh3_128_with_seed(&hashed, seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use paravon_model::{Hlc, Ordinal, Value, Version};

    fn key(name: &str) -> Key {
        Key::new("default", name.as_bytes()).expect("a valid key")
    }

    fn record(ms: u64, ordinal: u32, body: Body) -> Record {
        let version = Version { hlc: Hlc::new(ms, 0), ordinal: Ordinal(ordinal) };
        Record { version, expires_ms: None, body }
    }

    fn live(value: &str) -> Body {
        Body::Live(Value::bytes(value.as_bytes()))
    }

    /// Frozen: with another number here, nodes of two versions of this program never agree.
    #[test]
    fn the_hash_of_a_record_never_changes() {
        let hash = |body| record_hash(7, &key("a"), &record(1, 2, body));
        assert_eq!(hash(live("v")), 250_859_622_075_814_034_799_126_038_525_076_690_772);
        assert_eq!(hash(Body::Tombstone), 282_198_880_141_352_081_338_606_756_766_752_362_522);
    }

    #[test]
    fn whatever_differs_tells_records_apart() {
        let (a, b) = (key("a"), key("b"));
        let one = record(1, 1, live("v"));
        let expires = |at| Record { expires_ms: Some(at), ..one.clone() };
        let packed = Value { kind: Kind::Msgpack, bytes: b"v".as_slice().into() };
        let hashes = [
            record_hash(0, &a, &one),
            record_hash(1, &a, &one),
            record_hash(0, &b, &one),
            record_hash(0, &a, &record(2, 1, live("v"))),
            record_hash(0, &a, &record(1, 2, live("v"))),
            record_hash(0, &a, &record(1, 1, live("w"))),
            record_hash(0, &a, &record(1, 1, live(""))),
            record_hash(0, &a, &record(1, 1, Body::Tombstone)),
            record_hash(0, &a, &record(1, 1, Body::Live(packed))),
            record_hash(0, &a, &expires(0)),
            record_hash(0, &a, &expires(1)),
        ];
        let mut distinct: Vec<_> = hashes.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), hashes.len());
    }
}
