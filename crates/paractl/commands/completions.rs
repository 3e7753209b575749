//! `completions SHELL`: prints the script that teaches a shell our commands.
//!
//! **Never:** writes it anywhere; where it belongs differs from system to system.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::args::Cli;
use crate::error::Error;
use crate::output::write_out;

pub(super) fn run(shell: Shell) -> Result<(), Error> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "paractl", &mut script);
    write_out(&script)
}
