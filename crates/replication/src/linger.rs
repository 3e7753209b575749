//! Writes that are answered, whose replicas are not: how many, and whether there is room for one more.

/// Most writes that linger.
const MAX_LINGERING: usize = 65_536;
/// Most bytes of them.
const MAX_LINGERING_BYTES: usize = 64 * 1024 * 1024;

/// Whether a write may wait for the replicas that have not acknowledged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lingering {
    /// It may.
    GoesOn,
    /// Whoever lacks it now gets a hint.
    Ends,
}

/// The writes that linger.
#[derive(Debug, Default)]
pub(crate) struct Lingerers {
    count: usize,
    bytes: usize,
}

impl Lingerers {
    /// One more; where there are too many it ends at once.
    pub(crate) fn enter(&mut self, bytes: usize) -> Lingering {
        self.count += 1;
        self.bytes += bytes;
        let room = self.count <= MAX_LINGERING && self.bytes <= MAX_LINGERING_BYTES;
        if room { Lingering::GoesOn } else { Lingering::Ends }
    }

    /// One less, of those that entered.
    pub(crate) fn leave(&mut self, bytes: usize) {
        self.count -= 1;
        self.bytes -= bytes;
    }
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
    }
}
