//! Memory stays bounded: what a node has under way follows from what its clients asked for.

use super::Invariant;
use crate::fact::Fact;
use crate::view::View;

/// Most operations under way on a node: far more than the clients of a world can cause.
const MOST_OPERATIONS: u32 = 5_000;

/// Most jobs in front of a disk.
const MOST_QUEUED: u32 = 5_000;

/// Judges the load of nodes.
#[derive(Debug, Default)]
pub(crate) struct BoundedQueues;

impl Invariant for BoundedQueues {
    const NAME: &'static str = "BOUNDED_QUEUES";

    fn observe(&mut self, fact: &Fact, _view: &View) -> Result<(), String> {
        match *fact {
            Fact::Load { node, operations, queued }
                if operations > MOST_OPERATIONS || queued > MOST_QUEUED =>
            {
                Err(format!("node {node} has {operations} operations and {queued} jobs under way"))
            }
            _ => Ok(()),
        }
    }
}
