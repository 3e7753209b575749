//! The hints in a life that is cut: what was there when, and what must be there after a crash.

use std::collections::{BTreeMap, BTreeSet};

use paravon_model::{Key, Record};
use paravon_storage::conformance::{key, record};

use crate::rig::Node;

const TARGETS: [u32; 2] = [70, 71];
const KEYS: u8 = 10;

type Hints = BTreeMap<(u32, Key), Record>;

/// What was durable after each sync, with the operations done by then.
#[derive(Default)]
pub(crate) struct HintHistory {
    moments: Vec<Moment>,
    /// Every hint that the store was given.
    given: BTreeSet<(u32, u8)>,
}

struct Moment {
    at: usize,
    hints: Hints,
    dirty: [u64; 2],
}

impl HintHistory {
    /// Keeps and drops some hints, at most one of a slot.
    pub(crate) fn queue(&mut self, node: &mut Node, round: u64) {
        let number = u8::try_from(round * 3 % u64::from(KEYS)).unwrap();
        for target in TARGETS {
            if round.is_multiple_of(3) {
                node.drop_hint(target, (number + 4) % KEYS, record(round, None).version);
            }
            if !(round + u64::from(target)).is_multiple_of(4) {
                node.keep_hint(target, number, record(round, Some(1)));
                self.given.insert((target, number));
            }
        }
    }

    /// Notes what is durable now.
    pub(crate) fn note(&mut self, node: &mut Node, at: usize) {
        let moment = Moment::of(node, at).unwrap();
        self.moments.push(moment);
    }

    /// Checks a node that was started from a disk cut after `cut` operations.
    pub(crate) fn judge(&self, node: &mut Node, cut: usize) -> Result<(), String> {
        let found = Moment::of(node, cut)?;
        let confirmed = self.moments.partition_point(|moment| moment.at <= cut);
        let Some(owed) = confirmed.checked_sub(1) else { return Ok(()) };
        for target in TARGETS {
            for number in 0..KEYS {
                let slot = (target, key(number).1);
                let hint = found.hints.get(&slot);
                // What was confirmed last, or what was under way then.
                let moments = self.moments[owed..].iter().take(2);
                let mut possible = moments.map(|moment| moment.hints.get(&slot));
                if !possible.any(|possible| possible == hint) {
                    let owed = self.moments[owed].hints.get(&slot);
                    return Err(format!("hint {target} {number}: {owed:?}, found {hint:?}"));
                }
            }
        }
        let dirty = self.moments[owed].dirty;
        if dirty.iter().zip(found.dirty).any(|(&owed, found)| owed > found) {
            return Err(format!("dirty arcs {dirty:?}, found {:?}", found.dirty));
        }
        for (target, dirty) in TARGETS.into_iter().zip(found.dirty) {
            let listed = found.hints.keys().filter(|(of, _)| *of == target).count();
            if node.hint_totals(target) != (listed, dirty) {
                return Err(format!(
                    "{listed} hints are counted as {:?}",
                    node.hint_totals(target)
                ));
            }
        }
        Ok(())
    }

    /// Whether the life was one in which hints were kept, dropped and did not fit.
    pub(crate) fn had_everything(&self) -> bool {
        let last = self.moments.last().expect("a life has rounds");
        let pairs = self.moments.windows(2);
        let mut gone =
            pairs.map(|pair| pair[0].hints.keys().any(|k| !pair[1].hints.contains_key(k)));
        self.given.len() > last.hints.len()
            && !last.hints.is_empty()
            && last.dirty.iter().all(|&dirty| dirty > 0)
            && gone.any(|gone| gone)
    }
}

impl Moment {
    fn of(node: &mut Node, at: usize) -> Result<Self, String> {
        let mut hints = Hints::new();
        for target in TARGETS {
            let kept = node.hints(target).map_err(|error| format!("hints of {target}: {error}"))?;
            hints.extend(kept.into_iter().map(|hint| ((target, hint.key), hint.record)));
        }
        Ok(Self { at, hints, dirty: TARGETS.map(|target| node.hint_totals(target).1) })
    }
}
