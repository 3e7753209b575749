//! What is queued to happen in a world.

use paravon_model::{ClusterMessage, Ordinal, ReplicaReply, ReplicaRequest};
use paravon_replication::OperationId;

use crate::fact::OperationNumber;
use crate::faults::Fault;

/// What a message says.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Request { shard: u8, service: u32, operation: OperationId, request: ReplicaRequest },
    Reply { shard: u8, service: u32, operation: OperationId, reply: ReplicaReply },
    Cluster(ClusterMessage),
}

/// A message between two processes.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    pub(crate) from: u8,
    pub(crate) to: u8,
    /// The process of the sender and the one that it is meant for.
    pub(crate) incarnations: (u32, u32),
    /// The sender's number in the cluster.
    pub(crate) ordinal: Option<Ordinal>,
    pub(crate) payload: Payload,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// A process begins.
    Start { node: usize },
    /// A message arrives.
    Deliver(Box<Envelope>),
    /// A machine wanted to be woken.
    Wake { node: usize, incarnation: u32, machine: usize },
    /// The sync under way ends.
    SyncEnds { node: usize, incarnation: u32 },
    /// A state of the cluster machine is durable.
    Persisted { node: usize, incarnation: u32 },
    /// A dial reaches its end.
    Dialled { from: usize, to: usize, number: u32 },
    /// A dial that failed is tried again.
    Redial { from: usize, to: usize, number: u32 },
    /// The owner of a connection notices that it is gone.
    Broken { from: usize, to: usize, number: u32 },
    /// A client decides what to do.
    Turn { client: usize },
    /// A client asks what the plan says.
    Ask { ask: usize },
    /// A request reaches its coordinator.
    Request { operation: OperationNumber, attempt: u8 },
    /// An answer reaches its client.
    Answer { operation: OperationNumber, attempt: u8 },
    /// A client does not wait any longer.
    Timeout { operation: OperationNumber, attempt: u8 },
    /// The coordinator's deadline, and a little more, has passed.
    Deadline { operation: OperationNumber, attempt: u8 },
    /// Something goes wrong.
    Fault(Fault),
    /// Something goes right again.
    Relief { node: usize, back_ms: i64 },
    /// The operator acts as planned.
    Act { act: usize },
    /// The operator asks, or asks again.
    Errand { errand: usize, attempt: u8 },
    /// The operator looks whether it can rescue what is left.
    Rescue,
    /// A stranger tries its luck.
    Intrusion,
    /// The world looks at itself.
    Check,
}
