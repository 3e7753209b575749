//! The cluster document's bytes, on disk and between nodes: one map, whose first field is `format`.
//!
//! Fields of later versions are passed over, so that a newer node can add what an older one may ignore.
//! What an older one may not ignore comes with a new phase or a new format, which it refuses.
//!
//! **Never:** gives out a document that no cluster can have (`LAYOUT_AGREES`): members and council are
//! checked before anything is placed by them.

use std::collections::BTreeSet;

use paravon_model::limits::{
    MAX_COUNCIL, MAX_DOCUMENT_OPERATIONS, MAX_MEMBERS, MAX_REPLICATION_FACTOR, MAX_SHIFT,
};
use paravon_model::{Address, ChangeId, ClusterId, Document, Member, NodeId, Ordinal, Phase, Size};

use crate::peer::fields::{
    is_address, read_address, read_change, read_id, read_node_id, read_ordinal, read_size, write_id,
};
use crate::reader::{DecodeError, Problem, Reader};
use crate::request::once;
use crate::writer;

type Read<T> = Result<T, DecodeError>;

/// The format that this version writes.
const FORMAT: u64 = 1;

const STABLE: &str = "stable";

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
    let length = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    writer::map(out, 14);
    write_number(out, "format", FORMAT);
    writer::text(out, "cluster_id");
    write_id(out, document.cluster_id.0);
    write_number(out, "generation", document.generation);
    writer::text(out, "rescue_id");
    write_id(out, document.rescue_id);
    write_number(out, "version", document.version);
    write_number(out, "fence", document.fence);
    writer::text(out, "phase");
    writer::text(
        out,
        match document.phase {
            Phase::Stable => STABLE,
        },
    );
    write_number(out, "hash_seed", document.hash_seed);
    write_number(out, "shift", u64::from(document.shift));
    write_number(out, "replication_factor", u64::from(document.replication_factor));
    writer::text(out, "current");
    writer::array(out, length(document.current.len()));
    document.current.iter().for_each(|member| write_member(out, member));
    writer::text(out, "council");
    writer::array(out, length(document.council.len()));
    document.council.iter().for_each(|ordinal| writer::unsigned(out, u64::from(ordinal.0)));
    write_number(out, "next_ordinal", u64::from(document.next_ordinal));
    writer::text(out, "operations");
    writer::array(out, length(document.operations.len()));
    document.operations.iter().for_each(|change| write_id(out, change.0));
}

fn write_number(out: &mut Vec<u8>, field: &str, number: u64) {
    writer::text(out, field);
    writer::unsigned(out, number);
}

fn write_member(out: &mut Vec<u8>, member: &Member) {
    writer::map(out, 4 + u32::from(member.zone.is_some()));
    write_number(out, "ordinal", u64::from(member.ordinal.0));
    writer::text(out, "node_id");
    writer::text(out, member.node_id.as_str());
    writer::text(out, "size");
    writer::text(out, member.size.name());
    if let Some(zone) = &member.zone {
        writer::text(out, "zone");
        writer::text(out, zone.as_str());
    }
    writer::text(out, "address");
    writer::text(out, member.address.as_str());
}

/// The fields of a document, as they come.
#[derive(Default)]
struct Fields {
    cluster_id: Option<u128>,
    generation: Option<u64>,
    rescue_id: Option<u128>,
    version: Option<u64>,
    fence: Option<u64>,
    phase: Option<Phase>,
    hash_seed: Option<u64>,
    shift: Option<u8>,
    replication_factor: Option<u8>,
    current: Option<Vec<Member>>,
    council: Option<Vec<Ordinal>>,
    next_ordinal: Option<u32>,
    operations: Option<Vec<ChangeId>>,
}

/// Reads a document that is the next value, and checks it.
pub(crate) fn read_document(reader: &mut Reader<'_>) -> Read<Document> {
    let pairs = read_format(reader, FORMAT)?;
    let fields = Fields::read(reader, pairs)?;
    let document = Document {
        cluster_id: ClusterId(required(fields.cluster_id, "cluster_id")?),
        generation: required(fields.generation, "generation")?,
        rescue_id: required(fields.rescue_id, "rescue_id")?,
        version: required(fields.version, "version")?,
        fence: required(fields.fence, "fence")?,
        phase: required(fields.phase, "phase")?,
        hash_seed: required(fields.hash_seed, "hash_seed")?,
        shift: required(fields.shift, "shift")?,
        replication_factor: required(fields.replication_factor, "replication_factor")?,
        current: required(fields.current, "current")?,
        council: required(fields.council, "council")?,
        next_ordinal: required(fields.next_ordinal, "next_ordinal")?,
        operations: required(fields.operations, "operations")?,
    };
    check_document(&document)?;
    Ok(document)
}

/// Reads the head of a map and its first field, `format`, which must be `known`. Gives the number of
/// pairs that follow.
pub(crate) fn read_format(reader: &mut Reader<'_>, known: u64) -> Read<usize> {
    let pairs = reader.map()?;
    let missing = DecodeError { field: "format", problem: Problem::Missing };
    let pairs = pairs.checked_sub(1).ok_or(missing)?;
    if reader.at("format").text()? != "format" {
        return Err(missing);
    }
    if reader.unsigned()? != known {
        return reader.error(Problem::OutOfRange { expected: "a format that this version knows" });
    }
    Ok(pairs)
}

/// The field, which must be there.
pub(crate) fn required<T>(field: Option<T>, name: &'static str) -> Read<T> {
    field.ok_or(DecodeError { field: name, problem: Problem::Missing })
}

