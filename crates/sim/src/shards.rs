//! Steps a node's shards and carries out what they want done: stores, messages, answers.

use paravon_model::{
    Body, Command, Failure, Merged, Ordinal, Purpose, Record, ReplicaReply, ReplicaRequest, Value,
    Version,
};
use paravon_replication::cluster::ClusterEvent;
use paravon_replication::{Effect, Event, Hint, OperationId, PeerToken};
use paravon_storage::PageLimit;

use crate::engine::{Done, Job};
use crate::fact::{Content, Fact, OperationNumber};
use crate::happening::{Envelope, Happening, Payload};
use crate::node::Asker;
use crate::queue::MICROSECOND;
use crate::view::{NOTHING, Stamp};
use crate::world::{Work, World, small};

impl World {
    /// Gives a shard an event and carries out the effects.
    pub(crate) fn step_shard(&mut self, node: usize, shard: usize, event: Event) {
        let now = self.node_now(node);
        let asked = match &event {
            Event::Asked { token, .. } => Some(*token),
            _ => None,
        };
        let mut effects = std::mem::take(&mut self.effects);
        let Some(process) = &mut self.nodes[node].process else { return };
        let Some(machine) = process.shards.get_mut(shard) else { return };
        machine.step(now, event, &mut effects);
        if let Some(token) = asked {
            self.judge_admission(node, token, &effects);
        }
        for effect in effects.drain(..) {
            self.carry_out(node, shard, effect);
        }
        self.effects = effects;
        self.plan_wake(node, shard);
        self.begin_sync(node);
    }

    fn carry_out(&mut self, node: usize, shard: usize, effect: Effect) {
        match effect {
            Effect::Reply { request, reply } => self.reply(node, request, reply),
            Effect::Send { to, operation, request } => {
                self.send(node, shard, to, operation, request);
            }
            Effect::Answer { token, reply } => self.answer(node, token, reply),
            Effect::Store { operation, hash, key, record } => {
                self.note_own_store(node, shard, self.key_number(&key), &record);
                self.tell_of_records(node);
                if self.random.chance(self.plan.disks.refusal) {
                    let answer = Err(Failure::Overloaded { retry_after_ms: 10 });
                    let event = Event::Stored { operation, stamp: record.version, answer };
                    return self.work.push_back(Work::Shard { node, shard, event });
                }
                let job = Job::Merge { shard, operation, hash, key, record };
                self.nodes[node].engine.queue(job);
            }
            Effect::Read { operation, hash, key } => {
                let answer = self.nodes[node].engine.get(shard, hash, &key);
                let event = Event::Read { operation, answer };
                self.work.push_back(Work::Shard { node, shard, event });
            }
            Effect::KeepHint { target, hint } => {
                let Hint { hash, key, record } = hint;
                self.nodes[node].engine.queue(Job::KeepHint { shard, target, hash, key, record });
            }
            Effect::ReadHints { target, after, limit, bytes } => {
                let limit = PageLimit { count: limit, bytes: bytes as u64 };
                let hints = self.nodes[node].engine.hints(shard, target, after.as_ref(), limit);
                let event = Event::Hints { target, hints };
                self.work.push_back(Work::Shard { node, shard, event });
            }
            Effect::DropHint { target, hash, key, version } => {
                self.nodes[node].engine.queue(Job::DropHint { shard, target, hash, key, version });
            }
            Effect::RaiseCeiling { ceiling } => {
                self.nodes[node].engine.queue(Job::Ceiling { hlc: ceiling });
            }
            Effect::Learn { document } => {
                self.tell_cluster(node, ClusterEvent::Learned { document })
            }
            Effect::Teach { peer } => self.tell_cluster(node, ClusterEvent::Teach { peer }),
            Effect::AskDocument { peer } => self.tell_cluster(node, ClusterEvent::Ask { peer }),
            Effect::Settled { fence } => self.settled(node, shard, fence),
        }
    }

    pub(crate) fn tell_cluster(&mut self, node: usize, event: ClusterEvent) {
        self.work.push_back(Work::Cluster { node, event });
    }

    /// A join must not come after the first record: the cluster machine is told before it is stored.
    fn tell_of_records(&mut self, node: usize) {
        let Some(process) = &mut self.nodes[node].process else { return };
        if !process.holds_records {
            process.holds_records = true;
            self.tell_cluster(node, ClusterEvent::HoldsRecords);
        }
    }

