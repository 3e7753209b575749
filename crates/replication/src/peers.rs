//! What a shard knows of the other members: whether requests can be sent to them, whether they are
//! believed to be up, how fast they answer.
//!
//! **Never:** says who stores what. Liveness changes no replica set.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Fence, Ordinal};

/// How often what is known of a member's slowness fades a little: by half in some four seconds.
const FORGIVE: Duration = Duration::from_millis(100);

/// How long a document may take to the other end before it is asked for or told again.
pub(crate) const PATIENCE: Duration = Duration::from_millis(50);

/// Whether a request can be sent to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Now.
    Linked,
    /// There is no connection yet; one may come.
    Unlinked,
    /// It is believed to be down: nothing is sent.
    Dead,
}

#[derive(Clone, Debug)]
struct Peer {
    ordinal: Ordinal,
    linked: bool,
    alive: bool,
    /// Smoothed time from a read to its answer; zero where it is not known.
    latency_us: u32,
    /// When it was last to be told the document, and of which fence.
    taught: Option<(Duration, Fence)>,
}

/// Whether to tell a member the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Teach {
    /// Now.
    Now,
    /// It was told just now.
    NotAgain,
}

/// The other members. One that nothing was said of is believed to be up, without a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    own: Ordinal,
    /// Whether this node's own replica takes what this node asks of it.
    own_reach: Reach,
    /// By ordinal.
    peers: Vec<Peer>,
    forgiven: Duration,
}

impl Peers {
    /// Of the node with this number, which reaches itself.
    pub(crate) fn new(own: Ordinal) -> Self {
        let (own_reach, forgiven) = (Reach::Linked, Duration::ZERO);
        Self { own, own_reach, peers: Vec::new(), forgiven }
    }

    pub(crate) fn own(&self) -> Ordinal {
        self.own
    }

    pub(crate) fn reach(&self, ordinal: Ordinal) -> Reach {
        if ordinal == self.own {
            return self.own_reach;
        }
        match self.find(ordinal) {
            Ok(at) if !self.peers[at].alive => Reach::Dead,
            Ok(at) if self.peers[at].linked => Reach::Linked,
            _ => Reach::Unlinked,
        }
    }

    /// This node's own replica admits nothing for the time being: what it is to be asked waits, as for a
    /// member without a connection.
    pub(crate) fn hold_own(&mut self) {
        self.own_reach = Reach::Unlinked;
    }

    /// This node's own replica admits what it is asked.
    pub(crate) fn admit_own(&mut self) {
        self.own_reach = Reach::Linked;
    }

    pub(crate) fn link_up(&mut self, ordinal: Ordinal) {
        self.peer(ordinal).linked = true;
    }

    pub(crate) fn link_down(&mut self, ordinal: Ordinal) {
        self.peer(ordinal).linked = false;
    }

    pub(crate) fn alive(&mut self, ordinal: Ordinal) {
        self.peer(ordinal).alive = true;
    }

    pub(crate) fn dead(&mut self, ordinal: Ordinal) {
        self.peer(ordinal).alive = false;
    }

    /// A read was answered after `taken`, or has not been for so long.
    pub(crate) fn observe(&mut self, ordinal: Ordinal, taken: Duration) {
        if ordinal == self.own {
            return;
        }
        let peer = self.peer(ordinal);
        let taken_us = u32::try_from(taken.as_micros()).unwrap_or(u32::MAX).max(1);
        peer.latency_us = match peer.latency_us {
            0 => taken_us,
            known => (known - known / 8).saturating_add(taken_us / 8).max(1),
        };
    }

    /// The member knows an earlier layout than that of this fence only. A document may be large: it is
    /// told once, and again after a while.
    pub(crate) fn teach(&mut self, now: Duration, ordinal: Ordinal, fence: Fence) -> Teach {
        let peer = self.peer(ordinal);
        if peer.taught.is_some_and(|(at, taught)| taught == fence && now < at + PATIENCE) {
            return Teach::NotAgain;
        }
        peer.taught = Some((now, fence));
        Teach::Now
    }

    /// How slowly the member answers, in powers of two: what lies closer together is equally good.
    pub(crate) fn slowness(&self, ordinal: Ordinal) -> u32 {
        let latency_us = match self.find(ordinal) {
            Ok(at) if ordinal != self.own => self.peers[at].latency_us,
            _ => 0,
        };
        u32::BITS - latency_us.leading_zeros()
    }

    /// Called with every tick: one that was slow and therefore is no longer asked is tried again.
    pub(crate) fn forgive(&mut self, now: Duration) {
        if now < self.forgiven + FORGIVE {
            return;
        }
        self.forgiven = now;
        for peer in &mut self.peers {
            peer.latency_us -= peer.latency_us / 64;
        }
    }

    fn find(&self, ordinal: Ordinal) -> Result<usize, usize> {
        self.peers.binary_search_by_key(&ordinal, |peer| peer.ordinal)
    }

    fn peer(&mut self, ordinal: Ordinal) -> &mut Peer {
        let at = self.find(ordinal).unwrap_or_else(|at| {
            let (linked, alive, latency_us, taught) = (false, true, 0, None);
            self.peers.insert(at, Peer { ordinal, linked, alive, latency_us, taught });
            at
        });
        &mut self.peers[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_waited_for_until_it_is_linked_and_not_when_it_is_dead() {
        let mut peers = Peers::new(Ordinal(1));
        assert_eq!(peers.reach(Ordinal(1)), Reach::Linked);
        assert_eq!(peers.reach(Ordinal(2)), Reach::Unlinked);
        peers.link_up(Ordinal(2));
        assert_eq!(peers.reach(Ordinal(2)), Reach::Linked);
        peers.dead(Ordinal(2));
        assert_eq!(peers.reach(Ordinal(2)), Reach::Dead);
        peers.link_down(Ordinal(2));
        peers.alive(Ordinal(2));
        assert_eq!(peers.reach(Ordinal(2)), Reach::Unlinked);
    }

    #[test]
    fn who_answers_slowly_is_known_and_forgiven() {
        let mut peers = Peers::new(Ordinal(1));
        peers.observe(Ordinal(2), Duration::from_micros(300));
        peers.observe(Ordinal(3), Duration::from_millis(300));
        assert!(peers.slowness(Ordinal(2)) < peers.slowness(Ordinal(3)));
        (1..1000).for_each(|round| peers.forgive(FORGIVE * round));
        assert!(peers.slowness(Ordinal(3)) < 10);
    }
}
