//! What a node's disk remembers of its cluster, as bytes: a map whose first field is `format`, in the
//! third format; the second, which held no change of the layout; and the document of a lone node, which
//! the first format was.
//!
//! Storage has verified its checksum. It is checked all the same, because a node places data by it.

use std::collections::BTreeSet;
use std::sync::Arc;

use paravon_model::limits::{MAX_REPLICATION_FACTOR, MAX_SHIFT};
use paravon_model::{
    Accepted, Ballot, ClusterId, ClusterState, Document, Fence, NodeId, Ordinal, RememberedDisk,
    VoteSlot,
};

use crate::document::format_1::read_document_1;
use crate::document::{check_document, read_document, write_document};
use crate::maps::{keep, read_format, read_list, required, wrong};
use crate::peer::council::{read_accepted_of, read_ballot, write_accepted, write_ballot};
use crate::peer::fields::{
    read_change, read_fence, read_hlc, read_node_id, read_ordinal, write_fence, write_id,
};
use crate::peer::items::Items;
use crate::reader::{DecodeError, Problem, Reader};
use crate::writer;

type Read<T> = Result<T, DecodeError>;

/// The format that this version writes.
const FORMAT: u64 = 3;

/// The format before: documents of their first format, and no word of what was *stored*, because a
/// node served under its document as soon as it had it.
const FORMAT_2: u64 = 2;

/// The first byte of what the first format wrote, in front of its map; no map begins with it.
const FOUNDED_1: u8 = 1;

/// Most disks that a node remembers: those of members, and of some that were.
const MAX_REMEMBERED: usize = 65_536;

/// What a disk holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredState {
    /// The present format, or the second one.
    Current(ClusterState),
    /// The first format: a lone node and what was fixed when it was founded. Its address, size and
    /// zone are the configuration's.
    Founded1 {
        /// Which cluster.
        cluster_id: ClusterId,
        /// Whose disk it is.
        node_id: NodeId,
        /// Its number.
        ordinal: Ordinal,
        /// Keys the hash of every key.
        hash_seed: u64,
        /// The number of partitions as a power of two.
        shift: u8,
        /// Copies that the operator asked for.
        replication_factor: u8,
    },
}

/// The state's bytes.
///
/// # Panics
/// It breaks a rule of [`decode_cluster_state`]: a bug, told before it makes a disk unreadable.
#[must_use]
pub fn encode_cluster_state(state: &ClusterState) -> Vec<u8> {
    let checked = check(state);
    assert!(checked.is_ok(), "a state that could not be read back: {checked:?}");
    encode_unchecked(state)
}

fn encode_unchecked(state: &ClusterState) -> Vec<u8> {
    let accepted = state.vote.accepted.as_ref();
    let mut out = Vec::new();
    let optional = u32::from(state.ordinal.is_some())
        + u32::from(state.document.is_some())
        + u32::from(state.stored.is_some())
        + u32::from(accepted.is_some())
        + u32::from(state.waits_for.is_some())
        + u32::from(state.joining.is_some());
    writer::map(&mut out, 4 + optional);
    writer::text(&mut out, "format");
    writer::unsigned(&mut out, FORMAT);
    writer::text(&mut out, "node_id");
    writer::text(&mut out, state.node_id.as_str());
    if let Some(ordinal) = state.ordinal {
        writer::text(&mut out, "ordinal");
        writer::unsigned(&mut out, u64::from(ordinal.0));
    }
    if let Some(document) = &state.document {
        writer::text(&mut out, "document");
        write_document(&mut out, document);
    }
    if let Some(stored) = state.stored {
        writer::text(&mut out, "stored");
        writer::array(&mut out, 2);
        write_fence(&mut out, stored);
    }
    writer::text(&mut out, "promised");
    writer::array(&mut out, 2);
    write_ballot(&mut out, state.vote.promised);
    if accepted.is_some() {
        writer::text(&mut out, "accepted");
        write_accepted(&mut out, accepted);
    }
    if let Some(waits_for) = &state.waits_for {
        writer::text(&mut out, "waits_for");
        writer::text(&mut out, waits_for.as_str());
    }
    if let Some(joining) = state.joining {
        writer::text(&mut out, "joining");
        write_id(&mut out, joining.0);
    }
    write_remembered(&mut out, &state.remembered);
    out
}

