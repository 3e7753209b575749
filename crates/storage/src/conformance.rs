//! What every [`Store`] must do, checked the same way for each engine.
//!
//! A test supplies a [`Rig`] and calls [`check`] and [`check_hint_limit`]; random scripts go through [`follow`]. Everything
//! here panics with what is wrong, and nothing here knows which engine it drives.

mod drops;
mod forgets;
mod hints;
mod marks;
mod scans;
mod sums;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use paravon_model::{Body, Hlc, Key, Ordinal, Record, Value, Version};
use paravon_ring::KeyHash;

use crate::store::{
    Answer, Completion, Decision, Done, Dropped, Group, Merged, Store, WriteError, decide,
};

use hints::HintModel;
pub use hints::check_hint_limit;

/// A store with what it needs around it.
pub trait Rig {
    /// The store under test, of shard 0.
    fn store(&mut self) -> &mut dyn Store;

    /// How many shards the store's node has.
    fn shards(&self) -> u16;

    /// Takes all groups, makes them durable and completes them.
    fn sync(&mut self);

    /// Does background work until there is none: applying, checkpoints.
    fn settle(&mut self);
}

/// One thing that a script does. Small numbers, so that keys and versions meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Merge a value.
    Put {
        /// Which key.
        key: u8,
        /// Its stamp.
        ms: u8,
        /// Its value.
        value: u8,
    },
    /// Merge a tombstone.
    Delete {
        /// Which key.
        key: u8,
        /// Its stamp.
        ms: u8,
    },
    /// Forget a key.
    Forget {
        /// Which key.
        key: u8,
    },
    /// Drop a record.
    DropRecord {
        /// Which key.
        key: u8,
        /// Where it is stamped so.
        ms: u8,
    },
    /// Read a key.
    Get {
        /// Which key.
        key: u8,
    },
    /// List records of an arc that two keys bound.
    Scan {
        /// The key at one end.
        first: u8,
        /// The key at the other end.
        last: u8,
        /// Behind which key, if it is one of the first twelve.
        after: u8,
        /// How many.
        limit: u8,
    },
    /// Keep a hint.
    Keep {
        /// For whom.
        target: u8,
        /// Which key.
        key: u8,
        /// Its stamp.
        ms: u8,
        /// Its value.
        value: u8,
    },
    /// Drop a hint.
    Drop {
        /// For whom.
        target: u8,
        /// Which key.
        key: u8,
        /// Up to which stamp.
        ms: u8,
    },
    /// List hints.
    List {
        /// For whom.
        target: u8,
        /// Behind which key.
        after: u8,
        /// How many.
        limit: u8,
    },
    /// Begin to keep sums, once.
    KeepSums,
    /// Read on.
    Scrub {
        /// How many records.
        limit: u8,
    },
    /// Remember the moment, for what is found clean.
    Compare,
    /// Clean a part of the ring as of the moment that is remembered.
    Clean {
        /// For whom.
        target: u8,
        /// A key that lies in it.
        key: u8,
    },
    /// See [`Rig::sync`].
    Sync,
    /// Let all groups fail for lack of space. A store that gives none has stored everything.
    Fail,
    /// See [`Rig::settle`].
    Settle,
    /// See [`Store::end_batch`].
    EndBatch,
    /// See [`Store::flush`].
    Flush,
}

/// The key number `key`, with its hash.
#[must_use]
pub fn key(key: u8) -> (KeyHash, Key) {
    let key = Key::new("default", &[b'k', key]).expect("two bytes are a key");
    (KeyHash::of(&key, 0), key)
}

/// A record stamped at `ms`: a value of one byte, or a tombstone.
#[must_use]
pub fn record(ms: u64, value: Option<u8>) -> Record {
    let version = Version { hlc: Hlc::new(ms, 0), ordinal: Ordinal(1) };
    let body = value.map_or(Body::Tombstone, |value| Body::Live(Value::bytes(&[value])));
    Record { version, expires_ms: None, body }
}

/// Runs every check on rigs that `fresh` makes.
pub fn check<R: Rig>(mut fresh: impl FnMut() -> R) {
    nothing_is_visible_or_answered_before_it_is_durable(&mut fresh());
    the_larger_version_wins_in_whatever_order(&mut fresh());
    a_merge_is_decided_against_queued_writes(&mut fresh());
    a_retry_of_the_same_record_is_applied(&mut fresh());
    a_tombstone_is_a_record(&mut fresh());
    everything_survives_applying(&mut fresh());
    forgets::check(&mut fresh);
    drops::check(&mut fresh);
    scans::check(&mut fresh);
    hints::check(&mut fresh);
    marks::check(&mut fresh);
    sums::check(&mut fresh);
}

/// Lets all groups fail for lack of space. Says whether there was one.
pub fn fail_groups(store: &mut dyn Store) -> bool {
    let groups: Vec<Group> = std::iter::from_fn(|| store.take_group()).collect();
    for Group { shard, number, .. } in &groups {
        let result = Err(WriteError::StorageFull);
        store.complete(Completion::Synced { shard: *shard, group: *number, result });
    }
    !groups.is_empty()
}

