//! Deadlines are kept: a coordinator that runs answers every request by its deadline.

use super::Invariant;
use crate::fact::Fact;
use crate::view::View;

/// Judges operations that had no answer in time.
#[derive(Debug, Default)]
pub(crate) struct DeadlinesKept;

impl Invariant for DeadlinesKept {
    const NAME: &'static str = "DEADLINES_KEPT";

    fn observe(&mut self, fact: &Fact, _view: &View) -> Result<(), String> {
        match *fact {
            Fact::Overdue { operation, node } => Err(format!(
                "operation {operation} had no answer from node {node} although its deadline had \
                 passed"
            )),
            _ => Ok(()),
        }
    }
}
