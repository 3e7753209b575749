//! The configuration of a node: `paranode.yaml`, overlaid by `PARAVON__` environment variables.
//!
//! The file is read alone first, so that its errors name file, line and key; the environment
//! follows. Every key is one row of `keys.rs`: reading, overlaying and suggesting all use that
//! table.
//!
//! **Never:** a key that is silently ignored, a value that is checked later than here, a message
//! that leaves the operator without the next step. Nothing here prints: warnings are returned as
//! values.

mod address;
mod check;
mod draft;
mod error;
mod file;
mod keys;
mod load;
mod paths;
mod settings;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod value;

pub use address::{Address, Host};
pub use check::{Problem, Report};
pub use error::{ConfigError, Expected, Origin, Warning};
pub use load::Loaded;
pub use settings::{
    Api, Clock, Config, Durability, Engine, Handoff, Membership, Node, Peer, Placement, Request,
    Security, Server, Storage,
};
