//! `READS_MONOTONIC`: a read at a majority never goes back behind one that was answered before it
//! began; and what such a read answers, a majority of the disks of every set in
//! force holds at that moment. A disk that held it and was lost after the read had begun counts: the
//! replica may have answered before, and no read can know.
//!
//! At or below a claimed floor the set to come may still lack it: a majority of the old set holds it all
//! the same, and that the set to come does when the change ends is judged then (`ACK_NOT_LOST`).

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
            End::Found { version, .. } if holders.sets().any(|set| !set.has_majority()) => {
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

#[cfg(test)]
mod tests {
    use paravon_model::{Fence, Hlc, Ordinal, Version};

    use super::*;
    use crate::fact::{Content, Held, Holders, Level, Verb};

    /// What is said of a joint read that finds what so many of the sets hold.
    fn judged(current: Held, next: Held) -> Result<(), String> {
        let mut view = View::new();
        let (operation, node, key) = (0, 0, 0);
        view.apply(&Fact::Began { operation, node, verb: Verb::Get, key, level: Level::Quorum });
        let version = Version { hlc: Hlc::new(1, 0), ordinal: Ordinal(1) };
        let end = End::Found { version, content: Content::Of(0) };
        let holders = Holders { fence: Fence::default(), current, next: Some(next) };
        let ended = Fact::Ended { operation, node, end, holders, wall_ms: 1 };
        ReadsMonotonic.observe(&ended, &view)
    }

    #[test]
    fn what_is_owed_counts_for_the_set_to_come_and_nothing_less_does() {
        let held = |replicas, holding, owed| Held { replicas, holding, owed, lost: 0 };
        assert_eq!(judged(held(1, 1, 0), held(2, 1, 1)), Ok(()));
        assert!(judged(held(1, 1, 0), held(2, 1, 0)).is_err(), "it was not written back");
        assert!(judged(held(1, 1, 0), held(3, 0, 1)).is_err(), "two are full and lack it");
        assert!(judged(held(3, 1, 0), held(2, 1, 1)).is_err(), "who would it be merged from");
    }
}
