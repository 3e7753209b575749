//! The marks of partitions in a life that is cut: what was there when, and what must be there after a
//! crash.

use std::collections::BTreeMap;

use paravon_model::{Damage, Hlc, Marks};
use paravon_storage::{Answer, Done};

use crate::rig::Node;

type AllMarks = BTreeMap<u32, Marks>;

/// What was durable after each sync, with the operations done by then.
#[derive(Default)]
pub(crate) struct MarkHistory {
    moments: Vec<(usize, AllMarks)>,
    /// What is to be there when what is queued is durable.
    next: AllMarks,
    tickets: Vec<u64>,
}

impl MarkHistory {
    /// Sets marks of some partitions: they rise, partitions are lost and whole again, and now and then a
    /// partition begins anew. In some rounds nothing.
    pub(crate) fn queue(&mut self, node: &mut Node, round: u64) {
        let at = Hlc::new(round, 0);
        let partition = u32::try_from(round * 5 % 7).unwrap();
        let marks = match round % 8 {
            0 | 3 => return,
            5 => Marks { damage: Damage::Lost, closed: at, ..Marks::default() },
            7 => Marks::default(),
            _ => Marks { closed: at, full: at, ..Marks::default() },
        };
        for partition in [partition, 9 + u32::from(round.is_multiple_of(2))] {
            self.tickets.push(node.set_marks(partition, marks).unwrap());
            self.next.insert(partition, marks);
        }
        self.next.retain(|_, marks| *marks != Marks::default());
    }

    /// Notes what is durable now.
    pub(crate) fn note(&mut self, node: &mut Node, answers: &BTreeMap<u64, Answer>, at: usize) {
        for ticket in self.tickets.drain(..) {
            assert_eq!(answers[&ticket].1, Ok(Done::Marked));
        }
        assert_eq!(node.marks(), self.next);
        self.moments.push((at, self.next.clone()));
    }

    /// Checks a node that was started from a disk cut after `cut` operations.
    pub(crate) fn judge(&self, node: &mut Node, cut: usize) -> Result<(), String> {
        let found = node.marks();
        let confirmed = self.moments.partition_point(|(at, _)| *at <= cut);
        // What was confirmed last, or what was under way then: one batch of the log, whole or not.
        let owed = confirmed.checked_sub(1).map(|last| &self.moments[last].1);
        let next = self.moments.get(confirmed).map(|(_, marks)| marks);
        let nothing = AllMarks::new();
        let mut possible = std::iter::once(owed.unwrap_or(&nothing)).chain(next);
        if possible.any(|marks| *marks == found) {
            return Ok(());
        }
        Err(format!("marks {owed:?} are owed, found {found:?}"))
    }

    /// Whether the life was one in which marks rose and went.
    pub(crate) fn had_everything(&self) -> bool {
        let lost = |marks: &AllMarks| marks.values().any(|marks| marks.damage == Damage::Lost);
        let mut pairs = self.moments.windows(2);
        self.moments.iter().any(|(_, marks)| lost(marks))
            && pairs.any(|pair| pair[1].1.len() < pair[0].1.len())
    }
}
