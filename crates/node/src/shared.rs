//! What all threads of a node know: who it is, its limits, its counters.
//!
//! **Never:** holds data of a shard, or the layout: each loop has its own. What changes here changes
//! rarely and is read without waiting.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use paravon_model::{Address, PeerHello};
use paravon_protocol::{FrameLimit, Limits, PROTOCOL_VERSION, Welcome};
use paravon_replication::{Now, Remembered, RequestKey};
use paravon_storage::Journal;
use paravon_transport::Credentials;
use rustls::{ClientConfig, ServerConfig};
use tokio::sync::watch;

use crate::config::Config;
use crate::error::StartError;
use crate::inbox::Inboxes;
use crate::session::Port;

/// Parts of what is remembered of request ids, each behind a lock of its own.
const REMEMBERED_PARTS: usize = 16;

/// One per node.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) shards: u16,
    pub(crate) inboxes: Inboxes,
    pub(crate) journal: Journal,
    pub(crate) api_address: SocketAddr,
    pub(crate) peer_address: SocketAddr,
    tls: RwLock<Tls>,
    /// What this node says of itself to others.
    hello: Mutex<PeerHello>,
    /// Whether the node serves clients, and in what state it is where it does not.
    standing: watch::Sender<Standing>,
    /// What makes a retry the same write.
    remembered: [Mutex<Remembered>; REMEMBERED_PARTS],
    started: Instant,
    connections: [AtomicU64; 2],
    draining: AtomicBool,
    /// Requests in flight when the patience for them was over.
    abandoned: AtomicUsize,
    /// Whether a shard's file cannot be read any more.
    broken: AtomicBool,
    /// Why writes are refused; empty while they are not.
    write_trouble: Mutex<Option<WriteTrouble>>,
}

/// Why a node refuses writes. The larger hides the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WriteTrouble {
    /// Mends itself when there is space again.
    DiskFull,
    /// Stays until a restart.
    Failed,
}

impl WriteTrouble {
    /// What it is and what to do.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::DiskFull => "the disk is full; give it space or delete keys",
            Self::Failed => "the disk failed; check it, then restart the node",
        }
    }
}

/// Where a node stands towards its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It serves.
    Serves,
    /// It does not; the sentence says why and what to do.
    Waits(Arc<str>),
}

/// With what connections are made, in both directions.
struct Tls {
    server: Arc<ServerConfig>,
    peer: Arc<ClientConfig>,
}

impl Tls {
    fn of(credentials: &Credentials) -> Result<Self, StartError> {
        Ok(Self { server: credentials.server_config()?, peer: credentials.peer_config()? })
    }
}

/// What a node is made of before it runs.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) shards: u16,
    pub(crate) inboxes: Inboxes,
    pub(crate) journal: Journal,
    pub(crate) api_address: SocketAddr,
    pub(crate) peer_address: SocketAddr,
    pub(crate) credentials: Credentials,
    pub(crate) hello: PeerHello,
    /// The moment from which time is counted.
    pub(crate) started: Instant,
}

impl Shared {
    /// # Errors
    /// The certificates cannot be used.
    pub(crate) fn new(parts: Parts) -> Result<Self, StartError> {
        Ok(Self {
            tls: RwLock::new(Tls::of(&parts.credentials)?),
            config: parts.config,
            shards: parts.shards,
            inboxes: parts.inboxes,
            journal: parts.journal,
            api_address: parts.api_address,
            peer_address: parts.peer_address,
            hello: Mutex::new(parts.hello),
            standing: watch::Sender::new(Standing::Waits("the node is starting".into())),
            remembered: std::array::from_fn(|_| Mutex::default()),
            started: parts.started,
            connections: [const { AtomicU64::new(0) }; 2],
            draining: AtomicBool::new(false),
            abandoned: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            write_trouble: Mutex::new(None),
        })
    }

    /// The time of a step of the core.
    pub(crate) fn now(&self) -> Now {
        now_since(self.started)
    }

