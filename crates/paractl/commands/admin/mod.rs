//! `admin`: looks at nodes and steers them, over their peer ports.
//!
//! Most messages are for one node, so where several addresses are given each of them is asked, in order. A
//! change of the members may go to any of them: the first one that answers takes it.
//!
//! **Never:** decides who may do what; the node does, by the certificate. Never asks for a change again
//! whose answer was lost.

mod accept_loss;
mod change;
mod cluster_status;
mod confirm;
mod follow;
mod join;
mod partitions;
mod plan;
mod progress;
mod wait;

use paravon_client::MemberChange;
use serde_json::{Value as Json, json};

use super::Caller;
use crate::args::{AdminCommand, CopiesArgs, Global, NodeArgs, RemoveArgs};
use crate::context::{Context, Port};
use crate::error::Error;
use crate::output::Output;

pub(super) fn run(command: AdminCommand, global: &Global, output: &Output) -> Result<(), Error> {
    let context = Context::load(global, Port::Admin)?;
    match command {
        AdminCommand::NodeStatus => each(&context, output, node_status),
        AdminCommand::ClusterStatus(args) => cluster_status::run(args, &context, output),
        AdminCommand::Join(args) => join::run(&MemberChange::Join, args, context, global, output),
        AdminCommand::Replace(NodeArgs { node, change }) => {
            join::run(&MemberChange::Replace { node }, change, context, global, output)
        }
        AdminCommand::Drain(NodeArgs { node, change }) => {
            change::run(&MemberChange::Drain { node }, change, context, global, output)
        }
        AdminCommand::Remove(RemoveArgs { node: NodeArgs { node, change }, yes }) => {
            if !change.dry_run && !yes {
                confirm::removal(&node)?;
            }
            change::run(&MemberChange::Remove { node }, change, context, global, output)
        }
        AdminCommand::SetReplication(CopiesArgs { copies, change }) => {
            let wanted = MemberChange::SetReplication { factor: copies };
            change::run(&wanted, change, context, global, output)
        }
        AdminCommand::Cancel => change::cancel(context, global, output),
        AdminCommand::Operation(args) => change::operation(&args, context, output),
        AdminCommand::Partitions(args) => partitions::run(args, &context, output),
        AdminCommand::AcceptLoss(args) => accept_loss::run(&args, &context, output),
        AdminCommand::Reload => each(&context, output, reload),
    }
}

/// Asks every server of the context, and prints the answers.
fn each(
    context: &Context,
    output: &Output,
    ask: impl Fn(&str, &Caller) -> Result<Json, Error>,
) -> Result<(), Error> {
    let mut answers = Vec::new();
    for one in context.each_server() {
        let server = one.servers().concat();
        answers.push(ask(&server, &Caller::of(one)?)?);
    }
    print(answers, output)
}

/// Prints what one server answered as it is, and what several did as a list.
fn print(mut answers: Vec<Json>, output: &Output) -> Result<(), Error> {
    match answers.len() {
        1 => output.print(&answers.remove(0)),
        _ => output.print(&json!(answers)),
    }
}

fn node_status(_server: &str, caller: &Caller) -> Result<Json, Error> {
    let status = caller.ask(caller.client.node_status())?;
    // Plain fields become a tree without fail.
    Ok(serde_json::to_value(&status).unwrap_or(Json::Null))
}

fn reload(server: &str, caller: &Caller) -> Result<Json, Error> {
    caller.ask(caller.client.reload())?;
    Ok(json!({ "reloaded": server }))
}
