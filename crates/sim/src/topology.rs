//! What the operator of a world does to its members and when: drawn per seed, beside the faults.
//!
//! Whom an act means is settled when it happens, by the members that there are then: most draws would
//! ask for something that makes no sense otherwise.

use crate::queue::{MILLISECOND, Nanos, SECOND};
use crate::random::Random;

/// Whom an act means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// This node.
    Node(usize),
    /// One of those for whom it makes sense, by this number.
    Any(u64),
}

/// One thing that the operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// A waiting node is to join.
    Join(Who),
    /// A member is to leave.
    Drain(Who),
    /// A member dies for good and is to be removed.
    Remove(Who),
    /// A member dies, is removed, and starts again too late.
    RemoveTooSoon(Who),
    /// A member dies for good and a waiting node is to come in its place.
    Replace(Who),
    /// A member loses its disk and is to come back.
    ReplaceDisk(Who),
    /// A member that came back on an old copy of its disk is to come back anew. Scenarios only.
    Renew(usize),
    /// A node that waits or is about to join dies for good.
    Abandon(Who),
    /// Another number of copies.
    SetReplication(u8),
    /// The change under way is given up.
    Cancel,
    /// Members die for good, so many that the others, at most so many, cannot decide; one of those is
    /// rescued. Who it is follows from the number.
    LoseMajority { left: u8, number: u64 },
    /// The operator takes what is left of something that waiting does not heal. What it is follows from the
    /// number. Scenarios only.
    AcceptLoss { number: u64 },
    /// A member that a rescue has given up runs again.
    Revive(Revival),
    /// A member that a rescue has given up comes again with an empty disk.
    ComeEmpty(Who),
}

/// How a member that was given up comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revival {
    /// As it was.
    AsItWas,
    /// Rescued as well, which makes another cluster of it.
    Rescued,
}

/// When, after the clients have begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimedAct {
    pub(crate) at: Nanos,
    pub(crate) act: Act,
}

/// What the operator of a world does whose clients work for about `duration`.
pub(crate) fn draw_acts(random: &mut Random, duration: Nanos) -> Vec<TimedAct> {
    let mut acts = Vec::new();
    let begun = random.below(SECOND);
    for _ in 0..random.between(1, 6) {
        let at = begun + random.below(duration * 3 / 4);
        acts.push(TimedAct { at, act: draw(random) });
        if random.below(5) == 0 {
            let after = random.magnitude(50 * MILLISECOND, 4 * SECOND);
            acts.push(TimedAct { at: at + after, act: Act::Cancel });
        }
    }
    acts.sort_by_key(|timed| timed.at);
    acts
}

fn draw(random: &mut Random) -> Act {
    let who = Who::Any(random.next());
    match random.below(20) {
        0..=6 => Act::Join(who),
        7..=10 => Act::Drain(who),
        11 => Act::Remove(who),
        12 => Act::RemoveTooSoon(who),
        13 | 14 => Act::Replace(who),
        15 => Act::ReplaceDisk(who),
        16 => Act::Abandon(who),
        17 => Act::Cancel,
        _ => Act::SetReplication(u8::try_from(random.between(1, 5)).unwrap_or(3)),
    }
}
