//! What coordinators and replicas say to each other about one key: one request per replica and client
//! request, so nothing here allocates but the key and the value. Comparisons and pulls of partitions go
//! the same way.

use core::time::Duration;
use std::sync::Arc;

use paravon_model::limits::MAX_REQUEST_TIMEOUT;
use paravon_model::{Command, Failure, Merged, Purpose, Record, ReplicaReply, ReplicaRequest};

use super::compare::{
    compare_items, compared_items, read_compare, read_compared, write_compare, write_compared,
};
use super::failure::{read_failure, write_failure};
use super::fields::{
    RECORD_ITEMS, read_fence, read_hlc, read_key, read_record, read_version, write_fence,
    write_record, write_version,
};
use super::items::Items;
use super::pull::{PULL_ITEMS, PULLED_ITEMS, read_pull, read_pulled, write_pull, write_pulled};
use super::tag;
use crate::document::{read_document, write_document};
use crate::frame::append_frame;
use crate::reader::{DecodeError, Problem, Reader};
use crate::writer;

/// Tag, shard, operation.
const HEAD_ITEMS: u32 = 3;
/// The fence's two, and the time that is left.
const REQUEST_ITEMS: u32 = HEAD_ITEMS + 3;
/// The key, the purpose and the record.
const STORE_ITEMS: u32 = REQUEST_ITEMS + 2 + RECORD_ITEMS;

const WRITE: u64 = 0;
const REPAIR: u64 = 1;
const HINT: u64 = 2;

/// What follows in an answer.
const NOTHING: u64 = 0;
const SOMETHING: u64 = 1;
const FAILURE: u64 = 2;
/// Only in the answer to a store.
const BELOW_FLOOR: u64 = 3;

/// Appends a request as a frame. `shard` and `operation` come back in the reply.
pub fn encode_replica_request(
    out: &mut Vec<u8>,
    shard: u16,
    operation: u64,
    request: &ReplicaRequest,
) {
    let (tag, items) = match &request.command {
        Command::Store { .. } => (tag::STORE, STORE_ITEMS),
        Command::Read { .. } => (tag::READ, REQUEST_ITEMS + 1),
        Command::Pull { .. } => (tag::PULL, REQUEST_ITEMS + PULL_ITEMS),
        Command::Compare(compare) => (tag::COMPARE, REQUEST_ITEMS + compare_items(compare)),
    };
    append_frame(out, |out| {
        write_head(out, items, tag, shard, operation);
        write_fence(out, request.fence);
        writer::unsigned(out, milliseconds(request.time_left));
        match &request.command {
            Command::Store { key, record, purpose } => {
                writer::binary(out, key.encoded());
                writer::unsigned(
                    out,
                    match purpose {
                        Purpose::Write => WRITE,
                        Purpose::Repair => REPAIR,
                        Purpose::Hint => HINT,
                    },
                );
                write_record(out, record);
            }
            Command::Read { key } => writer::binary(out, key.encoded()),
            Command::Pull { partition, pull } => write_pull(out, *partition, pull),
            Command::Compare(compare) => write_compare(out, compare),
        }
    });
}

/// Rounded down, so that the receiver never works past the sender's deadline.
fn milliseconds(time_left: Duration) -> u64 {
    let whole = time_left.min(MAX_REQUEST_TIMEOUT).as_millis();
    u64::try_from(whole).unwrap_or_default()
}

/// Appends a reply as a frame, with the `shard` and `operation` of the request.
pub fn encode_replica_reply(out: &mut Vec<u8>, shard: u16, operation: u64, reply: &ReplicaReply) {
    let head = |out: &mut Vec<u8>, tag, more| {
        write_head(out, HEAD_ITEMS + more, tag, shard, operation);
    };
    append_frame(out, |out| match reply {
        ReplicaReply::Stored { stamp, answer } => {
            let (kind, items) = kind_of(answer, kind_of_merged);
            head(out, tag::STORED, 3 + items);
            write_version(out, *stamp);
            write_answer(out, kind, answer, |out, merged| match merged {
                Merged::Applied => {}
                Merged::Superseded { version } | Merged::BelowFloor { version } => {
                    write_version(out, *version);
                }
            });
        }
        ReplicaReply::Found { answer, floor } => {
            let (kind, items) = kind_of(answer, kind_of_found);
            head(out, tag::FOUND, 2 + items);
            writer::unsigned(out, floor.as_u64());
            write_answer(out, kind, answer, |out, found| {
                found.iter().for_each(|record| write_record(out, record));
            });
        }
        ReplicaReply::Pulled { answer } => {
            let (kind, items) = kind_of(answer, |_| (SOMETHING, PULLED_ITEMS));
            head(out, tag::PULLED, 1 + items);
            write_answer(out, kind, answer, write_pulled);
        }
        ReplicaReply::Compared { answer } => {
            let (kind, items) = kind_of(answer, |compared| (SOMETHING, compared_items(compared)));
            head(out, tag::COMPARED, 1 + items);
            write_answer(out, kind, answer, write_compared);
        }
        ReplicaReply::StaleLayout { document } => {
            head(out, tag::STALE_LAYOUT, 1);
            write_document(out, document);
        }
        ReplicaReply::StaleFence { known } => {
            head(out, tag::STALE_FENCE, 2);
            write_fence(out, *known);
        }
        ReplicaReply::LaterLayout { known } => {
            head(out, tag::LATER_LAYOUT, 2);
            write_fence(out, *known);
        }
    });
}

