//! What a world consists of: replicas, operations with their levels, what may go wrong, and the
//! rule that is broken, if any.

use crate::mutants::Mutant;

/// Whether a store is durable when it is taken, or is synced later and lost by a crash before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    AtOnce,
    /// With so many crashes.
    Synced(u8),
}

/// How often a record may come to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copies {
    /// At any time after it was stamped, and any number of times: resending, write-back, hints and
    /// comparing replicas are all in it.
    Any,
    /// Once for each stamp, and where a hint or a read writes it back.
    One,
}

/// Whether coordinators keep hints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hints {
    None,
    Kept,
}

/// What is claimed of the order that clients see, besides the promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    None,
    /// Section 3: an unanswered or re-stamped write is up to two writes, of which the first may be
    /// ordered before the write began.
    UpToTwoWrites,
    /// A linearizable register. Not promised.
    Register,
    /// `ACK_IS_LATEST` for levels below a majority. Not promised.
    OrderBelowMajority,
    /// A write answered `unknown` never surfaces over a later acknowledged one. Not promised.
    UnknownStaysBelow,
    /// A write ends while as many replicas as its level says stay up and answer.
    WritesEnd,
}

/// A world.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) replicas: usize,
    /// The level of each write and read, in replicas.
    pub(crate) writes: Vec<u8>,
    pub(crate) reads: Vec<u8>,
    /// What the clocks may stamp.
    pub(crate) times: Vec<u8>,
    pub(crate) disk: Disk,
    pub(crate) copies: Copies,
    pub(crate) hints: Hints,
    /// Requests that may be refused.
    pub(crate) refusals: u8,
    pub(crate) claim: Claim,
    pub(crate) mutant: Option<Mutant>,
}

impl World {
    pub(crate) fn new(replicas: usize, writes: &[u8], reads: &[u8]) -> Self {
        Self {
            replicas,
            writes: writes.to_vec(),
            reads: reads.to_vec(),
            times: vec![1, 3],
            disk: Disk::AtOnce,
            copies: Copies::Any,
            hints: Hints::None,
            refusals: 0,
            claim: Claim::None,
            mutant: None,
        }
    }

    pub(crate) fn times(self, times: &[u8]) -> Self {
        Self { times: times.to_vec(), ..self }
    }

    pub(crate) fn crashing(self, crashes: u8) -> Self {
        Self { disk: Disk::Synced(crashes), ..self }
    }

    pub(crate) fn refusing(self, refusals: u8) -> Self {
        Self { refusals, ..self }
    }

    pub(crate) fn one_copy(self) -> Self {
        Self { copies: Copies::One, ..self }
    }

    pub(crate) fn hinting(self) -> Self {
        Self { hints: Hints::Kept, ..self }
    }

    pub(crate) fn claiming(self, claim: Claim) -> Self {
        Self { claim, ..self }
    }

    pub(crate) fn broken_by(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..self }
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(crate) fn name(&self) -> String {
        let levels = |levels: &[u8]| levels.iter().map(u8::to_string).collect::<String>();
        let mut name =
            format!("{}-w{}-r{}", self.replicas, levels(&self.writes), levels(&self.reads));
        if let Disk::Synced(crashes) = self.disk {
            name += &format!("-crashes-{crashes}");
        }
        if self.copies == Copies::One {
            name += "-one-copy";
        }
        if self.hints == Hints::Kept {
            name += "-hints";
        }
        if self.refusals > 0 {
            name += &format!("-refusals-{}", self.refusals);
        }
        if self.claim != Claim::None {
            name += &format!("-{:?}", self.claim);
        }
        name
    }

    pub(crate) fn write_numbers(&self) -> std::ops::Range<u8> {
        0..u8::try_from(self.writes.len()).expect("at most three")
    }

    pub(crate) fn read_numbers(&self) -> std::ops::Range<u8> {
        0..u8::try_from(self.reads.len()).expect("at most three")
    }

    /// How many replicas are a majority.
    pub(crate) fn majority(&self) -> usize {
        self.replicas / 2 + 1
    }

    /// What the coordinators take for a majority.
    pub(crate) fn supposed_majority(&self) -> usize {
        if self.is(Mutant::HalfIsMajority) { self.replicas / 2 } else { self.majority() }
    }

    pub(crate) fn write_level(&self, write: u8) -> usize {
        usize::from(self.writes[usize::from(write)])
    }

    pub(crate) fn read_level(&self, read: u8) -> usize {
        usize::from(self.reads[usize::from(read)])
    }

    /// What a coordinator waits for at this level.
    pub(crate) fn needed(&self, level: usize) -> usize {
        if level == self.majority() { self.supposed_majority() } else { level }
    }
}
