//! The promises: one document per version, and deciding goes on while the councils that matter are
//! up.

use std::fmt;

use explorer::NodeSet;

use crate::state::{Document, State, nodes};
use crate::world::{Question, World};

/// What must never break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// No two documents of one version differ.
    LayoutAgrees,
    /// While a majority is up of council(n), and of every later council until one of which a
    /// majority has stored its own document, something can still be decided.
    Progress,
}

impl fmt::Display for Promise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::LayoutAgrees => "LAYOUT_AGREES",
            Self::Progress => "PROGRESS",
        })
    }
}

/// What a state breaks.
pub(crate) fn broken(world: &World, state: &State) -> Option<Promise> {
    if (1..=world.instances()).any(|instance| disagrees(state, instance)) {
        return Some(Promise::LayoutAgrees);
    }
    let asks = world.question == Question::AgreementAndProgress;
    let mut may_be_up = state.present().subsets();
    let is_broken = |up| progress_is_promised(world, state, up) && is_stuck(world, state, up);
    (asks && may_be_up.any(is_broken)).then_some(Promise::Progress)
}

fn disagrees(state: &State, version: u8) -> bool {
    let stored = nodes().map(|node| state.member(node));
    let stored = stored.filter(|member| member.version == version).map(|member| member.document);
    let mut documents = state.decided(version).chain(stored);
    documents.next().is_some_and(|first| documents.any(|other| other != first))
}

/// One that exited as the rule allows must not be missed: it counts as up here alone.
fn progress_is_promised(world: &World, state: &State, up: NodeSet) -> bool {
    let gone: NodeSet = nodes().filter(|&node| state.member(node).has_exited).collect();
    let mut version = 0;
    let mut document = Document::default();
    let mut chain = vec![(version, document)];
    while version < world.instances()
        && let Some(next) = state.decided(version + 1).next()
    {
        (version, document) = (version + 1, next);
        chain.push((version, document));
    }
    let counts = |document| up.or(gone).has_majority_of(world.council_of(document));
    for (version, document) in chain.into_iter().rev() {
        if !counts(document) {
            return false;
        }
        if world.is_stored_by_its_council(state, version, document) {
            break;
        }
    }
    true
}

/// Whether those that are up can decide nothing more, although there is something to decide.
fn is_stuck(world: &World, state: &State, up: NodeSet) -> bool {
    let newest = up.iter().map(|node| state.member(node)).max_by_key(|member| member.version);
    let Some(newest) = newest else { return false };
    let (mut version, mut document) = (newest.version, newest.document);
    loop {
        if !up.has_majority_of(world.council_of(document)) {
            return true;
        }
        if version == world.instances() {
            return false;
        }
        // A majority of acceptors finds what was decided, and decides otherwise.
        match state.decided(version + 1).next() {
            Some(next) => (version, document) = (version + 1, next),
            None => return false,
        }
    }
}
