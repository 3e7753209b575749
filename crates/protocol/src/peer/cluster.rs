//! What nodes say about the cluster itself: the document, founding, operations, liveness, time.

use std::sync::Arc;

use paravon_model::limits::MAX_SWIM_BYTES;
use paravon_model::{ClusterMessage, OperationRefusal, Ordinal, Progress, Report};

use super::fields::{
    read_change, read_fence, read_hlc, read_ordinal, read_revision, write_fence, write_id,
    write_ordinal, write_revision,
};
use super::items::Items;
use super::operation::{read_operation_kind, write_operation_kind};
use super::{council, tag};
use crate::document::{read_document, write_document};
use crate::frame::append_frame;
use crate::reader::{DecodeError, Problem, Reader};
use crate::writer;

const NAME_TAKEN: u64 = 0;
const NO_SUCH_MEMBER: u64 = 1;
const IS_UP: u64 = 2;
const LAST_MEMBER: u64 = 3;
const BAD_FACTOR: u64 = 4;
const NEXT_HAS_NO_MAJORITY: u64 = 5;
const MEMBER_TOO_FAR_BEHIND: u64 = 6;
const TOO_MANY_WAITING: u64 = 7;
const NO_MAJORITY: u64 = 8;
const CURRENT_HAS_NO_MAJORITY: u64 = 9;

/// Appends a message about the cluster as a frame.
pub fn encode_cluster_message(out: &mut Vec<u8>, message: &ClusterMessage) {
    append_frame(out, |out| write(out, message));
}

fn write(out: &mut Vec<u8>, message: &ClusterMessage) {
    match message {
        ClusterMessage::Council(message) => council::write(out, message),
        ClusterMessage::Document(document) => {
            write_tag(out, tag::DOCUMENT, 1);
            write_document(out, document);
        }
        ClusterMessage::AskDocument { known } => {
            write_tag(out, tag::ASK_DOCUMENT, 1);
            match known {
                None => writer::nil(out),
                Some(known) => {
                    writer::array(out, 2);
                    write_revision(out, *known);
                }
            }
        }
        ClusterMessage::Swim(bytes) => {
            write_tag(out, tag::SWIM, 1);
            writer::binary(out, bytes);
        }
        ClusterMessage::Ping { nonce, ceiling } => {
            write_tag(out, tag::PING, 2);
            writer::unsigned(out, *nonce);
            writer::unsigned(out, ceiling.as_u64());
        }
        ClusterMessage::Pong { nonce, wall_ms, ceiling } => {
            write_tag(out, tag::PONG, 3);
            writer::unsigned(out, *nonce);
            writer::unsigned(out, *wall_ms);
            writer::unsigned(out, ceiling.as_u64());
        }
        ClusterMessage::AskToFound => write_tag(out, tag::ASK_TO_FOUND, 0),
        ClusterMessage::MayFound => write_tag(out, tag::MAY_FOUND, 0),
        ClusterMessage::MayNotFound => write_tag(out, tag::MAY_NOT_FOUND, 0),
        ClusterMessage::Operate { id, kind } => {
            write_tag(out, tag::OPERATE, 2);
            write_id(out, id.0);
            write_operation_kind(out, kind);
        }
        ClusterMessage::Cancel { fence } => {
            write_tag(out, tag::CANCEL, 2);
            write_fence(out, *fence);
        }
        ClusterMessage::Operated { id, refusal } => {
            write_tag(out, tag::OPERATED, 2);
            write_id(out, id.0);
            write_refusal(out, *refusal);
        }
        ClusterMessage::Report { member, report } => write_report(out, *member, report),
    }
}

fn write_tag(out: &mut Vec<u8>, tag: u8, more: u32) {
    writer::array(out, 1 + more);
    writer::unsigned(out, u64::from(tag));
}

fn write_refusal(out: &mut Vec<u8>, refusal: Option<OperationRefusal>) {
    let (kind, member) = match refusal {
        None => return writer::nil(out),
        Some(OperationRefusal::NameTaken { member }) => (NAME_TAKEN, Some(member)),
        Some(OperationRefusal::NoSuchMember { member }) => (NO_SUCH_MEMBER, Some(member)),
        Some(OperationRefusal::IsUp { member }) => (IS_UP, Some(member)),
        Some(OperationRefusal::LastMember) => (LAST_MEMBER, None),
        Some(OperationRefusal::BadFactor) => (BAD_FACTOR, None),
        Some(OperationRefusal::NextHasNoMajority) => (NEXT_HAS_NO_MAJORITY, None),
        Some(OperationRefusal::CurrentHasNoMajority) => (CURRENT_HAS_NO_MAJORITY, None),
        Some(OperationRefusal::MemberTooFarBehind { member }) => {
            (MEMBER_TOO_FAR_BEHIND, Some(member))
        }
        Some(OperationRefusal::TooManyWaiting) => (TOO_MANY_WAITING, None),
        Some(OperationRefusal::NoMajority) => (NO_MAJORITY, None),
    };
    writer::array(out, 1 + u32::from(member.is_some()));
    writer::unsigned(out, kind);
    if let Some(member) = member {
        write_ordinal(out, &member);
    }
}

