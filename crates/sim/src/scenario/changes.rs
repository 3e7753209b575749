//! Worlds whose members change in one way, each over and over at moments that the seed draws.

use crate::faults::{Fault, TimedFault};
use crate::plan::{EngineKind, Plan};
use crate::queue::{MILLISECOND, Nanos, SECOND};
use crate::random::Random;
use crate::topology::{Act, Revival, TimedAct, Who};

/// Clients and keys for changes that take this long altogether.
fn under_load(plan: &mut Plan, lasting: Nanos) -> Random {
    plan.keys = 8;
    plan.shift = 3;
    plan.clients = 6;
    plan.replication_factor = 3;
    plan.think = lasting * plan.clients as u64 / u64::from(plan.operations.max(1));
    plan.weather.most_delay = 5 * MILLISECOND;
    plan.weather.loss = 10_000;
    Random::new(plan.seed ^ 0x0c4a_96e5)
}

fn at(plan: &mut Plan, at: Nanos, act: Act) {
    plan.acts.push(TimedAct { at, act });
}

/// Any process dies now and then, for a moment.
fn crashes(plan: &mut Plan, random: &mut Random, lasting: Nanos) {
    for _ in 0..random.below(4) {
        let node = random.index(plan.nodes);
        let down = random.magnitude(5 * MILLISECOND, SECOND);
        let fault = Fault::Crash { node, down };
        plan.faults.push(TimedFault { at: random.below(lasting), fault });
    }
}

pub(super) fn grow_one_to_five(plan: &mut Plan) {
    plan.form(5, 1);
    let mut random = under_load(plan, 8 * SECOND);
    for node in 1..5 {
        let when = random.below(6 * SECOND);
        at(plan, when, Act::Join(Who::Node(node)));
    }
    crashes(plan, &mut random, 6 * SECOND);
}

pub(super) fn shrink_three_to_one(plan: &mut Plan) {
    let mut random = under_load(plan, 6 * SECOND);
    let stays = random.index(3);
    for node in (0..3).filter(|node| *node != stays) {
        let when = random.below(3 * SECOND);
        at(plan, when, Act::Drain(Who::Node(node)));
    }
    crashes(plan, &mut random, 4 * SECOND);
}

pub(super) fn five_to_three_one_cut_off(plan: &mut Plan) {
    plan.form(5, 5);
    let mut random = under_load(plan, 8 * SECOND);
    let cut_off = random.index(5);
    let lasting = random.between(2 * SECOND, 6 * SECOND);
    let split = Fault::Split { side: 1 << cut_off, lasting };
    plan.faults.push(TimedFault { at: random.below(SECOND), fault: split });
    for place in 1..3 {
        let when = random.between(500 * MILLISECOND, 3 * SECOND);
        at(plan, when, Act::Drain(Who::Node((cut_off + place) % 5)));
    }
}

pub(super) fn chained_changes(plan: &mut Plan) {
    plan.form(6, 2);
    let mut random = under_load(plan, 10 * SECOND);
    let mut when = 0;
    for _ in 0..8 {
        when += random.magnitude(50 * MILLISECOND, 2 * SECOND);
        let who = Who::Any(random.next());
        let act = match random.below(5) {
            0 | 1 => Act::Join(who),
            2 => Act::Drain(who),
            3 => Act::SetReplication(u8::try_from(random.between(1, 5)).unwrap_or(3)),
            _ => Act::Cancel,
        };
        at(plan, when, act);
    }
    crashes(plan, &mut random, 6 * SECOND);
}

pub(super) fn cancel_and_again(plan: &mut Plan) {
    plan.form(4, 3);
    let mut random = under_load(plan, 10 * SECOND);
    let mut when = 0;
    for _ in 0..4 {
        when += random.between(100 * MILLISECOND, SECOND);
        at(plan, when, Act::Join(Who::Node(3)));
        when += random.magnitude(200 * MILLISECOND, 2 * SECOND);
        at(plan, when, Act::Cancel);
        if random.below(3) == 0 {
            at(plan, when + SECOND, Act::Drain(Who::Node(3)));
        }
    }
}

pub(super) fn joiner_killed_one_to_two(plan: &mut Plan) {
    plan.form(2, 1);
    let mut random = under_load(plan, 6 * SECOND);
    plan.join_timeout = 2 * SECOND;
    at(plan, 100 * MILLISECOND, Act::Join(Who::Node(1)));
    let killed = random.between(300 * MILLISECOND, 2 * SECOND);
    at(plan, killed, Act::Abandon(Who::Node(1)));
    if random.below(2) == 0 {
        at(plan, killed + random.below(2 * SECOND), Act::Cancel);
    }
}

