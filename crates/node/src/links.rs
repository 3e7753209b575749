//! The links of one event loop to other nodes, as its core sees them: whom they reach, and what is to
//! be sent over them.
//!
//! A link belongs to an address until its handshake has told whom it reaches. Where two addresses lead
//! to one node, the first link is used and the other one waits. **Never:** touches a socket; that is
//! `peer_link`'s.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::Waker;

use paravon_model::{Address, ClusterMessage, NodeId, Ordinal, PeerHello, ReplicaRequest};
use paravon_protocol::{encode_cluster_message, encode_replica_request};

/// Bytes that may wait on one link: what clients may have under way on a loop, so that only a peer that
/// does not read gets there. Past it the link ends and is dialled again.
const MAX_QUEUED_BYTES: usize = 64 * 1024 * 1024;

/// What the core and the task of one link share.
#[derive(Default)]
pub(crate) struct Link {
    /// Frames for the task to take.
    queue: RefCell<Vec<u8>>,
    /// Bytes that the task has taken and not sent.
    pub(crate) unsent: Cell<usize>,
    state: Cell<LinkState>,
    waker: Cell<Option<Waker>>,
}

/// Whether a link goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// It does.
    #[default]
    Open,
    /// The peer does not read; it is to be dialled again.
    Overrun,
    /// The ends admitted each other before this node went on after a rescue; it is to be dialled again.
    Outdated,
    /// It is not wanted any more.
    Unwanted,
}

impl Link {
    /// Whether it goes on.
    pub(crate) fn state(&self) -> LinkState {
        self.state.get()
    }

    /// Ends it for good.
    pub(crate) fn stop(&self) {
        self.state.set(LinkState::Unwanted);
        self.wake();
    }

    /// Ends its connection; it is dialled again.
    pub(crate) fn outdate(&self) {
        if self.state.get() != LinkState::Unwanted {
            self.state.set(LinkState::Outdated);
        }
        self.wake();
    }

    /// Empties it for a new connection, unless it is not wanted any more.
    pub(crate) fn renew(&self) {
        if self.state.get() != LinkState::Unwanted {
            self.state.set(LinkState::Open);
        }
        self.queue.take();
        self.unsent.set(0);
    }

    /// Adds frames to what waits.
    pub(crate) fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.state.get() != LinkState::Open {
            return;
        }
        let mut queue = self.queue.borrow_mut();
        write(&mut queue);
        if queue.len() + self.unsent.get() > MAX_QUEUED_BYTES {
            self.state.set(LinkState::Overrun);
        }
        drop(queue);
        self.wake();
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Moves what waits to the end of `out`.
    pub(crate) fn drain_to(&self, out: &mut Vec<u8>) {
        let mut queue = self.queue.borrow_mut();
        if out.is_empty() {
            std::mem::swap(out, &mut queue);
        } else {
            out.append(&mut queue);
        }
    }

