//! The cluster machine: one per node, beside its shards. Who the members are, who is up, who may come
//! in, what time it is.
//!
//! **Never:** touches a record. Shards see its results as a layout, liveness and a clock permit.

mod event;

pub use event::{AdminToken, ClusterEffect, ClusterEvent, JoinDone, JoinFailure, Notice};
