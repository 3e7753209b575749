//! Steps a node's shards and carries out what they want done: stores, messages, answers.

use paravon_model::{
    ClusterMessage, Command, Compare, Failure, Merged, Ordinal, Purpose, ReplicaReply,
    ReplicaRequest,
};
use paravon_replication::cluster::ClusterEvent;
use paravon_replication::{Effect, Event, Hint, OperationId, PeerToken, ScanFailure};
use paravon_ring::{KeyHash, Partition};
use paravon_storage::PageLimit;

use crate::engine::{Done, Job, Kept, Owner};
use crate::fact::Fact;
use crate::faults::Matter;
use crate::happening::{Envelope, Happening, Payload};
use crate::node::Asker;
use crate::queue::MICROSECOND;
use crate::world::{Work, World, small};

impl World {
    /// Gives a shard an event and carries out the effects.
    pub(crate) fn step_shard(&mut self, node: usize, shard: usize, event: Event) {
        let now = self.node_now(node);
        let Some(process) = &mut self.nodes[node].process else { return };
        let Some(machine) = process.shards.get_mut(shard) else { return };
        let (mut asked, mut damaged) = (None, None);
        match &event {
            Event::Damaged { key, .. } => damaged = Some(key.clone()),
            Event::Asked { token, .. } => asked = Some(*token),
            Event::Layout { layout, .. } => {
                let used = &mut process.shard_layouts[shard];
                if layout.document().revision() > used.document().revision() {
                    *used = std::sync::Arc::clone(layout);
                }
            }
            _ => {}
        }
        let mut effects = std::mem::take(&mut self.effects);
        machine.step(now, event, &mut effects);
        if let Some(key) = damaged {
            self.emit(Fact::Hurt { node: small(node), key: self.key_number(&key) });
        }
        match asked {
            Some(token) => self.judge_admission(node, shard, token, &effects),
            None => self.judge_own_work(node, shard, &effects),
        }
        for effect in effects.drain(..) {
            self.carry_out(node, shard, effect);
        }
        self.effects = effects;
        self.tell_damaged(node);
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
                if self.random.chance(self.plan.disks.refusal) {
                    let answer = Err(Failure::Overloaded { retry_after_ms: 10 });
                    let event = Event::Stored { operation, stamp: record.version, answer };
                    return self.work.push_back(Work::Shard { node, shard, event });
                }
                let owner = self.owner(node, shard);
                let job = Job::Merge { owner, operation, hash, key, record };
                self.nodes[node].engine.queue(job);
            }
            Effect::Scan { operation, partition, part, after, limit, bytes } => {
                let limit = PageLimit { count: limit, bytes: bytes as u64 };
                let arc = partition.part(self.shift(), part);
                let page = if self.random.chance(self.plan.disks.refusal) {
                    let failure = Failure::Overloaded { retry_after_ms: 10 };
                    Err(ScanFailure { failure, at: None })
                } else {
                    self.nodes[node].engine.scan(shard, arc, after.as_ref(), limit)
                };
                let event = Event::Scanned { operation, page };
                self.work.push_back(Work::Shard { node, shard, event });
            }
            Effect::Forget { operation, hash, key } => {
                if self.random.chance(self.plan.disks.refusal) {
                    let answer = Err(Failure::Overloaded { retry_after_ms: 10 });
                    let event = Event::Forgotten { operation, answer };
                    return self.work.push_back(Work::Shard { node, shard, event });
                }
                let owner = self.owner(node, shard);
                let number = usize::from(self.key_number(&key));
                self.nodes[node].forgetting[number] += 1;
                self.nodes[node].engine.queue(Job::Forget { owner, operation, hash, key });
            }
            Effect::Drop { operation, hash, key, version } => {
                let owner = self.owner(node, shard);
                let number = usize::from(self.key_number(&key));
                self.nodes[node].forgetting[number] += 1;
                let job = Job::Drop { owner, operation, hash, key, version };
                self.nodes[node].engine.queue(job);
            }
            Effect::Totals { operation, partitions, members } => {
                let engine = &mut self.nodes[node].engine;
                let total = |partition: &Partition| Some(engine.digest(shard, *partition)?.total());
                let totals = partitions.iter().map(total).collect();
                let moment = members
                    .iter()
                    .any(|member| engine.is_dirty(shard, *member))
                    .then(|| engine.dirty_moment(shard));
                let event = Event::Totals { operation, totals, moment };
                self.work.push_back(Work::Shard { node, shard, event });
            }
            Effect::Digest { operation, partition } => {
                let digest = self.nodes[node].engine.digest(shard, partition).map(Box::new);
                let event = Event::Digest { operation, digest };
                self.work.push_back(Work::Shard { node, shard, event });
            }
            Effect::Heal { operation, hash, key, record } => {
                let owner = self.owner(node, shard);
                self.nodes[node].engine.queue(Job::Heal { owner, operation, hash, key, record });
            }
            Effect::SetMarks { operation, partition, marks } => {
                self.judge_wanted(node, shard, partition, marks);
                self.note_marking(node, partition, marks);
                let owner = self.owner(node, shard);
                self.nodes[node].engine.queue(Job::SetMarks { owner, operation, partition, marks });
            }
            Effect::Clean { target, partition, moment } => {
                let arc = partition.arc(self.shift());
                self.nodes[node].engine.queue(Job::Clean { shard, target, arc, moment });
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
            Effect::Settled { fence, progress } => self.settled(node, shard, fence, progress),
            Effect::Progress { fence, progress } => self.progressed(node, shard, fence, progress),
        }
    }

    /// Whose jobs a node's shard gives to its store.
    fn owner(&self, node: usize, shard: usize) -> Owner {
        let service = self.nodes[node].process.as_ref().map_or(0, |process| process.service);
        Owner { shard, service }
    }

    pub(crate) fn tell_cluster(&mut self, node: usize, event: ClusterEvent) {
        self.work.push_back(Work::Cluster { node, event });
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
        if matches!(request.command, Command::Pull { .. }) {
            self.note_pull(node);
        }
        let target = self.nodes[node].process.as_ref().and_then(|process| process.node_of(to));
        let Some(target) = target else { return };
        let Some(incarnation) = self.network.connected(node, target) else {
            self.stats.voided += 1;
            return;
        };
        let service = self.owner(node, shard).service;
        let payload = Payload::Request { shard: small(shard), service, operation, request };
        self.post(node, target, incarnation, payload);
    }

    fn answer(&mut self, node: usize, token: PeerToken, reply: ReplicaReply) {
        let Some(process) = &self.nodes[node].process else { return };
        let Some(asker) = asker(&process.askers, token).copied() else { return };
        if asker.stranger {
            return;
        }
        let number = small(node);
        let serves = matches!(
            reply,
            ReplicaReply::Stored { answer: Ok(_), .. }
                | ReplicaReply::Found { answer: Ok(_), .. }
                | ReplicaReply::Pulled { answer: Ok(_) }
                | ReplicaReply::Compared { answer: Ok(_) }
        );
        if serves && self.nodes[node].old_disk {
            self.emit(Fact::OldDiskServed { node: number });
        }
        // A hint counts in no quorum: its sender asks whether it is stored.
        let counts = asker.purpose != Some(Purpose::Hint)
            && matches!(
                reply,
                ReplicaReply::Stored { answer: Ok(_), .. }
                    | ReplicaReply::Found { answer: Ok(_), .. }
            );
        if let Some(key) = asker.key.filter(|key| self.oracle.view.hurt.contains(&(number, *key)))
            && counts
        {
            self.emit(Fact::AnsweredHurt { node: number, key });
        }
        if let ReplicaReply::Stored { stamp, answer: Ok(merged) } = &reply
            && let Some(key) = asker.key
        {
            let durable = self.oracle.view.durable(number, key);
            self.emit(match *merged {
                Merged::Applied => Fact::Acknowledged { node: number, key, stamp: *stamp, durable },
                Merged::Superseded { version } => {
                    Fact::Superseding { node: number, key, named: version, durable }
                }
                Merged::BelowFloor { version } => {
                    let hint = asker.purpose == Some(Purpose::Hint);
                    Fact::BelowFloor { node: number, key, stamp: *stamp, named: version, hint }
                }
            });
        }
        if let (ReplicaReply::Found { answer: Ok(_), .. }, Some(Purpose::Repair), Some(key)) =
            (&reply, asker.purpose, asker.key)
        {
            self.emit(Fact::WriteBackRefused { node: number, key });
        }
        let Asker { shard, service, operation, .. } = asker;
        let payload = Payload::Reply { shard, service, operation, reply };
        self.post(node, usize::from(asker.node), asker.incarnation, payload);
    }

    /// Gives a message to the network.
    pub(crate) fn post(&mut self, from: usize, to: usize, incarnation: u32, payload: Payload) {
        self.stats.messages += 1;
        if is_news(&payload) && self.network.is_deaf(from, to, self.now) {
            return self.stats.lost += 1;
        }
        let mut arrivals = self.network.arrivals(&mut self.random, from, to, self.now);
        if let Some(matter) = matter_of(&payload)
            && let Some(late) = self.network.delayed(from, to, matter, self.now)
        {
            arrivals = [late.map(|late| self.now + late), None];
        }
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
            Payload::Reply { shard, service, operation, reply } => {
                let asked = self.owner(to, 0).service == service;
                let Some(from) = ordinal.filter(|_| asked) else { return };
                let event = Event::Answered { from, operation, reply };
                self.work.push_back(Work::Shard { node: to, shard: usize::from(shard), event });
            }
            Payload::Request { shard, service, operation, request } => {
                let Some(ordinal) = ordinal else { return };
                let asker = Asker {
                    node: small(from),
                    incarnation: incarnations.0,
                    shard,
                    service,
                    operation,
                    key: key_of(&request.command).map(|key| self.key_number(key)),
                    purpose: purpose_of(&request.command),
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
        let (hash, shard) = match (asker.key, &request.command) {
            (_, Command::Pull { partition, .. })
            | (_, Command::Compare(Compare::Digest { partition })) => self.place_of(*partition),
            (_, Command::Compare(Compare::Folds { class, .. } | Compare::Marks { class, .. })) => {
                self.place_of(class.residue)
            }
            (Some(key), _) => (self.keys[usize::from(key)].1, self.shard_of(key)),
            (None, _) => return,
        };
        let Some(process) = &mut self.nodes[node].process else { return };
        if process.shards.is_empty() {
            return;
        }
        let token = PeerToken(process.askers.len() as u64);
        process.askers.push(asker);
        let event = Event::Asked { from, token, hash, request };
        self.work.push_back(Work::Shard { node, shard, event });
    }

    /// Where a request about a partition goes: the beginning of its arc, and its shard.
    fn place_of(&self, partition: u32) -> (KeyHash, usize) {
        let partition = Partition(partition);
        (partition.arc(self.shift()).first, self.shard_of_partition(partition))
    }

    /// Shards hear of keys that were found damaged.
    pub(crate) fn tell_damaged(&mut self, node: usize) {
        let shards = self.nodes[node].process.as_ref().map_or(0, |process| process.shards.len());
        for shard in 0..shards {
            for (hash, key) in self.nodes[node].engine.take_damaged(shard) {
                let event = Event::Damaged { hash, key };
                self.work.push_back(Work::Shard { node, shard, event });
            }
        }
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
        // The disk is seen as the whole sync has left it. What the sync has stored and forgotten again,
        // as after a node has left and come back, is gone for the removal, not for the store.
        for entry in &done {
            if let Done::Forgotten { key, .. } = entry {
                self.note_forgotten(node, self.key_number(key));
            }
        }
        for entry in &done {
            match entry {
                Done::Stored { key, .. } => self.note_durable(node, self.key_number(key)),
                Done::Healed { key, answer: Ok(()), .. } => {
                    self.note_healed(node, self.key_number(key));
                }
                _ => {}
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
            Done::Stored { owner, operation, stamp, answer, .. } => {
                self.tell_owner(node, owner, Event::Stored { operation, stamp, answer });
            }
            Done::Forgotten { owner, operation, answer, .. } => {
                self.tell_owner(node, owner, Event::Forgotten { operation, answer });
            }
            Done::Healed { owner, operation, answer, .. } => {
                self.tell_owner(node, owner, Event::Healed { operation, answer });
            }
            Done::Marked { owner, operation, partition, marks, answer } => {
                self.note_marking_ended(node, partition, marks);
                if answer.is_ok() {
                    self.note_marks(node, partition, marks);
                }
                self.tell_owner(node, owner, Event::MarksSet { operation, answer });
            }
            Done::HintKept { target, key, version, kept } => {
                let (node, key) = (small(node), self.key_number(&key));
                self.emit(match kept {
                    Kept::Hint => Fact::HintKept { node, target, key, version },
                    Kept::Dirty { moment } => {
                        Fact::HintMarked { node, target, key, version, moment }
                    }
                });
            }
            Done::Cleaned { target, arc, moment } => self.note_cleaned(node, target, arc, moment),
            Done::HintDropped { target, key, version } => {
                let key = self.key_number(&key);
                let durable = self.reached(target, key);
                let counts = self.hint_counts(node, target, key);
                let node = small(node);
                self.emit(Fact::HintDropped { node, target, key, version, durable, counts });
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

    /// Tells a shard, unless the node has left since it asked.
    fn tell_owner(&mut self, node: usize, owner: Owner, event: Event) {
        if self.owner(node, owner.shard) == owner {
            self.work.push_back(Work::Shard { node, shard: owner.shard, event });
        }
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

/// Who asked under this token.
pub(crate) fn asker(askers: &[Asker], token: PeerToken) -> Option<&Asker> {
    askers.get(usize::try_from(token.0).ok()?)
}

/// The key of a command, where it is about one.
pub(crate) fn key_of(command: &Command) -> Option<&paravon_model::Key> {
    match command {
        Command::Store { key, .. } | Command::Read { key } => Some(key),
        Command::Pull { .. } | Command::Compare(_) => None,
    }
}

/// Why a command wants something stored, if it does.
fn purpose_of(command: &Command) -> Option<Purpose> {
    match command {
        Command::Store { purpose, .. } => Some(*purpose),
        _ => None,
    }
}

/// What a request is about, where it may come late for itself.
fn matter_of(payload: &Payload) -> Option<Matter> {
    let Payload::Request { request, .. } = payload else { return None };
    match &request.command {
        Command::Store { purpose: Purpose::Write, .. } => Some(Matter::Writes),
        Command::Store { purpose: Purpose::Hint, .. } => Some(Matter::Hints),
        Command::Store { purpose: Purpose::Repair, .. } => Some(Matter::WriteBacks),
        Command::Read { .. } => Some(Matter::Reads),
        Command::Pull { .. } | Command::Compare(_) => None,
    }
}

/// Whether a message tells of documents.
fn is_news(payload: &Payload) -> bool {
    matches!(
        payload,
        Payload::Cluster(ClusterMessage::Document(_) | ClusterMessage::Council(_))
            | Payload::Reply { reply: ReplicaReply::StaleLayout { .. }, .. }
    )
}

#[cfg(test)]
mod tests {
    use paravon_model::{Body, Hlc, Record, Version};

    use super::*;
    use crate::fact::Content;
    use crate::plan::Plan;
    use crate::trace::Printing;
    use crate::view::NOTHING;

    /// Of shards that were given up: their operations are named like those of others.
    const GIVEN_UP: u32 = 9;

    fn merge(world: &mut World, wall_ms: u64) -> Job {
        let version = Version { hlc: Hlc::new(wall_ms, 0), ordinal: Ordinal(1) };
        let (content, ceiling) = (Content::Tombstone, version.hlc);
        world.emit(Fact::Stamped {
            node: 0,
            shard: 0,
            key: 0,
            version,
            content,
            expires_ms: None,
            ceiling,
        });
        let owner = Owner { shard: world.shard_of(0), service: GIVEN_UP };
        let (key, hash) = world.keys[0].clone();
        let record = Record { version, expires_ms: None, body: Body::Tombstone };
        Job::Merge { owner, operation: OperationId::from_u64(0), hash, key, record }
    }

    fn sync(world: &mut World) {
        assert!(world.nodes[0].engine.begin_sync());
        world.sync_ends(0, world.nodes[0].incarnation);
    }

    #[test]
    fn what_one_sync_stores_and_forgets_again_is_gone_for_the_removal() {
        let mut world = World::new(Plan::calm(1, 3, 10), Printing::Off);
        world.start(0);
        let first = merge(&mut world, 1);
        world.nodes[0].engine.queue(first);
        sync(&mut world);
        assert_eq!(world.oracle.view.durable(0, 0).hlc, Hlc::new(1, 0));

        let second = merge(&mut world, 2);
        let Job::Merge { owner, operation, hash, key, .. } = second.clone() else { unreachable!() };
        world.nodes[0].engine.queue(second);
        world.nodes[0].engine.queue(Job::Forget { owner, operation, hash, key });
        sync(&mut world);
        assert_eq!(world.oracle.violation, None);
        assert_eq!(world.oracle.view.durable(0, 0), NOTHING);
        assert_eq!(world.oracle.view.given_up(0, 0).1.hlc, Hlc::new(1, 0));
    }
}
