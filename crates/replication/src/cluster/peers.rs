//! What is known of other nodes: what they said of themselves, and whether messages reach them.
//!
//! **Never:** speaks to anybody whose certificate does not prove its name (`NO_STRANGER`).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Address, Document, Membership, NodeId, PeerHello};

use super::disks::Disks;
use super::known_document::KnownDocument;
use super::refusal::HelloRefusal;

/// How long the address of a node that is no member is kept without a connection to it.
const KEEP_STRANGER: Duration = Duration::from_secs(60);

/// How many nodes are kept that are no members.
const MAX_STRANGERS: usize = 256;

/// Another node.
#[derive(Debug)]
pub(super) struct Peer {
    /// What it said of itself last.
    pub(super) hello: PeerHello,
    /// Whether messages reach it.
    pub(super) is_linked: bool,
    /// Whether it was a member of this node's cluster at some time.
    pub(super) was_member: bool,
    /// When it said so, or was linked last.
    seen: Duration,
}

/// All other nodes that were ever admitted.
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: BTreeMap<NodeId, Peer>,
    moves: Moves,
}

/// What has become of the addresses that nodes said.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// Said by nodes that were not known before.
    pub(super) said: Vec<Address>,
    /// Whether a known one says another address now, or is forgotten.
    pub(super) is_one_gone: bool,
}

impl Peers {
    /// A node was admitted with this hello.
    pub(super) fn admitted(&mut self, now: Duration, hello: &PeerHello) {
        let is_linked = self.is_linked(&hello.node_id);
        self.say(now, hello, is_linked);
    }

    /// Messages reach a node.
    pub(super) fn linked(&mut self, now: Duration, hello: &PeerHello) {
        self.say(now, hello, true);
    }

    fn say(&mut self, now: Duration, hello: &PeerHello, is_linked: bool) {
        let known = self.known.get(&hello.node_id);
        let was_member = known.is_some_and(|peer| peer.was_member) || hello.membership.is_some();
        match known {
            None => self.moves.said.push(hello.address.clone()),
            Some(peer) => self.moves.is_one_gone |= peer.hello.address != hello.address,
        }
        let peer = Peer { hello: hello.clone(), is_linked, was_member, seen: now };
        self.known.insert(hello.node_id.clone(), peer);
    }

    /// These are members now.
    pub(super) fn note_members(&mut self, document: &KnownDocument) {
        for (name, peer) in &mut self.known {
            peer.was_member |= document.ordinal_of(name).is_some();
        }
    }

    /// Linked nodes that have been members and are none any more.
    pub(super) fn departed(&self, document: &KnownDocument) -> impl Iterator<Item = &NodeId> {
        let linked = self.known.iter().filter(|(_, peer)| peer.is_linked && peer.was_member);
        linked.map(|(name, _)| name).filter(|name| has_left(document, name))
    }

    /// Messages do not reach it any more.
    pub(super) fn unlinked(&mut self, now: Duration, name: &NodeId) {
        if let Some(peer) = self.known.get_mut(name) {
            peer.is_linked = false;
            peer.seen = now;
        }
    }

    /// Forgets nodes that are no members and were not heard of for long, and bounds the others.
    pub(super) fn forget_strangers(&mut self, now: Duration, document: Option<&KnownDocument>) {
        let is_member = |name: &NodeId| document.is_some_and(|d| d.ordinal_of(name).is_some());
        let mut strangers = 0;
        let before = self.known.len();
        self.known.retain(|name, peer| {
            if peer.is_linked || is_member(name) {
                return true;
            }
            strangers += 1;
            now.saturating_sub(peer.seen) < KEEP_STRANGER && strangers <= MAX_STRANGERS
        });
        self.moves.is_one_gone |= self.known.len() < before;
    }

    /// Whether messages reach this node.
    pub(super) fn is_linked(&self, name: &NodeId) -> bool {
        self.known.get(name).is_some_and(|peer| peer.is_linked)
    }

    /// What this node said of itself.
    pub(super) fn get(&self, name: &NodeId) -> Option<&Peer> {
        self.known.get(name)
    }

    /// All nodes that messages reach, by name.
    pub(super) fn all_linked(&self) -> impl Iterator<Item = &PeerHello> {
        self.known.values().filter(|peer| peer.is_linked).map(|peer| &peer.hello)
    }

    /// The node that messages reach and that says that it is reached at this address.
    pub(super) fn linked_at(&self, address: &Address) -> Option<&PeerHello> {
        self.all_linked().find(|hello| hello.address == *address)
    }

    /// The addresses of all nodes that were admitted and not forgotten.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.known.values().map(|peer| &peer.hello.address)
    }

    /// What has become of these addresses since this was asked last.
    pub(super) fn take_moves(&mut self) -> Moves {
        core::mem::take(&mut self.moves)
    }
}

