//! `admin`: looks at nodes and steers them, over their peer ports.
//!
//! A message is for one node, so where several addresses are given each of them is asked, in order.
//!
//! **Never:** decides who may do what; the node does, by the certificate. Never asks another node than
//! the one that was named.

use serde_json::{Value as Json, json};

use super::Caller;
use crate::args::AdminCommand;
use crate::context::Context;
use crate::error::Error;
use crate::output::Output;

pub(super) fn run(command: AdminCommand, context: &Context, output: &Output) -> Result<(), Error> {
    let mut answers = Vec::new();
    for one in context.each_server() {
        let server = one.servers().concat();
        answers.push(ask(command, &server, &Caller::of(one)?)?);
    }
    match answers.as_slice() {
        [answer] => output.print(answer),
        answers => output.print(&json!(answers)),
    }
}

fn ask(command: AdminCommand, server: &str, caller: &Caller) -> Result<Json, Error> {
    match command {
        AdminCommand::NodeStatus => {
            let status = caller.ask(caller.client.node_status())?;
            // Plain fields become a tree without fail.
            Ok(serde_json::to_value(&status).unwrap_or(Json::Null))
        }
        AdminCommand::Reload => {
            caller.ask(caller.client.reload())?;
            Ok(json!({ "reloaded": server }))
        }
    }
}
