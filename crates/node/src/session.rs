//! One connection: frames in, replies out, in one task.
//!
//! The task decodes all complete frames, hands them to the core as one batch, and sends all replies
//! with one TLS write. It stops reading while the connection has as many requests in flight, or as
//! many unsent bytes, as it may. Connections of other nodes have no bound of requests here: their
//! lane has its own.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use paravon_model::{NodeId, Ordinal};
use paravon_protocol::{
    Code, FrameLimit, Refusal, RequestId, TooLarge, encode_goaway, encode_refusal,
};
use paravon_transport::{FrameStream, Identity};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::event_loop::Local;
use crate::inbox::Greeting;
use crate::outbox::{Correlation, Outbox};

/// How long the end of a connection may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Turns of a connection before others get theirs.
const TURNS: usize = 16;

/// Bytes that the buffers of an idle connection keep.
const IDLE_BUFFER_BYTES: usize = 1024;

/// Which port a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// Clients: put, get, delete.
    Api = 0,
    /// Nodes and administrators.
    Peer = 1,
}

/// A node at the other end, whose hello was admitted (`NO_STRANGER`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerNode {
    /// Its name, proved by its certificate.
    pub(crate) node_id: NodeId,
    /// The number that it says it has.
    pub(crate) ordinal: Option<Ordinal>,
    /// When it was admitted.
    pub(crate) greeting: Greeting,
}

/// What the core knows of a connection.
pub(crate) struct Session {
    pub(crate) identity: Identity,
    pub(crate) peer: SocketAddr,
    pub(crate) port: Port,
    /// Whether it said `hello`, and so understands `goaway`.
    pub(crate) greeted: Cell<bool>,
    /// What it calls itself; empty before its `hello`.
    pub(crate) client_id: RefCell<Arc<str>>,
    /// The node at the other end; none for everybody else.
    pub(crate) node: RefCell<Option<PeerNode>>,
    /// Whether nothing more of it is wanted.
    expelled: Cell<bool>,
    born: Instant,
    /// Since when it is to close.
    leaving: Cell<Option<Instant>>,
    in_flight: Cell<u32>,
    outbox: RefCell<Outbox>,
    waker: Cell<Option<Waker>>,
}

impl Session {
    pub(crate) fn new(identity: Identity, peer: SocketAddr, port: Port) -> Self {
        Self {
            identity,
            peer,
            port,
            greeted: Cell::new(false),
            client_id: RefCell::new("".into()),
            node: RefCell::default(),
            expelled: Cell::new(false),
            born: Instant::now(),
            leaving: Cell::new(None),
            in_flight: Cell::new(0),
            outbox: RefCell::default(),
            waker: Cell::new(None),
        }
    }

    /// The place of the reply to a request that has just been received.
    pub(crate) fn correlate(&self, id: Option<u64>) -> Correlation {
        self.outbox.borrow_mut().correlate(id)
    }

    pub(crate) fn reply(&self, to: Correlation, write: impl FnOnce(&mut Vec<u8>, Option<u64>)) {
        self.outbox.borrow_mut().reply(to, write);
    }

    pub(crate) fn refuse(&self, to: Correlation, why: &Refusal, request_id: Option<&RequestId>) {
        self.reply(to, |out, id| encode_refusal(out, id, why, request_id));
    }

    /// Adds frames that answer a peer.
    pub(crate) fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        self.outbox.borrow_mut().announce(write);
    }

    /// Refuses the connection as a whole: what it is told last is `why`.
    pub(crate) fn expel(&self, to: Correlation, why: &Refusal) {
        self.refuse(to, why, None);
        self.expelled.set(true);
        self.wake();
    }

    /// Whether another node is at the other end.
    pub(crate) fn is_of_a_node(&self) -> bool {
        self.node.borrow().is_some()
    }

    /// A request has gone to a shard.
    pub(crate) fn began(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    /// A request has come back from its shard.
    pub(crate) fn ended(&self) {
        self.in_flight.set(self.in_flight.get() - 1);
    }

    /// Lets the task send what the outbox holds. Costs nothing while the task is awake.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Asks the client to finish and connect elsewhere. Its requests that are on their way are still
    /// answered, until it closes or its time is over. A client that never said `hello` would take
    /// `goaway` for a reply, so its connection just closes at its first rest; and so does a node's,
    /// which has nowhere else to go.
    pub(crate) fn leave(&self) {
        if self.leaving.get().is_some() {
            return;
        }
        self.leaving.set(Some(Instant::now()));
        if self.greeted.get() && !self.is_of_a_node() {
            self.outbox.borrow_mut().announce(encode_goaway);
        }
        self.wake();
    }

    /// It has said `hello`, and so understands `goaway`: also one that was due already.
    pub(crate) fn greet(&self) {
        if !self.greeted.replace(true) && self.leaving.get().is_some() {
            self.outbox.borrow_mut().announce(encode_goaway);
        }
    }

    /// Whether it was asked to leave longer ago than `grace`.
    pub(crate) fn left_before(&self, grace: Duration) -> bool {
        self.leaving.get().is_some_and(|since| since.elapsed() >= grace)
    }

    /// How long it has been open.
    pub(crate) fn age(&self) -> Duration {
        self.born.elapsed()
    }
}

