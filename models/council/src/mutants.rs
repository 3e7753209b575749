//! The rules of the document's decision that can be broken on purpose, each with a small world that
//! shows it and the promise that must be found broken.

use crate::properties::Promise::{self, LayoutAgrees, Progress};
use crate::world::World;

/// A rule, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Acceptors of a change are the council and the members that it moves to.
    AcceptorsFromBothSets,
    /// A proposer that lags asks the council that it knows about the instance after the next.
    CouncilOfOlderDocument,
    /// Promises and votes are lost by a crash.
    VotesNotDurable,
    /// A proposer does not take over the vote that a promise told of.
    VoteNotAdopted,
    /// A node votes in instances at or below the document that it knows.
    VotesAfterLearning,
    /// An acceptor uses its slot for instance n+1 before it stored document n.
    VotesBeforeStoring,
    /// A member that leaves exits before a majority of the next council has stored the document.
    LeaverExitsEarly,
    /// An operation brings back an ordinal that left.
    OrdinalComesBack,
}

/// Every mutant, with the promise that it breaks in this world.
pub(crate) fn table() -> Vec<(Mutant, Promise, World)> {
    let one = |councils| World::new(councils, &[2]).agreement_only();
    let two = |councils, ballots| World::new(councils, ballots).agreement_only();
    vec![
        (Mutant::AcceptorsFromBothSets, LayoutAgrees, one("A ABC A")),
        (Mutant::CouncilOfOlderDocument, LayoutAgrees, two("ABC C CD", &[1, 2])),
        (Mutant::VotesNotDurable, LayoutAgrees, one("AB BC A")),
        (Mutant::VoteNotAdopted, LayoutAgrees, one("AB BC A")),
        (Mutant::VotesAfterLearning, LayoutAgrees, one("AB BC A")),
        (Mutant::VotesBeforeStoring, LayoutAgrees, two("ABC AB C", &[2, 1])),
        (Mutant::LeaverExitsEarly, Progress, World::new("ABC CDE", &[1])),
        (Mutant::OrdinalComesBack, Progress, World::new("A AB BC", &[2, 2])),
    ]
}
