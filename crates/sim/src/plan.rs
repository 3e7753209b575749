//! What a world is like: everything that is drawn from the seed before it begins. Printed at the head
//! of a trace.

use std::fmt;

use crate::fact::Verb;
use crate::faults::{Fault, TimedFault, draw_faults, draw_rot};
use crate::queue::{MICROSECOND, MILLISECOND, Nanos, SECOND};
use crate::random::Random;
use crate::topology::{Act, TimedAct, draw_acts};

/// Most keys of a world.
pub(crate) const MAX_KEYS: usize = 8;

/// Most nodes of a world.
pub(crate) const MAX_NODES: usize = 8;

/// Of so many drawn worlds about one loses a majority for good.
const DISASTERS: u64 = 50;

/// More than the hints of any world.
pub(crate) const MANY_HINTS: u64 = 64 << 20;

/// What holds a node's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineKind {
    /// The memory engine behind a simulated queue of syncs.
    Memory,
    /// The log and redb on a disk that crashes.
    Disk,
}

/// How the nodes find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Founding {
    /// One founds alone, the others name it as their seed.
    Alone,
    /// All name all, so they agree who founds.
    Together,
}

/// When the clients begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientsBegin {
    /// When every node is a member and knows it.
    Formed,
    /// As soon as any node serves: joins race writes.
    Serving,
}

/// How messages fare while the network is faulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weather {
    /// Messages lost, per million.
    pub(crate) loss: u32,
    /// Messages doubled, per million.
    pub(crate) duplication: u32,
    /// The shortest way.
    pub(crate) least_delay: Nanos,
    /// The longest usual way.
    pub(crate) most_delay: Nanos,
    /// Messages that take far longer, per million.
    pub(crate) straggler: u32,
}

impl Weather {
    /// A network that does nothing wrong.
    pub(crate) const FAIR: Self = Self {
        loss: 0,
        duplication: 0,
        least_delay: 50 * MICROSECOND,
        most_delay: 300 * MICROSECOND,
        straggler: 0,
    };
}

/// A node that is far from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Far {
    pub(crate) node: usize,
    /// What every way to it and from it takes longer.
    pub(crate) longer: Nanos,
}

/// How clients name their requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestIds {
    /// Every client counts its own requests, in sixteen bytes.
    Counted,
    /// Every client counts in one byte, and all say that they are the same client: too short to mean
    /// anything.
    Short,
}

/// How a world ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Everything is mended, comes to rest and agrees.
    Rest,
    /// With the last operation: a node of this world stays out for good.
    Stop,
}

/// How fast disks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskPace {
    /// The shortest sync.
    pub(crate) least_sync: Nanos,
    /// The longest usual sync.
    pub(crate) most_sync: Nanos,
    /// Syncs that stall, per million.
    pub(crate) stall: u32,
    /// Stores refused because the disk has too much to do, per million.
    pub(crate) refusal: u32,
}

/// What makes replicas equal in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Healing {
    /// Every key is read at `all`.
    Reads,
    /// Nobody reads: replicas compare what they hold. Takes minutes.
    Comparing,
    /// Likewise, until no tombstone is left.
    Dropping,
}

/// Something that is asked of a node at a moment of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlannedAsk {
    /// After the clients have begun.
    pub(crate) at: Nanos,
    pub(crate) node: usize,
    pub(crate) verb: Verb,
    pub(crate) key: u8,
    pub(crate) timeout: Nanos,
}

/// Which levels clients use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Levels {
    /// `quorum` alone.
    Quorum,
    /// `quorum` and `all`.
    Strong,
    /// On odd keys also `one` and numbers.
    Mixed,
}

