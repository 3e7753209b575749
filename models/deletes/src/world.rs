//! What a world consists of: its documents, what is written, the marks and records that it begins
//! with, which steps are taken apart, and the rule that is broken, if any.

use explorer::{Node, NodeSet};

use crate::documents::Document;
use crate::mutants::Mutant;
use crate::state::{NODES, Version};

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Put,
    Delete,
}

/// Whether something happens at once, or in steps between which other things happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    AtOnce,
    InSteps,
}

/// Who claims its floor to reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Always,
    /// Not while joint, unless the replica is complete: less than the text allows.
    WhenComplete,
}

/// A world.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// In the order in which they are decided. `stable(old)` after a joint one is a cancel.
    pub(crate) documents: Vec<Document>,
    /// Version 1, version 2 and so on. Each may come to any replica at any time.
    pub(crate) writes: Vec<Kind>,
    /// The versions that `closed` may be raised to.
    pub(crate) closings: Vec<Version>,
    pub(crate) reads: u8,
    pub(crate) restarts: u8,
    /// Pulls that take time, if there is a limit; all others are at once.
    pub(crate) slow_pulls: Option<u8>,
    /// Stores: admitted, then durable.
    pub(crate) stores: Pace,
    /// Storing a document: known, durable, emptied, stored.
    pub(crate) storing: Pace,
    /// `full` rises in the step that ends the last pull, which makes a smaller space.
    pub(crate) full_at_once: bool,
    pub(crate) claim: Claim,
    /// What every member of the first set held and had acknowledged.
    pub(crate) acknowledged: Version,
    /// Where all three marks of the first set stand, and how far `closed` is above them.
    pub(crate) floor: Version,
    pub(crate) closed: Version,
    /// What single nodes hold besides.
    pub(crate) held: [Version; NODES],
    pub(crate) mutant: Option<Mutant>,
}

impl World {
    /// Documents as in `A A-AB AB`; writes are `p` and `d`. The versions of deletes may be closed
    /// at.
    pub(crate) fn new(documents: &str, writes: &str) -> Self {
        let kind = |letter| if letter == 'd' { Kind::Delete } else { Kind::Put };
        let writes: Vec<Kind> = writes.chars().map(kind).collect();
        let deletes = (1..).zip(&writes).filter(|(_, kind)| **kind == Kind::Delete);
        Self {
            documents: documents.split(' ').map(Document::of).collect(),
            closings: deletes.map(|(version, _)| Version(version)).collect(),
            writes,
            reads: 0,
            restarts: 0,
            slow_pulls: None,
            stores: Pace::AtOnce,
            storing: Pace::AtOnce,
            full_at_once: false,
            claim: Claim::Always,
            acknowledged: Version::ABSENT,
            floor: Version::ABSENT,
            closed: Version::ABSENT,
            held: [Version::ABSENT; NODES],
            mutant: None,
        }
    }

    pub(crate) fn reads(self, reads: u8) -> Self {
        Self { reads, ..self }
    }

    pub(crate) fn restarts(self, restarts: u8) -> Self {
        Self { restarts, ..self }
    }

    pub(crate) fn slow_pulls(self, slow_pulls: u8) -> Self {
        Self { slow_pulls: Some(slow_pulls), ..self }
    }

    /// Lets `closed` be raised to this version too.
    pub(crate) fn closing_at(mut self, version: u8) -> Self {
        self.closings.push(Version(version));
        self
    }

    pub(crate) fn slow_stores(self) -> Self {
        Self { stores: Pace::InSteps, ..self }
    }

    pub(crate) fn slow_storing(self) -> Self {
        Self { storing: Pace::InSteps, ..self }
    }

    pub(crate) fn full_at_once(self) -> Self {
        Self { full_at_once: true, ..self }
    }

    pub(crate) fn claiming_when_complete(self) -> Self {
        Self { claim: Claim::WhenComplete, ..self }
    }

    pub(crate) fn acknowledged(self, version: u8) -> Self {
        Self { acknowledged: Version(version), ..self }
    }

    /// Begins with all marks of the first set at this version.
    pub(crate) fn floor(self, version: u8) -> Self {
        Self { floor: Version(version), ..self }.closed(version)
    }

    /// Begins with `closed` of the first set at this version.
    pub(crate) fn closed(self, version: u8) -> Self {
        Self { closed: Version(version), ..self }
    }

    /// Begins with these nodes holding this version. A node outside the first set has it from an
    /// earlier layout.
    pub(crate) fn holding(mut self, nodes: &str, version: u8) -> Self {
        NodeSet::of(nodes).iter().for_each(|node| self.held[node.index()] = Version(version));
        self
    }

    pub(crate) fn broken_by(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..self }
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(crate) fn document(&self, place: u8) -> Document {
        self.documents[usize::from(place)]
    }

    /// Every node that ever has a part.
    pub(crate) fn nodes(&self) -> NodeSet {
        let members = self.documents.iter().map(|document| document.members());
        members.fold(NodeSet::EMPTY, NodeSet::or)
    }

    pub(crate) fn versions(&self) -> impl Iterator<Item = Version> + use<> {
        (1..=u8::try_from(self.writes.len()).expect("at most three")).map(Version)
    }

    /// The largest version that is written.
    pub(crate) fn last_version(&self) -> Version {
        self.versions().last().unwrap_or_default()
    }

    /// Whether the version is a delete's.
    pub(crate) fn deletes(&self, version: Version) -> bool {
        let place = usize::from(version.0).checked_sub(1);
        place.is_some_and(|place| self.writes[place] == Kind::Delete)
    }

    /// The name on the command line, such as `A.A-AB.AB/pd/reads-1`.
    pub(crate) fn name(&self) -> String {
        let document = |document: &Document| match document.is_joint() {
            true => format!("{:?}-{:?}", document.current, document.next),
            false => format!("{:?}", document.current),
        };
        let documents: Vec<_> = self.documents.iter().map(document).collect();
        let letter = |kind: &Kind| if *kind == Kind::Delete { 'd' } else { 'p' };
        let writes: String = self.writes.iter().map(letter).collect();
        let mut name = format!("{}/{writes}", documents.join("."));
        let deletes = self.versions().filter(|&version| self.deletes(version)).count();
        let number = |version: Version| usize::from(version.0);
        for (word, value, usual) in [
            ("closings", self.closings.len(), deletes),
            ("acknowledged", number(self.acknowledged), 0),
            ("floor", number(self.floor), 0),
            ("closed", number(self.closed), number(self.floor)),
            ("reads", usize::from(self.reads), 0),
            ("restarts", usize::from(self.restarts), 0),
        ] {
            if value != usual {
                name += &format!("/{word}-{value}");
            }
        }
        if let Some(slow_pulls) = self.slow_pulls {
            name += &format!("/slow-pulls-{slow_pulls}");
        }
        for node in (0..8).map(Node).take(NODES) {
            let held = self.held[node.index()];
            if !held.is_absent() {
                name += &format!("/{node:?}{}", held.0);
            }
        }
        for (word, applies) in [
            ("slow-stores", self.stores == Pace::InSteps),
            ("slow-storing", self.storing == Pace::InSteps),
            ("full-at-once", self.full_at_once),
            ("claim-when-complete", self.claim == Claim::WhenComplete),
        ] {
            if applies {
                name += &format!("/{word}");
            }
        }
        if let Some(mutant) = self.mutant {
            name += &format!("/{mutant:?}");
        }
        name
    }
}
