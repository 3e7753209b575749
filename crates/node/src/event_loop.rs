//! One event loop: a thread with a single-threaded runtime that owns some shards and the sessions
//! that were handed to it.
//!
//! Its tasks: one per connection, one per link to another node, one that keeps those links, one that
//! commits, one that lets deadlines pass, one that scans, one that scrubs, one that drops read views, one
//! that sends old connections elsewhere, and the loop over the inbox that ends them all. On the first loop three more:
//! one saves the cluster's state, one makes layouts, one plans changes of them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use paravon_model::{Address, Hlc};
use paravon_protocol::encode_cluster_state;
use paravon_replication::cluster::Cluster;
use paravon_storage::{Documents, Store};
use paravon_transport::{Identity, SCRATCH_BYTES};
use slab::Slab;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet, LocalSet, yield_now};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::core::{Core, Uncommitted};
use crate::inbox::Message;
use crate::links::Link;
use crate::peer_link;
use crate::placed::Placed;
use crate::plan::Plan;
use crate::scrubbing::Want;
use crate::session::{Port, Session, SessionTask};
use crate::shared::Shared;

/// How often deadlines are looked at while operations are under way.
const TICK: Duration = Duration::from_millis(20);

/// How often time passes in a node that is not alone.
const IDLE_TICK: Duration = Duration::from_millis(100);

/// A clock that is asked for a moment beyond this may overflow.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// How long after a failed save of the cluster's state it is tried again.
const SAVE_PAUSE: Duration = Duration::from_secs(1);

/// How long a read view is kept at most: it pins the pages that it shows.
const VIEW_LIFETIME: Duration = Duration::from_millis(5);

/// How long shards are shown pages of their stores before others get their turn.
const SCANNING_TURN: Duration = Duration::from_micros(500);

/// How long a shard that is to be read fast is read at once, with a turn for others after each page.
const SCRUBBING_TURN: Duration = Duration::from_millis(2);

/// The pause of a loop that scrubs for as long as it took before: while nobody else is at work it takes
/// half of a core, else far less.
const IDLE_PAUSE: u32 = 1;
const BUSY_PAUSE: u32 = 10;

/// The pause between two pages that are read at leisure, and between two looks whether any are wanted.
const SCRUBBING_PAUSE: Duration = Duration::from_millis(100);

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
    /// Something is due before the next tick.
    due: Notify,
    /// When the last tick was, and when the next one is.
    ticked: Cell<Duration>,
    next_tick: Cell<Duration>,
    /// Other links are wanted.
    linking: Notify,
    /// The disk is to hold another state of the cluster.
    saving: Notify,
    /// Another layout is to be made.
    placing: Notify,
    /// The layout of a plan is to be made.
    planning: Notify,
    /// Shards want to see pages of their stores.
    scanning: Notify,
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
        if self.next_tick.get() > self.wanted_tick(core) {
            self.due.notify_one();
        }
        if core.has_wanted_links() {
            self.linking.notify_one();
        }
        if core.has_unsaved() {
            self.saving.notify_one();
        }
        if core.has_unplaced() {
            self.placing.notify_one();
        }
        if core.has_unplanned() {
            self.planning.notify_one();
        }
        if core.has_scans() {
            self.scanning.notify_one();
        }
        if !self.viewing.replace(true) {
            self.viewed.notify_one();
        }
    }

    /// When time is to pass in the core next, in [`Now::monotonic`](paravon_replication::Now).
    fn wanted_tick(&self, core: &Core) -> Duration {
        let after = match core.under_way() {
            0 if core.is_among_others() => IDLE_TICK,
            0 => Duration::MAX,
            _ => TICK,
        };
        let regular = self.ticked.get().saturating_add(after);
        core.next_wake().map_or(regular, |wake| wake.min(regular))
    }
}

/// What a loop is made of.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) stores: Vec<Box<dyn Store>>,
    /// The ceiling of stamps that the disk holds.
    pub(crate) ceiling: Hlc,
    /// The cluster machine, with what keeps its state; for the first loop alone.
    pub(crate) cluster: Option<(Cluster, Documents)>,
}

