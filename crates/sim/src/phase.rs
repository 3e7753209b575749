//! The course of a world: it forms, clients work while things go wrong, everything is mended, every key
//! is read once at `all`, and then all replicas must agree and serve.

use paravon_model::Hlc;
use paravon_replication::Permit;
use paravon_ring::Partition;

use crate::client::NOBODY;
use crate::clock::BEGINNING_MS;
use crate::fact::{Code, End, Fact, Level, OperationNumber, Verb};
use crate::happening::Happening;
use crate::node::{SimNode, Sums};
use crate::plan::{ClientsBegin, Ending, Healing};
use crate::queue::{MILLISECOND, Nanos, SECOND};
use crate::world::{CHECK, World, small};

/// How long a world may take to form: where many messages are lost each costs a transfer ten seconds.
const MOST_FORMING: Nanos = 240 * SECOND;

/// How long a mended world may take to come to rest.
const MOST_RESTING: Nanos = 120 * SECOND;

/// How long mended replicas may take to agree by comparing: what differs twice is pulled, and the two
/// are further apart than any request lasts.
const MOST_AGREEING: Nanos = 400 * SECOND;

/// How long besides what could not be healed may wait for the next attempt, once an accepted loss elsewhere
/// has made it possible.
const MOST_PAUSING: Nanos = 600 * SECOND;

/// How long it may take besides until no tombstone is left: those of a clock that was minutes ahead, too.
const MOST_DROPPING: Nanos = 1_500 * SECOND;

/// How often the scrubber reads a page where all is summed up.
const SCRUB: Nanos = SECOND;

/// How long an operation that the world itself asked for is tried again.
const MOST_TRYING: Nanos = 20 * SECOND;

/// Where a world stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nodes found and join.
    Forming,
    /// Clients work and things go wrong; so many requests there were before.
    Faulty { since: Nanos, requests: usize },
    /// Everything is mended; the world is to come to rest.
    Resting { since: Nanos, next: Closing },
    /// The world itself asks for something and waits for the answer.
    Asking { since: Nanos, operation: OperationNumber, next: Closing },
    /// Nothing more happens.
    Over,
}

/// What the world does when it has come to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Read this key at `all`.
    Read(u8),
    /// Wait until replicas agree by themselves.
    Agree,
    /// Wait until no tombstone is left.
    Drop,
    /// Compare what replicas hold.
    Compare,
    /// Put at `all` through the member at this place.
    Put(usize),
    /// Get at `all` through the next member: what the one at this place put.
    Get(usize),
}

impl Phase {
    /// Whether clients work.
    pub(crate) fn is_faulty(&self) -> bool {
        matches!(self, Self::Faulty { .. })
    }
}

/// Whether a node serves clients.
pub(crate) fn serves(node: &SimNode) -> bool {
    node.process.as_ref().is_some_and(|process| !process.shards.is_empty())
}

impl World {
    /// The world looks at itself and goes on to its next phase where it is ready.
    pub(crate) fn check(&mut self) {
        self.queue.push(self.now + CHECK, Happening::Check);
        self.note_loads();
        self.scrub();
        self.compare_floors();
        if self.now % SECOND < CHECK {
            self.tell_hints_kept();
        }
        match self.phase.clone() {
            Phase::Forming => self.check_forming(),
            Phase::Faulty { since, requests } => self.check_faulty(since, requests),
            Phase::Resting { since, next } => self.check_resting(since, next),
            Phase::Asking { since, operation, next } => self.check_asked(since, operation, next),
            Phase::Over => {}
        }
    }

    /// How much every node has under way.
    fn note_loads(&mut self) {
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        for node in 0..self.nodes.len() {
            let sim = &self.nodes[node];
            let Some(process) = &sim.process else { continue };
            let operations = process.shards.iter().map(|shard| shard.under_way()).sum();
            let (operations, queued) = (count(operations), count(sim.engine.queued()));
            if operations > 0 || queued > 0 {
                self.emit(Fact::Load { node: small(node), operations, queued });
            }
        }
    }

