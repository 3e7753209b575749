//! Explores every state that a small model can reach, and tells the shortest way to a broken
//! promise.
//!
//! A model is a set of first states, the actions that a state allows, what each does, and the
//! promises that a state may break. [`search`] goes breadth first; [`walk`] goes at random where a
//! world is too large; [`suite`] runs a table of cases with the verdicts that are expected of them.
//!
//! **Never:** depends on another package, reads a clock, or answers differently on two runs.

#![forbid(unsafe_code)]

mod fingerprint;
mod node_set;
mod report;
mod search;
pub mod suite;
mod walk;

use std::fmt::{Debug, Display};
use std::hash::Hash;

pub use fingerprint::fingerprint_of;
pub use node_set::{Node, NodeSet};
pub use report::{End, Report};
pub use search::search;
pub use walk::walk;

/// A state machine with promises about its states.
pub trait Model {
    /// Everything that the rules look at, and what clients observed as far as promises need it.
    type State: Clone + Eq + Hash;
    /// One step of one actor.
    type Action: Copy + Eq + Debug;
    /// The names of the promises.
    type Promise: Copy + Eq + Display;

    /// Where the model may begin.
    fn first_states(&self) -> Vec<Self::State>;

    /// Adds every action that `state` allows.
    fn actions(&self, state: &Self::State, actions: &mut Vec<Self::Action>);

    /// The state after an action that `state` allows.
    fn apply(&self, state: &Self::State, action: Self::Action) -> Self::State;

    /// The promise that `state` breaks.
    fn broken(&self, state: &Self::State) -> Option<Self::Promise>;

    /// One line for a trace.
    fn describe(&self, state: &Self::State) -> String;

    /// The same number for states that differ in names alone; otherwise, but for one chance in
    /// 2^64, different ones.
    fn fingerprint(&self, state: &Self::State) -> u64 {
        fingerprint_of(state)
    }
}

#[cfg(test)]
mod test_model;