/// The task of one connection; ends when the connection has.
pub(crate) struct SessionTask {
    local: Rc<Local>,
    session: Rc<Session>,
    frames: FrameStream<TlsStream<TcpStream>>,
    /// The client sends no more, or nothing more of it is wanted.
    at_end: bool,
    /// What is sent after a frame that was too large is thrown away.
    refused: bool,
}

impl SessionTask {
    pub(crate) fn new(
        local: Rc<Local>,
        session: Rc<Session>,
        stream: TlsStream<TcpStream>,
    ) -> Self {
        Self { local, session, frames: FrameStream::new(stream), at_end: false, refused: false }
    }

    /// Serves the connection until it is closed.
    ///
    /// # Errors
    /// The connection broke, or the client stayed longer than it was asked to.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_serve(cx)).await?;
        timeout(CLOSE_LIMIT, poll_fn(|cx| self.frames.poll_close(cx))).await??;
        if self.refused || self.session.expelled.get() {
            // Closing with bytes unread resets the connection, and the refusal might never arrive.
            timeout(CLOSE_LIMIT, poll_fn(|cx| self.poll_discard(cx))).await??;
        }
        Ok(())
    }

    /// Throws away what comes, until the end.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = self.local.scratch.borrow_mut();
        loop {
            if ready!(self.frames.poll_discard(cx, &mut scratch))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Ready once the connection is to be closed.
    fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Replies that come while the task is awake are sent by it anyway.
        self.session.waker.set(None);
        let grace = self.local.shared.config.server.timeout_graceful_shutdown;
        if self.session.left_before(grace) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        for _ in 0..TURNS {
            let sending = self.poll_send(cx)?;
            if self.is_over() {
                return sending.map(Ok);
            }
            if self.may_read() {
                if self.take_frames() {
                    continue;
                }
                match self.poll_receive(cx)? {
                    Poll::Ready(()) => continue,
                    Poll::Pending => self.at_end = self.is_to_close(),
                }
                if self.at_end {
                    continue;
                }
            }
            self.session.waker.set(Some(cx.waker().clone()));
            if sending.is_ready() {
                self.release_buffers();
            }
            return Poll::Pending;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether nothing is to be done but to send what waits. A node that has gone waits for nothing.
    fn is_over(&self) -> bool {
        let session = &self.session;
        if session.expelled.get() {
            return true;
        }
        let awaited = session.in_flight.get() > 0;
        let gone = session.is_of_a_node() && session.leaving.get().is_none();
        self.at_end && (!awaited || gone)
    }

    /// Whether a connection on which nothing comes in is to be closed from this side.
    fn is_to_close(&self) -> bool {
        let session = &self.session;
        session.leaving.get().is_some() && (!session.greeted.get() || session.is_of_a_node())
    }

    fn may_read(&self) -> bool {
        let server = &self.local.shared.config.server;
        let session = &self.session;
        !self.at_end
            && !session.expelled.get()
            && (session.in_flight.get() < server.limit_concurrency || session.is_of_a_node())
            && self.unsent() < server.max_buffer_size
    }

    /// The longest frame that is taken.
    fn frame_limit(&self) -> FrameLimit {
        if self.session.is_of_a_node() { FrameLimit::PEER } else { self.local.shared.frame_limit() }
    }

    /// Bytes of replies that have not left, in whatever place they wait.
    fn unsent(&self) -> usize {
        self.frames.unsent() + self.session.outbox.borrow().bytes()
    }

    /// Sends what the outbox holds.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        self.session.outbox.borrow_mut().drain_to(self.frames.outgoing());
        if !self.frames.wants_to_send() {
            return Ok(Poll::Ready(()));
        }
        match self.frames.poll_send(cx) {
            Poll::Ready(sent) => sent.map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// Receives what is there.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        let mut scratch = self.local.scratch.borrow_mut();
        match self.frames.poll_receive(cx, &mut scratch) {
            Poll::Ready(Ok(received)) => {
                self.at_end = received == 0;
                Ok(Poll::Ready(()))
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// Hands the frames that are whole to the core, as one batch; whether there were any.
    fn take_frames(&mut self) -> bool {
        let local = self.local.clone();
        let limit = self.frame_limit();
        let mut core = local.core.borrow_mut();
        let now = local.shared.now();
        let mut any = false;
        // Looked at for every frame: small requests may have large replies.
        while self.may_read() {
            match self.frames.next_frame(limit) {
                Ok(Some(payload)) => core.receive(now, &self.session, payload),
                Ok(None) => break,
                Err(error) => {
                    self.refuse_frame(&error);
                    any = true;
                    break;
                }
            }
            any = true;
        }
        if any {
            core.end_batch();
            local.wake_after_batch(&core);
        }
        any
    }

    /// A frame is too large: say so and close, because where the next one begins is unknown.
    fn refuse_frame(&mut self, error: &TooLarge) {
        let message = format!("{error}; split the value or raise server.max_message_size");
        let refusal = Refusal::new(Code::MessageTooLarge, message);
        self.session.refuse(self.session.correlate(None), &refusal, None);
        self.at_end = true;
        self.refused = true;
    }

    fn release_buffers(&mut self) {
        self.frames.release_buffers(IDLE_BUFFER_BYTES);
        self.session.outbox.borrow_mut().shrink_to(IDLE_BUFFER_BYTES);
    }
}
