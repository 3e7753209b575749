//! How one cluster document follows from another: ordinals, council, fence and version of the
//! successor.
//!
//! **Never:** depends on anything but the change and the document before it. A proposer that lost an
//! instance derives its change anew from what was decided.

use alloc::vec::Vec;

use paravon_model::{ChangeId, Document, JoinRequest, Member, NodeId, Ordinal};

/// How many names of changes a document keeps: enough that no retry outlives its name.
pub(super) const MAX_OPERATIONS: usize = 64;

/// The largest council.
const MAX_COUNCIL: usize = 7;

/// Something to be done to the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Take these nodes in, all at once.
    AddMembers(Vec<JoinRequest>),
}

impl Change {
    /// The document after `document`; none where that contains the change already.
    pub(super) fn successor(&self, document: &Document) -> Option<Document> {
        let Self::AddMembers(requests) = self;
        let mut next = document.clone();
        for request in requests {
            add(&mut next, request);
        }
        if next.current.len() == document.current.len() {
            return None;
        }
        next.version += 1;
        next.fence += 1;
        next.current.sort_by_key(|member| member.ordinal);
        next.council = council_of(&next.current);
        let surplus = next.operations.len().saturating_sub(MAX_OPERATIONS);
        next.operations.drain(..surplus);
        Some(next)
    }
}

/// Adds a member, once.
fn add(document: &mut Document, request: &JoinRequest) {
    let is_known = document.member_named(&request.node_id).is_some()
        || contains(document, request.change)
        || document.next_ordinal == u32::MAX;
    if is_known {
        return;
    }
    document.current.push(Member {
        ordinal: Ordinal(document.next_ordinal),
        node_id: request.node_id.clone(),
        size: request.size,
        zone: request.zone.clone(),
        address: request.address.clone(),
    });
    document.next_ordinal += 1;
    document.operations.push(request.change);
}

/// Whether the document contains this change.
pub(super) fn contains(document: &Document, change: ChangeId) -> bool {
    document.operations.contains(&change)
}

/// The members with the lowest ordinals, as many as the largest odd number that is at most seven and
/// at most all of them. `members` are sorted by ordinal.
pub(super) fn council_of(members: &[Member]) -> Vec<Ordinal> {
    let all = members.len().min(MAX_COUNCIL);
    let odd = if all.is_multiple_of(2) { all.saturating_sub(1) } else { all };
    members.iter().take(odd).map(|member| member.ordinal).collect()
}

/// The names of those who decide the document's successor.
pub(super) fn council_names(document: &Document) -> impl Iterator<Item = &NodeId> {
    let members = document.council.iter().filter_map(|&ordinal| document.member(ordinal));
    members.map(|member| &member.node_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::worlds::{document_of, join_request};

    #[test]
    fn two_that_join_together_make_one_document() {
        let first = document_of(&["a"]);
        let change = Change::AddMembers([join_request("b", 2), join_request("c", 3)].into());
        let next = change.successor(&first).expect("it changes something");
        assert_eq!((next.version, next.fence, next.next_ordinal), (2, 2, 4));
        assert_eq!(next.council, [Ordinal(1), Ordinal(2), Ordinal(3)]);
        assert_eq!(next.operations, [ChangeId(2), ChangeId(3)]);
        assert_eq!(change.successor(&next), None, "it is contained");
    }

    #[test]
    fn a_name_is_taken_once_and_the_rest_of_the_change_still_happens() {
        let first = document_of(&["a", "b"]);
        let change = Change::AddMembers([join_request("b", 9), join_request("c", 3)].into());
        let next = change.successor(&first).expect("c joins");
        assert_eq!(next.current.len(), 3);
        assert!(!contains(&next, ChangeId(9)));
    }

    #[test]
    fn a_council_is_odd_and_at_most_seven() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        let sizes: Vec<usize> =
            (1..=9).map(|n| council_of(&document_of(&names[..n]).current).len()).collect();
        assert_eq!(sizes, [1, 1, 3, 3, 5, 5, 7, 7, 7]);
    }

    #[test]
    fn only_the_latest_changes_are_named() {
        let mut document = document_of(&["a"]);
        document.operations = (0..64).map(ChangeId).collect();
        let change = Change::AddMembers([join_request("b", 77)].into());
        let next = change.successor(&document).expect("b joins");
        assert_eq!(next.operations.len(), MAX_OPERATIONS);
        assert_eq!(next.operations.last(), Some(&ChangeId(77)));
    }
}
