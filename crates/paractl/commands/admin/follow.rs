//! Follows a change of the members to its end.
//!
//! **Never:** waits for ever: a change that makes no progress for a long time is left to itself, which is
//! said; it goes on all the same.

use std::time::Duration;

use paravon_client::{ChangeId, Client, ClientError, MemberStatus, OperationStatus};
use tokio::time::{Instant, sleep};

use super::progress::{Done, Progress};
use super::wait::{PAUSE, may_pass};
use crate::error::Error;

/// How long nothing may change.
const PATIENCE: Duration = Duration::from_secs(300);

/// Follows an operation until it is done.
///
/// # Errors
/// It was cancelled, it makes no progress, or no server answers any more.
pub(super) async fn until_done(client: &Client, id: ChangeId) -> Result<OperationStatus, Error> {
    let mut follower = Follower::new();
    loop {
        match client.operation(id).await {
            Ok(status) => match status.state.as_str() {
                "done" => return Ok(status),
                "cancelled" => return Err(Error::Cancelled { what: shown(&status) }),
                _ => follower.saw(&done(&status), &shown(&status))?,
            },
            Err(error) => follower.failed(error)?,
        }
        sleep(PAUSE).await;
    }
}

/// Follows a node that has come in, until it has taken over all that it is to store. Its number then:
/// where the change that it came with was overtaken, it comes in once more, under another one.
///
/// # Errors
/// It was put out again, it makes no progress, or it does not answer any more.
pub(super) async fn until_settled_in(client: &Client) -> Result<u32, Error> {
    let mut follower = Follower::new();
    loop {
        match client.cluster_status().await {
            Ok(status) => match status.members.iter().find(|member| member.state == "self") {
                Some(own) if !own.joining => return Ok(own.ordinal),
                Some(own) => {
                    let what = format!("the join of {}", own.node_id);
                    follower.saw(&taken_over(own, status.fence), &what)?;
                }
                None => match client.node_status().await {
                    Ok(node) if is_out(&node.cluster_phase) => {
                        return Err(Error::Cancelled { what: "the join".to_owned() });
                    }
                    Ok(node) => {
                        let state = "overtaken, waits for its turn".to_owned();
                        let done = Done { state, ..Done::default() };
                        follower.saw(&done, &format!("the join of {}", node.node_id))?;
                    }
                    Err(error) => follower.failed(error)?,
                },
            },
            Err(error) => follower.failed(error)?,
        }
        sleep(PAUSE).await;
    }
}

/// Whether a node that is no member does not come back by itself, by the phase that it tells. One whose
/// join was overtaken by a later change asks for it again: it is `joining`, and soon a member.
fn is_out(cluster_phase: &str) -> bool {
    matches!(cluster_phase, "waiting" | "leaving" | "not_member" | "old_disk")
}

/// How far a node is that comes in. What it did under an earlier change does not count.
fn taken_over(own: &MemberStatus, fence: u64) -> Done {
    let report = own.report.clone().filter(|report| report.stored == fence).unwrap_or_default();
    Done {
        state: "running".to_owned(),
        partitions: report.partitions,
        complete: report.complete,
        ..Done::default()
    }
}

fn done(status: &OperationStatus) -> Done {
    Done {
        state: status.state.clone(),
        partitions: status.partitions,
        complete: status.complete,
        records: status.records,
        bytes: status.bytes,
    }
}

fn shown(status: &OperationStatus) -> String {
    let whom = match (status.factor, status.member) {
        (Some(factor), _) => factor.to_string(),
        // The name of one that has gone is forgotten some time.
        (None, Some(member)) if status.node.is_empty() => format!("of number {member}"),
        _ => status.node.clone(),
    };
    format!("{} {whom}", status.kind)
}

/// Shows what is seen, and knows when nothing new has come for too long.
struct Follower {
    progress: Progress,
    news: Instant,
}

impl Follower {
    fn new() -> Self {
        Self { progress: Progress::new(), news: Instant::now() }
    }

    fn saw(&mut self, done: &Done, what: &str) -> Result<(), Error> {
        if self.progress.show(done) {
            self.news = Instant::now();
        }
        if self.news.elapsed() < PATIENCE {
            return Ok(());
        }
        let missing = format!("{what} makes no progress");
        Err(Error::NotSettled { missing, after: PATIENCE })
    }

    /// A node that restarts is waited for.
    fn failed(&self, error: ClientError) -> Result<(), Error> {
        let passes = may_pass(&error) && self.news.elapsed() < PATIENCE;
        if passes { Ok(()) } else { Err(error.into()) }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.progress.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_node_that_does_not_ask_again_is_out() {
        let out = ["waiting", "leaving", "not_member", "old_disk"].map(is_out);
        assert_eq!(out, [true; 4]);
        let comes_back = ["joining", "starting", "serving", ""].map(is_out);
        assert_eq!(comes_back, [false; 4]);
    }
}
