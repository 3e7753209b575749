//! A lean load: connections with one request in flight each, on one thread, dealt out over servers.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use paravon_model::{Consistency, Delete, Get, Hlc, Key, Put, Value};
use paravon_protocol::{ClientMessage, ClientRequest, Envelope, FrameLimit, decode_reply};
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
    /// Deletes of every key, once.
    Clear { keys: u64 },
    /// Puts of random keys.
    Put { keys: u64 },
    /// Gets of random keys.
    Get { keys: u64 },
    /// Puts and gets of random keys by turns; no get may answer below what was acknowledged before
    /// it began.
    Checked { keys: u64 },
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fill { .. } => "fill",
            Self::Clear { .. } => "delete",
            Self::Put { .. } => "put",
            Self::Get { .. } => "get",
            Self::Checked { .. } => "put and get",
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
    /// The largest version that was acknowledged, by the number of the key.
    acknowledged: RefCell<HashMap<u64, Hlc>>,
    scratch: RefCell<Vec<u8>>,
}

/// A request under way.
struct Asked {
    start: Instant,
    /// The number of its key.
    number: u64,
    verb: Verb,
}

/// What a request does, and what its answer must not fall short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Put,
    Delete,
    Get { acknowledged: Hlc },
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
                acknowledged: RefCell::new(HashMap::new()),
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
    while let Some(asked) = shared.next_frame(frames.outgoing()) {
        poll_fn(|cx| frames.poll_send(cx)).await?;
        loop {
            if let Some(payload) = frames.next_frame(limit).map_err(io::Error::other)? {
                shared.note(&asked, payload);
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
    /// Appends the next request; none where there is none.
    fn next_frame(&self, out: &mut Vec<u8>) -> Option<Asked> {
        let id = self.next.get();
        self.next.set(id + 1);
        let on_time = || self.until.is_none_or(|until| Instant::now() < until);
        let (number, verb) = match self.operation {
            Operation::Fill { from, keys } if id < keys => (from + id, Verb::Put),
            Operation::Clear { keys } if id < keys => (id, Verb::Delete),
            Operation::Put { keys } if on_time() => (self.draw() % keys, Verb::Put),
            Operation::Get { keys } if on_time() => self.get(self.draw() % keys),
            Operation::Checked { keys } if on_time() => {
                let number = self.draw() % keys;
                if id % 2 == 1 { self.get(number) } else { (number, Verb::Put) }
            }
            _ => return None,
        };
        let key = format!("key-{number:012}");
        let key = Key::new(Key::DEFAULT_NAMESPACE, key.as_bytes()).expect("a valid key");
        let consistency = Consistency::Quorum;
        let message = match verb {
            Verb::Get { .. } => ClientMessage::Get(Get { key, consistency }),
            Verb::Delete => ClientMessage::Delete(Delete { key, consistency }),
            Verb::Put => {
                let value = Value::bytes(&value_of(number));
                ClientMessage::Put(Put { key, value, ttl: None, consistency })
            }
        };
        ClientRequest { message, timeout: None, request_id: None }.encode(Some(id), out);
        Some(Asked { start: Instant::now(), number, verb })
    }

    fn get(&self, number: u64) -> (u64, Verb) {
        let acknowledged = self.acknowledged.borrow().get(&number).copied();
        (number, Verb::Get { acknowledged: acknowledged.unwrap_or(Hlc::ZERO) })
    }

    fn note(&self, asked: &Asked, payload: &[u8]) {
        let mut report = self.report.borrow_mut();
        let micros = u64::try_from(asked.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        report.latencies.saturating_record(micros);
        let head = &payload[..payload.len().min(32)];
        if head.windows(3).any(|window| window == b"\xa2ko") {
            report.refused += 1;
            report.reason.get_or_insert_with(|| payload.escape_ascii().to_string());
        } else if matches!(self.operation, Operation::Checked { .. }) {
            report.stale += u64::from(self.is_stale(asked, payload));
        }
    }

    /// Whether a get answered below what was acknowledged before it began; remembers what a put was
    /// acknowledged with.
    fn is_stale(&self, asked: &Asked, payload: &[u8]) -> bool {
        let envelope = Envelope::decode(payload).expect("a reply");
        let reply = decode_reply(envelope.kind, envelope.data).expect("a reply");
        let version = reply.ok().and_then(|replied| replied.versions.first().map(|v| v.hlc));
        let version = version.unwrap_or(Hlc::ZERO);
        match asked.verb {
            Verb::Get { acknowledged } => version < acknowledged,
            Verb::Put | Verb::Delete => {
                let mut all = self.acknowledged.borrow_mut();
                let known = all.entry(asked.number).or_insert(version);
                *known = version.max(*known);
                false
            }
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

fn value_of(number: u64) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    for (index, byte) in value.iter_mut().enumerate() {
        *byte = (number.wrapping_mul(0x9e37_79b9) >> (index % 24)).to_le_bytes()[0];
    }
    value
}
