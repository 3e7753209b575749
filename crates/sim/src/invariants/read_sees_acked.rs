//! `READ_SEES_ACKED`: a read at a majority that begins after a write at a majority was acknowledged
//! sees it or something newer. An absence counts where a delete explains it.

use super::Invariant;
use crate::fact::{End, Fact};
use crate::view::{View, is_strong};

/// Judges answered reads by what was acknowledged when they began.
#[derive(Debug, Default)]
pub(crate) struct ReadSeesAcked;

impl Invariant for ReadSeesAcked {
    const NAME: &'static str = "READ_SEES_ACKED";

    fn observe(&mut self, fact: &Fact, view: &View) -> Result<(), String> {
        let Fact::Ended { operation, end, holders, wall_ms, .. } = *fact else { return Ok(()) };
        let Some(known) = view.operation(operation) else { return Ok(()) };
        if !is_strong(known.level, holders) {
            return Ok(());
        }
        let floor = known.acked_before;
        match end {
            End::Found { version, .. } if version < floor => Err(format!(
                "operation {operation} read {version:?} of key {}, {floor:?} was acknowledged before",
                known.key
            )),
            End::Absent if view.absence(known.key, floor, wall_ms).is_none() => Err(format!(
                "operation {operation} read key {} as absent, {floor:?} was acknowledged before and \
                 no delete is newer",
                known.key
            )),
            _ => Ok(()),
        }
    }
}
