//! `paravon dev`: a throwaway local cluster with nothing to prepare.
//!
//! Makes certificates, configurations and a client context under one folder (`place.rs`,
//! `configuration.rs`), runs the nodes as children that end when this process does (`child.rs`), joins
//! them (`join.rs`) and prints the first commands to copy (`greet.rs`). What is there already is used
//! again, so that a second run continues with the same data.
//!
//! **Never:** leaves a node behind, removes a folder that it did not make, or takes data away without
//! `--clean`.

mod child;
mod configuration;
mod greet;
mod join;
mod mark;
mod place;

use std::convert::Infallible;
use std::io;

use tokio::signal::unix::{SignalKind, signal};

use self::child::Children;
use self::place::Place;
use crate::Failure;
use crate::args::DevArgs;

pub(crate) fn run(args: &DevArgs) -> Result<(), Failure> {
    let place = Place::new(args)?;
    // First, because what has the ports may be the nodes whose folder --clean would remove.
    place.refuse_taken_ports()?;
    place.prepare()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(system)?.block_on(watch(&place))
}

fn system(error: io::Error) -> Failure {
    Failure::Node(error.to_string())
}

/// Runs the nodes until Ctrl-C, or until one of them ends by itself.
async fn watch(place: &Place) -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let mut children = Children::start(place).map_err(system)?;
    let end = tokio::select! {
        // Ctrl-C reaches the nodes too: that they end then is no failure of theirs.
        biased;
        _ = interrupt.recv() => {
            eprintln!("stopping; the data stays in {}", place.dir().display());
            Ok(())
        }
        _ = terminate.recv() => Ok(()),
        ended = children.one_ended() => Err(ended),
        failed = serve(place) => match failed {
            Ok(never) => match never {},
            Err(failure) => Err(failure),
        },
    };
    let stopped = children.stop().await;
    end.and(stopped)
}

/// Makes one cluster of the nodes and says how to use it. Never ends but by a failure.
async fn serve(place: &Place) -> Result<Infallible, Failure> {
    join::all(place).await?;
    place.remember()?;
    greet::print(place);
    std::future::pending().await
}
