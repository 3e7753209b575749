//! `bench`: puts load on servers and says what they did.
//!
//! A closed loop on one thread: every client has one connection and always `depth` requests in flight, so
//! a slow server gets less load and not a longer queue.
//!
//! **Never:** hides a failure: nothing is tried twice here, every error is counted by its code, and if
//! nothing succeeded the command fails.

mod keys;
mod load;
mod progress;
mod report;

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::args::time;
use crate::commands::runtime;
use crate::context::Context;
use crate::error::Error;
use crate::note;
use crate::output::Output;

/// `bench`.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArgs {
    /// What is asked
    #[arg(long, value_name = "OP", default_value = "put")]
    op: Op,
    /// Clients, each with a connection of its own; they take the servers in turn
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// Requests that each client has in flight
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    depth: u32,
    /// Different keys; the same ones in every run
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// Bytes of each value
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    value_size: u32,
    /// Ask some keys more often: the exponent of a Zipf distribution, such as 0.99 [default: all alike]
    #[arg(long, value_name = "S", value_parser = exponent)]
    zipf: Option<f64>,
    /// How long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    duration: Duration,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Op {
    /// Store values.
    Put,
    /// Read keys; says how many were found.
    Get,
    /// Half and half.
    Mixed,
}

/// Runs the load and prints the report.
pub(crate) fn run(args: &BenchArgs, context: &Context, output: &Output) -> Result<(), Error> {
    let done = runtime()?.block_on(load::run(args, context))?;
    if done.stats.found == 0 && done.stats.absent > 0 {
        note("note: no key was found; run `paractl bench --op put` with the same --keys first");
    }
    output.print(&report::tree(args, &done))?;
    match done.stats.first_error {
        Some(error) if done.stats.latency.is_empty() => Err(error.into()),
        _ => Ok(()),
    }
}

fn exponent(text: &str) -> Result<f64, &'static str> {
    let exponent = text.parse().ok().filter(|s: &f64| (0.01..=10.0).contains(s));
    exponent.ok_or("it must be a number from 0.01 to 10")
}
