//! The document as the version before this one wrote it: one layout, no change of it, and of the
//! operations the names alone. **Frozen:** nothing but disks is read so, and nothing is written.
//!
//! It is taken as stable. The names of what was done say nothing that is still needed, and are dropped.

use paravon_model::limits::{MAX_COUNCIL, MAX_MEMBERS};
use paravon_model::{ClusterId, Document, Member, Ordinal, Phase, Roster};

use super::check::check_document;
use super::members::read_member;
use crate::maps::{keep, read_format, read_list, required, wrong};
use crate::peer::fields::{read_id, read_ordinal};
use crate::reader::{DecodeError, Reader};

type Read<T> = Result<T, DecodeError>;

const FORMAT: u64 = 1;

/// Names of changes that such a document held at most.
const MOST_OPERATIONS: usize = 64;

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
    replication_factor: Option<u8>,
    current: Option<Vec<Member>>,
    council: Option<Vec<Ordinal>>,
    next_ordinal: Option<u32>,
    operations: Option<Vec<u128>>,
}

/// Reads a document that is the next value, and checks it.
pub(crate) fn read_document_1(reader: &mut Reader<'_>) -> Read<Document> {
    let (_, pairs) = read_format(reader, &[FORMAT])?;
    let fields = Fields::read(reader, pairs)?;
    if required(fields.phase, "phase")? != "stable" {
        return wrong("phase", "stable, the only one of this format");
    }
    required(fields.operations, "operations")?;
    let current = Roster {
        members: required(fields.current, "current")?,
        replication_factor: required(fields.replication_factor, "replication_factor")?,
    };
    let document = Document {
        cluster_id: ClusterId(required(fields.cluster_id, "cluster_id")?),
        generation: required(fields.generation, "generation")?,
        rescue_id: required(fields.rescue_id, "rescue_id")?,
        version: required(fields.version, "version")?,
        fence: required(fields.fence, "fence")?,
        phase: Phase::Stable,
        hash_seed: required(fields.hash_seed, "hash_seed")?,
        shift: required(fields.shift, "shift")?,
        current,
        past: Vec::new(),
        council: required(fields.council, "council")?,
        next_ordinal: required(fields.next_ordinal, "next_ordinal")?,
        operations: Vec::new(),
    };
    check_document(&document)?;
    Ok(document)
}

impl<'a> Fields<'a> {
    fn read(reader: &mut Reader<'a>, pairs: usize) -> Read<Self> {
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
                "phase" => keep(&mut fields.phase, reader.at("phase"), Reader::text)?,
                "hash_seed" => {
                    keep(&mut fields.hash_seed, reader.at("hash_seed"), Reader::unsigned)?;
                }
                "shift" => keep(&mut fields.shift, reader.at("shift"), Reader::fitting)?,
                "replication_factor" => {
                    let field = reader.at("replication_factor");
                    keep(&mut fields.replication_factor, field, Reader::fitting)?;
                }
                "current" => keep(&mut fields.current, reader.at("current"), |reader| {
                    read_list(reader, MAX_MEMBERS, read_member)
                })?,
                "council" => keep(&mut fields.council, reader.at("council"), |reader| {
                    read_list(reader, MAX_COUNCIL, read_ordinal)
                })?,
                "next_ordinal" => {
                    keep(&mut fields.next_ordinal, reader.at("next_ordinal"), Reader::fitting)?;
                }
                "operations" => keep(&mut fields.operations, reader.at("operations"), |reader| {
                    read_list(reader, MOST_OPERATIONS, read_id)
                })?,
                _ => reader.skip()?,
            }
        }
        Ok(fields)
    }
}
