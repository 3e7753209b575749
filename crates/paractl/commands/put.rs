//! `put KEY VALUE`: stores a value and prints the version that it got.
//!
//! **Never:** sends a value that was not understood as it was meant.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use paravon_client::{PutOptions, Value};
use serde_json::json;

use super::{Caller, show_version};
use crate::args::PutArgs;
use crate::error::Error;
use crate::output::Output;
use crate::typed::{self, Meaning};

pub(super) fn run(args: PutArgs, caller: &Caller, output: &Output) -> Result<(), Error> {
    let key = caller.context.key(&args.key)?;
    let value = value(&args, caller)?;
    let options =
        PutOptions { consistency: caller.context.consistency, timeout: None, ttl: args.ttl };
    let written = caller.ask(caller.client.put(&key, value, options))?;
    output.print(&json!({
        "key": args.key,
        "version": show_version(&written.version),
        "acks": written.acks,
        "replicas": written.replicas,
    }))
}

fn value(args: &PutArgs, caller: &Caller) -> Result<Value, Error> {
    if let Some(path) = &args.file {
        let bytes = read(path).map_err(|source| Error::ValueFile { path: path.clone(), source })?;
        return Ok(typed::encode_bytes(&bytes, caller.context.key_encoding));
    }
    let meaning = match (args.string, args.json) {
        (true, _) => Meaning::Text,
        (false, true) => Meaning::Json,
        (false, false) => Meaning::Guess,
    };
    let text = args.value.as_deref().unwrap_or_default();
    typed::encode(text, meaning, caller.context.key_encoding)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path != Path::new("-") {
        return fs::read(path);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}
