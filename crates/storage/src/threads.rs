//! The only threads of this crate: one for the log, one applier per shard, one for checkpoints.
//!
//! Each runs the steps of one object in a loop and ends when told to. None holds a lock while it
//! waits for another.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::applier::{Applier, Mailbox, Step};
use crate::checkpoint::Checkpointer;
use crate::error::Error;
use crate::journal::{Shared, Woken};
use crate::options::Durability;
use crate::steps::Steps;
use crate::store::Store;

/// How often the checkpointer looks whether something is due. A segment lasts longer than that.
const TICK: Duration = Duration::from_millis(20);
/// How long an applier waits for space before it looks again.
const SPACE_PAUSE: Duration = Duration::from_millis(500);
/// How long a failed checkpoint rests before the next try.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How often the end of a thread is looked for.
const JOIN_POLL: Duration = Duration::from_millis(1);

/// The running threads.
pub(crate) struct Threads {
    shared: Arc<Shared>,
    mailboxes: Vec<Arc<Mailbox>>,
    halt: Arc<Halt>,
    log: Option<JoinHandle<()>>,
    appliers: Vec<JoinHandle<()>>,
    checkpoint: Option<JoinHandle<Result<(), Error>>>,
}

/// Tells the checkpointer to end.
#[derive(Default)]
struct Halt {
    state: Mutex<HaltState>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum HaltState {
    #[default]
    Run,
    /// After a last checkpoint.
    InOrder,
    AtOnce,
}

impl Halt {
    fn tell(&self, state: HaltState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.changed.notify_all();
    }

    fn wait(&self, how_long: Duration) -> HaltState {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state != HaltState::Run {
            return *state;
        }
        let waited = self.changed.wait_timeout(state, how_long);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Threads {
    /// Starts everything.
    pub(crate) fn start(steps: Steps, durability: Durability) -> Result<Self, Error> {
        let Steps { shared, appliers, mailboxes, checkpointer } = steps;
        let halt = Arc::new(Halt::default());
        let mut threads = Self {
            shared: Arc::clone(&shared),
            mailboxes,
            halt: Arc::clone(&halt),
            log: None,
            appliers: Vec::new(),
            checkpoint: None,
        };
        let log = move || match durability {
            Durability::Sync => run_log(&shared),
            Durability::Interval(interval) => run_interval_log(&shared, interval),
        };
        threads.log = Some(spawn("log", log)?);
        for applier in appliers {
            threads.appliers.push(spawn("applier", move || run_applier(applier))?);
        }
        threads.checkpoint =
            Some(spawn("checkpoint", move || run_checkpoint(checkpointer, &halt))?);
        Ok(threads)
    }

    /// Applies what the stores hold, makes a last checkpoint and joins everything.
    pub(crate) fn close(
        mut self,
        mut stores: Vec<Box<dyn Store>>,
        patience: Duration,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        self.shared.stop();
        self.log.take().map_or(Ok(()), |thread| join(thread, "log", deadline))?;
        // Not `all`: every store is to begin at once.
        while stores.iter_mut().map(|store| store.flush()).filter(|done| !done).count() > 0 {
            if Instant::now() >= deadline || self.appliers.iter().any(JoinHandle::is_finished) {
                return Err(late("applier"));
            }
            thread::sleep(JOIN_POLL);
        }
        self.mailboxes.iter().for_each(|mailbox| mailbox.stop());
        for applier in std::mem::take(&mut self.appliers) {
            join(applier, "applier", deadline)?;
        }
        self.halt.tell(HaltState::InOrder);
        self.checkpoint.take().map_or(Ok(()), |thread| join(thread, "checkpoint", deadline)?)
    }
}

impl Drop for Threads {
    /// Ends the threads without waiting for them: what they leave undone the log still holds.
    fn drop(&mut self) {
        self.shared.stop();
        self.mailboxes.iter().for_each(|mailbox| mailbox.stop());
        self.halt.tell(HaltState::AtOnce);
    }
}

fn spawn<T: Send + 'static>(
    name: &'static str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    thread::Builder::new()
        .name(format!("storage-{name}"))
        .spawn(run)
        .map_err(|_: io::Error| Error::Thread { name, problem: "could not be started" })
}

fn late(name: &'static str) -> Error {
    Error::Thread { name, problem: "did not end in time" }
}

fn join<T>(thread: JoinHandle<T>, name: &'static str, deadline: Instant) -> Result<T, Error> {
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            return Err(late(name));
        }
        thread::sleep(JOIN_POLL);
    }
    thread.join().map_err(|_| Error::Thread { name, problem: "panicked" })
}

fn run_log(shared: &Shared) {
    while shared.wait(None) != Woken::ToStop {
        shared.commit();
    }
}

fn run_interval_log(shared: &Shared, interval: Duration) {
    let mut synced = Instant::now();
    loop {
        let woken = shared.wait(Some(interval.saturating_sub(synced.elapsed())));
        if woken == Woken::ToCommit {
            shared.commit();
        }
        if synced.elapsed() >= interval || woken == Woken::ToStop {
            // A failure poisons the log, which the next commit tells.
            let _ = shared.baton().sync();
            synced = Instant::now();
        }
        if woken == Woken::ToStop {
            return;
        }
    }
}

fn run_applier(mut applier: Applier) {
    while applier.wait() {
        match applier.step() {
            Step::Idle | Step::Working | Step::Applied => {}
            Step::Full if applier.pause(SPACE_PAUSE) => {}
            Step::Full | Step::Broken => return,
        }
    }
}

/// Ends with the outcome of the last checkpoint. What fails there the next start does again.
fn run_checkpoint(mut checkpointer: Checkpointer, halt: &Halt) -> Result<(), Error> {
    let mut pause = TICK;
    loop {
        match halt.wait(pause) {
            HaltState::Run => {}
            HaltState::InOrder => return checkpointer.checkpoint(),
            HaltState::AtOnce => return Ok(()),
        }
        pause = if checkpointer.step().is_ok() { TICK } else { RETRY_PAUSE };
    }
}
