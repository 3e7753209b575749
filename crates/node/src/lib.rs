//! The server: configuration, event loops, sessions, and everything that ties the pure core to
//! sockets, threads and disks.
//!
//! Row 4.
//!
//! ```text
//!  accept ──> session ──> Core::receive ──> Shard::step ──> Store (reads in place)
//!             (one task)                        │  ▲
//!                ▲                     take_group  complete
//!                └──── replies                  ▼  │
//!                                            Journal (log thread, appliers, checkpoints)
//! ```
//!
//! **Architecture invariants:** what a put or get means is decided in `replication`, never here. Each
//! event loop is one thread that owns its shards and sessions; loops share nothing but messages.
//! Everything that crosses a thread crosses it in batches. Every task has an owner, a bound and an
//! end, and shutdown waits for it.

#![forbid(unsafe_code)]

mod admin;
pub mod config;
mod core;
mod document;
mod error;
mod event_loop;
mod failure;
mod inbox;
mod outbox;
mod server;
mod session;
mod shared;

pub use error::StartError;
pub use server::{Addresses, Server, Stopped};