/// A world.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    /// How many of them are members from the beginning: those of the smallest numbers. The others wait
    /// for the operator.
    pub(crate) founders: usize,
    pub(crate) shards: u16,
    pub(crate) replication_factor: u8,
    pub(crate) shift: u8,
    pub(crate) engine: EngineKind,
    pub(crate) founding: Founding,
    pub(crate) clients_begin: ClientsBegin,
    pub(crate) forming: Weather,
    pub(crate) weather: Weather,
    pub(crate) disks: DiskPace,
    pub(crate) skews_ms: Vec<i64>,
    pub(crate) drifts_ppm: Vec<i64>,
    pub(crate) clients: usize,
    pub(crate) keys: usize,
    pub(crate) levels: Levels,
    /// Parts of a hundred that are gets.
    pub(crate) gets: u64,
    /// Parts of a hundred of the writes that are deletes.
    pub(crate) deletes: u64,
    /// Parts of a hundred of unknown ends that a client tries again under its request id.
    pub(crate) retries: u64,
    pub(crate) operations: u32,
    pub(crate) timeout: Nanos,
    pub(crate) think: Nanos,
    pub(crate) far: Option<Far>,
    pub(crate) request_ids: RequestIds,
    pub(crate) ending: Ending,
    pub(crate) healing: Healing,
    /// How long clients work at most, whatever goes wrong.
    pub(crate) most_faulty: Nanos,
    /// What a store's hints may take.
    pub(crate) hint_bytes: u64,
    pub(crate) faults: Vec<TimedFault>,
    /// What is asked besides what clients think of themselves. Scenarios only.
    pub(crate) asks: Vec<PlannedAsk>,
    /// Parts of a hundred of the puts that expire.
    pub(crate) expiring: u64,
    /// Within which time they do.
    pub(crate) most_ttl: Nanos,
    /// `membership.join_timeout` of every node.
    pub(crate) join_timeout: Nanos,
    pub(crate) acts: Vec<TimedAct>,
}

impl Plan {
    /// The world of this seed.
    pub(crate) fn draw(seed: u64, operations: u32) -> Self {
        let mut random = Random::new(seed);
        let random = &mut random;
        let nodes = *random.pick(&[1, 2, 3, 3, 3, 3, 3, 4, 4, 5, 5, 5, 6, 7]);
        let engine = if random.below(8) == 0 { EngineKind::Disk } else { EngineKind::Memory };
        let nodes = if engine == EngineKind::Disk { nodes.min(4) } else { nodes };
        let clients = *random.pick(&[2, 3, 4, 6, 8]);
        let duration = random.magnitude(2 * SECOND, 15 * SECOND);
        let mut plan = Self {
            seed,
            nodes,
            founders: nodes,
            shards: *random.pick(&[1, 1, 2]),
            replication_factor: *random.pick(&[3, 3, 3, 3, 3, 2, 5, 1]),
            shift: *random.pick(&[1, 3, 4]),
            engine,
            founding: *random.pick(&[Founding::Alone, Founding::Together]),
            clients_begin: draw_beginning(random),
            forming: if random.below(3) == 0 {
                draw_weather(random, 100_000)
            } else {
                Weather::FAIR
            },
            weather: draw_weather(random, 300_000),
            disks: draw_disks(random),
            skews_ms: draw_skews(random, nodes),
            drifts_ppm: (0..nodes).map(|_| signed(random, 200)).collect(),
            clients,
            keys: *random.pick(&[1, 1, 2, 2, 4, 8]),
            levels: *random.pick(&[Levels::Quorum, Levels::Quorum, Levels::Strong, Levels::Mixed]),
            gets: random.between(20, 70),
            deletes: *random.pick(&[0, 10, 30]),
            retries: *random.pick(&[0, 50]),
            operations,
            timeout: random.magnitude(100 * MILLISECOND, 3 * SECOND),
            think: duration * clients as u64 / u64::from(operations.max(1)),
            far: draw_far(random, nodes),
            request_ids: *random.pick(&[
                RequestIds::Counted,
                RequestIds::Counted,
                RequestIds::Short,
            ]),
            ending: Ending::Rest,
            healing: Healing::Reads,
            most_faulty: 60 * SECOND,
            hint_bytes: MANY_HINTS,
            faults: Vec::new(),
            asks: Vec::new(),
            expiring: 0,
            most_ttl: 60 * SECOND,
            join_timeout: 5 * SECOND,
            acts: Vec::new(),
        };
        plan.faults = draw_faults(random, nodes, duration);
        if random.below(2) == 0 {
            plan.draw_changes(random);
        }
        plan.draw_disaster(duration);
        if random.below(6) == 0 {
            plan.draw_healing(random, duration);
        }
        plan
    }

