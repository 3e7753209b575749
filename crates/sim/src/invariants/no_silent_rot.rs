//! `NO_SILENT_ROT`: a replica that cannot read what it holds of a key answers for it to nobody until it is
//! healed, and when it is, what was acknowledged is held by a majority again. A loss that was accepted takes the
//! best of those who can be asked.

use super::Invariant;
use crate::fact::Fact;
use crate::view::View;

/// Judges the answers of replicas that are hurt, and how they are healed.
#[derive(Debug, Default)]
pub(crate) struct NoSilentRot;

impl Invariant for NoSilentRot {
    const NAME: &'static str = "NO_SILENT_ROT";

    fn observe(&mut self, fact: &Fact, view: &View) -> Result<(), String> {
        match *fact {
            Fact::AnsweredHurt { node, key } => {
                Err(format!("node {node} answers for key {key}, which it cannot read"))
            }
            Fact::Healed { node, key, acked, holders, .. }
                if holders.current.holding <= holders.current.replicas / 2 =>
            {
                Err(format!(
                    "key {key} is healed on node {node}: {acked:?} was acknowledged, it or newer is \
                     held by {holders:?}"
                ))
            }
            Fact::LossTaken { node, key, taken, best: Some(best), .. }
                if taken < best && view.dropped(key) < best =>
            {
                Err(format!("node {node} takes {taken:?} of key {key}, and {best:?} is left"))
            }
            _ => Ok(()),
        }
    }
}
