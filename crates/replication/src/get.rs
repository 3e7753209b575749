//! Coordinating a get: ask the replicas, answer with the newest of what enough of them hold.
//!
//! A read that lacks its replicas is an error, never "absent".

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Failure, Get, Reading, Record};

use paravon_ring::KeyHash;

use crate::event::{Effect, Now, Reply, RequestToken};
use crate::operations::OperationId;
use crate::shard::{Operation, Shard};
use crate::tally::{ReadTally, ReadVerdict};

/// A get under way.
#[derive(Debug)]
pub(crate) struct Read {
    request: RequestToken,
    pub(crate) deadline: Duration,
    tally: ReadTally,
}

impl Shard {
    pub(crate) fn begin_read(
        &mut self,
        request: RequestToken,
        hash: KeyHash,
        get: Get,
        deadline: Duration,
        out: &mut Vec<Effect>,
    ) {
        let needed = match self.needed(hash, get.consistency) {
            Ok(needed) => needed,
            Err(failure) => return out.push(Effect::Reply { request, reply: Err(failure) }),
        };
        let replicas = self.layout.replicas(hash.partition(self.layout.shift()));
        let tally = ReadTally::new(replicas, needed);
        let operation = self.operations.insert(Operation::Read(Read { request, deadline, tally }));
        out.push(Effect::Read { operation, hash, key: get.key });
    }

    /// The store of this node has answered.
    pub(crate) fn read(
        &mut self,
        now: Now,
        id: OperationId,
        answer: Result<Option<Record>, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Read(read)) = self.operations.get_mut(id) else { return };
        read.tally.add(self.ordinal, answer);
        match read.tally.verdict() {
            ReadVerdict::Pending => {}
            ReadVerdict::Done(newest) => {
                self.end_read(id, Ok(Reading::at(newest, now.wall_ms)), out)
            }
            ReadVerdict::Failed(failure) => self.end_read(id, Err(failure), out),
        }
    }

    /// The deadline has passed.
    pub(crate) fn expire_read(&mut self, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Read(read)) = self.operations.get_mut(id) else { return };
        let failure = read.tally.failure();
        self.end_read(id, Err(failure), out);
    }

    fn end_read(&mut self, id: OperationId, end: Result<Reading, Failure>, out: &mut Vec<Effect>) {
        let Some(Operation::Read(read)) = self.operations.remove(id) else { return };
        out.push(Effect::Reply { request: read.request, reply: end.map(Reply::Reading) });
    }
}