    /// Now and then has a majority lost for good. It is drawn apart, so that all other worlds are as
    /// they would be without it.
    fn draw_disaster(&mut self, duration: Nanos) {
        let mut random = Random::new(self.seed ^ 0xd15a_57e2_0001);
        if random.below(DISASTERS) > 0 {
            return;
        }
        let at = random.below(duration);
        let left = u8::try_from(random.between(1, MAX_NODES as u64)).unwrap_or(1);
        self.acts.push(TimedAct { at, act: Act::LoseMajority { left, number: random.next() } });
    }

    /// Has replicas find out by themselves in what they differ.
    fn draw_healing(&mut self, random: &mut Random, duration: Nanos) {
        self.healing = *random.pick(&[Healing::Comparing, Healing::Comparing, Healing::Dropping]);
        self.hint_bytes = *random.pick(&[MANY_HINTS, 0, 600]);
        // No other copy may be lost while one is rotten.
        let keeps = |timed: &TimedAct| matches!(timed.act, Act::Join(_) | Act::Cancel);
        if random.below(2) == 0 && self.replication_factor > 1 && self.acts.iter().all(keeps) {
            self.faults.extend(draw_rot(random, self.nodes, self.keys, duration));
        }
        if self.healing == Healing::Dropping && random.below(2) == 0 {
            self.draw_out(random.between(100, 300) * SECOND);
        }
    }

    /// Has clients work for so long, and things go wrong all the while.
    pub(crate) fn draw_out(&mut self, lasting: Nanos) {
        let before = self.think * u64::from(self.operations.max(1)) / self.clients.max(1) as u64;
        let times = lasting / before.max(SECOND) + 1;
        self.think = lasting * self.clients as u64 / u64::from(self.operations.max(1));
        self.most_faulty = lasting * 2;
        for timed in &mut self.faults {
            timed.at *= times;
        }
        for timed in &mut self.acts {
            timed.at *= times;
        }
    }

    /// Has the members change: more nodes, more time, and an operator.
    fn draw_changes(&mut self, random: &mut Random) {
        let most = if self.engine == EngineKind::Disk { 4 } else { 7 };
        let nodes = (*random.pick(&[2, 3, 4, 4, 5, 5, 6, 7])).min(most);
        let duration = random.magnitude(5 * SECOND, 20 * SECOND);
        self.nodes = nodes;
        self.founders = match random.below(4) {
            0 => 1,
            1 => nodes,
            _ => usize::try_from(random.between(1, nodes as u64)).unwrap_or(1),
        };
        self.think = duration * self.clients as u64 / u64::from(self.operations.max(1));
        self.skews_ms = draw_skews(random, nodes);
        self.drifts_ppm = (0..nodes).map(|_| signed(random, 200)).collect();
        self.far = draw_far(random, nodes);
        self.join_timeout = *random.pick(&[2, 5, 15]) * SECOND;
        self.faults = draw_faults(random, nodes, duration);
        self.acts = draw_acts(random, duration);
    }

    /// Whether the network doubles copies of writes: those of clients that do not wait until the world
    /// has formed are sent in the weather in which it forms.
    pub(crate) fn doubles_writes(&self) -> bool {
        let is_early = self.clients_begin == ClientsBegin::Serving;
        self.weather.duplication > 0 || (is_early && self.forming.duplication > 0)
    }

