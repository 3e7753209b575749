//! `admin join`: takes nodes that wait into the cluster of their seeds.
//!
//! Several nodes are asked at once, so that they come in with one change of the layout.
//!
//! **Never:** asks again for a join that was refused, or calls a node joined that did not say so.

use std::time::Duration;

use paravon_client::{Client, JoinReply, Outcome};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::super::runtime;
use super::wait::{self, Members, PAUSE, may_pass};
use crate::args::{Global, JoinArgs};
use crate::context::Context;
use crate::error::Error;
use crate::output::Output;

/// The deadline of a join, where the caller gives none: the layout is made anew, and all members must agree.
const TIMEOUT: Duration = Duration::from_secs(40);

/// How long `--wait` waits for a node to answer, and then for it to serve.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn run(
    args: JoinArgs,
    context: Context,
    global: &Global,
    output: &Output,
) -> Result<(), Error> {
    let context = context.with_timeout(global.timeout.unwrap_or(TIMEOUT));
    let servers = context.servers().to_vec();
    if args.wait {
        wait::announce(&format!("{} is a member and serves", servers.join(", ")));
    }
    let mut clients = Vec::new();
    for one in context.each_server() {
        clients.push(one.client_of_one_attempt()?);
    }
    let results = runtime()?.block_on(all(args, clients));
    let (mut answers, mut failed) = (Vec::new(), None);
    for (server, joined) in servers.iter().zip(results) {
        match joined {
            Ok(joined) => answers.push(show(server, &joined)),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    // Who joined is told although another one did not.
    if !answers.is_empty() {
        super::print(answers, output)?;
    }
    failed.map_or(Ok(()), Err)
}

/// What became of each join, in order.
async fn all(args: JoinArgs, clients: Vec<Client>) -> Vec<Result<JoinReply, Error>> {
    let mut joins = JoinSet::new();
    for (index, client) in clients.into_iter().enumerate() {
        joins.spawn(async move {
            let joined = one(args, &client).await;
            client.close().await;
            (index, joined)
        });
    }
    let mut results = joins.join_all().await;
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, joined)| joined).collect()
}

async fn one(args: JoinArgs, client: &Client) -> Result<JoinReply, Error> {
    if args.dry_run {
        return Ok(client.plan_join().await?);
    }
    if !args.wait {
        return Ok(client.join().await?);
    }
    let joined = until_joined(client).await?;
    wait::until_settled(client, Members::Alive, PATIENCE).await?;
    Ok(joined)
}

/// Joins a node that may not be up yet. A join that was asked for and not answered is looked up before it is
/// asked for again.
async fn until_joined(client: &Client) -> Result<JoinReply, Error> {
    let deadline = Instant::now() + PATIENCE;
    let mut may_have_joined = false;
    loop {
        if may_have_joined
            && let Ok(status) = client.node_status().await
            && status.ordinal > 0
        {
            let (cluster_id, ordinal) = (status.cluster_id, Some(status.ordinal));
            let members = status.peers.len() as u64 + 1;
            return Ok(JoinReply { cluster_id, ordinal, members, planned: false });
        }
        let error = match client.join().await {
            Ok(joined) => return Ok(joined),
            Err(error) => error,
        };
        may_have_joined |= error.outcome() == Outcome::Unknown;
        if !may_pass(&error) || Instant::now() >= deadline {
            return Err(error.into());
        }
        sleep(PAUSE).await;
    }
}

fn show(server: &str, reply: &JoinReply) -> Json {
    let JoinReply { cluster_id, ordinal, members, planned } = reply;
    match planned {
        true => json!({ "would_join": server, "cluster_id": cluster_id, "members": members }),
        false => json!({
            "joined": server,
            "ordinal": ordinal,
            "cluster_id": cluster_id,
            "members": members,
        }),
    }
}
