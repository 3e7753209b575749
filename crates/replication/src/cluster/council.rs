//! Who decides the next cluster document, and how: document n+1 is the decision of its own
//! single-decree Paxos (Lamport, "Paxos Made Simple", 2001) among the council that document n names
//! (`LAYOUT_AGREES`). Acceptor and proposer of one node, without time, network or disk.
//!
//! ```text
//!  propose --> Prepare{n, ballot} --> council(n) --> Promise | Outbid | Document
//!              Accept{n, ballot, n+1} -> council(n) --> Vote | Outbid | Document
//!              Document n+1 --> council(n+1)
//! ```
//!
//! **Architecture invariants:** an acceptor stores document n before it votes in instance n+1, keeps
//! one vote slot, for the instance after its document, and never votes at or below a document that it
//! knows. What [`Council::hear`] and [`Council::propose`] say may be spoken only once
//! [`Council::document`] and [`Council::vote`] are durable as they stood then: that makes ballots
//! unique and votes binding also across a crash.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use paravon_model::{
    Accepted, Ballot, ClusterMessage, CouncilMessage, Document, NodeId, Ordinal, VoteSlot, majority,
};

use super::change::{Change, council_names};
use super::known_document::KnownDocument;

/// What is to be said to whom; to oneself as well.
pub(super) type Speech = (NodeId, ClusterMessage);

/// A node's part in deciding documents.
#[derive(Clone, Debug)]
pub(super) struct Council {
    ordinal: Ordinal,
    document: KnownDocument,
    vote: VoteSlot,
    attempt: Option<Attempt>,
    /// The largest round that others were heard to use in this instance.
    largest_round: u64,
}

/// A ballot of this node's own, not durable: a crash forgets it, and the next is a larger one.
#[derive(Clone, Debug)]
struct Attempt {
    ballot: Ballot,
    change: Change,
    stage: Stage,
    /// Council members that answered in this stage.
    answered: BTreeSet<Ordinal>,
}

/// How far an attempt is.
#[derive(Clone, Debug)]
enum Stage {
    /// Collecting promises, and the vote of the largest ballot among them.
    Promises { best: Option<Accepted> },
    /// Collecting votes for this document.
    Votes { value: Arc<Document> },
}

impl Council {
    /// The part of member `ordinal`, whose disk holds this document and this vote.
    pub(super) fn new(ordinal: Ordinal, document: Arc<Document>, vote: VoteSlot) -> Self {
        let document = KnownDocument::new(document);
        Self { ordinal, document, vote, attempt: None, largest_round: 0 }
    }

    /// The latest document known, to be durable before anything is said of it.
    pub(super) fn document(&self) -> &KnownDocument {
        &self.document
    }

    /// The vote slot of the instance after that document, to be durable likewise.
    pub(super) fn vote(&self) -> &VoteSlot {
        &self.vote
    }

    /// The whole state as numbers, for a test that compares states.
    #[cfg(test)]
    pub(super) fn encode(&self, key: &mut Vec<u64>, number: &mut dyn FnMut(&Document) -> u16) {
        let bits = |ballot: Ballot| ballot.round << 8 | u64::from(ballot.proposer);
        let mut vote = |accepted: &Option<Accepted>, key: &mut Vec<u64>| match accepted {
            None => key.push(0),
            Some(vote) => key.extend([bits(vote.ballot), number(&vote.value).into()]),
        };
        key.push(bits(self.vote.promised));
        vote(&self.vote.accepted, key);
        key.push(self.largest_round);
        if let Some(attempt) = &self.attempt {
            key.push(bits(attempt.ballot));
            key.extend(attempt.answered.iter().map(|ordinal| u64::from(ordinal.0)));
            match &attempt.stage {
                Stage::Promises { best } => vote(best, key),
                Stage::Votes { value } => key.extend([u64::MAX, number(value).into()]),
            }
        }
        key.extend([number(&self.document).into(), u64::MAX]);
    }

    /// Whether a ballot of this node's own is under way: all that a crash forgets.
    #[cfg(test)]
    pub(super) fn is_proposing(&self) -> bool {
        self.attempt.is_some()
    }

