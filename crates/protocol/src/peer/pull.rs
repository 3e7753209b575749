//! What a replica asks of another one that may hold what it lacks, and what it is told: a page of a
//! partition, or of a sixteenth of it.
//!
//! **Never:** reads a page of more than [`MAX_PAGE_RECORDS`].

use paravon_model::limits::MAX_PAGE_RECORDS;
use paravon_model::{Detail, Key, Listed, PARTS, Part, Pull, Pulled, Record, Rest};

use super::fields::{
    RECORD_ITEMS, read_key, read_partition, read_record, read_version, write_record, write_version,
};
use super::items::Items;
use crate::maps::{read_list, write_list};
use crate::reader::{DecodeError, Problem, Reader};
use crate::writer;

type Read<T> = Result<T, DecodeError>;

/// How many items [`write_pull`] appends.
pub(super) const PULL_ITEMS: u32 = 4;

const LISTING: u64 = 0;
const RECORDS: u64 = 1;
const DAMAGED: u64 = 2;

/// A listed key's, its version's two, and the check.
const LISTED_ITEMS: u32 = 4;

/// The partition; nil for all of it, or the number of a sixteenth; what of each record; and the key
/// behind which to go on, or nil.
pub(super) fn write_pull(out: &mut Vec<u8>, partition: u32, pull: &Pull) {
    writer::unsigned(out, u64::from(partition));
    match pull.part {
        Part::Whole => writer::nil(out),
        Part::Sixteenth(number) => writer::unsigned(out, u64::from(number)),
    }
    writer::unsigned(
        out,
        match pull.detail {
            Detail::Listing => LISTING,
            Detail::Record => RECORDS,
        },
    );
    match &pull.after {
        Some(key) => writer::binary(out, key.encoded()),
        None => writer::nil(out),
    }
}

pub(super) fn read_pull(items: &mut Items<'_, '_>) -> Read<(u32, Pull)> {
    let partition = read_partition(items.at("partition")?)?;
    let part = read_part(items.at("part")?)?;
    let detail = match read_kind(items.at("detail")?, RECORDS, "0 or 1")? {
        LISTING => Detail::Listing,
        _ => Detail::Record,
    };
    let after = items.at("after")?;
    let after = if after.nil()? { None } else { Some(read_key(after)?) };
    Ok((partition, Pull { part, detail, after }))
}

fn read_part(reader: &mut Reader<'_>) -> Read<Part> {
    if reader.nil()? {
        return Ok(Part::Whole);
    }
    match reader.fitting::<u8>()? {
        number if usize::from(number) < PARTS => Ok(Part::Sixteenth(number)),
        _ => reader.error(Problem::OutOfRange { expected: "0 to 15" }),
    }
}

/// How many items [`write_pulled`] appends.
pub(super) const PULLED_ITEMS: u32 = 3;

/// The kind; the page, or the key that cannot be read; and whether more may follow.
pub(super) fn write_pulled(out: &mut Vec<u8>, pulled: &Pulled) {
    match pulled {
        Pulled::Listing { listed, rest } => {
            writer::unsigned(out, LISTING);
            write_list(out, listed, write_listed);
            write_rest(out, *rest);
        }
        Pulled::Records { records, rest } => {
            writer::unsigned(out, RECORDS);
            write_list(out, records, |out, (key, record)| {
                writer::array(out, 1 + RECORD_ITEMS);
                writer::binary(out, key.encoded());
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
    Ok(match read_kind(items.at("pulled")?, DAMAGED, "0, 1 or 2")? {
        LISTING => {
            let listed = read_list(items.at("listing")?, MAX_PAGE_RECORDS, read_listed)?;
            Pulled::Listing { listed, rest: read_rest(items.at("more")?)? }
        }
        DAMAGED => {
            let key = read_key(items.at("key")?)?;
            // Whether more follows is for the next page to say.
            read_rest(items.at("more")?)?;
            Pulled::Damaged { key }
        }
        _ => {
            let record = |reader: &mut Reader<'_>| read_entry(reader, max_value_bytes);
            let records = read_list(items.at("records")?, MAX_PAGE_RECORDS, record)?;
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

fn write_listed(out: &mut Vec<u8>, listed: &Listed) {
    writer::array(out, LISTED_ITEMS);
    writer::binary(out, listed.key.encoded());
    write_version(out, listed.version);
    writer::unsigned(out, listed.check);
}

fn read_listed(reader: &mut Reader<'_>) -> Read<Listed> {
    let mut items = Items::of(reader)?;
    let key = read_key(items.at("key")?)?;
    let version = read_version(&mut items)?;
    let check = items.at("check")?.unsigned()?;
    items.end()?;
    Ok(Listed { key, version, check })
}

fn read_entry(reader: &mut Reader<'_>, max_value_bytes: usize) -> Read<(Key, Record)> {
    let mut items = Items::of(reader)?;
    let key = read_key(items.at("key")?)?;
    let record = read_record(&mut items, max_value_bytes)?;
    items.end()?;
    Ok((key, record))
}

fn write_rest(out: &mut Vec<u8>, rest: Rest) {
    writer::boolean(out, rest == Rest::More);
}

fn read_rest(reader: &mut Reader<'_>) -> Read<Rest> {
    Ok(if reader.boolean()? { Rest::More } else { Rest::End })
}
