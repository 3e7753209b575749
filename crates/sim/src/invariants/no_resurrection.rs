//! `NO_RESURRECTION`: a node enters a set without what it holds of it from an earlier membership, which
//! the others may have deleted since.
//!
//! Tombstones are never removed yet, so that a leftover would do no harm that a client could see.

use super::Invariant;
use crate::fact::Fact;
use crate::view::{NOTHING, View};

/// Judges what disks hold when their nodes enter a set.
#[derive(Debug, Default)]
pub(crate) struct NoResurrection;

impl Invariant for NoResurrection {
    const NAME: &'static str = "NO_RESURRECTION";

    fn observe(&mut self, fact: &Fact, _view: &View) -> Result<(), String> {
        match *fact {
            Fact::Entered { node, fence, key, held } if held != NOTHING => Err(format!(
                "node {node} enters a set by {fence:?} and holds {held:?} of key {key} from before"
            )),
            _ => Ok(()),
        }
    }
}
