//! `ACK_NOT_LOST`: when a write is acknowledged, as many disks as its level says hold it or something
//! newer; and after everything was mended, every replica does.

use super::Invariant;
use crate::fact::{End, Fact};
use crate::view::{View, needed};

/// Judges acknowledgements when they are given and at the end of the world.
#[derive(Debug, Default)]
pub(crate) struct AckNotLost;

impl Invariant for AckNotLost {
    const NAME: &'static str = "ACK_NOT_LOST";

    fn observe(&mut self, fact: &Fact, view: &View) -> Result<(), String> {
        match *fact {
            Fact::Ended { operation, node, end: End::Written { version, .. }, holders } => {
                let Some(known) = view.operation(operation) else { return Ok(()) };
                let needed = needed(known.level, holders.replicas);
                if holders.holding + view.lost_disks >= needed {
                    return Ok(());
                }
                Err(format!(
                    "node {node} acknowledged operation {operation} at {version:?}: {} of {} \
                     replicas hold it or newer, {needed} are needed",
                    holders.holding, holders.replicas
                ))
            }
            Fact::Unopened { node } => {
                Err(format!("node {node} cannot open its disk, and with it what it acknowledged"))
            }
            Fact::Settled { node, key, version, .. } if version < view.acked(key) => Err(format!(
                "{:?} of key {key} was acknowledged, node {node} holds {version:?} in the end",
                view.acked(key)
            )),
            _ => Ok(()),
        }
    }
}
