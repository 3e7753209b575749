//! What a node tells of itself, its cluster and the changes of it.
//!
//! **Never:** changes anything, or tells of one node what only another one can know.

use paravon_model::{ChangeId, Document, Member, NodeId, Roster};
use paravon_protocol::{
    ClusterStatus, Code, HandoffStatus, ListenerStatus, MemberStatus, NodeStatus, OperationStatus,
    OperationSummary, PROTOCOL_VERSION, PeerStatus, Refusal,
};
use paravon_replication::cluster;
use paravon_replication::cluster::{ClusterPhase, LinkStatus, Liveness};

use crate::administration::{Question, name_of};
use crate::config::Engine;
use crate::placed::Placed;
use crate::session::Port;
use crate::shared::{Shared, Standing};

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
    let document = question.document();
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
        anti_entropy: question.copies.anti_entropy(),
        damage: question.copies.damage(|ordinal| name_of(document, ordinal)),
        scrub: question.copies.scrub(),
        marks: question.copies.marks(|ordinal| name_of(document, ordinal)),
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
    let members = layout.document().current.members.len();
    let wanted = usize::from(layout.replication_factor());
    let kept = members.min(wanted);
    if kept < wanted {
        format!("under-replicated {kept} of {wanted}")
    } else {
        format!("{kept} of {wanted}")
    }
}

/// What is kept for each target, by its name.
fn handoff(question: &Question) -> Vec<HandoffStatus> {
    let document = question.document();
    let shown = question.hints.values().map(|totals| HandoffStatus {
        node_id: name_of(document, totals.target),
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
    let Some(document) = status.document.as_deref() else {
        return ClusterStatus { waiting, ..ClusterStatus::default() };
    };
    let council = document.council.iter().filter_map(|&ordinal| document.member(ordinal));
    let operations = document.operations.iter();
    let Roster { members, replication_factor } = &document.current;
    ClusterStatus {
        cluster_id: document.cluster_id.to_string(),
        phase: document.phase.name().to_owned(),
        version: document.version,
        fence: document.fence,
        replication_factor: *replication_factor,
        shift: document.shift,
        council: council.map(|member| member.node_id.to_string()).collect(),
        under_replicated: ClusterStatus::shortage(members.len(), *replication_factor),
        members: document.members().map(|m| member_status(m, document, status, placed)).collect(),
        operations: operations.map(|each| OperationSummary::of(each, document)).collect(),
        waiting,
    }
}

fn member_status(
    member: &Member,
    document: &Document,
    status: &cluster::ClusterStatus,
    placed: Option<&Placed>,
) -> MemberStatus {
    let seen = status.members.iter().find(|seen| seen.ordinal == member.ordinal);
    let is_self = status.ordinal == Some(member.ordinal);
    let report = status.reports.iter().find(|(ordinal, _)| *ordinal == member.ordinal);
    MemberStatus {
        node_id: member.node_id.to_string(),
        ordinal: member.ordinal.0,
        size: member.size.name().to_owned(),
        zone: member.zone.as_ref().map_or_else(String::new, NodeId::to_string),
        address: member.address.to_string(),
        state: if is_self { "self" } else { seen.map_or("", state) }.to_owned(),
        linked: is_self || seen.is_some_and(|seen| seen.link == LinkStatus::Linked),
        partitions: placed.map_or(0, |placed| placed.partitions(member.ordinal)),
        share: placed.map_or(0.0, |placed| placed.share(member.ordinal)),
        clock_offset_ms: seen.and_then(|seen| seen.offset_ms),
        joining: document.current.member(member.ordinal).is_none(),
        leaving: document.is_leaving(member.ordinal),
        report: report.map(|(_, report)| report.into()),
    }
}

/// How far an operation is.
///
/// # Errors
/// The document does not know it.
pub(crate) fn operation_status(
    id: ChangeId,
    question: &Question,
) -> Result<OperationStatus, Refusal> {
    let status = question.cluster.as_ref();
    let known = status.and_then(|status| {
        let document = status.document.as_deref()?;
        OperationStatus::of(document, id, &status.reports)
    });
    known.ok_or_else(|| {
        let message = format!(
            "this node knows no operation {id}; it ended long ago, or this node has not heard of it yet"
        );
        Refusal::new(Code::BadRequest, message)
    })
}