fn write_remembered(out: &mut Vec<u8>, remembered: &[(Ordinal, RememberedDisk)]) {
    writer::text(out, "remembered");
    writer::array(out, u32::try_from(remembered.len()).unwrap_or(u32::MAX));
    for (ordinal, disk) in remembered {
        writer::array(out, 4);
        writer::unsigned(out, u64::from(ordinal.0));
        writer::unsigned(out, disk.start);
        writer::unsigned(out, disk.run);
        writer::unsigned(out, disk.ceiling.as_u64());
    }
}

/// Reads what [`encode_cluster_state`] wrote, or a disk of an earlier format.
///
/// # Errors
/// Names the field that is wrong, or `format` where a later version wrote it.
pub fn decode_cluster_state(bytes: &[u8]) -> Result<StoredState, DecodeError> {
    if let Some((&FOUNDED_1, rest)) = bytes.split_first() {
        return read_founded_1(rest);
    }
    let mut reader = Reader::new(bytes, "state");
    let state = read_state(&mut reader)?;
    reader.at("state").end()?;
    Ok(StoredState::Current(state))
}

fn read_state(reader: &mut Reader<'_>) -> Read<ClusterState> {
    let (format, pairs) = read_format(reader, &[FORMAT_2, FORMAT])?;
    let document_of = if format == FORMAT_2 { read_document_1 } else { read_document };
    let (mut node_id, mut ordinal, mut document) = (None, None, None::<Arc<Document>>);
    let mut stored = None::<Fence>;
    let (mut promised, mut accepted) = (None::<Ballot>, None::<Option<Accepted>>);
    let (mut waits_for, mut joining, mut remembered) = (None, None, None);
    for _ in 0..pairs {
        match reader.at("state").text()? {
            "node_id" => keep(&mut node_id, reader.at("node_id"), read_node_id)?,
            "ordinal" => keep(&mut ordinal, reader.at("ordinal"), read_ordinal)?,
            "document" => keep(&mut document, reader.at("document"), |reader| {
                document_of(reader).map(Arc::new)
            })?,
            "stored" => keep(&mut stored, reader.at("stored"), |reader| {
                let mut items = Items::of(reader)?;
                let fence = read_fence(&mut items)?;
                items.end().map(|()| fence)
            })?,
            "promised" => keep(&mut promised, reader.at("promised"), |reader| {
                let mut items = Items::of(reader)?;
                let ballot = read_ballot(&mut items)?;
                items.end().map(|()| ballot)
            })?,
            "accepted" => keep(&mut accepted, reader.at("accepted"), |reader| {
                read_accepted_of(reader, document_of)
            })?,
            "waits_for" => keep(&mut waits_for, reader.at("waits_for"), read_node_id)?,
            "joining" => keep(&mut joining, reader.at("joining"), read_change)?,
            "remembered" => keep(&mut remembered, reader.at("remembered"), read_remembered)?,
            _ => reader.skip()?,
        }
    }
    if format == FORMAT_2 {
        stored = document.as_ref().map(|document| document.fence());
    }
    let state = ClusterState {
        node_id: required(node_id, "node_id")?,
        ordinal,
        document,
        stored,
        vote: VoteSlot { promised: required(promised, "promised")?, accepted: accepted.flatten() },
        waits_for,
        joining,
        remembered: required(remembered, "remembered")?,
    };
    check_stored(&state)?;
    check_vote(&state)?;
    Ok(state)
}

/// All that reading checks.
fn check(state: &ClusterState) -> Read<()> {
    let accepted = state.vote.accepted.as_ref();
    let mut documents = state.document.iter().chain(accepted.map(|vote| &vote.value));
    documents.try_for_each(|document| check_document(document))?;
    check_stored(state)?;
    check_vote(state)?;
    let ordinals: BTreeSet<Ordinal> = state.remembered.iter().map(|&(of, _)| of).collect();
    if ordinals.len() != state.remembered.len() || ordinals.len() > MAX_REMEMBERED {
        return wrong("remembered", "every ordinal once, and at most 65,536");
    }
    Ok(())
}

