//! `paractl`: the command line of Paravon.
//!
//! It reads what was typed (`args.rs`), finds out which cluster is meant (`context.rs`), does it
//! (`commands/`), prints the result (`output.rs`) and ends with a code that says how it went (`error.rs`).
//!
//! **Never:** names a crate of ours but `paravon_client`, or prints anything but data on standard output.

#![forbid(unsafe_code)]

mod args;
mod bench;
mod commands;
mod context;
mod error;
mod output;
mod paraconf;
mod shell;
mod typed;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::error::Error;
use crate::output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(command) => commands::run(command, &cli.global, &Output::new(cli.global.output)),
        None => shell::run(&cli.global),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(error.exit() as u8)
        }
    }
}

/// Says on standard error what went wrong.
fn complain(error: &Error) {
    match error {
        // It has colours where there is a terminal, and the usage.
        Error::Usage(usage) => drop(usage.print()),
        error => note(&format!("error: {error}")),
    }
}

/// Says something on standard error. Where that is closed, nobody listens, and nothing is lost.
fn note(text: &str) {
    let _nobody_listens = writeln!(std::io::stderr(), "{text}");
}
