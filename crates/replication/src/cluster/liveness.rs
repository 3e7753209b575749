//! Who is up: SWIM (Das, Gupta and Motivala, 2002) with suspicion, as the crate `foca` has it, over
//! the links between members.
//!
//! **Never:** changes the layout. And never judges others right after a pause of its own: what they
//! said meanwhile is heard first.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::num::{NonZeroU8, NonZeroUsize};
use core::time::Duration;

use foca::{Config, Foca, NoCustomBroadcast, Notification, PeriodicParams, Runtime, Timer};
use paravon_model::Ordinal;
use rand::rngs::Xoshiro256PlusPlus;

use super::settings::Liveness;
use super::swim::{Bytes, Life, sender};

/// How often a node probes one other.
const PROBE_PERIOD: Duration = Duration::from_millis(300);

/// How long it waits for an answer before it asks others to probe.
const PROBE_ROUND_TRIP: Duration = Duration::from_millis(100);

/// How long one that did not answer may say that it is alive.
const SUSPICION: Duration = Duration::from_millis(900);

/// How often changes are told to a few others besides.
const GOSSIP_PERIOD: Duration = Duration::from_millis(100);

/// How often a linked member that is not known to be up is told of this node.
const ANNOUNCE_PERIOD: Duration = Duration::from_millis(300);

/// After so long a member that was never heard of is believed to be down.
const NEVER_HEARD: Duration = Duration::from_secs(3);

/// Longest message: about 200 updates.
const MAX_MESSAGE_BYTES: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// How many are asked to probe in one's stead, and gossiped with.
const FEW: NonZeroUsize = NonZeroUsize::new(3).expect("not zero");

/// How often a change is passed on.
const TRANSMISSIONS: NonZeroU8 = NonZeroU8::new(10).expect("not zero");

type Detector = Foca<Life, Bytes, Xoshiro256PlusPlus, NoCustomBroadcast>;

/// The failure detector of one member.
pub(super) struct FailureDetector {
    detector: Detector,
    own: Ordinal,
    wires: Wires,
    beliefs: BTreeMap<Ordinal, Belief>,
    /// Members that messages reach, and the life that they said to be in.
    linked: BTreeMap<Ordinal, Life>,
    next_announce: Duration,
    last_tick: Duration,
    /// When, without news, a member that was never heard of is next believed to be down.
    next_silent: Duration,
}

/// What is believed of a member.
#[derive(Debug)]
struct Belief {
    liveness: Liveness,
    /// Whether it was ever known to be up.
    was_heard: Heard,
}

/// Whether a member was ever known to be up, and since when that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    NotSince(Duration),
    Yes,
}

/// What the detector wants done.
#[derive(Debug, Default)]
struct Wires {
    now: Duration,
    to_send: Vec<(Ordinal, Vec<u8>)>,
    /// Due time, place in order, timer.
    timers: Vec<(Duration, u64, Timer<Life>)>,
    next_number: u64,
    /// Whether somebody has come up or gone down since beliefs were formed.
    has_news: bool,
}

impl Runtime<Life> for &mut Wires {
    fn notify(&mut self, _notification: Notification<'_, Life>) {
        self.has_news = true;
    }

    fn send_to(&mut self, to: Life, data: &[u8]) {
        self.to_send.push((to.ordinal, data.into()));
    }

    fn submit_after(&mut self, timer: Timer<Life>, after: Duration) {
        self.next_number += 1;
        self.timers.push((self.now.saturating_add(after), self.next_number, timer));
    }
}

impl Wires {
    /// Takes the timer that is due first. Of two due together the one that its kind puts first: an
    /// indirect probe belongs before the end of its period.
    fn take_due(&mut self, now: Duration) -> Option<Timer<Life>> {
        let due = self.timers.iter().enumerate().filter(|(_, (due, ..))| *due <= now);
        let first = due.min_by(|(_, a), (_, b)| (a.0, &a.2, a.1).cmp(&(b.0, &b.2, b.1)));
        let place = first.map(|(place, _)| place)?;
        Some(self.timers.swap_remove(place).2)
    }
}

impl FailureDetector {
    /// The detector of member `own` in its life of this start.
    pub(super) fn new(now: Duration, own: Ordinal, start: u64, random: Xoshiro256PlusPlus) -> Self {
        let life = Life { ordinal: own, start, renewal: 0 };
        Self {
            detector: Foca::new(life, configuration(), random, Bytes),
            own,
            wires: Wires { now, ..Wires::default() },
            beliefs: BTreeMap::new(),
            linked: BTreeMap::new(),
            next_announce: now,
            last_tick: now,
            next_silent: Duration::MAX,
        }
    }

    /// These are the members now.
    pub(super) fn members(&mut self, now: Duration, members: impl Iterator<Item = Ordinal>) {
        let wanted: BTreeSet<Ordinal> = members.filter(|&ordinal| ordinal != self.own).collect();
        self.beliefs.retain(|ordinal, _| wanted.contains(ordinal));
        for ordinal in wanted {
            let fresh = Belief { liveness: Liveness::Alive, was_heard: Heard::NotSince(now) };
            self.beliefs.entry(ordinal).or_insert(fresh);
        }
        self.wires.has_news = true;
    }

