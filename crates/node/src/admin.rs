//! The admin messages of the peer port.
//!
//! Reading status needs any certificate of the cluster's authority; what changes something needs an
//! administrator (`NO_STRANGER`).

use std::collections::BTreeMap;

use paravon_model::{NodeId, Ordinal};
use paravon_protocol::{
    AdminReply, AdminRequest, ClusterStatus, Code, HandoffStatus, ListenerStatus, MemberStatus,
    NodeStatus, PROTOCOL_VERSION, PeerStatus, Refusal,
};
use paravon_replication::cluster;
use paravon_replication::cluster::{ClusterPhase, LinkStatus, Liveness};
use paravon_transport::Identity;

use crate::administration::Question;
use crate::config::Engine;
use crate::placed::Placed;
use crate::session::Port;
use crate::shared::{Shared, Standing};

/// Whether `identity` may ask for this; then the request.
///
/// # Errors
/// The refusal to send back.
pub(crate) fn permit(
    shared: &Shared,
    identity: &Identity,
    request: AdminRequest,
) -> Result<AdminRequest, Refusal> {
    let admins = &shared.config.security.admins;
    if request.needs_administrator() && !identity.is_administrator(admins) {
        let message = format!(
            "{identity} is no administrator; use a certificate with organizational unit 'admin', \
             or list its common name in security.admins"
        );
        return Err(Refusal::new(Code::Forbidden, message));
    }
    Ok(request)
}

/// Reads certificates anew.
///
/// # Errors
/// The refusal to send back.
pub(crate) fn reload(shared: &Shared, identity: &Identity) -> Result<AdminReply, Refusal> {
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

/// What the node is and how it fares.
pub(crate) fn node_status(
    shared: &Shared,
    placed: Option<&Placed>,
    question: &Question,
) -> NodeStatus {
    let config = &shared.config;
    let own = question.cluster.as_ref().and_then(|status| status.ordinal);
    let listener = |port, address: std::net::SocketAddr| ListenerStatus {
        address: address.to_string(),
        connections: shared.connections(port),
    };
    let writes = match shared.write_trouble() {
        None => "accepted".to_owned(),
        Some(trouble) => format!("refused: {}", trouble.advice()),
    };
    let engine = match config.storage.engine {
        Engine::Disk => "disk",
        Engine::Memory => "memory",
    };
    let handoff = handoff(question);
    let document = question.cluster.as_ref().and_then(|status| status.document.as_ref());
    NodeStatus {
        node_id: config.node.id.as_str().to_owned(),
        ordinal: own.map_or(0, |ordinal| ordinal.0),
        cluster_id: document.map_or_else(String::new, |d| d.cluster_id.to_string()),
        phase: phase(shared),
        fence: placed.map_or(0, |placed| placed.layout.fence().number),
        size: config.node.size.name().to_owned(),
        zone: config.node.zone.as_ref().map_or_else(String::new, ToString::to_string),
        api_listener: listener(Port::Api, shared.api_address),
        peer_listener: ListenerStatus {
            address: shared.advertised().to_string(),
            ..listener(Port::Peer, shared.peer_address)
        },
        program: concat!("paravon ", env!("CARGO_PKG_VERSION")).to_owned(),
        protocol: PROTOCOL_VERSION,
        uptime_seconds: shared.uptime().as_secs(),
        replication: placed.map_or_else(String::new, replication),
        partitions: placed.zip(own).map_or(0, |(placed, own)| placed.partitions(own)),
        ring: placed.map_or_else(Vec::new, ring),
        storage_engine: engine.to_owned(),
        storage_shards: shared.shards,
        writes,
        hints: handoff.iter().map(|each| (each.node_id.clone(), each.count)).collect(),
        peers: peers(question),
        handoff,
        cluster_phase: cluster_phase(question, placed).to_owned(),
    }
}

/// How far the node has come. It serves only once its layout is in use, a moment after the machine says so.
fn cluster_phase(question: &Question, placed: Option<&Placed>) -> &'static str {
    match question.cluster.as_ref().map(|status| status.phase) {
        Some(ClusterPhase::Serving) if placed.is_none() => ClusterPhase::Starting.name(),
        Some(phase) => phase.name(),
        None => "",
    }
}

