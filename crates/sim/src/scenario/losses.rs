//! Worlds in which so much is hurt at once that waiting does not help, and the operator takes what is left.
//!
//! Drawn apart, and only of some seeds: all other worlds are as they would be without it.

use crate::faults::{Fault, TimedFault};
use crate::plan::Plan;
use crate::queue::{MILLISECOND, SECOND};
use crate::random::Random;
use crate::topology::{Act, TimedAct, Who};

/// A node tries to heal a key a minute after it has found it, so that nobody accepts anything before.
const LEAST: u64 = 200 * SECOND;

/// In one of three worlds several copies of the same are hurt within a short time, once or a few times.
pub(super) fn draw(plan: &mut Plan) {
    let mut random = Random::new(plan.seed ^ 0x1055_7a6e_0002);
    if random.below(3) > 0 {
        return;
    }
    if plan.most_faulty < LEAST {
        plan.draw_out(LEAST);
    }
    for _ in 0..random.between(1, 3) {
        hurt_several(plan, &mut random);
    }
    for _ in 0..random.between(2, 6) {
        accept(plan, &mut random);
    }
    plan.acts.sort_by_key(|timed| timed.at);
}

fn hurt_several(plan: &mut Plan, random: &mut Random) {
    let (first, copies) = (random.index(plan.founders), *random.pick(&[2, 2, 3]));
    let key = u8::try_from(random.index(plan.keys)).unwrap_or_default();
    let (shard, files) = (random.index(plan.shards.into()), random.below(3));
    let begun = random.below(plan.most_faulty / 3);
    for copy in 0..copies {
        let node = (first + copy) % plan.founders;
        let fault = match files {
            0 => Fault::LoseFileToo { node, shard },
            1 if copy == 0 => Fault::LoseFileToo { node, shard },
            _ => Fault::RotToo { node, key },
        };
        let at = begun + random.below(40 * SECOND);
        plan.faults.push(TimedFault { at, fault });
    }
}

/// Now and then a member is silent then, or members change.
fn accept(plan: &mut Plan, random: &mut Random) {
    let at = random.between(60 * SECOND, plan.most_faulty);
    plan.acts.push(TimedAct { at, act: Act::AcceptLoss { number: random.next() } });
    let before = at - random.magnitude(10 * MILLISECOND, 20 * SECOND);
    let (node, lasting) = (random.index(plan.founders), random.magnitude(SECOND, 60 * SECOND));
    let fault = match random.below(6) {
        0 => Fault::Crash { node, down: lasting },
        1 => Fault::Split { side: 1 << node, lasting },
        2 => Fault::Pause { node, lasting },
        _ => return,
    };
    plan.faults.push(TimedFault { at: before, fault });
    if plan.nodes > plan.founders && random.below(2) == 0 {
        let who = Who::Any(random.next());
        let act = if random.below(3) == 0 { Act::Drain(who) } else { Act::Join(who) };
        plan.acts.push(TimedAct { at: before + SECOND, act });
    }
}
