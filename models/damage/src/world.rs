//! What a world consists of: replicas, what is written and where it lies, how high the marks may
//! rise, what goes wrong, and the rule that is broken, if any.

use explorer::{Node, NodeSet};

use crate::mutants::Mutant;
use crate::state::{KEYS, Marks, VERSIONS, Version};

/// What a version says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Content {
    #[default]
    Value,
    Tombstone,
    /// A value that expires at this instant.
    Until(u8),
}

/// A version of a key with its content.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Write {
    pub(crate) version: Version,
    pub(crate) key: u8,
    pub(crate) content: Content,
}

/// A put.
pub(crate) fn put(version: u8) -> Write {
    Write { version: Version(version), key: 0, content: Content::Value }
}

/// A delete.
pub(crate) fn delete(version: u8) -> Write {
    Write { content: Content::Tombstone, ..put(version) }
}

impl Write {
    /// The same, with an expiry.
    pub(crate) fn until(self, instant: u8) -> Self {
        Self { content: Content::Until(instant), ..self }
    }

    /// The same, of the second key.
    pub(crate) fn of_second_key(self) -> Self {
        Self { key: 1, ..self }
    }

    fn name(self) -> String {
        let (word, end) = match self.content {
            Content::Value => ("put", String::new()),
            Content::Tombstone => ("delete", String::new()),
            Content::Until(instant) => ("put", format!("until{instant}")),
        };
        let key = if self.key == 0 { "" } else { "y" };
        format!("{word}{}{end}{key}", self.version.0)
    }
}

/// Whether something happens at once, or in steps between which other things happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    AtOnce,
    InSteps,
}

/// What a damage takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// One key.
    Key,
    /// A file that is quarantined: every key of the partition.
    File,
    /// The marks too, which section 9 keeps elsewhere: the replica returns as a new member would
    /// (`replace`, as one step).
    FileAndMarks,
}

/// Whether a key may be damaged on two replicas at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damages {
    Apart,
    Together,
}

/// The put that may be stamped a second time.
#[derive(Clone, Debug)]
pub(crate) struct Stamps {
    pub(crate) first: Version,
    /// What the second may be; the smallest that is large enough is taken.
    pub(crate) seconds: Vec<Version>,
    pub(crate) clocks: Clocks,
}

/// How far apart clocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clocks {
    /// A mark may be above a stamp taken now.
    Any,
    /// Within `max_skew`: a second stamp lies above every `closed` of that moment.
    WithinSkew,
}

/// Time, in worlds with expiry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    pub(crate) from: u8,
    pub(crate) until: u8,
    /// Whose wall clock is one instant ahead.
    pub(crate) ahead: NodeSet,
}

/// A world.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) replicas: u8,
    pub(crate) writes: [Option<Write>; VERSIONS],
    /// Writes of which a copy may come to any replica at any time: late stores and hints.
    pub(crate) late: Vec<Version>,
    /// What lies where in the beginning; acknowledged where it is a majority.
    pub(crate) held: Vec<(Version, NodeSet)>,
    /// The marks of all in the beginning.
    pub(crate) marks: Marks,
    /// What `closed` may be raised to.
    pub(crate) closes: Vec<Version>,
    pub(crate) reads: u8,
    pub(crate) damages: u8,
    pub(crate) coincidence: Damages,
    pub(crate) extent: Extent,
    pub(crate) restarting: NodeSet,
    pub(crate) stamps: Option<Stamps>,
    pub(crate) time: Option<Time>,
    /// Replicas whose pulls take a step for each key read and each key stored.
    pub(crate) slow_pullers: NodeSet,
    pub(crate) stores: Pace,
    pub(crate) mutant: Option<Mutant>,
}

impl World {
    /// So many replicas without a record, and the marks that `closed` may be raised to.
    pub(crate) fn new(replicas: u8, closes: &[u8]) -> Self {
        Self {
            replicas,
            writes: [None; VERSIONS],
            late: Vec::new(),
            held: Vec::new(),
            marks: Marks::default(),
            closes: closes.iter().copied().map(Version).collect(),
            reads: 0,
            damages: 0,
            coincidence: Damages::Apart,
            extent: Extent::Key,
            restarting: NodeSet::EMPTY,
            stamps: None,
            time: None,
            slow_pullers: NodeSet::EMPTY,
            stores: Pace::AtOnce,
            mutant: None,
        }
    }

    fn writing(mut self, write: Write) -> Self {
        self.writes[write.version.index()] = Some(write);
        self
    }

    pub(crate) fn late(self, write: Write) -> Self {
        let mut world = self.writing(write);
        world.late.push(write.version);
        world
    }

    pub(crate) fn held(self, write: Write, by: &str) -> Self {
        let mut world = self.writing(write);
        world.held.push((write.version, NodeSet::of(by)));
        world
    }

