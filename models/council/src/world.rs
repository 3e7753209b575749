//! What a world consists of: the councils that operations move to, how much may be tried, and the
//! rule that is broken, if any.

use explorer::{Node, NodeSet};

use crate::mutants::Mutant;
use crate::state::{Document, State};

/// What is asked of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Agreement,
    AgreementAndProgress,
}

/// A world.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// The first council, and where each operation moves to.
    pub(crate) councils: Vec<NodeSet>,
    /// How many ballots each instance may have.
    pub(crate) ballots: Vec<u8>,
    pub(crate) question: Question,
    pub(crate) mutant: Option<Mutant>,
}

impl World {
    /// Councils as words, such as `ABC BCD`: the first, and one for each operation.
    pub(crate) fn new(councils: &str, ballots: &[u8]) -> Self {
        let councils = councils.split(' ').map(NodeSet::of).collect();
        let question = Question::AgreementAndProgress;
        Self { councils, ballots: ballots.to_vec(), question, mutant: None }
    }

    pub(crate) fn agreement_only(self) -> Self {
        Self { question: Question::Agreement, ..self }
    }

    pub(crate) fn broken_by(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..self }
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(crate) fn name(&self) -> String {
        let councils: Vec<String> = self.councils.iter().map(|set| format!("{set:?}")).collect();
        let ballots: Vec<String> = self.ballots.iter().map(u8::to_string).collect();
        format!("{}-ballots-{}", councils.join("-"), ballots.join("-"))
    }

    /// Decisions that may be made.
    pub(crate) fn instances(&self) -> u8 {
        u8::try_from(self.ballots.len()).expect("at most three")
    }

    /// The ballots of an instance.
    pub(crate) fn ballots(&self, instance: u8) -> std::ops::RangeInclusive<u8> {
        1..=self.ballots[usize::from(instance) - 1]
    }

    /// Operations, that is, councils but the first.
    pub(crate) fn operations(&self) -> std::ops::Range<u8> {
        1..u8::try_from(self.councils.len()).expect("at most seven")
    }

    pub(crate) fn council_of(&self, document: Document) -> NodeSet {
        self.councils[usize::from(document.council)]
    }

    /// Whether an operation may be put on top of a document: once, and without an ordinal that
    /// left.
    pub(crate) fn may_add(&self, document: Document, operation: u8) -> bool {
        let council = self.councils[usize::from(operation)];
        let returns = !council.and(self.departed(document)).is_empty();
        !document.contains(operation) && (!returns || self.is(Mutant::OrdinalComesBack))
    }

    /// Ordinals that an earlier document named and this one does not.
    fn departed(&self, document: Document) -> NodeSet {
        let earlier = self.operations().filter(|&operation| document.contains(operation));
        let named = std::iter::once(0)
            .chain(earlier)
            .fold(NodeSet::EMPTY, |named, council| named.or(self.councils[usize::from(council)]));
        named.minus(self.council_of(document))
    }

    /// Whether a majority of the council that a document names has stored it or a newer one.
    pub(crate) fn is_stored_by_its_council(
        &self,
        state: &State,
        version: u8,
        document: Document,
    ) -> bool {
        let council = self.council_of(document);
        let stored = |node: &Node| state.member(*node).version >= version;
        council.iter().filter(stored).collect::<NodeSet>().has_majority_of(council)
    }
}
