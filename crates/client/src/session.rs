//! The task of one connection: moves bytes in both directions until the server, the client or an error
//! ends it.
//!
//! One task does both, because two halves of a TLS stream share a lock, and because so everything that
//! waits to be sent goes out in one write, and everything that has come is delivered in one wake-up.
//!
//! **Never:** reads or interprets a message's data, waits while callers are owed an answer about an
//! ended connection, or takes a request that it has no room for.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use paravon_model::Outcome;
use paravon_model::limits::MAX_VALUE_BYTES;
use paravon_protocol::{FrameLimit, split_frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::in_flight::{Broken, Delivered, Fault, InFlight, ReplySender};
use crate::message::Message;

/// Room that a read is given.
const READ_BYTES: usize = 32 * 1024;

/// Encoded requests beyond which no more are taken from the queue until the network has taken these.
const OUTGOING_BYTES: usize = 256 * 1024;

/// How long the end of a connection is said politely.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(500);

/// A request on its way to the session.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// What is asked.
    pub(crate) message: Message,
    /// How long the server may take.
    pub(crate) timeout: Duration,
    /// Where the answer goes.
    pub(crate) reply: ReplySender,
}

/// What a session tells its handle.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Frames received, for whoever wonders whether the server is there.
    pub(crate) frames: AtomicU64,
    /// Whether the server said goaway.
    pub(crate) goaway: AtomicBool,
}

/// The longest frame that a client reads; longer answers are garbage.
pub(crate) fn frame_limit() -> FrameLimit {
    FrameLimit::for_values(MAX_VALUE_BYTES)
}

/// One connection's state. `S` is a TLS stream; tests use a pipe.
#[derive(Debug)]
pub(crate) struct Session<S> {
    stream: S,
    requests: mpsc::Receiver<Outgoing>,
    /// Taken from the queue and not encoded yet; empty between polls.
    batch: Vec<Outgoing>,
    max_in_flight: usize,
    in_flight: InFlight,
    heard: Arc<Heard>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// How much of `outgoing` has been handed to TLS.
    written: usize,
    /// The position in the stream where `outgoing` begins.
    position: u64,
    unflushed: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Takes requests.
    Open,
    /// The server said goaway: what still comes from the queue is sent back.
    Leaving,
    /// The queue has ended: only answers are waited for.
    Ending,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A session over a stream on which `hello` is done; `incoming` is what has been read beyond it.
    pub(crate) fn new(
        stream: S,
        incoming: Vec<u8>,
        requests: mpsc::Receiver<Outgoing>,
        max_in_flight: usize,
        heard: Arc<Heard>,
    ) -> Self {
        Self {
            stream,
            requests,
            batch: Vec::new(),
            max_in_flight,
            in_flight: InFlight::default(),
            heard,
            incoming,
            outgoing: Vec::new(),
            written: 0,
            position: 0,
            unflushed: false,
            state: State::Open,
        }
    }

    /// Runs until the queue of requests has ended and all are answered, or the connection breaks; then
    /// whoever waits is told.
    pub(crate) async fn run(mut self) {
        let ended = poll_fn(|cx| self.poll(cx)).await;
        if let Err(fault) = ended {
            let handed_over = self.position + self.written as u64;
            self.in_flight.fail(&fault, handed_over);
            self.requests.close();
            while let Ok(outgoing) = self.requests.try_recv() {
                send_back(outgoing, &fault);
            }
        }
        let _polite = timeout(SHUTDOWN_LIMIT, self.stream.shutdown()).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.deliver()?;
        self.poll_read(cx)?;
        loop {
            let full = self.poll_requests(cx) == Room::None;
            let written = self.poll_write(cx).map_err(io_fault)?.is_ready();
            if self.state == State::Ending && self.in_flight.len() == 0 && written {
                return Poll::Ready(Ok(()));
            }
            // What stopped for want of room goes on as soon as there is some: nothing else wakes it.
            if !(full && written && self.in_flight.len() < self.max_in_flight) {
                return Poll::Pending;
            }
        }
    }

    /// Reads all that is there and delivers it.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        loop {
            self.incoming.reserve(READ_BYTES);
            let read = pin!(self.stream.read_buf(&mut self.incoming)).poll(cx);
            match read.map_err(io_fault)? {
                Poll::Pending => return Ok(()),
                Poll::Ready(0) => return Err(io_fault(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(_) => self.deliver()?,
            }
        }
    }

    /// Delivers every complete frame.
    fn deliver(&mut self) -> Result<(), Fault> {
        let mut start = 0;
        loop {
            let rest = &self.incoming[start..];
            let frame = split_frame(rest, frame_limit()).map_err(|e| Fault::Garbage(e.into()))?;
            let Some(payload) = frame else { break };
            start += payload.end;
            self.heard.frames.fetch_add(1, Ordering::Relaxed);
            let delivered = self.in_flight.deliver(&rest[payload])?;
            if delivered == Delivered::Goaway && self.state == State::Open {
                self.state = State::Leaving;
                self.heard.goaway.store(true, Ordering::Relaxed);
                self.requests.close();
            }
        }
        self.incoming.drain(..start);
        // After a long answer the memory goes back.
        self.incoming.shrink_to(2 * READ_BYTES);
        Ok(())
    }

    /// Encodes what waits in the queue, as far as there is room.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Room {
        while self.state != State::Ending {
            if self.in_flight.len() >= self.max_in_flight {
                self.in_flight.forget_abandoned();
            }
            let room = self.max_in_flight.saturating_sub(self.in_flight.len());
            if self.state == State::Open && (room == 0 || self.outgoing.len() >= OUTGOING_BYTES) {
                return Room::None;
            }
            match self.requests.poll_recv_many(cx, &mut self.batch, room.max(1)) {
                Poll::Pending => break,
                Poll::Ready(0) => self.state = State::Ending,
                Poll::Ready(_) => self.encode_batch(),
            }
        }
        Room::Some
    }

    fn encode_batch(&mut self) {
        for outgoing in self.batch.drain(..) {
            if self.state == State::Leaving {
                send_back(outgoing, &Fault::Leaving);
            } else if !outgoing.reply.is_closed() {
                let Outgoing { message, timeout, reply } = outgoing;
                message.encode(self.in_flight.next_id(), timeout, &mut self.outgoing);
                self.in_flight.insert(self.position + self.outgoing.len() as u64, reply);
            }
        }
    }

    /// Hands everything encoded to TLS, and makes TLS hand it to the network.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.outgoing.len() {
            let rest = &self.outgoing[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.written += count,
                Err(error) => {
                    // TLS may have sent any part of it before it failed.
                    self.written = self.outgoing.len();
                    return Poll::Ready(Err(error));
                }
            }
            self.unflushed = true;
        }
        self.position += self.written as u64;
        self.written = 0;
        self.outgoing.clear();
        self.outgoing.shrink_to(2 * OUTGOING_BYTES);
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether requests could still be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Some,
    None,
}

fn io_fault(error: io::Error) -> Fault {
    Fault::Io(Arc::new(error))
}

/// Gives a request back to its caller: none of it was sent.
fn send_back(outgoing: Outgoing, fault: &Fault) {
    let broken = Broken { outcome: Outcome::Refused, fault: fault.clone() };
    let _gone = outgoing.reply.send(Err(broken));
}
