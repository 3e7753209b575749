//! Keys in a life that is cut which are stored, forgotten or dropped, and stored again: what was there when, and what
//! must be there after a crash.

use std::collections::BTreeMap;

use paravon_model::Record;
use paravon_storage::conformance::{key, record};
use paravon_storage::{Answer, Done, Dropped};

use crate::rig::Node;

/// Keys of their own, so that what is owed of them is told by this file alone.
const KEYS: std::ops::Range<u8> = 200..210;

type Records = BTreeMap<u8, Record>;

/// What was durable after each sync, with the operations done by then.
#[derive(Default)]
pub(crate) struct RecordHistory {
    moments: Vec<(usize, Records)>,
    /// What is to be there when what is queued is durable.
    next: Records,
    /// Tickets of the removals that are queued, and what is to answer them.
    forgotten: Vec<(u64, Done)>,
    /// How often a removal took a record, and how often an older one was stored after it.
    removed: usize,
    went_back: usize,
    /// How often a drop took a record, and how often it met another version.
    dropped: usize,
    kept: usize,
}

impl RecordHistory {
    /// Merges and removes, some keys several times within one sync.
    pub(crate) fn queue(&mut self, node: &mut Node, round: u64) {
        let at = |step: u64| KEYS.start + u8::try_from((round * 3 + step) % 10).unwrap();
        self.merge(node, at(0), record(1000 + round, Some(1)));
        self.merge(node, at(1), record(1000 + round, None));
        if round.is_multiple_of(2) {
            self.forget(node, at(5));
        }
        if round.is_multiple_of(3) {
            // A merge before a removal goes with it, an older one after it stays.
            self.merge(node, at(4), record(2000 + round, Some(2)));
            self.forget(node, at(4));
            self.merge(node, at(4), record(round, Some(3)));
        }
        if round.is_multiple_of(2) {
            let there =
                self.next.get(&at(6)).map_or(round, |record| record.version.hlc.physical_ms());
            // The very one; one that has been replaced in the same group; the newest of a group.
            self.drop_record(node, at(6), there);
            self.merge(node, at(7), record(3000 + round, Some(4)));
            self.drop_record(node, at(7), 1000 + round - 2);
            self.merge(node, at(8), record(3000 + round, None));
            self.drop_record(node, at(8), 3000 + round);
            self.merge(node, at(8), record(round, Some(5)));
        }
        if round.is_multiple_of(7) {
            KEYS.for_each(|number| self.forget(node, number));
        }
    }

    fn merge(&mut self, node: &mut Node, number: u8, record: Record) {
        node.merge(number, record.clone()).unwrap();
        let confirmed = self.moments.last().and_then(|(_, records)| records.get(&number));
        let goes_back = confirmed.is_some_and(|confirmed| confirmed.version > record.version);
        self.went_back += usize::from(goes_back && !self.next.contains_key(&number));
        let is_newer = |present: &Record| record.precedence(present) == std::cmp::Ordering::Greater;
        if self.next.get(&number).is_none_or(is_newer) {
            self.next.insert(number, record);
        }
    }

    fn forget(&mut self, node: &mut Node, number: u8) {
        self.forgotten.push((node.forget(number).unwrap(), Done::Forgotten));
        self.removed += usize::from(self.next.remove(&number).is_some());
    }

    fn drop_record(&mut self, node: &mut Node, number: u8, ms: u64) {
        let version = record(ms, None).version;
        let dropped = match self.next.get(&number).map(|record| record.version) {
            Some(present) if present != version => {
                self.kept += 1;
                Dropped::Kept { version: present }
            }
            present => {
                self.dropped += usize::from(present.is_some());
                self.next.remove(&number);
                Dropped::Gone
            }
        };
        let ticket = node.drop_record(number, version).unwrap();
        self.forgotten.push((ticket, Done::Dropped(dropped)));
    }

    /// Notes what is durable now.
    pub(crate) fn note(&mut self, answers: &BTreeMap<u64, Answer>, at: usize) {
        for (ticket, done) in self.forgotten.drain(..) {
            assert_eq!(answers[&ticket].1, Ok(done));
        }
        self.moments.push((at, self.next.clone()));
    }

    /// Checks a node that was started from a disk cut after `cut` operations.
    pub(crate) fn judge(&self, node: &mut Node, cut: usize) -> Result<(), String> {
        let scanned = node.scan().map_err(|error| format!("scan: {error}"))?;
        let confirmed = self.moments.partition_point(|(at, _)| *at <= cut);
        for number in KEYS {
            let found = node.get(number).map_err(|error| format!("key {number}: {error}"))?;
            if scanned.get(&key(number).1) != found.as_ref() {
                return Err(format!("key {number}: a read finds {found:?}, a scan does not"));
            }
            // What was confirmed last, or what was under way then.
            let owed = confirmed.checked_sub(1).map(|last| &self.moments[last].1);
            let next = self.moments.get(confirmed).map(|(_, records)| records);
            let nothing = Records::new();
            let mut possible = std::iter::once(owed.unwrap_or(&nothing)).chain(next);
            if !possible.any(|records| records.get(&number) == found.as_ref()) {
                let owed = owed.and_then(|records| records.get(&number));
                return Err(format!("key {number}: {owed:?} is owed, found {found:?}"));
            }
        }
        Ok(())
    }

    /// Whether the life was one in which records were forgotten and dropped, and older ones stored in their
    /// place.
    pub(crate) fn had_everything(&self) -> bool {
        self.removed > 20 && self.went_back > 5 && self.dropped > 40 && self.kept > 20
    }
}