fn phase(shared: &Shared) -> String {
    if shared.is_draining() {
        return "draining".to_owned();
    }
    match shared.standing() {
        Standing::Serves => "ready".to_owned(),
        Standing::Waits(why) => format!("not ready: {why}"),
    }
}

fn ring(placed: &Placed) -> Vec<(String, String)> {
    placed
        .arcs
        .iter()
        .map(|(first, last)| (format!("{first:016x}"), format!("{last:016x}")))
        .collect()
}

fn replication(placed: &Placed) -> String {
    let layout = &placed.layout;
    let (members, wanted) = (layout.members().len(), usize::from(layout.replication_factor()));
    let kept = members.min(wanted);
    if kept < wanted {
        format!("under-replicated {kept} of {wanted}")
    } else {
        format!("{kept} of {wanted}")
    }
}

/// What is kept for each target, by its name.
fn handoff(question: &Question) -> Vec<HandoffStatus> {
    let document = question.cluster.as_ref().and_then(|status| status.document.as_ref());
    let name = |target: Ordinal| {
        let member = document.and_then(|document| document.member(target));
        member.map_or_else(|| format!("number {target}"), |member| member.node_id.to_string())
    };
    let shown = question.hints.values().map(|totals| HandoffStatus {
        node_id: name(totals.target),
        count: totals.count,
        bytes: totals.bytes,
        dirty: totals.dirty,
    });
    shown.collect()
}

/// The members that a cluster machine knows, but for the node itself.
fn peers(question: &Question) -> Vec<PeerStatus> {
    let Some(status) = &question.cluster else { return Vec::new() };
    let others = status.members.iter().filter(|member| Some(member.ordinal) != status.ordinal);
    let shown = others.map(|member| PeerStatus {
        node_id: member.node_id.to_string(),
        state: state(member).to_owned(),
        linked: member.link == LinkStatus::Linked,
        clock_offset_ms: member.offset_ms,
    });
    shown.collect()
}

fn state(member: &cluster::MemberStatus) -> &'static str {
    match member.liveness {
        Liveness::Alive => "alive",
        Liveness::Dead => "dead",
    }
}

/// The cluster as this node sees it.
pub(crate) fn cluster_status(placed: Option<&Placed>, question: &Question) -> ClusterStatus {
    let Some(status) = &question.cluster else { return ClusterStatus::default() };
    let waiting = status.waiting.iter().map(|(node_id, _)| node_id.to_string()).collect();
    let Some(document) = &status.document else {
        return ClusterStatus { waiting, ..ClusterStatus::default() };
    };
    let seen: BTreeMap<Ordinal, &cluster::MemberStatus> =
        status.members.iter().map(|member| (member.ordinal, member)).collect();
    let members = document.current.iter().map(|member| {
        let seen = seen.get(&member.ordinal);
        let is_self = status.ordinal == Some(member.ordinal);
        MemberStatus {
            node_id: member.node_id.to_string(),
            ordinal: member.ordinal.0,
            size: member.size.name().to_owned(),
            zone: member.zone.as_ref().map_or_else(String::new, NodeId::to_string),
            address: member.address.to_string(),
            state: if is_self { "self" } else { seen.map_or("", |seen| state(seen)) }.to_owned(),
            linked: is_self || seen.is_some_and(|seen| seen.link == LinkStatus::Linked),
            partitions: placed.map_or(0, |placed| placed.partitions(member.ordinal)),
            share: placed.map_or(0.0, |placed| placed.share(member.ordinal)),
            clock_offset_ms: seen.and_then(|seen| seen.offset_ms),
        }
    });
    let council = document.council.iter().filter_map(|&ordinal| document.member(ordinal));
    ClusterStatus {
        cluster_id: document.cluster_id.to_string(),
        phase: "stable".to_owned(),
        version: document.version,
        fence: document.fence,
        replication_factor: document.replication_factor,
        shift: document.shift,
        council: council.map(|member| member.node_id.to_string()).collect(),
        under_replicated: ClusterStatus::shortage(
            document.current.len(),
            document.replication_factor,
        ),
        members: members.collect(),
        waiting,
    }
}
