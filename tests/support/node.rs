//! A real `paravon` process, on ports that the system chose.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up; long, because machines may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What a node says once its ports are open.
const LISTENS: &str = "listens for clients on ";

/// Waits until `condition` holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A running node; killed when dropped.
pub(crate) struct Node {
    child: Child,
    pub(crate) api: SocketAddr,
    pub(crate) peer: SocketAddr,
    log: Receiver<String>,
    said_before_it_served: String,
}

impl Node {
    /// Starts a node and waits until it serves.
    pub(crate) fn start(command: Command) -> Self {
        Self::try_start(command).unwrap_or_else(|said| panic!("the node does not serve:\n{said}"))
    }

    /// Starts a node and waits until it serves, or has ended: then what it said.
    pub(crate) fn try_start(command: Command) -> Result<Self, String> {
        Self::try_launch(command, "serves clients on ")
    }

    /// Starts a node and waits until it listens; whether it will serve is another question.
    pub(crate) fn launch(command: Command) -> Self {
        Self::try_launch(command, LISTENS)
            .unwrap_or_else(|said| panic!("it does not listen:\n{said}"))
    }

    /// Starts a node and waits until its log has a line with `last`.
    fn try_launch(mut command: Command, last: &str) -> Result<Self, String> {
        let mut child = command.spawn().expect("the node runs");
        let log = lines_of(child.stderr.take().expect("piped"));
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut said = String::new();
        let mut node =
            Self { child, api: nowhere, peer: nowhere, log, said_before_it_served: String::new() };
        loop {
            let text = match node.log.recv_timeout(PATIENCE) {
                Ok(text) => text,
                Err(RecvTimeoutError::Disconnected) => return Err(said),
                Err(RecvTimeoutError::Timeout) => panic!("neither serves nor ends:\n{said}"),
            };
            if let Some((_, addresses)) = text.split_once(LISTENS) {
                let (api, peer) =
                    addresses.split_once(" and for peers on ").expect("two addresses");
                let address = |text: &str| text.trim().parse().expect("an address");
                (node.api, node.peer) = (address(api), address(peer));
            }
            if text.contains(last) {
                node.said_before_it_served = said;
                return Ok(node);
            }
            said += &text;
            said.push('\n');
        }
    }

    /// Its log up to then.
    pub(crate) fn said_before_it_served(&self) -> &str {
        &self.said_before_it_served
    }

    /// Waits until the log has a line with `text`.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        if let Some(line) = self.said_before_it_served.lines().find(|line| line.contains(text)) {
            return line.to_owned();
        }
        loop {
            let line = self.log.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("the log never said {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Memory that it holds.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(path).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib * 1024
    }

    /// Sends a signal to this very process.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Asks it to stop, and waits.
    pub(crate) fn stop(self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the node stops", || {
            status = self.child.try_wait().expect("our child");
            status.is_some()
        });
        let status = status.expect("it has stopped");
        // Shown where the test fails.
        self.log.iter().for_each(|line| eprintln!("{line}"));
        status
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already; there is nothing else to do here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a log, as they come; the end of the log ends them.
fn lines_of(log: impl Read + Send + 'static) -> Receiver<String> {
    let (line, lines) = channel();
    std::thread::spawn(move || {
        for text in BufReader::new(log).lines().map_while(Result::ok) {
            // A test that no longer reads has seen enough.
            let _ = line.send(text);
        }
    });
    lines
}
