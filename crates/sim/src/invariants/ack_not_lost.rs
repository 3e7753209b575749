//! `ACK_NOT_LOST`: when a write is acknowledged, as many disks of every set in force as its level says
//! hold it or something newer; when a change of layout has ended, a majority of every set that there is
//! from then on does, as of what was read; and after everything was mended, every replica.

use super::Invariant;
use crate::fact::{End, Fact, Held};
use crate::view::{NOTHING, View, needed};

/// Judges acknowledgements when they are given and at the end of the world.
#[derive(Debug, Default)]
pub(crate) struct AckNotLost;

impl Invariant for AckNotLost {
    const NAME: &'static str = "ACK_NOT_LOST";

    fn observe(&mut self, fact: &Fact, view: &View) -> Result<(), String> {
        match *fact {
            Fact::Ended { operation, node, end: End::Written { version, .. }, holders, .. } => {
                let Some(known) = view.operation(operation) else { return Ok(()) };
                let lacks =
                    |set: Held| set.holding + view.lost_disks < needed(known.level, set.replicas);
                if !holders.sets().any(lacks) {
                    return Ok(());
                }
                Err(format!(
                    "node {node} acknowledged operation {operation} at {version:?} for {:?}: it or \
                     newer is held by {holders:?}",
                    known.level
                ))
            }
            // What all knew to be deleted a newcomer need not know.
            Fact::Inherited { key, version, .. } if view.dropped(key) >= version => Ok(()),
            Fact::Inherited { fence, key, version, holders } => {
                let lacks = |set: Held| set.holding + view.lost_disks <= set.replicas / 2;
                if !holders.sets().any(lacks) {
                    return Ok(());
                }
                Err(format!(
                    "{version:?} of key {key} was acknowledged or read before {fence:?}: it or newer \
                     is held by {holders:?}"
                ))
            }
            Fact::Unopened { node } => {
                Err(format!("node {node} cannot open its disk, and with it what it acknowledged"))
            }
            Fact::Settled { key, version, .. }
                if version == NOTHING && view.dropped(key) >= view.acked(key) =>
            {
                Ok(())
            }
            Fact::Settled { node, key, version, .. } if version < view.acked(key) => Err(format!(
                "{:?} of key {key} was acknowledged, node {node} holds {version:?} in the end",
                view.acked(key)
            )),
            _ => Ok(()),
        }
    }
}
