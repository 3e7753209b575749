//! Joining, seen from the node that waits: it asks one member after the other until a document arrives
//! that contains its change.
//!
//! **Never:** becomes a member by a document that contains another change than its own: a node whose
//! disk was lost must not take over its old number. And never asks two clusters.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{ChangeId, ClusterId, Document, JoinRefusal, JoinRequest, NodeId, PeerHello};

use super::change::contains;
use super::event::{AdminToken, JoinDone, JoinFailure};
use super::peers::Peers;
use super::settings::ClusterSettings;

/// How often a member is asked; each time another one.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long an administrator waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a cluster may take to be seen.
const SEARCH: Duration = Duration::from_secs(5);

/// An answer to an administrator.
pub(super) type Answer = (AdminToken, Result<JoinDone, JoinFailure>);

/// A waiting node's way into a cluster.
#[derive(Debug)]
pub(super) struct Joiner {
    /// The name of its change, once it has asked; durable before it asks.
    change: Option<ChangeId>,
    wishes: Vec<Wish>,
    /// Whether it asks without an administrator.
    asks: Asks,
    next_ask: Duration,
    asked: usize,
    /// The cluster that was seen first; only its members are asked.
    cluster: Option<ClusterId>,
    /// A document that some member told, which does not name this node yet.
    seen: Option<Arc<Document>>,
    last_refusal: Option<JoinRefusal>,
    /// Whether the council was asked to vote for its change: nobody's refusal settles it then.
    may_still_be: bool,
}

/// An administrator's join.
#[derive(Debug)]
struct Wish {
    token: AdminToken,
    began: Duration,
    purpose: WishPurpose,
}

/// What an administrator wants of a waiting node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WishPurpose {
    /// To be told what a join would do.
    Plan,
    /// To join.
    Join,
}

/// When a node asks to be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// While an administrator waits for it.
    WhenTold,
    /// As soon as it sees a cluster.
    ByItself,
}

impl Joiner {
    /// A node whose disk holds the name of a join that it asked for.
    pub(super) fn new(settings: &ClusterSettings, change: Option<ChangeId>) -> Self {
        Self {
            change,
            wishes: Vec::new(),
            asks: if settings.auto_join { Asks::ByItself } else { Asks::WhenTold },
            next_ask: Duration::ZERO,
            asked: 0,
            cluster: None,
            seen: None,
            last_refusal: None,
            may_still_be: false,
        }
    }

    /// The name of its change.
    pub(super) fn change(&self) -> Option<ChangeId> {
        self.change
    }

    /// Whether it has asked, and goes on asking.
    pub(super) fn is_under_way(&self) -> bool {
        self.asks == Asks::ByItself
            || self.wishes.iter().any(|wish| wish.purpose == WishPurpose::Join)
    }

    /// An administrator wants it to join.
    pub(super) fn wish(&mut self, began: Duration, token: AdminToken, purpose: WishPurpose) {
        self.wishes.push(Wish { token, began, purpose });
    }

    /// A member has told this document. Whether it makes this node a member.
    pub(super) fn is_taken_in_by(&self, settings: &ClusterSettings, document: &Document) -> bool {
        let is_contained = self.change.is_some_and(|change| contains(document, change));
        let is_other = self.cluster.is_some_and(|cluster| cluster != document.cluster_id);
        is_contained && !is_other && document.member_named(&settings.node_id).is_some()
    }

    /// Keeps a document of the cluster that is seen, to know its members.
    pub(super) fn sees(&mut self, document: &Arc<Document>) {
        let is_later = |seen: &Arc<Document>| seen.revision() < document.revision();
        let cluster = *self.cluster.get_or_insert(document.cluster_id);
        if cluster == document.cluster_id && self.seen.as_ref().is_none_or(is_later) {
            self.seen = Some(Arc::clone(document));
        }
    }

    /// Whether a node that is reached, or was, belongs to a cluster.
    pub(super) fn sees_cluster(&self, peers: &Peers) -> bool {
        self.seen.is_some() || peers.all_linked().any(|hello| hello.membership.is_some())
    }

    /// The council was asked to vote for the join.
    pub(super) fn may_still_be(&mut self, change: ChangeId) {
        if self.change == Some(change) {
            self.may_still_be = true;
            self.last_refusal = None;
        }
    }

    /// A member has refused the join.
    pub(super) fn refused(&mut self, change: ChangeId, refusal: JoinRefusal) -> Vec<Answer> {
        if self.change != Some(change) {
            return Vec::new();
        }
        let is_settled = match refusal {
            JoinRefusal::NameTaken { .. } => true,
            JoinRefusal::HoldsRecords { .. } | JoinRefusal::NoMajority => !self.may_still_be,
        };
        self.last_refusal = is_settled.then_some(refusal);
        if refusal == JoinRefusal::NoMajority {
            // It may go better with another member, until the administrator's patience ends.
            return Vec::new();
        }
        let failure = self.failure();
        let answer = |wish: Wish| (wish.token, Err(failure.clone()));
        self.take_wishes(|wish| wish.purpose == WishPurpose::Join).map(answer).collect()
    }

