//! What `--wait` waits for, and how.
//!
//! **Never:** waits for what a node cannot tell, or without an end.

use std::io::IsTerminal;
use std::time::Duration;

use paravon_client::{Client, ClientError, ClusterStatus, Code, MemberStatus};
use tokio::time::{Instant, sleep};

use crate::error::Error;
use crate::note;

/// How long is waited before a node is asked again.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

/// Which members must be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Members {
    /// Those that are up.
    Alive,
    /// All.
    All,
}

/// Says on a terminal what is waited for.
pub(super) fn announce(what: &str) {
    if std::io::stderr().is_terminal() {
        note(&format!("waiting until {what}"));
    }
}

/// Waits until a node serves, reaches `members`, and for all of them also until it has nothing to
/// hand over any more.
pub(super) async fn until_settled(
    client: &Client,
    members: Members,
    patience: Duration,
) -> Result<ClusterStatus, Error> {
    let deadline = Instant::now() + patience;
    loop {
        let missing = match look(client, members).await {
            Ok((status, None)) => return Ok(status),
            Ok((_, Some(missing))) => Error::NotSettled { missing, after: patience },
            Err(error) if may_pass(&error) => error.into(),
            Err(error) => return Err(error.into()),
        };
        if Instant::now() >= deadline {
            return Err(missing);
        }
        sleep(PAUSE).await;
    }
}

/// The cluster as the node sees it, and what there is to wait for.
async fn look(
    client: &Client,
    members: Members,
) -> Result<(ClusterStatus, Option<String>), ClientError> {
    // Refused as `not_ready` before it serves.
    client.healthz().await?;
    let status = client.cluster_status().await?;
    if let Some(missing) = missing(&status, members) {
        return Ok((status, Some(missing)));
    }
    if members == Members::Alive {
        return Ok((status, None));
    }
    let handoff = client.node_status().await?.handoff;
    let kept = handoff.iter().find(|target| target.count > 0);
    let kept =
        kept.map(|target| format!("{} writes are kept for {}", target.count, target.node_id));
    Ok((status, kept))
}

/// What keeps a node from serving with these members. It takes no writes before it has compared clocks.
fn missing(status: &ClusterStatus, members: Members) -> Option<String> {
    let is_up = |member: &MemberStatus| member.state == "alive";
    if !status.members.iter().any(|member| member.state == "self") {
        return Some("the node is not among the members".to_owned());
    }
    let others = status.members.iter().filter(|member| member.state != "self");
    let mut wanted = others.filter(|member| members == Members::All || is_up(member));
    let is_reached = |member: &MemberStatus| member.linked && member.clock_offset_ms.is_some();
    let absent = wanted.find(|member| !is_up(member) || !is_reached(member));
    absent.map(|member| format!("{} is not reached", member.node_id))
}

/// Whether the same question may have another answer in a moment.
pub(super) fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { code, .. } => matches!(
            code,
            Code::NotReady | Code::Overloaded | Code::QuorumUnavailable | Code::QuorumTimeout
        ),
        ClientError::NoServers
        | ClientError::Address { .. }
        | ClientError::Certificate { .. }
        | ClientError::Handshake { .. }
        | ClientError::Resolve { .. }
        | ClientError::Unsupported { .. } => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node_id: &str, state: &str, clock_offset_ms: Option<i64>) -> MemberStatus {
        let linked = state == "alive";
        let (node_id, state) = (node_id.to_owned(), state.to_owned());
        MemberStatus { node_id, state, linked, clock_offset_ms, ..MemberStatus::default() }
    }

    #[test]
    fn a_node_waits_for_the_living_or_for_all_and_for_their_clocks() {
        let status = |members| ClusterStatus { members, ..ClusterStatus::default() };
        let us = || member("a", "self", None);
        let none = status(vec![]);
        assert!(missing(&none, Members::Alive).is_some_and(|text| text.contains("not among")));
        let with_dead =
            status(vec![us(), member("b", "alive", Some(0)), member("c", "dead", None)]);
        assert_eq!(missing(&with_dead, Members::Alive), None);
        assert_eq!(missing(&with_dead, Members::All).as_deref(), Some("c is not reached"));
        let unmeasured = status(vec![us(), member("b", "alive", None)]);
        assert_eq!(missing(&unmeasured, Members::Alive).as_deref(), Some("b is not reached"));
        assert_eq!(missing(&status(vec![us()]), Members::All), None);
    }
}
