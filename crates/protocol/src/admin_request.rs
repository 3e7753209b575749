//! The admin messages of the peer port, as they are asked: both directions side by side.
//!
//! **Never:** takes a request that names no member, no number or no operation where it must: what is
//! missing is not guessed.

use paravon_model::limits::MAX_REPLICATION_FACTOR;
use paravon_model::{ChangeId, NodeId};

use crate::code::{Code, Refusal};
use crate::envelope::{Envelope, append_message};
use crate::maps::{keep, required, write_number};
use crate::peer::fields::read_node_id;
use crate::reader::{DecodeError, Problem, Reader};
use crate::writer;

type Read<T> = Result<T, DecodeError>;

/// What an administrator or a tool asks of one node. Those with a `dry_run` are answered with a
/// [`PlanReply`](crate::PlanReply) where it is set, and with an
/// [`OperationReply`](crate::OperationReply) where it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// What the node is and how it fares; answered with [`NodeStatus`](crate::NodeStatus).
    NodeStatus,
    /// Whether it serves; answered with the node's id.
    Healthz,
    /// Read certificates, key and CA anew; answered with the end of the new certificate.
    Reload,
    /// The cluster as the node sees it; answered with [`ClusterStatus`](crate::ClusterStatus).
    ClusterStatus,
    /// How far an operation is; answered with [`OperationStatus`](crate::OperationStatus).
    OperationStatus {
        /// Which.
        id: ChangeId,
    },
    /// Join the cluster of your seeds.
    Join {
        /// Whether only to say what would come of it.
        dry_run: bool,
    },
    /// Join the cluster of your seeds in place of this member.
    Replace {
        /// The member that is dead or has lost its disk; perhaps of the same name.
        node: NodeId,
        /// Whether only to say what would come of it.
        dry_run: bool,
    },
    /// Let this member go once others have what it stores.
    Drain {
        /// Which; none for the node that is asked.
        node: Option<NodeId>,
        /// Whether only to say what would come of it.
        dry_run: bool,
    },
    /// Do without this member, which is dead.
    Remove {
        /// Which.
        node: NodeId,
        /// Whether only to say what would come of it.
        dry_run: bool,
    },
    /// Keep so many copies from now on.
    SetReplication {
        /// So many, 1 to 7.
        factor: u8,
        /// Whether only to say what would come of it.
        dry_run: bool,
    },
    /// Give up the change under way; answered with an [`OperationReply`](crate::OperationReply).
    Cancel,
}

/// Every message, as an unknown one is told them.
const KINDS: [&str; 11] = [
    NODE_STATUS,
    HEALTHZ,
    RELOAD,
    CLUSTER_STATUS,
    OPERATION_STATUS,
    JOIN,
    REPLACE,
    DRAIN,
    REMOVE,
    SET_REPLICATION,
    CANCEL,
];

const NODE_STATUS: &str = "status/node";
const HEALTHZ: &str = "healthz";
const RELOAD: &str = "reload";
const CLUSTER_STATUS: &str = "status/cluster";
const OPERATION_STATUS: &str = "status/operation";
const JOIN: &str = "join";
const REPLACE: &str = "replace";
const DRAIN: &str = "drain";
const REMOVE: &str = "remove";
const SET_REPLICATION: &str = "set_replication";
const CANCEL: &str = "cancel";

impl AdminRequest {
    /// Reads an admin message. The data of one that has no fields is not looked into.
    ///
    /// # Errors
    /// The refusal to send back.
    pub fn decode(envelope: &Envelope<'_>) -> Result<Self, Refusal> {
        let fields = || Fields::read(envelope.data);
        Ok(match envelope.kind {
            NODE_STATUS => Self::NodeStatus,
            HEALTHZ => Self::Healthz,
            RELOAD => Self::Reload,
            CLUSTER_STATUS => Self::ClusterStatus,
            OPERATION_STATUS => Self::OperationStatus { id: required(fields()?.id, "id")? },
            JOIN => Self::Join { dry_run: fields()?.dry_run() },
            REPLACE => {
                let fields = fields()?;
                let dry_run = fields.dry_run();
                Self::Replace { node: required(fields.node, "node")?, dry_run }
            }
            DRAIN => {
                let fields = fields()?;
                let dry_run = fields.dry_run();
                Self::Drain { node: fields.node, dry_run }
            }
            REMOVE => {
                let fields = fields()?;
                let dry_run = fields.dry_run();
                Self::Remove { node: required(fields.node, "node")?, dry_run }
            }
            SET_REPLICATION => {
                let fields = fields()?;
                let dry_run = fields.dry_run();
                Self::SetReplication { factor: required(fields.factor, "factor")?, dry_run }
            }
            CANCEL => Self::Cancel,
            unknown => {
                let message = format!(
                    "there is no message '{}' on the peer port; there are hello, {}",
                    unknown.escape_debug(),
                    KINDS.join(", ")
                );
                return Err(Refusal::new(Code::UnknownType, message));
            }
        })
    }

