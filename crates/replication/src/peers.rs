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
pub(crate) const DOCUMENT_PATIENCE: Duration = Duration::from_millis(50);

/// After this a document is told again at the latest, to one that goes on asking under an earlier fence.
const TOLD_AGAIN: Duration = Duration::from_secs(5);

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
    /// Which document it was told last over this link.
    taught: Option<Taught>,
}

#[derive(Clone, Debug)]
struct Taught {
    fence: Fence,
    at: Duration,
    /// How long later it is told again: each time twice as long.
    again_after: Duration,
}

/// Whether to tell a member the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Teach {
    /// Now.
    Now,
    /// It was told a while ago, and can ask for it.
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
        let peer = self.peer(ordinal);
        // What was told over another link may have been lost with that.
        (peer.linked, peer.taught) = (true, None);
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

    /// The member knows an earlier layout than that of this fence only. A document may be large, and
    /// every shard tells it: it is told once, and again after a while that grows. A member asks for the
    /// document of a later fence that it hears of, so what was lost comes sooner than that.
    pub(crate) fn teach(&mut self, now: Duration, ordinal: Ordinal, fence: Fence) -> Teach {
        let peer = self.peer(ordinal);
        let again_after = match &peer.taught {
            Some(taught) if taught.fence == fence => {
                if now < taught.at + taught.again_after {
                    return Teach::NotAgain;
                }
                (taught.again_after * 2).min(TOLD_AGAIN)
            }
            _ => DOCUMENT_PATIENCE,
        };
        peer.taught = Some(Taught { fence, at: now, again_after });
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
    fn a_document_is_told_again_more_and_more_rarely() {
        let mut peers = Peers::new(Ordinal(1));
        let fence = |number| Fence { generation: 0, number };
        let mut told = |millis: core::ops::Range<u64>, number| {
            let is_told = |ms: &u64| {
                peers.teach(Duration::from_millis(*ms), Ordinal(2), fence(number)) == Teach::Now
            };
            millis.filter(is_told).collect::<Vec<_>>()
        };
        assert_eq!(told(0..1_000, 5), [0, 50, 150, 350, 750]);
        assert_eq!(told(1_000..1_060, 6), [1_000, 1_050], "another document");
        assert_eq!(told(1_060..60_000, 6).windows(2).map(|two| two[1] - two[0]).max(), Some(5_000));
        peers.link_up(Ordinal(2));
        assert_eq!(peers.teach(Duration::from_secs(60), Ordinal(2), fence(6)), Teach::Now);
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
