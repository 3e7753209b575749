//! A real `paravon` process, on ports that the system chose.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up; long, because machines may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

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
}

impl Node {
    /// Starts a node and waits until it serves.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the node runs");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (line, log) = channel();
        std::thread::spawn(move || {
            for text in lines.map_while(Result::ok) {
                // A test that no longer reads has seen enough.
                let _ = line.send(text);
            }
        });
        let mut said = String::new();
        loop {
            let text = log
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("the node does not serve; it said:\n{said}"));
            if let Some((_, addresses)) = text.split_once("serves clients on ") {
                let (api, peer) = addresses.split_once(" and peers on ").expect("two addresses");
                let address = |text: &str| text.trim().parse().expect("an address");
                return Self { child, api: address(api), peer: address(peer), log };
            }
            said += &text;
            said.push('\n');
        }
    }

    /// Waits until the log has a line with `text`.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
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
        status.expect("it has stopped")
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
