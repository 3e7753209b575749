//! How far this node's wall clock is from the members': measured with a heartbeat on every link, by
//! the midpoint of its round trip. Says whether stamps may be given (`VERSION_MONOTONIC`).
//!
//! **Never:** permits a stamp before anything is measured, or after the wall clock jumped against the
//! monotonic one, until it has been measured again. A sole member has nobody to measure.

use alloc::collections::BTreeMap;
use core::time::Duration;

use paravon_model::NodeId;

use super::offsets::Offsets;
use crate::clock::Permit;
use crate::event::Now;

/// How long a measurement counts.
const FRESH: Duration = Duration::from_secs(5);

/// How often a permit that has not changed in kind is given again.
const AGAIN: Duration = Duration::from_millis(900);

/// What is measured of the members' clocks.
#[derive(Debug)]
pub(super) struct Skew {
    max_skew_ms: i64,
    next_nonce: u64,
    /// The last ping to each member that was not answered yet.
    pings: BTreeMap<NodeId, Ping>,
    offsets: Offsets,
    /// Wall clock less monotonic clock at the last measurement; none before any.
    reference_ms: Option<i64>,
    given: Option<(Duration, Permit)>,
    /// Whether something was measured since then.
    is_renewed: bool,
}

#[derive(Debug)]
struct Ping {
    nonce: u64,
    sent: Now,
}

/// Whether this node's wall clock ran on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WallClock {
    /// As the monotonic clock did.
    Steady,
    /// It jumped: all members are to be pinged at once.
    Jumped,
}

impl Skew {
    /// Nothing measured yet.
    pub(super) fn new(max_skew: Duration) -> Self {
        let max_skew_ms = i64::try_from(max_skew.as_millis()).unwrap_or(i64::MAX / 4);
        Self {
            max_skew_ms,
            next_nonce: 0,
            pings: BTreeMap::new(),
            offsets: Offsets::new(max_skew_ms),
            reference_ms: None,
            given: None,
            is_renewed: false,
        }
    }

    /// The nonce of a ping that is sent to a member now.
    pub(super) fn ping(&mut self, now: Now, to: &NodeId) -> u64 {
        self.next_nonce += 1;
        self.pings.insert(to.clone(), Ping { nonce: self.next_nonce, sent: now });
        self.next_nonce
    }

    /// A member told its time. What took longer than the largest skew says nothing.
    pub(super) fn pong(&mut self, now: Now, from: &NodeId, nonce: u64, wall_ms: u64) {
        let Some(ping) = self.pings.get(from).filter(|ping| ping.nonce == nonce) else { return };
        let sent = ping.sent;
        self.pings.remove(from);
        let round_trip = now.monotonic.saturating_sub(sent.monotonic);
        if millis(round_trip) > self.max_skew_ms {
            return;
        }
        // The wall clock jumped meanwhile: the answer says nothing, and must not hide the jump.
        let before_ms = self.reference_ms.unwrap_or_else(|| wall_less_monotonic_ms(sent));
        if self.has_jumped(before_ms, now) || self.has_jumped(wall_less_monotonic_ms(sent), now) {
            return;
        }
        let midpoint = i128::from(sent.wall_ms).midpoint(i128::from(now.wall_ms));
        let ms = i64::try_from(i128::from(wall_ms) - midpoint).unwrap_or(i64::MAX / 2);
        self.offsets.set(now.monotonic, from, ms);
        self.reference_ms = Some(wall_less_monotonic_ms(now));
        self.is_renewed = true;
    }

    /// A member cannot be measured any more.
    pub(super) fn unlinked(&mut self, name: &NodeId) {
        self.pings.remove(name);
        self.offsets.remove(name);
    }

    /// Compares the two clocks. After a jump all measurements are void.
    pub(super) fn watch(&mut self, now: Now) -> WallClock {
        self.offsets.forget_older(now.monotonic, FRESH);
        let Some(reference_ms) = self.reference_ms else { return WallClock::Steady };
        if !self.has_jumped(reference_ms, now) {
            return WallClock::Steady;
        }
        self.pings.clear();
        self.offsets.clear();
        self.reference_ms = None;
        WallClock::Jumped
    }

    /// Whether the wall clock has moved against the monotonic one since it was so far ahead of it.
    fn has_jumped(&self, before_ms: i64, now: Now) -> bool {
        let moved_ms = wall_less_monotonic_ms(now).saturating_sub(before_ms);
        moved_ms.saturating_abs() > self.max_skew_ms / 2
    }

    /// Whether stamps may be given, where that is to be told: when its kind changes, and with fresh
    /// measurements about every second, so that a slow drift is followed, and so that a shard which saw
    /// a jump that was over before this machine looked may stamp again. `members` counts this node; how many
    /// more than one there are does not matter.
    pub(super) fn permit(&mut self, now: Now, members: usize) -> Option<Permit> {
        let permit = self.judge(members);
        let is_due = match &self.given {
            None => true,
            Some((at, given)) => {
                let is_old = now.monotonic.saturating_sub(*at) >= AGAIN;
                let is_new = self.is_renewed || *given != permit;
                kind(given) != kind(&permit) || (is_old && is_new)
            }
        };
        if is_due {
            self.given = Some((now.monotonic, permit));
            self.is_renewed = false;
        }
        is_due.then_some(permit)
    }

    fn judge(&self, members: usize) -> Permit {
        if members <= 1 {
            return Permit::Alone;
        }
        let Some(wall_less_monotonic_ms) = self.reference_ms else {
            return Permit::Held { offset_ms: 0 };
        };
        if let Some(offset_ms) = self.offsets.away_from_most_ms() {
            return Permit::Held { offset_ms };
        }
        match self.given {
            // Nobody is heard: what was measured last stays so.
            Some((_, Permit::Held { offset_ms })) if self.offsets.is_empty() && offset_ms > 0 => {
                Permit::Held { offset_ms }
            }
            _ => Permit::Measured { wall_less_monotonic_ms },
        }
    }

