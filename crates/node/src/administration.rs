//! Administrators' questions that one loop cannot answer alone: they go round the loops, each adds what
//! it knows, and the last one brings them back.

use std::collections::BTreeMap;
use std::sync::Arc;

use paravon_model::{Document, JoinRefusal, Ordinal};
use paravon_protocol::{Code, JoinReply, Refusal};
use paravon_replication::cluster::{ClusterStatus, JoinDone, JoinFailure};
use paravon_ring::Shift;
use paravon_storage::{HintTotals, Store};

use crate::inbox::Asker;

/// A question about the node, on its way round the loops.
#[derive(Debug)]
pub(crate) struct Question {
    /// Whom to answer.
    pub(crate) asker: Asker,
    /// What the answer is for.
    pub(crate) about: About,
    /// What the cluster machine knows; the first loop adds it.
    pub(crate) cluster: Option<ClusterStatus>,
    /// What is kept for each target, on all loops so far.
    pub(crate) hints: BTreeMap<Ordinal, HintTotals>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// `status/node`.
    Node,
    /// `status/cluster`.
    Cluster,
}

impl Question {
    pub(crate) fn new(asker: Asker, about: About) -> Self {
        Self { asker, about, cluster: None, hints: BTreeMap::new() }
    }

    /// Adds what one store keeps.
    pub(crate) fn add(&mut self, store: &dyn Store) {
        let document = self.cluster.as_ref().and_then(|status| status.document.as_ref());
        let shift = document.and_then(|document| Shift::new(document.shift));
        let shift = shift.unwrap_or(Shift::DEFAULT);
        for totals in store.hint_totals(shift) {
            let target = totals.target;
            let none = HintTotals { target, count: 0, bytes: 0, dirty: 0 };
            let sum = self.hints.entry(target).or_insert(none);
            sum.count += totals.count;
            sum.bytes += totals.bytes;
            // A store that has stopped telling them apart counts those of all stores.
            sum.dirty = (sum.dirty + totals.dirty).min(shift.partitions().into());
        }
    }
}

/// What comes back.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The question, with what all loops know.
    Gathered(Box<Question>),
    /// What became of a join.
    Join(Result<JoinReply, Refusal>),
}

impl Answer {
    /// What became of a join, where `document` is the node's present one.
    pub(crate) fn of_join(
        answer: Result<JoinDone, JoinFailure>,
        document: Option<&Arc<Document>>,
    ) -> Self {
        Self::Join(match answer {
            Ok(JoinDone::Joined { ordinal }) => Ok(JoinReply {
                cluster_id: document.map_or_else(String::new, |d| d.cluster_id.to_string()),
                ordinal: Some(ordinal.0),
                members: document.map_or(0, |document| document.current.len() as u64),
                planned: false,
            }),
            Ok(JoinDone::Planned { cluster_id, members }) => Ok(JoinReply {
                cluster_id: cluster_id.to_string(),
                ordinal: None,
                members: members as u64,
                planned: true,
            }),
            Err(failure) => Err(refusal(&failure, document)),
        })
    }
}

fn refusal(failure: &JoinFailure, document: Option<&Arc<Document>>) -> Refusal {
    let name = |ordinal: Ordinal| {
        let member = document.and_then(|document| document.member(ordinal));
        member.map_or_else(|| format!("number {ordinal}"), |member| member.node_id.to_string())
    };
    let (code, message) = match failure {
        JoinFailure::AlreadyMember => {
            (Code::BadRequest, "the node is a member already; there is nothing to do".to_owned())
        }
        JoinFailure::NoCluster => (
            Code::NotReady,
            "no seed that this node reaches belongs to a cluster; check server.peer.seeds, and that \
             one of them has founded it"
                .to_owned(),
        ),
        JoinFailure::ShutOut => (
            Code::NotReady,
            "this node was shut out of its cluster; its log and `paractl admin node-status` say why"
                .to_owned(),
        ),
        JoinFailure::HoldsRecords => (
            Code::BadRequest,
            "this node holds records of its own; give it an empty storage.data_dir".to_owned(),
        ),
        JoinFailure::Refused(JoinRefusal::HoldsRecords { member }) => (
            Code::BadRequest,
            format!(
                "{} holds records already; this version takes members in before the first write only",
                name(*member)
            ),
        ),
        JoinFailure::Refused(JoinRefusal::NameTaken { member }) => (
            Code::BadRequest,
            format!(
                "number {member} of the cluster has this node's node.id; give this node another one"
            ),
        ),
        JoinFailure::Refused(JoinRefusal::NoMajority) => (
            Code::QuorumUnavailable,
            "too few members answered, so nothing was changed; bring them up and try again".to_owned(),
        ),
        JoinFailure::TimedOut => (
            Code::QuorumTimeout,
            "the join is not done yet and may still be; look at the cluster's status, or try again"
                .to_owned(),
        ),
    };
    Refusal::new(code, message)
}
