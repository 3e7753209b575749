//! Administrators' questions that one loop cannot answer alone: they go round the loops, each adds what
//! it knows, and the last one brings them back.

use std::collections::BTreeMap;
use std::sync::Arc;

use paravon_model::{ChangeId, Document, NodeId, OperationRefusal, OperationState, Ordinal};
use paravon_protocol::{Code, OperationReply, Refusal};
use paravon_replication::cluster::{ClusterStatus, OperateDone, OperateFailure};
use paravon_ring::Shift;
use paravon_storage::{HintTotals, Store};

use crate::copies::{Copies, GivenUp, Listing};
use crate::inbox::Asker;
use crate::plan::{Plan, stored_bytes};

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
    /// An estimate of what all loops so far store, for a plan.
    pub(crate) stored_bytes: f64,
    /// How the copies of all loops so far fare, for `status/node`.
    pub(crate) copies: Copies,
}

/// What is asked.
#[derive(Debug)]
pub(crate) enum About {
    /// `status/node`.
    Node,
    /// `status/cluster`.
    Cluster,
    /// `status/operation`.
    Operation(ChangeId),
    /// What a change of the layout would move.
    Plan(Plan),
    /// `status/partitions`.
    Partitions(Listing),
    /// `accept_loss`: how much damage it concerns.
    Loss(GivenUp),
}

impl Question {
    pub(crate) fn new(asker: Asker, about: About) -> Self {
        Self {
            asker,
            about,
            cluster: None,
            hints: BTreeMap::new(),
            stored_bytes: 0.0,
            copies: Copies::default(),
        }
    }

    /// The document of the cluster machine.
    pub(crate) fn document(&self) -> Option<&Document> {
        self.cluster.as_ref()?.document.as_deref()
    }

    /// Adds what one store keeps.
    pub(crate) fn add(&mut self, store: &mut dyn Store) {
        if matches!(self.about, About::Plan(_)) {
            self.stored_bytes += stored_bytes(store);
        }
        let shift = self.document().and_then(|document| Shift::new(document.shift));
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
    /// What became of an operator's request.
    Operation(Result<OperationReply, Refusal>),
}

impl Answer {
    /// What became of an operator's request at the node `own`, where `document` is its present one.
    pub(crate) fn of_operation(
        answer: Result<OperateDone, OperateFailure>,
        own: &NodeId,
        document: Option<&Arc<Document>>,
    ) -> Self {
        let document = document.map(Arc::as_ref);
        Self::Operation(match answer {
            Ok(OperateDone::Accepted { id }) => {
                let operation = document.and_then(|document| document.operation(id));
                let state = operation.map_or(OperationState::Pending, |known| known.state);
                Ok(OperationReply::accepted(id, state))
            }
            Ok(OperateDone::Joined { ordinal }) => Ok(OperationReply::joined(ordinal)),
            Ok(OperateDone::Cancelled) => Ok(OperationReply::cancelled()),
            Ok(OperateDone::Planned { .. }) => {
                unreachable!("what a plan moves is found out before it is answered")
            }
            Err(failure) => Err(refusal(&failure, own, document)),
        })
    }
}

/// The name of a member, also of one that has left, as far as the document knows.
pub(crate) fn name_of(document: Option<&Document>, ordinal: Ordinal) -> String {
    let named = document.and_then(|document| document.name_of(ordinal));
    named.map_or_else(|| format!("number {ordinal}"), ToString::to_string)
}

fn refusal(failure: &OperateFailure, own: &NodeId, document: Option<&Document>) -> Refusal {
    let (code, message) = match failure {
        OperateFailure::AlreadyMember => {
            (Code::BadRequest, "the node is a member already; there is nothing to do".to_owned())
        }
        OperateFailure::NotMember => (
            Code::NotReady,
            "this node is no member of a cluster; ask one that is".to_owned(),
        ),
        OperateFailure::NoCluster => (
            Code::NotReady,
            "no seed that this node reaches belongs to a cluster; check server.peer.seeds, and that \
             one of them has founded it"
                .to_owned(),
        ),
        OperateFailure::ShutOut => (
            Code::NotReady,
            "this node is leaving its cluster, or was shut out of it; `paractl admin node-status` says \
             which. One that leaves can be asked again in a moment; where the disk is an old copy, or \
             another process runs on its number, let it take its own place with `paractl admin replace \
             NODE`, where NODE is its own name"
                .to_owned(),
        ),
        OperateFailure::NothingToCancel => (
            Code::BadRequest,
            "no change of the members is under way, so there is nothing to cancel".to_owned(),
        ),
        OperateFailure::NoSuchNode => (
            Code::BadRequest,
            "the cluster has no member of that name; `paractl admin cluster-status` lists them"
                .to_owned(),
        ),
        OperateFailure::Refused(why) => refused(*why, own, document),
        OperateFailure::TimedOut => (
            Code::QuorumTimeout,
            "it is not done yet and may still be; look at the cluster's status before you try again"
                .to_owned(),
        ),
    };
    Refusal::new(code, message)
}

/// What a member's refusal means, and what to do.
fn refused(why: OperationRefusal, own: &NodeId, document: Option<&Document>) -> (Code, String) {
    let name = |ordinal| name_of(document, ordinal);
    match why {
        OperationRefusal::NameTaken { member } => (
            Code::BadRequest,
            format!(
                "number {member} of the cluster has this node's node.id; if that was this node, and \
                 its disk is lost, let it take its old place with `paractl admin replace {own}`; else \
                 give this node another node.id"
            ),
        ),
        OperationRefusal::NoSuchMember { member } => {
            (Code::BadRequest, format!("{} is no member of the cluster", name(member)))
        }
        OperationRefusal::IsUp { member } => (
            Code::BadRequest,
            format!(
                "{} is up: let it hand over what it has with `paractl admin drain {0}`, or stop it \
                 first, if that is what you want",
                name(member)
            ),
        ),
        OperationRefusal::LastMember => (
            Code::BadRequest,
            "it is the last member, so nobody could take over what it stores".to_owned(),
        ),
        OperationRefusal::BadFactor => (
            Code::BadRequest,
            "the number of copies must be one of 1 to 7, and another than there is now".to_owned(),
        ),
        OperationRefusal::NextHasNoMajority => (
            Code::QuorumUnavailable,
            "too many members are down for this: bring them up, or remove them first".to_owned(),
        ),
        OperationRefusal::CurrentHasNoMajority => (
            Code::QuorumUnavailable,
            "too many copies of some partitions are on members that are down, so nobody can take over \
             what was acknowledged there: bring members up until a majority of every partition's copies \
             is; if they are lost for good, run `paravon rescue` on one that is left"
                .to_owned(),
        ),
        OperationRefusal::MemberTooFarBehind { member } => (
            Code::QuorumUnavailable,
            format!(
                "{} has been away for so many changes that no more are begun; bring it up, or remove \
                 it with `paractl admin remove {0}`",
                name(member)
            ),
        ),
        OperationRefusal::TooManyWaiting => (
            Code::Overloaded,
            "too many operations wait already; try again when some are done".to_owned(),
        ),
        OperationRefusal::NoMajority => (
            Code::QuorumUnavailable,
            "too few members answered; bring them up and try again".to_owned(),
        ),
    }
}
