//! What a data directory remembers of its node and cluster: written once at founding.
//!
//! **Never:** is changed by the configuration. `placement.*` counts when a cluster is founded; a later
//! difference is a warning.

use std::sync::Arc;

use paravon_model::{Address, ClusterId, Member, NodeId, Ordinal, Phase};
use paravon_ring::{Layout, Shift};
use paravon_transport::random_bytes;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::error::StartError;

/// The format that this version writes; the first byte of a document.
const FORMAT: u8 = 1;

/// The cluster's identity, its fixed placement, and this node's place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) cluster_id: [u8; 16],
    pub(crate) node_id: NodeId,
    pub(crate) ordinal: Ordinal,
    pub(crate) hash_seed: u64,
    pub(crate) shift: Shift,
    pub(crate) replication_factor: u8,
}

/// The document as format 1 stores it.
#[derive(Serialize, Deserialize)]
struct DocumentV1 {
    cluster_id: [u8; 16],
    node_id: String,
    ordinal: u32,
    hash_seed: u64,
    shift: u8,
    replication_factor: u8,
}

impl Document {
    /// A new cluster with this node as its only member.
    pub(crate) fn found(config: &Config) -> Self {
        Self {
            cluster_id: random_bytes(),
            node_id: config.node.id.clone(),
            ordinal: Ordinal(1),
            hash_seed: u64::from_be_bytes(random_bytes()),
            shift: config.placement.shift,
            replication_factor: config.placement.replication_factor,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let stored = DocumentV1 {
            cluster_id: self.cluster_id,
            node_id: self.node_id.as_str().to_owned(),
            ordinal: self.ordinal.0,
            hash_seed: self.hash_seed,
            shift: self.shift.get(),
            replication_factor: self.replication_factor,
        };
        let mut bytes = vec![FORMAT];
        let written = rmp_serde::encode::write_named(&mut bytes, &stored);
        assert!(written.is_ok(), "writing plain fields to a Vec cannot fail");
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote. Storage has verified its checksum.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StartError> {
        let stored: DocumentV1 = match bytes.split_first() {
            Some((&FORMAT, rest)) => {
                rmp_serde::from_slice(rest).map_err(|_| StartError::UnknownDocument)?
            }
            _ => return Err(StartError::UnknownDocument),
        };
        Ok(Self {
            cluster_id: stored.cluster_id,
            node_id: NodeId::new(&stored.node_id).map_err(|_| StartError::UnknownDocument)?,
            ordinal: Ordinal(stored.ordinal),
            hash_seed: stored.hash_seed,
            shift: Shift::new(stored.shift).ok_or(StartError::UnknownDocument)?,
            replication_factor: stored.replication_factor,
        })
    }

    /// The layout of a cluster of one.
    pub(crate) fn layout(&self, config: &Config) -> Layout {
        let member = Member {
            ordinal: self.ordinal,
            node_id: self.node_id.clone(),
            size: config.node.size,
            zone: config.node.zone.clone(),
            address: Address::new(&config.server.peer.bind.to_string()),
        };
        Layout::of(Arc::new(paravon_model::Document {
            cluster_id: ClusterId(u128::from_be_bytes(self.cluster_id)),
            generation: 0,
            rescue_id: 0,
            version: 1,
            fence: 1,
            phase: Phase::Stable,
            hash_seed: self.hash_seed,
            shift: self.shift.get(),
            replication_factor: self.replication_factor,
            current: vec![member],
            council: vec![self.ordinal],
            next_ordinal: self.ordinal.0 + 1,
            operations: Vec::new(),
        }))
    }

    /// What the configuration says differently and no longer counts.
    pub(crate) fn differences(&self, config: &Config) -> Vec<String> {
        let rows = [
            (
                "placement.shift",
                u64::from(config.placement.shift.get()),
                u64::from(self.shift.get()),
            ),
            (
                "placement.replication_factor",
                u64::from(config.placement.replication_factor),
                u64::from(self.replication_factor),
            ),
        ];
        let differs = rows.into_iter().filter(|(_, configured, founded)| configured != founded);
        let say = |(key, configured, founded)| {
            format!(
                "{key} is {configured} in the configuration, but the cluster was founded with {founded}, which counts"
            )
        };
        differs.map(say).collect()
    }

    /// The cluster's identity in hexadecimal.
    pub(crate) fn cluster_id_text(&self) -> String {
        self.cluster_id.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_comes_back_as_it_was_and_rubbish_does_not() {
        let document = Document {
            cluster_id: [7; 16],
            node_id: NodeId::new("node-1").unwrap(),
            ordinal: Ordinal(3),
            hash_seed: u64::MAX,
            shift: Shift::DEFAULT,
            replication_factor: 3,
        };
        let bytes = document.encode();
        assert_eq!(Document::decode(&bytes).unwrap(), document);
        for cut in 0..bytes.len() {
            assert!(Document::decode(&bytes[..cut]).is_err());
        }
    }
}