    /// What this node says of itself to others.
    pub(crate) fn hello(&self) -> PeerHello {
        self.hello.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_hello(&self, hello: PeerHello) {
        *self.hello.lock().unwrap_or_else(PoisonError::into_inner) = hello;
    }

    /// Where other nodes reach the peer port.
    pub(crate) fn advertised(&self) -> Address {
        Address::new(&self.config.server.peer.advertised(self.peer_address.port()).to_string())
    }

    /// Where the node stands towards its clients.
    pub(crate) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Says where it stands from now on; whether that is news.
    pub(crate) fn set_standing(&self, standing: Standing) -> bool {
        self.standing.send_if_modified(|present| {
            let changed = *present != standing;
            *present = standing;
            changed
        })
    }

    /// Ready when the node serves.
    pub(crate) async fn until_it_serves(&self) {
        let mut standing = self.standing.subscribe();
        // An error would mean that `self` has gone.
        let _ = standing.wait_for(|standing| *standing == Standing::Serves).await;
    }

    /// What is remembered of requests such as that of `key`.
    pub(crate) fn remembered(&self, key: &RequestKey) -> MutexGuard<'_, Remembered> {
        let mut hasher = DefaultHasher::new();
        key.request_id.hash(&mut hasher);
        let part = usize::try_from(hasher.finish() % REMEMBERED_PARTS as u64).unwrap_or_default();
        self.remembered[part].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The longest payload that this node takes.
    pub(crate) fn frame_limit(&self) -> FrameLimit {
        FrameLimit::for_values(self.config.server.max_message_size)
    }

    /// The answer to `hello`; `node` is what the other end, itself a node, is told of this one.
    pub(crate) fn welcome(&self, cluster_id: String, node: Option<PeerHello>) -> Welcome {
        Welcome {
            protocol: PROTOCOL_VERSION,
            node_id: self.config.node.id.as_str().to_owned(),
            cluster_id,
            limits: Limits {
                key_bytes: paravon_model::limits::MAX_KEY_BYTES as u64,
                value_bytes: self.config.server.max_message_size as u64,
                in_flight: u64::from(self.config.server.limit_concurrency),
            },
            node,
        }
    }

    /// What new connections are accepted with.
    pub(crate) fn tls(&self) -> Arc<ServerConfig> {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).server.clone()
    }

    /// What other nodes are dialled with.
    pub(crate) fn peer_tls(&self) -> Arc<ClientConfig> {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).peer.clone()
    }

    /// Reads certificate, key, authority and revocation list anew for all later connections.
    ///
    /// # Errors
    /// The new set cannot be used, or is not this node's; the old one stays.
    pub(crate) fn reload(&self) -> Result<SystemTime, StartError> {
        let credentials = self.config.credentials(SystemTime::now())?;
        let tls = Tls::of(&credentials)?;
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
        Ok(credentials.not_after())
    }

    /// Counts a connection; `false`, and not counted, where the port has as many as it may.
    pub(crate) fn admit(&self, port: Port) -> bool {
        let most = u64::from(self.config.server.max_connections);
        let count = &self.connections[port as usize];
        let admitted = count.fetch_add(1, Ordering::Relaxed) < most;
        if !admitted {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        admitted
    }

    pub(crate) fn release(&self, port: Port) {
        self.connections[port as usize].fetch_sub(1, Ordering::SeqCst);
    }

    /// Connections on both ports, those in their handshake included.
    pub(crate) fn all_connections(&self) -> u64 {
        self.connections(Port::Api) + self.connections(Port::Peer)
    }

    pub(crate) fn connections(&self, port: Port) -> u64 {
        self.connections[port as usize].load(Ordering::SeqCst)
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Counts requests that are ended without an answer.
    pub(crate) fn abandon(&self, requests: usize) {
        self.abandoned.fetch_add(requests, Ordering::Relaxed);
    }

    pub(crate) fn has_abandoned_any(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed) > 0
    }

    /// A shard's file cannot be read: the node leaves service, because what it cannot read it must not
    /// call absent, and others may have it.
    pub(crate) fn note_broken(&self, shard: u16) {
        if !self.broken.swap(true, Ordering::SeqCst) {
            tracing::error!(shard, "a shard's file cannot be read; leaving service");
        }
        self.note_write_trouble(WriteTrouble::Failed);
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// Notes why writes are refused from now on.
    pub(crate) fn note_write_trouble(&self, trouble: WriteTrouble) {
        let mut known = self.write_trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *known < Some(trouble) {
            tracing::error!("writes are refused: {}", trouble.advice());
            *known = Some(trouble);
        }
    }

    /// The disk has space again.
    pub(crate) fn note_space(&self) {
        let mut known = self.write_trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if known.take_if(|trouble| *trouble == WriteTrouble::DiskFull).is_some() {
            tracing::info!("the disk has space again, writes are accepted");
        }
    }

    pub(crate) fn write_trouble(&self) -> Option<WriteTrouble> {
        *self.write_trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time of a step, where the monotonic clock began at `started`.
pub(crate) fn now_since(started: Instant) -> Now {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
    Now { monotonic: started.elapsed(), wall_ms }
}
