//! Worlds on the time scale of marks: what a replica missed, what is late and what is kept for it meets
//! replicas that close, fill and drop meanwhile. A partition closes a minute after a delete at the soonest,
//! so each world tells a few stories of two or three minutes, and hardly anything else happens.

use crate::fact::Verb;
use crate::faults::{Fault, Matter, TimedFault, draw_rot};
use crate::plan::{EngineKind, Healing, MANY_HINTS, Plan, PlannedAsk};
use crate::queue::{MILLISECOND, Nanos, SECOND};
use crate::random::Random;
use crate::topology::{Act, TimedAct, Who};

/// From the beginning of one story to that of the next one, which may overlap it.
const APART: Nanos = 90 * SECOND;

/// How long a story may take: what is latest has come, and what it was about is dropped.
const LONGEST: Nanos = 200 * SECOND;

/// What a world is about.
struct Tale {
    random: Random,
    nodes: usize,
    keys: usize,
    faults: Vec<TimedFault>,
    asks: Vec<PlannedAsk>,
    acts: Vec<TimedAct>,
}

/// A story, from a moment on.
type Story = fn(&mut Tale, Nanos);

/// A world of one of these stories, or of two.
fn telling(plan: &mut Plan, members: (usize, usize), stories: &[Story]) {
    let number = 1 + plan.seed % 2;
    tell(plan, members, stories, number);
}

/// A world of so many stories, each one of these.
fn tell(plan: &mut Plan, (nodes, founders): (usize, usize), stories: &[Story], number: u64) {
    plan.form(nodes, founders);
    plan.healing = Healing::Dropping;
    plan.keys = if plan.seed.is_multiple_of(3) { 2 } else { 4 };
    plan.shift = 1;
    plan.clients = 1;
    plan.retries = 0;
    plan.engine = if plan.seed.is_multiple_of(16) { EngineKind::Disk } else { EngineKind::Memory };
    let mut tale = Tale {
        random: Random::new(plan.seed ^ 0x7a1e_0f3a),
        nodes,
        keys: plan.keys,
        faults: Vec::new(),
        asks: Vec::new(),
        acts: Vec::new(),
    };
    plan.hint_bytes = *tale.random.pick(&[0, 0, MANY_HINTS]);
    // A client that reads repairs what the stories are about.
    plan.gets = *tale.random.pick(&[0, 0, 50]);
    plan.deletes = 30;
    plan.expiring = *tale.random.pick(&[0, 0, 30]);
    plan.think = tale.random.magnitude(5 * SECOND, 60 * SECOND);
    plan.weather.most_delay = 5 * MILLISECOND;
    for story in 0..number {
        let begun = SECOND + story * APART + tale.random.below(5 * SECOND);
        let told = *tale.random.pick(stories);
        told(&mut tale, begun);
    }
    plan.most_faulty = (number - 1) * APART + LONGEST;
    plan.operations = u32::MAX;
    (plan.faults, plan.asks, plan.acts) = (tale.faults, tale.asks, tale.acts);
    plan.acts.sort_by_key(|timed| timed.at);
}

impl Tale {
    fn node(&mut self) -> usize {
        self.random.index(self.nodes)
    }

    fn key(&mut self) -> u8 {
        u8::try_from(self.random.index(self.keys)).unwrap_or(0)
    }

    fn seconds(&mut self, least: u64, most: u64) -> Nanos {
        self.random.between(least * SECOND, most * SECOND)
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.random.below(times) == 0
    }

    fn fault(&mut self, at: Nanos, fault: Fault) {
        self.faults.push(TimedFault { at, fault });
    }

    fn ask(&mut self, at: Nanos, node: usize, verb: Verb, key: u8, timeout: Nanos) {
        self.asks.push(PlannedAsk { at, node, verb, key, timeout });
    }

