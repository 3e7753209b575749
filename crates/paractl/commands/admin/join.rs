//! `admin join` and `admin replace`: take nodes that wait into the cluster of their seeds.
//!
//! Several nodes are asked at once, so that they come in with one change of the layout.
//!
//! **Never:** asks again for a join that was refused, or calls a node joined that did not say so.

use std::time::Duration;

use paravon_client::{Client, MemberChange, Outcome, PlanReply};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::super::runtime;
use super::change::TIMEOUT;
use super::follow;
use super::plan;
use super::wait::{self, Members, PAUSE, may_pass};
use crate::args::{ChangeArgs, Form, Global};
use crate::context::Context;
use crate::error::Error;
use crate::output::Output;

/// How long `--wait` waits for a node to answer, and then for it to serve.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node that has come in, or would.
enum Came {
    In { ordinal: Option<u32>, cluster_id: String, members: usize },
    Planned(Box<PlanReply>),
}

pub(super) fn run(
    change: &MemberChange,
    args: ChangeArgs,
    context: Context,
    global: &Global,
    output: &Output,
) -> Result<(), Error> {
    let context = context.with_timeout(global.timeout.unwrap_or(TIMEOUT));
    let servers = context.servers().to_vec();
    if *change != MemberChange::Join && servers.len() > 1 {
        return Err(Error::SeveralNewcomers);
    }
    if args.wait {
        wait::announce(&format!("{} is a member and has its data", servers.join(", ")));
    }
    let mut clients = Vec::new();
    for one in context.each_server() {
        clients.push(one.client_of_one_attempt()?);
    }
    let results = runtime()?.block_on(all(change, args, clients));
    let (mut answers, mut failed) = (Vec::new(), None);
    for (server, came) in servers.iter().zip(results) {
        match came {
            Ok(Came::Planned(plan)) if output.form() == Form::Table => plan::print(&plan, output)?,
            Ok(came) => answers.push(show(server, &came)),
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
async fn all(
    change: &MemberChange,
    args: ChangeArgs,
    clients: Vec<Client>,
) -> Vec<Result<Came, Error>> {
    let mut joins = JoinSet::new();
    for (index, client) in clients.into_iter().enumerate() {
        let change = change.clone();
        joins.spawn(async move {
            let came = one(&change, args, &client).await;
            client.close().await;
            (index, came)
        });
    }
    let mut results = joins.join_all().await;
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, came)| came).collect()
}

async fn one(change: &MemberChange, args: ChangeArgs, client: &Client) -> Result<Came, Error> {
    if args.dry_run {
        return Ok(Came::Planned(Box::new(client.plan(change).await?)));
    }
    let ordinal = if args.wait {
        until_joined(change, client).await?;
        let ordinal = follow::until_settled_in(client).await?;
        wait::until_settled(client, Members::Alive, PATIENCE).await?;
        Some(ordinal)
    } else {
        client.change(change).await?.ordinal
    };
    let (cluster_id, members) = match client.cluster_status().await {
        Ok(status) => (status.cluster_id, status.members.iter().filter(|m| !m.leaving).count()),
        // It has joined all the same.
        Err(_) => (String::new(), 0),
    };
    Ok(Came::In { ordinal, cluster_id, members })
}

/// Joins a node that may not be up yet. A join that was asked for and not answered is looked up before it is
/// asked for again.
async fn until_joined(change: &MemberChange, client: &Client) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    let mut may_have_joined = false;
    loop {
        if may_have_joined
            && let Ok(status) = client.node_status().await
            && status.ordinal > 0
        {
            return Ok(());
        }
        let error = match client.change(change).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        may_have_joined |= error.outcome() == Outcome::Unknown;
        if !may_pass(&error) || Instant::now() >= deadline {
            return Err(error.into());
        }
        sleep(PAUSE).await;
    }
}

fn show(server: &str, came: &Came) -> Json {
    match came {
        Came::Planned(plan) => plan::tree(plan),
        Came::In { ordinal, cluster_id, members } => json!({
            "joined": server,
            "ordinal": ordinal,
            "cluster_id": cluster_id,
            "members": members,
        }),
    }
}
