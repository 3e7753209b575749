//! What goes wrong in a world and when: drawn per seed, so that every seed has its own mix.
//!
//! No disk is ever lost here: what a disk confirmed it keeps. Losing one is the operator's business, who
//! knows what a cluster may lose, and scenarios restore old copies.

use crate::queue::{MILLISECOND, Nanos, SECOND};
use crate::random::Random;

/// What a message between replicas is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Matter {
    /// A client's write.
    Writes,
    /// A hint that is handed over.
    Hints,
    /// What a read asks.
    Reads,
    /// What a read writes back.
    WriteBacks,
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// A node's process dies and starts again after a while.
    Crash { node: usize, down: Nanos },
    /// Every node's process dies at once, and each starts again after a while.
    CrashAll { down: Nanos },
    /// A node does nothing for a while and then goes on.
    Pause { node: usize, lasting: Nanos },
    /// Nodes of the two sides, by bit, do not hear each other.
    Split { side: u32, lasting: Nanos },
    /// Nothing of the one reaches the other; the way back is open.
    OneWay { from: usize, to: usize, lasting: Nanos },
    /// Messages of the one to the other are held and come in a burst.
    Clog { from: usize, to: usize, lasting: Nanos },
    /// What the one sends the other of this matter for a while comes so much later, or never. All else
    /// comes in its time: it was sent on another connection. Scenarios only.
    Delay { from: usize, to: usize, matter: Matter, sending: Nanos, late: Option<Nanos> },
    /// A node neither hears nor tells of documents. Scenarios only.
    Deaf { node: usize, lasting: Nanos },
    /// The connection of the one to the other breaks.
    Reset { from: usize, to: usize },
    /// A wall clock jumps, and after a while perhaps back.
    Jump { node: usize, by_ms: i64, back_after: Option<Nanos> },
    /// A disk stalls.
    Stall { node: usize, lasting: Nanos },
    /// A node's process dies, and starts again without its disk. Scenarios only.
    Wipe { node: usize, down: Nanos },
    /// What a disk holds of a key cannot be read any more. Only where replicas compare.
    Rot { node: usize, key: u8 },
    /// A node's process dies, and the file of one of its shards cannot be read any more. Only
    /// where replicas compare.
    LoseFile { node: usize, shard: usize },
    /// What a disk holds of a key cannot be read any more, whatever else is hurt: where too much is, nobody
    /// but an operator who accepts the loss can help. Scenarios only.
    RotToo { node: usize, key: u8 },
    /// Likewise the file of one of its shards. Scenarios only.
    LoseFileToo { node: usize, shard: usize },
    /// A node's process dies, its disk is copied, and it starts again. Scenarios only.
    Copy { node: usize, down: Nanos },
    /// A node's process dies, and starts again on the copy. Scenarios only.
    PutBack { node: usize, down: Nanos },
}

/// When, after the clients have begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimedFault {
    pub(crate) at: Nanos,
    pub(crate) fault: Fault,
}

/// The faults of a world whose clients work for about `duration`.
pub(crate) fn draw_faults(random: &mut Random, nodes: usize, duration: Nanos) -> Vec<TimedFault> {
    let mut faults = Vec::new();
    // Most worlds have a few kinds of trouble: all at once drown each other.
    for kind in 0..9 {
        if random.below(3) == 0 {
            continue;
        }
        for _ in 0..random.between(1, 4) {
            let at = random.below(duration);
            if let Some(fault) = draw(random, kind, nodes) {
                faults.push(TimedFault { at, fault });
            }
        }
    }
    faults.sort_by_key(|timed| timed.at);
    faults
}

/// Records that rot in a world whose clients work for about `duration`.
pub(crate) fn draw_rot(
    random: &mut Random,
    nodes: usize,
    keys: usize,
    duration: Nanos,
) -> Vec<TimedFault> {
    let rot = |random: &mut Random| {
        let (node, key) = (random.index(nodes), random.index(keys));
        let key = u8::try_from(key).unwrap_or_default();
        let fault = match random.below(6) {
            0 => Fault::LoseFile { node, shard: random.index(2) },
            _ => Fault::Rot { node, key },
        };
        TimedFault { at: random.below(duration), fault }
    };
    (0..random.between(1, 6)).map(|_| rot(random)).collect()
}

fn draw(random: &mut Random, kind: u32, nodes: usize) -> Option<Fault> {
    let node = random.index(nodes);
    let other = (node + 1 + random.index(nodes.max(2) - 1)) % nodes;
    let lasting = random.magnitude(10 * MILLISECOND, 4 * SECOND);
    let down = random.magnitude(5 * MILLISECOND, 5 * SECOND);
    if nodes == 1 && (3..=6).contains(&kind) {
        return None;
    }
    let fault = match kind {
        0 => Fault::Crash { node, down },
        1 if random.below(4) == 0 => Fault::CrashAll { down },
        1 => Fault::Crash { node, down },
        2 => Fault::Pause { node, lasting },
        3 => {
            let side = u32::try_from(random.below((1 << nodes) - 1)).unwrap_or(0);
            Fault::Split { side, lasting }
        }
        4 => Fault::OneWay { from: node, to: other, lasting },
        5 => Fault::Clog { from: node, to: other, lasting },
        6 => Fault::Reset { from: node, to: other },
        7 => {
            let by_ms = draw_jump(random);
            let back_after = (random.below(2) == 0).then_some(lasting);
            Fault::Jump { node, by_ms, back_after }
        }
        _ => Fault::Stall { node, lasting },
    };
    Some(fault)
}

fn draw_jump(random: &mut Random) -> i64 {
    let most = *random.pick(&[100, 400, 2_000, 300_000]);
    let by = i64::try_from(random.between(1, most)).unwrap_or(0);
    if random.below(2) == 0 { by } else { -by }
}
