//! Where a key lives: the hash, the partition, the shard of a node, and the nodes of a layout.
//!
//! Row 1, pure. **Architecture invariant:** no I/O, no clock, no randomness; the same input gives the
//! same place on every node, every platform and every later version.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod contest;
mod layout;
mod place;
mod record_hash;
mod seats;
mod table;
mod tickets;

#[cfg(test)]
mod balance_tests;
#[cfg(test)]
mod sample;

pub use layout::{Layout, Sets, are_in_one_set};
pub use place::{HashArc, KeyHash, Partition, Shift, shard_of};
pub use record_hash::record_hash;
