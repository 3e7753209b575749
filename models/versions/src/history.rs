//! What clients saw, without versions: is there one order of all operations that respects real time
//! and explains every read?

use crate::state::{
    Operations, READS, ReadPhase, State, Version, WRITES, WritePhase, read_operation,
};
use crate::world::{Claim, World};

/// How often a write may take effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Effect {
    /// Not at all.
    #[default]
    None,
    /// Unanswered.
    Maybe,
    Once,
    /// It was re-stamped: the first stamp may have been seen by itself.
    OnceOrTwice,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct SeenWrite {
    effect: Effect,
    before: Operations,
}

/// A read that answered: with a write's value, or absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct SeenRead {
    value: Option<u8>,
    before: Operations,
}

/// All that clients saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct History {
    writes: [SeenWrite; WRITES],
    reads: [Option<SeenRead>; READS],
}

/// Something to put in order.
#[derive(Clone, Copy)]
struct Event {
    operation: u8,
    before: Operations,
    /// Whether the order must contain it.
    must: bool,
    /// For reads, what it saw.
    reads: Option<Option<u8>>,
}

impl History {
    pub(crate) fn of(world: &World, state: &State) -> Self {
        let mut history = Self { writes: Default::default(), reads: Default::default() };
        for number in world.write_numbers() {
            let write = state.write(number);
            let effect = match write.phase {
                WritePhase::Idle | WritePhase::Refused => Effect::None,
                WritePhase::Acknowledged if write.second.is_absent() => Effect::Once,
                WritePhase::Acknowledged => Effect::OnceOrTwice,
                WritePhase::FirstStamp | WritePhase::SecondStamp | WritePhase::Unknown => {
                    Effect::Maybe
                }
            };
            history.writes[usize::from(number)] = SeenWrite { effect, before: write.before };
        }
        for number in world.read_numbers() {
            let read = state.read(number);
            let value = |winner: Version| (!winner.is_absent()).then(|| winner.write());
            let seen = SeenRead { value: value(read.winner), before: read.before };
            history.reads[usize::from(number)] =
                (read.phase == ReadPhase::Answered).then_some(seen);
        }
        history
    }

    /// Whether some order explains it.
    pub(crate) fn is_explained(&self, claim: Claim) -> bool {
        let events = self.events(claim);
        let has_order = |placed: &mut Vec<usize>| extends(&events, placed, None);
        has_order(&mut Vec::new())
    }

    fn events(&self, claim: Claim) -> Vec<Event> {
        let mut events = Vec::new();
        for (operation, write) in (0..).zip(self.writes) {
            let before = write.before;
            let must = matches!(write.effect, Effect::Once | Effect::OnceOrTwice);
            if write.effect != Effect::None {
                events.push(Event { operation, before, must, reads: None });
            }
            let twice = matches!(write.effect, Effect::Maybe | Effect::OnceOrTwice);
            if twice && claim == Claim::UpToTwoWrites {
                // Of the two writes the first may be ordered before the write began.
                let before = Operations::default();
                events.push(Event { operation, before, must: false, reads: None });
            }
        }
        for (number, read) in (0..).zip(self.reads) {
            if let Some(SeenRead { value, before }) = read {
                let operation = read_operation(number);
                events.push(Event { operation, before, must: true, reads: Some(value) });
            }
        }
        events
    }
}

/// Whether the events placed so far, after which a read sees `value`, begin an order that explains
/// everything.
fn extends(events: &[Event], placed: &mut Vec<usize>, value: Option<u8>) -> bool {
    let is_placed = |placed: &[usize], place: usize| placed.contains(&place);
    if (0..events.len()).all(|place| is_placed(placed, place) || !events[place].must) {
        return true;
    }
    for (place, event) in events.iter().enumerate() {
        if is_placed(placed, place) {
            continue;
        }
        // All that ended before it began is placed, and nothing that began after it ended.
        let comes_too_early = events.iter().enumerate().any(|(other, earlier)| {
            earlier.must && event.before.contains(earlier.operation) && !is_placed(placed, other)
        });
        let comes_too_late =
            placed.iter().any(|&later| events[later].before.contains(event.operation));
        let sees_another = event.reads.is_some_and(|seen| seen != value);
        if comes_too_early || comes_too_late || sees_another {
            continue;
        }
        placed.push(place);
        let value = if event.reads.is_some() { value } else { Some(event.operation) };
        if extends(events, placed, value) {
            return true;
        }
        placed.pop();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(operations: &[u8]) -> Operations {
        let mut before = Operations::default();
        operations.iter().for_each(|&operation| before.insert(operation));
        before
    }

    /// Two acknowledged writes, one after the other, and a read after both.
    fn history(value: Option<u8>, first: Effect) -> History {
        let mut history = History { writes: Default::default(), reads: Default::default() };
        history.writes[0] = SeenWrite { effect: first, before: after(&[]) };
        history.writes[1] = SeenWrite { effect: Effect::Once, before: after(&[0]) };
        history.reads[0] = Some(SeenRead { value, before: after(&[0, 1]) });
        history
    }

    #[test]
    fn a_read_sees_the_last_write() {
        assert!(history(Some(1), Effect::Once).is_explained(Claim::Register));
        assert!(!history(Some(0), Effect::Once).is_explained(Claim::Register));
        assert!(!history(None, Effect::Once).is_explained(Claim::UpToTwoWrites));
    }

    #[test]
    fn an_unanswered_write_may_come_at_any_time() {
        let mut unanswered = history(Some(0), Effect::Maybe);
        unanswered.writes[1].before = after(&[]);
        unanswered.reads[0] = Some(SeenRead { value: Some(0), before: after(&[1]) });
        assert!(unanswered.is_explained(Claim::Register));
    }

    #[test]
    fn an_acknowledged_write_is_not_two_unless_it_was_stamped_twice() {
        let mut seen_twice = history(Some(0), Effect::Once);
        seen_twice.writes[0].before = after(&[]);
        seen_twice.writes[1].before = after(&[]);
        // The first is seen, then the second, then the first again.
        seen_twice.reads[0] = Some(SeenRead { value: Some(0), before: after(&[]) });
        let then = after(&[3]);
        seen_twice.reads[1] = Some(SeenRead { value: Some(1), before: then });
        seen_twice.reads[2] = Some(SeenRead { value: Some(0), before: after(&[3, 4]) });
        assert!(!seen_twice.is_explained(Claim::UpToTwoWrites));
        seen_twice.writes[0].effect = Effect::OnceOrTwice;
        assert!(seen_twice.is_explained(Claim::UpToTwoWrites));
        assert!(!seen_twice.is_explained(Claim::Register));
    }
}