pub(super) fn disk_lost_replace(plan: &mut Plan) {
    let nodes = if plan.seed.is_multiple_of(2) { 3 } else { 5 };
    plan.form(nodes, nodes);
    let mut random = under_load(plan, 8 * SECOND);
    let node = random.index(nodes);
    let when = random.below(2 * SECOND);
    at(plan, when, Act::ReplaceDisk(Who::Node(node)));
    crashes(plan, &mut random, 6 * SECOND);
}

pub(super) fn old_disk_replace(plan: &mut Plan) {
    plan.engine = EngineKind::Disk;
    let mut random = under_load(plan, 8 * SECOND);
    let (node, down) = (random.index(3), 50 * MILLISECOND);
    plan.faults = vec![
        TimedFault { at: 300 * MILLISECOND, fault: Fault::Copy { node, down } },
        TimedFault { at: 2 * SECOND, fault: Fault::PutBack { node, down } },
    ];
    at(plan, 2500 * MILLISECOND + random.below(SECOND), Act::Renew(node));
}

/// What it writes under the old layout must meet a replica that refuses it.
pub(super) fn stale_coordinator(plan: &mut Plan) {
    plan.form(5, 3);
    let mut random = under_load(plan, 8 * SECOND);
    let node = random.index(3);
    let lasting = random.between(3 * SECOND, 7 * SECOND);
    let deaf = Fault::Deaf { node, lasting };
    plan.faults.push(TimedFault { at: random.below(SECOND), fault: deaf });
    for newcomer in 3..5 {
        let when = random.below(3 * SECOND);
        at(plan, when, Act::Join(Who::Node(newcomer)));
    }
    let when = random.between(SECOND, 5 * SECOND);
    at(plan, when, Act::Drain(Who::Node((node + 1) % 3)));
}

/// A replica that was let go and taken in again is empty: what it said before counts no more.
pub(super) fn copies_down_and_up(plan: &mut Plan) {
    let mut random = under_load(plan, 10 * SECOND);
    plan.clients = 8;
    plan.think = 400 * MILLISECOND;
    plan.keys = 2;
    plan.weather.loss = 0;
    plan.weather.straggler = 300_000;
    plan.timeout = 6 * SECOND;
    plan.gets = 10;
    let mut when = 0;
    for round in 0..16 {
        when += random.between(700 * MILLISECOND, 1200 * MILLISECOND);
        at(plan, when, Act::SetReplication(if round % 2 == 0 { 1 } else { 3 }));
    }
}

/// Sometimes in the middle of a change, which is given up then; and the members change afterwards.
pub(super) fn rescue(plan: &mut Plan) {
    let nodes = usize::try_from(plan.seed % 5).unwrap_or(0) + 3;
    plan.form(nodes + 1, nodes);
    let mut random = under_load(plan, 30 * SECOND);
    plan.replication_factor = *random.pick(&[3, 3, 3, 2, 5]);
    if random.below(2) == 0 {
        let act = match random.below(3) {
            0 => Act::Join(Who::Node(nodes)),
            1 => Act::Drain(Who::Any(random.next())),
            _ => Act::SetReplication(u8::try_from(random.between(2, 5)).unwrap_or(3)),
        };
        at(plan, random.below(2 * SECOND), act);
    }
    let lost = random.between(SECOND, 3 * SECOND);
    // As many as can be, or fewer.
    let most = nodes as u64 - 1;
    let left = if random.below(3) > 0 { most } else { random.between(1, most) };
    let left = u8::try_from(left).unwrap_or(1);
    at(plan, lost, Act::LoseMajority { left, number: random.next() });
    crashes(plan, &mut random, 12 * SECOND);
    if random.below(2) == 0 {
        // One or two miss what is written before, so that copies differ when the others die.
        let side = 1 << random.index(nodes) | 1 << random.index(nodes);
        let split = Fault::Split { side, lasting: lost + SECOND };
        plan.faults.push(TimedFault { at: random.below(SECOND), fault: split });
    }
    for _ in 0..3 {
        let when = random.between(lost + 8 * SECOND, lost + 20 * SECOND);
        let who = Who::Any(random.next());
        let act = match random.below(5) {
            0 => Act::Revive(Revival::AsItWas),
            1 => Act::Revive(Revival::Rescued),
            2 | 3 => Act::ComeEmpty(who),
            _ => Act::Join(who),
        };
        at(plan, when, act);
    }
}
