//! `delete KEY`: deletes a key and prints the version of the delete. An absent key is no error.
//!
//! **Never:** asks first; a value is deleted as easily as it is overwritten.

use paravon_client::RequestOptions;
use serde_json::json;

use super::{Caller, show_version};
use crate::args::KeyArgs;
use crate::error::Error;
use crate::output::Output;

pub(super) fn run(args: &KeyArgs, caller: &Caller, output: &Output) -> Result<(), Error> {
    let key = caller.context.key(&args.key)?;
    let options = RequestOptions { consistency: caller.context.consistency, timeout: None };
    let written = caller.ask(caller.client.delete(&key, options))?;
    output.print(&json!({
        "key": args.key,
        "version": show_version(&written.version),
        "acks": written.acks,
        "replicas": written.replicas,
    }))
}