    /// What is to be answered to administrators now.
    pub(super) fn answers(&mut self, now: Duration, peers: &Peers) -> Vec<Answer> {
        let sees_cluster = self.sees_cluster(peers);
        let mut answers = Vec::new();
        if let Some(seen) = self.seen.clone() {
            let (cluster_id, members) = (seen.cluster_id, seen.current.len() + 1);
            let planned = |wish: Wish| (wish.token, Ok(JoinDone::Planned { cluster_id, members }));
            answers.extend(self.take_wishes(|wish| wish.purpose == WishPurpose::Plan).map(planned));
        }
        let is_older = |wish: &Wish, age: Duration| now.saturating_sub(wish.began) >= age;
        if !sees_cluster {
            let nobody = |wish: Wish| (wish.token, Err(JoinFailure::NoCluster));
            answers.extend(self.take_wishes(|wish| is_older(wish, SEARCH)).map(nobody));
        }
        let failure = self.failure();
        let too_late = |wish: Wish| (wish.token, Err(failure.clone()));
        answers.extend(self.take_wishes(|wish| is_older(wish, PATIENCE)).map(too_late));
        answers
    }

    fn failure(&self) -> JoinFailure {
        self.last_refusal.map_or(JoinFailure::TimedOut, JoinFailure::Refused)
    }

    /// All who wait are to be told of the success.
    pub(super) fn waiting(&mut self) -> Vec<AdminToken> {
        self.take_wishes(|_| true).map(|wish| wish.token).collect()
    }

    fn take_wishes(&mut self, which: impl Fn(&Wish) -> bool) -> impl Iterator<Item = Wish> {
        let (taken, left) = core::mem::take(&mut self.wishes).into_iter().partition(which);
        self.wishes = left;
        let taken: Vec<Wish> = taken;
        taken.into_iter()
    }

    /// Whom of those that are reached to ask next.
    fn next_member(&mut self, peers: &Peers) -> Option<NodeId> {
        let told = |hello: &PeerHello| hello.membership.as_ref().map(|place| place.cluster_id);
        let first = self.cluster.or_else(|| peers.all_linked().find_map(told))?;
        self.cluster = Some(first);
        let is_member = |hello: &&PeerHello| match told(hello) {
            Some(cluster) => cluster == first,
            None => {
                let seen = self.seen.as_ref();
                seen.is_some_and(|document| document.member_named(&hello.node_id).is_some())
            }
        };
        let members: Vec<&PeerHello> = peers.all_linked().filter(is_member).collect();
        let chosen = members.get(self.asked % members.len().max(1))?;
        Some(chosen.node_id.clone())
    }