    fn check_forming(&mut self) {
        let founders = self.plan.founders;
        let is_ready = |node: &SimNode| {
            let layout = node.process.as_ref().and_then(|process| process.layout.as_ref());
            layout.is_some_and(|layout| {
                let document = layout.document();
                document.joint().is_none() && document.current.members.len() == founders
            })
        };
        let formed = self.nodes[..founders].iter().all(is_ready) && self.are_connected();
        let begun = match self.plan.clients_begin {
            ClientsBegin::Formed => formed,
            ClientsBegin::Serving => self.nodes.iter().any(serves),
        };
        if self.requests.is_empty() && begun {
            self.begin_clients();
        }
        if formed {
            self.phase = Phase::Faulty { since: self.now, requests: self.requests.len() };
            self.emit(Fact::Phase { name: "things go wrong" });
            self.network.weather = self.plan.weather;
            self.schedule_faults();
        } else if self.now > MOST_FORMING {
            self.emit(Fact::Restless { why: "the cluster does not form" });
        }
    }

    fn begin_clients(&mut self) {
        self.emit(Fact::Phase { name: "clients begin" });
        for client in 0..self.clients.len() {
            let at = self.now + self.random.below(20 * MILLISECOND);
            self.queue.push(at, Happening::Turn { client });
        }
    }

    fn check_faulty(&mut self, since: Nanos, before: usize) {
        let own = self.requests.iter().skip(before);
        let ended = own.filter(|request| request.over).count();
        let enough = ended >= self.plan.operations as usize;
        if enough || self.now > since + self.plan.most_faulty {
            if self.plan.ending == Ending::Stop {
                self.phase = Phase::Over;
                return;
            }
            let next = match self.plan.healing {
                Healing::Reads => Closing::Read(0),
                Healing::Comparing | Healing::Dropping => Closing::Agree,
            };
            self.phase = Phase::Resting { since: self.now, next };
            self.mend();
        }
    }

    fn check_resting(&mut self, since: Nanos, next: Closing) {
        if self.now < since + 2 * CHECK {
            return;
        }
        self.look_after_the_lost(self.now - since);
        self.look_after_losses();
        let most = match next {
            Closing::Agree if self.plan.accepts_losses() => MOST_AGREEING + MOST_PAUSING,
            Closing::Agree => MOST_AGREEING,
            Closing::Drop => MOST_DROPPING,
            _ => MOST_RESTING,
        };
        let late = self.now > since + most;
        let why = self.unrest().or_else(|| match next {
            Closing::Agree => self.disunity(late),
            Closing::Drop if self.keeps_tombstones() => Some("tombstones are left"),
            _ => None,
        });
        match why {
            None => self.close(next),
            Some(why) if late => self.emit(Fact::Restless { why }),
            Some(_) => {}
        }
    }

    /// Whether every member is connected to every other one as it runs now.
    pub(crate) fn are_connected(&self) -> bool {
        let members = self.members();
        let connected = |from: usize, to: usize| {
            self.network.connected(from, to) == Some(self.nodes[to].incarnation)
        };
        let members = || members.iter().copied();
        members().all(|from| members().all(|to| from == to || connected(from, to)))
    }

