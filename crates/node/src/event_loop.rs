//! One event loop: a thread with a single-threaded runtime that owns some shards and the sessions
//! that were handed to it.
//!
//! Its tasks: one per connection, one that commits, one that lets deadlines pass, one that drops read
//! views, one that sends old connections elsewhere, and the loop over the inbox that ends them all.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use paravon_model::Hlc;
use paravon_storage::Store;
use paravon_transport::{Identity, SCRATCH_BYTES};
use slab::Slab;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet, LocalSet, yield_now};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::core::{Core, Uncommitted};
use crate::inbox::Message;
use crate::session::{Port, Session, SessionTask};
use crate::shared::Shared;

/// How often deadlines are looked at while operations are under way.
const TICK: Duration = Duration::from_millis(20);

/// How long a read view is kept at most: it pins the pages that it shows.
const VIEW_LIFETIME: Duration = Duration::from_millis(5);

/// How often the ages of connections are looked at.
const AGE_CHECK: Duration = Duration::from_secs(1);

/// How often the committer lets other tasks add to the group before it commits.
const GATHERING_TURNS: usize = 4;

/// What the tasks of one loop share.
pub(crate) struct Local {
    pub(crate) shared: Arc<Shared>,
    pub(crate) core: RefCell<Core>,
    /// What connections read into.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    sessions: RefCell<Slab<Rc<Session>>>,
    /// The loop is to end, and handshakes with it.
    drained: Notify,
    /// Merges wait for a commit.
    commit: Notify,
    /// Operations are under way.
    busy: Notify,
    /// Read views may be open.
    viewing: Cell<bool>,
    viewed: Notify,
}

impl Local {
    /// Wakes the tasks that a batch has made work for.
    pub(crate) fn wake_after_batch(&self, core: &Core) {
        if !core.uncommitted().is_empty() {
            self.commit.notify_one();
        }
        if core.under_way() > 0 {
            self.busy.notify_one();
        }
        if !self.viewing.replace(true) {
            self.viewed.notify_one();
        }
    }
}

/// Starts loop `index`. It ends after [`Message::Drain`] or [`Message::Abort`] and gives its stores
/// back.
///
/// # Errors
/// The system gives no thread or no event queue.
pub(crate) fn spawn(
    index: usize,
    shared: Arc<Shared>,
    stores: Vec<Box<dyn Store>>,
    ceiling: Hlc,
) -> io::Result<JoinHandle<Vec<Box<dyn Store>>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let name = format!("loop-{index}");
    std::thread::Builder::new().name(name).spawn(move || {
        let local = Rc::new(Local {
            core: RefCell::new(Core::new(index, shared.clone(), stores, ceiling)),
            shared,
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into()),
            sessions: RefCell::default(),
            drained: Notify::new(),
            commit: Notify::new(),
            busy: Notify::new(),
            viewing: Cell::new(false),
            viewed: Notify::new(),
        });
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, run(index, local.clone()));
        drop(tasks);
        match Rc::try_unwrap(local) {
            Ok(local) => local.core.into_inner().into_stores(),
            Err(_) => unreachable!("all tasks have been dropped"),
        }
    })
}

/// Serves the inbox until the loop is to end.
async fn run(index: usize, local: Rc<Local>) {
    let mut tasks = JoinSet::new();
    tasks.spawn_local(commit_when_wanted(local.clone()));
    tasks.spawn_local(tick_while_busy(local.clone()));
    tasks.spawn_local(drop_views_soon(local.clone()));
    tasks.spawn_local(retire_old_connections(local.clone()));
    let shared = local.shared.clone();
    let inbox = shared.inboxes.of_loop(index);
    let mut draining = false;
    // Not before all loops are without connections: those of others have requests in shards of this one.
    while !(draining && shared.all_connections() == 0) {
        let messages = tokio::select! {
            messages = inbox.receive() => messages,
            Some(ended) = tasks.join_next() => {
                fail_with(ended);
                continue;
            }
        };
        let now = shared.now();
        for message in messages {
            match message {
                Message::Connection { stream, peer, port } => {
                    tasks.spawn_local(serve(local.clone(), stream, peer, port));
                }
                Message::Drain => {
                    draining = true;
                    local.drained.notify_waiters();
                    local.sessions.borrow().iter().for_each(|(_, session)| session.leave());
                }
                Message::Abort => return shared.abandon(local.core.borrow().unanswered()),
                other => local.core.borrow_mut().take_message(now, other),
            }
        }
        let mut core = local.core.borrow_mut();
        core.end_batch();
        local.wake_after_batch(&core);
    }
}

