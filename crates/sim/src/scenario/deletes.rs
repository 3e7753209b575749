//! Worlds that delete for minutes: long enough that tombstones go, by agreement, again and again.

use crate::faults::{Fault, TimedFault, draw_rot};
use crate::plan::{EngineKind, Far, Healing, MANY_HINTS, Plan};
use crate::queue::{MILLISECOND, Nanos, SECOND};
use crate::random::Random;
use crate::topology::{Act, TimedAct, Who};

/// A tombstone goes after two or three minutes at the soonest: no request lasts longer than one.
const LASTING: Nanos = 420 * SECOND;

/// Clients that delete what others write and read.
fn deleting(plan: &mut Plan, nodes: usize, founders: usize) -> Random {
    plan.form(nodes, founders);
    plan.healing = Healing::Dropping;
    plan.keys = if plan.seed.is_multiple_of(2) { 2 } else { 6 };
    plan.shift = 1;
    plan.clients = 4;
    plan.gets = 40;
    plan.deletes = 60;
    plan.weather.loss = 50_000;
    plan.weather.most_delay = 20 * MILLISECOND;
    plan.engine = if plan.seed.is_multiple_of(8) { EngineKind::Disk } else { EngineKind::Memory };
    let mut random = Random::new(plan.seed ^ 0x0de1_e7e5);
    plan.hint_bytes = *random.pick(&[MANY_HINTS, MANY_HINTS, 600]);
    plan.think = LASTING * plan.clients as u64 / u64::from(plan.operations.max(1));
    plan.most_faulty = LASTING + 60 * SECOND;
    random
}

fn at_any_time(plan: &mut Plan, random: &mut Random, fault: Fault) {
    plan.faults.push(TimedFault { at: random.below(LASTING), fault });
}

/// Stores are admitted and durable only much later; processes die at any moment.
fn trouble(plan: &mut Plan, random: &mut Random) {
    for _ in 0..random.below(12) {
        let node = random.index(plan.nodes);
        let down = random.magnitude(5 * MILLISECOND, 10 * SECOND);
        at_any_time(plan, random, Fault::Crash { node, down });
    }
    for _ in 0..random.below(8) {
        let node = random.index(plan.nodes);
        let lasting = random.magnitude(50 * MILLISECOND, 95 * SECOND);
        at_any_time(plan, random, Fault::Stall { node, lasting });
    }
    for _ in 0..random.below(4) {
        let (from, to) = (random.index(plan.nodes), random.index(plan.nodes));
        let lasting = random.magnitude(SECOND, 100 * SECOND);
        at_any_time(plan, random, Fault::OneWay { from, to, lasting });
    }
    // What is held for longer than a request lasts comes when it must not be admitted any more.
    for _ in 0..random.below(6) {
        let (from, to) = (random.index(plan.nodes), random.index(plan.nodes));
        let lasting = random.magnitude(10 * SECOND, 150 * SECOND);
        at_any_time(plan, random, Fault::Clog { from, to, lasting });
    }
    plan.timeout = random.magnitude(500 * MILLISECOND, 60 * SECOND);
}

pub(super) fn deletes(plan: &mut Plan) {
    let nodes = if plan.seed.is_multiple_of(5) { 1 } else { 3 };
    let mut random = deleting(plan, nodes, nodes);
    trouble(plan, &mut random);
}

/// What it is asked for is overwritten before it answers, and hints for it are old when they come.
pub(super) fn slow_member(plan: &mut Plan) {
    let mut random = deleting(plan, 3, 3);
    trouble(plan, &mut random);
    let node = random.index(3);
    let longer = random.magnitude(20 * MILLISECOND, 200 * MILLISECOND);
    plan.far = Some(Far { node, longer });
    let down = random.between(60 * SECOND, 200 * SECOND);
    if random.below(2) == 0 {
        at_any_time(plan, &mut random, Fault::Crash { node, down });
    }
}

pub(super) fn and_changes(plan: &mut Plan) {
    let mut random = deleting(plan, 5, 3);
    trouble(plan, &mut random);
    for _ in 0..random.between(2, 8) {
        let who = Who::Any(random.next());
        let act = match random.below(6) {
            0..=2 => Act::Join(who),
            3 | 4 => Act::Drain(who),
            _ => Act::Cancel,
        };
        plan.acts.push(TimedAct { at: random.below(LASTING), act });
    }
    plan.acts.sort_by_key(|timed| timed.at);
}

pub(super) fn and_rot(plan: &mut Plan) {
    let mut random = deleting(plan, 4, 3);
    trouble(plan, &mut random);
    for _ in 0..4 {
        plan.faults.extend(draw_rot(&mut random, 3, plan.keys, LASTING));
    }
    if random.below(2) == 0 {
        let at = random.below(LASTING);
        plan.acts.push(TimedAct { at, act: Act::Join(Who::Node(3)) });
    }
}
