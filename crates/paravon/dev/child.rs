//! The nodes as children of this process.
//!
//! **Never:** outlive it: a child stops when its standard input ends, however this process does.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};

use super::place::{Node, Place};
use crate::Failure;

/// Lines of a child's log that are told when it ends by itself.
const LAST_LINES: usize = 5;

/// How often children are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// All nodes of a place.
pub(super) struct Children {
    running: Vec<Running>,
}

/// One node.
struct Running {
    name: String,
    child: Child,
    /// Passes the log on; gives the last lines back when the log ends.
    log: Option<JoinHandle<VecDeque<String>>>,
}

impl Children {
    /// Starts all nodes. Where one cannot be started, those that were end with this process.
    pub(super) fn start(place: &Place) -> io::Result<Self> {
        let mut children = Self { running: Vec::new() };
        for node in place.nodes() {
            let mut child = start(&node)?;
            let prefix =
                if place.count() > 1 { format!("{} | ", node.name()) } else { String::new() };
            let log = child.stderr.take();
            let log = spawn_blocking(move || follow(log, &prefix));
            children.running.push(Running { name: node.name(), child, log: Some(log) });
        }
        Ok(children)
    }

    /// Ready when a node has ended by itself: which, and why.
    pub(super) async fn one_ended(&mut self) -> Failure {
        loop {
            for running in &mut self.running {
                if let Ok(Some(status)) = running.child.try_wait() {
                    return running.failure(format!("ended by itself ({status})")).await;
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends all that still run, and waits until they have. They finish what is in flight.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        for running in &mut self.running {
            drop(running.child.stdin.take());
        }
        let mut all = Ok(());
        for running in self.running {
            all = all.and(running.stop().await);
        }
        all
    }
}

impl Running {
    async fn stop(mut self) -> Result<(), Failure> {
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(self.failure(format!("ended with {status}")).await),
                Ok(None) => tokio::time::sleep(LOOK_EVERY).await,
                Err(error) => {
                    return Err(Failure::Node(format!(
                        "{} cannot be waited for: {error}",
                        self.name
                    )));
                }
            }
        }
    }

    /// That it ended so, and its last words.
    async fn failure(&mut self, how: String) -> Failure {
        let last = match self.log.take() {
            Some(log) => log.await.unwrap_or_default(),
            None => VecDeque::new(),
        };
        let mut text = format!("{} {how}", self.name);
        if !last.is_empty() {
            text += "; its last words:";
        }
        for line in last {
            text += &format!("\n  {line}");
        }
        Failure::Node(text)
    }
}

fn start(node: &Node<'_>) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg("--config")
        .arg(node.configuration())
        .arg("--until-stdin-ends")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
}

/// Passes a child's log on, and gives its last lines back.
fn follow(log: Option<impl Read>, prefix: &str) -> VecDeque<String> {
    let mut last = VecDeque::new();
    for line in log.map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
        eprintln!("{prefix}{line}");
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_followed_to_its_end_and_its_last_lines_are_kept() {
        let lines: Vec<String> = (0..9).map(|line| format!("line {line}")).collect();
        assert_eq!(follow(Some(lines.join("\n").as_bytes()), ""), &lines[4..]);
        assert_eq!(follow(Some(&b"error: no\n"[..]), ""), ["error: no"]);
    }
}
