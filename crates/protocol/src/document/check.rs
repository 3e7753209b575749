//! What every document of a cluster keeps to. It is held against a document that was read, and against
//! one that is about to be written to a disk.

use std::collections::BTreeSet;

use paravon_model::limits::{
    MAX_COUNCIL, MAX_DOCUMENT_MEMBERS, MAX_DOCUMENT_OPERATIONS, MAX_MEMBERS, MAX_PAST_CHANGES,
    MAX_REPLICATION_FACTOR, MAX_SHIFT,
};
use paravon_model::{Document, Joint, Member, NodeId, OperationKind, Ordinal, PastChange, Roster};

use super::members::{distinct, rosters};
use crate::maps::wrong;
use crate::peer::fields::is_address;
use crate::reader::DecodeError;

type Read<T> = Result<T, DecodeError>;

/// Whether a cluster can have this document.
///
/// # Errors
/// Names the first field that breaks a rule.
pub(crate) fn check_document(document: &Document) -> Read<()> {
    rosters(document).try_for_each(|(field, roster)| check_roster(field, roster))?;
    check_members(document)?;
    document.joint().map_or(Ok(()), |joint| check_joint(document, joint))?;
    let fences = document.past.iter().map(PastChange::fence);
    if document.past.len() > MAX_PAST_CHANGES
        || !fences.chain([document.fence()]).is_sorted_by(|a, b| a < b)
    {
        return wrong("past", "at most 32 changes of rising fences below the document's");
    }
    if !(1..=MAX_COUNCIL).contains(&document.council.len())
        || !document.council.is_sorted_by(|a, b| a < b)
        || !document.council.iter().all(|&ordinal| document.current.member(ordinal).is_some())
    {
        return wrong("council", "1 to 7 members of `current` by ordinal, each once");
    }
    if !(1..=MAX_SHIFT).contains(&document.shift) {
        return wrong("shift", "1 to 24");
    }
    check_operations(document)
}

fn check_roster(field: &'static str, roster: &Roster) -> Read<()> {
    let members = &roster.members;
    if !(1..=MAX_MEMBERS).contains(&members.len()) {
        return wrong(field, "1 to 1024 members");
    }
    if !members.is_sorted_by(|a, b| a.ordinal < b.ordinal) {
        return wrong(field, "members by ordinal, each once");
    }
    let names: BTreeSet<&NodeId> = members.iter().map(|member| &member.node_id).collect();
    if names.len() != members.len() {
        return wrong(field, "every name once");
    }
    if !(1..=MAX_REPLICATION_FACTOR).contains(&roster.replication_factor) {
        return wrong("replication_factor", "1 to 7");
    }
    Ok(())
}

/// An ordinal is never reused: it means the same member in every layout.
fn check_members(document: &Document) -> Read<()> {
    let members = distinct(document);
    let find = |ordinal: &Ordinal| {
        members.binary_search_by_key(ordinal, |member| member.ordinal).map(|at| members[at])
    };
    let is_the_one = |member: &Member| find(&member.ordinal) == Ok(member);
    if !rosters(document).all(|(_, roster)| roster.members.iter().all(is_the_one)) {
        return wrong("members", "one member of every ordinal");
    }
    if members.len() > MAX_DOCUMENT_MEMBERS {
        return wrong("members", "fewer members in all layouts together");
    }
    if !members.iter().all(|member| is_address(member.address.as_str())) {
        return wrong("address", "an address of 1 to 512 printable characters");
    }
    if members.last().is_some_and(|last| last.ordinal.0 >= document.next_ordinal) {
        return wrong("next_ordinal", "a number above every member's");
    }
    Ok(())
}

fn check_joint(document: &Document, joint: &Joint) -> Read<()> {
    let current = &document.current;
    let last = current.members.last().map(|member| member.ordinal);
    let is_new = |member: &&Member| current.member(member.ordinal).is_none();
    if joint.next.members.iter().filter(is_new).any(|member| Some(member.ordinal) <= last) {
        return wrong("next", "new ordinals above those of `current`");
    }
    let leaves = |&ordinal: &Ordinal| document.is_leaving(ordinal);
    if !joint.lost.is_sorted_by(|a, b| a < b) || !joint.lost.iter().all(leaves) {
        return wrong("lost", "members that leave, by ordinal, each once");
    }
    Ok(())
}

fn check_operations(document: &Document) -> Read<()> {
    let operations = &document.operations;
    let ids: BTreeSet<_> = operations.iter().map(|operation| operation.id).collect();
    if operations.len() > MAX_DOCUMENT_OPERATIONS || ids.len() != operations.len() {
        return wrong("operations", "at most 128, each once");
    }
    operations.iter().try_for_each(|operation| match &operation.kind {
        OperationKind::Join(by) | OperationKind::Replace { by, .. }
            if !is_address(by.address.as_str()) =>
        {
            wrong("address", "an address of 1 to 512 printable characters")
        }
        OperationKind::SetReplication { factor }
            if !(1..=MAX_REPLICATION_FACTOR).contains(factor) =>
        {
            wrong("factor", "1 to 7")
        }
        _ => Ok(()),
    })
}
