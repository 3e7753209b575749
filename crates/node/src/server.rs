//! A node from start to stop: ports, certificates, storage, event loops, and their end in order.
//!
//! **Never:** serves a request itself. It accepts connections and hands them to the loops.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use paravon_storage::{Closer, Durability, Options, Storage, Store};
use paravon_transport::listen;
use tokio::net::{TcpListener, lookup_host};
use tokio::time::{sleep, timeout};

use crate::config::{self, Address, Config, Engine};
use crate::document::Document;
use crate::error::StartError;
use crate::event_loop;
use crate::inbox::{Inboxes, Message};
use crate::session::Port;
use crate::shared::{Parts, Shared};

/// Most shards that a data directory is founded with.
const MAX_SHARDS: usize = 16;

/// How long to wait before accepting again when the system has no file for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often the event loops are looked at.
const LOOP_CHECK: Duration = Duration::from_secs(1);

/// How long the storage threads may take for their last checkpoint.
const CLOSE_PATIENCE: Duration = Duration::from_secs(30);

type Stores = Vec<Box<dyn Store>>;

/// A node that accepts connections.
pub struct Server {
    shared: Arc<Shared>,
    api: TcpListener,
    peer: TcpListener,
    loops: Vec<JoinHandle<Stores>>,
    closer: Closer,
    warnings: Vec<String>,
}

/// Where a node listens; differs from the configuration where that says port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// For clients.
    pub api: SocketAddr,
    /// For nodes and administrators.
    pub peer: SocketAddr,
}

/// How a node ended.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// Requests were still in flight when the time for them was over. What was acknowledged is stored.
    #[error("stopped before all requests had ended (server.timeout_graceful_shutdown)")]
    Impatient,
    /// The last checkpoint failed or took too long. Nothing acknowledged is lost: the next start
    /// replays the log.
    #[error("stopped without a last checkpoint, so the next start takes longer: {0}")]
    Unfinished(#[from] paravon_storage::Error),
    /// A shard's file could not be read any more. What was acknowledged is on the disk, as far as that can
    /// be read.
    #[error(
        "a shard's file in storage.data_dir cannot be read; check the disk, then start the node again"
    )]
    Unreadable,
    /// An event loop ended by itself: a bug.
    #[error(
        "an event loop failed; the log says why, and the next start recovers all that was acknowledged"
    )]
    Failed,
}

impl Server {
    /// Opens everything that `config` names and starts the event loops; connections wait until
    /// [`run`](Self::run).
    ///
    /// # Errors
    /// Says what cannot be used and what to do about it.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        refuse_seeds(&config)?;
        let report = config.check(SystemTime::now());
        if !report.problems.is_empty() {
            return Err(StartError::Configuration { problems: report.problems });
        }
        let mut warnings: Vec<String> = report.warnings.iter().map(ToString::to_string).collect();
        let credentials = config.credentials(SystemTime::now())?;
        let backlog = config.server.backlog;
        let api = bind("server.api", &config.server.api.bind, backlog).await?;
        let peer = bind("server.peer", &config.server.peer.bind, backlog).await?;
        let system = |what| move |source| StartError::System { what, source };

        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let loops = config.server.event_loops.map_or(cores.saturating_sub(1), usize::from);
        let inboxes = Inboxes::new(loops.max(1));
        let storage = open_storage(&config, cores, &inboxes)?;
        let document = match config.storage.engine {
            Engine::Memory => Document::found(&config),
            Engine::Disk => Document::decode(&storage.recovered.document)?,
        };
        check_owner(&config, &document)?;
        warnings.extend(document.differences(&config));

        let Storage { stores, journal, recovered, closer, documents: _ } = storage;
        let shared = Arc::new(Shared::new(Parts {
            document,
            shards: u16::try_from(stores.len()).unwrap_or(u16::MAX),
            inboxes: inboxes.clone(),
            journal,
            api_address: api.local_addr().map_err(system("the client port"))?,
            peer_address: peer.local_addr().map_err(system("the peer port"))?,
            tls: credentials.server_config()?,
            config,
        }));
        let mut by_loop: Vec<Stores> = (0..inboxes.loops()).map(|_| Vec::new()).collect();
        for store in stores {
            by_loop[inboxes.loop_of(store.shard())].push(store);
        }
        let mut loops = Vec::with_capacity(by_loop.len());
        for (index, stores) in by_loop.into_iter().enumerate() {
            let started = event_loop::spawn(index, shared.clone(), stores, recovered.ceiling);
            loops.push(started.map_err(system("an event loop"))?);
        }
        Ok(Self { shared, api, peer, loops, closer, warnings })
    }

    /// Where the node listens.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        Addresses { api: self.shared.api_address, peer: self.shared.peer_address }
    }

    /// What the operator should know although the node runs.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Serves until `stop` is ready, then finishes what is in flight and closes in order. Each time
    /// that `reload` gives a value, certificates are read anew.
    ///
    /// # Errors
    /// It did not end in order; nothing acknowledged is lost.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        mut reload: tokio::sync::mpsc::Receiver<()>,
    ) -> Result<(), Stopped> {
        let shared = self.shared.clone();
        let serving = async {
            tokio::join!(
                accept(&shared, &self.api, Port::Api),
                accept(&shared, &self.peer, Port::Peer),
                async {
                    while reload.recv().await.is_some() {
                        report_reload(&shared);
                    }
                }
            )
        };
        tokio::select! {
            _ = serving => {}
            () = stop => {}
            () = any_ended(&self.loops) => tracing::error!("an event loop has ended by itself"),
            () = broken(&shared) => {}
        }
        tracing::info!("stopping: no new connections, finishing requests in flight");
        drop((self.api, self.peer));
        let graceful = shared.config.server.timeout_graceful_shutdown;
        let stores = end_loops(&shared, self.loops, graceful).await;
        let stores = stores.ok_or(Stopped::Failed)?;
        let closer = self.closer;
        let closed = tokio::task::spawn_blocking(move || closer.close(stores, CLOSE_PATIENCE));
        let closed = closed.await.map_err(|_| Stopped::Failed)?;
        if shared.is_broken() {
            return Err(Stopped::Unreadable);
        }
        closed?;
        if shared.has_abandoned_any() { Err(Stopped::Impatient) } else { Ok(()) }
    }
}

