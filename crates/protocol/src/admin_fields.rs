//! The fields that admin requests may have. Unknown ones are passed over.

use paravon_model::limits::MAX_REPLICATION_FACTOR;
use paravon_model::{ChangeId, Key, NodeId};

use crate::admin_request::{Loss, MAX_LISTED_PARTITIONS};
use crate::code::Refusal;
use crate::maps::{keep, required, wrong};
use crate::peer::fields::{read_node_id, read_partition};
use crate::reader::{DecodeError, Problem, Reader};

type Read<T> = Result<T, DecodeError>;

/// What a request said.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    id: Option<ChangeId>,
    node: Option<NodeId>,
    factor: Option<u8>,
    dry_run: Option<bool>,
    key: Option<&'a [u8]>,
    namespace: Option<&'a str>,
    partition: Option<u32>,
    after: Option<u32>,
    limit: Option<u16>,
}

impl<'a> Fields<'a> {
    pub(crate) fn read(data: &'a [u8]) -> Read<Self> {
        let mut fields = Self::default();
        let mut reader = Reader::new(data, "data");
        for _ in 0..reader.map()? {
            match reader.at("data").text()? {
                "id" => keep(&mut fields.id, reader.at("id"), read_operation_id)?,
                "node" => keep(&mut fields.node, reader.at("node"), read_node_id)?,
                "factor" => keep(&mut fields.factor, reader.at("factor"), read_factor)?,
                "dry_run" => keep(&mut fields.dry_run, reader.at("dry_run"), Reader::boolean)?,
                "key" => keep(&mut fields.key, reader.at("key"), Reader::bytes_or_text)?,
                "namespace" => {
                    keep(&mut fields.namespace, reader.at("namespace"), Reader::text)?;
                }
                "partition" => {
                    keep(&mut fields.partition, reader.at("partition"), read_partition)?;
                }
                "after" => keep(&mut fields.after, reader.at("after"), read_partition)?,
                "limit" => keep(&mut fields.limit, reader.at("limit"), read_limit)?,
                _ => reader.skip()?,
            }
        }
        Ok(fields)
    }

    /// What is asked is meant unless it says otherwise.
    pub(crate) fn dry_run(&self) -> bool {
        self.dry_run.unwrap_or(false)
    }

    /// The operation, which must be named.
    pub(crate) fn id(&self) -> Read<ChangeId> {
        required(self.id, "id")
    }

    /// The node, where one is named.
    pub(crate) fn node(self) -> Option<NodeId> {
        self.node
    }

    /// The node, which must be named.
    pub(crate) fn some_node(self) -> Read<NodeId> {
        required(self.node, "node")
    }

    /// The number of copies, which must be there.
    pub(crate) fn factor(&self) -> Read<u8> {
        required(self.factor, "factor")
    }

    /// The partition behind which a list is to begin.
    pub(crate) fn after(&self) -> Option<u32> {
        self.after
    }

    /// How long a list may be.
    pub(crate) fn limit(&self) -> u16 {
        self.limit.unwrap_or(MAX_LISTED_PARTITIONS)
    }

    /// What is given up: a key or a partition, and never both, because the one is far less than the other.
    pub(crate) fn loss(&self) -> Result<Loss, Refusal> {
        match (self.key, self.partition) {
            (Some(key), None) => {
                let namespace = self.namespace.unwrap_or(Key::DEFAULT_NAMESPACE);
                Ok(Loss::Key(Key::new(namespace, key)?))
            }
            (None, Some(partition)) => Ok(Loss::Partition(partition)),
            (Some(_), Some(_)) => Ok(wrong("partition", "a key or a partition, not both")?),
            (None, None) => Ok(required(None, "key")?),
        }
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

fn read_limit(reader: &mut Reader<'_>) -> Read<u16> {
    match reader.unsigned().map(u16::try_from)? {
        Ok(limit @ 1..=MAX_LISTED_PARTITIONS) => Ok(limit),
        _ => reader.error(Problem::OutOfRange { expected: "1 to 1024" }),
    }
}
