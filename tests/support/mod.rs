//! What the tests share: real nodes in folders of their own, commands that end, and a client that sends
//! any bytes.

mod cluster;
mod folder;
mod image;
mod load;
mod node;
mod ports;
mod ran;
mod raw;

pub(crate) use cluster::Cluster;
pub(crate) use folder::{Folder, binary, node_subject};
pub(crate) use image::Image;
pub(crate) use load::{Failures, Load};
pub(crate) use node::{Node, PATIENCE, wait_until};
pub(crate) use ports::free_ports;
pub(crate) use ran::Ran;
pub(crate) use raw::{Raw, connect, message};
