//! One request from its caller to its answer: the deadline, the attempts, the servers in turn.
//!
//! **Never:** goes on past the deadline or [`max_attempts`](crate::ClientOptions::max_attempts), or
//! sends again what [`retry`](crate::retry) forbids.

use std::time::Duration;

use paravon_model::Outcome;
use paravon_model::limits::MAX_REQUEST_TIMEOUT;
use tokio::time::{Instant, sleep, timeout_at};

use crate::backoff::{Backoff, random};
use crate::connection::CallError;
use crate::dial::refusal;
use crate::error::ClientError;
use crate::in_flight::{Broken, Fault, Reply};
use crate::message::{Effect, Message};
use crate::pool::Pool;
use crate::retry::{Verdict, verdict};

/// The data of the answer to `message`, and which server gave it.
pub(crate) async fn call(
    pool: &Pool,
    message: Message,
    timeout: Duration,
    max_attempts: u32,
) -> Result<(usize, Vec<u8>), ClientError> {
    let effect = message.effect();
    let timeout = timeout.min(MAX_REQUEST_TIMEOUT);
    let deadline = Instant::now() + timeout;
    let first = pool.preferred();
    let mut backoff = Backoff::default();
    let mut attempts: usize = 0;
    loop {
        let index = (first + attempts) % pool.len();
        attempts += 1;
        let patience = Patience::new(effect, pool.len(), deadline);
        let error = match try_once(pool, index, message.clone(), &patience).await {
            Ok(data) => return Ok((index, data)),
            Err(error) => error.with_whole_time(timeout),
        };
        if leaves_service(&error) {
            pool.avoid(index);
        }
        let Verdict::TryAgain { after } = verdict(effect, &error) else { return Err(error) };
        if attempts >= max_attempts as usize {
            return Err(error);
        }
        // A whole round over the servers failed: they get a moment.
        let round_is_over = attempts.is_multiple_of(pool.len());
        let pause = match round_is_over {
            true => backoff.fail(random()).max(pool.until_ready()).max(after),
            false => Duration::ZERO,
        };
        if Instant::now() + pause >= deadline {
            return Err(error);
        }
        sleep(pause).await;
    }
}

/// How long one attempt may take.
struct Patience {
    /// When it is given up.
    until: Instant,
    /// What the server is told.
    server_timeout: Duration,
}

impl Patience {
    /// A read may be tried on another server, so it leaves half of the time for that. The server gets a
    /// tenth less than the client waits, so that its own answer, which has the numbers, comes in time.
    fn new(effect: Effect, servers: usize, deadline: Instant) -> Self {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let part = if effect == Effect::None && servers > 1 { left / 2 } else { left };
        Self { until: now + part, server_timeout: part.mul_f64(0.9) }
    }
}

async fn try_once(
    pool: &Pool,
    index: usize,
    message: Message,
    patience: &Patience,
) -> Result<Vec<u8>, ClientError> {
    let server = pool.address(index);
    let too_late =
        |outcome| ClientError::Deadline { server: server.clone(), after: Duration::ZERO, outcome };
    let connection = timeout_at(patience.until, pool.connection(index)).await;
    let connection = connection.map_err(|_| too_late(Outcome::Refused))??;
    let (bytes, limit) = (message.value_bytes(), connection.value_limit());
    if bytes as u64 > limit {
        return Err(ClientError::ValueTooLarge { server: server.clone(), bytes, limit });
    }
    match connection.call(message, patience.server_timeout, patience.until).await {
        Ok(Reply::Done(data)) => Ok(data),
        Ok(Reply::Refused(refused)) => Err(refusal(server, refused)),
        Err(CallError::Deadline(outcome)) => Err(too_late(outcome)),
        Err(CallError::Broken(Broken { outcome, fault })) => {
            let server = server.clone();
            Err(match fault {
                Fault::Leaving => ClientError::Leaving { server },
                Fault::Io(source) => ClientError::Lost { server, outcome, source },
                Fault::Garbage(source) => ClientError::Garbage { server, outcome, source },
                Fault::Told(refused) => ClientError::Refused {
                    server,
                    code: refused.code,
                    message: refused.message,
                    outcome,
                    retry_after_ms: refused.retry_after_ms,
                },
            })
        }
    }
}

/// Whether new requests should begin elsewhere.
fn leaves_service(error: &ClientError) -> bool {
    use paravon_protocol::Code;
    match error {
        ClientError::Refused { code, .. } => {
            matches!(code, Code::ShuttingDown | Code::NotReady | Code::ReadOnly)
        }
        error => error.server().is_some() && !matches!(error, ClientError::ValueTooLarge { .. }),
    }
}

impl ClientError {
    /// A deadline is told as its caller gave it, not as the part that one attempt had.
    fn with_whole_time(self, whole: Duration) -> Self {
        match self {
            Self::Deadline { server, outcome, .. } => {
                Self::Deadline { server, after: whole, outcome }
            }
            other => other,
        }
    }
}
