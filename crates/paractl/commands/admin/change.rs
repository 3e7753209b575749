//! `admin drain`, `remove`, `set-replication`, `cancel` and `operation`: what any member takes, and how far
//! it is.
//!
//! **Never:** calls an operation done that no member called done.

use std::time::Duration;

use paravon_client::{ChangeId, MemberChange, OperationReply, OperationStatus};
use serde_json::{Value as Json, json};

use super::super::Caller;
use super::{follow, plan};
use crate::args::{ChangeArgs, Global, OperationArgs};
use crate::context::Context;
use crate::error::Error;
use crate::output::Output;

/// The deadline of a change, where the caller gives none: a majority of the council must agree, and the
/// member that was asked may wait for one that is just restarting.
pub(super) const TIMEOUT: Duration = Duration::from_secs(40);

pub(super) fn run(
    change: &MemberChange,
    args: ChangeArgs,
    context: Context,
    global: &Global,
    output: &Output,
) -> Result<(), Error> {
    let caller = Caller::of(context.with_timeout(global.timeout.unwrap_or(TIMEOUT)))?;
    if args.dry_run {
        let planned = caller.ask(caller.client.plan(change))?;
        return plan::print(&planned, output);
    }
    let accepted = caller.ask(caller.client.change(change))?;
    if args.wait {
        // What a node names is a name; where a later one named it otherwise, there is nothing to follow.
        let Some(id) = ChangeId::from_text(&accepted.operation) else {
            return show(&accepted, output);
        };
        let done = caller.ask(follow::until_done(&caller.client, id))?;
        return print(&done, output);
    }
    show(&accepted, output)
}

fn show(accepted: &OperationReply, output: &Output) -> Result<(), Error> {
    output.print(&json!({ "operation": accepted.operation, "state": accepted.state }))
}

pub(super) fn cancel(context: Context, global: &Global, output: &Output) -> Result<(), Error> {
    let caller = Caller::of(context.with_timeout(global.timeout.unwrap_or(TIMEOUT)))?;
    let cancelled = caller.ask(caller.client.cancel())?;
    output.print(&json!({ "state": cancelled.state }))
}

pub(super) fn operation(
    args: &OperationArgs,
    context: Context,
    output: &Output,
) -> Result<(), Error> {
    let caller = Caller::of(context)?;
    let status = match args.wait {
        true => caller.ask(follow::until_done(&caller.client, args.id))?,
        false => caller.ask(caller.client.operation(args.id))?,
    };
    print(&status, output)
}

fn print(status: &OperationStatus, output: &Output) -> Result<(), Error> {
    // Plain fields become a tree without fail.
    output.print(&serde_json::to_value(status).unwrap_or(Json::Null))
}
