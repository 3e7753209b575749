//! What coordinators and replicas say to each other about one key: one request per replica and client
//! request, so nothing here allocates but the key and the value. Pulls of partitions go the same way.

use core::time::Duration;
use std::sync::Arc;

use paravon_model::limits::MAX_REQUEST_TIMEOUT;
use paravon_model::{Command, Failure, Merged, Purpose, ReplicaReply, ReplicaRequest};

use super::failure::{read_failure, write_failure};
use super::fields::{
    RECORD_ITEMS, read_fence, read_key, read_record, read_version, write_fence, write_record,
    write_version,
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
    append_frame(out, |out| match reply {
        ReplicaReply::Stored { stamp, answer } => {
            let (kind, items) = kind_of(answer, |merged| match merged {
                Merged::Applied => None,
                Merged::Superseded { .. } => Some(2),
            });
            write_head(out, HEAD_ITEMS + 3 + items, tag::STORED, shard, operation);
            write_version(out, *stamp);
            writer::unsigned(out, kind);
            match answer {
                Ok(Merged::Applied) => {}
                Ok(Merged::Superseded { version }) => write_version(out, *version),
                Err(failure) => write_failure(out, failure),
            }
        }
        ReplicaReply::Found { answer } => {
            let (kind, items) = kind_of(answer, |found| found.as_ref().map(|_| RECORD_ITEMS));
            write_head(out, HEAD_ITEMS + 1 + items, tag::FOUND, shard, operation);
            writer::unsigned(out, kind);
            match answer {
                Ok(None) => {}
                Ok(Some(record)) => write_record(out, record),
                Err(failure) => write_failure(out, failure),
            }
        }
        ReplicaReply::Pulled { answer } => {
            let (kind, items) = kind_of(answer, |_| Some(PULLED_ITEMS));
            write_head(out, HEAD_ITEMS + 1 + items, tag::PULLED, shard, operation);
            writer::unsigned(out, kind);
            match answer {
                Ok(pulled) => write_pulled(out, pulled),
                Err(failure) => write_failure(out, failure),
            }
        }
        ReplicaReply::StaleLayout { document } => {
            write_head(out, HEAD_ITEMS + 1, tag::STALE_LAYOUT, shard, operation);
            write_document(out, document);
        }
        ReplicaReply::StaleFence { known } => {
            write_head(out, HEAD_ITEMS + 2, tag::STALE_FENCE, shard, operation);
            write_fence(out, *known);
        }
        ReplicaReply::LaterLayout { known } => {
            write_head(out, HEAD_ITEMS + 2, tag::LATER_LAYOUT, shard, operation);
            write_fence(out, *known);
        }
    });
}

/// An answer's kind, and how many items follow it. `items` counts those of a success.
fn kind_of<T>(answer: &Result<T, Failure>, items: impl FnOnce(&T) -> Option<u32>) -> (u64, u32) {
    match answer.as_ref().map(items) {
        Ok(None) => (NOTHING, 0),
        Ok(Some(items)) => (SOMETHING, items),
        Err(_) => (FAILURE, 1),
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
            let answer = match read_kind(items)? {
                NOTHING => Ok(Merged::Applied),
                SOMETHING => Ok(Merged::Superseded { version: read_version(items)? }),
                _ => Err(read_failure(items.at("failure")?)?),
            };
            ReplicaReply::Stored { stamp, answer }
        }
        tag::FOUND => {
            let answer = match read_kind(items)? {
                NOTHING => Ok(None),
                SOMETHING => Ok(Some(read_record(items, max_value_bytes)?)),
                _ => Err(read_failure(items.at("failure")?)?),
            };
            ReplicaReply::Found { answer }
        }
        tag::PULLED => {
            // A pull has no answer that holds nothing: an empty page says so itself.
            let reader = items.at("answer")?;
            let answer = match reader.unsigned()? {
                SOMETHING => Ok(read_pulled(items, max_value_bytes)?),
                FAILURE => Err(read_failure(items.at("failure")?)?),
                _ => return reader.error(Problem::OutOfRange { expected: "1 or 2" }),
            };
            ReplicaReply::Pulled { answer }
        }
        tag::STALE_LAYOUT => {
            let document = Arc::new(read_document(items.at("document")?)?);
            ReplicaReply::StaleLayout { document }
        }
        tag::STALE_FENCE => ReplicaReply::StaleFence { known: read_fence(items)? },
        _ => ReplicaReply::LaterLayout { known: read_fence(items)? },
    })
}

fn read_kind(items: &mut Items<'_, '_>) -> Result<u64, DecodeError> {
    let reader = items.at("answer")?;
    match reader.unsigned()? {
        kind @ NOTHING..=FAILURE => Ok(kind),
        _ => reader.error(Problem::OutOfRange { expected: "0, 1 or 2" }),
    }
}