    /// What a replica did for a request, judged by the fences of both (`EPOCH_FENCE`).
    fn judge_admission(&mut self, node: usize, token: PeerToken, effects: &[Effect]) {
        let Some(process) = &self.nodes[node].process else { return };
        let Some(asker) = asker(process.askers.as_slice(), token).copied() else { return };
        let Some(own) = process.fence() else { return };
        for effect in effects {
            let refused = match effect {
                Effect::Store { .. } | Effect::Read { .. } => false,
                Effect::Answer { reply, .. } => matches!(
                    reply,
                    ReplicaReply::StaleLayout { .. } | ReplicaReply::LaterLayout { .. }
                ),
                _ => continue,
            };
            let (fence, stranger) = (asker.fence, asker.stranger);
            let node = small(node);
            self.emit(if refused && !stranger {
                Fact::FenceRefused { node, fence, own }
            } else {
                Fact::Admitted { node, fence, own, stranger }
            });
        }
    }

    fn send(
        &mut self,
        node: usize,
        shard: usize,
        to: Ordinal,
        operation: OperationId,
        request: ReplicaRequest,
    ) {
        if let Command::Store { key, record, purpose } = &request.command {
            self.note_sent(node, shard, to, self.key_number(key), record, *purpose);
        }
        let target = self.nodes[node].process.as_ref().and_then(|process| process.node_of(to));
        let Some(target) = target else { return };
        let Some(incarnation) = self.network.connected(node, target) else {
            self.stats.voided += 1;
            return;
        };
        let payload = Payload::Request { shard: small(shard), operation, request };
        self.post(node, target, incarnation, payload);
    }

    fn answer(&mut self, node: usize, token: PeerToken, reply: ReplicaReply) {
        let Some(process) = &self.nodes[node].process else { return };
        let Some(asker) = asker(&process.askers, token).copied() else { return };
        if asker.stranger {
            return;
        }
        let (number, key) = (small(node), asker.key);
        let serves = matches!(
            reply,
            ReplicaReply::Stored { answer: Ok(_), .. } | ReplicaReply::Found { answer: Ok(_) }
        );
        if serves && self.nodes[node].old_disk {
            self.emit(Fact::OldDiskServed { node: number });
        }
        if let ReplicaReply::Stored { stamp, answer: Ok(merged) } = &reply {
            let durable = self.oracle.view.durable(number, key);
            self.emit(match *merged {
                Merged::Applied => Fact::Acknowledged { node: number, key, stamp: *stamp, durable },
                Merged::Superseded { version } => {
                    Fact::Superseding { node: number, key, named: version, durable }
                }
            });
        }
        let payload = Payload::Reply { shard: asker.shard, operation: asker.operation, reply };
        self.post(node, usize::from(asker.node), asker.incarnation, payload);
    }

    /// Gives a message to the network.
    pub(crate) fn post(&mut self, from: usize, to: usize, incarnation: u32, payload: Payload) {
        self.stats.messages += 1;
        let arrivals = self.network.arrivals(&mut self.random, from, to, self.now);
        let ordinal = self.nodes[from].process.as_ref().and_then(|process| process.ordinal);
        let incarnations = (self.nodes[from].incarnation, incarnation);
        let (from, to) = (small(from), small(to));
        if !matches!(payload, Payload::Cluster(_)) {
            self.on_their_way += arrivals.iter().flatten().count();
        }
        let envelope = Box::new(Envelope { from, to, incarnations, ordinal, payload });
        match arrivals {
            [None, _] => self.stats.lost += 1,
            [Some(at), None] => self.queue.push(at, Happening::Deliver(envelope)),
            [Some(at), Some(again)] => {
                self.stats.doubled += 1;
                self.queue.push(again, Happening::Deliver(envelope.clone()));
                self.queue.push(at, Happening::Deliver(envelope));
            }
        }
    }