    pub(crate) fn closed(mut self, closed: u8) -> Self {
        self.marks.closed = Version(closed);
        self
    }

    pub(crate) fn full(mut self, full: u8) -> Self {
        self.marks.full = Version(full);
        self.closed(full)
    }

    pub(crate) fn floor(mut self, floor: u8) -> Self {
        self.marks.floor = Version(floor);
        self.full(floor)
    }

    pub(crate) fn reads(self, reads: u8) -> Self {
        Self { reads, ..self }
    }

    pub(crate) fn damages(self, damages: u8) -> Self {
        Self { damages, ..self }
    }

    pub(crate) fn damaged_together(self) -> Self {
        Self { coincidence: Damages::Together, ..self }
    }

    pub(crate) fn damaging(self, extent: Extent) -> Self {
        Self { extent, ..self }
    }

    pub(crate) fn restarting(self, nodes: &str) -> Self {
        Self { restarting: NodeSet::of(nodes), ..self }
    }

    pub(crate) fn stamping(self, first: u8, seconds: &[u8], clocks: Clocks) -> Self {
        let seconds: Vec<_> = seconds.iter().copied().map(Version).collect();
        let stamps = Some(Stamps { first: Version(first), seconds: seconds.clone(), clocks });
        let stamped = seconds.into_iter().map(|second| put(second.0));
        let world = stamped.fold(self.writing(put(first)), Self::writing);
        Self { stamps, ..world }
    }

    pub(crate) fn time(self, from: u8, until: u8, ahead: &str) -> Self {
        Self { time: Some(Time { from, until, ahead: NodeSet::of(ahead) }), ..self }
    }

    pub(crate) fn slow_pullers(self, nodes: &str) -> Self {
        Self { slow_pullers: NodeSet::of(nodes), ..self }
    }

    pub(crate) fn slow_stores(self) -> Self {
        Self { stores: Pace::InSteps, ..self }
    }

    pub(crate) fn broken_by(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..self }
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(crate) fn nodes(&self) -> NodeSet {
        (0..self.replicas).map(Node).collect()
    }

    pub(crate) fn others(&self, node: Node) -> NodeSet {
        let mut others = self.nodes();
        others.remove(node);
        others
    }

    /// A write of this world.
    pub(crate) fn write(&self, version: Version) -> Write {
        self.writes[version.index()].expect("every version that is stored was written")
    }

    /// The keys that something is written to.
    pub(crate) fn keys(&self) -> std::ops::Range<u8> {
        let largest = self.writes.iter().flatten().map(|write| write.key).max();
        0..largest.unwrap_or(0) + 1
    }

    pub(crate) fn key_places(&self) -> std::ops::Range<usize> {
        0..usize::from(self.keys().end).min(KEYS)
    }

    /// Whether what others say of their marks is remembered. Marks only rise, so that older
    /// knowledge allows less; it matters only where marks can be lost.
    pub(crate) fn remembers_marks(&self) -> bool {
        self.extent == Extent::FileAndMarks
    }

    /// The name on the command line, such as `3-put1-delete2-close2-reads1-slow-A`.
    pub(crate) fn name(&self) -> String {
        let mut parts = vec![self.replicas.to_string()];
        parts.extend(self.late.iter().map(|&version| self.write(version).name()));
        let held = self.held.iter();
        parts.extend(held.map(|(version, by)| format!("{}on{by:?}", self.write(*version).name())));
        if let Some(stamps) = &self.stamps {
            let seconds: String =
                stamps.seconds.iter().map(|second| second.0.to_string()).collect();
            parts.push(format!("stamps{}{seconds}-{:?}", stamps.first.0, stamps.clocks));
        }
        let closes: String = self.closes.iter().map(|closed| closed.0.to_string()).collect();
        parts.push(format!("close{closes}"));
        for (word, number) in [
            ("closed", self.marks.closed.0),
            ("full", self.marks.full.0),
            ("floor", self.marks.floor.0),
            ("reads", self.reads),
            ("damages", self.damages),
        ] {
            if number > 0 {
                parts.push(format!("{word}{number}"));
            }
        }
        if self.coincidence == Damages::Together {
            parts.push("together".to_owned());
        }
        if self.extent != Extent::Key {
            parts.push(format!("{:?}", self.extent));
        }
        for (word, nodes) in [("restarting", self.restarting), ("slow", self.slow_pullers)] {
            if !nodes.is_empty() {
                parts.push(format!("{word}-{nodes:?}"));
            }
        }
        if self.stores == Pace::InSteps {
            parts.push("slow-stores".to_owned());
        }
        if let Some(time) = self.time {
            parts.push(format!("time{}to{}", time.from, time.until));
        }
        parts.join("-")
    }
}
