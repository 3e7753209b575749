//! A lean load: connections with so many requests in flight each, on one thread.
//!
//! Replies are counted and told from refusals, and not otherwise looked at: the load shares the
//! machine with what it measures.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use paravon_model::{Consistency, Get, Key, Put, Value};
use paravon_protocol::{ClientMessage, ClientRequest, FrameLimit};
use paravon_transport::{FrameStream, SCRATCH_BYTES};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::place::Place;

pub(crate) const VALUE_BYTES: usize = 100;

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Puts of every key, once.
    Fill,
    /// Puts of random keys.
    Put,
    /// Gets of random keys.
    Get,
}

/// A load and its target.
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) operation: Operation,
    pub(crate) connections: usize,
    pub(crate) depth: usize,
    pub(crate) span: Duration,
    pub(crate) keys: u64,
}

/// What all connections of a load share.
struct Shared {
    operation: Operation,
    keys: u64,
    depth: usize,
    until: Option<Instant>,
    next: Cell<u64>,
    random: Cell<u64>,
    answered: Cell<u64>,
    scratch: RefCell<Vec<u8>>,
}

impl Load {
    /// Runs it; answers per second.
    pub(crate) fn run(&self, place: &Place) -> f64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        LocalSet::new().block_on(&runtime, async {
            let mut streams = Vec::new();
            for _ in 0..self.connections {
                streams.push(connect(place, self.address).await);
            }
            let start = Instant::now();
            let shared = Rc::new(Shared {
                operation: self.operation,
                keys: self.keys,
                depth: self.depth,
                until: start.checked_add(self.span),
                next: Cell::new(0),
                random: Cell::new(0x9e37_79b9_7f4a_7c15),
                answered: Cell::new(0),
                scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
            });
            let tasks: Vec<_> = streams
                .into_iter()
                .map(|stream| {
                    let mut connection = Connection::new(shared.clone(), stream);
                    spawn_local(async move {
                        poll_fn(|cx| connection.poll(cx)).await.expect("the server answers");
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("no panic");
            }
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            let answered = shared.answered.get() as f64;
            answered / start.elapsed().as_secs_f64()
        })
    }
}

/// A connection to the server under test.
pub(crate) async fn connect(place: &Place, address: SocketAddr) -> TlsStream<TcpStream> {
    let config = place.credentials("client").client_config().expect("good certificates");
    let stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("a socket");
    let name = ServerName::from(address.ip());
    TlsConnector::from(config).connect(name, stream).await.expect("a handshake")
}

/// The frame of one request.
pub(crate) fn frame(operation: Operation, number: u64, id: u64, out: &mut Vec<u8>) {
    let key = format!("key-{number:012}");
    let key = Key::new(Key::DEFAULT_NAMESPACE, key.as_bytes()).expect("a valid key");
    let consistency = Consistency::Quorum;
    let message = match operation {
        Operation::Get => ClientMessage::Get(Get { key, consistency }),
        Operation::Put | Operation::Fill => {
            let mut value = [0; VALUE_BYTES];
            for (index, byte) in value.iter_mut().enumerate() {
                *byte = (number.wrapping_mul(0x9e37_79b9) >> (index % 24)).to_le_bytes()[0];
            }
            let value = Value::bytes(&value);
            ClientMessage::Put(Put { key, value, ttl: None, consistency })
        }
    };
    ClientRequest { message, timeout: None, request_id: None }.encode(Some(id), out);
}

impl Shared {
    /// Whether another request is to be sent.
    fn goes_on(&self) -> bool {
        match self.operation {
            Operation::Fill => self.next.get() < self.keys,
            Operation::Put | Operation::Get => {
                self.until.is_none_or(|until| Instant::now() < until)
            }
        }
    }

    fn next_frame(&self, out: &mut Vec<u8>) {
        let id = self.next.get();
        self.next.set(id + 1);
        let number = if self.operation == Operation::Fill { id } else { self.draw() % self.keys };
        frame(self.operation, number, id, out);
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

struct Connection {
    shared: Rc<Shared>,
    frames: FrameStream<TlsStream<TcpStream>>,
    in_flight: usize,
    started: bool,
}

impl Connection {
    fn new(shared: Rc<Shared>, stream: TlsStream<TcpStream>) -> Self {
        Self { shared, frames: FrameStream::new(stream), in_flight: 0, started: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let limit = FrameLimit::for_values(1 << 20);
        loop {
            let begin = if self.started { 0 } else { self.shared.depth };
            self.started = true;
            self.ask(begin);
            if self.frames.unsent() > 0 {
                ready!(self.frames.poll_send(cx))?;
            }
            if self.in_flight == 0 {
                return Poll::Ready(Ok(()));
            }
            let mut scratch = self.shared.scratch.borrow_mut();
            let received = ready!(self.frames.poll_receive(cx, &mut scratch))?;
            drop(scratch);
            assert!(received > 0, "the server closed the connection");
            let mut answers = 0;
            while let Some(payload) = self.frames.next_frame(limit).map_err(io::Error::other)? {
                let head = &payload[..payload.len().min(32)];
                let refused = head.windows(3).any(|window| window == b"\xa2ko");
                assert!(!refused, "{}", payload.escape_ascii());
                answers += 1;
            }
            self.in_flight -= answers;
            self.shared.answered.set(self.shared.answered.get() + answers as u64);
            self.ask(answers);
        }
    }

    /// Appends up to `count` further requests.
    fn ask(&mut self, count: usize) {
        for _ in 0..count {
            if self.shared.goes_on() {
                self.shared.next_frame(self.frames.outgoing());
                self.in_flight += 1;
            }
        }
    }
}
