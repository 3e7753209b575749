//! How one thread tells an event loop something: a queue that is emptied as a whole, and one wake-up
//! however much is in it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use paravon_model::{Failure, Fence, NodeId, Ordinal, PeerHello, Progress, ReplicaReply};
use paravon_replication::cluster::{ClusterEvent, HelloRefusal};
use paravon_replication::{Event, PeerToken, Permit, Reply, RequestToken};
use paravon_storage::{Completion, Completions};
use tokio::sync::Notify;

use crate::administration::{Answer, Question};
use crate::placed::Placed;
use crate::session::Port;

/// Something on a loop that waits for an answer from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    /// The loop.
    pub(crate) index: usize,
    /// Its slot there.
    pub(crate) slot: usize,
}

/// What an event loop is told by another thread.
#[derive(Debug)]
pub(crate) enum Message {
    /// A connection to serve.
    Connection { stream: std::net::TcpStream, peer: SocketAddr, port: Port },
    /// An event for a shard of this loop, from a session of another one.
    Event { shard: u16, event: Event },
    /// The answer to a client's [`Event`](Self::Event) that this loop sent.
    Reply { request: RequestToken, reply: Result<Reply, Failure> },
    /// The answer to a peer's [`Event`](Self::Event) that this loop sent.
    PeerReply { token: PeerToken, reply: ReplicaReply },
    /// News from the storage threads.
    Completions(Vec<Completion>),
    /// The layout to use from now on: its document is durable.
    Layout(Arc<Placed>),
    /// The node serves nothing any more, until there is another layout.
    Withdraw,
    /// This member is believed to be up.
    Alive { peer: Ordinal },
    /// This member is believed to be down.
    Dead { peer: Ordinal },
    /// Whether stamps may be given.
    Clock { permit: Permit },
    /// For the cluster machine.
    Cluster(ClusterEvent),
    /// This node has stored the document of this fence.
    Admit { fence: Fence },
    /// A shard has ended what was admitted under earlier layouts, and emptied what it is new to. For
    /// the cluster machine.
    Settled { shard: u16, fence: Fence, progress: Progress },
    /// A shard has taken over more. For the cluster machine.
    Progress { shard: u16, fence: Fence, progress: Progress },
    /// Hints that the loops before this one keep.
    Hints { kept: u64 },
    /// Whether a node is spoken to. For the cluster machine.
    Hello { asker: Asker, certificate: NodeId, hello: PeerHello },
    /// The answer to [`Hello`](Self::Hello).
    Admitted { slot: usize, admitted: Admitted },
    /// Connections with nodes that were admitted before this greeting are to be closed.
    GreetAgain { greeting: Greeting },
    /// An administrator's question goes round the loops.
    Question(Box<Question>),
    /// The answer to it.
    Answer { slot: usize, answer: Answer },
    /// Finish what is in flight, take nothing new, end when all sessions have.
    Drain,
    /// End now.
    Abort,
}

/// Counts how often this node has gone on after a rescue: whom it admitted earlier says hello again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Greeting(pub(crate) u32);

/// What this node says of itself to a node that it admits, and when it admitted it; or why not.
pub(crate) type Admitted = Result<(PeerHello, Greeting), HelloRefusal>;

/// The inbox of one event loop.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    messages: Mutex<Vec<Message>>,
    filled: Notify,
}

impl Inbox {
    /// Appends `messages` and wakes the loop once.
    pub(crate) fn send(&self, messages: impl IntoIterator<Item = Message>) {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).extend(messages);
        self.filled.notify_one();
    }

    /// Takes all messages that are there.
    pub(crate) fn take(&self) -> Vec<Message> {
        std::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for messages and takes them all.
    pub(crate) async fn receive(&self) -> Vec<Message> {
        loop {
            let messages = self.take();
            if !messages.is_empty() {
                return messages;
            }
            self.filled.notified().await;
        }
    }
}

/// The inboxes of all event loops; shard `s` lives on loop `s mod loops`, the cluster machine on the
/// first.
#[derive(Clone, Debug)]
pub(crate) struct Inboxes(Arc<[Inbox]>);

impl Inboxes {
    pub(crate) fn new(loops: usize) -> Self {
        Self((0..loops).map(|_| Inbox::default()).collect())
    }

    pub(crate) fn loops(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn of_loop(&self, index: usize) -> &Inbox {
        &self.0[index]
    }

    /// The loop that owns `shard`.
    pub(crate) fn loop_of(&self, shard: u16) -> usize {
        usize::from(shard) % self.0.len()
    }

    /// Tells every loop.
    pub(crate) fn tell_all(&self, message: impl Fn() -> Message) {
        for inbox in self.0.iter() {
            inbox.send([message()]);
        }
    }
}

impl Completions for Inboxes {
    fn deliver(&self, completions: Vec<Completion>) {
        let mut by_loop: Vec<Vec<Completion>> = vec![Vec::new(); self.loops()];
        for completion in completions {
            match completion.shard() {
                Some(shard) => by_loop[self.loop_of(shard)].push(completion),
                None => by_loop.iter_mut().for_each(|each| each.push(completion.clone())),
            }
        }
        for (index, completions) in by_loop.into_iter().enumerate() {
            if !completions.is_empty() {
                self.of_loop(index).send([Message::Completions(completions)]);
            }
        }
    }
}
