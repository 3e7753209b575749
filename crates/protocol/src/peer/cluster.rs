//! What nodes say about the cluster itself: the document, founding, joining, liveness, time.

use std::sync::Arc;

use paravon_model::limits::MAX_SWIM_BYTES;
use paravon_model::{ChangeId, ClusterMessage, JoinRefusal, JoinRequest};

use super::fields::{
    read_address, read_change, read_hlc, read_node_id, read_optional_name, read_ordinal,
    read_revision, read_size, write_id, write_optional_name, write_revision,
};
use super::items::Items;
use super::{council, tag};
use crate::document::{read_document, write_document};
use crate::frame::append_frame;
use crate::reader::{DecodeError, Problem, Reader};
use crate::writer;

const HOLDS_RECORDS: u64 = 0;
const NAME_TAKEN: u64 = 1;
const NO_MAJORITY: u64 = 2;

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
        ClusterMessage::Join(request) => write_join(out, request),
        ClusterMessage::Joined { change, refusal } => {
            write_tag(out, tag::JOINED, 2);
            write_change(out, *change);
            write_refusal(out, *refusal);
        }
        ClusterMessage::AskEmpty { change } => {
            write_tag(out, tag::ASK_EMPTY, 1);
            write_change(out, *change);
        }
        ClusterMessage::Emptiness { change, empty } => {
            write_tag(out, tag::EMPTINESS, 2);
            write_change(out, *change);
            writer::boolean(out, *empty);
        }
    }
}

fn write_tag(out: &mut Vec<u8>, tag: u8, more: u32) {
    writer::array(out, 1 + more);
    writer::unsigned(out, u64::from(tag));
}

fn write_change(out: &mut Vec<u8>, change: ChangeId) {
    write_id(out, change.0);
}

fn write_join(out: &mut Vec<u8>, request: &JoinRequest) {
    write_tag(out, tag::JOIN, 5);
    write_change(out, request.change);
    writer::text(out, request.node_id.as_str());
    writer::text(out, request.size.name());
    write_optional_name(out, request.zone.as_ref());
    writer::text(out, request.address.as_str());
}

fn write_refusal(out: &mut Vec<u8>, refusal: Option<JoinRefusal>) {
    let (kind, member) = match refusal {
        None => return writer::nil(out),
        Some(JoinRefusal::HoldsRecords { member }) => (HOLDS_RECORDS, Some(member)),
        Some(JoinRefusal::NameTaken { member }) => (NAME_TAKEN, Some(member)),
        Some(JoinRefusal::NoMajority) => (NO_MAJORITY, None),
    };
    writer::array(out, 1 + u32::from(member.is_some()));
    writer::unsigned(out, kind);
    if let Some(member) = member {
        writer::unsigned(out, u64::from(member.0));
    }
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
        tag::JOIN => ClusterMessage::Join(JoinRequest {
            change: read_change(items.at("change")?)?,
            node_id: read_node_id(items.at("node_id")?)?,
            size: read_size(items.at("size")?)?,
            zone: read_optional_name(items.at("zone")?)?,
            address: read_address(items.at("address")?)?,
        }),
        tag::JOINED => {
            let change = read_change(items.at("change")?)?;
            let refusal = read_refusal(items.at("refusal")?)?;
            ClusterMessage::Joined { change, refusal }
        }
        tag::ASK_EMPTY => ClusterMessage::AskEmpty { change: read_change(items.at("change")?)? },
        _ => {
            let change = read_change(items.at("change")?)?;
            ClusterMessage::Emptiness { change, empty: items.at("empty")?.boolean()? }
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

fn read_refusal(reader: &mut Reader<'_>) -> Result<Option<JoinRefusal>, DecodeError> {
    if reader.nil()? {
        return Ok(None);
    }
    let mut items = Items::of(reader)?;
    let kind = items.at("refusal")?;
    let refusal = match kind.unsigned()? {
        HOLDS_RECORDS => JoinRefusal::HoldsRecords { member: read_ordinal(items.at("member")?)? },
        NAME_TAKEN => JoinRefusal::NameTaken { member: read_ordinal(items.at("member")?)? },
        NO_MAJORITY => JoinRefusal::NoMajority,
        _ => return kind.error(Problem::OutOfRange { expected: "0, 1 or 2" }),
    };
    items.end()?;
    Ok(Some(refusal))
}
