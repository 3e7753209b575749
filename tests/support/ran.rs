//! A command that ends by itself: what it was given, what it printed, how it ended.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use super::node::wait_until;

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Ran {
    /// Runs `command` with `input` on its standard input until it ends; it is killed where it does not.
    pub(crate) fn with_input(command: &mut Command, input: &[u8]) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Killed(command.spawn().expect("it runs"));
        let mut stdin = child.0.stdin.take().expect("piped");
        let input = input.to_vec();
        // One that reads nothing may have closed its input already.
        let writing = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let out = collect(child.0.stdout.take().expect("piped"));
        let err = collect(child.0.stderr.take().expect("piped"));
        let mut status = None;
        wait_until("the command ends", || {
            status = child.0.try_wait().expect("our child");
            status.is_some()
        });
        writing.join().expect("no panic");
        let status = status.expect("it has ended");
        let code = status.code().unwrap_or_else(|| panic!("{status}"));
        let err = String::from_utf8(err.join().expect("no panic")).expect("messages are text");
        Self { code, out: out.join().expect("no panic"), err }
    }

    /// Runs `command` with nothing on its standard input.
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::with_input(command, b"")
    }

    /// What it printed, where it did what it was asked to.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, 0, "{}", self.err);
        String::from_utf8(self.out).expect("text")
    }

    /// Asserts that it ended with `code`, printed no data, and said each of `parts`.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.out.is_empty(), "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is not in: {}", self.err);
        }
    }
}

/// Ends the child where a test fails while it runs.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("a pipe");
        bytes
    })
}
