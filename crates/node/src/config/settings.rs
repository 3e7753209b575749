//! What a configured node knows: one field per key of `paranode.yaml`, each of a checked type.
//!
//! **Never:** reads a file or the environment, or holds a value that the node has to check again.
//! A default stands here and nowhere else; a test holds the published `paranode.yaml` against it.

use std::path::PathBuf;
use std::time::Duration;

use paravon_model::{NodeId, Size};
use paravon_ring::Shift;
use paravon_transport::TlsFiles;

use super::address::{Address, Host};

/// 1 MiB, in bytes.
pub(super) const MIB: usize = 1024 * 1024;

/// The whole configuration of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who this node is.
    pub node: Node,
    /// Ports, certificates and limits.
    pub server: Server,
    /// Where and how data is kept.
    pub storage: Storage,
    /// How a cluster is founded; without effect on one that exists.
    pub placement: Placement,
    /// How members are watched.
    pub membership: Membership,
    /// How far clocks may differ.
    pub clock: Clock,
    /// What is kept for nodes that are away.
    pub handoff: Handoff,
    /// What holds for requests that say nothing themselves.
    pub request: Request,
    /// Who may administer.
    pub security: Security,
}

/// `node.*`: who this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `node.id`: its name, equal to the common name of its certificate.
    pub id: NodeId,
    /// `node.size`: its share of the data against other nodes.
    pub size: Size,
    /// `node.auto_join`: whether it joins its seeds' cluster by itself.
    pub auto_join: bool,
    /// `node.zone`: where it stands; replicas avoid sharing a zone.
    pub zone: Option<NodeId>,
}

/// `server.*`: ports, certificates and limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `server.api.*`: where clients connect.
    pub api: Api,
    /// `server.peer.*`: where nodes and administrators connect.
    pub peer: Peer,
    /// `server.tls.*`: certificate, key, certificate authority, revocation list.
    pub tls: TlsFiles,
    /// `server.event_loops`: threads that serve connections; one fewer than the cores by default.
    pub event_loops: Option<u16>,
    /// `server.backlog`: connections that the kernel holds until they are accepted.
    pub backlog: u32,
    /// `server.timeout_graceful_shutdown`: how long requests under way may take to end.
    pub timeout_graceful_shutdown: Duration,
    /// `server.limit_concurrency`: requests in flight per connection.
    pub limit_concurrency: u32,
    /// `server.max_buffer_size`: bytes buffered per connection and direction.
    pub max_buffer_size: usize,
    /// `server.max_message_size`: longest value, in bytes.
    pub max_message_size: usize,
    /// `server.max_connections`: connections per port.
    pub max_connections: u32,
    /// `server.max_connection_age`: after which a client is asked to connect anew.
    pub max_connection_age: Duration,
    /// `server.handshake_timeout`: how long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// `server.metrics`: where metrics are served; nowhere by default.
    pub metrics: Option<Address>,
}

/// `server.api.*`: where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// `server.api.host` and `server.api.port`: what is bound; port 0 lets the system choose.
    pub bind: Address,
}

/// `server.peer.*`: where nodes and administrators connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `server.peer.host` and `server.peer.port`: what is bound; port 0 lets the system choose.
    pub bind: Address,
    /// `server.peer.seeds`: peer addresses of members to ask at the first start.
    pub seeds: Vec<Address>,
    /// `server.peer.listener`: what other nodes connect to; what is bound where it is not given.
    pub listener: Option<Address>,
}

/// `storage.*`: where and how data is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// `storage.data_dir`: the directory that holds everything the node must not lose.
    pub data_dir: PathBuf,
    /// `storage.engine`: disk or memory.
    pub engine: Engine,
    /// `storage.durability`: when a write counts as stored.
    pub durability: Durability,
    /// `storage.sync_interval`: time between syncs, with [`Durability::Interval`] alone.
    pub sync_interval: Duration,
    /// `storage.cache_size`: bytes of stored pages kept in memory, for the whole node.
    pub cache_size: u64,
}

/// Where records live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// On disk, behind a write-ahead log.
    Disk,
    /// In memory: gone when the process ends.
    Memory,
}

/// When a write counts as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When it is synced to disk.
    Always,
    /// At once; a sync follows within `storage.sync_interval`, and a power failure loses what it
    /// had not reached.
    Interval,
}

/// `placement.*`: how a cluster is founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// `placement.shift`: the cluster has `2^shift` partitions, for good.
    pub shift: Shift,
    /// `placement.replication_factor`: how many nodes store each key.
    pub replication_factor: u8,
}

/// `membership.*`: how members are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// `membership.join_timeout`: after which a silent joining node is given up.
    pub join_timeout: Duration,
}

/// `clock.*`: how far clocks may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// `clock.max_skew`: how far this node's clock may be from most others before it stamps no
    /// writes.
    pub max_skew: Duration,
}

/// `handoff.*`: what is kept for nodes that are away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handoff {
    /// `handoff.max_bytes`: bytes of hints; what does not fit is only noted.
    pub max_bytes: u64,
}

/// `request.*`: what holds for requests that say nothing themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// `request.timeout`: the deadline of a request without one.
    pub timeout: Duration,
}

/// `security.*`: who may administer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// `security.admins`: common names that may administer besides those with subject unit `admin`.
    pub admins: Vec<String>,
}

impl Config {
    /// A configuration of defaults around the five values that have none.
    #[must_use]
    pub fn new(id: NodeId, tls: TlsFiles, data_dir: PathBuf) -> Self {
        Self {
            node: Node { id, size: Size::L, auto_join: false, zone: None },
            server: Server::new(tls),
            storage: Storage {
                data_dir,
                engine: Engine::Disk,
                durability: Durability::Always,
                sync_interval: Duration::from_millis(100),
                cache_size: 256 * MIB as u64,
            },
            placement: Placement { shift: Shift::DEFAULT, replication_factor: 3 },
            membership: Membership { join_timeout: Duration::from_secs(60) },
            clock: Clock { max_skew: Duration::from_millis(500) },
            handoff: Handoff { max_bytes: 1024 * MIB as u64 },
            request: Request { timeout: Duration::from_secs(5) },
            security: Security { admins: Vec::new() },
        }
    }
}

impl Server {
    fn new(tls: TlsFiles) -> Self {
        let local = |port| Address { host: Host::LOCAL, port };
        Self {
            api: Api { bind: local(2000) },
            peer: Peer { bind: local(6000), seeds: Vec::new(), listener: None },
            tls,
            event_loops: None,
            backlog: 128,
            timeout_graceful_shutdown: Duration::from_secs(5),
            limit_concurrency: 1024,
            max_buffer_size: 4 * MIB,
            max_message_size: MIB,
            max_connections: 10_000,
            max_connection_age: Duration::from_secs(30 * 60),
            handshake_timeout: Duration::from_secs(5),
            metrics: None,
        }
    }
}

impl Peer {
    /// What other nodes are told to connect to, once the port that was really bound is known.
    #[must_use]
    pub fn advertised(&self, bound_port: u16) -> Address {
        let bound = || Address { host: self.bind.host.clone(), port: bound_port };
        self.listener.clone().unwrap_or_else(bound)
    }
}