    /// What is still to come to rest, if anything.
    fn unrest(&mut self) -> Option<&'static str> {
        let shards = usize::from(self.plan.shards);
        if let Some(why) = self.unrest_of_members() {
            return Some(why);
        }
        if !self.are_connected() {
            return Some("nodes are not connected");
        }
        if self.on_their_way > 0 {
            return Some("messages are on their way");
        }
        for node in self.members() {
            let sim = &mut self.nodes[node];
            if sim.paused_until > self.now {
                return Some("a node is paused");
            }
            let Some(process) = &sim.process else { return Some("a node is down") };
            if process.shards.is_empty() {
                return Some("a node does not serve");
            }
            if !process.dead.is_empty() {
                return Some("a node is believed to be down");
            }
            if matches!(process.permit, Permit::Held { .. }) {
                return Some("a node may not stamp");
            }
            if process.shards.iter().any(|shard| shard.under_way() > 0) {
                return Some("operations are under way");
            }
            if (0..shards).any(|shard| !sim.engine.hinted(shard).is_empty()) {
                return Some("hints are not delivered");
            }
        }
        None
    }

    /// What keeps replicas from agreeing, if anything.
    fn disunity(&mut self, late: bool) -> Option<&'static str> {
        if self.is_damaged() {
            return Some("damage is not healed");
        }
        if let Some(fact) = self.disagreement() {
            if late {
                self.emit(fact);
            }
            return Some("replicas do not agree");
        }
        self.is_dirty().then_some("partitions stay dirty")
    }

    /// Whether a replica of a key holds a tombstone of it, or what has expired.
    fn keeps_tombstones(&self) -> bool {
        let by_now = Hlc::new(BEGINNING_MS + self.now / MILLISECOND, 0);
        let Some(layout) = self.latest().cloned() else { return false };
        let view = &self.oracle.view;
        (0..small(self.keys.len())).any(|key| {
            let sets = layout.sets(self.partition_of(key));
            let mut nodes = sets.all().filter_map(|replica| self.node_of(replica));
            nodes.any(|node| {
                let version = view.durable(small(node), key);
                view.goes(version, by_now)
            })
        })
    }

    /// Whether a member cannot answer for what it stores by the latest layout. Nobody heals what a node
    /// held of other sets, and nobody asks for it: where such a node stores it again, it empties it first.
    fn is_damaged(&self) -> bool {
        let Some(latest) = self.latest() else { return false };
        let stores = |node: u8, partition| {
            let own = latest.document().member_named(&self.nodes[usize::from(node)].name);
            own.is_some_and(|own| latest.sets(partition).contains(own.ordinal))
        };
        let view = &self.oracle.view;
        let (mut rotten, mut lost) = (view.rotten.keys(), view.lost.keys());
        rotten.any(|&(node, key)| stores(node, self.partition_of(key)))
            || lost.any(|&(node, partition)| stores(node, Partition(partition)))
    }

    /// Two replicas that do not sum up to the same.
    fn disagreement(&mut self) -> Option<Fact> {
        let layout = self.latest().cloned()?;
        for key in 0..small(self.keys.len()) {
            let (partition, shard) = (self.partition_of(key), self.shard_of(key));
            let mut first = None;
            for replica in layout.sets(partition).all() {
                let Some(node) = self.node_of(replica) else { continue };
                let digest = self.nodes[node].engine.digest(shard, partition);
                let (other, known) = *first.get_or_insert((node, digest));
                if digest.is_none() || digest != known {
                    let (node, other) = (small(node), small(other));
                    return Some(Fact::Disagreeing { partition: partition.0, node, other });
                }
            }
        }
        None
    }

    /// Whether a member may lack what another one has no hint of. Who does not store a partition compares
    /// it with nobody, and who alone does neither, so those marks stay.
    fn is_dirty(&self) -> bool {
        let Some(latest) = self.latest() else { return false };
        let compares = |node: usize, target, key: u8| {
            let own = latest.document().member_named(&self.nodes[node].name);
            own.is_some_and(|own| {
                let sets = latest.sets(self.partition_of(key));
                let is_alone = sets.all().all(|member| member == own.ordinal);
                sets.contains(own.ordinal) && !(is_alone && own.ordinal == target)
            })
        };
        self.oracle.view.dirty.keys().any(|&(node, target, key)| {
            let node = usize::from(node);
            compares(node, target, key) && self.hint_counts(node, target, key)
        })
    }

    /// Every process reads on in its stores, and fast where they are not summed up.
    fn scrub(&mut self) {
        for node in 0..self.nodes.len() {
            let sim = &mut self.nodes[node];
            let is_paused = sim.paused_until > self.now;
            let Some(process) = sim.process.as_mut().filter(|_| !is_paused) else { continue };
            let Sums::Kept { unsummed } = process.sums else { continue };
            if !unsummed && self.now % SCRUB >= CHECK {
                continue;
            }
            let shards = 0..usize::from(self.plan.shards);
            let scrubbed: Vec<_> = shards.map(|shard| sim.engine.scrub(shard)).collect();
            let unsummed = scrubbed.iter().any(|scrubbed| scrubbed.unsummed > 0);
            process.sums = Sums::Kept { unsummed };
            let mended: u64 = scrubbed.iter().map(|scrubbed| scrubbed.mended).sum();
            self.tell_damaged(node);
            if mended > 0 {
                self.emit(Fact::SumsWrong { node: small(node) });
            }
        }
    }

    fn close(&mut self, closing: Closing) {
        match closing {
            Closing::Agree => {
                let next = match self.plan.healing {
                    Healing::Dropping => Closing::Drop,
                    Healing::Reads | Healing::Comparing => Closing::Compare,
                };
                self.phase = Phase::Resting { since: self.now, next };
            }
            Closing::Drop => {
                self.phase = Phase::Resting { since: self.now, next: Closing::Compare };
            }
            Closing::Read(key) => {
                let members = self.members();
                let node = members[usize::from(key) % members.len()];
                let next = if usize::from(key) + 1 < self.keys.len() {
                    Closing::Read(key + 1)
                } else {
                    Closing::Compare
                };
                self.ask_at_all(node, Verb::Get, key, next);
            }
            Closing::Compare => {
                self.compare();
                self.phase = Phase::Resting { since: self.now, next: Closing::Put(0) };
            }
            Closing::Put(place) => match self.members().get(place) {
                Some(&node) => self.ask_at_all(node, Verb::Put, 0, Closing::Get(place)),
                // A change that was asked for while things went wrong may be decided only now. Those
                // that it has left serve from the beginning, alone.
                None => self.phase = Phase::Resting { since: self.now, next: Closing::Put(0) },
            },
            Closing::Get(place) => match self.members().get(place + 1) {
                Some(&node) => self.ask_at_all(node, Verb::Get, 0, Closing::Put(place + 1)),
                None => {
                    self.stats
                        .count_operations(self.layouts.iter().map(|layout| layout.document()));
                    self.phase = Phase::Over;
                }
            },
        }
    }

    fn ask_at_all(&mut self, node: usize, verb: Verb, key: u8, next: Closing) {
        (self.plan.timeout, self.plan.expiring) = (2 * SECOND, 0);
        let operation = self.ask_for(NOBODY, node, verb, key, Level::All);
        self.phase = Phase::Asking { since: self.now, operation, next };
    }

    fn check_asked(&mut self, since: Nanos, operation: OperationNumber, next: Closing) {
        let request = &self.requests[operation as usize];
        let (node, verb, key) = (request.node, request.verb, request.key);
        let Some(end) = request.end else {
            if self.now > since + MOST_TRYING {
                self.emit(Fact::MendedFailed { operation, code: Code::Other });
            }
            return;
        };
        let (End::Refused { code } | End::Unknown { code }) = end else {
            self.phase = Phase::Resting { since: self.now, next };
            return;
        };
        // A clock that was ahead of the others' is still refused by them for a while.
        if self.now < since + MOST_TRYING {
            let node = self.member_or_another(node);
            let operation = self.ask_for(NOBODY, node, verb, key, Level::All);
            self.phase = Phase::Asking { since, operation, next };
            return;
        }
        let skewed = matches!(code, Code::ClockSkew | Code::QuorumTimeout) && verb.writes();
        if skewed && self.plan.may_stamp_the_future() {
            self.phase = Phase::Resting { since: self.now, next };
            return;
        }
        self.emit(Fact::MendedFailed { operation, code });
    }

    /// This node, or a member in its place where it is none any more: what was asked for while things
    /// went wrong may take out even the one that the world asks.
    fn member_or_another(&self, node: usize) -> usize {
        let members = self.members();
        if members.contains(&node) { node } else { members.first().copied().unwrap_or(node) }
    }

    /// Every replica of every key says what it holds.
    fn compare(&mut self) {
        let Some(layout) = self.latest().cloned() else { return };
        for key in 0..small(self.keys.len()) {
            for replica in layout.sets(self.partition_of(key)).all() {
                let Some(node) = self.node_of(replica) else { continue };
                let (version, content) = self.held(node, key);
                self.emit(Fact::Settled { node: small(node), key, version, content });
            }
        }
    }
}
