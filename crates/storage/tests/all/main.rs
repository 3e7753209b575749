//! Storage as a whole: the real log and the real redb on a disk that crashes, lies and fills up.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod barriers;
mod conformance;
mod crashes;
mod damage;
mod directory;
mod drops;
mod faults;
mod forgets;
mod hint_history;
mod hints;
mod mark_history;
mod marks;
mod quarantine;
mod record_history;
mod rig;
mod sums;
mod threads;
