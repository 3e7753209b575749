//! What a member remembers of the others' disks, so that a copy of an old one is noticed before it
//! serves (`DISK_NOT_OLDER`).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use paravon_model::{Hlc, Ordinal, PeerHello, RememberedDisk};

/// How far, in milliseconds, a remembered ceiling may rise before that alone is worth a write.
const CEILING_RISE_MS: u64 = 60_000;

/// The latest start of every member that was seen.
#[derive(Debug)]
pub(super) struct Disks {
    remembered: BTreeMap<Ordinal, Known>,
    is_worth_writing: bool,
}

/// What is remembered of a disk.
#[derive(Debug)]
struct Known {
    disk: RememberedDisk,
    /// The ceiling that this node's disk was given last.
    written: Hlc,
}

impl Disks {
    /// What this node's disk says of the others'.
    pub(super) fn new(remembered: &[(Ordinal, RememberedDisk)]) -> Self {
        let known = |&(ordinal, disk): &(Ordinal, RememberedDisk)| {
            (ordinal, Known { disk, written: disk.ceiling })
        };
        Self { remembered: remembered.iter().map(known).collect(), is_worth_writing: false }
    }

    /// Whether this node's disk must hear of what was seen. Ceilings that were only heard of go with later
    /// writes, or once one of them has risen far: a restart must not forget more than that
    /// (`DISK_NOT_OLDER`).
    pub(super) fn is_worth_writing(&self) -> bool {
        self.is_worth_writing
    }

    /// To be kept on this node's disk, which is given it now.
    pub(super) fn write(&mut self) -> Vec<(Ordinal, RememberedDisk)> {
        self.is_worth_writing = false;
        let write = |(&ordinal, known): (&Ordinal, &mut Known)| {
            known.written = known.disk.ceiling;
            (ordinal, known.disk)
        };
        self.remembered.iter_mut().map(write).collect()
    }

    /// Whether a disk of this number says less than it said before: an older start, another process of
    /// the same start, or a start whose ceiling lies below one that was told.
    pub(super) fn is_old(&self, ordinal: Ordinal, hello: &PeerHello) -> bool {
        let Some(known) = self.get(ordinal) else { return false };
        let continues = if hello.start == known.start {
            hello.run == known.run
        } else {
            hello.start > known.start && hello.ceiling >= known.ceiling
        };
        !continues
    }

    /// The process that a disk of this number was last seen with.
    pub(super) fn run(&self, ordinal: Ordinal) -> Option<u64> {
        self.get(ordinal).map(|known| known.run)
    }

    fn get(&self, ordinal: Ordinal) -> Option<&RememberedDisk> {
        self.remembered.get(&ordinal).map(|known| &known.disk)
    }

    /// Keeps what a member says of its disk.
    pub(super) fn remember(&mut self, ordinal: Ordinal, hello: &PeerHello) {
        let (start, run) = (hello.start, hello.run);
        if let Some(known) = self.remembered.get_mut(&ordinal) {
            self.is_worth_writing |= (known.disk.start, known.disk.run) != (start, run);
            (known.disk.start, known.disk.run) = (start, run);
            return self.raise(ordinal, hello.ceiling);
        }
        self.is_worth_writing = true;
        let disk = RememberedDisk { start, run, ceiling: hello.ceiling };
        self.remembered.insert(ordinal, Known { disk, written: Hlc::ZERO });
    }

    /// Keeps what a member said of its disk when it had no number yet: its heartbeat says that the
    /// disk knows the number now.
    pub(super) fn remember_first(&mut self, ordinal: Ordinal, hello: &PeerHello) {
        if !self.remembered.contains_key(&ordinal) {
            self.remember(ordinal, hello);
        }
    }

    /// A member told its ceiling in a heartbeat.
    pub(super) fn raise(&mut self, ordinal: Ordinal, ceiling: Hlc) {
        if let Some(known) = self.remembered.get_mut(&ordinal) {
            known.disk.ceiling = known.disk.ceiling.max(ceiling);
            let (now_ms, written_ms) =
                (known.disk.ceiling.physical_ms(), known.written.physical_ms());
            self.is_worth_writing |= now_ms.saturating_sub(written_ms) >= CEILING_RISE_MS;
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

    #[test]
    fn a_ceiling_is_written_once_it_has_risen_by_a_minute() {
        let disk = |ms| RememberedDisk { start: 1, run: 1, ceiling: Hlc::new(ms, 0) };
        let mut disks = Disks::new(&[(Ordinal(1), disk(1000)), (Ordinal(3), disk(1000))]);
        let mut written = Vec::new();
        for ms in (1000..=201_000).step_by(10_000) {
            disks.raise(Ordinal(3), Hlc::new(ms, 0));
            if disks.is_worth_writing() {
                assert_eq!(disks.write(), [(Ordinal(1), disk(1000)), (Ordinal(3), disk(ms))]);
                written.push(ms);
            }
        }
        assert_eq!(written, [61_000, 121_000, 181_000]);
    }

    #[test]
    fn another_start_or_process_is_written_at_once_and_the_same_is_not() {
        let mut disks = Disks::new(&[]);
        for (disk, is_new) in [
            (hello(3, 77, 1000), true),
            (hello(3, 77, 2000), false),
            (hello(4, 77, 2000), true),
            (hello(4, 78, 2000), true),
        ] {
            disks.remember(Ordinal(2), &disk);
            assert_eq!(disks.is_worth_writing(), is_new);
            disks.write();
        }
    }
}
