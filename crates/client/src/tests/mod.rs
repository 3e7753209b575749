//! The client against a server of this process, over real TLS.
//!
//! **Never:** a fixed port, a sleep that a test's outcome depends on, or a server that outlives its test.

mod admin;
mod failover;
mod failures;
mod fake_server;
mod multiplexing;
