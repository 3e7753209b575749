//! Whether the disk is full, as told by everything that grows a file.
//!
//! Full while any of them lacks space. Puts are refused then, before the log or redb stand still, so
//! that what is left serves deletes.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Who may lack space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grower {
    /// The preparation of log segments.
    Log,
    /// The redb file of a shard.
    Shard(u16),
}

/// Who lacks space now.
#[derive(Debug, Default)]
pub(crate) struct SpaceWatch(Mutex<BTreeSet<Grower>>);

impl SpaceWatch {
    /// Notes whether `grower` lacks space; says whether the disk is full now, where that changed.
    pub(crate) fn report(&self, grower: Grower, lacks: bool) -> Option<bool> {
        let mut lacking = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = !lacking.is_empty();
        if lacks {
            lacking.insert(grower);
        } else {
            lacking.remove(&grower);
        }
        let now = !lacking.is_empty();
        (before != now).then_some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_until_the_last_grower_has_space() {
        let watch = SpaceWatch::default();
        assert_eq!(watch.report(Grower::Log, false), None);
        assert_eq!(watch.report(Grower::Log, true), Some(true));
        assert_eq!(watch.report(Grower::Shard(0), true), None);
        assert_eq!(watch.report(Grower::Log, false), None);
        assert_eq!(watch.report(Grower::Shard(0), false), Some(false));
    }
}
