//! `ACK_IS_LATEST`: a write at a majority or above that begins after another was acknowledged, or after
//! a quorum read answered, gets a larger version, whatever the clocks say. Keys of which a write used a
//! lower level are exempt.

use super::Invariant;
use crate::fact::{End, Fact};
use crate::view::{View, is_strong};

/// Judges acknowledged writes by what was acknowledged and seen when they began.
#[derive(Debug, Default)]
pub(crate) struct AckIsLatest;

impl Invariant for AckIsLatest {
    const NAME: &'static str = "ACK_IS_LATEST";

    fn observe(&mut self, fact: &Fact, view: &View) -> Result<(), String> {
        let Fact::Ended { operation, end: End::Written { version, .. }, holders, .. } = *fact
        else {
            return Ok(());
        };
        let Some(known) = view.operation(operation) else { return Ok(()) };
        if !is_strong(known.level, holders) || view.is_weak(known.key) {
            return Ok(());
        }
        if version <= known.acked_before {
            return Err(format!(
                "operation {operation} began after {:?} of key {} was acknowledged and got {version:?}",
                known.acked_before, known.key
            ));
        }
        if version <= known.seen_before {
            return Err(format!(
                "operation {operation} began after a read answered {:?} of key {} and got {version:?}",
                known.seen_before, known.key
            ));
        }
        Ok(())
    }
}
