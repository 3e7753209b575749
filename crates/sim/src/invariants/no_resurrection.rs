//! `NO_RESURRECTION`: let d be the largest version of a key that was acknowledged at a majority, or
//! answered by such a read, before a read at a majority begins. If d is a delete, the read answers absent
//! or a version at or above d, whether or not its tombstone is still there.
//!
//! To that end a node enters a set without what it holds of it from an earlier membership, which the
//! others may have deleted since, and nothing that is older than what all have dropped is ever stored
//! again by a member. What reads answer while no tombstone has gone is judged as
//! `READ_SEES_ACKED` and `READS_MONOTONIC`.

use super::Invariant;
use crate::fact::{End, Fact};
use crate::view::{NOTHING, View, is_strong};

/// Judges reads by the deletes that went, and what disks hold when their nodes enter a set.
#[derive(Debug, Default)]
pub(crate) struct NoResurrection;

impl Invariant for NoResurrection {
    const NAME: &'static str = "NO_RESURRECTION";

    fn observe(&mut self, fact: &Fact, view: &View) -> Result<(), String> {
        match *fact {
            Fact::Entered { node, fence, key, held } if held != NOTHING => Err(format!(
                "node {node} enters a set by {fence:?} and holds {held:?} of key {key} from before"
            )),
            Fact::Resurrected { node, key, version, dropped } => Err(format!(
                "node {node} stored {version:?} of key {key} after {dropped:?} was dropped"
            )),
            Fact::Ended { operation, end: End::Found { version, .. }, wall_ms, .. }
                if view.has_expired(version, wall_ms) =>
            {
                Err(format!("operation {operation} read {version:?} after it had expired"))
            }
            Fact::Ended { operation, end: End::Found { version, .. }, holders, .. } => {
                let Some(known) = view.operation(operation) else { return Ok(()) };
                let delete = known.acked_before.max(known.seen_before);
                let is_gone = view.dropped(known.key) >= delete;
                let is_strong = is_strong(known.level, holders);
                if version >= delete || !is_gone || !is_strong {
                    return Ok(());
                }
                Err(format!(
                    "operation {operation} read {version:?} of key {}, which was deleted at \
                     {delete:?} or above",
                    known.key
                ))
            }
            _ => Ok(()),
        }
    }
}
