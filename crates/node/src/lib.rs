//! The server: configuration, event loops, sessions, and everything that ties the pure core to
//! sockets, threads and disks.
//!
//! Row 4.
//!
//! ```text
//!  accept ──> session ──> Core::receive ──> Shard::step ──> Store (reads in place)
//!             (one task)        │               │  ▲
//!                ▲              │      take_group  complete
//!                └── replies ───┤               ▼  │
//!                               │            Journal (log thread, appliers, checkpoints)
//!  other nodes <── peer_link <──┤
//!                               └─> Cluster::step (first loop) ──> saved state, layouts for all loops
//! ```
//!
//! **Architecture invariants:** what a put or get means, and who is a member, is decided in `replication`,
//! never here. Each event loop is one thread that owns its shards, its sessions and its links to other
//! nodes; loops share nothing but messages.
//! Everything that crosses a thread crosses it in batches. Every task has an owner, a bound and an
//! end, and shutdown waits for it.

#![forbid(unsafe_code)]

mod admin;
mod administration;
mod asked;
pub mod config;
mod copies;
mod core;
mod error;
mod event_loop;
mod failure;
mod inbox;
mod links;
mod outbox;
mod peer_dial;
mod peer_link;
mod placed;
mod plan;
mod rescue;
mod scrubbing;
mod server;
mod session;
mod settling;
mod shared;
mod status;
mod stored_state;

pub use error::StartError;
pub use rescue::{Rescue, RescueError, RescueReport};
pub use server::{Addresses, Founding, Server, Stopped};
