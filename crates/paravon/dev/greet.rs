//! What is printed once the cluster serves: commands to copy.
//!
//! **Never:** a command that works in one folder only.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::place::Place;

pub(super) fn print(place: &Place) {
    let bold = if io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        ("\u{1b}[1m", "\u{1b}[0m")
    } else {
        ("", "")
    };
    let mut text =
        format!("{}Paravon is ready.{} Copy these into another terminal:\n\n", bold.0, bold.1);
    for command in first_commands(place) {
        text += &format!("  {command}\n");
    }
    text += &format!("\nCtrl-C stops it; the data stays in {}.\n", place.dir().display());
    // A reader that has gone has seen what it wanted; the nodes go on.
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Store, read, look, delete. In a cluster the value is read through another node than it was stored
/// through.
fn first_commands(place: &Place) -> Vec<String> {
    let paractl = std::env::current_exe()
        .map_or_else(|_| PathBuf::from("paractl"), |exe| exe.with_file_name("paractl"));
    let command = format!("{} --paraconf {}", shell(&paractl), shell(&place.paraconf()));
    let (read, look) = match place.nodes().last() {
        Some(last) if place.count() > 1 => {
            (format!("get greeting --server {}", last.api()), "admin cluster-status -o table")
        }
        _ => ("get greeting".to_owned(), "admin node-status"),
    };
    let rest = ["put greeting hello", &read, look, "delete greeting"];
    rest.iter().map(|rest| format!("{command} {rest}")).collect()
}

/// A path as one word of a shell.
fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