    /// A message arrives, if the process that it is meant for still runs.
    pub(crate) fn deliver(&mut self, envelope: Envelope) {
        let Envelope { from, to, incarnations, ordinal, payload } = envelope;
        let (from, to) = (usize::from(from), usize::from(to));
        if self.process(to, incarnations.1).is_none() || self.network.is_cut(from, to, self.now) {
            self.stats.voided += 1;
            return;
        }
        match payload {
            Payload::Cluster(message) => {
                let event = ClusterEvent::Told { from: self.nodes[from].name.clone(), message };
                self.tell_cluster(to, event);
            }
            Payload::Reply { shard, operation, reply } => {
                let Some(from) = ordinal else { return };
                let event = Event::Answered { from, operation, reply };
                self.work.push_back(Work::Shard { node: to, shard: usize::from(shard), event });
            }
            Payload::Request { shard, operation, request } => {
                let Some(ordinal) = ordinal else { return };
                let asker = Asker {
                    node: small(from),
                    incarnation: incarnations.0,
                    shard,
                    operation,
                    key: self.key_number(key_of(&request.command)),
                    fence: request.fence,
                    stranger: false,
                };
                self.ask(to, ordinal, asker, request);
            }
        }
    }

    /// A replica is asked.
    pub(crate) fn ask(
        &mut self,
        node: usize,
        from: Ordinal,
        asker: Asker,
        request: ReplicaRequest,
    ) {
        let (hash, shard) = (self.keys[usize::from(asker.key)].1, self.shard_of(asker.key));
        let Some(process) = &mut self.nodes[node].process else { return };
        if process.shards.is_empty() {
            return;
        }
        let token = PeerToken(process.askers.len() as u64);
        process.askers.push(asker);
        let event = Event::Asked { from, token, hash, request };
        self.work.push_back(Work::Shard { node, shard, event });
    }

    /// A version that a coordinator sends out is new, or it is the one that it gave out before.
    fn note_stamp(&mut self, node: usize, shard: usize, key: u8, record: &Record) {
        let (node, shard) = (small(node), small(shard));
        let (version, content) = (record.version, content_of(record));
        let stamp = Stamp { key, content, node, shard };
        if self.oracle.view.stamps.get(&version) == Some(&stamp) {
            return;
        }
        let ceiling = self.nodes[usize::from(node)].ceiling;
        self.emit(Fact::Stamped { node, shard, key, version, content, ceiling });
    }

    fn note_own_store(&mut self, node: usize, shard: usize, key: u8, record: &Record) {
        let process = self.nodes[node].process.as_ref();
        let own = process.and_then(|process| process.ordinal) == Some(record.version.ordinal);
        if own && !self.oracle.view.stamps.contains_key(&record.version) {
            self.note_stamp(node, shard, key, record);
        }
    }

    fn note_sent(
        &mut self,
        node: usize,
        shard: usize,
        to: Ordinal,
        key: u8,
        record: &Record,
        purpose: Purpose,
    ) {
        if purpose == Purpose::Write {
            return self.note_stamp(node, shard, key, record);
        }
        let (version, content) = (record.version, content_of(record));
        let hint = purpose == Purpose::Hint;
        self.emit(Fact::Spread { node: small(node), to, key, version, content, hint });
    }

    /// Begins a sync where something waits and none is under way.
    pub(crate) fn begin_sync(&mut self, node: usize) {
        if !self.nodes[node].engine.begin_sync() {
            return;
        }
        let disks = self.plan.disks;
        let mut lasting = self.random.between(disks.least_sync, disks.most_sync);
        if self.random.chance(disks.stall) {
            lasting += self.random.magnitude(20_000 * MICROSECOND, 3_000_000 * MICROSECOND);
        }
        let at = (self.now + lasting).max(self.nodes[node].stalled_until);
        let incarnation = self.nodes[node].incarnation;
        self.queue.push(at, Happening::SyncEnds { node, incarnation });
    }

    /// A sync has ended: first the disk's state is known, then the shards hear of it.
    pub(crate) fn sync_ends(&mut self, node: usize, incarnation: u32) {
        if self.process(node, incarnation).is_none() {
            return;
        }
        let mut done = std::mem::take(&mut self.done);
        self.nodes[node].engine.end_sync(&mut done);
        for entry in &done {
            if let Done::Stored { key, .. } = entry {
                self.note_durable(node, self.key_number(key));
            }
        }
        for entry in done.drain(..) {
            self.tell_done(node, entry);
        }
        self.done = done;
        self.begin_sync(node);
    }

