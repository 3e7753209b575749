//! Does one command and prints its result.
//!
//! **Never:** more than one command, or a command that outlives its connections.

mod admin;
mod completions;
mod config;
mod delete;
mod get;
mod put;

use paravon_client::{Client, Version};
use serde_json::{Value as Json, json};
use tokio::runtime::{Builder, Runtime};

use crate::args::{Command, Global};
use crate::bench;
use crate::context::{Context, Port};
use crate::error::Error;
use crate::note;
use crate::output::Output;

/// Does `command` as `global` says.
pub(crate) fn run(command: Command, global: &Global, output: &Output) -> Result<(), Error> {
    match command {
        Command::Put(args) => put::run(args, &Caller::new(global, Port::Data)?, output),
        Command::Get(args) => get::run(&args, &Caller::new(global, Port::Data)?, output),
        Command::Delete(args) => delete::run(&args, &Caller::new(global, Port::Data)?, output),
        Command::Admin { command } => admin::run(command, global, output),
        Command::Config { command } => config::run(&command, global, output),
        Command::Bench(args) => bench::run(&args, &Context::load(global, Port::Data)?, output),
        Command::Completions { shell } => completions::run(shell),
    }
}

/// What a command needs to ask a server something.
struct Caller {
    context: Context,
    client: Client,
    runtime: Runtime,
}

impl Caller {
    fn new(global: &Global, port: Port) -> Result<Self, Error> {
        Self::of(Context::load(global, port)?)
    }

    fn of(context: Context) -> Result<Self, Error> {
        let client = context.client()?;
        for warning in client.warnings() {
            note(&format!("warning: {warning}"));
        }
        Ok(Self { context, client, runtime: runtime()? })
    }

    /// Waits for the answer, then says goodbye to the server.
    fn ask<T, E: Into<Error>>(
        &self,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        self.runtime.block_on(async {
            let answer = request.await.map_err(Into::into);
            self.client.close().await;
            answer
        })
    }
}

/// A runtime on this thread.
pub(crate) fn runtime() -> Result<Runtime, Error> {
    let built = Builder::new_current_thread().enable_all().build();
    built.map_err(|source| Error::Terminal { what: "cannot begin to use the network", source })
}

/// A version, to be shown.
fn show_version(version: &Version) -> Json {
    json!({
        "physical": version.hlc.physical_ms(),
        "logical": version.hlc.logical(),
        "node_id": version.node_id,
    })
}
