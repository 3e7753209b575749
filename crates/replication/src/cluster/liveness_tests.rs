//! Failure detectors over a small network with delays: who dies is known everywhere in time, who comes
//! back as well, and a pause of one makes no other pair flap.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::Ordinal;

use super::liveness::FailureDetector;
use super::random::Random;
use super::settings::Liveness;

const STEP: Duration = Duration::from_millis(5);

struct Network {
    now: Duration,
    random: Random,
    nodes: BTreeMap<Ordinal, Node>,
    /// Arrival, from, to, bytes.
    under_way: Vec<(Duration, Ordinal, Ordinal, Vec<u8>)>,
    changes: Vec<(Duration, Ordinal, Ordinal, Liveness)>,
}

struct Node {
    detector: FailureDetector,
    state: State,
    start: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Runs,
    /// Its messages wait for it.
    Pauses,
    Down,
}

impl Network {
    fn of(count: u32, seed: u128) -> Self {
        let mut network = Self {
            now: Duration::from_secs(1),
            random: Random::new(seed),
            nodes: BTreeMap::new(),
            under_way: Vec::new(),
            changes: Vec::new(),
        };
        for ordinal in 1..=count {
            network.start(Ordinal(ordinal), 1, count);
        }
        network
    }

    fn start(&mut self, ordinal: Ordinal, start: u64, count: u32) {
        let random = self.random.branch();
        let mut detector = FailureDetector::new(self.now, ordinal, start, random);
        detector.members(self.now, (1..=count).map(Ordinal));
        for (&other, node) in &mut self.nodes {
            if other != ordinal && node.state != State::Down {
                node.detector.linked(self.now, ordinal, start);
                detector.linked(self.now, other, node.start);
            }
        }
        self.nodes.insert(ordinal, Node { detector, state: State::Runs, start });
    }

    fn kill(&mut self, ordinal: Ordinal) {
        self.under_way.retain(|(_, from, to, _)| *from != ordinal && *to != ordinal);
        for node in self.nodes.values_mut() {
            node.detector.unlinked(ordinal);
        }
        self.set(ordinal, State::Down);
    }

    fn set(&mut self, ordinal: Ordinal, state: State) {
        if let Some(node) = self.nodes.get_mut(&ordinal) {
            node.state = state;
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            self.deliver();
            for (&ordinal, node) in &mut self.nodes {
                if node.state != State::Runs {
                    continue;
                }
                node.detector.tick(self.now);
                for (to, bytes) in node.detector.take_messages() {
                    let arrival = self.now + self.random.up_to(Duration::from_millis(20));
                    self.under_way.push((arrival, ordinal, to, bytes));
                }
                for (other, liveness) in node.detector.take_changes(self.now) {
                    self.changes.push((self.now, ordinal, other, liveness));
                }
                node.detector.look_again();
                assert_eq!(node.detector.take_changes(self.now), [], "no news were missed");
            }
        }
    }

    fn deliver(&mut self) {
        for (arrival, from, to, bytes) in core::mem::take(&mut self.under_way) {
            let Some(node) = self.nodes.get_mut(&to) else { continue };
            match node.state {
                State::Runs if arrival <= self.now => node.detector.hear(self.now, from, &bytes),
                State::Down => {}
                State::Runs | State::Pauses => self.under_way.push((arrival, from, to, bytes)),
            }
        }
    }

    /// Who does not believe this of `about`, among those that run.
    fn differ(&self, about: Ordinal, liveness: Liveness) -> Vec<Ordinal> {
        let running = self.nodes.iter().filter(|(_, node)| node.state == State::Runs);
        let others = running.filter(|(ordinal, _)| **ordinal != about);
        let wrong = others.filter(|(_, node)| node.detector.liveness(about) != liveness);
        wrong.map(|(&ordinal, _)| ordinal).collect()
    }
}

#[test]
fn who_is_killed_is_dead_everywhere_in_three_seconds_and_back_in_one() {
    for (count, seed) in [(2, 1), (3, 2), (3, 3), (5, 4), (10, 5), (10, 6)] {
        let mut network = Network::of(count, seed);
        network.run(Duration::from_secs(5));
        assert_eq!(network.changes, [], "{count} nodes that run are all alive");
        let victim = Ordinal(2);
        network.kill(victim);
        network.run(Duration::from_secs(3));
        assert_eq!(network.differ(victim, Liveness::Dead), [], "{count} nodes, seed {seed}");
        network.run(Duration::from_secs(5));
        network.start(victim, 2, count);
        network.run(Duration::from_secs(1));
        assert_eq!(network.differ(victim, Liveness::Alive), [], "{count} nodes, seed {seed}");
        network.run(Duration::from_secs(10));
        let flapped = network.changes.iter().filter(|(_, _, about, _)| *about != victim).count();
        assert_eq!(flapped, 0, "nobody else flaps");
    }
}

