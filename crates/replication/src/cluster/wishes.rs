//! Operations that were asked of this member and that the document does not name yet.
//!
//! **Never:** calls an operation refused that the council was asked to vote for: it may still be.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{ChangeId, Document, NodeId, OperationKind, OperationRefusal};

use super::change::Change;
use super::event::AdminToken;

/// How long wishes gather, so that those that come together go together.
const GATHER: Duration = Duration::from_millis(300);

/// How long deciding is tried.
const DECIDE: Duration = Duration::from_secs(10);

/// How many wait here.
const MAX_WISHES: usize = 64;

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// An administrator, at this node.
    Operator(AdminToken),
    /// Another node.
    Node(NodeId),
}

/// Something that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// Names the operation.
    pub(super) id: ChangeId,
    /// What is to be done.
    pub(super) kind: OperationKind,
    /// Whom to answer.
    pub(super) asker: Asker,
    until: Duration,
}

/// What has become of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WishEnd {
    /// The document names it: it will be done, or given up where everybody sees it.
    Taken,
    /// It will not be done.
    Refused(OperationRefusal),
    /// The council was asked for votes: somebody else may yet see it decided.
    MayStillBe,
}

/// All of them, at one member.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    waiting: Vec<Wish>,
    gather_until: Duration,
    is_gathering: bool,
    voted_on: BTreeSet<ChangeId>,
}

impl Wishes {
    /// Adds one, unless it is here already.
    pub(super) fn add(
        &mut self,
        now: Duration,
        id: ChangeId,
        kind: OperationKind,
        asker: Asker,
    ) -> Result<(), OperationRefusal> {
        if self.waiting.iter().any(|wish| wish.id == id && wish.asker == asker) {
            return Ok(());
        }
        if self.waiting.len() >= MAX_WISHES {
            return Err(OperationRefusal::TooManyWaiting);
        }
        if self.waiting.is_empty() {
            self.gather_until = now.saturating_add(GATHER);
            self.is_gathering = true;
        }
        self.waiting.push(Wish { id, kind, asker, until: now.saturating_add(DECIDE) });
        Ok(())
    }

    /// Whether somebody has asked for this one.
    pub(super) fn contains(&self, id: ChangeId) -> bool {
        self.waiting.iter().any(|wish| wish.id == id)
    }

    /// The council is asked to vote for this document; which of the wishes nobody may call refused
    /// from now on, each told once.
    pub(super) fn asks_votes_for(&mut self, value: &Document) -> Vec<Wish> {
        let voted_on = &mut self.voted_on;
        let is_new = |wish: &&Wish| value.operation(wish.id).is_some() && voted_on.insert(wish.id);
        self.waiting.iter().filter(is_new).cloned().collect()
    }

    /// Those that have come to an end, taken.
    pub(super) fn ended(&mut self, now: Duration, document: &Document) -> Vec<(Wish, WishEnd)> {
        let mut ended = Vec::new();
        for wish in core::mem::take(&mut self.waiting) {
            if document.operation(wish.id).is_some() {
                ended.push((wish, WishEnd::Taken));
            } else if now < wish.until {
                self.waiting.push(wish);
            } else if self.voted_on.contains(&wish.id) {
                ended.push((wish, WishEnd::MayStillBe));
            } else {
                ended.push((wish, WishEnd::Refused(OperationRefusal::NoMajority)));
            }
        }
        for (wish, _) in &ended {
            self.voted_on.remove(&wish.id);
        }
        ended
    }

    /// Gives all of them up; the administrators who wait.
    pub(super) fn give_up(&mut self) -> Vec<AdminToken> {
        let token = |wish: Wish| match wish.asker {
            Asker::Operator(token) => Some(token),
            Asker::Node(_) => None,
        };
        self.voted_on.clear();
        core::mem::take(&mut self.waiting).into_iter().filter_map(token).collect()
    }

    /// The change that makes them part of the document, once they have gathered.
    pub(super) fn change(&mut self, now: Duration) -> Option<Change> {
        self.is_gathering &= !self.waiting.is_empty() && now < self.gather_until;
        if self.waiting.is_empty() || self.is_gathering {
            return None;
        }
        let operations = self.waiting.iter().map(|wish| (wish.id, wish.kind.clone()));
        Some(Change::Enqueue(operations.collect()))
    }

    /// The earliest moment at which there is something to do; that they have gathered may be over.
    pub(super) fn next_wake(&self) -> Duration {
        let ends = self.waiting.iter().map(|wish| wish.until).min().unwrap_or(Duration::MAX);
        if self.is_gathering { ends.min(self.gather_until) } else { ends }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::worlds::{document_of, join, name};

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn asked(wishes: &mut Wishes, ms: u64, text: &str, id: u128) {
        let asker = Asker::Node(name(text));
        assert_eq!(wishes.add(at(ms), ChangeId(id), join(text), asker), Ok(()));
    }

    #[test]
    fn those_that_come_together_make_one_change() {
        let mut wishes = Wishes::default();
        asked(&mut wishes, 0, "x", 7);
        asked(&mut wishes, 200, "y", 8);
        asked(&mut wishes, 250, "x", 7);
        assert_eq!((wishes.change(at(299)), wishes.next_wake()), (None, at(300)));
        let both = [(ChangeId(7), join("x")), (ChangeId(8), join("y"))];
        let change = Change::Enqueue(both.into());
        assert_eq!(wishes.change(at(300)), Some(change.clone()));
        let after = change.successor(&document_of(&["a"])).expect("they wait");
        let ended = wishes.ended(at(310), &after);
        assert!(ended.iter().all(|(_, end)| *end == WishEnd::Taken));
        assert_eq!((ended.len(), wishes.next_wake()), (2, Duration::MAX));
    }

    #[test]
    fn what_was_voted_on_is_not_called_refused() {
        let document = document_of(&["a"]);
        let refused = WishEnd::Refused(OperationRefusal::NoMajority);
        for (is_voted_on, expected) in [(false, refused), (true, WishEnd::MayStillBe)] {
            let mut wishes = Wishes::default();
            asked(&mut wishes, 0, "x", 7);
            let value = wishes.change(at(300)).and_then(|change| change.successor(&document));
            assert_eq!(wishes.asks_votes_for(&document), []);
            if is_voted_on {
                let value = value.expect("x waits");
                assert_eq!(wishes.asks_votes_for(&value).len(), 1);
                assert_eq!(wishes.asks_votes_for(&value), [], "told once");
            }
            assert_eq!(wishes.ended(at(9_999), &document), []);
            let ended = wishes.ended(at(10_000), &document);
            assert!(matches!(&ended[..], [(_, end)] if *end == expected));
        }
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let mut wishes = Wishes::default();
        for id in 0..64 {
            asked(&mut wishes, 0, "x", id);
        }
        let asker = Asker::Node(name("x"));
        let refused = wishes.add(at(0), ChangeId(64), join("x"), asker);
        assert_eq!(refused, Err(OperationRefusal::TooManyWaiting));
    }
}