    /// Appends this request as a frame.
    pub fn encode(&self, id: Option<u64>, out: &mut Vec<u8>) {
        append_message(out, id, self.kind(), |out| self.write_fields(out));
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::NodeStatus => NODE_STATUS,
            Self::Healthz => HEALTHZ,
            Self::Reload => RELOAD,
            Self::ClusterStatus => CLUSTER_STATUS,
            Self::OperationStatus { .. } => OPERATION_STATUS,
            Self::Join { .. } => JOIN,
            Self::Replace { .. } => REPLACE,
            Self::Drain { .. } => DRAIN,
            Self::Remove { .. } => REMOVE,
            Self::SetReplication { .. } => SET_REPLICATION,
            Self::Cancel => CANCEL,
        }
    }

    fn write_fields(&self, out: &mut Vec<u8>) {
        match self {
            Self::NodeStatus
            | Self::Healthz
            | Self::Reload
            | Self::ClusterStatus
            | Self::Cancel => writer::map(out, 0),
            Self::OperationStatus { id } => {
                writer::map(out, 1);
                writer::text(out, "id");
                writer::text(out, &id.to_string());
            }
            Self::Join { dry_run } | Self::Drain { node: None, dry_run } => {
                writer::map(out, 1);
                write_dry_run(out, *dry_run);
            }
            Self::Replace { node, dry_run }
            | Self::Drain { node: Some(node), dry_run }
            | Self::Remove { node, dry_run } => {
                writer::map(out, 2);
                writer::text(out, "node");
                writer::text(out, node.as_str());
                write_dry_run(out, *dry_run);
            }
            Self::SetReplication { factor, dry_run } => {
                writer::map(out, 2);
                write_number(out, "factor", u64::from(*factor));
                write_dry_run(out, *dry_run);
            }
        }
    }

    /// Whether only an administrator may ask this. A change that is only planned changes nothing, but
    /// asks other nodes, so it counts.
    #[must_use]
    pub fn needs_administrator(&self) -> bool {
        match self {
            Self::NodeStatus
            | Self::Healthz
            | Self::ClusterStatus
            | Self::OperationStatus { .. } => false,
            Self::Reload
            | Self::Join { .. }
            | Self::Replace { .. }
            | Self::Drain { .. }
            | Self::Remove { .. }
            | Self::SetReplication { .. }
            | Self::Cancel => true,
        }
    }
}

fn write_dry_run(out: &mut Vec<u8>, dry_run: bool) {
    writer::text(out, "dry_run");
    writer::boolean(out, dry_run);
}

/// The fields that a request may have. Unknown ones are passed over.
#[derive(Default)]
struct Fields {
    id: Option<ChangeId>,
    node: Option<NodeId>,
    factor: Option<u8>,
    dry_run: Option<bool>,
}

impl Fields {
    fn read(data: &[u8]) -> Read<Self> {
        let mut fields = Self::default();
        let mut reader = Reader::new(data, "data");
        for _ in 0..reader.map()? {
            match reader.at("data").text()? {
                "id" => keep(&mut fields.id, reader.at("id"), read_operation_id)?,
                "node" => keep(&mut fields.node, reader.at("node"), read_node_id)?,
                "factor" => keep(&mut fields.factor, reader.at("factor"), read_factor)?,
                "dry_run" => keep(&mut fields.dry_run, reader.at("dry_run"), Reader::boolean)?,
                _ => reader.skip()?,
            }
        }
        Ok(fields)
    }

    /// What is asked is meant unless it says otherwise.
    fn dry_run(&self) -> bool {
        self.dry_run.unwrap_or(false)
    }
}

fn read_operation_id(reader: &mut Reader<'_>) -> Read<ChangeId> {
    match ChangeId::from_text(reader.text()?) {
        Some(id) => Ok(id),
        None => reader.error(Problem::OutOfRange { expected: "32 hexadecimal digits" }),
    }
}

fn read_factor(reader: &mut Reader<'_>) -> Read<u8> {
    match reader.unsigned().map(u8::try_from)? {
        Ok(factor @ 1..=MAX_REPLICATION_FACTOR) => Ok(factor),
        _ => reader.error(Problem::OutOfRange { expected: "1 to 7" }),
    }
}

#[cfg(test)]
#[path = "admin_request_tests.rs"]
mod tests;
