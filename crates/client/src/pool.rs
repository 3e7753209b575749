//! The servers, at most one connection to each, and which of them is asked.
//!
//! A request goes to the preferred server; one that cannot be reached or leaves makes the next in the
//! list the preferred one. After a failed connect a server rests: until then whoever asks gets the
//! same error at once, so that a hundred waiting requests make one attempt and not a hundred.
//!
//! **Never:** two connections to a server at a time, or a lock held while a request waits for its
//! answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::address::ServerAddress;
use crate::backoff::{Backoff, random};
use crate::connection::Connection;
use crate::dial::Dialer;
use crate::error::ClientError;

/// All servers of a client.
pub(crate) struct Pool {
    dialer: Dialer,
    servers: Vec<Server>,
    preferred: AtomicUsize,
}

/// One server.
struct Server {
    address: ServerAddress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    resting: Option<Resting>,
    backoff: Backoff,
}

/// Why a server is not connected to before an instant.
struct Resting {
    until: Instant,
    because: ClientError,
}

impl Pool {
    /// A pool that begins with the server of index `first`. Connects to nobody yet.
    pub(crate) fn new(dialer: Dialer, addresses: Vec<ServerAddress>, first: usize) -> Self {
        let server = |address| Server { address, state: Mutex::default() };
        let servers: Vec<_> = addresses.into_iter().map(server).collect();
        Self { dialer, preferred: AtomicUsize::new(first % servers.len().max(1)), servers }
    }

    /// How many servers there are; at least one.
    pub(crate) fn len(&self) -> usize {
        self.servers.len()
    }

    /// The index of the server that a new request begins with.
    pub(crate) fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    /// The address of a server.
    pub(crate) fn address(&self, index: usize) -> &ServerAddress {
        &self.servers[index].address
    }

    /// Begins new requests elsewhere, unless somebody has seen to that already.
    pub(crate) fn avoid(&self, index: usize) {
        let next = (index + 1) % self.servers.len();
        // Losing the race means that another request has moved on.
        let _lost =
            self.preferred.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The connection to a server, made if there is none. After a goaway the next request goes
    /// elsewhere; where there is nowhere else, a load balancer in front may know another node.
    pub(crate) async fn connection(&self, index: usize) -> Result<Arc<Connection>, ClientError> {
        let server = &self.servers[index];
        let mut state = server.state.lock().await;
        if let Some(connection) = state.connection.as_ref().filter(|c| c.is_open()) {
            return Ok(connection.clone());
        }
        let was_leaving = state.connection.take().is_some_and(|c| c.is_leaving());
        if was_leaving && self.servers.len() > 1 {
            return Err(ClientError::Leaving { server: server.address.clone() });
        }
        if let Some(resting) = state.resting.as_ref().filter(|r| Instant::now() < r.until) {
            return Err(resting.because.clone());
        }
        match self.dialer.dial(&server.address).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *state = State { connection: Some(connection.clone()), ..State::default() };
                Ok(connection)
            }
            Err(error) => {
                let until = Instant::now() + state.backoff.fail(random());
                state.resting = Some(Resting { until, because: error.clone() });
                Err(error)
            }
        }
    }

    /// How long until some server may be connected to; zero where one may be now.
    pub(crate) fn until_ready(&self) -> Duration {
        let now = Instant::now();
        let wait = |server: &Server| match server.state.try_lock() {
            Ok(state) => state.resting.as_ref().map(|resting| resting.until),
            // Somebody connects at this moment: waiting for that is all there is to do.
            Err(_) => None,
        };
        let soonest = self.servers.iter().map(|server| wait(server).unwrap_or(now)).min();
        soonest.unwrap_or(now).saturating_duration_since(now)
    }

    /// Ends all connections, with a moment for the answers that are due.
    pub(crate) async fn close(&self) {
        for server in &self.servers {
            let connection = server.state.lock().await.connection.take();
            // While a request still holds it, dropping our share ends it as soon as it is answered.
            if let Some(connection) = connection.and_then(Arc::into_inner) {
                connection.close().await;
            }
        }
    }
}