/// Whether a node of this name has left, which may have come to take the place of its like and still be
/// named by that.
fn has_left(document: &KnownDocument, name: &NodeId) -> bool {
    let Some(named) = document.ordinal_of(name) else { return true };
    let came = document.past.iter().flat_map(|change| &change.to.members);
    came.filter(|member| member.node_id == *name).any(|member| member.ordinal > named)
}

/// Whether a node with this certificate, that says this of itself, is spoken to. `ours` is this node's
/// place in a cluster; a node without one speaks to everybody who proves a name.
pub(super) fn judge(
    own_name: &NodeId,
    certificate: &NodeId,
    hello: &PeerHello,
    document: Option<&KnownDocument>,
    disks: &Disks,
) -> Result<(), HelloRefusal> {
    if certificate != &hello.node_id {
        let (certificate, claimed) = (certificate.clone(), hello.node_id.clone());
        return Err(HelloRefusal::Stranger { certificate, claimed });
    }
    if hello.node_id == *own_name {
        return Err(HelloRefusal::OwnName { node_id: own_name.clone() });
    }
    let Some(document) = document else { return Ok(()) };
    let known = document.ordinal_of(&hello.node_id);
    if let Some(theirs) = &hello.membership {
        judge_membership(document, &hello.node_id, theirs)?;
    }
    match hello.membership {
        Some(theirs) if known == Some(theirs.ordinal) && disks.is_old(theirs.ordinal, hello) => {
            Err(HelloRefusal::OldDisk { ordinal: theirs.ordinal })
        }
        _ => Ok(()),
    }
}

/// Whether what a node says of its place agrees with the document.
fn judge_membership(
    document: &KnownDocument,
    name: &NodeId,
    theirs: &Membership,
) -> Result<(), HelloRefusal> {
    if theirs.cluster_id != document.cluster_id {
        let (ours, theirs) = (document.cluster_id, theirs.cluster_id);
        return Err(HelloRefusal::OtherCluster { ours, theirs });
    }
    let line = (document.generation, document.rescue_id);
    if (theirs.generation, theirs.rescue_id) != line && !may_tell_of_rescue(document, name, theirs)
    {
        let theirs = (theirs.generation, theirs.rescue_id);
        return Err(HelloRefusal::OtherGeneration { ours: line, theirs });
    }
    let named = document.ordinal_of(name);
    // A number that this document has not given yet may come from a later one.
    let is_later = theirs.ordinal.0 >= document.next_ordinal;
    // One that has left while it was away has to hear of it, unless its like is there by a later number.
    let is_gone = document.member(theirs.ordinal).is_none();
    let has_left = is_gone && named.is_none_or(|named| named < theirs.ordinal);
    if named == Some(theirs.ordinal) || is_later || has_left {
        return Ok(());
    }
    let (node_id, claimed) = (name.clone(), theirs.ordinal);
    // Numbers are given once: whoever claims this one is not what the later one stands for, and may not
    // be taken for it even while nobody has come by that.
    Err(if is_gone {
        HelloRefusal::Removed { node_id, claimed }
    } else {
        HelloRefusal::WrongOrdinal { node_id, claimed }
    })
}