impl Fields {
    fn read(reader: &mut Reader<'_>, pairs: usize) -> Read<Self> {
        let mut fields = Self::default();
        for _ in 0..pairs {
            match reader.at("document").text()? {
                "cluster_id" => keep(&mut fields.cluster_id, reader.at("cluster_id"), read_id)?,
                "generation" => {
                    keep(&mut fields.generation, reader.at("generation"), Reader::unsigned)?;
                }
                "rescue_id" => keep(&mut fields.rescue_id, reader.at("rescue_id"), read_id)?,
                "version" => keep(&mut fields.version, reader.at("version"), Reader::unsigned)?,
                "fence" => keep(&mut fields.fence, reader.at("fence"), Reader::unsigned)?,
                "phase" => keep(&mut fields.phase, reader.at("phase"), read_phase)?,
                "hash_seed" => {
                    keep(&mut fields.hash_seed, reader.at("hash_seed"), Reader::unsigned)?;
                }
                "shift" => keep(&mut fields.shift, reader.at("shift"), Reader::fitting)?,
                "replication_factor" => {
                    let field = reader.at("replication_factor");
                    keep(&mut fields.replication_factor, field, Reader::fitting)?;
                }
                "current" => {
                    let read = |r: &mut Reader<'_>| read_list(r, MAX_MEMBERS, read_member);
                    keep(&mut fields.current, reader.at("current"), read)?;
                }
                "council" => {
                    let read = |r: &mut Reader<'_>| read_list(r, MAX_COUNCIL, read_ordinal);
                    keep(&mut fields.council, reader.at("council"), read)?;
                }
                "next_ordinal" => {
                    keep(&mut fields.next_ordinal, reader.at("next_ordinal"), Reader::fitting)?;
                }
                "operations" => {
                    let most = MAX_DOCUMENT_OPERATIONS;
                    let read = |r: &mut Reader<'_>| read_list(r, most, read_change);
                    keep(&mut fields.operations, reader.at("operations"), read)?;
                }
                _ => reader.skip()?,
            }
        }
        Ok(fields)
    }
}

/// Reads a field that may be there once.
pub(crate) fn keep<'a, T>(
    slot: &mut Option<T>,
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Read<T>,
) -> Read<()> {
    let value = read(reader)?;
    once(slot, value, reader)
}

/// An array of at most `most` items, which is checked before any is read.
pub(crate) fn read_list<'a, T>(
    reader: &mut Reader<'a>,
    most: usize,
    read: impl Fn(&mut Reader<'a>) -> Read<T>,
) -> Read<Vec<T>> {
    let count = reader.array()?;
    if count > most {
        return reader.error(Problem::OutOfRange { expected: "a shorter list" });
    }
    (0..count).map(|_| read(reader)).collect()
}

fn read_phase(reader: &mut Reader<'_>) -> Read<Phase> {
    match reader.text()? {
        STABLE => Ok(Phase::Stable),
        _ => reader.error(Problem::OutOfRange { expected: "a phase that this version knows" }),
    }
}

fn read_member(reader: &mut Reader<'_>) -> Read<Member> {
    let (mut ordinal, mut node_id, mut size) = (None, None, None);
    let (mut zone, mut address) = (None::<NodeId>, None::<Address>);
    for _ in 0..reader.at("current").map()? {
        match reader.at("current").text()? {
            "ordinal" => keep(&mut ordinal, reader.at("ordinal"), read_ordinal)?,
            "node_id" => keep(&mut node_id, reader.at("node_id"), read_node_id)?,
            "size" => keep::<Size>(&mut size, reader.at("size"), read_size)?,
            "zone" => keep(&mut zone, reader.at("zone"), read_node_id)?,
            "address" => keep(&mut address, reader.at("address"), read_address)?,
            _ => reader.skip()?,
        }
    }
    Ok(Member {
        ordinal: required(ordinal, "ordinal")?,
        node_id: required(node_id, "node_id")?,
        size: required(size, "size")?,
        zone,
        address: required(address, "address")?,
    })
}

/// Whether a cluster can have this document.
///
/// # Errors
/// Names the first field that breaks a rule.
pub(crate) fn check_document(document: &Document) -> Read<()> {
    let wrong =
        |field, expected| Err(DecodeError { field, problem: Problem::OutOfRange { expected } });
    let members = &document.current;
    let names: BTreeSet<&NodeId> = members.iter().map(|member| &member.node_id).collect();
    let is_member = |ordinal: &Ordinal| members.iter().any(|member| member.ordinal == *ordinal);
    if !(1..=MAX_MEMBERS).contains(&members.len()) {
        return wrong("current", "1 to 1024 members");
    }
    if !members.is_sorted_by(|a, b| a.ordinal < b.ordinal) {
        return wrong("current", "members by ordinal, each once");
    }
    if names.len() != members.len() {
        return wrong("current", "every name once");
    }
    if !members.iter().all(|member| is_address(member.address.as_str())) {
        return wrong("address", "an address of 1 to 512 printable characters");
    }
    if !(1..=MAX_COUNCIL).contains(&document.council.len())
        || !document.council.is_sorted_by(|a, b| a < b)
        || !document.council.iter().all(is_member)
    {
        return wrong("council", "1 to 7 members by ordinal, each once");
    }
    if members.last().is_some_and(|last| last.ordinal.0 >= document.next_ordinal) {
        return wrong("next_ordinal", "a number above every member's");
    }
    if !(1..=MAX_REPLICATION_FACTOR).contains(&document.replication_factor) {
        return wrong("replication_factor", "1 to 7");
    }
    if !(1..=MAX_SHIFT).contains(&document.shift) {
        return wrong("shift", "1 to 24");
    }
    if document.operations.len() > MAX_DOCUMENT_OPERATIONS {
        return wrong("operations", "at most 64 changes");
    }
    Ok(())
}