    fn tell_done(&mut self, node: usize, done: Done) {
        match done {
            Done::Stored { shard, operation, stamp, answer, .. } => {
                let event = Event::Stored { operation, stamp, answer };
                self.work.push_back(Work::Shard { node, shard, event });
            }
            Done::HintKept { target, key, version } => {
                let key = self.key_number(&key);
                self.emit(Fact::HintKept { node: small(node), target, key, version });
            }
            Done::HintDropped { target, key, version } => {
                let key = self.key_number(&key);
                let durable = self.durable_of(self.node_of(target), key);
                let node = small(node);
                self.emit(Fact::HintDropped { node, target, key, version, durable });
            }
            Done::Ceiling { hlc } => {
                let sim = &mut self.nodes[node];
                sim.ceiling = sim.ceiling.max(hlc);
                for shard in 0..usize::from(self.plan.shards) {
                    let event = Event::CeilingRaised { ceiling: hlc };
                    self.work.push_back(Work::Shard { node, shard, event });
                }
                self.tell_cluster(node, ClusterEvent::CeilingRaised { ceiling: hlc });
            }
        }
    }

    /// Looks at what a disk holds of a key and notes a change.
    pub(crate) fn note_durable(&mut self, node: usize, key: u8) {
        let (version, content) = self.held(node, key);
        let number = small(node);
        let before = self.oracle.view.durable(number, key);
        if version != before {
            self.emit(Fact::Durable { node: number, key, before, version, content });
        }
    }

    /// What a disk holds of a key.
    pub(crate) fn held(&mut self, node: usize, key: u8) -> (Version, Content) {
        let shard = self.shard_of(key);
        let (name, hash) = &self.keys[usize::from(key)];
        match self.nodes[node].engine.get(shard, *hash, name) {
            Ok(Some(record)) => (record.version, content_of(&record)),
            Ok(None) => (NOTHING, Content::Tombstone),
            Err(_) => (NOTHING, Content::Foreign),
        }
    }

    /// The node that any layout of this world knows by this ordinal.
    pub(crate) fn node_of(&self, ordinal: Ordinal) -> Option<usize> {
        let name = self.layouts.iter().rev().find_map(|layout| layout.node_id(ordinal))?;
        crate::node::index_of(name)
    }

    /// A machine is woken at the moment that it named.
    pub(crate) fn wake(&mut self, node: usize, incarnation: u32, machine: usize) {
        let now = self.now;
        let Some(process) = self.process(node, incarnation) else { return };
        // Planned anew since, or late after a pause.
        if process.wakes[machine].is_none_or(|planned| planned > now) {
            return;
        }
        process.wakes[machine] = None;
        if machine + 1 == process.wakes.len() {
            self.tell_cluster(node, ClusterEvent::Tick);
        } else {
            self.work.push_back(Work::Shard { node, shard: machine, event: Event::Tick });
        }
    }

    /// Asks a machine when it wants to be woken.
    pub(crate) fn plan_wake(&mut self, node: usize, machine: usize) {
        let now = self.now;
        let sim = &mut self.nodes[node];
        let Some(process) = &mut sim.process else { return };
        let Some(wanted) = process.wanted_wake(machine) else { return };
        // A machine that is never content must not stop the world.
        let at = sim.clock.when(wanted, now).max(now + 20 * MICROSECOND);
        if process.wakes[machine].is_some_and(|planned| planned <= at) {
            return;
        }
        process.wakes[machine] = Some(at);
        let incarnation = sim.incarnation;
        self.queue.push(at, Happening::Wake { node, incarnation, machine });
    }
}

fn asker(askers: &[Asker], token: PeerToken) -> Option<&Asker> {
    askers.get(usize::try_from(token.0).ok()?)
}

/// The key of a command.
pub(crate) fn key_of(command: &Command) -> &paravon_model::Key {
    match command {
        Command::Store { key, .. } | Command::Read { key } => key,
    }
}

/// The value of a write: its number, again and again; one in sixteen fills several sectors.
pub(crate) fn value_of(operation: OperationNumber) -> Value {
    let times = usize::try_from(operation % 16).unwrap_or(0);
    let times = if times == 0 { 400 } else { times };
    Value::bytes(&operation.to_le_bytes().repeat(times))
}

/// What a record says.
pub(crate) fn content_of(record: &Record) -> Content {
    match &record.body {
        Body::Tombstone => Content::Tombstone,
        Body::Live(value) => content_of_value(value),
    }
}

/// The write that a value comes from.
pub(crate) fn content_of_value(value: &Value) -> Content {
    let Some((first, _)) = value.bytes.split_first_chunk::<4>() else { return Content::Foreign };
    let number = OperationNumber::from_le_bytes(*first);
    if *value == value_of(number) { Content::Of(number) } else { Content::Foreign }
}