/// Whether one of the two was left by a rescue that the other has not heard of: it is to be told.
fn may_tell_of_rescue(document: &Document, name: &NodeId, theirs: &Membership) -> bool {
    let named = document.member(theirs.ordinal).filter(|member| member.node_id == *name);
    named.is_some()
        && theirs.generation != document.generation
        && !document.given_up().contains(&theirs.ordinal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::change::{Change, Fate};
    use crate::cluster::worlds::{
        begun, document_of, finished, hello_of, membership, name, newcomer,
    };
    use alloc::sync::Arc;
    use paravon_model::{ClusterId, OperationKind, Ordinal};

    fn known(document: Document) -> KnownDocument {
        KnownDocument::new(Arc::new(document))
    }

    fn verdict(hello: &PeerHello) -> Result<(), HelloRefusal> {
        let document = known(document_of(&["a", "b"]));
        judge(&name("a"), &hello.node_id, hello, Some(&document), &Disks::new(&[]))
    }

    fn member(text: &str, ordinal: u32) -> PeerHello {
        PeerHello { membership: Some(membership(ordinal)), ..hello_of(text) }
    }

    #[test]
    fn only_who_proves_its_name_and_number_is_spoken_to() {
        let document = known(document_of(&["a", "b"]));
        let stranger =
            judge(&name("a"), &name("x"), &member("b", 2), Some(&document), &Disks::new(&[]));
        assert!(matches!(stranger, Err(HelloRefusal::Stranger { .. })));
        assert_eq!(verdict(&member("b", 2)), Ok(()));
        assert!(matches!(verdict(&member("a", 1)), Err(HelloRefusal::OwnName { .. })));
        assert!(matches!(verdict(&member("b", 1)), Err(HelloRefusal::WrongOrdinal { .. })));
        assert!(matches!(verdict(&member("c", 2)), Err(HelloRefusal::WrongOrdinal { .. })));
    }

    #[test]
    fn one_from_a_later_document_and_one_that_waits_are_spoken_to() {
        assert_eq!(verdict(&member("c", 3)), Ok(()));
        assert_eq!(verdict(&member("b", 3)), Ok(()), "it may have been replaced by its like");
        assert_eq!(verdict(&hello_of("c")), Ok(()));
        assert_eq!(verdict(&hello_of("b")), Ok(()), "it has not stored its document yet");
    }

    #[test]
    fn one_that_has_left_is_spoken_to_and_one_that_was_replaced_by_its_like_is_not() {
        let removed = [(1, OperationKind::Remove { member: Ordinal(2) })];
        let by = newcomer("b");
        let replaced = [(1, OperationKind::Replace { member: Ordinal(2), by })];
        let hello = member("b", 2);
        let verdict = |document| {
            judge(&name("a"), &name("b"), &hello, Some(&known(document)), &Disks::new(&[]))
        };
        let joint = |operations| begun(&document_of(&["a", "b"]), operations);
        assert_eq!(verdict(finished(&joint(&removed))), Ok(()));
        let refusal = verdict(finished(&joint(&replaced))).expect_err("its like is there");
        assert_eq!(refusal.name(), "removed");
        let refusal = verdict(joint(&replaced)).expect_err("its like is to come");
        assert_eq!(refusal.name(), "wrong_ordinal", "the number may stay");
    }

    #[test]
    fn nobody_is_called_removed_by_another_generation_or_by_a_change_that_is_given_up() {
        let replace = OperationKind::Replace { member: Ordinal(2), by: newcomer("b") };
        let joint = begun(&document_of(&["a", "b"]), &[(1, replace)]);
        let cancel = Change::Cancel { fence: joint.fence, fate: Fate::GivenUp };
        let cancelled = cancel.successor(&joint).expect("it is under way");
        let name_of = |document: Document, generation| {
            let place = Membership { generation, ..membership(2) };
            let hello = PeerHello { membership: Some(place), ..hello_of("b") };
            let verdict =
                judge(&name("a"), &name("b"), &hello, Some(&known(document)), &Disks::new(&[]));
            verdict.err().map(|refusal| refusal.name())
        };
        assert_eq!(name_of(finished(&joint), 0), Some("removed"));
        assert_eq!(name_of(finished(&joint), 1), Some("wrong_cluster"));
        assert_eq!(name_of(joint, 0), Some("wrong_ordinal"));
        assert_eq!(name_of(cancelled, 0), None);
    }

    #[test]
    fn one_that_came_for_its_like_in_vain_hears_that_it_has_left() {
        let replace = OperationKind::Replace { member: Ordinal(2), by: newcomer("b") };
        let joint = begun(&document_of(&["a", "b"]), &[(1, replace)]);
        let cancel = Change::Cancel { fence: joint.fence, fate: Fate::GivenUp };
        let cancelled = known(cancel.successor(&joint).expect("it is under way"));
        let joint = known(joint);
        let mut peers = Peers::default();
        peers.linked(Duration::ZERO, &hello_of("b"));
        peers.note_members(&joint);
        assert_eq!(peers.departed(&joint).next(), None);
        assert_eq!(peers.departed(&cancelled).next(), Some(&name("b")));
        let hello = member("b", 3);
        let verdict = judge(&name("a"), &name("b"), &hello, Some(&cancelled), &Disks::new(&[]));
        assert_eq!(verdict, Ok(()));
    }

    #[test]
    fn another_cluster_or_generation_is_not() {
        let mut hello = member("b", 2);
        hello.membership = Some(Membership { cluster_id: ClusterId(2), ..membership(2) });
        let refusal = verdict(&hello).expect_err("another cluster");
        assert_eq!(refusal.name(), "wrong_cluster");
        hello.membership = Some(Membership { rescue_id: 9, ..membership(2) });
        assert!(matches!(verdict(&hello), Err(HelloRefusal::OtherGeneration { .. })));
    }

    #[test]
    fn a_stranger_that_is_silent_is_forgotten_and_a_member_is_not() {
        let document = known(document_of(&["a", "b"]));
        let mut peers = Peers::default();
        for text in ["b", "x"] {
            peers.admitted(Duration::ZERO, &hello_of(text));
        }
        peers.forget_strangers(Duration::from_secs(61), Some(&document));
        assert!(peers.get(&name("b")).is_some() && peers.get(&name("x")).is_none());
    }
}