/// Serves one connection from its handshake to its end.
async fn serve(local: Rc<Local>, stream: std::net::TcpStream, peer: SocketAddr, port: Port) {
    let ended = serve_connection(&local, stream, peer, port).await;
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
    let shared = &local.shared;
    shared.release(port);
    if shared.is_draining() && shared.all_connections() == 0 {
        // The loops that wait for this one look again.
        shared.inboxes.tell_all(|| Message::Drain);
    }
}

/// Fails this loop where one of its tasks has failed: a node must not go on half dead.
fn fail_with(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        resume_unwind(error.into_panic());
    }
}

async fn serve_connection(
    local: &Rc<Local>,
    stream: std::net::TcpStream,
    peer: SocketAddr,
    port: Port,
) -> io::Result<()> {
    let shared = &local.shared;
    // Before the question, so that no answer is missed.
    let drained = local.drained.notified();
    if shared.is_draining() {
        return Ok(());
    }
    let stream = TcpStream::from_std(stream)?;
    stream.set_nodelay(true)?;
    let handshake = TlsAcceptor::from(shared.tls()).accept(stream);
    // Boxed, so that the task of an idle connection does not keep the room of its handshake.
    let handshake = timeout(shared.config.server.handshake_timeout, Box::pin(handshake));
    let stream = tokio::select! {
        shaken = handshake => shaken??,
        () = drained => return Ok(()),
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    // The handshake demands one; this only avoids a panic should that ever change.
    let certificate = certificate.ok_or(io::ErrorKind::PermissionDenied)?;
    let identity = Identity::of(certificate).map_err(io::Error::other)?;
    // A resumed session brings its certificate along unverified.
    if identity.is_expired(SystemTime::now()) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let session = Rc::new(Session::new(identity, peer, port));
    let entry = local.sessions.borrow_mut().insert(session.clone());
    if shared.is_draining() {
        session.leave();
    }
    let ended = SessionTask::new(local.clone(), session, stream).run().await;
    local.sessions.borrow_mut().remove(entry);
    ended
}

/// Commits what waits, once no more comes along.
async fn commit_when_wanted(local: Rc<Local>) {
    let journal = &local.shared.journal;
    loop {
        local.commit.notified().await;
        let mut seen = Uncommitted::default();
        for _ in 0..GATHERING_TURNS {
            let uncommitted = local.core.borrow().uncommitted();
            if uncommitted == seen {
                break;
            }
            seen = uncommitted;
            yield_now().await;
        }
        let (groups, ceiling) = local.core.borrow_mut().take_uncommitted();
        if let Some(ceiling) = ceiling {
            journal.raise_ceiling(ceiling);
        }
        let completions = if journal.prefers_inline() {
            journal.commit_here(groups).unwrap_or_default()
        } else {
            journal.submit(groups);
            Vec::new()
        };
        // Also where nothing was committed: a superseded merge is answered without the log.
        let mut core = local.core.borrow_mut();
        core.complete(local.shared.now(), completions);
        local.wake_after_batch(&core);
    }
}

/// Lets deadlines pass while there are any.
async fn tick_while_busy(local: Rc<Local>) {
    loop {
        local.busy.notified().await;
        while local.core.borrow().under_way() > 0 {
            sleep(TICK).await;
            let mut core = local.core.borrow_mut();
            core.tick(local.shared.now());
            local.wake_after_batch(&core);
        }
    }
}

/// Keeps read views for a short while, and none while nothing is read.
async fn drop_views_soon(local: Rc<Local>) {
    loop {
        local.viewed.notified().await;
        sleep(VIEW_LIFETIME).await;
        local.core.borrow_mut().drop_views();
        local.viewing.set(false);
    }
}

/// Sends clients elsewhere whose connections are old, so that a load balancer spreads them over new
/// nodes. Each connection has its own age, so that they do not all leave at once.
async fn retire_old_connections(local: Rc<Local>) {
    let limit = local.shared.config.server.max_connection_age;
    let grace = local.shared.config.server.timeout_graceful_shutdown;
    loop {
        sleep(AGE_CHECK).await;
        for (entry, session) in &*local.sessions.borrow() {
            if session.greeted.get() && session.age() > jittered(limit, entry) {
                session.leave();
            }
            if session.left_before(grace) {
                session.wake();
            }
        }
    }
}

/// `limit`, less up to a tenth of it, by a number that differs between neighbours.
fn jittered(limit: Duration, entry: usize) -> Duration {
    const STEPS: u32 = 64;
    let step = u32::try_from(entry.wrapping_mul(37) % STEPS as usize).unwrap_or_default();
    limit - limit / 10 * step / STEPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_do_not_leave_together() {
        let limit = Duration::from_secs(600);
        let ages: std::collections::BTreeSet<_> = (0..64).map(|e| jittered(limit, e)).collect();
        assert_eq!(ages.len(), 64);
        assert!(ages.iter().all(|age| *age <= limit && *age >= limit * 9 / 10));
    }
}