    fn others(&self, of: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.nodes).filter(move |node| *node != of)
    }

    /// Every partition gets something to drop, and every key a value below it.
    fn bury(&mut self, at: Nanos) {
        for key in 0..u8::try_from(self.keys).unwrap_or(0) {
            let (writer, deleter) = (self.node(), self.node());
            self.ask(at, writer, Verb::Put, key, SECOND);
            if self.one_in(2) {
                self.ask(at + 100 * MILLISECOND, deleter, Verb::Delete, key, SECOND);
            }
        }
    }

    /// Partitions close as soon as they may above what is written at a moment: other keys are deleted right
    /// behind it, through another node.
    fn close_above(&mut self, at: Nanos, writer: usize, key: u8) {
        let deleter = self.others(writer).next().unwrap_or(writer);
        let keys = (0..u8::try_from(self.keys).unwrap_or(0)).filter(|other| *other != key);
        for other in keys.collect::<Vec<_>>() {
            self.ask(at + 200 * MILLISECOND, deleter, Verb::Delete, other, SECOND);
        }
    }

    /// What a node sends to the others of this matter for a while comes late, or never, or in time.
    fn hold(&mut self, at: Nanos, from: usize, matter: Matter, sending: Nanos) {
        for to in self.others(from) {
            let late = match self.random.below(5) {
                0 => continue,
                1 | 2 => None,
                3 => Some(self.seconds(30, 60)),
                _ => Some(self.seconds(61, 130)),
            };
            self.fault(at, Fault::Delay { from, to, matter, sending, late });
        }
    }

    /// A node hears nobody for about as long as a partition takes to close.
    fn absence(&mut self, at: Nanos, node: usize) -> Nanos {
        let lasting = self.seconds(45, 90);
        let fault = match self.random.below(3) {
            0 => Fault::Crash { node, down: lasting },
            1 => Fault::Pause { node, lasting },
            _ => Fault::Split { side: 1 << node, lasting },
        };
        self.fault(at, fault);
        at + lasting
    }

    /// A process dies for a moment, between any two marks.
    fn restarts(&mut self, from: Nanos) {
        for _ in 0..self.random.below(4) {
            let (node, at) = (self.node(), from + self.random.below(LONGEST));
            let down = self.random.magnitude(5 * MILLISECOND, 5 * SECOND);
            self.fault(at, Fault::Crash { node, down });
        }
    }

    /// A clock is wrong for a while: its node closes nothing meanwhile, and stores.
    fn wrong_clock(&mut self, at: Nanos) {
        let (node, lasting) = (self.node(), self.seconds(20, 120));
        let by_ms = *self.random.pick(&[-5_000, 5_000, -1_000, 90_000]);
        self.fault(at, Fault::Jump { node, by_ms, back_after: Some(lasting) });
    }
}

/// Copies of a write come when the replicas that they are for are closed, or some of them are.
fn late_write(tale: &mut Tale, at: Nanos) {
    tale.bury(at);
    let (key, writer) = (tale.key(), tale.node());
    let verb = if tale.one_in(3) { Verb::Delete } else { Verb::Put };
    let asked = at + tale.seconds(1, 20);
    tale.hold(asked - SECOND / 2, writer, Matter::Writes, SECOND);
    tale.ask(asked, writer, verb, key, 2 * SECOND);
    tale.close_above(asked, writer, key);
    if tale.one_in(2) {
        let from = at + tale.seconds(20, 60);
        tale.wrong_clock(from);
    }
    if tale.one_in(2) {
        let (deleter, at) = (tale.node(), asked + tale.seconds(3, 20));
        tale.ask(at, deleter, Verb::Delete, key, SECOND);
    }
    if tale.one_in(3) {
        let from = asked + tale.seconds(3, 50);
        tale.absence(from, writer);
    }
    tale.restarts(at);
}

/// A delete reaches few, who are away until they may close above it.
fn lonely_delete(tale: &mut Tale, at: Nanos) {
    let (key, writer) = (tale.key(), tale.node());
    tale.ask(at, writer, Verb::Put, key, SECOND);
    let asked = at + 2 * SECOND;
    for to in tale.others(writer) {
        let (matter, sending) = (Matter::Writes, 3 * SECOND);
        tale.fault(at + SECOND, Fault::Delay { from: writer, to, matter, sending, late: None });
    }
    tale.ask(asked, writer, Verb::Delete, key, 2 * SECOND);
    let lasting = tale.seconds(50, 75);
    let away = asked + 3 * SECOND;
    tale.fault(away, Fault::Split { side: 1 << writer, lasting });
    if tale.one_in(2) {
        // What a read writes back comes when the others hold all there is.
        let (back, matter, sending) = (away + lasting, Matter::WriteBacks, 10 * SECOND);
        for to in tale.others(writer) {
            let late = Some(tale.seconds(20, 58));
            tale.fault(back - SECOND, Fault::Delay { from: writer, to, matter, sending, late });
        }
        let asked = back + tale.random.magnitude(50 * MILLISECOND, 8 * SECOND);
        tale.ask(asked, writer, Verb::Get, key, 60 * SECOND);
    }
    tale.restarts(at + 60 * SECOND);
}