    /// The same without faults, for a scenario to add its own.
    pub(crate) fn calm(seed: u64, nodes: usize, operations: u32) -> Self {
        let mut plan = Self::draw(seed, operations);
        plan.form(nodes, nodes);
        plan.replication_factor = 3;
        plan.engine = EngineKind::Memory;
        plan.clients_begin = ClientsBegin::Formed;
        plan.forming = Weather::FAIR;
        plan.weather = Weather::FAIR;
        plan.disks.stall = 0;
        plan.disks.refusal = 0;
        plan.levels = Levels::Quorum;
        plan.far = None;
        plan.timeout = plan.timeout.max(500 * MILLISECOND);
        plan.faults.clear();
        plan.expiring = 0;
        plan.join_timeout = 5 * SECOND;
        plan.acts.clear();
        plan.healing = Healing::Reads;
        plan.most_faulty = 60 * SECOND;
        plan.hint_bytes = MANY_HINTS;
        plan
    }

    /// So many nodes with right clocks, of which so many are members from the beginning.
    pub(crate) fn form(&mut self, nodes: usize, founders: usize) {
        self.nodes = nodes;
        self.founders = founders;
        self.skews_ms = vec![0; nodes];
        self.drifts_ppm = vec![0; nodes];
    }
}

fn draw_far(random: &mut Random, nodes: usize) -> Option<Far> {
    let node = random.index(nodes);
    let longer = random.magnitude(5 * MILLISECOND, 100 * MILLISECOND);
    (random.below(5) == 0).then_some(Far { node, longer })
}

fn draw_beginning(random: &mut Random) -> ClientsBegin {
    match random.below(16) {
        0..=2 => ClientsBegin::Serving,
        _ => ClientsBegin::Formed,
    }
}

fn draw_weather(random: &mut Random, most_loss: u64) -> Weather {
    let part = |random: &mut Random, most: u64| {
        let drawn = if random.below(3) == 0 { 0 } else { random.magnitude(1_000, most) };
        u32::try_from(drawn).unwrap_or(0)
    };
    let least_delay = random.magnitude(20 * MICROSECOND, MILLISECOND);
    Weather {
        loss: part(random, most_loss),
        duplication: part(random, most_loss * 5 / 3),
        least_delay,
        most_delay: least_delay + random.magnitude(50 * MICROSECOND, 20 * MILLISECOND),
        straggler: part(random, 30_000),
    }
}

fn draw_disks(random: &mut Random) -> DiskPace {
    let least_sync = random.magnitude(50 * MICROSECOND, 2 * MILLISECOND);
    DiskPace {
        least_sync,
        most_sync: least_sync + random.magnitude(50 * MICROSECOND, 20 * MILLISECOND),
        stall: *random.pick(&[0, 0, 1_000, 5_000]),
        refusal: *random.pick(&[0, 0, 0, 5_000, 50_000]),
    }
}

fn draw_skews(random: &mut Random, nodes: usize) -> Vec<i64> {
    let mut skews: Vec<i64> = match random.below(4) {
        0 => vec![0; nodes],
        1 => (0..nodes).map(|_| signed(random, 100)).collect(),
        2 => (0..nodes).map(|_| signed(random, 240)).collect(),
        _ => (0..nodes).map(|_| signed(random, 1000)).collect(),
    };
    if random.below(4) == 0 {
        let odd = random.index(nodes);
        skews[odd] = *random.pick(&[-10_000, -1_000, 1_000, 10_000]);
    }
    skews
}

