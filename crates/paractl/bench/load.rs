//! The load itself: every client's requests, timed.
//!
//! **Never:** more than one thread, a lock held across a wait, or a request begun after the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use paravon_client::{Client, ClientError, InvalidKey, Key, PutOptions, RequestOptions, Value};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::keys::{Keys, Random};
use super::progress::Progress;
use super::{BenchArgs, Op};
use crate::context::Context;
use crate::error::Error;

/// Longest latency that is told apart, in microseconds.
const LONGEST_US: u64 = 120_000_000;

/// How long a worker waits after an error, so that a server that refuses is not flooded.
const AFTER_ERROR: Duration = Duration::from_millis(10);

/// How often the progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// What was done, and in what time.
pub(super) struct Done {
    /// The counts.
    pub(super) stats: Stats,
    /// From the first request to the last answer.
    pub(super) elapsed: Duration,
}

/// Counts of what was answered.
pub(super) struct Stats {
    /// Of successful requests, in microseconds.
    pub(super) latency: Histogram<u64>,
    /// Gets that found a value.
    pub(super) found: u64,
    /// Gets that found none.
    pub(super) absent: u64,
    /// Failures by code.
    pub(super) errors: BTreeMap<&'static str, u64>,
    /// The first failure.
    pub(super) first_error: Option<ClientError>,
}

/// What all workers share.
struct Shared {
    op: Op,
    keys: Keys,
    context: Context,
    value: Value,
    ends: Instant,
    stopped: AtomicBool,
    stats: Mutex<Stats>,
}

/// One of the `depth` requests that a client has in flight.
struct Worker {
    client: Client,
    shared: Arc<Shared>,
    random: Random,
}

/// Runs the load until its time is over or the caller interrupts it.
pub(super) async fn run(args: &BenchArgs, context: &Context) -> Result<Done, Error> {
    let clients = connect(args, context).await?;
    let shared = Arc::new(Shared::new(args, context));
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for (index, client) in (0_u64..).zip(&clients) {
        for depth in 0..u64::from(args.depth) {
            let random = Random::new(index << 32 | depth);
            let worker = Worker { client: client.clone(), shared: shared.clone(), random };
            workers.spawn(worker.run());
        }
    }
    watch(&mut workers, &shared, args.duration, begun).await;
    let elapsed = begun.elapsed();
    for client in clients {
        client.close().await;
    }
    let stats = std::mem::replace(&mut *shared.stats(), Stats::new());
    Ok(Done { stats, elapsed })
}

/// All clients, connected, so that an address or a certificate that is wrong shows at once.
async fn connect(args: &BenchArgs, context: &Context) -> Result<Vec<Client>, Error> {
    let mut clients = Vec::new();
    for index in 0..args.clients as usize {
        let client = context.bench_client(index, args.depth as usize)?;
        client.connect().await?;
        clients.push(client);
    }
    Ok(clients)
}

/// Shows the progress until every worker has ended; an interrupt makes them end.
async fn watch(workers: &mut JoinSet<()>, shared: &Shared, duration: Duration, begun: Instant) {
    let mut progress = Progress::new(duration);
    let mut ticks = interval(PROGRESS_EVERY);
    loop {
        tokio::select! {
            ended = workers.join_next() => if ended.is_none() { break },
            _ = ticks.tick() => {
                let stats = shared.stats();
                progress.show(begun.elapsed(), stats.latency.len(), stats.errors.values().sum());
            }
            _ = tokio::signal::ctrl_c() => shared.stopped.store(true, Ordering::Relaxed),
        }
    }
    progress.clear();
}

impl Shared {
    fn new(args: &BenchArgs, context: &Context) -> Self {
        let mut random = Random::new(u64::MAX);
        // Not compressible, like what people store when they measure.
        let bytes: Vec<u8> = (0..args.value_size).map(|_| random.next().to_be_bytes()[0]).collect();
        Self {
            op: args.op,
            keys: Keys::new(args.keys, args.zipf),
            context: context.clone(),
            value: Value::bytes(&bytes),
            ends: Instant::now() + args.duration,
            stopped: AtomicBool::new(false),
            stats: Mutex::new(Stats::new()),
        }
    }

    fn stats(&self) -> MutexGuard<'_, Stats> {
        // Nothing that holds the lock can leave the counts half done.
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, number: u64) -> Result<Key, InvalidKey> {
        self.context.key_of_bytes(format!("bench-{number:012}").as_bytes())
    }
}

impl Worker {
    async fn run(mut self) {
        loop {
            let begun = Instant::now();
            if begun >= self.shared.ends || self.shared.stopped.load(Ordering::Relaxed) {
                return;
            }
            // Our own keys are valid; only the namespace can be wrong, and then every one is.
            let Ok(key) = self.shared.key(self.shared.keys.next(&mut self.random)) else { return };
            let answer = self.ask(&key).await;
            let failed = answer.is_err();
            self.shared.stats().count(answer, begun.elapsed());
            if failed {
                sleep(AFTER_ERROR).await;
            }
        }
    }

    async fn ask(&mut self, key: &Key) -> Result<Answer, ClientError> {
        let puts = match self.shared.op {
            Op::Put => true,
            Op::Get => false,
            Op::Mixed => self.random.next() >> 63 == 0,
        };
        let consistency = self.shared.context.consistency;
        if puts {
            let options = PutOptions { consistency, ..PutOptions::default() };
            self.client.put(key, self.shared.value.clone(), options).await?;
            return Ok(Answer::Stored);
        }
        let options = RequestOptions { consistency, timeout: None };
        let found = self.client.get(key, options).await?;
        Ok(if found.is_some() { Answer::Found } else { Answer::Absent })
    }
}

/// What a request got.
enum Answer {
    Stored,
    Found,
    Absent,
}

impl Stats {
    fn new() -> Self {
        // The bounds are constants that the histogram accepts.
        let latency = Histogram::new_with_max(LONGEST_US, 3)
            .unwrap_or_else(|_| Histogram::new(3).expect("three digits are allowed"));
        Self { latency, found: 0, absent: 0, errors: BTreeMap::new(), first_error: None }
    }

    fn count(&mut self, answer: Result<Answer, ClientError>, latency: Duration) {
        match answer {
            Ok(answer) => {
                let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
                self.latency.saturating_record(us.max(1));
                match answer {
                    Answer::Stored => {}
                    Answer::Found => self.found += 1,
                    Answer::Absent => self.absent += 1,
                }
            }
            Err(error) => {
                *self.errors.entry(class(&error)).or_default() += 1;
                self.first_error.get_or_insert(error);
            }
        }
    }
}

/// What a failure is counted as: the server's code, or what went wrong on the way.
fn class(error: &ClientError) -> &'static str {
    match error {
        ClientError::Refused { code, .. } => code.as_str(),
        ClientError::Deadline { .. } => "deadline",
        ClientError::Lost { .. } | ClientError::Leaving { .. } => "connection_lost",
        ClientError::Garbage { .. } => "garbage",
        ClientError::ValueTooLarge { .. } => "value_too_large",
        _ => "unreachable",
    }
}
