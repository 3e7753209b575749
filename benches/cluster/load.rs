//! A lean load: connections with one request in flight each, on one thread, dealt out over servers.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use paravon_model::{Consistency, Get, Key, Put, Value};
use paravon_protocol::{ClientMessage, ClientRequest, FrameLimit};
use paravon_transport::{FrameStream, SCRATCH_BYTES};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::nodes::Cluster;
use crate::report::Report;

const VALUE_BYTES: usize = 100;

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Puts of every key of a range, once.
    Fill { from: u64, keys: u64 },
    /// Puts of random keys.
    Put { keys: u64 },
    /// Gets of random keys.
    Get { keys: u64 },
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fill { .. } => "fill",
            Self::Put { .. } => "put",
            Self::Get { .. } => "get",
        })
    }
}

/// A load and its targets.
pub(crate) struct Load {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) operation: Operation,
    pub(crate) connections: usize,
    pub(crate) span: Duration,
}

/// What all connections of a load share.
struct Shared {
    operation: Operation,
    until: Option<Instant>,
    next: Cell<u64>,
    random: Cell<u64>,
    report: RefCell<Report>,
    scratch: RefCell<Vec<u8>>,
}

impl Load {
    /// Runs it.
    pub(crate) fn run(&self, cluster: &Cluster) -> Report {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        LocalSet::new().block_on(&runtime, async {
            let mut streams = Vec::new();
            for address in self.addresses.iter().cycle().take(self.connections) {
                streams.push(connect(cluster, *address).await);
            }
            let start = Instant::now();
            let shared = Rc::new(Shared {
                operation: self.operation,
                until: start.checked_add(self.span),
                next: Cell::new(0),
                random: Cell::new(0x9e37_79b9_7f4a_7c15),
                report: RefCell::new(Report::new()),
                scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
            });
            let tasks: Vec<_> = streams
                .into_iter()
                .map(|stream| spawn_local(serve(shared.clone(), stream)))
                .collect();
            for task in tasks {
                task.await.expect("no panic").expect("the server answers");
            }
            let mut report = shared.report.replace(Report::new());
            report.elapsed = start.elapsed();
            report
        })
    }
}

async fn connect(cluster: &Cluster, address: SocketAddr) -> TlsStream<TcpStream> {
    let config = cluster.credentials().client_config().expect("good certificates");
    let stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("a socket");
    let name = ServerName::from(address.ip());
    TlsConnector::from(config).connect(name, stream).await.expect("a handshake")
}

/// One request after the other.
async fn serve(shared: Rc<Shared>, stream: TlsStream<TcpStream>) -> io::Result<()> {
    let limit = FrameLimit::for_values(1 << 20);
    let mut frames = FrameStream::new(stream);
    while shared.next_frame(frames.outgoing()) {
        let start = Instant::now();
        poll_fn(|cx| frames.poll_send(cx)).await?;
        loop {
            if let Some(payload) = frames.next_frame(limit).map_err(io::Error::other)? {
                shared.note(start, payload);
                break;
            }
            let received = poll_fn(|cx| frames.poll_receive(cx, &mut shared.scratch.borrow_mut()));
            if received.await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    Ok(())
}

impl Shared {
    /// Appends the next request; `false` where there is none.
    fn next_frame(&self, out: &mut Vec<u8>) -> bool {
        let id = self.next.get();
        self.next.set(id + 1);
        let on_time = || self.until.is_none_or(|until| Instant::now() < until);
        let number = match self.operation {
            Operation::Fill { from, keys } if id < keys => from + id,
            Operation::Put { keys } | Operation::Get { keys } if on_time() => self.draw() % keys,
            _ => return false,
        };
        let key = format!("key-{number:012}");
        let key = Key::new(Key::DEFAULT_NAMESPACE, key.as_bytes()).expect("a valid key");
        let consistency = Consistency::Quorum;
        let message = match self.operation {
            Operation::Get { .. } => ClientMessage::Get(Get { key, consistency }),
            Operation::Put { .. } | Operation::Fill { .. } => {
                let mut value = [0; VALUE_BYTES];
                for (index, byte) in value.iter_mut().enumerate() {
                    *byte = (number.wrapping_mul(0x9e37_79b9) >> (index % 24)).to_le_bytes()[0];
                }
                let value = Value::bytes(&value);
                ClientMessage::Put(Put { key, value, ttl: None, consistency })
            }
        };
        ClientRequest { message, timeout: None, request_id: None }.encode(Some(id), out);
        true
    }

    fn note(&self, start: Instant, payload: &[u8]) {
        let mut report = self.report.borrow_mut();
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        report.latencies.saturating_record(micros);
        let head = &payload[..payload.len().min(32)];
        if head.windows(3).any(|window| window == b"\xa2ko") {
            report.refused += 1;
            report.reason.get_or_insert_with(|| payload.escape_ascii().to_string());
        }
    }

    /// Xorshift: good enough to scatter keys.
    fn draw(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x
    }
}
