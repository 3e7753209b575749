//! A handle to one connection: sends a request and waits for its answer.
//!
//! **Never:** sends further requests over a connection that is silent: after a deadline that passes without
//! a single frame from the server, the next request connects anew. Nor does it take the connection from
//! callers that still wait on it: their time may be longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use paravon_model::Outcome;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::in_flight::{Broken, Fault, Reply};
use crate::message::Message;
use crate::session::{Heard, Outgoing, Session};

/// How long [`Connection::close`] waits for the task.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Why a call over a connection gave no answer.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The connection ended.
    Broken(Broken),
    /// The deadline passed.
    Deadline(Outcome),
}

/// A connection on which `hello` is done.
#[derive(Debug)]
pub(crate) struct Connection {
    requests: mpsc::Sender<Outgoing>,
    heard: Arc<Heard>,
    /// Whether it has been silent for too long; its task ends with the last caller that waits on it.
    abandoned: AtomicBool,
    value_limit: u64,
    task: Task,
}

impl Connection {
    /// Starts the connection's task. `incoming` is what has been read beyond the answer to `hello`.
    pub(crate) fn start<S>(
        stream: S,
        incoming: Vec<u8>,
        max_in_flight: usize,
        value_limit: u64,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let max_in_flight = max_in_flight.max(1);
        let (requests, queue) = mpsc::channel(max_in_flight);
        let heard = Arc::new(Heard::default());
        let session = Session::new(stream, incoming, queue, max_in_flight, heard.clone());
        let task = Task(Some(tokio::spawn(session.run())));
        Self { requests, heard, abandoned: AtomicBool::new(false), value_limit, task }
    }

    /// Whether it takes requests.
    pub(crate) fn is_open(&self) -> bool {
        !self.requests.is_closed() && !self.abandoned.load(Ordering::Relaxed)
    }

    /// Whether the server asked for new requests to go elsewhere.
    pub(crate) fn is_leaving(&self) -> bool {
        self.heard.goaway.load(Ordering::Relaxed)
    }

    /// The longest value that the server takes.
    pub(crate) fn value_limit(&self) -> u64 {
        self.value_limit
    }

    /// Sends `message` and waits for its answer; the server is told to take at most `server_timeout`.
    pub(crate) async fn call(
        &self,
        message: Message,
        server_timeout: Duration,
        deadline: Instant,
    ) -> Result<Reply, CallError> {
        let (reply, answer) = oneshot::channel();
        let heard_before = self.heard.frames.load(Ordering::Relaxed);
        self.enqueue(Outgoing { message, timeout: server_timeout, reply }, deadline).await?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer.map_err(CallError::Broken),
            // The task was stopped before it could say what became of the request.
            Ok(Err(_)) => Err(CallError::Broken(ended(Outcome::Unknown))),
            Err(_) => {
                if self.heard.frames.load(Ordering::Relaxed) == heard_before {
                    self.abandoned.store(true, Ordering::Relaxed);
                }
                Err(CallError::Deadline(Outcome::Unknown))
            }
        }
    }

    async fn enqueue(&self, outgoing: Outgoing, deadline: Instant) -> Result<(), CallError> {
        let not_sent = || CallError::Broken(ended(Outcome::Refused));
        match self.requests.try_send(outgoing) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(not_sent()),
            Err(TrySendError::Full(outgoing)) => {
                match timeout_at(deadline, self.requests.send(outgoing)).await {
                    Ok(sent) => sent.map_err(|_| not_sent()),
                    Err(_) => Err(CallError::Deadline(Outcome::Refused)),
                }
            }
        }
    }

    /// Takes no more requests, waits a moment for the answers that are due, and says goodbye.
    pub(crate) async fn close(self) {
        let Self { requests, task, .. } = self;
        drop(requests);
        task.finish().await;
    }
}

fn ended(outcome: Outcome) -> Broken {
    let error = std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
    Broken { outcome, fault: Fault::Io(Arc::new(error)) }
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Task(Option<JoinHandle<()>>);

impl Task {
    async fn finish(mut self) {
        if let Some(task) = &mut self.0 {
            let _ended = timeout(CLOSE_LIMIT, task).await;
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