#[test]
fn a_pause_of_one_makes_nobody_else_flap_and_it_declares_nobody_dead() {
    for (count, seed) in [(3, 1), (3, 2), (5, 3), (7, 4)] {
        let mut network = Network::of(count, seed);
        network.run(Duration::from_secs(4));
        let paused = Ordinal(1);
        network.set(paused, State::Pauses);
        network.run(Duration::from_secs(10));
        assert_eq!(network.differ(paused, Liveness::Dead), []);
        network.set(paused, State::Runs);
        network.run(Duration::from_secs(2));
        assert_eq!(network.differ(paused, Liveness::Alive), [], "{count} nodes, seed {seed}");
        network.run(Duration::from_secs(10));
        let flapped: Vec<_> =
            network.changes.iter().filter(|(_, _, about, _)| *about != paused).collect();
        assert!(flapped.is_empty(), "{count} nodes, seed {seed}: {flapped:?}");
        assert_eq!(network.changes.len(), 2 * (count as usize - 1), "dead once, alive once");
    }
}

#[test]
fn a_member_that_was_never_reached_is_dead_after_three_seconds() {
    let mut network = Network::of(3, 9);
    network.kill(Ordinal(3));
    network.run(Duration::from_millis(2900));
    assert_eq!(network.changes, []);
    network.run(Duration::from_millis(200));
    assert_eq!(network.differ(Ordinal(3), Liveness::Dead), []);
    assert_eq!(network.changes.len(), 2);
}

#[test]
fn two_that_lost_each_other_find_each_other() {
    let mut network = Network::of(2, 11);
    network.run(Duration::from_secs(2));
    for (a, b) in [(1, 2), (2, 1)] {
        let node = network.nodes.get_mut(&Ordinal(a)).expect("it exists");
        node.detector.unlinked(Ordinal(b));
    }
    // Nothing arrives, both run.
    for _ in 0..1000 {
        network.run(STEP);
        network.under_way.clear();
    }
    assert_eq!(network.differ(Ordinal(1), Liveness::Dead), []);
    assert_eq!(network.differ(Ordinal(2), Liveness::Dead), []);
    for (a, b) in [(1, 2), (2, 1)] {
        let now = network.now;
        let node = network.nodes.get_mut(&Ordinal(a)).expect("it exists");
        node.detector.linked(now, Ordinal(b), 1);
    }
    network.run(Duration::from_secs(1));
    assert_eq!(network.differ(Ordinal(1), Liveness::Alive), []);
    assert_eq!(network.differ(Ordinal(2), Liveness::Alive), []);
}

#[test]
fn what_is_said_in_anothers_name_or_is_garbage_is_not_heard() {
    let mut network = Network::of(2, 12);
    network.run(Duration::from_secs(1));
    let now = network.now;
    let node = network.nodes.get_mut(&Ordinal(1)).expect("it exists");
    node.detector.hear(now, Ordinal(2), &[0, 0, 0, 3, 1, 2, 3]);
    node.detector.hear(now, Ordinal(2), &[0, 0, 0, 2, 1, 2, 3]);
    node.detector.hear(now, Ordinal(2), &[]);
    network.run(Duration::from_secs(2));
    assert_eq!(network.changes, []);
}

/// One that was declared dead begins a new life. Should the only other one die before it says anything
/// more, that is noticed all the same.
#[test]
fn one_that_was_declared_dead_sees_the_other_one_die() {
    let (first, second) = (Ordinal(1), Ordinal(2));
    for steps in 1..40 {
        let mut network = Network::of(2, steps.into());
        network.run(Duration::from_secs(2));
        // The second one does not hear the first one, and says so to it.
        let believes = |network: &Network| network.nodes[&second].detector.liveness(first);
        let mut left = steps;
        while left > 0 {
            network.run(STEP);
            network.under_way.retain(|(_, from, ..)| *from != first);
            left -= u32::from(believes(&network) == Liveness::Dead);
        }
        network.kill(second);
        network.run(Duration::from_secs(6));
        let liveness = network.nodes[&first].detector.liveness(second);
        assert_eq!(liveness, Liveness::Dead, "{steps} steps after it was declared dead");
    }
}

#[test]
fn one_that_is_linked_is_told_once_in_each_life_and_again_after_it_was_cut_off() {
    let now = Duration::from_secs(1);
    let mut detector = FailureDetector::new(now, Ordinal(1), 1, Random::new(11).branch());
    detector.members(now, (1..=2).map(Ordinal));
    let mut is_told = |start| {
        detector.linked(now, Ordinal(2), start);
        !detector.take_messages().is_empty()
    };
    assert_eq!([1, 1, 2, 2].map(&mut is_told), [true, false, true, false]);
    detector.unlinked(Ordinal(2));
    detector.linked(now, Ordinal(2), 2);
    assert_eq!(detector.take_messages().len(), 1);
}