    /// Lets its task run when there is something to do.
    pub(crate) fn await_news(&self, waker: Option<Waker>) {
        self.waker.set(waker);
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A link whose handshake is done.
struct Up {
    link: Rc<Link>,
    hello: PeerHello,
}

/// What became of a node's reachability.
pub(crate) enum LinkChange {
    /// Nothing that anybody has to know.
    None,
    /// The link in use is gone.
    Lost,
    /// The link in use is gone, and another one takes its place.
    Replaced(PeerHello),
}

/// All links of a loop.
#[derive(Default)]
pub(crate) struct Links {
    up: HashMap<NodeId, Vec<Up>>,
    /// The links in use to members.
    members: HashMap<Ordinal, Rc<Link>>,
    wanted: Vec<Address>,
    rewanted: bool,
}

impl Links {
    /// Asks for links to these addresses and no others.
    pub(crate) fn want(&mut self, addresses: Vec<Address>) {
        if self.wanted != addresses {
            self.wanted = addresses;
            self.rewanted = true;
        }
    }

    /// Whether [`want`](Self::want) has changed something since [`take_wanted`](Self::take_wanted).
    pub(crate) fn has_rewanted(&self) -> bool {
        self.rewanted
    }

    /// The addresses that links are wanted to.
    pub(crate) fn take_wanted(&mut self) -> Vec<Address> {
        self.rewanted = false;
        self.wanted.clone()
    }

    /// A handshake is done; whether this is the link that is used from now on.
    pub(crate) fn up(
        &mut self,
        link: Rc<Link>,
        hello: PeerHello,
        members: &HashMap<NodeId, Ordinal>,
    ) -> bool {
        let links = self.up.entry(hello.node_id.clone()).or_default();
        let first = links.is_empty();
        links.push(Up { link, hello });
        self.find_members(members);
        first
    }

    /// A connection has ended.
    pub(crate) fn down(
        &mut self,
        link: &Rc<Link>,
        peer: &NodeId,
        members: &HashMap<NodeId, Ordinal>,
    ) -> LinkChange {
        let Some(links) = self.up.get_mut(peer) else { return LinkChange::None };
        let Some(place) = links.iter().position(|up| Rc::ptr_eq(&up.link, link)) else {
            return LinkChange::None;
        };
        links.remove(place);
        let change = match links.first() {
            _ if place > 0 => LinkChange::None,
            Some(next) => LinkChange::Replaced(next.hello.clone()),
            None => LinkChange::Lost,
        };
        if links.is_empty() {
            self.up.remove(peer);
        }
        self.find_members(members);
        change
    }

    /// Ends the connections of all links, to be dialled again.
    pub(crate) fn outdate(&self) {
        self.up.values().flatten().for_each(|up| up.link.outdate());
    }

    /// Finds the links to the members anew, after a change of either. A name leads to one member.
    pub(crate) fn find_members(&mut self, members: &HashMap<NodeId, Ordinal>) {
        self.members.clear();
        for (node_id, ordinal) in members {
            if let Some(up) = self.up.get(node_id).and_then(|links| links.first()) {
                self.members.insert(*ordinal, up.link.clone());
            }
        }
    }

    /// The members that requests can be sent to.
    pub(crate) fn reached(&self) -> impl Iterator<Item = Ordinal> {
        self.members.keys().copied()
    }

    /// Whether requests can be sent to this member.
    pub(crate) fn reaches(&self, member: Ordinal) -> bool {
        self.members.contains_key(&member)
    }

    /// Sends a request to a member; it is lost where there is no link.
    pub(crate) fn send(&self, to: Ordinal, shard: u16, operation: u64, request: &ReplicaRequest) {
        if let Some(link) = self.members.get(&to) {
            link.append(|out| encode_replica_request(out, shard, operation, request));
        }
    }

    /// Says something to a node; it is lost where there is no link.
    pub(crate) fn tell(&self, to: &NodeId, message: &ClusterMessage) {
        if let Some(up) = self.up.get(to).and_then(|links| links.first()) {
            up.link.append(|out| encode_cluster_message(out, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paravon_model::Hlc;

    fn hello(name: &str, address: &str) -> PeerHello {
        PeerHello {
            node_id: NodeId::new(name).unwrap(),
            address: Address::new(address),
            membership: None,
            start: 1,
            run: 1,
            ceiling: Hlc::ZERO,
        }
    }

    fn queued(link: &Link) -> usize {
        let mut out = Vec::new();
        link.drain_to(&mut out);
        out.len()
    }

    #[test]
    fn of_two_links_to_a_node_the_first_is_used_and_then_the_other() {
        let (mut links, one, two) = (Links::default(), Rc::<Link>::default(), Rc::default());
        let none = HashMap::new();
        let peer = hello("node-2", "a:1").node_id;
        assert!(links.up(one.clone(), hello("node-2", "a:1"), &none));
        assert!(!links.up(Rc::clone(&two), hello("node-2", "b:1"), &none));
        links.tell(&peer, &ClusterMessage::AskToFound);
        assert!(queued(&one) > 0 && queued(&two) == 0);
        let change = links.down(&one, &peer, &none);
        assert!(matches!(change, LinkChange::Replaced(hello) if hello.address.as_str() == "b:1"));
        links.tell(&peer, &ClusterMessage::AskToFound);
        assert!(queued(&two) > 0);
        assert!(matches!(links.down(&one, &peer, &none), LinkChange::None), "it was down");
        assert!(matches!(links.down(&two, &peer, &none), LinkChange::Lost));
    }

    #[test]
    fn a_name_that_is_used_again_leads_to_its_later_member() {
        let (mut links, link) = (Links::default(), Rc::<Link>::default());
        let name = hello("node-2", "a:1").node_id;
        links.up(link, hello("node-2", "a:1"), &HashMap::from([(name.clone(), Ordinal(2))]));
        assert!(links.reaches(Ordinal(2)));
        links.find_members(&HashMap::from([(name, Ordinal(5))]));
        assert_eq!(links.reached().collect::<Vec<_>>(), [Ordinal(5)]);
        assert!(!links.reaches(Ordinal(2)));
    }

    #[test]
    fn a_peer_that_does_not_read_takes_no_more_memory_than_the_bound() {
        let link = Link::default();
        link.unsent.set(MAX_QUEUED_BYTES);
        link.append(|out| out.push(0));
        assert_eq!(link.state(), LinkState::Overrun);
        link.append(|out| out.push(0));
        assert_eq!(queued(&link), 1, "nothing is added any more");
        link.renew();
        link.append(|out| out.push(0));
        assert_eq!((link.state(), queued(&link)), (LinkState::Open, 1));
        link.outdate();
        link.append(|out| out.push(0));
        assert_eq!((link.state(), queued(&link)), (LinkState::Outdated, 0));
        link.renew();
        assert_eq!(link.state(), LinkState::Open);
        link.stop();
        link.outdate();
        link.renew();
        assert_eq!(link.state(), LinkState::Unwanted, "for good");
    }
}
