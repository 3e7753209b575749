//! What a replica that is to become complete asks of one that was there before, and what it is told: a
//! sum of a partition, or a page of it.
//!
//! **Never:** reads a page of more than [`MAX_PAGE_RECORDS`].

use paravon_model::limits::{MAX_PAGE_RECORDS, MAX_SHIFT};
use paravon_model::{Key, PartitionSum, Pull, Pulled, Rest};

use super::fields::{
    RECORD_ITEMS, read_id, read_key, read_record, read_version, write_id, write_record,
    write_version,
};
use super::items::Items;
use crate::maps::{read_list, write_list};
use crate::reader::{DecodeError, Problem, Reader};
use crate::writer;

type Read<T> = Result<T, DecodeError>;

/// How many items [`write_pull`] appends.
pub(super) const PULL_ITEMS: u32 = 3;

const SUM: u64 = 0;
const VERSIONS: u64 = 1;
const RECORDS: u64 = 2;
const DAMAGED: u64 = 3;

/// The partition, how much of it, and the key behind which to go on or nil.
pub(super) fn write_pull(out: &mut Vec<u8>, partition: u32, pull: &Pull) {
    let (kind, after) = match pull {
        Pull::Sum => (SUM, None),
        Pull::Versions { after } => (VERSIONS, after.as_ref()),
        Pull::Records { after } => (RECORDS, after.as_ref()),
    };
    writer::unsigned(out, u64::from(partition));
    writer::unsigned(out, kind);
    match after {
        Some(key) => writer::binary(out, key.encoded()),
        None => writer::nil(out),
    }
}

pub(super) fn read_pull(items: &mut Items<'_, '_>) -> Read<(u32, Pull)> {
    let reader = items.at("partition")?;
    let partition: u32 = reader.fitting()?;
    if partition >= 1 << MAX_SHIFT {
        return reader.error(Problem::OutOfRange { expected: "a number below 2^24" });
    }
    let kind = read_kind(items.at("pull")?, RECORDS, "0, 1 or 2")?;
    let after = items.at("after")?;
    let after = if after.nil()? { None } else { Some(read_key(after)?) };
    let pull = match kind {
        SUM => Pull::Sum,
        VERSIONS => Pull::Versions { after },
        _ => Pull::Records { after },
    };
    Ok((partition, pull))
}

/// How many items [`write_pulled`] appends.
pub(super) const PULLED_ITEMS: u32 = 3;

/// The kind; then the sum's two, or the page and whether more may follow, or the key that cannot be read
/// and true.
pub(super) fn write_pulled(out: &mut Vec<u8>, pulled: &Pulled) {
    match pulled {
        Pulled::Sum(PartitionSum { records, sum }) => {
            writer::unsigned(out, SUM);
            writer::unsigned(out, *records);
            write_id(out, *sum);
        }
        Pulled::Versions { versions, rest } => {
            writer::unsigned(out, VERSIONS);
            write_list(out, versions, |out, (key, version)| {
                write_entry(out, key, 2);
                write_version(out, *version);
            });
            write_rest(out, *rest);
        }
        Pulled::Records { records, rest } => {
            writer::unsigned(out, RECORDS);
            write_list(out, records, |out, (key, record)| {
                write_entry(out, key, RECORD_ITEMS);
                write_record(out, record);
            });
            write_rest(out, *rest);
        }
        Pulled::Damaged { key } => {
            writer::unsigned(out, DAMAGED);
            writer::binary(out, key.encoded());
            write_rest(out, Rest::More);
        }
    }
}

pub(super) fn read_pulled(items: &mut Items<'_, '_>, max_value_bytes: usize) -> Read<Pulled> {
    Ok(match read_kind(items.at("pulled")?, DAMAGED, "0 to 3")? {
        SUM => {
            let records = items.at("records")?.unsigned()?;
            Pulled::Sum(PartitionSum { records, sum: read_id(items.at("sum")?)? })
        }
        VERSIONS => {
            let versions = read_page(items.at("versions")?, read_version)?;
            Pulled::Versions { versions, rest: read_rest(items.at("more")?)? }
        }
        DAMAGED => {
            let key = read_key(items.at("key")?)?;
            // Whether more follows is for the next page to say.
            read_rest(items.at("more")?)?;
            Pulled::Damaged { key }
        }
        _ => {
            let record = |items: &mut Items<'_, '_>| read_record(items, max_value_bytes);
            let records = read_page(items.at("records")?, record)?;
            Pulled::Records { records, rest: read_rest(items.at("more")?)? }
        }
    })
}

/// A kind up to `last`.
fn read_kind(reader: &mut Reader<'_>, last: u64, expected: &'static str) -> Read<u64> {
    match reader.unsigned()? {
        kind if kind <= last => Ok(kind),
        _ => reader.error(Problem::OutOfRange { expected }),
    }
}

/// The head of an entry of a page, and its key.
fn write_entry(out: &mut Vec<u8>, key: &Key, more: u32) {
    writer::array(out, 1 + more);
    writer::binary(out, key.encoded());
}

fn read_page<T>(
    reader: &mut Reader<'_>,
    read: impl Fn(&mut Items<'_, '_>) -> Read<T>,
) -> Read<Vec<(Key, T)>> {
    read_list(reader, MAX_PAGE_RECORDS, |reader| {
        let mut items = Items::of(reader)?;
        let key = read_key(items.at("key")?)?;
        let entry = read(&mut items)?;
        items.end()?;
        Ok((key, entry))
    })
}

fn write_rest(out: &mut Vec<u8>, rest: Rest) {
    writer::boolean(out, rest == Rest::More);
}

fn read_rest(reader: &mut Reader<'_>) -> Read<Rest> {
    Ok(if reader.boolean()? { Rest::More } else { Rest::End })
}
