//! What a caller chooses, for a client and for one request.
//!
//! **Never:** a default that can lose an acknowledged write, or a wait without an end.

use std::time::Duration;

use paravon_model::Consistency;
use paravon_transport::TlsFiles;

/// How a [`Client`](crate::Client) reaches its cluster.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// One or more nodes of the same cluster, each `HOST:PORT`. Any of them can answer any request; more
    /// than one lets the client go on while one is down.
    pub servers: Vec<String>,
    /// Which of them is asked first.
    pub order: ServerOrder,
    /// The certificate that says who the client is, and the authority that it trusts.
    pub tls: TlsFiles,
    /// What the client calls itself in the servers' logs.
    pub client_id: String,
    /// The program and its version, for the servers' logs.
    pub program: String,
    /// The deadline of a request that names none, connecting and retries included.
    pub timeout: Duration,
    /// The deadline of one connection: name, TCP, TLS and `hello`. Shorter than `timeout`, so that
    /// another server can be tried.
    pub connect_timeout: Duration,
    /// Most times that one request is tried. The deadline may end it earlier.
    pub max_attempts: u32,
    /// Most requests in flight on one connection; the server may allow fewer. As many again can wait
    /// in the queue before a caller waits for room.
    pub max_in_flight: usize,
}

/// Which server a client begins with. It stays with a server that answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerOrder {
    /// One by chance, so that many clients spread over the servers.
    #[default]
    Spread,
    /// As listed.
    Listed,
}

impl ClientOptions {
    /// The defaults, for these servers and this certificate.
    #[must_use]
    pub fn new(servers: Vec<String>, tls: TlsFiles) -> Self {
        Self {
            servers,
            order: ServerOrder::default(),
            tls,
            client_id: String::new(),
            program: concat!("paravon-client ", env!("CARGO_PKG_VERSION")).to_owned(),
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            max_attempts: 10,
            max_in_flight: 256,
        }
    }
}

/// What a get or a delete may choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestOptions {
    /// How many replicas must answer.
    pub consistency: Consistency,
    /// The deadline, retries included; the client's default where absent.
    pub timeout: Option<Duration>,
}

/// What a put may choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// How many replicas must have the value durably.
    pub consistency: Consistency,
    /// The deadline, retries included; the client's default where absent.
    pub timeout: Option<Duration>,
    /// How long the value stays visible; for ever where absent.
    pub ttl: Option<Duration>,
}
