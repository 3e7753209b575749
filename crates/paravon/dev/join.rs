//! Makes one cluster of the nodes: those that wait are joined, and then all must see each other and have
//! their data.
//!
//! **Never:** joins a node twice: what became of a join whose answer was lost is asked first.

use std::time::Duration;

use paravon_client::{Client, ClientError, ClientOptions, ClusterStatus, Code, MemberChange};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::place::Place;
use crate::Failure;

/// How long the cluster may take to form. Long, because machines may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one question may take.
const QUESTION: Duration = Duration::from_secs(10);

/// How long is waited before something is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// A node, and a client of its peer port.
struct Asked {
    name: String,
    client: Client,
}

/// Joins what waits, and waits until every node sees every other.
pub(super) async fn all(place: &Place) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    let asked = place.nodes().map(|node| asked(place, node.name(), node.peer()));
    let asked = asked.collect::<Result<Vec<_>, _>>()?;
    // All at once, so that they come in with one change of the layout.
    let mut joins = JoinSet::new();
    for Asked { name, client } in asked.iter().skip(1) {
        joins.spawn(join(name.clone(), client.clone(), deadline));
    }
    while let Some(joined) = joins.join_next().await {
        joined.map_err(|error| Failure::Node(error.to_string()))??;
    }
    for node in &asked {
        sees_all(place, node, deadline).await?;
    }
    for node in &asked {
        node.client.close().await;
    }
    Ok(())
}

fn asked(place: &Place, name: String, peer: String) -> Result<Asked, Failure> {
    let mut options = ClientOptions::new(vec![peer], place.administrator());
    options.timeout = QUESTION;
    // What failed is asked again here, with the deadline of the whole.
    options.max_attempts = 1;
    let client = Client::new(options).map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(Asked { name, client })
}

/// Joins a node, unless it is a member already.
async fn join(name: String, client: Client, deadline: Instant) -> Result<(), Failure> {
    loop {
        let error = match client.node_status().await {
            Ok(status) if status.ordinal > 0 => return Ok(()),
            Ok(_) => match client.change(&MemberChange::Join).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if !may_pass(&error) || Instant::now() >= deadline {
            return Err(Failure::Node(format!("{name} did not join: {error}")));
        }
        sleep(PAUSE).await;
    }
}

/// Waits until a node serves and sees every other.
async fn sees_all(place: &Place, node: &Asked, deadline: Instant) -> Result<(), Failure> {
    loop {
        let waits_for = match look(&node.client).await {
            Ok(status) if status.members.len() > usize::from(place.count()) => {
                return Err(Failure::Usage(format!(
                    "the cluster in {} has {n} nodes; give --nodes {n}, or --clean to begin anew \
                     without its data",
                    place.dir().display(),
                    n = status.members.len(),
                )));
            }
            Ok(status) => match missing(place, &status) {
                None => return Ok(()),
                Some(missing) => format!("it does not see {missing}"),
            },
            Err(error) if !may_pass(&error) => return Err(Failure::Node(error.to_string())),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            let text = format!("{} is not ready within {PATIENCE:?}: {waits_for}", node.name);
            return Err(Failure::Node(text));
        }
        sleep(PAUSE).await;
    }
}

/// The cluster as a node sees it that serves.
async fn look(client: &Client) -> Result<ClusterStatus, ClientError> {
    client.healthz().await?;
    client.cluster_status().await
}

/// What is not seen yet, if there is something: a node, or that all have their data.
fn missing(place: &Place, status: &ClusterStatus) -> Option<String> {
    let is_seen = |name: &String| {
        let named = status.members.iter().find(|member| member.node_id == *name);
        named.is_some_and(|member| match member.state.as_str() {
            "self" => true,
            // It takes no writes before it has compared clocks.
            state => state == "alive" && member.linked && member.clock_offset_ms.is_some(),
        })
    };
    let unseen = place.nodes().map(|node| node.name()).find(|name| !is_seen(name));
    unseen.or_else(|| (status.phase != "stable").then(|| "the end of the change".to_owned()))
}

/// Whether the same question may have another answer in a moment.
fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { code, .. } => matches!(
            code,
            Code::NotReady
                | Code::Overloaded
                | Code::QuorumUnavailable
                | Code::QuorumTimeout
                | Code::ClockSkew
        ),
        ClientError::NoServers
        | ClientError::Address { .. }
        | ClientError::Certificate { .. }
        | ClientError::Unsupported { .. } => false,
        _ => true,
    }
}
