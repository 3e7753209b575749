//! Why a replica did not do it: `[code, outcome, numbers...]`.
//!
//! **Never:** loses the outcome. A code of a later version reads as [`Failure::Internal`] with the
//! outcome that it came with, because the outcome decides what the client may be told.

use paravon_model::limits::MAX_MEMBERS;
use paravon_model::{Failure, NodeId, Outcome};

use super::fields::read_node_id;
use super::items::Items;
use crate::reader::{DecodeError, Problem, Reader};
use crate::writer;

const INTERNAL: u64 = 0;
const TOO_MANY_REPLICAS: u64 = 1;
const QUORUM_UNAVAILABLE: u64 = 2;
const QUORUM_TIMEOUT: u64 = 3;
const OVERLOADED: u64 = 4;
const STORAGE_FULL: u64 = 5;
const READ_ONLY: u64 = 6;
const SHUTTING_DOWN: u64 = 7;
const CLOCK_SKEW: u64 = 8;
const DAMAGED: u64 = 9;
const NOT_READY: u64 = 10;

const REFUSED: u64 = 0;
const UNKNOWN: u64 = 1;

pub(super) fn write_failure(out: &mut Vec<u8>, failure: &Failure) {
    let number = |count: &usize| u64::try_from(*count).unwrap_or(u64::MAX);
    let outcome = failure.outcome();
    match failure {
        Failure::TooManyReplicas { needed, replication_factor } => {
            let numbers = [number(needed), number(replication_factor)];
            write_head(out, TOO_MANY_REPLICAS, outcome, &numbers, 0);
        }
        Failure::QuorumUnavailable { needed, alive, down } => {
            write_head(out, QUORUM_UNAVAILABLE, outcome, &[number(needed), number(alive)], 1);
            writer::array(out, u32::try_from(down.len()).unwrap_or(u32::MAX));
            down.iter().for_each(|name| writer::text(out, name.as_str()));
        }
        Failure::QuorumTimeout { needed, got, .. } => {
            write_head(out, QUORUM_TIMEOUT, outcome, &[number(needed), number(got)], 0);
        }
        Failure::Overloaded { retry_after_ms } => {
            write_head(out, OVERLOADED, outcome, &[*retry_after_ms], 0);
        }
        Failure::StorageFull => write_head(out, STORAGE_FULL, outcome, &[], 0),
        Failure::ReadOnly { .. } => write_head(out, READ_ONLY, outcome, &[], 0),
        Failure::ShuttingDown => write_head(out, SHUTTING_DOWN, outcome, &[], 0),
        Failure::NotReady => write_head(out, NOT_READY, outcome, &[], 0),
        Failure::ClockSkew { offset_ms, .. } => {
            write_head(out, CLOCK_SKEW, outcome, &[*offset_ms], 0);
        }
        Failure::Damaged { .. } => write_head(out, DAMAGED, outcome, &[], 0),
        Failure::Internal { id, .. } => write_head(out, INTERNAL, outcome, &[*id], 0),
    }
}

/// Everything but the `more` items that the caller appends.
fn write_head(out: &mut Vec<u8>, code: u64, outcome: Outcome, numbers: &[u64], more: u32) {
    let items = 2 + u32::try_from(numbers.len()).unwrap_or_default() + more;
    writer::array(out, items);
    writer::unsigned(out, code);
    writer::unsigned(
        out,
        match outcome {
            Outcome::Refused => REFUSED,
            Outcome::Unknown => UNKNOWN,
        },
    );
    numbers.iter().for_each(|&number| writer::unsigned(out, number));
}

pub(super) fn read_failure(reader: &mut Reader<'_>) -> Result<Failure, DecodeError> {
    let mut items = Items::of(reader)?;
    let code = items.at("code")?.unsigned()?;
    // Whatever is not a plain "refused" may be stored.
    let outcome = match items.at("outcome")?.unsigned()? {
        REFUSED => Outcome::Refused,
        _ => Outcome::Unknown,
    };
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let failure = match code {
        TOO_MANY_REPLICAS => {
            let needed = count(items.at("needed")?.unsigned()?);
            let replication_factor = count(items.at("replication_factor")?.unsigned()?);
            Failure::TooManyReplicas { needed, replication_factor }
        }
        QUORUM_UNAVAILABLE => {
            let needed = count(items.at("needed")?.unsigned()?);
            let alive = count(items.at("alive")?.unsigned()?);
            let down = read_names(items.at("down")?)?;
            Failure::QuorumUnavailable { needed, alive, down }
        }
        QUORUM_TIMEOUT => {
            let needed = count(items.at("needed")?.unsigned()?);
            let got = count(items.at("got")?.unsigned()?);
            Failure::QuorumTimeout { needed, got, outcome }
        }
        OVERLOADED => {
            Failure::Overloaded { retry_after_ms: items.at("retry_after_ms")?.unsigned()? }
        }
        STORAGE_FULL => Failure::StorageFull,
        READ_ONLY => Failure::ReadOnly { outcome },
        SHUTTING_DOWN => Failure::ShuttingDown,
        CLOCK_SKEW => Failure::ClockSkew { offset_ms: items.at("offset_ms")?.unsigned()?, outcome },
        DAMAGED => Failure::Damaged { outcome },
        NOT_READY => Failure::NotReady,
        INTERNAL => Failure::Internal { id: items.at("id")?.unsigned()?, outcome },
        _ => Failure::Internal { id: 0, outcome },
    };
    items.end()?;
    // A failure that cannot be unknown here, but was where it comes from.
    let kept = failure.outcome() == outcome;
    Ok(if kept { failure } else { Failure::Internal { id: 0, outcome } })
}

fn read_names(reader: &mut Reader<'_>) -> Result<Vec<NodeId>, DecodeError> {
    let count = reader.array()?;
    if count > MAX_MEMBERS {
        return reader.error(Problem::OutOfRange { expected: "at most 1024 names" });
    }
    (0..count).map(|_| read_node_id(reader)).collect()
}
