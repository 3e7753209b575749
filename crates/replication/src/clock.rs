//! The hybrid logical clock that stamps writes (`VERSION_MONOTONIC`, `VERSION_UNIQUE`). After
//! Kulkarni et al. (2014), with two bounds of our own: a ceiling that the disk holds before any stamp
//! reaches it, and a distance from the wall clock that no other node's stamp can pull it past.
//!
//! It never reads a clock, never goes back, and never gives out a stamp above the durable ceiling: a
//! node that crashed would give it out again.

use core::time::Duration;

use paravon_model::Hlc;
use paravon_model::limits::MAX_REQUEST_TIMEOUT;

use crate::event::Now;
use crate::mutants::{self, Mutant};

/// What the clock of a shard is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSettings {
    /// How far a wall clock may be off (`clock.max_skew`).
    pub max_skew: Duration,
    /// The ceiling that the disk held at the start: every earlier stamp lies at or below it.
    pub recovered: Hlc,
    /// This shard among those of the node.
    pub lane: u16,
    /// Shards of the node. Each stamps numbers of its own remainder, so that no two shards give out
    /// the same stamp and none needs to ask another.
    pub lanes: u16,
}

/// Whether this node's wall clock may be trusted for stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// There is nobody to differ from: a sole member.
    Alone,
    /// It agreed with the others when the wall clock stood so far ahead of the monotonic one; holds
    /// until the difference of the two has moved by more than half of `max_skew`.
    Measured {
        /// Wall clock less monotonic clock, in milliseconds.
        wall_less_monotonic_ms: i64,
    },
    /// It has not been measured, or is too far from more than half of the members that are heard.
    Held {
        /// By so many milliseconds; zero where it has not been measured.
        offset_ms: u64,
    },
}

/// Why there is no stamp now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The ceiling must be raised first; [`Clock::wanted_ceiling`] says to what.
    Ceiling,
    /// The wall clock is not to be trusted: never measured, too far from the others, or it jumped.
    Skew {
        /// By so many milliseconds; zero where it has not been measured.
        offset_ms: u64,
    },
    /// Stamps of an earlier run may lie above the wall clock: it must pass that run's ceiling first.
    Recovering {
        /// Milliseconds since the Unix epoch.
        until_ms: u64,
    },
    /// The end of time has come: 48 bits of milliseconds are used up.
    Exhausted,
}

/// How far the ceiling of a node that stamps nothing may stay behind its wall clock.
const IDLE_DISTANCE_MS: u64 = 1000;

/// A shard's clock.
#[derive(Clone, Debug)]
pub struct Clock {
    last: Hlc,
    ceiling: Hlc,
    wanted: Hlc,
    lane: u64,
    lanes: u64,
    block_ms: u64,
    bound_ms: u64,
    permit: Permit,
    recovered_ms: u64,
}

impl Clock {
    /// A clock that goes on from the recovered ceiling, held until it gets its first permit.
    #[must_use]
    pub fn new(settings: ClockSettings) -> Self {
        let skew_ms = u64::try_from(settings.max_skew.as_millis()).unwrap_or(u64::MAX);
        Self {
            last: settings.recovered,
            ceiling: settings.recovered,
            wanted: settings.recovered,
            lane: u64::from(settings.lane),
            lanes: u64::from(settings.lanes.max(1)),
            block_ms: (skew_ms / 4).max(1),
            bound_ms: skew_ms.saturating_mul(2),
            permit: Permit::Held { offset_ms: 0 },
            recovered_ms: settings.recovered.physical_ms(),
        }
    }

    /// Whether stamps may be given from now on.
    pub fn set_permit(&mut self, permit: Permit) {
        self.permit = permit;
    }

