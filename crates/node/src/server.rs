//! A node from start to stop: ports, certificates, storage, event loops, and their end in order.
//!
//! **Never:** serves a request itself. It accepts connections and hands them to the loops.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use paravon_model::{ClusterId, ClusterState};
use paravon_protocol::encode_cluster_state;
use paravon_replication::cluster::{Cluster, ClusterSettings};
use paravon_storage::{Closer, Completions, Durability, Options, Recovered, Storage, Store};
use paravon_transport::{listen, random_bytes};
use tokio::net::{TcpListener, lookup_host};
use tokio::time::{sleep, timeout};

use crate::config::{self, Address, Config, Engine};
use crate::error::StartError;
use crate::event_loop;
use crate::inbox::{Inboxes, Message};
use crate::session::Port;
use crate::shared::{Parts, Shared, now_since};
use crate::stored_state;

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

/// Whether a node with seeds may found a cluster although some of them are silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Founding {
    /// Only where every seed has answered that there is no cluster.
    #[default]
    WhenAllAnswer,
    /// The operator says that there is none (`--found`).
    Anyway,
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
    pub async fn start(config: Config, founding: Founding) -> Result<Self, StartError> {
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
        let api_address = api.local_addr().map_err(system("the client port"))?;
        let peer_address = peer.local_addr().map_err(system("the peer port"))?;

        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let loops = config.server.event_loops.map_or(cores.saturating_sub(1), usize::from);
        let inboxes = Inboxes::new(loops.max(1));
        let Storage { stores, journal, recovered, closer, documents } =
            open_storage(&config, cores, Arc::new(inboxes.clone()))?;
        for path in &recovered.quarantined {
            tracing::error!(
                path = %path.display(),
                "a shard's file cannot be used and was set aside; this node counts for nothing in its \
                 partitions until other replicas have given it what it held"
            );
        }
        let advertised = config.server.peer.advertised(peer_address.port());
        let advertised = paravon_model::Address::new(&advertised.to_string());
        let state = match config.storage.engine {
            Engine::Memory => ClusterState::new(config.node.id.clone()),
            Engine::Disk => stored_state::read(&recovered.document, &config, &advertised)?,
        };
        if let Some(document) = &state.document {
            warnings.extend(stored_state::differences(document, &config));
        }
        let started = Instant::now();
        let settings = cluster_settings(&config, founding, advertised, &recovered);
        let cluster = Cluster::new(settings, state, now_since(started));
        let shared = Arc::new(Shared::new(Parts {
            shards: u16::try_from(stores.len()).unwrap_or(u16::MAX),
            inboxes: inboxes.clone(),
            journal,
            api_address,
            peer_address,
            credentials,
            hello: cluster.hello(),
            started,
            config,
        })?);
        let mut by_loop: Vec<Stores> = (0..inboxes.loops()).map(|_| Vec::new()).collect();
        for store in stores {
            by_loop[inboxes.loop_of(store.shard())].push(store);
        }
        let mut loops = Vec::with_capacity(by_loop.len());
        let mut cluster = Some((cluster, documents));
        for (index, stores) in by_loop.into_iter().enumerate() {
            let (shared, ceiling) = (shared.clone(), recovered.ceiling);
            // The first loop has the cluster machine.
            let cluster = cluster.take();
            let parts = event_loop::Parts { shared, stores, ceiling, cluster };
            loops.push(event_loop::spawn(index, parts).map_err(system("an event loop"))?);
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
                report_serving(&shared),
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

/// What the cluster machine is made with: the configuration, what the disk says, and chance.
pub(crate) fn cluster_settings(
    config: &Config,
    founding: Founding,
    address: paravon_model::Address,
    recovered: &Recovered,
) -> ClusterSettings {
    let seeds = config.server.peer.seeds.iter();
    ClusterSettings {
        node_id: config.node.id.clone(),
        address,
        size: config.node.size,
        zone: config.node.zone.clone(),
        seeds: seeds.map(|seed| paravon_model::Address::new(&seed.to_string())).collect(),
        auto_join: config.node.auto_join,
        found_anyway: founding == Founding::Anyway,
        shift: config.placement.shift.get(),
        replication_factor: config.placement.replication_factor,
        new_cluster_id: ClusterId(u128::from_be_bytes(random_bytes())),
        new_hash_seed: u64::from_be_bytes(random_bytes()),
        max_skew: config.clock.max_skew,
        start: recovered.start_counter,
        run: u64::from_be_bytes(random_bytes()),
        ceiling: recovered.ceiling,
        seed: u128::from_be_bytes(random_bytes()),
        join_timeout: config.membership.join_timeout,
    }
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

pub(crate) fn open_storage(
    config: &Config,
    cores: usize,
    completions: Arc<dyn Completions>,
) -> Result<Storage, StartError> {
    let shards = u16::try_from(cores.clamp(1, MAX_SHARDS)).unwrap_or(1);
    let bytes = usize::try_from(config.storage.cache_size).unwrap_or(usize::MAX);
    if config.storage.engine == Engine::Memory {
        return Ok(Storage::memory(shards, bytes, config.handoff.max_bytes, completions));
    }
    let durability = match config.storage.durability {
        config::Durability::Always => Durability::Sync,
        config::Durability::Interval => Durability::Interval(config.storage.sync_interval),
    };
    let options = Options {
        shards,
        document: encode_cluster_state(&ClusterState::new(config.node.id.clone())),
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

/// Says once when the node serves.
async fn report_serving(shared: &Shared) {
    shared.until_it_serves().await;
    let node_id = &shared.config.node.id;
    let (api, peer) = (shared.api_address, shared.peer_address);
    tracing::info!("{node_id} serves clients on {api} and peers on {peer}");
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
