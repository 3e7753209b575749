//! The node without input and output: a state machine that takes events and gives effects.
//!
//! Row 2, pure.
//!
//! ```text
//!             events                           effects
//!  client  --> Event::Put/Get/Delete -->          --> Effect::Reply --> session
//!  disk    --> Event::Stored/Read    -->  Shard   --> Effect::Store --> storage
//!  timers  --> Event::Tick           -->  .step() --> Effect::Read  --> storage
//!  log     --> Event::CeilingRaised  -->          --> Effect::RaiseCeiling --> log
//! ```
//!
//! **Architecture invariants:** no socket, file, thread, clock or randomness; time comes in as
//! [`Now`], effects go out as values, so a simulator runs the very code that production runs. No
//! telemetry: that is attached where effects leave. `shard.rs` only dispatches; what an operation
//! does stands in the file of that operation.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod clock;
pub mod cluster;
mod event;
mod get;
mod operations;
mod put;
mod shard;
mod tally;

pub use clock::{Clock, ClockSettings, Hold, Permit};
pub use event::{Effect, Event, Hint, Now, PeerToken, Reply, RequestToken};
pub use operations::OperationId;
pub use shard::{Settings, Shard};
