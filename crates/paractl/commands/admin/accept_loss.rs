//! `admin accept-loss`: takes the best that is left of what is damaged.
//!
//! **Never:** gives up anything that nobody has confirmed, or more than was named.

use paravon_client::Loss;
use serde_json::json;

use super::super::Caller;
use super::confirm;
use crate::args::LossArgs;
use crate::context::Context;
use crate::error::Error;
use crate::output::Output;

pub(super) fn run(args: &LossArgs, context: &Context, output: &Output) -> Result<(), Error> {
    let (loss, what) = match (&args.key, args.partition) {
        (Some(key), _) => (Loss::Key(context.key(key)?), key.clone()),
        (None, Some(number)) => (Loss::Partition(number), number.to_string()),
        (None, None) => unreachable!("the command line's definitions demand one of both"),
    };
    if !args.yes {
        confirm::loss(&what)?;
    }
    let (mut answers, mut damaged) = (Vec::new(), false);
    for one in context.each_server() {
        let server = one.servers().concat();
        let caller = Caller::of(one)?;
        let accepted = caller.ask(caller.client.accept_loss(&loss))?;
        damaged |= accepted.keys > 0 || accepted.partitions > 0;
        answers.push(json!({
            "server": server,
            "keys": accepted.keys,
            "partitions": accepted.partitions,
        }));
    }
    if damaged { super::print(answers, output) } else { Err(Error::NothingDamaged) }
}