    /// Whether a member's clock was measured, and this one has not jumped since.
    pub(super) fn has_measured(&self) -> bool {
        self.reference_ms.is_some()
    }

    /// A member's wall clock less this node's, in milliseconds.
    pub(super) fn offset_ms(&self, name: &NodeId) -> Option<i64> {
        self.offsets.ms(name)
    }
}

fn kind(permit: &Permit) -> u8 {
    match permit {
        Permit::Alone => 0,
        Permit::Measured { .. } => 1,
        Permit::Held { offset_ms: 0 } => 2,
        Permit::Held { .. } => 3,
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn wall_less_monotonic_ms(now: Now) -> i64 {
    let wall_ms = i64::try_from(now.wall_ms).unwrap_or(i64::MAX);
    wall_ms.saturating_sub(millis(now.monotonic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::worlds::name;

    const WALL_MS: u64 = 1_000_000;

    fn at(ms: u64) -> Now {
        Now { monotonic: Duration::from_millis(ms), wall_ms: WALL_MS + ms }
    }

    fn skew() -> Skew {
        Skew::new(Duration::from_millis(500))
    }

    /// A round trip of 20 ms to a member whose clock is `ahead_ms` ahead.
    fn measure(skew: &mut Skew, start_ms: u64, who: &str, ahead_ms: i64) {
        let nonce = skew.ping(at(start_ms), &name(who));
        let wall_ms = at(start_ms + 10).wall_ms.saturating_add_signed(ahead_ms);
        skew.pong(at(start_ms + 20), &name(who), nonce, wall_ms);
    }

    #[test]
    fn a_sole_member_has_nobody_to_differ_from() {
        assert_eq!(skew().permit(at(0), 1), Some(Permit::Alone));
    }

    #[test]
    fn nothing_is_stamped_before_a_measurement_and_the_midpoint_counts() {
        let mut skew = skew();
        assert_eq!(skew.permit(at(0), 3), Some(Permit::Held { offset_ms: 0 }));
        measure(&mut skew, 100, "b", 30);
        assert_eq!(skew.offset_ms(&name("b")), Some(30));
        let wall_less_monotonic_ms = WALL_MS as i64;
        assert_eq!(skew.permit(at(120), 3), Some(Permit::Measured { wall_less_monotonic_ms }));
        assert_eq!(skew.permit(at(121), 3), None, "told once");
    }

    #[test]
    fn it_is_held_by_more_than_half_of_those_it_hears_and_no_fewer() {
        let mut skew = skew();
        measure(&mut skew, 0, "b", 10);
        measure(&mut skew, 0, "c", 900);
        assert!(matches!(skew.permit(at(20), 3), Some(Permit::Measured { .. })), "one of two");
        skew.unlinked(&name("b"));
        assert_eq!(skew.permit(at(21), 3), Some(Permit::Held { offset_ms: 900 }));
        skew.unlinked(&name("c"));
        assert_eq!(skew.permit(at(22), 3), None, "nobody says otherwise");
        measure(&mut skew, 30, "b", 10);
        assert!(matches!(skew.permit(at(50), 3), Some(Permit::Measured { .. })));
    }

    #[test]
    fn an_answer_does_not_hide_a_jump_since_its_ping() {
        let mut skew = skew();
        measure(&mut skew, 0, "b", 0);
        measure(&mut skew, 0, "c", 0);
        skew.permit(at(20), 3);
        let nonce = skew.ping(at(100), &name("b"));
        let jumped = Now { wall_ms: at(120).wall_ms + 100_000, ..at(120) };
        skew.pong(jumped, &name("b"), nonce, at(110).wall_ms);
        assert_eq!(skew.watch(jumped), WallClock::Jumped);
        assert_eq!(skew.permit(jumped, 3), Some(Permit::Held { offset_ms: 0 }));
    }

    #[test]
    fn a_slow_answer_and_one_to_an_older_ping_say_nothing() {
        let mut skew = skew();
        let nonce = skew.ping(at(0), &name("b"));
        skew.pong(at(501), &name("b"), nonce, WALL_MS);
        let first = skew.ping(at(600), &name("b"));
        skew.ping(at(700), &name("b"));
        skew.pong(at(710), &name("b"), first, WALL_MS);
        assert_eq!(skew.offset_ms(&name("b")), None);
    }

    #[test]
    fn a_jump_holds_until_it_is_measured_again() {
        let mut skew = skew();
        measure(&mut skew, 0, "b", 0);
        skew.permit(at(20), 2);
        let mut now = at(1000);
        now.wall_ms += 200;
        assert_eq!(skew.watch(now), WallClock::Steady, "less than half of the largest skew");
        now.wall_ms += 100;
        assert_eq!(skew.watch(now), WallClock::Jumped);
        assert_eq!(skew.permit(now, 2), Some(Permit::Held { offset_ms: 0 }));
        assert_eq!(skew.watch(now), WallClock::Steady, "told once");
        let nonce = skew.ping(now, &name("b"));
        skew.pong(now, &name("b"), nonce, now.wall_ms);
        assert!(matches!(skew.permit(now, 2), Some(Permit::Measured { .. })));
    }

    #[test]
    fn an_old_measurement_is_forgotten_but_the_clock_stays_permitted() {
        let mut skew = skew();
        measure(&mut skew, 0, "b", 40);
        skew.permit(at(20), 2);
        assert_eq!(skew.watch(at(6000)), WallClock::Steady);
        assert_eq!(skew.offset_ms(&name("b")), None);
        assert_eq!(skew.permit(at(6000), 2), None);
    }
}