    /// Takes over a document that somebody knows to be decided, if it is later; whether it was.
    pub(super) fn learn(&mut self, document: &Arc<Document>) -> bool {
        let continues = is_same_line(&self.document, document)
            || is_rescue_of(&self.document, document, self.ordinal);
        if !continues || document.revision() <= self.document.revision() {
            return false;
        }
        self.document = KnownDocument::new(Arc::clone(document));
        self.vote = VoteSlot::default();
        self.attempt = None;
        self.largest_round = 0;
        true
    }

    /// Begins a ballot for `change`, above all that this node knows of; false where the document
    /// contains it already. Its own slot is raised first, so that no crash makes it use the ballot
    /// twice.
    pub(super) fn propose(&mut self, change: &Change, out: &mut Vec<Speech>) -> bool {
        if change.successor(&self.document).is_none() {
            self.attempt = None;
            return false;
        }
        let round = self.largest_round.max(self.vote.promised.round).saturating_add(1);
        let ballot = Ballot { round, proposer: self.ordinal.0 };
        self.vote.promised = ballot;
        self.attempt = Some(Attempt {
            ballot,
            change: change.clone(),
            stage: Stage::Promises { best: None },
            answered: BTreeSet::new(),
        });
        self.ask_council(
            &CouncilMessage::Prepare { base: Arc::clone(&self.document), ballot },
            out,
        );
        true
    }

    /// The document that votes are being asked for.
    pub(super) fn asks_votes_for(&self) -> Option<&Document> {
        match &self.attempt.as_ref()?.stage {
            Stage::Promises { .. } => None,
            Stage::Votes { value } => Some(value),
        }
    }

    /// Gives up a ballot under way: late votes decide nothing through this node any more.
    pub(super) fn give_up(&mut self) {
        self.attempt = None;
    }

    /// Takes a message that `from`, proved by its certificate, has said.
    pub(super) fn hear(&mut self, from: &NodeId, message: CouncilMessage, out: &mut Vec<Speech>) {
        match message {
            CouncilMessage::Prepare { base, ballot } => {
                if self.takes_part(from, &base, ballot, out) {
                    self.promise(from, ballot, out);
                }
            }
            CouncilMessage::Accept { base, ballot, value } => {
                let follows = is_same_line(&base, &value) && value.version == base.version + 1;
                if follows && self.takes_part(from, &base, ballot, out) {
                    self.accept(from, Accepted { ballot, value }, out);
                }
            }
            CouncilMessage::Promise { base, ballot, accepted } => {
                if base == self.document.revision() {
                    self.promised(from, ballot, accepted, out);
                }
            }
            CouncilMessage::Vote { base, ballot } => {
                if base == self.document.revision() {
                    self.voted(from, ballot, out);
                }
            }
            CouncilMessage::Outbid { base, ballot, promised } => {
                if base == self.document.revision() {
                    self.outbid(ballot, promised);
                }
            }
        }
    }

    /// Whether this node votes in the instance after `base`; makes it ready to. Whoever knows a later
    /// document answers with it instead.
    fn takes_part(
        &mut self,
        from: &NodeId,
        base: &Arc<Document>,
        ballot: Ballot,
        out: &mut Vec<Speech>,
    ) -> bool {
        let proposer = base.member_named(from).map(|member| member.ordinal.0);
        if !is_same_line(&self.document, base) || proposer != Some(ballot.proposer) {
            return false;
        }
        self.learn(base);
        if self.document.revision() > base.revision() {
            out.push((from.clone(), ClusterMessage::Document(Arc::clone(&self.document))));
            return false;
        }
        self.largest_round = self.largest_round.max(ballot.round);
        self.document.council.contains(&self.ordinal)
    }

    /// Acceptor, phase 1.
    fn promise(&mut self, from: &NodeId, ballot: Ballot, out: &mut Vec<Speech>) {
        if ballot < self.vote.promised {
            return self.refuse(from, ballot, out);
        }
        self.vote.promised = ballot;
        let accepted = self.vote.accepted.clone();
        let base = self.document.revision();
        say(from, CouncilMessage::Promise { base, ballot, accepted }, out);
    }

    /// Acceptor, phase 2.
    fn accept(&mut self, from: &NodeId, accepted: Accepted, out: &mut Vec<Speech>) {
        let ballot = accepted.ballot;
        if ballot < self.vote.promised {
            return self.refuse(from, ballot, out);
        }
        self.vote.promised = ballot;
        self.vote.accepted = Some(accepted);
        say(from, CouncilMessage::Vote { base: self.document.revision(), ballot }, out);
    }

