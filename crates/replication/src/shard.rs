//! The data state machine: one per core, owning the partitions `p % shards == its number`.
//!
//! This file only dispatches; it decides nothing that an operation's own file could decide.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use paravon_model::{Body, Consistency, Failure, Hlc, Ordinal};
use paravon_ring::{KeyHash, Layout};

use crate::clock::{Clock, ClockSettings};
use crate::event::{Effect, Event, Now};
use crate::get::Read;
use crate::operations::{OperationId, Operations};
use crate::put::{NewWrite, Write};

/// What a shard is made with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's number.
    pub ordinal: Ordinal,
    /// Who stores what.
    pub layout: Arc<Layout>,
    /// The clock of this shard.
    pub clock: ClockSettings,
}

/// The state machine of one shard.
#[derive(Debug)]
pub struct Shard {
    pub(crate) ordinal: Ordinal,
    pub(crate) layout: Arc<Layout>,
    pub(crate) clock: Clock,
    pub(crate) operations: Operations<Operation>,
    /// Writes that the clock could not stamp yet, in the order in which they came.
    pub(crate) waiting_for_ceiling: VecDeque<OperationId>,
}

/// What a shard has under way.
#[derive(Debug)]
pub(crate) enum Operation {
    Write(Write),
    Read(Read),
}

impl Shard {
    /// A shard with nothing under way.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            ordinal: settings.ordinal,
            layout: settings.layout,
            clock: Clock::new(settings.clock),
            operations: Operations::new(),
            waiting_for_ceiling: VecDeque::new(),
        }
    }

    /// Takes one event and appends what is to be done to `out`. Never blocks, never fails.
    pub fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Put { request, hash, put, deadline } => {
                let (key, body) = (put.key, Body::Live(put.value));
                let (ttl, consistency) = (put.ttl, put.consistency);
                let new = NewWrite { request, deadline, hash, key, body, ttl, consistency };
                self.begin_write(now, new, out);
            }
            Event::Delete { request, hash, delete, deadline } => {
                let (key, consistency) = (delete.key, delete.consistency);
                let (body, ttl) = (Body::Tombstone, None);
                let new = NewWrite { request, deadline, hash, key, body, ttl, consistency };
                self.begin_write(now, new, out);
            }
            Event::Get { request, hash, get, deadline } => {
                self.begin_read(request, hash, get, deadline, out);
            }
            Event::Stored { operation, stamp, answer } => {
                self.stored(now, operation, stamp, answer, out);
            }
            Event::Read { operation, answer } => self.read(now, operation, answer, out),
            Event::CeilingRaised { ceiling } => self.ceiling_raised(now, ceiling, out),
            Event::CeilingRefused { failure } => self.ceiling_refused(&failure, out),
            Event::Tick => self.tick(now, out),
            _ => {}
        }
    }

    /// Operations under way; while there are any, the shard wants [`Event::Tick`].
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.operations.len()
    }

    fn ceiling_raised(&mut self, now: Now, ceiling: Hlc, out: &mut Vec<Effect>) {
        self.clock.ceiling_raised(ceiling);
        for id in core::mem::take(&mut self.waiting_for_ceiling) {
            self.stamp_and_store(now, id, out);
        }
    }

    fn ceiling_refused(&mut self, failure: &Failure, out: &mut Vec<Effect>) {
        self.clock.ceiling_refused();
        for id in core::mem::take(&mut self.waiting_for_ceiling) {
            self.refuse_unstamped(id, failure, out);
        }
    }

    fn tick(&mut self, now: Now, out: &mut Vec<Effect>) {
        let late = self.operations.select(|operation| operation.deadline() <= now.monotonic);
        for id in late {
            match self.operations.get_mut(id) {
                Some(Operation::Write(_)) => self.expire_write(id, out),
                Some(Operation::Read(_)) => self.expire_read(id, out),
                None => {}
            }
        }
    }

    /// How many replicas an operation on `hash` must hear from.
    pub(crate) fn needed(&self, hash: KeyHash, consistency: Consistency) -> Result<usize, Failure> {
        let replicas = self.layout.replicas(hash.partition(self.layout.shift()));
        let needed = consistency.needed(replicas.len());
        let replication_factor = usize::from(self.layout.replication_factor());
        if needed > replication_factor {
            return Err(Failure::TooManyReplicas { needed, replication_factor });
        }
        if needed > replicas.len() {
            let (alive, down) = (replicas.len(), Vec::new());
            return Err(Failure::QuorumUnavailable { needed, alive, down });
        }
        Ok(needed)
    }
}

impl Operation {
    fn deadline(&self) -> core::time::Duration {
        match self {
            Self::Write(write) => write.deadline,
            Self::Read(read) => read.deadline,
        }
    }
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
