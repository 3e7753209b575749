//! The admin messages of the peer port.
//!
//! Reading status needs any certificate of the cluster's authority; what changes something needs an
//! administrator (`NO_STRANGER`).

use std::collections::BTreeMap;

use paravon_protocol::{
    AdminReply, AdminRequest, Code, ListenerStatus, NodeStatus, PROTOCOL_VERSION, Refusal,
};
use paravon_transport::Identity;

use crate::config::Engine;
use crate::session::Port;
use crate::shared::Shared;

/// Does what `identity` asks for.
///
/// # Errors
/// The refusal to send back.
pub(crate) fn answer(
    shared: &Shared,
    identity: &Identity,
    request: AdminRequest,
) -> Result<AdminReply, Refusal> {
    let admins = &shared.config.security.admins;
    if request.changes_something() && !identity.is_administrator(admins) {
        let message = format!(
            "{identity} is no administrator; use a certificate with organizational unit 'admin', \
             or list its common name in security.admins"
        );
        return Err(Refusal::new(Code::Forbidden, message));
    }
    match request {
        AdminRequest::NodeStatus => Ok(AdminReply::NodeStatus(Box::new(status(shared)))),
        AdminRequest::Healthz => {
            Ok(AdminReply::Healthz { source: shared.document.node_id.as_str().to_owned() })
        }
        AdminRequest::Reload => reload(shared, identity),
        AdminRequest::ClusterStatus | AdminRequest::Join { .. } => {
            let message = "this node forms no cluster with others".to_owned();
            Err(Refusal::new(Code::NotReady, message))
        }
    }
}

fn reload(shared: &Shared, identity: &Identity) -> Result<AdminReply, Refusal> {
    match shared.reload() {
        Ok(not_after) => {
            tracing::info!(by = %identity, "certificates reloaded");
            let certificate_ends = humantime::format_rfc3339_seconds(not_after).to_string();
            Ok(AdminReply::Reloaded { certificate_ends })
        }
        Err(error) => {
            tracing::warn!(by = %identity, %error, "certificates not reloaded, the old ones stay");
            let message =
                format!("the new certificates cannot be used, the old ones stay: {error}");
            Err(Refusal::new(Code::BadRequest, message))
        }
    }
}

fn status(shared: &Shared) -> NodeStatus {
    let (config, document) = (&shared.config, &shared.document);
    let listener = |port, address: std::net::SocketAddr| ListenerStatus {
        address: address.to_string(),
        connections: shared.connections(port),
    };
    let peer_address = config.server.peer.advertised(shared.peer_address.port());
    let phase = if shared.is_draining() { "draining" } else { "ready" };
    let writes = match shared.write_trouble() {
        None => "accepted".to_owned(),
        Some(trouble) => format!("refused: {}", trouble.advice()),
    };
    let engine = match config.storage.engine {
        Engine::Disk => "disk",
        Engine::Memory => "memory",
    };
    NodeStatus {
        node_id: document.node_id.as_str().to_owned(),
        ordinal: document.ordinal.0,
        cluster_id: document.cluster_id_text(),
        phase: phase.to_owned(),
        fence: shared.layout.fence().number,
        size: config.node.size.name().to_owned(),
        zone: config.node.zone.as_ref().map_or_else(String::new, ToString::to_string),
        api_listener: listener(Port::Api, shared.api_address),
        peer_listener: ListenerStatus {
            address: peer_address.to_string(),
            ..listener(Port::Peer, shared.peer_address)
        },
        program: concat!("paravon ", env!("CARGO_PKG_VERSION")).to_owned(),
        protocol: PROTOCOL_VERSION,
        uptime_seconds: shared.uptime().as_secs(),
        replication: replication(shared),
        partitions: document.shift.partitions(),
        ring: vec![(format!("{:016x}", u64::MIN), format!("{:016x}", u64::MAX))],
        storage_engine: engine.to_owned(),
        storage_shards: shared.shards,
        writes,
        hints: BTreeMap::new(),
        ..NodeStatus::default()
    }
}

fn replication(shared: &Shared) -> String {
    let (members, wanted) =
        (shared.layout.members().len(), usize::from(shared.layout.replication_factor()));
    let kept = members.min(wanted);
    if kept < wanted {
        format!("under-replicated {kept} of {wanted}")
    } else {
        format!("{kept} of {wanted}")
    }
}
