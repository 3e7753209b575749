//! Messages of the document's Paxos: `[16, kind, ...]`.

use std::sync::Arc;

use paravon_model::{Accepted, Ballot, CouncilMessage, Document};

use super::fields::{read_revision, write_revision};
use super::items::Items;
use super::tag;
use crate::document::{read_document, write_document};
use crate::reader::{DecodeError, Problem, Reader};
use crate::writer;

const PREPARE: u64 = 0;
const PROMISE: u64 = 1;
const ACCEPT: u64 = 2;
const VOTE: u64 = 3;
const OUTBID: u64 = 4;

/// The tag, the kind, and the ballot's two.
const HEAD_ITEMS: u32 = 4;

pub(super) fn write(out: &mut Vec<u8>, message: &CouncilMessage) {
    match message {
        CouncilMessage::Prepare { base, ballot } => {
            write_head(out, PREPARE, 1, *ballot);
            write_document(out, base);
        }
        CouncilMessage::Promise { base, ballot, accepted } => {
            write_head(out, PROMISE, 3, *ballot);
            write_revision(out, *base);
            write_accepted(out, accepted.as_ref());
        }
        CouncilMessage::Accept { base, ballot, value } => {
            write_head(out, ACCEPT, 2, *ballot);
            write_document(out, base);
            write_document(out, value);
        }
        CouncilMessage::Vote { base, ballot } => {
            write_head(out, VOTE, 2, *ballot);
            write_revision(out, *base);
        }
        CouncilMessage::Outbid { base, ballot, promised } => {
            write_head(out, OUTBID, 4, *ballot);
            write_revision(out, *base);
            write_ballot(out, *promised);
        }
    }
}

fn write_head(out: &mut Vec<u8>, kind: u64, more: u32, ballot: Ballot) {
    writer::array(out, HEAD_ITEMS + more);
    writer::unsigned(out, u64::from(tag::COUNCIL));
    writer::unsigned(out, kind);
    write_ballot(out, ballot);
}

pub(super) fn read(items: &mut Items<'_, '_>) -> Result<CouncilMessage, DecodeError> {
    let reader = items.at("kind")?;
    let kind = reader.unsigned()?;
    if kind > OUTBID {
        return reader.error(Problem::OutOfRange { expected: "0 to 4" });
    }
    let ballot = read_ballot(items)?;
    Ok(match kind {
        PREPARE => {
            let base = Arc::new(read_document(items.at("base")?)?);
            CouncilMessage::Prepare { base, ballot }
        }
        PROMISE => {
            let base = read_revision(items)?;
            let accepted = read_accepted(items.at("accepted")?)?;
            CouncilMessage::Promise { base, ballot, accepted }
        }
        ACCEPT => {
            let base = Arc::new(read_document(items.at("base")?)?);
            let value = Arc::new(read_document(items.at("value")?)?);
            CouncilMessage::Accept { base, ballot, value }
        }
        VOTE => CouncilMessage::Vote { base: read_revision(items)?, ballot },
        _ => {
            let base = read_revision(items)?;
            let promised = read_ballot(items)?;
            CouncilMessage::Outbid { base, ballot, promised }
        }
    })
}

/// The two items of a ballot.
pub(crate) fn write_ballot(out: &mut Vec<u8>, ballot: Ballot) {
    writer::unsigned(out, ballot.round);
    writer::unsigned(out, u64::from(ballot.proposer));
}

pub(crate) fn read_ballot(items: &mut Items<'_, '_>) -> Result<Ballot, DecodeError> {
    let round = items.at("round")?.unsigned()?;
    let proposer = items.at("proposer")?.fitting()?;
    Ok(Ballot { round, proposer })
}

/// A vote, or nil.
pub(crate) fn write_accepted(out: &mut Vec<u8>, accepted: Option<&Accepted>) {
    let Some(accepted) = accepted else { return writer::nil(out) };
    writer::array(out, 3);
    write_ballot(out, accepted.ballot);
    write_document(out, &accepted.value);
}

pub(crate) fn read_accepted(reader: &mut Reader<'_>) -> Result<Option<Accepted>, DecodeError> {
    read_accepted_of(reader, read_document)
}

/// The same, whose document `read` reads.
pub(crate) fn read_accepted_of(
    reader: &mut Reader<'_>,
    read: fn(&mut Reader<'_>) -> Result<Document, DecodeError>,
) -> Result<Option<Accepted>, DecodeError> {
    if reader.nil()? {
        return Ok(None);
    }
    let mut items = Items::of(reader)?;
    let ballot = read_ballot(&mut items)?;
    let value = Arc::new(read(items.at("value")?)?);
    items.end()?;
    Ok(Some(Accepted { ballot, value }))
}
