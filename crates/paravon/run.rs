//! `paravon --config FILE`: runs a node until a signal ends it.

use std::io::{IsTerminal, Read, stderr, stdin};

use paravon_node::config::Config;
use paravon_node::{Founding, Server, StartError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing_subscriber::filter::LevelFilter;

use crate::Failure;
use crate::args::{LogFormat, LogLevel, RunArgs};

pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
    let loaded = Config::load(&args.config, std::env::vars_os())
        .map_err(|error| Failure::Usage(error.to_string()))?;
    log_to_stderr(args.log_level, args.log_format);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Node(error.to_string()))?;
    runtime.block_on(serve(loaded.config, args))
}

async fn serve(config: Config, args: &RunArgs) -> Result<(), Failure> {
    let node_id = config.node.id.clone();
    // Before anything is opened: a signal during the start must not kill half a founding.
    let mut signals = Signals::listen().map_err(|error| Failure::Node(error.to_string()))?;
    let founding = if args.found { Founding::Anyway } else { Founding::WhenAllAnswer };
    let server = Server::start(config, founding).await.map_err(|error| match error {
        StartError::Configuration { .. } => Failure::Usage(error.to_string()),
        error => Failure::Node(error.to_string()),
    })?;
    for warning in server.warnings() {
        tracing::warn!("{warning}");
    }
    // That it serves, the node says itself, once it belongs to a cluster.
    let addresses = server.addresses();
    tracing::info!(
        "{node_id} listens for clients on {} and for peers on {}",
        addresses.api,
        addresses.peer
    );
    let (reload, reloads) = mpsc::channel(1);
    let parent = args.until_stdin_ends.then(end_of_stdin);
    let stop = signals.until_stopped(reload, parent);
    server.run(stop, reloads).await.map_err(|error| Failure::Node(error.to_string()))?;
    tracing::info!("stopped");
    Ok(())
}

/// The signals that a node listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Ready at SIGTERM, SIGINT or the parent's end; passes every SIGHUP on to `reload`.
    async fn until_stopped(
        &mut self,
        reload: mpsc::Sender<()>,
        parent: Option<oneshot::Receiver<()>>,
    ) {
        let parent_ends = async {
            match parent {
                Some(end) => drop(end.await),
                None => std::future::pending().await,
            }
        };
        tokio::pin!(parent_ends);
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                () = &mut parent_ends => return,
                // A reload that waits already covers this one.
                _ = self.hang_up.recv() => drop(reload.try_send(())),
            }
        }
    }
}

/// Ready when standard input ends. The thread ends with the process.
fn end_of_stdin() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        let mut ignored = [0; 64];
        while stdin().read(&mut ignored).is_ok_and(|read| read > 0) {}
        // Nobody listens any more where the node has stopped for another reason.
        let _ = ended.send(());
    });
    end
}

fn log_to_stderr(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(stderr)
        .with_ansi(colours)
        .with_target(false);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}
