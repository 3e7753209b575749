//! What is known of other nodes: what they said of themselves, and whether messages reach them.
//!
//! **Never:** speaks to anybody whose certificate does not prove its name (`NO_STRANGER`).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Address, Document, Membership, NodeId, PeerHello};

use super::disks::Disks;
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
    /// When it said so, or was linked last.
    seen: Duration,
}

/// All other nodes that were ever admitted.
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: BTreeMap<NodeId, Peer>,
}

impl Peers {
    /// A node was admitted with this hello.
    pub(super) fn admitted(&mut self, now: Duration, hello: &PeerHello) {
        let is_linked = self.is_linked(&hello.node_id);
        let peer = Peer { hello: hello.clone(), is_linked, seen: now };
        self.known.insert(hello.node_id.clone(), peer);
    }

    /// Messages reach a node.
    pub(super) fn linked(&mut self, now: Duration, hello: &PeerHello) {
        let peer = Peer { hello: hello.clone(), is_linked: true, seen: now };
        self.known.insert(hello.node_id.clone(), peer);
    }

    /// Messages do not reach it any more.
    pub(super) fn unlinked(&mut self, now: Duration, name: &NodeId) {
        if let Some(peer) = self.known.get_mut(name) {
            peer.is_linked = false;
            peer.seen = now;
        }
    }

    /// Forgets nodes that are no members and were not heard of for long, and bounds the others.
    pub(super) fn forget_strangers(&mut self, now: Duration, document: Option<&Document>) {
        let is_member = |name: &NodeId| document.is_some_and(|d| d.member_named(name).is_some());
        let mut strangers = 0;
        self.known.retain(|name, peer| {
            if peer.is_linked || is_member(name) {
                return true;
            }
            strangers += 1;
            now.saturating_sub(peer.seen) < KEEP_STRANGER && strangers <= MAX_STRANGERS
        });
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

    /// Whom to keep connections to: seeds, members, and those who came by themselves, because a node
    /// that wants to join is answered over a connection to it.
    pub(super) fn addresses(
        &self,
        own: &Address,
        seeds: &[Address],
        document: Option<&Document>,
    ) -> Vec<Address> {
        let members = document.into_iter().flat_map(|document| &document.current);
        let said = self.known.values().map(|peer| &peer.hello.address);
        let all = seeds.iter().chain(members.map(|member| &member.address)).chain(said);
        let distinct: BTreeSet<&Address> = all.filter(|address| *address != own).collect();
        distinct.into_iter().cloned().collect()
    }
}

/// Whether a node with this certificate, that says this of itself, is spoken to. `ours` is this node's
/// place in a cluster; a node without one speaks to everybody who proves a name.
pub(super) fn judge(
    own_name: &NodeId,
    certificate: &NodeId,
    hello: &PeerHello,
    document: Option<&Document>,
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
    let known = document.member_named(&hello.node_id).map(|member| member.ordinal);
    if let Some(theirs) = &hello.membership {
        judge_membership(document, &hello.node_id, theirs)?;
    }
    match known {
        Some(ordinal) if disks.is_old(ordinal, hello) => Err(HelloRefusal::OldDisk { ordinal }),
        _ => Ok(()),
    }
}

/// Whether what a node says of its place agrees with the document.
fn judge_membership(
    document: &Document,
    name: &NodeId,
    theirs: &Membership,
) -> Result<(), HelloRefusal> {
    if theirs.cluster_id != document.cluster_id {
        let (ours, theirs) = (document.cluster_id, theirs.cluster_id);
        return Err(HelloRefusal::OtherCluster { ours, theirs });
    }
    let line = (document.generation, document.rescue_id);
    if (theirs.generation, theirs.rescue_id) != line {
        let theirs = (theirs.generation, theirs.rescue_id);
        return Err(HelloRefusal::OtherGeneration { ours: line, theirs });
    }
    let named = document.member_named(name).map(|member| member.ordinal);
    // A number that this document has not given yet may come from a later one.
    let is_later = theirs.ordinal.0 >= document.next_ordinal;
    if named == Some(theirs.ordinal) || (named.is_none() && is_later) {
        return Ok(());
    }
    Err(HelloRefusal::WrongOrdinal { node_id: name.clone(), claimed: theirs.ordinal })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::worlds::{document_of, hello_of, membership, name};
    use paravon_model::ClusterId;

    fn verdict(hello: &PeerHello) -> Result<(), HelloRefusal> {
        let document = document_of(&["a", "b"]);
        judge(&name("a"), &hello.node_id, hello, Some(&document), &Disks::new(&[]))
    }

    fn member(text: &str, ordinal: u32) -> PeerHello {
        PeerHello { membership: Some(membership(ordinal)), ..hello_of(text) }
    }

    #[test]
    fn only_who_proves_its_name_and_number_is_spoken_to() {
        let document = document_of(&["a", "b"]);
        let stranger =
            judge(&name("a"), &name("x"), &member("b", 2), Some(&document), &Disks::new(&[]));
        assert!(matches!(stranger, Err(HelloRefusal::Stranger { .. })));
        assert_eq!(verdict(&member("b", 2)), Ok(()));
        assert!(matches!(verdict(&member("a", 1)), Err(HelloRefusal::OwnName { .. })));
        assert!(matches!(verdict(&member("b", 1)), Err(HelloRefusal::WrongOrdinal { .. })));
        assert!(matches!(verdict(&member("c", 2)), Err(HelloRefusal::WrongOrdinal { .. })));
        assert!(matches!(verdict(&member("b", 3)), Err(HelloRefusal::WrongOrdinal { .. })));
    }

    #[test]
    fn one_from_a_later_document_and_one_that_waits_are_spoken_to() {
        assert_eq!(verdict(&member("c", 3)), Ok(()));
        assert_eq!(verdict(&hello_of("c")), Ok(()));
        assert_eq!(verdict(&hello_of("b")), Ok(()), "it has not stored its document yet");
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
        let document = document_of(&["a", "b"]);
        let mut peers = Peers::default();
        for text in ["b", "x"] {
            peers.admitted(Duration::ZERO, &hello_of(text));
        }
        peers.forget_strangers(Duration::from_secs(61), Some(&document));
        assert!(peers.get(&name("b")).is_some() && peers.get(&name("x")).is_none());
        let dialled = peers.addresses(&Address::new("a"), &[Address::new("s")], Some(&document));
        assert_eq!(dialled, [Address::new("b"), Address::new("s")]);
    }
}
