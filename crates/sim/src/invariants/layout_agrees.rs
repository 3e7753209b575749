//! `LAYOUT_AGREES`: no two documents of one revision differ, and what all nodes call by one fence is one
//! layout. A process that came by a number again would have forgotten what it voted for by that.

use super::Invariant;
use crate::fact::Fact;
use crate::view::View;

/// Judges documents and layouts by those that other nodes use.
#[derive(Debug, Default)]
pub(crate) struct LayoutAgrees;

impl Invariant for LayoutAgrees {
    const NAME: &'static str = "LAYOUT_AGREES";

    fn observe(&mut self, fact: &Fact, _view: &View) -> Result<(), String> {
        match *fact {
            Fact::DocumentsDiffer { node, version } => {
                Err(format!("node {node} has another document of version {version} than others"))
            }
            Fact::LayoutsDiffer { node, fence } => {
                Err(format!("node {node} has another layout of {fence:?} than others"))
            }
            Fact::Numbered { node, number, largest } if Some(number) <= largest => {
                Err(format!("node {node} takes number {number} after {largest:?}"))
            }
            _ => Ok(()),
        }
    }
}