/// Joining comes with clusters: a node that silently served alone would split the data.
fn refuse_seeds(config: &Config) -> Result<(), StartError> {
    let peer = &config.server.peer;
    let own = [Some(&peer.bind), peer.listener.as_ref()];
    match peer.seeds.iter().find(|seed| !own.contains(&Some(seed))) {
        Some(seed) => Err(StartError::Seeds { seed: seed.to_string() }),
        None => Ok(()),
    }
}

fn check_owner(config: &Config, document: &Document) -> Result<(), StartError> {
    if document.node_id == config.node.id {
        return Ok(());
    }
    Err(StartError::OtherNode {
        path: config.storage.data_dir.clone(),
        owner: document.node_id.clone(),
        configured: config.node.id.clone(),
    })
}

async fn bind(
    key: &'static str,
    address: &Address,
    backlog: u32,
) -> Result<TcpListener, StartError> {
    let host = address.host.as_str();
    let resolve = |source| StartError::Resolve { key, host: host.to_owned(), source };
    let mut found = lookup_host((host, address.port)).await.map_err(resolve)?;
    let address = found.next().ok_or_else(|| resolve(io::ErrorKind::NotFound.into()))?;
    listen(address, backlog).map_err(|source| StartError::listen(key, address, source))
}

fn open_storage(config: &Config, cores: usize, inboxes: &Inboxes) -> Result<Storage, StartError> {
    let shards = u16::try_from(cores.clamp(1, MAX_SHARDS)).unwrap_or(1);
    let bytes = usize::try_from(config.storage.cache_size).unwrap_or(usize::MAX);
    let completions = Arc::new(inboxes.clone());
    if config.storage.engine == Engine::Memory {
        return Ok(Storage::memory(shards, bytes, config.handoff.max_bytes, completions));
    }
    let durability = match config.storage.durability {
        config::Durability::Always => Durability::Sync,
        config::Durability::Interval => Durability::Interval(config.storage.sync_interval),
    };
    let options = Options {
        shards,
        document: Document::found(config).encode(),
        cache_bytes: bytes,
        hint_bytes: config.handoff.max_bytes,
        durability,
        ..Options::new(&config.storage.data_dir)
    };
    Ok(Storage::open(&options, completions)?)
}

/// Accepts connections for ever and deals them out to the loops.
async fn accept(shared: &Shared, listener: &TcpListener, port: Port) {
    let mut next = 0;
    loop {
        let accepted = listener.accept().await;
        let (stream, peer) = match accepted.and_then(|(s, peer)| Ok((s.into_std()?, peer))) {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !shared.admit(port) {
            tracing::warn!(%peer, "refused: server.max_connections are open");
            continue;
        }
        next = (next + 1) % shared.inboxes.loops();
        shared.inboxes.of_loop(next).send([Message::Connection { stream, peer, port }]);
    }
}

/// Ready when a loop has ended by itself: a bug, after which the node must not go on half dead.
async fn any_ended(loops: &[JoinHandle<Stores>]) {
    while !loops.iter().any(JoinHandle::is_finished) {
        sleep(LOOP_CHECK).await;
    }
}

/// Ready when storage cannot be read any more.
async fn broken(shared: &Shared) {
    while !shared.is_broken() {
        sleep(LOOP_CHECK).await;
    }
}

fn report_reload(shared: &Shared) {
    match shared.reload() {
        Ok(until) => {
            let until = humantime::format_rfc3339_seconds(until);
            tracing::info!("certificates reloaded; valid until {until}");
        }
        Err(error) => tracing::warn!("certificates not reloaded, the old ones stay: {error}"),
    }
}

/// Ends all loops, first politely, and collects their stores; none where a loop has panicked.
async fn end_loops(
    shared: &Arc<Shared>,
    loops: Vec<JoinHandle<Stores>>,
    graceful: Duration,
) -> Option<Stores> {
    shared.drain();
    shared.inboxes.tell_all(|| Message::Drain);
    let mut joining = tokio::task::spawn_blocking(move || {
        let mut stores = Some(Stores::new());
        for handle in loops {
            stores = match (stores, handle.join()) {
                (Some(mut all), Ok(more)) => {
                    all.extend(more);
                    Some(all)
                }
                _ => None,
            };
        }
        stores
    });
    if let Ok(joined) = timeout(graceful, &mut joining).await {
        return joined.unwrap_or_default();
    }
    shared.inboxes.tell_all(|| Message::Abort);
    joining.await.unwrap_or_default()
}
