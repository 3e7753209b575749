//! The node without input and output: a state machine that takes events and gives effects.
//!
//! Row 2, pure.
//!
//! ```text
//!             events                           effects
//!  client  --> Event::Put/Get/Delete -->          --> Effect::Reply        --> session
//!  peers   --> Event::Asked          -->          --> Effect::Answer       --> peers
//!  peers   --> Event::Answered       -->  Shard   --> Effect::Send         --> peers
//!  disk    --> Event::Stored/Read    -->  .step() --> Effect::Store/Read   --> storage
//!  disk    --> Event::Scanned/..     -->          --> Effect::Scan/Forget  --> storage
//!  disk    --> Event::Totals/Digest  -->          --> Effect::Totals/..    --> storage
//!  log     --> Event::CeilingRaised  -->          --> Effect::RaiseCeiling --> log
//!  cluster --> Event::Layout/Dead/.. -->          --> Effect::Learn/Teach  --> cluster
//!  cluster --> Event::Admit          -->          --> Effect::Settled/..   --> cluster
//!  timers  --> Event::Tick           -->
//! ```
//!
//! **Architecture invariants:** no socket, file, thread, clock or randomness; time comes in as
//! [`Now`], effects go out as values, so a simulator runs the very code that production runs. No
//! telemetry: that is attached where effects leave. `shard.rs` only dispatches; what an operation
//! does stands in the file of that operation.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod admission;
mod agreement;
mod answers;
mod below;
mod clearing;
mod clock;
pub mod cluster;
mod compared;
mod comparison;
mod counterparts;
mod damage;
mod damaged;
#[cfg(test)]
mod damaged_marks_tests;
#[cfg(test)]
mod deletes_tests;
mod dropping;
mod emptying;
mod entropy;
mod event;
mod fetch;
mod floors;
mod folds;
mod get;
mod handoff;
mod healing;
mod hedge;
#[cfg(test)]
mod joint_tests;
mod linger;
mod marks;
mod mending;
pub mod mutants;
mod operation;
mod operations;
mod outgoing;
mod pace;
mod pass;
mod peers;
mod portion;
mod pull;
mod pulled;
mod put;
mod quorum;
mod read_tally;
mod remembered;
mod replica;
mod restoring;
mod round;
mod shard;
mod sixteenths;
mod slots;
#[cfg(test)]
mod soak_tests;
mod sources;
mod store_answers;
mod stores;
mod suspects;
mod takeover;
mod telling;
#[cfg(test)]
mod test_cluster;
#[cfg(test)]
mod test_node;
#[cfg(test)]
mod test_traffic;
mod testimony;
mod transfer;
mod voiding;
#[cfg(test)]
mod worlds;
mod write_tally;

pub use admission::Admission;
pub use agreement::Agreement;
pub use clock::{Clock, ClockSettings, Hold, Permit};
pub use damage::Damages;
pub use event::{Effect, Entry, Event, Hint, Now, PeerToken, Reply, RequestToken, ScanFailure};
pub use floors::FloorStatus;
pub use operations::OperationId;
pub use remembered::{Begin, KEEP, MAX_REMEMBERED, MIN_REQUEST_ID_BYTES, Remembered, RequestKey};
pub use shard::{Settings, Shard};