    /// Whether a stamp may be given now. A jump of the wall clock by more than half of `max_skew`
    /// ends the permit: another measurement must renew it, although the clock jump back.
    fn permitted(&mut self, now: Now) -> Result<(), Hold> {
        let measured_ms = match self.permit {
            Permit::Alone => return Ok(()),
            Permit::Held { offset_ms } => return Err(Hold::Skew { offset_ms }),
            Permit::Measured { wall_less_monotonic_ms } => wall_less_monotonic_ms,
        };
        let offset_ms = wall_less_monotonic_ms(now).abs_diff(measured_ms);
        if offset_ms > self.bound_ms / 4 {
            self.permit = Permit::Held { offset_ms };
            return Err(Hold::Skew { offset_ms });
        }
        if now.wall_ms <= self.recovered_ms && self.recovered_ms > 0 {
            return Err(Hold::Recovering { until_ms: self.recovered_ms.saturating_add(1) });
        }
        Ok(())
    }

    /// The next stamp: larger than every earlier one and every observed one.
    ///
    /// # Errors
    /// Nothing was stamped; [`Hold`] says what is missing.
    pub fn stamp(&mut self, now: Now) -> Result<Hlc, Hold> {
        self.permitted(now)?;
        let after_last = self.last.checked_add(1).ok_or(Hold::Exhausted)?;
        let earliest = after_last.max(Hlc::new(now.wall_ms, 0));
        let to_lane = (self.lane + self.lanes - earliest.as_u64() % self.lanes) % self.lanes;
        let stamp = earliest.checked_add(to_lane).ok_or(Hold::Exhausted)?;
        if stamp > self.ceiling {
            return Err(Hold::Ceiling);
        }
        self.last = stamp;
        Ok(stamp)
    }

    /// Moves past another coordinator's fresh stamp.
    ///
    /// # Errors
    /// It lies further ahead of the wall clock than the bound, by so many milliseconds in all: it is to
    /// be refused, even where this clock is past it already. The clock has not moved.
    pub fn follow(&mut self, fresh: Hlc, now: Now) -> Result<(), u64> {
        let ahead_ms = fresh.physical_ms().saturating_sub(now.wall_ms);
        if ahead_ms > self.bound_ms {
            return Err(ahead_ms);
        }
        self.last = self.last.max(fresh);
        Ok(())
    }

    /// Moves past a version that another write has.
    ///
    /// # Errors
    /// It lies further ahead of the wall clock than the bound, by so many milliseconds in all; the
    /// clock has not moved. One far-future stamp would otherwise win for ever.
    pub fn observe(&mut self, seen: Hlc, now: Now) -> Result<(), u64> {
        let ahead_ms = seen.physical_ms().saturating_sub(now.wall_ms);
        if seen > self.last && ahead_ms > self.bound_ms {
            return Err(ahead_ms);
        }
        self.last = self.last.max(seen);
        Ok(())
    }

    /// The ceiling to make durable now: one block ahead, asked for while half a block is left, so
    /// that a steady stream of writes never waits for it. `None` while one is under way, and while
    /// nothing may be stamped: a wall clock that jumped ahead must not take the ceiling with it.
    pub fn wanted_ceiling(&mut self, now: Now) -> Option<Hlc> {
        self.permitted(now).ok()?;
        let reached_ms = self.last.physical_ms().max(now.wall_ms);
        let enough = Hlc::new(reached_ms.saturating_add(self.block_ms / 2), 0);
        if self.wanted >= enough {
            return None;
        }
        self.wanted = Hlc::new(reached_ms.saturating_add(self.block_ms), u16::MAX);
        if mutants::is(Mutant::CeilingNotPersisted) {
            self.ceiling = self.wanted;
        }
        Some(self.wanted)
    }

    /// The ceiling to make durable although nothing is stamped: it follows the wall clock at some
    /// distance, near enough for other members to remember a recent one (`DISK_NOT_OLDER`), and
    /// seldom enough for a quiet disk to rest.
    pub fn idle_ceiling(&mut self, now: Now) -> Option<Hlc> {
        let behind_ms = now.wall_ms.saturating_sub(self.wanted.physical_ms());
        if behind_ms < IDLE_DISTANCE_MS { None } else { self.wanted_ceiling(now) }
    }

