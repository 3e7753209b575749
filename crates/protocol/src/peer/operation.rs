//! What is to be done to the members: `[kind, ...]`, the same in messages and in the document.
//!
//! **Never:** passes over a kind or a state of a later version. Who cannot carry out a change must not
//! vote for the document that holds it.

use paravon_model::{Newcomer, Operation, OperationKind, OperationState};

use super::fields::{
    read_address, read_change, read_node_id, read_optional_name, read_ordinal, read_size, write_id,
    write_optional_name, write_ordinal,
};
use super::items::Items;
use crate::reader::{DecodeError, Problem, Reader};
use crate::writer;

const JOIN: u64 = 0;
const DRAIN: u64 = 1;
const REMOVE: u64 = 2;
const REPLACE: u64 = 3;
const SET_REPLICATION: u64 = 4;

/// The states by their numbers.
const STATES: [OperationState; 4] = [
    OperationState::Pending,
    OperationState::Running,
    OperationState::Done,
    OperationState::Cancelled,
];

/// How many items [`write_newcomer`] appends.
const NEWCOMER_ITEMS: u32 = 4;

/// An operation of the document: `[id, state, kind]`.
pub(crate) fn write_operation(out: &mut Vec<u8>, operation: &Operation) {
    writer::array(out, 3);
    write_id(out, operation.id.0);
    let state = STATES.iter().zip(0..).find(|(state, _)| **state == operation.state);
    writer::unsigned(out, state.map_or(0, |(_, number)| number));
    write_operation_kind(out, &operation.kind);
}

pub(crate) fn read_operation(reader: &mut Reader<'_>) -> Result<Operation, DecodeError> {
    let mut items = Items::of(reader)?;
    let id = read_change(items.at("id")?)?;
    let state = items.at("state")?;
    let number: usize = state.fitting()?;
    let Some(&state) = STATES.get(number) else {
        return state.error(Problem::OutOfRange { expected: "0 to 3" });
    };
    let kind = read_operation_kind(items.at("operation")?)?;
    items.end()?;
    Ok(Operation { id, kind, state })
}

pub(crate) fn write_operation_kind(out: &mut Vec<u8>, kind: &OperationKind) {
    let head = |out: &mut Vec<u8>, kind, more| {
        writer::array(out, 1 + more);
        writer::unsigned(out, kind);
    };
    match kind {
        OperationKind::Join(newcomer) => {
            head(out, JOIN, NEWCOMER_ITEMS);
            write_newcomer(out, newcomer);
        }
        OperationKind::Drain { member } => {
            head(out, DRAIN, 1);
            write_ordinal(out, member);
        }
        OperationKind::Remove { member } => {
            head(out, REMOVE, 1);
            write_ordinal(out, member);
        }
        OperationKind::Replace { member, by } => {
            head(out, REPLACE, 1 + NEWCOMER_ITEMS);
            write_ordinal(out, member);
            write_newcomer(out, by);
        }
        OperationKind::SetReplication { factor } => {
            head(out, SET_REPLICATION, 1);
            writer::unsigned(out, u64::from(*factor));
        }
    }
}

pub(crate) fn read_operation_kind(reader: &mut Reader<'_>) -> Result<OperationKind, DecodeError> {
    let mut items = Items::of(reader)?;
    let tag = items.at("operation")?;
    let kind = match tag.unsigned()? {
        JOIN => OperationKind::Join(read_newcomer(&mut items)?),
        DRAIN => OperationKind::Drain { member: read_ordinal(items.at("member")?)? },
        REMOVE => OperationKind::Remove { member: read_ordinal(items.at("member")?)? },
        REPLACE => {
            let member = read_ordinal(items.at("member")?)?;
            OperationKind::Replace { member, by: read_newcomer(&mut items)? }
        }
        // Whether so many copies can be kept, the cluster says.
        SET_REPLICATION => OperationKind::SetReplication { factor: items.at("factor")?.fitting()? },
        _ => return tag.error(Problem::OutOfRange { expected: "0 to 4" }),
    };
    items.end()?;
    Ok(kind)
}

fn write_newcomer(out: &mut Vec<u8>, newcomer: &Newcomer) {
    writer::text(out, newcomer.node_id.as_str());
    writer::text(out, newcomer.size.name());
    write_optional_name(out, newcomer.zone.as_ref());
    writer::text(out, newcomer.address.as_str());
}

fn read_newcomer(items: &mut Items<'_, '_>) -> Result<Newcomer, DecodeError> {
    Ok(Newcomer {
        node_id: read_node_id(items.at("node_id")?)?,
        size: read_size(items.at("size")?)?,
        zone: read_optional_name(items.at("zone")?)?,
        address: read_address(items.at("address")?)?,
    })
}
