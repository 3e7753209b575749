//! `EPOCH_FENCE`: a replica does nothing for a request, its own node's included, under another fence than
//! the one that it uses, and nothing under that before its disk says that it has stored it; it uses a
//! layout only once its document is durable, and never goes back to an earlier one.

use std::collections::BTreeMap;

use paravon_model::Fence;

use super::Invariant;
use crate::fact::Fact;
use crate::view::View;

/// Remembers the largest fence of every node.
#[derive(Debug, Default)]
pub(crate) struct EpochFence {
    used: BTreeMap<u8, Fence>,
}

impl EpochFence {
    fn uses(&mut self, node: u8, fence: Fence) -> Result<(), String> {
        let used = self.used.entry(node).or_insert(fence);
        if fence < *used {
            return Err(format!("node {node} went back from {used:?} to {fence:?}"));
        }
        *used = fence;
        Ok(())
    }
}

impl Invariant for EpochFence {
    const NAME: &'static str = "EPOCH_FENCE";

    fn observe(&mut self, fact: &Fact, _view: &View) -> Result<(), String> {
        match *fact {
            Fact::Admitted { node, fence, own, .. } if fence != own => {
                Err(format!("node {node} served a request of {fence:?} while it used {own:?}"))
            }
            Fact::Admitted { node, fence, stored, .. } if stored != Some(fence) => Err(format!(
                "node {node} served a request of {fence:?}, its disk says that it has stored {stored:?}"
            )),
            Fact::LayoutUsed { node, fence, durable: false, .. } => {
                Err(format!("node {node} uses {fence:?} before its document is durable"))
            }
            Fact::LayoutStored { node, fence, durable: false } => Err(format!(
                "node {node} admits {fence:?} before its disk says that it has stored it"
            )),
            Fact::LayoutUsed { node, fence, .. } => self.uses(node, fence),
            // A node whose disk is lost knows nothing.
            Fact::DiskLost { node, .. } | Fact::DiskCleared { node } => {
                self.used.remove(&node);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
