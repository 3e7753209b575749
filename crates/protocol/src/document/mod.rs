//! The cluster document's bytes, on disk and between nodes: one map, whose first field is `format`.
//!
//! All layouts of a document together name the same members over and over, so it lists each member once,
//! under `members`, and the layouts by ordinals.
//!
//! Fields of later versions are passed over, so that a newer node can add what an older one may ignore.
//! What an older one may not ignore comes with a new phase or a new format, which it refuses.
//!
//! **Never:** gives out a document that no cluster can have (`LAYOUT_AGREES`): members and council are
//! checked before anything is placed by them.

mod check;
pub(crate) mod format_1;
mod members;
#[cfg(test)]
mod tests;

use paravon_model::limits::{
    MAX_COUNCIL, MAX_DOCUMENT_MEMBERS, MAX_DOCUMENT_OPERATIONS, MAX_MEMBERS, MAX_PAST_CHANGES,
};
use paravon_model::{ClusterId, Document, Joint, Member, Operation, Ordinal, PastChange, Phase};

use self::members::{Listed, distinct, read_member, write_member, write_roster};
use crate::maps::{keep, read_format, read_list, required, write_list, write_number, wrong};
use crate::peer::fields::{read_id, read_ordinal, write_id, write_ordinal};
use crate::peer::items::Items;
use crate::peer::operation::{read_operation, write_operation};
use crate::reader::{DecodeError, Reader};
use crate::writer;

pub(crate) use self::check::check_document;

type Read<T> = Result<T, DecodeError>;

/// The format that this version writes, and the only one that it takes from other nodes.
const FORMAT: u64 = 2;

const STABLE: &str = "stable";
const JOINT: &str = "joint";
const RESCUE: &str = "rescue";

/// The document's bytes.
#[must_use]
pub fn encode_document(document: &Document) -> Vec<u8> {
    let mut out = Vec::new();
    write_document(&mut out, document);
    out
}

/// Reads what [`encode_document`] wrote.
///
/// # Errors
/// Names the field that is wrong, or that no cluster's document can have so.
pub fn decode_document(bytes: &[u8]) -> Result<Document, DecodeError> {
    let mut reader = Reader::new(bytes, "document");
    let document = read_document(&mut reader)?;
    reader.at("document").end()?;
    Ok(document)
}

/// Appends the document as one value.
pub(crate) fn write_document(out: &mut Vec<u8>, document: &Document) {
    let joint = document.joint();
    writer::map(out, if joint.is_some() { 17 } else { 15 });
    write_number(out, "format", FORMAT);
    writer::text(out, "cluster_id");
    write_id(out, document.cluster_id.0);
    write_number(out, "generation", document.generation);
    writer::text(out, "rescue_id");
    write_id(out, document.rescue_id);
    write_number(out, "version", document.version);
    write_number(out, "fence", document.fence);
    writer::text(out, "phase");
    writer::text(out, document.phase.name());
    write_number(out, "hash_seed", document.hash_seed);
    write_number(out, "shift", u64::from(document.shift));
    writer::text(out, "members");
    write_list(out, &distinct(document), |out, member| write_member(out, member));
    writer::text(out, "current");
    write_roster(out, &document.current);
    if let Some(Joint { next, lost }) = joint {
        writer::text(out, "next");
        write_roster(out, next);
        writer::text(out, "lost");
        write_list(out, lost, write_ordinal);
    }
    writer::text(out, "past");
    write_list(out, &document.past, write_past);
    writer::text(out, "council");
    write_list(out, &document.council, write_ordinal);
    write_number(out, "next_ordinal", u64::from(document.next_ordinal));
    writer::text(out, "operations");
    write_list(out, &document.operations, write_operation);
}

fn write_past(out: &mut Vec<u8>, change: &PastChange) {
    writer::array(out, 4);
    writer::unsigned(out, change.generation);
    writer::unsigned(out, change.fence);
    write_roster(out, &change.from);
    write_roster(out, &change.to);
}

/// A past change whose layouts are still lists of ordinals.
struct ListedChange {
    generation: u64,
    fence: u64,
    from: Listed,
    to: Listed,
}

impl ListedChange {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let mut items = Items::of(reader)?;
        let generation = items.at("past")?.unsigned()?;
        let fence = items.at("past")?.unsigned()?;
        let from = Listed::read(items.at("past")?)?;
        let to = Listed::read(items.at("past")?)?;
        items.end()?;
        Ok(Self { generation, fence, from, to })
    }

    fn resolve(self, members: &[Member]) -> Read<PastChange> {
        let from = self.from.resolve("past", members)?;
        let to = self.to.resolve("past", members)?;
        Ok(PastChange { generation: self.generation, fence: self.fence, from, to })
    }
}

/// The fields of a document, as they come.
#[derive(Default)]
struct Fields<'a> {
    cluster_id: Option<u128>,
    generation: Option<u64>,
    rescue_id: Option<u128>,
    version: Option<u64>,
    fence: Option<u64>,
    phase: Option<&'a str>,
    hash_seed: Option<u64>,
    shift: Option<u8>,
    members: Option<Vec<Member>>,
    current: Option<Listed>,
    next: Option<Listed>,
    lost: Option<Vec<Ordinal>>,
    past: Option<Vec<ListedChange>>,
    council: Option<Vec<Ordinal>>,
    next_ordinal: Option<u32>,
    operations: Option<Vec<Operation>>,
}