/// Nothing is *stored* but what the document beside it knows of: a fence left over from elsewhere would
/// keep partitions from being emptied (`EPOCH_FENCE`).
fn check_stored(state: &ClusterState) -> Read<()> {
    let known = state.document.as_ref().map(|document| document.fence());
    if state.stored > known {
        return wrong("stored", "a fence no higher than that of the document beside it");
    }
    Ok(())
}

/// A slot is about the instance that decides the successor of the document beside it. A vote taken for
/// one of another instance would make two documents of one version (`LAYOUT_AGREES`).
fn check_vote(state: &ClusterState) -> Read<()> {
    let Some(Accepted { ballot, value }) = &state.vote.accepted else { return Ok(()) };
    let Some(document) = &state.document else {
        return wrong("accepted", "no vote without the document before it");
    };
    let line = |document: &Document| (document.cluster_id, document.generation, document.rescue_id);
    if line(document) != line(value) || Some(value.version) != document.version.checked_add(1) {
        return wrong("accepted", "the document that follows the one beside it");
    }
    if *ballot > state.vote.promised {
        return wrong("promised", "a ballot no smaller than the one voted in");
    }
    Ok(())
}

fn read_remembered(reader: &mut Reader<'_>) -> Read<Vec<(Ordinal, RememberedDisk)>> {
    let mut disks = read_list(reader, MAX_REMEMBERED, |reader| {
        let mut items = Items::of(reader)?;
        let ordinal = read_ordinal(items.at("ordinal")?)?;
        let start = items.at("start")?.unsigned()?;
        let run = items.at("run")?.unsigned()?;
        let ceiling = read_hlc(items.at("ceiling")?)?;
        items.end()?;
        Ok((ordinal, RememberedDisk { start, run, ceiling }))
    })?;
    disks.sort_by_key(|&(ordinal, _)| ordinal);
    if disks.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Ok(disks);
    }
    reader.at("remembered").error(Problem::OutOfRange { expected: "every ordinal once" })
}

fn read_founded_1(bytes: &[u8]) -> Read<StoredState> {
    let (mut cluster_id, mut node_id, mut ordinal) = (None, None, None);
    let (mut hash_seed, mut shift, mut replication_factor) = (None, None, None::<u8>);
    let mut reader = Reader::new(bytes, "state");
    for _ in 0..reader.map()? {
        match reader.at("state").text()? {
            "cluster_id" => keep(&mut cluster_id, reader.at("cluster_id"), read_listed_id)?,
            "node_id" => keep(&mut node_id, reader.at("node_id"), read_node_id)?,
            "ordinal" => keep(&mut ordinal, reader.at("ordinal"), read_ordinal)?,
            "hash_seed" => keep(&mut hash_seed, reader.at("hash_seed"), Reader::unsigned)?,
            "shift" => keep(&mut shift, reader.at("shift"), Reader::fitting)?,
            "replication_factor" => {
                let field = reader.at("replication_factor");
                keep(&mut replication_factor, field, Reader::fitting)?;
            }
            _ => reader.skip()?,
        }
    }
    reader.at("state").end()?;
    let within = |number: u8, most: u8, field| match number {
        number if (1..=most).contains(&number) => Ok(number),
        _ => wrong(field, "another number"),
    };
    let replication_factor = required(replication_factor, "replication_factor")?;
    Ok(StoredState::Founded1 {
        cluster_id: ClusterId(required(cluster_id, "cluster_id")?),
        node_id: required(node_id, "node_id")?,
        ordinal: required(ordinal, "ordinal")?,
        hash_seed: required(hash_seed, "hash_seed")?,
        shift: within(required(shift, "shift")?, MAX_SHIFT, "shift")?,
        replication_factor: within(
            replication_factor,
            MAX_REPLICATION_FACTOR,
            "replication_factor",
        )?,
    })
}

/// An id as the first format wrote it: an array of its sixteen bytes.
fn read_listed_id(reader: &mut Reader<'_>) -> Read<u128> {
    const EXPECTED: Problem = Problem::OutOfRange { expected: "16 bytes" };
    let bytes: Vec<u8> = read_list(reader, 16, Reader::fitting)?;
    <[u8; 16]>::try_from(bytes).map(u128::from_be_bytes).or_else(|_| reader.error(EXPECTED))
}

#[cfg(test)]
#[path = "cluster_state_tests.rs"]
mod tests;