    fn refuse(&self, from: &NodeId, ballot: Ballot, out: &mut Vec<Speech>) {
        let base = self.document.revision();
        let promised = self.vote.promised;
        say(from, CouncilMessage::Outbid { base, ballot, promised }, out);
    }

    /// The attempt of this ballot, where `from` is of the council.
    fn attempt_of(&mut self, from: &NodeId, ballot: Ballot) -> Option<(Ordinal, &mut Attempt)> {
        let ordinal = self.document.ordinal_of(from)?;
        let is_council = self.document.council.contains(&ordinal);
        let attempt = self.attempt.as_mut().filter(|attempt| attempt.ballot == ballot)?;
        is_council.then_some((ordinal, attempt))
    }

    /// Proposer, phase 1. With a majority of promises it asks for votes: for what was voted for in
    /// the largest ballot promised with, and only where nobody voted for its own change.
    fn promised(
        &mut self,
        from: &NodeId,
        ballot: Ballot,
        accepted: Option<Accepted>,
        out: &mut Vec<Speech>,
    ) {
        let majority = self.majority();
        let document = Arc::clone(&self.document);
        let Some((ordinal, attempt)) = self.attempt_of(from, ballot) else { return };
        let Stage::Promises { best } = &mut attempt.stage else { return };
        attempt.answered.insert(ordinal);
        if accepted.as_ref().map(|vote| vote.ballot) > best.as_ref().map(|vote| vote.ballot) {
            *best = accepted;
        }
        if attempt.answered.len() < majority {
            return;
        }
        let derived = || attempt.change.successor(&document).map(Arc::new);
        let Some(value) = best.take().map(|vote| vote.value).or_else(derived) else {
            self.attempt = None;
            return;
        };
        attempt.stage = Stage::Votes { value: Arc::clone(&value) };
        attempt.answered.clear();
        self.ask_council(&CouncilMessage::Accept { base: document, ballot, value }, out);
    }

    /// Proposer, phase 2. Whoever decides tells the next council before anything else.
    fn voted(&mut self, from: &NodeId, ballot: Ballot, out: &mut Vec<Speech>) {
        let majority = self.majority();
        let Some((ordinal, attempt)) = self.attempt_of(from, ballot) else { return };
        let Stage::Votes { value } = &attempt.stage else { return };
        attempt.answered.insert(ordinal);
        if attempt.answered.len() < majority {
            return;
        }
        let decided = Arc::clone(value);
        self.learn(&decided);
        for name in council_names(&decided) {
            out.push((name.clone(), ClusterMessage::Document(Arc::clone(&decided))));
        }
    }

    /// Proposer: somebody promised more. The attempt ends; the next overtakes.
    fn outbid(&mut self, ballot: Ballot, promised: Ballot) {
        self.largest_round = self.largest_round.max(promised.round);
        self.attempt.take_if(|attempt| attempt.ballot == ballot);
    }

    fn majority(&self) -> usize {
        majority(self.document.council.len())
    }

    fn ask_council(&self, message: &CouncilMessage, out: &mut Vec<Speech>) {
        for name in council_names(&self.document) {
            say(name, message.clone(), out);
        }
    }
}

fn say(to: &NodeId, message: CouncilMessage, out: &mut Vec<Speech>) {
    out.push((to.clone(), ClusterMessage::Council(message)));
}

/// Whether two documents belong to one history: of one cluster, generation and rescue.
pub(super) fn is_same_line(a: &Document, b: &Document) -> bool {
    (a.cluster_id, a.generation, a.rescue_id) == (b.cluster_id, b.generation, b.rescue_id)
}

/// Whether `later` is a rescue of the cluster of `document` in which this member is one of those that
/// are left. One that began from an earlier document than this is not taken over: it does not know of
/// what was decided since.
pub(super) fn is_rescue_of(document: &Document, later: &Document, member: Ordinal) -> bool {
    later.cluster_id == document.cluster_id
        && later.generation > document.generation
        && later.version > document.version
        && later.member(member) == document.member(member)
        && later.member(member).is_some()
        && !later.given_up().contains(&member)
}
