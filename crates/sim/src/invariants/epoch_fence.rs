//! `EPOCH_FENCE` and `LAYOUT_AGREES`: a replica does nothing for a request under another fence than its
//! own, uses a layout only once its document is durable, and never goes back to an earlier one; and no
//! two documents of one revision differ.

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

impl Invariant for EpochFence {
    const NAME: &'static str = "EPOCH_FENCE";

    fn observe(&mut self, fact: &Fact, _view: &View) -> Result<(), String> {
        match *fact {
            Fact::Admitted { node, fence, own, .. } if fence != own => {
                Err(format!("node {node} served a request of {fence:?} while it used {own:?}"))
            }
            Fact::LayoutUsed { node, fence, durable: false, .. } => {
                Err(format!("node {node} uses {fence:?} before its document is durable"))
            }
            Fact::LayoutUsed { node, fence, .. } => {
                let used = self.used.entry(node).or_insert(fence);
                if fence < *used {
                    return Err(format!("node {node} went back from {used:?} to {fence:?}"));
                }
                *used = fence;
                Ok(())
            }
            Fact::DocumentsDiffer { node, version } => {
                Err(format!("node {node} has another document of version {version} than others"))
            }
            _ => Ok(()),
        }
    }
}
