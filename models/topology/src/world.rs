//! What a world consists of: the sets that change, the clients' operations, which steps are taken
//! apart, and the rule that is broken, if any.

use explorer::NodeSet;

use crate::mutants::Mutant;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Write,
    Read,
}

/// How many replicas of every set a write needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    One,
    Majority,
    All,
}

/// Whether something happens at once, or in steps between which other things happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    AtOnce,
    InSteps,
}

/// What is asked of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Do the promises hold?
    Promises,
    /// The same, where operation 0 deletes and its tombstone goes once every replica has it
    /// (section 9, as one step).
    PromisesWithDelete,
    /// Is there a way to the end of the first change and of every operation?
    Finish,
}

/// A world.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) old: NodeSet,
    pub(crate) next: NodeSet,
    /// What the second change makes of the layout, by the end of the first; empty for no second
    /// one.
    pub(crate) after_cancel: NodeSet,
    pub(crate) after_finish: NodeSet,
    pub(crate) operations: Vec<Kind>,
    pub(crate) level: Level,
    /// Whether something was acknowledged before.
    pub(crate) seed: Seed,
    /// Stores: admitted, then durable.
    pub(crate) stores: Pace,
    /// Dropping what an older layout left: begun, then ended.
    pub(crate) cleaning: Pace,
    /// Storing a document: known, durable, emptied, stored.
    pub(crate) storing: Pace,
    /// Nodes that never act.
    pub(crate) dead: NodeSet,
    /// Nodes that the change names as lost (`remove`, `replace`).
    pub(crate) lost: NodeSet,
    pub(crate) question: Question,
    pub(crate) mutant: Option<Mutant>,
}

/// What was written before the world begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seed {
    Nothing,
    /// One version, acknowledged on some majority of the old set: a first state for each.
    Acknowledged,
}

impl World {
    /// One change from one set to another; operations are `w` and `r`, in the order in which those
    /// of a kind begin.
    pub(crate) fn new(old: &str, next: &str, operations: &str) -> Self {
        let kind = |letter| if letter == 'w' { Kind::Write } else { Kind::Read };
        Self {
            old: NodeSet::of(old),
            next: NodeSet::of(next),
            after_cancel: NodeSet::EMPTY,
            after_finish: NodeSet::EMPTY,
            operations: operations.chars().map(kind).collect(),
            level: Level::Majority,
            seed: Seed::Acknowledged,
            stores: Pace::AtOnce,
            cleaning: Pace::AtOnce,
            storing: Pace::AtOnce,
            dead: NodeSet::EMPTY,
            lost: NodeSet::EMPTY,
            question: Question::Promises,
            mutant: None,
        }
    }

    pub(crate) fn after_cancel(self, next: &str) -> Self {
        Self { after_cancel: NodeSet::of(next), ..self }
    }

    pub(crate) fn after_finish(self, next: &str) -> Self {
        Self { after_finish: NodeSet::of(next), ..self }
    }

    pub(crate) fn level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    pub(crate) fn without_seed(self) -> Self {
        Self { seed: Seed::Nothing, ..self }
    }

    pub(crate) fn slow_stores(self) -> Self {
        Self { stores: Pace::InSteps, ..self }
    }

    pub(crate) fn slow_cleaning(self) -> Self {
        Self { cleaning: Pace::InSteps, ..self }
    }

    pub(crate) fn slow_storing(self) -> Self {
        Self { storing: Pace::InSteps, ..self }
    }

    pub(crate) fn dead(self, dead: &str) -> Self {
        Self { dead: NodeSet::of(dead), ..self }
    }

    pub(crate) fn lost(self, lost: &str) -> Self {
        Self { lost: NodeSet::of(lost), ..self.dead(lost) }
    }

    pub(crate) fn asking(self, question: Question) -> Self {
        Self { question, ..self }
    }

    pub(crate) fn broken_by(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..self }
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Every node that ever has a part.
    pub(crate) fn nodes(&self) -> NodeSet {
        self.old.or(self.next).or(self.after_cancel).or(self.after_finish)
    }

    /// The nodes that act.
    pub(crate) fn up(&self) -> NodeSet {
        self.nodes().minus(self.dead)
    }

    pub(crate) fn operation_numbers(&self) -> std::ops::Range<u8> {
        0..u8::try_from(self.operations.len()).expect("at most three")
    }

    pub(crate) fn kind(&self, operation: u8) -> Kind {
        self.operations[usize::from(operation)]
    }

    /// The name on the command line, such as `A-B-cancel-B-wr-slow-stores`.
    pub(crate) fn name(&self) -> String {
        let mut name = format!("{:?}-{:?}", self.old, self.next);
        let mut add = |part: &str| {
            name.push('-');
            name.push_str(part);
        };
        for (word, set) in [
            ("cancel", self.after_cancel),
            ("finish", self.after_finish),
            ("dead", self.dead.minus(self.lost)),
            ("lost", self.lost),
        ] {
            if !set.is_empty() {
                add(&format!("{word}-{set:?}"));
            }
        }
        let letter = |kind: &Kind| if *kind == Kind::Write { 'w' } else { 'r' };
        let operations: String = self.operations.iter().map(letter).collect();
        for (word, applies) in [
            (operations.as_str(), !operations.is_empty()),
            ("finishes", self.question == Question::Finish),
            ("one", self.level == Level::One),
            ("all", self.level == Level::All),
            ("no-seed", self.seed == Seed::Nothing),
            ("slow-stores", self.stores == Pace::InSteps),
            ("slow-cleaning", self.cleaning == Pace::InSteps),
            ("slow-storing", self.storing == Pace::InSteps),
            ("delete", self.question == Question::PromisesWithDelete),
        ] {
            if applies {
                add(word);
            }
        }
        name
    }
}
