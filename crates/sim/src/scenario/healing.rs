//! Worlds in which replicas come to differ, and nobody reads: they are to find out by themselves.

use crate::faults::{Fault, TimedFault, draw_rot};
use crate::plan::{EngineKind, Healing, Plan};
use crate::queue::{MILLISECOND, Nanos, SECOND};
use crate::random::Random;
use crate::topology::{Act, TimedAct, Who};

/// Clients that write for this long altogether, and replicas that compare what they hold afterwards.
fn comparing(plan: &mut Plan, nodes: usize, lasting: Nanos) -> Random {
    plan.form(nodes, nodes);
    plan.healing = Healing::Comparing;
    plan.keys = 8;
    plan.shift = 3;
    plan.clients = 6;
    plan.gets = 20;
    plan.think = lasting * plan.clients as u64 / u64::from(plan.operations.max(1));
    plan.engine = if plan.seed.is_multiple_of(4) { EngineKind::Disk } else { EngineKind::Memory };
    Random::new(plan.seed ^ 0x4ea1_1e57)
}

/// Often members come or go meanwhile.
pub(super) fn long_absence(plan: &mut Plan) {
    let nodes = if plan.seed.is_multiple_of(2) { 3 } else { 4 };
    let mut random = comparing(plan, nodes, 20 * SECOND);
    plan.hint_bytes = *random.pick(&[0, 600, 2_000]);
    let node = random.index(3);
    let down = random.between(8 * SECOND, 30 * SECOND);
    let crash = Fault::Crash { node, down };
    plan.faults.push(TimedFault { at: random.below(4 * SECOND), fault: crash });
    if random.below(2) == 0 {
        let other = (node + 1) % 3;
        let fault = Fault::Crash { node: other, down: 100 * MILLISECOND };
        plan.faults.push(TimedFault { at: random.below(20 * SECOND), fault });
    }
    if nodes == 4 && random.below(2) == 0 {
        let at = random.below(20 * SECOND);
        plan.acts.push(TimedAct { at, act: Act::Drain(Who::Node(3)) });
    }
}

pub(super) fn hints_lost(plan: &mut Plan) {
    let mut random = comparing(plan, 3, 10 * SECOND);
    plan.hint_bytes = 0;
    plan.weather.loss = 200_000;
    plan.gets = 0;
    plan.timeout = 500 * MILLISECOND;
    // More partitions than a round has folds at first.
    if plan.seed.is_multiple_of(3) {
        plan.shift = 7;
    }
    for _ in 0..random.below(4) {
        let fault = Fault::CrashAll { down: 50 * MILLISECOND };
        plan.faults.push(TimedFault { at: random.below(10 * SECOND), fault });
    }
}

/// Each time one copy of several, and what was lost is whole again before the next one goes.
pub(super) fn rot(plan: &mut Plan) {
    let mut random = comparing(plan, 4, 20 * SECOND);
    plan.form(4, 3);
    plan.keys = 4;
    if plan.seed.is_multiple_of(3) {
        plan.draw_out(200 * SECOND);
    }
    let lasting = plan.most_faulty / 2;
    for _ in 0..3 {
        plan.faults.extend(draw_rot(&mut random, 4, 4, lasting));
    }
    for _ in 0..random.below(4) {
        let (node, down) = (random.index(3), random.magnitude(5 * MILLISECOND, 5 * SECOND));
        let fault = Fault::Crash { node, down };
        plan.faults.push(TimedFault { at: random.below(lasting), fault });
    }
    if random.below(2) == 0 {
        let at = random.below(lasting);
        plan.acts.push(TimedAct { at, act: Act::Join(Who::Node(3)) });
    }
}

/// Copies reach one replica at once, and others only seconds later.
pub(super) fn rot_under_way(plan: &mut Plan) {
    let mut random = comparing(plan, 4, 50 * SECOND);
    plan.engine = EngineKind::Memory;
    plan.timeout = 20 * SECOND;
    plan.gets = 40;
    plan.deletes = 0;
    for _ in 0..40 {
        let (from, to) = (random.index(4), random.index(4));
        let lasting = random.between(2 * SECOND, 12 * SECOND);
        let fault = Fault::Clog { from, to, lasting };
        plan.faults.push(TimedFault { at: random.below(50 * SECOND), fault });
    }
    for _ in 0..12 {
        plan.faults.extend(draw_rot(&mut random, 4, 8, 50 * SECOND));
    }
}

/// What one member lost is not to be missed by those that take over from it.
pub(super) fn files_lost(plan: &mut Plan) {
    let mut random = comparing(plan, 5, 60 * SECOND);
    plan.form(5, 3);
    plan.weather.loss = 100_000;
    plan.hint_bytes = 0;
    for _ in 0..4 {
        let (node, shard) = (random.index(5), random.index(2));
        let at = random.below(40 * SECOND);
        plan.faults.push(TimedFault { at, fault: Fault::LoseFile { node, shard } });
        // The change that follows at once is the one that must not believe it.
        let who = Who::Any(random.next());
        let act = if random.below(3) == 0 { Act::Drain(who) } else { Act::Join(who) };
        let after = random.between(10 * MILLISECOND, 5 * SECOND);
        plan.acts.push(TimedAct { at: at + after, act });
    }
    plan.acts.sort_by_key(|timed| timed.at);
}