/// A member that is away misses a delete, and sometimes what was written over it.
fn missed_delete(tale: &mut Tale, at: Nanos) {
    let (key, away) = (tale.key(), tale.node());
    let present = (away + 1) % tale.nodes;
    tale.ask(at, present, Verb::Put, key, SECOND);
    let back = tale.absence(at + 2 * SECOND, away);
    let deleted = at + tale.seconds(5, 20);
    tale.ask(deleted, present, Verb::Delete, key, SECOND);
    for _ in 0..tale.random.below(4) {
        let at = deleted + tale.seconds(1, 70);
        tale.ask(at, present, Verb::Put, key, SECOND);
    }
    if tale.one_in(2) {
        tale.restarts(back);
    }
}

/// What the member that was away tells a read is old before the others answer: the delete has been dropped
/// by then.
fn slow_read(tale: &mut Tale, at: Nanos) {
    let (key, away) = (tale.key(), tale.node());
    let present = (away + 1) % tale.nodes;
    tale.ask(at, present, Verb::Put, key, SECOND);
    let lasting = tale.seconds(62, 75);
    tale.fault(at + 2 * SECOND, Fault::Split { side: 1 << away, lasting });
    tale.ask(at + 5 * SECOND, present, Verb::Delete, key, SECOND);
    let back = at + 2 * SECOND + lasting;
    for to in tale.others(away) {
        let (matter, sending, late) = (Matter::Reads, 5 * SECOND, Some(tale.seconds(44, 57)));
        tale.fault(back - SECOND, Fault::Delay { from: away, to, matter, sending, late });
    }
    let asked = back + tale.random.between(500 * MILLISECOND, 3 * SECOND);
    tale.ask(asked, away, Verb::Get, key, 60 * SECOND);
}

/// A member leaves a set when it is full, because another node joins, and is new to it again when that one
/// leaves; one that was to be full with it is away meanwhile.
fn leaver_comes_back(tale: &mut Tale, at: Nanos) {
    tale.bury(at);
    let (away, joiner) = (tale.random.index(3), Who::Node(3));
    let gone = at + tale.random.between(64 * SECOND, 80 * SECOND);
    let lasting = tale.seconds(35, 60);
    tale.fault(gone, Fault::Split { side: 1 << away, lasting });
    let joined = gone + tale.random.below(3 * SECOND);
    let left = joined + tale.seconds(5, 20);
    tale.acts.push(TimedAct { at: joined, act: Act::Join(joiner) });
    tale.acts.push(TimedAct { at: left, act: Act::Drain(joiner) });
}

/// A hint outlives its target: what takes it instead has joined after the delete was dropped.
fn inherited_hint(tale: &mut Tale, at: Nanos) {
    let (key, writer, newcomer) = (tale.key(), tale.random.index(3), 3);
    let target = (writer + 1) % 3;
    tale.fault(at, Fault::Crash { node: target, down: 4 * SECOND });
    let (matter, late, sending) = (Matter::Hints, None, tale.seconds(125, 140));
    for to in tale.others(writer) {
        tale.fault(at, Fault::Delay { from: writer, to, matter, sending, late });
    }
    tale.ask(at + SECOND, writer, Verb::Put, key, SECOND);
    let deleted = at + tale.seconds(7, 12);
    tale.ask(deleted, (writer + 2) % 3, Verb::Delete, key, SECOND);
    let joined = at + tale.seconds(90, 105);
    let joins = Act::Join(Who::Node(newcomer));
    tale.acts.push(TimedAct { at: joined, act: joins });
    let (left, drains) = (joined + tale.seconds(6, 12), Act::Drain(Who::Node(target)));
    tale.acts.push(TimedAct { at: left, act: drains });
}

/// A hint for a member is kept until what it says has long been deleted, and the delete dropped.
fn late_hint(tale: &mut Tale, at: Nanos) {
    let (key, writer, target) = (tale.key(), tale.node(), tale.node());
    let lasting = tale.seconds(3, 8);
    tale.fault(at, Fault::Crash { node: target, down: lasting });
    let (matter, late) = (Matter::Hints, None);
    let sending = tale.seconds(90, 180);
    tale.fault(at, Fault::Delay { from: writer, to: target, matter, sending, late });
    tale.ask(at + SECOND, writer, Verb::Put, key, SECOND);
    let deleter = tale.others(target).find(|node| *node != writer).unwrap_or(writer);
    let deleted = at + lasting + tale.seconds(2, 20);
    tale.ask(deleted, deleter, Verb::Delete, key, SECOND);
    if tale.one_in(2) {
        let from = at + tale.seconds(5, 20);
        tale.absence(from, writer);
    }
    tale.restarts(at + 10 * SECOND);
}