fn kind_of_merged(merged: &Merged) -> (u64, u32) {
    match merged {
        Merged::Applied => (NOTHING, 0),
        Merged::Superseded { .. } => (SOMETHING, 2),
        Merged::BelowFloor { .. } => (BELOW_FLOOR, 2),
    }
}

fn kind_of_found(found: &Option<Record>) -> (u64, u32) {
    match found {
        None => (NOTHING, 0),
        Some(_) => (SOMETHING, RECORD_ITEMS),
    }
}

/// An answer's kind, and how many items follow it. `of` tells both for a success.
fn kind_of<T>(answer: &Result<T, Failure>, of: impl FnOnce(&T) -> (u64, u32)) -> (u64, u32) {
    answer.as_ref().map_or((FAILURE, 1), of)
}

fn write_answer<T>(
    out: &mut Vec<u8>,
    kind: u64,
    answer: &Result<T, Failure>,
    write: impl FnOnce(&mut Vec<u8>, &T),
) {
    writer::unsigned(out, kind);
    match answer {
        Ok(success) => write(out, success),
        Err(failure) => write_failure(out, failure),
    }
}

fn write_head(out: &mut Vec<u8>, items: u32, tag: u8, shard: u16, operation: u64) {
    writer::array(out, items);
    writer::unsigned(out, u64::from(tag));
    writer::unsigned(out, u64::from(shard));
    writer::unsigned(out, operation);
}

/// Reads what follows a request's operation.
pub(super) fn read_request(
    tag: u8,
    items: &mut Items<'_, '_>,
    max_value_bytes: usize,
) -> Result<ReplicaRequest, DecodeError> {
    let fence = read_fence(items)?;
    let time_left = Duration::from_millis(items.at("time_left_ms")?.unsigned()?);
    let time_left = time_left.min(MAX_REQUEST_TIMEOUT);
    let command = match tag {
        tag::STORE => {
            let key = read_key(items.at("key")?)?;
            let purpose = read_purpose(items.at("purpose")?)?;
            Command::Store { key, record: read_record(items, max_value_bytes)?, purpose }
        }
        tag::READ => Command::Read { key: read_key(items.at("key")?)? },
        tag::COMPARE => Command::Compare(read_compare(items)?),
        _ => {
            let (partition, pull) = read_pull(items)?;
            Command::Pull { partition, pull }
        }
    };
    Ok(ReplicaRequest { fence, time_left, command })
}

fn read_purpose(reader: &mut Reader<'_>) -> Result<Purpose, DecodeError> {
    match reader.unsigned()? {
        WRITE => Ok(Purpose::Write),
        REPAIR => Ok(Purpose::Repair),
        HINT => Ok(Purpose::Hint),
        _ => reader.error(Problem::OutOfRange { expected: "0, 1 or 2" }),
    }
}

/// Reads what follows a reply's operation.
pub(super) fn read_reply(
    tag: u8,
    items: &mut Items<'_, '_>,
    max_value_bytes: usize,
) -> Result<ReplicaReply, DecodeError> {
    Ok(match tag {
        tag::STORED => {
            let stamp = read_version(items)?;
            let answer = match read_kind(items, BELOW_FLOOR, "0 to 3")? {
                NOTHING => Ok(Merged::Applied),
                SOMETHING => Ok(Merged::Superseded { version: read_version(items)? }),
                BELOW_FLOOR => Ok(Merged::BelowFloor { version: read_version(items)? }),
                _ => Err(read_failure(items.at("failure")?)?),
            };
            ReplicaReply::Stored { stamp, answer }
        }
        tag::FOUND => {
            let floor = read_hlc(items.at("floor")?)?;
            let answer = match read_kind(items, FAILURE, "0, 1 or 2")? {
                NOTHING => Ok(None),
                SOMETHING => Ok(Some(read_record(items, max_value_bytes)?)),
                _ => Err(read_failure(items.at("failure")?)?),
            };
            ReplicaReply::Found { answer, floor }
        }
        tag::PULLED => {
            let pulled = |items: &mut Items<'_, '_>| read_pulled(items, max_value_bytes);
            ReplicaReply::Pulled { answer: read_answer(items, pulled)? }
        }
        tag::COMPARED => ReplicaReply::Compared { answer: read_answer(items, read_compared)? },
        tag::STALE_LAYOUT => {
            let document = Arc::new(read_document(items.at("document")?)?);
            ReplicaReply::StaleLayout { document }
        }
        tag::STALE_FENCE => ReplicaReply::StaleFence { known: read_fence(items)? },
        _ => ReplicaReply::LaterLayout { known: read_fence(items)? },
    })
}

fn read_kind(
    items: &mut Items<'_, '_>,
    last: u64,
    expected: &'static str,
) -> Result<u64, DecodeError> {
    let reader = items.at("answer")?;
    match reader.unsigned()? {
        kind if kind <= last => Ok(kind),
        _ => reader.error(Problem::OutOfRange { expected }),
    }
}

/// An answer that never holds nothing: an empty page, or no sum, says so itself.
fn read_answer<T>(
    items: &mut Items<'_, '_>,
    read: impl FnOnce(&mut Items<'_, '_>) -> Result<T, DecodeError>,
) -> Result<Result<T, Failure>, DecodeError> {
    let reader = items.at("answer")?;
    match reader.unsigned()? {
        SOMETHING => read(items).map(Ok),
        FAILURE => read_failure(items.at("failure")?).map(Err),
        _ => reader.error(Problem::OutOfRange { expected: "1 or 2" }),
    }
}