    /// A time before which no write is under way any more, whoever stamped it: its deadline has passed,
    /// although its stamp be `max_skew` ahead. None while this clock may not stamp.
    pub(crate) fn settled_before(&mut self, now: Now) -> Option<Hlc> {
        self.permitted(now).ok()?;
        let deadline_ms = u64::try_from(MAX_REQUEST_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        let settled_ms = now.wall_ms.checked_sub(deadline_ms.saturating_add(self.bound_ms / 2))?;
        Some(Hlc::new(settled_ms, 0))
    }

    /// The ceiling that the disk is known to hold.
    #[must_use]
    pub fn ceiling(&self) -> Hlc {
        self.ceiling
    }

    /// The ceiling that was wanted will not come; the next write asks anew.
    pub fn ceiling_refused(&mut self) {
        self.wanted = self.ceiling;
    }

    /// The disk holds `ceiling` now.
    pub fn ceiling_raised(&mut self, ceiling: Hlc) {
        self.ceiling = self.ceiling.max(ceiling);
        self.wanted = self.wanted.max(self.ceiling);
    }
}

/// What a permit is measured against.
fn wall_less_monotonic_ms(now: Now) -> i64 {
    let monotonic_ms = i64::try_from(now.monotonic.as_millis()).unwrap_or(i64::MAX);
    i64::try_from(now.wall_ms).unwrap_or(i64::MAX).saturating_sub(monotonic_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall_ms: u64) -> Now {
        Now { monotonic: Duration::ZERO, wall_ms }
    }

    fn clock(recovered: Hlc, lane: u16, lanes: u16) -> Clock {
        let max_skew = Duration::from_millis(500);
        let mut clock = Clock::new(ClockSettings { max_skew, recovered, lane, lanes });
        clock.set_permit(Permit::Alone);
        clock
    }

    fn measured(clock: &mut Clock, now: Now) {
        let wall_less_monotonic_ms = wall_less_monotonic_ms(now);
        clock.set_permit(Permit::Measured { wall_less_monotonic_ms });
    }

    fn raise(clock: &mut Clock, now: Now) {
        let ceiling = clock.wanted_ceiling(now).expect("a ceiling is wanted");
        clock.ceiling_raised(ceiling);
    }

    #[test]
    fn stamps_follow_the_wall_and_never_go_back_with_it() {
        let mut clock = clock(Hlc::ZERO, 0, 1);
        raise(&mut clock, at(1000));
        assert_eq!(clock.stamp(at(1000)), Ok(Hlc::new(1000, 0)));
        assert_eq!(clock.stamp(at(1000)), Ok(Hlc::new(1000, 1)));
        assert_eq!(clock.stamp(at(10)), Ok(Hlc::new(1000, 2)));
        assert_eq!(clock.stamp(at(1001)), Ok(Hlc::new(1001, 0)));
    }

    #[test]
    fn nothing_is_stamped_above_the_durable_ceiling() {
        let mut clock = clock(Hlc::ZERO, 0, 1);
        assert_eq!(clock.stamp(at(1000)), Err(Hold::Ceiling));
        let wanted = clock.wanted_ceiling(at(1000)).expect("a ceiling is wanted");
        assert_eq!(clock.wanted_ceiling(at(1000)), None, "asked once");
        assert_eq!(clock.stamp(at(1000)), Err(Hold::Ceiling), "wanted is not durable");
        clock.ceiling_raised(wanted);
        assert_eq!(clock.stamp(at(1000)), Ok(Hlc::new(1000, 0)));
        assert_eq!(wanted, Hlc::new(1125, u16::MAX), "a quarter of the skew ahead");
        assert_eq!(clock.stamp(at(1126)), Err(Hold::Ceiling));
    }

    #[test]
    fn a_restart_goes_on_above_the_ceiling_although_the_wall_stands_behind() {
        let recovered = Hlc::new(5000, u16::MAX);
        let mut clock = clock(recovered, 0, 1);
        raise(&mut clock, at(100));
        assert_eq!(clock.stamp(at(100)), Ok(Hlc::new(5001, 0)), "overflow carries");
    }

    #[test]
    fn nothing_is_stamped_before_a_permit_nor_after_a_jump_until_measured_again() {
        let mut clock = clock(Hlc::ZERO, 0, 1);
        clock.set_permit(Permit::Held { offset_ms: 700 });
        assert_eq!(clock.stamp(at(1000)), Err(Hold::Skew { offset_ms: 700 }));
        assert_eq!(clock.wanted_ceiling(at(1000)), None);
        measured(&mut clock, at(1000));
        raise(&mut clock, at(1000));
        assert!(clock.stamp(at(1000)).is_ok());
        assert_eq!(clock.wanted_ceiling(at(1251)), None, "the ceiling stays below a jump");
        assert_eq!(
            clock.stamp(at(1000)),
            Err(Hold::Skew { offset_ms: 251 }),
            "although it is back"
        );
        measured(&mut clock, at(1000));
        assert!(clock.stamp(at(1000)).is_ok());
    }

    #[test]
    fn among_others_a_restart_waits_for_the_wall_to_pass_the_ceiling() {
        let mut clock = clock(Hlc::new(5000, u16::MAX), 0, 1);
        measured(&mut clock, at(4900));
        assert_eq!(clock.stamp(at(5000)), Err(Hold::Recovering { until_ms: 5001 }));
        assert_eq!(clock.wanted_ceiling(at(5000)), None);
        raise(&mut clock, at(5001));
        assert_eq!(clock.stamp(at(5001)), Ok(Hlc::new(5001, 0)));
    }

    #[test]
    fn no_other_stamp_pulls_the_clock_beyond_its_bound() {
        let mut clock = clock(Hlc::ZERO, 0, 1);
        raise(&mut clock, at(1000));
        assert_eq!(clock.observe(Hlc::new(2001, 0), at(1000)), Err(1001));
        assert_eq!(clock.stamp(at(1000)), Ok(Hlc::new(1000, 0)), "it has not moved");
        assert_eq!(clock.observe(Hlc::new(2000, 5), at(1000)), Ok(()));
        raise(&mut clock, at(1000));
        assert_eq!(clock.stamp(at(1000)), Ok(Hlc::new(2000, 6)));
    }

    #[test]
    fn a_fresh_stamp_is_held_against_the_wall_although_the_clock_is_past_it() {
        let mut clock = clock(Hlc::ZERO, 0, 1);
        raise(&mut clock, at(2000));
        assert_eq!(clock.stamp(at(2000)), Ok(Hlc::new(2000, 0)));
        assert_eq!(clock.observe(Hlc::new(1900, 0), at(500)), Ok(()));
        assert_eq!(clock.follow(Hlc::new(1900, 0), at(500)), Err(1400));
        assert_eq!(clock.follow(Hlc::new(2000, 7), at(1000)), Ok(()));
        assert_eq!(clock.stamp(at(2000)), Ok(Hlc::new(2000, 8)));
    }

    #[test]
    fn shards_of_a_node_never_share_a_stamp() {
        let lanes = 3;
        let mut seen = alloc::collections::BTreeSet::new();
        for lane in 0..lanes {
            let mut clock = clock(Hlc::new(99, 65_530), lane, lanes);
            raise(&mut clock, at(100));
            for wall in [99, 99, 100, 100, 101, 100, 102] {
                let stamp = clock.stamp(at(wall)).expect("below the ceiling");
                assert!(seen.insert(stamp), "{stamp:?} twice");
            }
        }
    }

    #[test]
    fn the_end_of_time_is_an_error_and_no_panic() {
        let mut clock = clock(Hlc::MAX, 0, 1);
        assert_eq!(clock.stamp(at(u64::MAX)), Err(Hold::Exhausted));
        assert_eq!(clock.wanted_ceiling(at(u64::MAX)), None);
    }
}