/// Starts loop `index`. It ends after [`Message::Drain`] or [`Message::Abort`] and gives its stores
/// back.
///
/// # Errors
/// The system gives no thread or no event queue.
pub(crate) fn spawn(index: usize, parts: Parts) -> io::Result<JoinHandle<Vec<Box<dyn Store>>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let name = format!("loop-{index}");
    let Parts { shared, stores, ceiling, cluster } = parts;
    let (cluster, documents) = cluster.unzip();
    std::thread::Builder::new().name(name).spawn(move || {
        let local = Rc::new(Local {
            core: RefCell::new(Core::new(index, shared.clone(), stores, ceiling, cluster)),
            shared,
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into()),
            sessions: RefCell::default(),
            drained: Notify::new(),
            commit: Notify::new(),
            due: Notify::new(),
            ticked: Cell::default(),
            next_tick: Cell::new(Duration::MAX),
            linking: Notify::new(),
            saving: Notify::new(),
            placing: Notify::new(),
            planning: Notify::new(),
            scanning: Notify::new(),
            viewing: Cell::new(false),
            viewed: Notify::new(),
        });
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, run(index, local.clone(), documents));
        drop(tasks);
        // A name that is being looked up is not waited for.
        runtime.shutdown_background();
        keep_last_hints(&local);
        match Rc::try_unwrap(local) {
            Ok(local) => local.core.into_inner().into_stores(),
            Err(_) => unreachable!("all tasks have been dropped"),
        }
    })
}

/// What answered writes still lack elsewhere goes to the log before it is closed.
fn keep_last_hints(local: &Local) {
    let mut core = local.core.borrow_mut();
    core.stop(local.shared.now());
    let (groups, _) = core.take_uncommitted();
    local.shared.journal.submit(groups);
}