/// A store is admitted before its replica closes, and durable long after.
fn stalled_store(tale: &mut Tale, at: Nanos) {
    tale.bury(at);
    let (key, slow) = (tale.key(), tale.node());
    let writer = if tale.one_in(2) { slow } else { tale.node() };
    let asked = at + tale.seconds(2, 8);
    let lasting = tale.seconds(50, 95);
    tale.fault(asked - SECOND, Fault::Stall { node: slow, lasting });
    for to in tale.others(writer) {
        if to != slow {
            let (matter, sending) = (Matter::Writes, SECOND);
            tale.fault(asked, Fault::Delay { from: writer, to, matter, sending, late: None });
        }
    }
    tale.ask(asked + SECOND / 2, writer, Verb::Put, key, 2 * SECOND);
    tale.close_above(asked + SECOND / 2, slow, key);
    if tale.one_in(2) {
        tale.restarts(at + 60 * SECOND);
    }
}

const ALL: [Story; 6] =
    [late_write, lonely_delete, missed_delete, slow_read, late_hint, stalled_store];

pub(super) fn late_writes(plan: &mut Plan) {
    telling(plan, (3, 3), &[late_write]);
}

pub(super) fn lonely_deletes(plan: &mut Plan) {
    telling(plan, (3, 3), &[lonely_delete]);
}

pub(super) fn missed_deletes(plan: &mut Plan) {
    telling(plan, (3, 3), &[missed_delete]);
    plan.hint_bytes = 0;
    (plan.gets, plan.expiring) = (0, 0);
}

pub(super) fn slow_reads(plan: &mut Plan) {
    telling(plan, (3, 3), &[slow_read]);
    plan.hint_bytes = 0;
    (plan.gets, plan.deletes, plan.expiring) = (0, 0, 0);
}

pub(super) fn leavers_come_back(plan: &mut Plan) {
    telling(plan, (4, 3), &[leaver_comes_back]);
    (plan.think, plan.expiring) = (1_000 * SECOND, 0);
}

pub(super) fn inherited_hints(plan: &mut Plan) {
    tell(plan, (4, 3), &[inherited_hint], 1);
    plan.hint_bytes = MANY_HINTS;
    // What a client writes takes the place of the hint.
    plan.think = 1_000 * SECOND;
}

pub(super) fn late_hints(plan: &mut Plan) {
    let nodes = if plan.seed.is_multiple_of(3) { 5 } else { 3 };
    telling(plan, (nodes, nodes), &[late_hint]);
    plan.hint_bytes = MANY_HINTS;
}

pub(super) fn stalled_stores(plan: &mut Plan) {
    telling(plan, (3, 3), &[stalled_store]);
}

/// Members come and go between any two marks, some with what they held before.
pub(super) fn and_changes(plan: &mut Plan) {
    let founders = if plan.seed.is_multiple_of(2) { 3 } else { 2 };
    telling(plan, (4, founders), &ALL);
    let mut random = Random::new(plan.seed ^ 0x0c4a_0f3a);
    for _ in 0..random.between(1, 4) {
        let at = random.below(plan.most_faulty);
        let leaver = random.index(4);
        if random.below(2) == 0 {
            let back = at + random.magnitude(5 * SECOND, 60 * SECOND);
            plan.acts.push(TimedAct { at, act: Act::Drain(Who::Node(leaver)) });
            plan.acts.push(TimedAct { at: back, act: Act::Join(Who::Node(leaver)) });
            continue;
        }
        let who = Who::Any(random.next());
        let act = match random.below(6) {
            0..=2 => Act::Join(who),
            3 => Act::Drain(who),
            4 => Act::ReplaceDisk(who),
            _ => Act::Cancel,
        };
        plan.acts.push(TimedAct { at, act });
    }
    plan.acts.sort_by_key(|timed| timed.at);
}

/// What disks hold rots on and below the floor, on one member after the other.
pub(super) fn and_rot(plan: &mut Plan) {
    telling(plan, (3, 3), &ALL);
    let mut random = Random::new(plan.seed ^ 0x0407_0f3a);
    for _ in 0..3 {
        plan.faults.extend(draw_rot(&mut random, 3, plan.keys, plan.most_faulty));
    }
}