/// A number of `-most..=most`.
fn signed(random: &mut Random, most: i64) -> i64 {
    let drawn = random.below(2 * most.unsigned_abs() + 1);
    i64::try_from(drawn).unwrap_or(0) - most
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} nodes of {} shards, {} of them members, {} copies, 2^{} partitions, {:?} \
             engine, {:?}, clients {:?}",
            self.seed,
            self.nodes,
            self.shards,
            self.founders,
            self.replication_factor,
            self.shift,
            self.engine,
            self.founding,
            self.clients_begin
        )?;
        writeln!(
            f,
            "{} clients, {} keys, {:?}, {} % gets, {} % deletes, {} % expire within {} s, {} % retried, \
             {} operations, timeout {} ms, think {} us",
            self.clients,
            self.keys,
            self.levels,
            self.gets,
            self.deletes,
            self.expiring,
            self.most_ttl / SECOND,
            self.retries,
            self.operations,
            self.timeout / MILLISECOND,
            self.think / MICROSECOND
        )?;
        writeln!(f, "forming {:?}\nfaulty {:?}\n{:?}", self.forming, self.weather, self.disks)?;
        writeln!(f, "skews {:?} ms, drifts {:?} ppm", self.skews_ms, self.drifts_ppm)?;
        writeln!(
            f,
            "{:?}, request ids {:?}, ending {:?}, healing {:?}, {} bytes of hints",
            self.far, self.request_ids, self.ending, self.healing, self.hint_bytes
        )?;
        for TimedFault { at, fault } in &self.faults {
            writeln!(f, "  {:>9} us after the clients begin: {fault:?}", at / MICROSECOND)?;
        }
        for PlannedAsk { at, node, verb, key, timeout } in &self.asks {
            let (at, timeout) = (at / MICROSECOND, timeout / MILLISECOND);
            writeln!(
                f,
                "  {at:>9} us after the clients begin: {verb:?} of key {key} on {node}, {timeout} ms"
            )?;
        }
        writeln!(f, "join timeout {} ms", self.join_timeout / MILLISECOND)?;
        for TimedAct { at, act } in &self.acts {
            writeln!(f, "  {:>9} us after the clients begin: {act:?}", at / MICROSECOND)?;
        }
        Ok(())
    }
}

impl Plan {
    /// Whether so many clocks are wrong that a majority may agree on a future: what was stamped there
    /// is kept, and nothing is stamped above it before that future has come.
    pub(crate) fn may_stamp_the_future(&self) -> bool {
        const WRONG_MS: u64 = 250;
        let jumps = |node: usize, fault: &TimedFault| {
            matches!(fault.fault, Fault::Jump { node: jumping, by_ms, .. }
                if jumping == node && by_ms.unsigned_abs() > WRONG_MS)
        };
        let wrong = |node: &usize| {
            self.skews_ms[*node].unsigned_abs() > WRONG_MS
                || self.faults.iter().any(|fault| jumps(*node, fault))
        };
        let wrong = (0..self.nodes).filter(wrong).count();
        // Few members may be all who judge a clock, or the one that judges itself.
        let changes = |timed: &TimedAct| !matches!(timed.act, Act::AcceptLoss { .. });
        let may_be_few =
            self.acts.iter().any(changes) || self.clients_begin == ClientsBegin::Serving;
        let enough = if may_be_few { 1 } else { self.nodes.min(2) };
        wrong >= enough
    }
}

impl Plan {
    /// Whether its operator takes what is left where waiting does not help.
    pub(crate) fn accepts_losses(&self) -> bool {
        self.acts.iter().any(|timed| matches!(timed.act, Act::AcceptLoss { .. }))
    }

    /// The faults, taken out for scheduling.
    pub(crate) fn scheduled(&self) -> impl Iterator<Item = (Nanos, Fault)> {
        self.faults.iter().map(|timed| (timed.at, timed.fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_doubled_by_any_weather_that_they_are_sent_in() {
        let mut plan = Plan::calm(1, 3, 10);
        assert!(!plan.doubles_writes());
        plan.forming.duplication = 1;
        assert!(!plan.doubles_writes(), "clients wait for fair weather");
        plan.clients_begin = ClientsBegin::Serving;
        assert!(plan.doubles_writes());
        plan.forming.duplication = 0;
        plan.weather.duplication = 1;
        assert!(plan.doubles_writes());
    }
}