fn write_report(out: &mut Vec<u8>, member: Ordinal, report: &Report) {
    let Progress { partitions, complete, records, bytes } = report.progress;
    write_tag(out, tag::REPORT, 8);
    write_ordinal(out, &member);
    write_fence(out, report.stored);
    let numbers = [partitions, complete, records, bytes, report.hints];
    numbers.iter().for_each(|&number| writer::unsigned(out, number));
}

/// Reads what follows a tag that is one of these messages'.
pub(super) fn read(tag: u8, items: &mut Items<'_, '_>) -> Result<ClusterMessage, DecodeError> {
    Ok(match tag {
        tag::COUNCIL => ClusterMessage::Council(council::read(items)?),
        tag::DOCUMENT => ClusterMessage::Document(Arc::new(read_document(items.at("document")?)?)),
        tag::ASK_DOCUMENT => {
            let known = items.at("known")?;
            if known.nil()? {
                return Ok(ClusterMessage::AskDocument { known: None });
            }
            let mut items = Items::of(known)?;
            let known = Some(read_revision(&mut items)?);
            items.end()?;
            ClusterMessage::AskDocument { known }
        }
        tag::SWIM => ClusterMessage::Swim(read_swim(items.at("swim")?)?),
        tag::PING => {
            let nonce = items.at("nonce")?.unsigned()?;
            ClusterMessage::Ping { nonce, ceiling: read_hlc(items.at("ceiling")?)? }
        }
        tag::PONG => {
            let nonce = items.at("nonce")?.unsigned()?;
            let wall_ms = items.at("wall_ms")?.unsigned()?;
            ClusterMessage::Pong { nonce, wall_ms, ceiling: read_hlc(items.at("ceiling")?)? }
        }
        tag::ASK_TO_FOUND => ClusterMessage::AskToFound,
        tag::MAY_FOUND => ClusterMessage::MayFound,
        tag::MAY_NOT_FOUND => ClusterMessage::MayNotFound,
        tag::OPERATE => {
            let id = read_change(items.at("id")?)?;
            ClusterMessage::Operate { id, kind: read_operation_kind(items.at("operation")?)? }
        }
        tag::CANCEL => ClusterMessage::Cancel { fence: read_fence(items)? },
        tag::OPERATED => {
            let id = read_change(items.at("id")?)?;
            let refusal = read_refusal(items.at("refusal")?)?;
            ClusterMessage::Operated { id, refusal }
        }
        _ => {
            let member = read_ordinal(items.at("member")?)?;
            ClusterMessage::Report { member, report: read_report(items)? }
        }
    })
}

/// Bounded before it is copied: what comes may be as long as the longest value.
fn read_swim(reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let bytes = reader.bytes()?;
    if bytes.len() > MAX_SWIM_BYTES {
        return reader.error(Problem::OutOfRange { expected: "a shorter message" });
    }
    Ok(bytes.to_vec())
}

fn read_refusal(reader: &mut Reader<'_>) -> Result<Option<OperationRefusal>, DecodeError> {
    if reader.nil()? {
        return Ok(None);
    }
    let mut items = Items::of(reader)?;
    let kind = items.at("refusal")?;
    let number = kind.unsigned()?;
    if number > CURRENT_HAS_NO_MAJORITY {
        return kind.error(Problem::OutOfRange { expected: "0 to 9" });
    }
    let mut member = || read_ordinal(items.at("member")?);
    let refusal = match number {
        NAME_TAKEN => OperationRefusal::NameTaken { member: member()? },
        NO_SUCH_MEMBER => OperationRefusal::NoSuchMember { member: member()? },
        IS_UP => OperationRefusal::IsUp { member: member()? },
        LAST_MEMBER => OperationRefusal::LastMember,
        BAD_FACTOR => OperationRefusal::BadFactor,
        NEXT_HAS_NO_MAJORITY => OperationRefusal::NextHasNoMajority,
        MEMBER_TOO_FAR_BEHIND => OperationRefusal::MemberTooFarBehind { member: member()? },
        TOO_MANY_WAITING => OperationRefusal::TooManyWaiting,
        NO_MAJORITY => OperationRefusal::NoMajority,
        _ => OperationRefusal::CurrentHasNoMajority,
    };
    items.end()?;
    Ok(Some(refusal))
}

fn read_report(items: &mut Items<'_, '_>) -> Result<Report, DecodeError> {
    let stored = read_fence(items)?;
    let progress = Progress {
        partitions: items.at("partitions")?.unsigned()?,
        complete: items.at("complete")?.unsigned()?,
        records: items.at("records")?.unsigned()?,
        bytes: items.at("bytes")?.unsigned()?,
    };
    Ok(Report { stored, progress, hints: items.at("hints")?.unsigned()? })
}