/// Reads a document that is the next value, and checks it.
pub(crate) fn read_document(reader: &mut Reader<'_>) -> Read<Document> {
    let (_, pairs) = read_format(reader, &[FORMAT])?;
    let fields = Fields::read(reader, pairs)?;
    let members = required(fields.members, "members")?;
    if !members.is_sorted_by(|a, b| a.ordinal < b.ordinal) {
        return wrong("members", "members by ordinal, each once");
    }
    let phase = required(fields.phase, "phase")?;
    let past = required(fields.past, "past")?.into_iter();
    let document = Document {
        cluster_id: ClusterId(required(fields.cluster_id, "cluster_id")?),
        generation: required(fields.generation, "generation")?,
        rescue_id: required(fields.rescue_id, "rescue_id")?,
        version: required(fields.version, "version")?,
        fence: required(fields.fence, "fence")?,
        phase: read_phase(phase, fields.next, fields.lost, &members)?,
        hash_seed: required(fields.hash_seed, "hash_seed")?,
        shift: required(fields.shift, "shift")?,
        current: required(fields.current, "current")?.resolve("current", &members)?,
        past: past.map(|change| change.resolve(&members)).collect::<Read<_>>()?,
        council: required(fields.council, "council")?,
        next_ordinal: required(fields.next_ordinal, "next_ordinal")?,
        operations: required(fields.operations, "operations")?,
    };
    check_document(&document)?;
    Ok(document)
}

/// The phase of this name, with what belongs to it.
fn read_phase(
    name: &str,
    next: Option<Listed>,
    lost: Option<Vec<Ordinal>>,
    members: &[Member],
) -> Read<Phase> {
    match name {
        // Half a change is none that could be completed or cancelled.
        STABLE if next.is_some() || lost.is_some() => wrong("phase", "joint, where there is more"),
        STABLE => Ok(Phase::Stable),
        JOINT | RESCUE => {
            let next = required(next, "next")?.resolve("next", members)?;
            let joint = Joint { next, lost: required(lost, "lost")? };
            Ok(if name == JOINT { Phase::Joint(joint) } else { Phase::Rescue(joint) })
        }
        _ => wrong("phase", "a phase that this version knows"),
    }
}

impl<'a> Fields<'a> {
    fn read(reader: &mut Reader<'a>, pairs: usize) -> Read<Self> {
        let mut fields = Self::default();
        for _ in 0..pairs {
            let name = reader.at("document").text()?;
            if !fields.read_number(name, reader)? && !fields.read_part(name, reader)? {
                reader.skip()?;
            }
        }
        Ok(fields)
    }

    /// Reads a field of one value; false where this is none.
    fn read_number(&mut self, name: &str, reader: &mut Reader<'a>) -> Read<bool> {
        match name {
            "cluster_id" => keep(&mut self.cluster_id, reader.at("cluster_id"), read_id),
            "generation" => keep(&mut self.generation, reader.at("generation"), Reader::unsigned),
            "rescue_id" => keep(&mut self.rescue_id, reader.at("rescue_id"), read_id),
            "version" => keep(&mut self.version, reader.at("version"), Reader::unsigned),
            "fence" => keep(&mut self.fence, reader.at("fence"), Reader::unsigned),
            "phase" => keep(&mut self.phase, reader.at("phase"), Reader::text),
            "hash_seed" => keep(&mut self.hash_seed, reader.at("hash_seed"), Reader::unsigned),
            "shift" => keep(&mut self.shift, reader.at("shift"), Reader::fitting),
            "next_ordinal" => {
                keep(&mut self.next_ordinal, reader.at("next_ordinal"), Reader::fitting)
            }
            _ => return Ok(false),
        }
        .map(|()| true)
    }

    /// Reads a field of many values; false where this is none.
    fn read_part(&mut self, name: &str, reader: &mut Reader<'a>) -> Read<bool> {
        let ordinals = |most| move |reader: &mut Reader<'a>| read_list(reader, most, read_ordinal);
        match name {
            "members" => keep(&mut self.members, reader.at("members"), |reader| {
                read_list(reader, MAX_DOCUMENT_MEMBERS, read_member)
            }),
            "current" => keep(&mut self.current, reader.at("current"), Listed::read),
            "next" => keep(&mut self.next, reader.at("next"), Listed::read),
            "lost" => keep(&mut self.lost, reader.at("lost"), ordinals(MAX_MEMBERS)),
            "past" => keep(&mut self.past, reader.at("past"), |reader| {
                read_list(reader, MAX_PAST_CHANGES, ListedChange::read)
            }),
            "council" => keep(&mut self.council, reader.at("council"), ordinals(MAX_COUNCIL)),
            "operations" => keep(&mut self.operations, reader.at("operations"), |reader| {
                read_list(reader, MAX_DOCUMENT_OPERATIONS, read_operation)
            }),
            _ => return Ok(false),
        }
        .map(|()| true)
    }
}
