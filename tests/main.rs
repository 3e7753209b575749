//! The one test harness of the product: real binaries, real TLS, real files.
//!
//! Tests bind port 0, wait for conditions and end only processes that they started.

#![forbid(unsafe_code)]

mod support;

mod certificates;
mod cluster;
mod commands;
mod copies;
mod files;
mod growing;
mod protocol_bytes;
mod quick_start;
mod replacing;
mod rescuing;
mod retries;
mod signals;
mod tidy;