fn merge(rig: &mut impl Rig, ticket: u64, number: u8, record: Record) {
    let (hash, key) = key(number);
    rig.store().merge(ticket, hash, key, record).expect("nothing refuses here");
}

fn get(rig: &mut impl Rig, number: u8) -> Option<Record> {
    let (hash, key) = key(number);
    let found = rig.store().get(hash, &key).expect("nothing is damaged here");
    rig.store().end_batch();
    found
}

fn answers(rig: &mut impl Rig) -> Vec<Answer> {
    let mut answers = Vec::new();
    rig.store().drain(&mut answers);
    answers.sort_by_key(|&(ticket, _)| ticket);
    answers
}

/// The answer to a merge.
fn merged(ticket: u64, merged: Merged) -> Answer {
    (ticket, Ok(Done::Merged(merged)))
}

fn applied(ticket: u64, previous: Option<Version>) -> Answer {
    merged(ticket, Merged::Applied { previous })
}

fn nothing_is_visible_or_answered_before_it_is_durable(rig: &mut impl Rig) {
    merge(rig, 7, 1, record(1, Some(1)));
    assert_eq!(get(rig, 1), None);
    assert_eq!(answers(rig), []);
    rig.sync();
    assert_eq!(answers(rig), [applied(7, None)]);
    assert_eq!(answers(rig), [], "an answer comes once");
    assert_eq!(get(rig, 1), Some(record(1, Some(1))));
}

fn the_larger_version_wins_in_whatever_order(rig: &mut impl Rig) {
    merge(rig, 1, 1, record(2, Some(2)));
    rig.sync();
    merge(rig, 2, 1, record(1, Some(1)));
    merge(rig, 3, 1, record(3, Some(3)));
    rig.sync();
    let two = record(2, None).version;
    assert_eq!(
        answers(rig),
        [applied(1, None), merged(2, Merged::Superseded { version: two }), applied(3, Some(two))]
    );
    assert_eq!(get(rig, 1), Some(record(3, Some(3))));
}

fn a_merge_is_decided_against_queued_writes(rig: &mut impl Rig) {
    merge(rig, 1, 1, record(5, Some(5)));
    merge(rig, 2, 1, record(4, Some(4)));
    merge(rig, 3, 1, record(6, Some(6)));
    assert_eq!(answers(rig), [], "what decided them is not durable");
    rig.sync();
    let five = record(5, None).version;
    assert_eq!(
        answers(rig),
        [applied(1, None), merged(2, Merged::Superseded { version: five }), applied(3, Some(five)),]
    );
    assert_eq!(get(rig, 1), Some(record(6, Some(6))));
}

fn a_retry_of_the_same_record_is_applied(rig: &mut impl Rig) {
    let version = record(1, None).version;
    merge(rig, 1, 1, record(1, Some(1)));
    merge(rig, 2, 1, record(1, Some(1)));
    rig.sync();
    merge(rig, 3, 1, record(1, Some(1)));
    rig.sync();
    let again = Some(version);
    assert_eq!(answers(rig), [applied(1, None), applied(2, again), applied(3, again)]);
}

fn a_tombstone_is_a_record(rig: &mut impl Rig) {
    merge(rig, 1, 1, record(1, Some(1)));
    rig.sync();
    merge(rig, 2, 1, record(2, None));
    rig.sync();
    assert_eq!(get(rig, 1), Some(record(2, None)));
    merge(rig, 3, 1, record(1, Some(1)));
    rig.sync();
    let version = record(2, None).version;
    assert_eq!(answers(rig).pop(), Some(merged(3, Merged::Superseded { version })));
    rig.settle();
    assert_eq!(get(rig, 1), Some(record(2, None)));
}

fn everything_survives_applying(rig: &mut impl Rig) {
    for round in 0..4 {
        for number in 0..50 {
            merge(rig, 0, number, record(u64::from(round) + 1, Some(round)));
        }
        rig.sync();
        rig.store().flush();
        rig.settle();
        for number in 0..50 {
            assert_eq!(get(rig, number), Some(record(u64::from(round) + 1, Some(round))));
        }
    }
    assert!(rig.store().flush(), "nothing is left to apply");
}

