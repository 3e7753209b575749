//! The server's command line: arguments, output and exit codes. Everything else is in the libraries.
//!
//! Exit codes: 0 done; 1 the node failed; 2 wrong usage or configuration.

#![forbid(unsafe_code)]

mod args;
mod cert;
mod check_config;
mod dev;
mod rescue;
mod run;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

/// What went wrong, by exit code.
enum Failure {
    /// The node could not start, or did not stop in order.
    Node(String),
    /// The command line, the configuration or a file that it names is wrong.
    Usage(String),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.command {
        None => run::run(&args.run),
        Some(Command::Dev(dev)) => dev::run(&dev),
        Some(Command::CheckConfig { file }) => check_config::run(&file),
        Some(Command::Rescue(args)) => rescue::run(&args),
        Some(Command::Cert(cert)) => cert::run(&cert),
    };
    let (message, code) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Node(message)) => (message, 1),
        Err(Failure::Usage(message)) => (message, 2),
    };
    for line in message.lines() {
        eprintln!("error: {line}");
    }
    ExitCode::from(code)
}
