//! A document that this node knows, with its members by name: names come with every message, and a
//! cluster has many members.
//!
//! **Never:** changes. The next document comes with an index of its own, so that no name is looked up in
//! an older one.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::ops::Deref;

use paravon_model::{Document, NodeId, Ordinal};

/// A document and its members by name. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct KnownDocument {
    document: Arc<Document>,
    numbers: Arc<BTreeMap<NodeId, Ordinal>>,
}

impl KnownDocument {
    /// This document, looked through once.
    pub(super) fn new(document: Arc<Document>) -> Self {
        // Where one replaces another of the same name, the newest comes last and stays.
        let numbers = document.members().map(|member| (member.node_id.clone(), member.ordinal));
        let numbers = Arc::new(numbers.collect());
        Self { document, numbers }
    }

    /// The number of the member of this name: what [`Document::member_named`] finds.
    pub(super) fn ordinal_of(&self, name: &NodeId) -> Option<Ordinal> {
        self.numbers.get(name).copied()
    }
}

impl Deref for KnownDocument {
    type Target = Arc<Document>;

    fn deref(&self) -> &Arc<Document> {
        &self.document
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::worlds::{begun, document_of, name, newcomer};
    use paravon_model::OperationKind;

    #[test]
    fn a_name_leads_to_the_newest_of_its_members() {
        let stable = document_of(&["a", "b"]);
        let replace = OperationKind::Replace { member: Ordinal(1), by: newcomer("a") };
        let joint = begun(&stable, &[(1, replace)]);
        for (document, ordinal) in [(stable, Ordinal(1)), (joint, Ordinal(3))] {
            let known = KnownDocument::new(Arc::new(document));
            assert_eq!(known.ordinal_of(&name("a")), Some(ordinal));
            for text in ["a", "b", "c"] {
                let named = known.member_named(&name(text)).map(|member| member.ordinal);
                assert_eq!(known.ordinal_of(&name(text)), named);
            }
        }
    }
}