    /// Whom to ask now, and what. `fresh` names the change where it has no name yet.
    pub(super) fn ask(
        &mut self,
        now: Duration,
        settings: &ClusterSettings,
        peers: &Peers,
        fresh: ChangeId,
    ) -> Option<(NodeId, JoinRequest)> {
        if !self.is_under_way() || now < self.next_ask {
            return None;
        }
        let whom = self.next_member(peers)?;
        self.asked += 1;
        self.next_ask = now.saturating_add(ASK_AGAIN);
        let change = *self.change.get_or_insert(fresh);
        let request = JoinRequest {
            change,
            node_id: settings.node_id.clone(),
            size: settings.size,
            zone: settings.zone.clone(),
            address: settings.address.clone(),
        };
        Some((whom, request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::change::Change;
    use crate::cluster::worlds::{
        document_of, hello_of, join_request, membership, name, settings_of,
    };
    use paravon_model::{Membership, PeerHello};

    const START: Duration = Duration::ZERO;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn members(names: &[&str]) -> Peers {
        let mut peers = Peers::default();
        for (ordinal, text) in (1..).zip(names) {
            let membership = Some(membership(ordinal));
            peers.linked(START, &PeerHello { membership, ..hello_of(text) });
        }
        peers
    }

    #[test]
    fn it_asks_one_member_after_the_other_by_one_name() {
        let settings = settings_of("x", &["a"]);
        let peers = members(&["a", "b"]);
        let mut joiner = Joiner::new(&settings, None);
        assert_eq!(joiner.ask(START, &settings, &peers, ChangeId(1)), None, "nobody wants it");
        joiner.wish(START, AdminToken(1), WishPurpose::Join);
        let first = joiner.ask(START, &settings, &peers, ChangeId(1)).expect("it asks");
        assert_eq!(joiner.ask(START, &settings, &peers, ChangeId(2)), None);
        let second = joiner.ask(seconds(1), &settings, &peers, ChangeId(2)).expect("again");
        assert_eq!((first.0, second.0), (name("a"), name("b")));
        assert_eq!((first.1.change, second.1.change), (ChangeId(1), ChangeId(1)));
    }

    #[test]
    fn it_asks_and_enters_one_cluster_alone() {
        let settings = settings_of("x", &["a"]);
        let mut peers = members(&["b", "c"]);
        let mut joiner = Joiner::new(&settings, None);
        joiner.wish(START, AdminToken(1), WishPurpose::Join);
        let mut asked = Vec::new();
        for second in 0..6 {
            let ask = joiner.ask(seconds(second), &settings, &peers, ChangeId(5));
            asked.extend(ask.map(|(whom, _)| whom));
            let place = Membership { cluster_id: ClusterId(2), ..membership(1) };
            peers.linked(START, &PeerHello { membership: Some(place), ..hello_of("a") });
        }
        assert_eq!(asked, ["b", "c", "b", "c", "b", "c"].map(name));

        let change = Change::AddMembers([join_request("x", 5)].into());
        let own = change.successor(&document_of(&["b", "c"])).expect("x joins");
        let other = Document { cluster_id: ClusterId(2), ..own.clone() };
        assert!(joiner.is_taken_in_by(&settings, &own));
        assert!(!joiner.is_taken_in_by(&settings, &other));
        joiner.sees(&Arc::new(other));
        assert!(joiner.seen.is_none());
    }

    #[test]
    fn only_a_document_with_its_own_change_takes_it_in() {
        let settings = settings_of("x", &["a"]);
        let change = Change::AddMembers([join_request("x", 5)].into());
        let document = change.successor(&document_of(&["a"])).expect("x joins");
        assert!(Joiner::new(&settings, Some(ChangeId(5))).is_taken_in_by(&settings, &document));
        assert!(!Joiner::new(&settings, None).is_taken_in_by(&settings, &document), "a lost disk");
        assert!(!Joiner::new(&settings, Some(ChangeId(6))).is_taken_in_by(&settings, &document));
    }

    #[test]
    fn an_administrator_is_answered_in_every_case() {
        let settings = settings_of("x", &["a"]);
        let nobody = Peers::default();
        let peers = members(&["a"]);
        let mut joiner = Joiner::new(&settings, None);
        joiner.wish(START, AdminToken(1), WishPurpose::Join);
        assert_eq!(joiner.answers(seconds(4), &nobody), []);
        let none = [(AdminToken(1), Err(JoinFailure::NoCluster))];
        assert_eq!(joiner.answers(seconds(5), &nobody), none);

        joiner.wish(START, AdminToken(2), WishPurpose::Plan);
        joiner.sees(&Arc::new(document_of(&["a"])));
        let planned = joiner.answers(START, &peers);
        assert!(matches!(planned[..], [(AdminToken(2), Ok(JoinDone::Planned { members: 2, .. }))]));

        joiner.wish(START, AdminToken(3), WishPurpose::Join);
        let (_, request) = joiner.ask(START, &settings, &peers, ChangeId(9)).expect("it asks");
        assert_eq!(joiner.refused(request.change, JoinRefusal::NoMajority), []);
        let late = [(AdminToken(3), Err(JoinFailure::Refused(JoinRefusal::NoMajority)))];
        assert_eq!(joiner.answers(seconds(30), &peers), late);

        joiner.wish(START, AdminToken(4), WishPurpose::Join);
        let taken = JoinRefusal::HoldsRecords { member: paravon_model::Ordinal(1) };
        let refused = joiner.refused(request.change, taken);
        assert_eq!(refused, [(AdminToken(4), Err(JoinFailure::Refused(taken)))]);
    }

    #[test]
    fn what_the_council_was_asked_to_vote_for_may_still_be() {
        let settings = settings_of("x", &["a"]);
        let peers = members(&["a"]);
        let mut joiner = Joiner::new(&settings, None);
        joiner.wish(START, AdminToken(1), WishPurpose::Join);
        joiner.ask(START, &settings, &peers, ChangeId(9)).expect("it asks");
        joiner.refused(ChangeId(9), JoinRefusal::NoMajority);
        joiner.may_still_be(ChangeId(9));
        let timed_out = |token| [(AdminToken(token), Err(JoinFailure::TimedOut))];
        assert_eq!(joiner.refused(ChangeId(9), JoinRefusal::NoMajority), []);
        assert_eq!(joiner.answers(seconds(30), &peers), timed_out(1));
        joiner.wish(START, AdminToken(2), WishPurpose::Join);
        let holds = JoinRefusal::HoldsRecords { member: paravon_model::Ordinal(1) };
        assert_eq!(joiner.refused(ChangeId(9), holds), timed_out(2));
        joiner.wish(START, AdminToken(3), WishPurpose::Join);
        let taken = JoinRefusal::NameTaken { member: paravon_model::Ordinal(1) };
        let refused = [(AdminToken(3), Err(JoinFailure::Refused(taken)))];
        assert_eq!(joiner.refused(ChangeId(9), taken), refused);
    }
}
