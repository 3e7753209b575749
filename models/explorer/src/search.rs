//! Breadth first over all states: the first broken promise found has the shortest trace.
//!
//! A state is kept only until it is expanded; of the others the fingerprint and that of the parent
//! remain, from which a trace is replayed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasherDefault;

use crate::fingerprint::AlreadyMixed;
use crate::{End, Model, Report};

/// The parent's fingerprint by fingerprint; a first state has [`NO_PARENT`].
type Parents = HashMap<u64, u64, BuildHasherDefault<AlreadyMixed>>;

/// No fingerprint is zero.
const NO_PARENT: u64 = 0;

/// Explores until a promise breaks, nothing is left, or more than `limit` states were seen.
pub fn search<M: Model>(model: &M, limit: usize) -> Report<M::Promise> {
    let mut search =
        Search { model, parents: Parents::default(), next: Vec::new(), actions: Vec::new() };
    for state in model.first_states() {
        if let Some(end) = search.meet(state, NO_PARENT) {
            return search.report(0, end);
        }
    }
    let mut depth = 0;
    loop {
        let layer = std::mem::take(&mut search.next);
        if layer.is_empty() {
            return search.report(depth, End::Exhausted);
        }
        for (state, fingerprint) in &layer {
            if let Some(end) = search.expand(state, *fingerprint) {
                return search.report(depth + 1, end);
            }
            if search.parents.len() > limit {
                return search.report(depth, End::Bounded);
            }
        }
        depth += 1;
    }
}

struct Search<'a, M: Model> {
    model: &'a M,
    parents: Parents,
    /// States to expand, with their fingerprints.
    next: Vec<(M::State, u64)>,
    actions: Vec<M::Action>,
}

impl<M: Model> Search<'_, M> {
    /// Meets every successor of a state; the end if one breaks a promise.
    fn expand(&mut self, state: &M::State, parent: u64) -> Option<End<M::Promise>> {
        let mut actions = std::mem::take(&mut self.actions);
        self.model.actions(state, &mut actions);
        let ends = actions.drain(..).find_map(|action| {
            let successor = self.model.apply(state, action);
            self.meet(successor, parent)
        });
        self.actions = actions;
        ends
    }

    /// Notes a state for expansion, unless it was met before.
    fn meet(&mut self, state: M::State, parent: u64) -> Option<End<M::Promise>> {
        let fingerprint = self.model.fingerprint(&state);
        let Entry::Vacant(entry) = self.parents.entry(fingerprint) else { return None };
        entry.insert(parent);
        if let Some(promise) = self.model.broken(&state) {
            return Some(End::Broken { promise, trace: self.trace(fingerprint) });
        }
        self.next.push((state, fingerprint));
        None
    }

    fn report(&self, depth: usize, end: End<M::Promise>) -> Report<M::Promise> {
        Report { states: self.parents.len(), depth, end }
    }

    /// Replays the way to a fingerprint. States with one fingerprint differ in names alone, so each
    /// step of the way is found again from whichever of them the replay is in.
    fn trace(&self, last: u64) -> Vec<String> {
        let mut way = vec![last];
        while let Some(&parent) = way.last().and_then(|fingerprint| self.parents.get(fingerprint))
            && parent != NO_PARENT
        {
            way.push(parent);
        }
        let first = way.pop().expect("the last state is on its own way");
        let mut state = (self.model.first_states().into_iter())
            .find(|state| self.model.fingerprint(state) == first)
            .expect("a way begins in a first state");
        let mut lines = vec![format!("begin  ->  {}", self.model.describe(&state))];
        for fingerprint in way.into_iter().rev() {
            let mut actions = Vec::new();
            self.model.actions(&state, &mut actions);
            let successors =
                actions.into_iter().map(|action| (action, self.model.apply(&state, action)));
            let (action, successor) = successors
                .into_iter()
                .find(|(_, successor)| self.model.fingerprint(successor) == fingerprint)
                .expect("a parent has its child");
            lines.push(format!("{action:?}  ->  {}", self.model.describe(&successor)));
            state = successor;
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_model::{Broken, Jugs};

    #[test]
    fn the_shortest_trace_is_found() {
        let report = search(&Jugs { forbidden: 4 }, usize::MAX);
        let End::Broken { promise: Broken, trace } = report.end else { panic!("four litres") };
        assert_eq!(report.depth, 6, "the known shortest way to four litres");
        assert_eq!(trace.len(), 7);
    }

    #[test]
    fn an_exhausted_world_says_so() {
        let report = search(&Jugs { forbidden: 6 }, usize::MAX);
        assert_eq!(report.end, End::Exhausted);
        assert_eq!(report.states, 16);
    }

    #[test]
    fn a_limit_is_kept_and_told() {
        let report = search(&Jugs { forbidden: 6 }, 5);
        assert_eq!(report.end, End::Bounded);
        assert!(report.states < 16);
    }
}