/// Serves the inbox until the loop is to end.
async fn run(index: usize, local: Rc<Local>, documents: Option<Documents>) {
    let mut tasks = JoinSet::new();
    tasks.spawn_local(commit_when_wanted(local.clone()));
    tasks.spawn_local(tick_when_due(local.clone()));
    tasks.spawn_local(keep_links(local.clone()));
    tasks.spawn_local(scan_when_wanted(local.clone()));
    tasks.spawn_local(scrub_when_idle(local.clone()));
    tasks.spawn_local(drop_views_soon(local.clone()));
    tasks.spawn_local(retire_old_connections(local.clone()));
    if let Some(documents) = documents {
        tasks.spawn_local(save_states(local.clone(), documents));
        tasks.spawn_local(make_layouts(local.clone()));
        tasks.spawn_local(make_plans(local.clone()));
        // The cluster machine begins with this.
        tick(&local);
    }
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

/// Lets time pass whenever something is due.
async fn tick_when_due(local: Rc<Local>) {
    loop {
        let next = local.wanted_tick(&local.core.borrow());
        local.next_tick.set(next);
        let now = local.shared.now().monotonic;
        if next > now {
            let sleeping = sleep(next.saturating_sub(now).min(LONGEST_SLEEP));
            tokio::select! {
                () = sleeping => {}
                () = local.due.notified() => continue,
            }
        }
        tick(&local);
        // Others get their turn also where the next tick is due at once.
        yield_now().await;
    }
}

fn tick(local: &Local) {
    let mut core = local.core.borrow_mut();
    let now = local.shared.now();
    local.ticked.set(now.monotonic);
    core.tick(now);
    local.wake_after_batch(&core);
}

/// Keeps a link to each address that the core wants one to. They end with this task.
async fn keep_links(local: Rc<Local>) {
    let mut tasks = JoinSet::new();
    let mut links: HashMap<Address, Rc<Link>> = HashMap::new();
    loop {
        tokio::select! {
            () = local.linking.notified() => {}
            Some(ended) = tasks.join_next() => {
                fail_with(ended);
                continue;
            }
        }
        let Some(wanted) = local.core.borrow_mut().take_wanted_links() else { continue };
        links.retain(|address, link| {
            let kept = wanted.contains(address);
            if !kept {
                link.stop();
            }
            kept
        });
        for address in wanted {
            links.entry(address).or_insert_with_key(|address| {
                let link = Rc::new(Link::default());
                tasks.spawn_local(peer_link::keep(local.clone(), link.clone(), address.clone()));
                link
            });
        }
    }
}

/// Makes the cluster's state durable, in order; where several wait, the last one stands for all.
async fn save_states(local: Rc<Local>, documents: Documents) {
    loop {
        local.saving.notified().await;
        while let Some((number, state)) = { local.core.borrow_mut().take_unsaved() } {
            let state = Arc::new(state);
            loop {
                let (state, documents) = (state.clone(), documents.clone());
                let save = move || documents.replace(encode_cluster_state(&state));
                match tokio::task::spawn_blocking(save).await {
                    Ok(Ok(())) => break,
                    Ok(Err(error)) => tracing::error!(
                        "the cluster's state cannot be saved, so this node takes no part in changes \
                         of the cluster: {error}"
                    ),
                    Err(failed) => fail_with(Err(failed)),
                }
                sleep(SAVE_PAUSE).await;
            }
            let mut core = local.core.borrow_mut();
            core.saved(local.shared.now(), number);
            local.wake_after_batch(&core);
        }
    }
}

/// Makes the layouts of documents, in order.
async fn make_layouts(local: Rc<Local>) {
    let mut present: Option<Arc<Placed>> = None;
    loop {
        local.placing.notified().await;
        while let Some(unplaced) = { local.core.borrow_mut().take_unplaced() } {
            let previous = present.as_ref().map(|placed| placed.layout.clone());
            let place = move || Placed::of(unplaced, previous.as_deref());
            match tokio::task::spawn_blocking(place).await {
                Ok(placed) => {
                    let placed = Arc::new(placed);
                    local.core.borrow().placed(&placed);
                    present = Some(placed);
                }
                Err(failed) => fail_with(Err(failed)),
            }
        }
    }
}

/// Finds out what a change of the layout would move, one after the other.
async fn make_plans(local: Rc<Local>) {
    loop {
        local.planning.notified().await;
        while let Some((asker, document)) = { local.core.borrow_mut().take_unplanned() } {
            match tokio::task::spawn_blocking(move || Plan::of(document)).await {
                Ok(plan) => local.core.borrow().planned(asker, plan),
                Err(failed) => fail_with(Err(failed)),
            }
        }
    }
}

/// Shows shards the pages of their stores that they want to see, some at a time.
async fn scan_when_wanted(local: Rc<Local>) {
    loop {
        local.scanning.notified().await;
        let mut more = true;
        while more {
            {
                let mut core = local.core.borrow_mut();
                let now = local.shared.now();
                let begun = now.monotonic;
                while more && local.shared.now().monotonic < begun + SCANNING_TURN {
                    more = core.scan_one(now);
                }
                core.end_batch();
                local.wake_after_batch(&core);
            }
            yield_now().await;
        }
    }
}

/// Reads all that the stores hold, again and again.
async fn scrub_when_idle(local: Rc<Local>) {
    loop {
        let frames = local.core.borrow().frames();
        let begun = local.shared.now().monotonic;
        let mut took;
        let want = loop {
            let want = {
                let mut core = local.core.borrow_mut();
                let want = core.scrub_one(local.shared.now());
                core.end_batch();
                local.wake_after_batch(&core);
                want
            };
            took = local.shared.now().monotonic.saturating_sub(begun);
            yield_now().await;
            if want != Want::Fast || took >= SCRUBBING_TURN {
                break want;
            }
        };
        let is_busy = local.core.borrow().frames() != frames;
        sleep(match want {
            Want::Fast if is_busy => took * BUSY_PAUSE,
            Want::Fast => took * IDLE_PAUSE,
            Want::Slow | Want::Rest => SCRUBBING_PAUSE,
        })
        .await;
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
            let is_old = || session.age() > jittered(limit, entry);
            if session.greeted.get() && !session.is_of_a_node() && is_old() {
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
