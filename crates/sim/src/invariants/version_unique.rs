//! `VERSION_UNIQUE`: a version is given out once, for one write, and a write gets at most two, both
//! before its client is answered.

use super::Invariant;
use crate::fact::{Content, Fact};
use crate::view::{Stamp, View};

/// Judges every version that is given out by those before.
#[derive(Debug, Default)]
pub(crate) struct VersionUnique;

impl Invariant for VersionUnique {
    const NAME: &'static str = "VERSION_UNIQUE";

    fn observe(&mut self, fact: &Fact, view: &View) -> Result<(), String> {
        let Fact::Stamped { node, shard, key, version, content, expires_ms, .. } = *fact else {
            return Ok(());
        };
        let stamp = Stamp { key, content, node, shard, expires_ms };
        if let Some(earlier) = view.stamps.get(&version) {
            return Err(format!("{version:?} was given out for {earlier:?} and for {stamp:?}"));
        }
        let Content::Of(number) = content else { return Ok(()) };
        let Some(operation) = view.operation(number) else {
            return Err(format!("{version:?} was given out for a write that nobody asked for"));
        };
        if operation.node != node {
            return Err(format!(
                "node {node} gave out {version:?} for operation {number} of node {}",
                operation.node
            ));
        }
        // Versions of an earlier try may be seen late, where nobody could be sent to.
        let late = operation.tries > 1;
        if !late && (operation.stamps >= 2 || operation.end.is_some()) {
            return Err(format!(
                "operation {number} got {version:?} after {} versions and the end {:?}",
                operation.stamps, operation.end
            ));
        }
        Ok(())
    }
}
