//! What all threads of a node know: who it is, its limits, its counters.
//!
//! **Never:** holds data of a shard. What changes here changes rarely and is read without waiting.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use paravon_protocol::{FrameLimit, Limits, PROTOCOL_VERSION, Welcome};
use paravon_replication::Now;
use paravon_ring::Layout;
use paravon_storage::Journal;
use rustls::ServerConfig;

use crate::config::Config;
use crate::document::Document;
use crate::error::StartError;
use crate::inbox::Inboxes;
use crate::session::Port;

/// One per node.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) document: Document,
    pub(crate) layout: Arc<Layout>,
    pub(crate) shards: u16,
    pub(crate) inboxes: Inboxes,
    pub(crate) journal: Journal,
    pub(crate) api_address: SocketAddr,
    pub(crate) peer_address: SocketAddr,
    tls: RwLock<Arc<ServerConfig>>,
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

/// What a node is made of before it runs.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) document: Document,
    pub(crate) shards: u16,
    pub(crate) inboxes: Inboxes,
    pub(crate) journal: Journal,
    pub(crate) api_address: SocketAddr,
    pub(crate) peer_address: SocketAddr,
    pub(crate) tls: Arc<ServerConfig>,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let layout = Arc::new(parts.document.layout(&parts.config));
        Self {
            layout,
            config: parts.config,
            document: parts.document,
            shards: parts.shards,
            inboxes: parts.inboxes,
            journal: parts.journal,
            api_address: parts.api_address,
            peer_address: parts.peer_address,
            tls: RwLock::new(parts.tls),
            started: Instant::now(),
            connections: [const { AtomicU64::new(0) }; 2],
            draining: AtomicBool::new(false),
            abandoned: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            write_trouble: Mutex::new(None),
        }
    }

    /// The time of a step of the core.
    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        Now { monotonic: self.started.elapsed(), wall_ms }
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The longest payload that this node takes.
    pub(crate) fn frame_limit(&self) -> FrameLimit {
        FrameLimit::for_values(self.config.server.max_message_size)
    }

    /// The answer to `hello`.
    pub(crate) fn welcome(&self) -> Welcome {
        Welcome {
            protocol: PROTOCOL_VERSION,
            node_id: self.document.node_id.as_str().to_owned(),
            cluster_id: self.document.cluster_id_text(),
            limits: Limits {
                key_bytes: paravon_model::limits::MAX_KEY_BYTES as u64,
                value_bytes: self.config.server.max_message_size as u64,
                in_flight: u64::from(self.config.server.limit_concurrency),
            },
            node: None,
        }
    }

    /// What new connections are accepted with.
    pub(crate) fn tls(&self) -> Arc<ServerConfig> {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads certificate, key, authority and revocation list anew for all later connections.
    ///
    /// # Errors
    /// The new set cannot be used, or is not this node's; the old one stays.
    pub(crate) fn reload(&self) -> Result<SystemTime, StartError> {
        let credentials = self.config.credentials(SystemTime::now())?;
        let tls = credentials.server_config()?;
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