/// Follows a script beside a model, and compares every read and every answer.
pub fn follow(rig: &mut impl Rig, script: &[Act]) {
    let mut model = Model::default();
    for act in script {
        match *act {
            Act::Put { key, ms, value } => {
                model.merge(rig, key, record(u64::from(ms), Some(value)));
            }
            Act::Delete { key, ms } => model.merge(rig, key, record(u64::from(ms), None)),
            Act::Forget { key } => model.forget(rig, key),
            Act::DropRecord { key, ms } => model.drop_record(rig, key, ms),
            Act::Scan { first, last, after, limit } => {
                scans::compare(rig, &model.durable, (first, last), after, usize::from(limit));
            }
            Act::Get { key: number } => {
                let (hash, key) = key(number);
                let found = rig.store().get(hash, &key).expect("nothing is damaged here");
                assert_eq!(found.as_ref(), model.durable.get(&number));
            }
            Act::Keep { target, key, ms, value } => {
                model.hints.keep(rig, target, key, record(u64::from(ms), Some(value)));
            }
            Act::Drop { target, key, ms } => {
                model.hints.drop_up_to(rig, target, key, record(u64::from(ms), None).version);
            }
            Act::List { target, after, limit } => {
                model.hints.list(rig, target, after, usize::from(limit));
            }
            Act::Compare => model.hints.compare(rig),
            Act::Clean { target, key } => model.hints.clean(rig, target, key),
            Act::KeepSums => model.keep_sums(rig),
            Act::Scrub { limit } => {
                sums::scrub(rig, limit.into());
            }
            Act::Sync => model.sync(rig),
            Act::Fail => model.fail(rig),
            Act::Settle => rig.settle(),
            Act::EndBatch => rig.store().end_batch(),
            Act::Flush => {
                rig.store().flush();
            }
        }
        sums::compare(rig, &model.durable);
    }
    model.sync(rig);
    model.keep_sums(rig);
    sums::scrub_round(rig, 3);
    sums::scrub_round(rig, 3);
    sums::compare_all(rig, &model.durable);
    for number in 0..=u8::MAX {
        assert_eq!(get(rig, number).as_ref(), model.durable.get(&number));
    }
    scans::compare(rig, &model.durable, scans::ALL, u8::MAX, usize::MAX);
    assert_eq!(rig.store().is_empty(), Ok(model.durable.is_empty()));
    rig.store().end_batch();
}

#[derive(Default)]
struct Model {
    durable: BTreeMap<u8, Record>,
    /// What is to become of a key: nothing where it is forgotten.
    queued: BTreeMap<u8, Option<Record>>,
    expected: BTreeMap<u64, Done>,
    /// Those of them that what is queued decides.
    queued_tickets: BTreeSet<u64>,
    tickets: u64,
    hints: HintModel,
    sums_are_kept: bool,
}

impl Model {
    /// What is there when everything queued is.
    fn present(&self, number: u8) -> Option<&Record> {
        match self.queued.get(&number) {
            Some(queued) => queued.as_ref(),
            None => self.durable.get(&number),
        }
    }

    fn merge(&mut self, rig: &mut impl Rig, number: u8, record: Record) {
        self.tickets += 1;
        let decision = decide(&record, self.present(number));
        if self.queued.contains_key(&number) || matches!(decision, Decision::Store(_)) {
            self.queued_tickets.insert(self.tickets);
        }
        let (Decision::Store(merged) | Decision::Keep(merged)) = decision;
        if matches!(decision, Decision::Store(_)) {
            self.queued.insert(number, Some(record.clone()));
        }
        self.expected.insert(self.tickets, Done::Merged(merged));
        merge(rig, self.tickets, number, record);
    }

    fn forget(&mut self, rig: &mut impl Rig, number: u8) {
        self.tickets += 1;
        self.queued_tickets.insert(self.tickets);
        self.queued.insert(number, None);
        self.expected.insert(self.tickets, Done::Forgotten);
        forgets::forget(rig, self.tickets, number);
    }

    fn drop_record(&mut self, rig: &mut impl Rig, number: u8, ms: u8) {
        self.tickets += 1;
        let version = record(ms.into(), None).version;
        let present = self.present(number).map(|present| present.version);
        let dropped = match present {
            Some(present) if present != version => Dropped::Kept { version: present },
            _ => Dropped::Gone,
        };
        if present == Some(version) {
            self.queued.insert(number, None);
        }
        if self.queued.contains_key(&number) {
            self.queued_tickets.insert(self.tickets);
        }
        self.expected.insert(self.tickets, Done::Dropped(dropped));
        drops::drop_record(rig, self.tickets, number, ms.into());
    }

    fn keep_sums(&mut self, rig: &mut impl Rig) {
        if !mem::replace(&mut self.sums_are_kept, true) {
            sums::keep(rig);
        }
    }

    fn sync(&mut self, rig: &mut impl Rig) {
        rig.sync();
        self.synced(rig);
    }

    fn fail(&mut self, rig: &mut impl Rig) {
        if !fail_groups(rig.store()) {
            return self.synced(rig);
        }
        self.queued.clear();
        self.hints.fail(rig);
        let failed = mem::take(&mut self.queued_tickets);
        for (ticket, result) in answers(rig) {
            let expected = self.expected.remove(&ticket).filter(|_| !failed.contains(&ticket));
            assert_eq!(result, expected.ok_or(WriteError::StorageFull), "ticket {ticket}");
        }
        assert!(self.expected.is_empty(), "unanswered: {:?}", self.expected);
    }

    fn synced(&mut self, rig: &mut impl Rig) {
        self.queued_tickets.clear();
        for (number, state) in mem::take(&mut self.queued) {
            match state {
                Some(record) => self.durable.insert(number, record),
                None => self.durable.remove(&number),
            };
        }
        self.hints.sync();
        for (ticket, result) in answers(rig) {
            assert_eq!(result.ok(), self.expected.remove(&ticket), "ticket {ticket}");
        }
        assert!(self.expected.is_empty(), "unanswered: {:?}", self.expected);
    }
}
