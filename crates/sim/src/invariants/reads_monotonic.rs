//! `READS_MONOTONIC`: a read at a majority never goes back behind one that was answered before it
//! began; and what such a read answers, a majority of the disks of every set in
//! force holds at that moment. A disk that held it and was lost after the read had begun counts: the
//! replica may have answered before, and no read can know.

use super::Invariant;
use crate::fact::{End, Fact};
use crate::view::{View, is_strong};

/// Judges answered reads by what was read before they began, and by the disks.
#[derive(Debug, Default)]
pub(crate) struct ReadsMonotonic;

impl Invariant for ReadsMonotonic {
    const NAME: &'static str = "READS_MONOTONIC";

    fn observe(&mut self, fact: &Fact, view: &View) -> Result<(), String> {
        let Fact::Ended { operation, end, holders, wall_ms, .. } = *fact else { return Ok(()) };
        let Some(known) = view.operation(operation) else { return Ok(()) };
        if !is_strong(known.level, holders) {
            return Ok(());
        }
        let (key, floor) = (known.key, known.seen_before);
        match end {
            End::Found { version, .. } if version < floor => Err(format!(
                "operation {operation} read {version:?} of key {key}, {floor:?} was read before"
            )),
            End::Found { version, .. }
                if holders.sets().any(|set| set.holding + set.lost <= set.replicas / 2) =>
            {
                Err(format!(
                    "operation {operation} answers {version:?} of key {key}, held by {holders:?}"
                ))
            }
            End::Absent if view.absence(key, floor, wall_ms).is_none() => Err(format!(
                "operation {operation} read key {key} as absent, {floor:?} was read before and no \
                 delete is newer"
            )),
            _ => Ok(()),
        }
    }
}
