//! What a member remembers of the others' disks, so that a copy of an old one is noticed before it
//! serves (`DISK_NOT_OLDER`).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use paravon_model::{Hlc, Ordinal, PeerHello, RememberedDisk};

/// The latest start of every member that was seen.
#[derive(Debug)]
pub(super) struct Disks {
    remembered: BTreeMap<Ordinal, RememberedDisk>,
}

impl Disks {
    /// What this node's disk says of the others'.
    pub(super) fn new(remembered: &[(Ordinal, RememberedDisk)]) -> Self {
        Self { remembered: remembered.iter().copied().collect() }
    }

    /// To be kept on this node's disk.
    pub(super) fn to_keep(&self) -> Vec<(Ordinal, RememberedDisk)> {
        self.remembered.iter().map(|(&ordinal, &disk)| (ordinal, disk)).collect()
    }

    /// Whether a disk of this number says less than it said before: an older start, another process of
    /// the same start, or a start whose ceiling lies below one that was told.
    pub(super) fn is_old(&self, ordinal: Ordinal, hello: &PeerHello) -> bool {
        let Some(known) = self.remembered.get(&ordinal) else { return false };
        let continues = if hello.start == known.start {
            hello.run == known.run
        } else {
            hello.start > known.start && hello.ceiling >= known.ceiling
        };
        !continues
    }

    /// The process that a disk of this number was last seen with.
    pub(super) fn run(&self, ordinal: Ordinal) -> Option<u64> {
        self.remembered.get(&ordinal).map(|known| known.run)
    }

    /// Keeps what a member says of its disk.
    pub(super) fn remember(&mut self, ordinal: Ordinal, hello: &PeerHello) {
        let ceiling = self.remembered.get(&ordinal).map_or(Hlc::ZERO, |known| known.ceiling);
        let ceiling = ceiling.max(hello.ceiling);
        let disk = RememberedDisk { start: hello.start, run: hello.run, ceiling };
        self.remembered.insert(ordinal, disk);
    }

    /// Keeps what a member said of its disk when it had no number yet: its heartbeat says that the
    /// disk knows the number now.
    pub(super) fn remember_first(&mut self, ordinal: Ordinal, hello: &PeerHello) {
        if !self.remembered.contains_key(&ordinal) {
            self.remember(ordinal, hello);
        }
    }

    /// A member told its ceiling in a heartbeat. That alone is worth a write only once it has risen
    /// far: otherwise it goes with the next one.
    pub(super) fn raise(&mut self, ordinal: Ordinal, ceiling: Hlc) {
        if let Some(known) = self.remembered.get_mut(&ordinal) {
            known.ceiling = known.ceiling.max(ceiling);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::worlds::{hello_of, membership};

    fn hello(start: u64, run: u64, ceiling_ms: u64) -> PeerHello {
        PeerHello {
            start,
            run,
            ceiling: Hlc::new(ceiling_ms, 0),
            membership: Some(membership(2)),
            ..hello_of("b")
        }
    }

    #[test]
    fn a_disk_goes_on_from_what_it_said() {
        let mut disks = Disks::new(&[]);
        let second = Ordinal(2);
        assert!(!disks.is_old(second, &hello(9, 1, 0)), "never seen");
        disks.remember(second, &hello(3, 77, 1000));
        disks.raise(second, Hlc::new(2000, 0));
        assert!(!disks.is_old(second, &hello(3, 77, 900)), "another link of the same process");
        assert!(disks.is_old(second, &hello(3, 78, 3000)), "a second process");
        assert!(disks.is_old(second, &hello(2, 77, 3000)), "an older start");
        assert!(disks.is_old(second, &hello(4, 5, 1999)), "a copy from before the last heartbeat");
        assert!(!disks.is_old(second, &hello(4, 5, 2000)));
    }
}
