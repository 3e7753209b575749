//! Writes and reads that are answered and go on for replicas that lack what they carry: how many, and
//! whether there is room for one more.

use paravon_model::{Body, Key};

use crate::operation::Operation;

/// Most operations that linger.
const MAX_LINGERING: usize = 65_536;
/// Most bytes of them.
const MAX_LINGERING_BYTES: usize = 64 * 1024 * 1024;

/// Whether an operation may wait for the replicas that have not acknowledged what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lingering {
    /// It may.
    GoesOn,
    /// Whoever lacks what was written now gets a hint; what was read is repaired by a later read.
    Ends,
}

/// The operations that linger.
#[derive(Debug, Default)]
pub(crate) struct Lingerers {
    count: usize,
    bytes: usize,
    /// The node is about to stop: nobody will wait.
    stopped: bool,
}

impl Lingerers {
    /// One more; where there are too many it ends at once.
    pub(crate) fn enter(&mut self, bytes: usize) -> Lingering {
        self.count += 1;
        self.bytes += bytes;
        let room = self.count <= MAX_LINGERING && self.bytes <= MAX_LINGERING_BYTES;
        if room && !self.stopped { Lingering::GoesOn } else { Lingering::Ends }
    }

    /// From now on nothing lingers.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// One less, of those that entered.
    pub(crate) fn leave(&mut self, bytes: usize) {
        self.count -= 1;
        self.bytes -= bytes;
    }
}

/// What an operation on this record takes while it lingers, in bytes.
pub(crate) fn weight(key: &Key, body: &Body) -> usize {
    size_of::<Operation>() + key.encoded().len() + body.value_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_by_number_and_by_bytes() {
        let mut lingerers = Lingerers::default();
        for _ in 0..MAX_LINGERING {
            assert_eq!(lingerers.enter(1), Lingering::GoesOn);
        }
        assert_eq!(lingerers.enter(1), Lingering::Ends);
        lingerers.leave(1);
        lingerers.leave(1);
        assert_eq!(lingerers.enter(MAX_LINGERING_BYTES), Lingering::Ends);

        let mut lingerers = Lingerers::default();
        assert_eq!(lingerers.enter(1), Lingering::GoesOn);
        lingerers.stop();
        assert_eq!(lingerers.enter(1), Lingering::Ends);
    }
}
