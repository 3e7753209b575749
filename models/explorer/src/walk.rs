//! Random walks for worlds too large to exhaust, from a fixed seed. They prove nothing by finding
//! nothing.
//!
//! The kind of the next action is drawn first, so that rare kinds are not drowned by frequent ones.
//! A way to a broken promise is shortened by leaving out every action, and every two, that it does
//! without.

use std::mem::discriminant;

use crate::{End, Model, Report};

/// Walks until a promise breaks or `steps` were taken; each walk has at most `depth` of them.
pub fn walk<M: Model>(model: &M, steps: usize, depth: usize, seed: u64) -> Report<M::Promise> {
    let mut random = Random(seed | 1);
    let first_states = model.first_states();
    let mut taken = 0;
    while taken < steps {
        let first = &first_states[random.below(first_states.len())];
        let mut way = Vec::new();
        let mut state = first.clone();
        while way.len() < depth {
            let mut actions = Vec::new();
            model.actions(&state, &mut actions);
            let Some(action) = draw(&actions, &mut random) else { break };
            way.push(action);
            state = model.apply(&state, action);
            taken += 1;
            if let Some(promise) = model.broken(&state) {
                let way = shortened(model, first, way, promise);
                let trace = lines(model, first, &way);
                let end = End::Broken { promise, trace };
                return Report { states: taken, depth: way.len(), end };
            }
        }
    }
    Report { states: taken, depth, end: End::Bounded }
}

fn draw<Action: Copy>(actions: &[Action], random: &mut Random) -> Option<Action> {
    let mut kinds = Vec::new();
    for action in actions {
        if !kinds.contains(&discriminant(action)) {
            kinds.push(discriminant(action));
        }
    }
    if kinds.is_empty() {
        return None;
    }
    let kind = kinds[random.below(kinds.len())];
    let of_kind: Vec<_> = actions.iter().filter(|action| discriminant(*action) == kind).collect();
    Some(*of_kind[random.below(of_kind.len())])
}

/// The state after a way, or nothing if it is not allowed; ends early where a promise breaks.
fn replay<M: Model>(model: &M, first: &M::State, way: &[M::Action]) -> Option<M::State> {
    let mut state = first.clone();
    let mut actions = Vec::new();
    for &action in way {
        if model.broken(&state).is_some() {
            return Some(state);
        }
        actions.clear();
        model.actions(&state, &mut actions);
        if !actions.contains(&action) {
            return None;
        }
        state = model.apply(&state, action);
    }
    Some(state)
}

fn shortened<M: Model>(
    model: &M,
    first: &M::State,
    mut way: Vec<M::Action>,
    promise: M::Promise,
) -> Vec<M::Action> {
    let breaks = |way: &[M::Action]| {
        replay(model, first, way).and_then(|state| model.broken(&state)) == Some(promise)
    };
    loop {
        let shorter = without_some(&way).find(|shorter| breaks(shorter));
        match shorter {
            Some(shorter) => way = shorter,
            None => return way,
        }
    }
}

/// The way without one action, then without two: one action alone often enables another.
fn without_some<Action: Copy>(way: &[Action]) -> impl Iterator<Item = Vec<Action>> {
    let places = 0..way.len();
    let singles = places.clone().map(|place| (place, place));
    let pairs = places.flat_map(|first| (first + 1..way.len()).map(move |second| (first, second)));
    singles.chain(pairs).map(move |(first, second)| {
        let kept = |(place, _): &(usize, &Action)| *place != first && *place != second;
        way.iter().enumerate().filter(kept).map(|(_, action)| *action).collect()
    })
}

fn lines<M: Model>(model: &M, first: &M::State, way: &[M::Action]) -> Vec<String> {
    let mut state = first.clone();
    let mut lines = vec![format!("begin  ->  {}", model.describe(&state))];
    for &action in way {
        state = model.apply(&state, action);
        lines.push(format!("{action:?}  ->  {}", model.describe(&state)));
    }
    lines
}

/// xorshift64*, which is enough to wander about.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).expect("31 bits") % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_model::Jugs;

    #[test]
    fn a_walk_finds_and_shortens() {
        let report = walk(&Jugs { forbidden: 4 }, 100_000, 100, 7);
        let End::Broken { trace, .. } = report.end else { panic!("four litres") };
        assert!(report.depth <= 10, "shortened from a wander: {trace:#?}");
        assert_eq!(trace.len(), report.depth + 1);
    }

    #[test]
    fn a_walk_that_finds_nothing_claims_nothing() {
        let report = walk(&Jugs { forbidden: 6 }, 1_000, 100, 7);
        assert_eq!(report.end, End::Bounded);
        assert_eq!(report.states, 1_000);
    }
}
