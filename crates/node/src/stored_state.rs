//! What a data directory remembers of its node and cluster, as the cluster machine begins with it.
//!
//! **Never:** is changed by the configuration. `placement.*` counts when a cluster is founded; a later
//! difference is a warning.

use std::sync::Arc;

use paravon_model::{Address, ClusterState, Document, Member, Phase, Roster};
use paravon_protocol::{StoredState, decode_cluster_state};

use crate::config::Config;
use crate::error::StartError;

/// The state in `bytes`. A directory of the first format is a cluster of one; its address, size and zone
/// are the configuration's.
///
/// # Errors
/// The directory is another node's, or of a later version.
pub(crate) fn read(
    bytes: &[u8],
    config: &Config,
    address: &Address,
) -> Result<ClusterState, StartError> {
    let stored = decode_cluster_state(bytes).map_err(|_| StartError::UnknownDocument)?;
    let state = match stored {
        StoredState::Current(state) => state,
        StoredState::Founded1 {
            cluster_id,
            node_id,
            ordinal,
            hash_seed,
            shift,
            replication_factor,
        } => {
            let member = Member {
                ordinal,
                node_id: node_id.clone(),
                size: config.node.size,
                zone: config.node.zone.clone(),
                address: address.clone(),
            };
            let document = Document {
                cluster_id,
                generation: 0,
                rescue_id: 0,
                version: 1,
                fence: 1,
                phase: Phase::Stable,
                hash_seed,
                shift,
                current: Roster { members: vec![member], replication_factor },
                past: Vec::new(),
                council: vec![ordinal],
                next_ordinal: ordinal.0 + 1,
                operations: Vec::new(),
            };
            ClusterState {
                ordinal: Some(ordinal),
                stored: Some(document.fence()),
                document: Some(Arc::new(document)),
                ..ClusterState::new(node_id)
            }
        }
    };
    if state.node_id != config.node.id {
        return Err(StartError::OtherNode {
            path: config.storage.data_dir.clone(),
            owner: state.node_id,
            configured: config.node.id.clone(),
        });
    }
    Ok(state)
}

/// What the configuration says differently from the cluster, and no longer counts.
pub(crate) fn differences(document: &Document, config: &Config) -> Vec<String> {
    let placement = &config.placement;
    let copies = document.current.replication_factor;
    let rows = [
        ("placement.shift", placement.shift.get(), document.shift),
        ("placement.replication_factor", placement.replication_factor, copies),
    ];
    let differs = rows.into_iter().filter(|(_, configured, founded)| configured != founded);
    let say = |(key, configured, founded)| {
        format!(
            "{key} is {configured} in the configuration, but the cluster was founded with {founded}, which counts"
        )
    };
    differs.map(say).collect()
}