    /// Messages reach a member, which said that it is in its life of this start. It is told of this node
    /// once: each time it would answer with a list of all that it knows.
    pub(super) fn linked(&mut self, now: Duration, ordinal: Ordinal, start: u64) {
        let life = Life { ordinal, start, renewal: 0 };
        if self.linked.insert(ordinal, life) == Some(life) {
            return;
        }
        self.wires.now = now;
        // A message that cannot be made is one that was lost.
        let _ = self.detector.announce(life, &mut self.wires);
    }

    /// Messages do not reach it any more.
    pub(super) fn unlinked(&mut self, ordinal: Ordinal) {
        self.linked.remove(&ordinal);
    }

    /// A member's detector says something. What it says in another's name is not heard
    /// (`NO_STRANGER`).
    pub(super) fn hear(&mut self, now: Duration, from: Ordinal, message: &[u8]) {
        if sender(message) != Some(from) || !self.beliefs.contains_key(&from) {
            return;
        }
        self.wires.now = now;
        // What cannot be read is as good as lost.
        let _ = self.detector.handle_data(message, &mut self.wires);
        // One that was declared dead begins a new life, and stands still in it until it is told
        // something: if nobody speaks to it any more, it would never notice.
        let _ = self.detector.apply_many(core::iter::empty(), true, &mut self.wires);
    }

    /// Time has passed. Frames that came meanwhile are to be heard before.
    pub(super) fn tick(&mut self, now: Duration) {
        let gap = now.saturating_sub(self.last_tick);
        if gap > PROBE_PERIOD {
            // This node stood still: the answers that it waits for lie unread before it.
            for (due, ..) in &mut self.wires.timers {
                *due += gap;
            }
        }
        self.last_tick = now;
        self.wires.now = now;
        while let Some(timer) = self.wires.take_due(now) {
            // A probe cycle that was disturbed is begun anew by the detector itself.
            let _ = self.detector.handle_timer(timer, &mut self.wires);
        }
        if now >= self.next_announce {
            self.next_announce = now + ANNOUNCE_PERIOD;
            self.announce_to_missing();
        }
    }

    /// Tells linked members that are not known to be up of this node: one that came back is known
    /// within moments, and two that both were alone find each other.
    fn announce_to_missing(&mut self) {
        let active: BTreeSet<Ordinal> = self.active().collect();
        for (ordinal, &life) in &self.linked {
            if !active.contains(ordinal) {
                let _ = self.detector.announce(life, &mut self.wires);
            }
        }
    }

    fn active(&self) -> impl Iterator<Item = Ordinal> {
        self.detector.iter_members().map(|member| member.id().ordinal)
    }

    /// Messages to be sent, taken.
    pub(super) fn take_messages(&mut self) -> Vec<(Ordinal, Vec<u8>)> {
        core::mem::take(&mut self.wires.to_send)
    }

    /// Beliefs that have changed.
    pub(super) fn take_changes(&mut self, now: Duration) -> Vec<(Ordinal, Liveness)> {
        let has_news = core::mem::take(&mut self.wires.has_news);
        if !has_news && now < self.next_silent {
            return Vec::new();
        }
        self.next_silent = Duration::MAX;
        let active: BTreeSet<Ordinal> = self.active().collect();
        let mut changes = Vec::new();
        for (&ordinal, belief) in &mut self.beliefs {
            let liveness = if active.contains(&ordinal) {
                belief.was_heard = Heard::Yes;
                Liveness::Alive
            } else {
                match belief.was_heard {
                    Heard::NotSince(begin) if now.saturating_sub(begin) < NEVER_HEARD => {
                        self.next_silent = self.next_silent.min(begin.saturating_add(NEVER_HEARD));
                        continue;
                    }
                    Heard::NotSince(_) | Heard::Yes => Liveness::Dead,
                }
            };
            if belief.liveness != liveness {
                belief.liveness = liveness;
                changes.push((ordinal, liveness));
            }
        }
        changes
    }

    /// Forms beliefs anew at the next look, for a test that this changes nothing.
    #[cfg(test)]
    pub(super) fn look_again(&mut self) {
        self.wires.has_news = true;
    }

    /// What is believed of a member; the node itself is alive.
    pub(super) fn liveness(&self, ordinal: Ordinal) -> Liveness {
        self.beliefs.get(&ordinal).map_or(Liveness::Alive, |belief| belief.liveness)
    }

    /// The earliest moment at which a tick has something to do.
    pub(super) fn next_wake(&self) -> Duration {
        let timer = self.wires.timers.iter().map(|(due, ..)| *due).min();
        let announce = (!self.beliefs.is_empty()).then_some(self.next_announce);
        timer.into_iter().chain(announce).min().unwrap_or(Duration::MAX)
    }
}

fn configuration() -> Config {
    Config {
        probe_period: PROBE_PERIOD,
        probe_rtt: PROBE_ROUND_TRIP,
        num_indirect_probes: FEW,
        max_transmissions: TRANSMISSIONS,
        suspect_to_down_after: SUSPICION,
        // An ordinal's lives are known apart, so nothing needs to be forgotten.
        remove_down_after: None,
        max_packet_size: MAX_MESSAGE_BYTES,
        notify_down_members: true,
        periodic_announce: Some(PeriodicParams {
            frequency: Duration::from_secs(1),
            num_members: NonZeroUsize::MIN,
        }),
        periodic_announce_to_down_members: None,
        periodic_gossip: Some(PeriodicParams { frequency: GOSSIP_PERIOD, num_members: FEW }),
    }
}
