//! Who is reached, who is up, and what time it is for them.
//!
//! **Never:** believes what a node says in another's name: names come from certificates
//! (`NO_STRANGER`).

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{ClusterMessage, Hlc, Member, NodeId, Ordinal, PeerHello, majority};

use super::event::{ClusterEffect, Notice, RefusedAs};
use super::settings::Liveness;
use super::skew::WallClock;
use super::{Cluster, Service};
use crate::clock::Permit;
use crate::event::Now;

/// How often members are pinged, and one node that is reached is asked for its document.
pub(super) const ROUND: Duration = Duration::from_secs(1);

impl Cluster {
    /// Messages reach a node, and both ends took each other's hello.
    pub(super) fn linked(&mut self, now: Now, hello: &PeerHello) {
        self.peers.linked(now.monotonic, hello);
        let known = self.document().map(|document| document.revision());
        self.outgoing.tell(&hello.node_id, ClusterMessage::AskDocument { known });
        let Some(ordinal) = self.ordinal_of(&hello.node_id) else { return };
        if let Some(detector) = &mut self.detector {
            detector.linked(now.monotonic, ordinal, hello.start);
        }
        self.ping(now, &hello.node_id);
    }

    /// Messages do not reach a node any more.
    pub(super) fn unlinked(&mut self, now: Now, name: &NodeId) {
        self.peers.unlinked(now.monotonic, name);
        self.skew.unlinked(name);
        if let Some(ordinal) = self.ordinal_of(name)
            && let Some(detector) = &mut self.detector
        {
            detector.unlinked(ordinal);
        }
    }

    /// A node refused this node's hello. Where it remembers a later state of this disk, nothing that
    /// this node says can be trusted (`DISK_NOT_OLDER`). Only members that it knows are believed: where
    /// all of them have left meanwhile, it goes on trying, and only an operator can help it.
    pub(super) fn refused(&mut self, now: Now, by: &NodeId, refusal: RefusedAs) {
        let is_member = self.council.is_none() || self.ordinal_of(by).is_some();
        match refusal {
            RefusedAs::OldDisk if is_member => {
                self.service = Service::OldDisk;
                self.notice(Notice::OldDisk);
                self.shut_out();
            }
            // A refusal of what it was before says nothing of what it is now.
            RefusedAs::Removed { claimed }
                if is_member && !self.service.has_ended() && self.membership() == Some(claimed) =>
            {
                self.was_removed(now);
            }
            RefusedAs::OldDisk | RefusedAs::Removed { .. } | RefusedAs::Other => {}
        }
    }

    /// Serves once a majority of the current layout's members, itself included where it is one, has
    /// taken it for what it says, which they show by asking it for the time or telling it: one of them
    /// knows of every later state that its disk may have had (`DISK_NOT_OLDER`).
    pub(super) fn serve_once_taken(&mut self) {
        let Some(document) = self.document().cloned() else { return };
        let needed = majority(document.left().count());
        if self.taken_by.len() + 1 < needed {
            return;
        }
        let has_taken = |member: &&Member| {
            Some(member.ordinal) == self.ordinal || self.taken_by.contains(&member.ordinal)
        };
        if document.left().filter(has_taken).count() >= needed {
            self.service = Service::Serving;
            let stored = self.stored;
            self.outgoing.push(ClusterEffect::Layout { document, stored });
        }
    }

    /// Keeps the connections that are wanted; none for a node that has ended.
    pub(super) fn dial(&mut self) {
        let changed = if self.service.has_ended() {
            self.dialled.end()
        } else {
            let document = self.seen_document().cloned();
            self.dialled.follow(&self.settings, document.as_deref(), &mut self.peers)
        };
        if let Some(addresses) = changed {
            self.outgoing.push(ClusterEffect::Dial { addresses });
        }
    }

    /// The members are those of the document now: their detectors and clocks matter.
    pub(super) fn watch_members(&mut self, now: Now) {
        let Some(document) = self.known_document().cloned() else { return };
        if let Some(detector) = &mut self.detector {
            let members = document.members().map(|member| member.ordinal);
            detector.members(now.monotonic, members);
            for hello in self.peers.all_linked() {
                if let Some(ordinal) = document.ordinal_of(&hello.node_id) {
                    detector.linked(now.monotonic, ordinal, hello.start);
                }
            }
        }
        self.ping_all(now);
    }

    /// Once a second: what time is it, and is there a later document? A member asks one node that is
    /// reached, one that waits asks all.
    pub(super) fn heartbeat(&mut self, now: Now) {
        self.ping_all(now);
        self.report(now);
        let linked: Vec<NodeId> =
            self.peers.all_linked().map(|hello| hello.node_id.clone()).collect();
        let known = self.document().map(|document| document.revision());
        let chosen = self.random.below(linked.len());
        for (place, name) in linked.iter().enumerate() {
            if known.is_none() || place == chosen {
                self.outgoing.tell(name, ClusterMessage::AskDocument { known });
            }
        }
    }

    pub(super) fn ping_all(&mut self, now: Now) {
        let Some(document) = self.document().cloned() else { return };
        for member in document.members() {
            if self.peers.is_linked(&member.node_id) {
                self.ping(now, &member.node_id);
            }
        }
    }

    /// A ping also says that this node's disk knows its number, and that it takes the other's for the
    /// one that it knows; before that it is silent.
    fn ping(&mut self, now: Now, name: &NodeId) {
        if self.outgoing.durable_membership().is_some() && !self.is_doubtful(name) {
            let nonce = self.skew.ping(now, name);
            self.outgoing.tell(name, ClusterMessage::Ping { nonce, ceiling: self.ceiling });
        }
    }

    /// Whether a node bears a member's name, but came without its number and not from where that
    /// member's disk was: it has lost the disk, or has an old copy of it (`DISK_NOT_OLDER`).
    fn is_doubtful(&self, name: &NodeId) -> bool {
        let (Some(ordinal), Some(peer)) = (self.ordinal_of(name), self.peers.get(name)) else {
            return false;
        };
        peer.hello.membership.is_none() && self.disks.is_old(ordinal, &peer.hello)
    }

    /// A node asks for the time, and says what its disk holds. Only a member that is taken for what it
    /// says is answered.
    pub(super) fn pinged(&mut self, now: Now, from: &NodeId, nonce: u64, ceiling: Hlc) {
        let Some(ordinal) = self.ordinal_of(from).filter(|_| !self.is_doubtful(from)) else {
            return;
        };
        let pong = ClusterMessage::Pong { nonce, wall_ms: now.wall_ms, ceiling: self.ceiling };
        self.outgoing.tell(from, pong);
        if let Some(peer) = self.peers.get(from) {
            self.disks.remember_first(ordinal, &peer.hello);
        }
        self.disks.raise(ordinal, ceiling);
        if self.taken_by.insert(ordinal) && !self.skew.has_measured() {
            // It was silent when it was asked, because it was no member yet.
            self.ping(now, from);
        }
    }

    /// A member tells the time.
    pub(super) fn ponged(
        &mut self,
        now: Now,
        from: &NodeId,
        nonce: u64,
        wall_ms: u64,
        ceiling: Hlc,
    ) {
        let Some(ordinal) = self.ordinal_of(from) else { return };
        self.taken_by.insert(ordinal);
        self.disks.raise(ordinal, ceiling);
        self.skew.pong(now, from, nonce, wall_ms);
    }

    /// Watches the wall clock, and tells the shards whether they may stamp
    /// (`VERSION_MONOTONIC`).
    pub(super) fn watch_clock(&mut self, now: Now) {
        let Some(document) = self.document() else { return };
        let current = &document.current.members;
        let is_first = current.len() == 1 && current.first().map(|m| m.ordinal) == self.ordinal;
        // Those who come to a lone member tell no time before they are members; its clients do not
        // wait for that.
        let members = match is_first && !self.skew.has_measured() {
            true => 1,
            false => document.members().take(2).count(),
        };
        if self.skew.watch(now) == WallClock::Jumped {
            self.ping_all(now);
        }
        let Some(permit) = self.skew.permit(now, members) else { return };
        self.outgoing.push(ClusterEffect::Clock { permit });
        match permit {
            Permit::Held { offset_ms } if offset_ms > 0 && !self.clock_is_far => {
                self.clock_is_far = true;
                self.notice(Notice::ClockHeld { offset_ms });
            }
            Permit::Measured { .. } | Permit::Alone if self.clock_is_far => {
                self.clock_is_far = false;
                self.notice(Notice::ClockAgrees);
            }
            Permit::Measured { .. } | Permit::Held { .. } | Permit::Alone => {}
        }
    }

    /// A member's failure detector says something.
    pub(super) fn hear_swim(&mut self, now: Now, from: &NodeId, message: &[u8]) {
        if let Some(ordinal) = self.ordinal_of(from)
            && let Some(detector) = &mut self.detector
        {
            detector.hear(now.monotonic, ordinal, message);
        }
    }

    /// What the failure detector says and believes.
    pub(super) fn pass_on_liveness(&mut self, now: Now) {
        let Some(detector) = &mut self.detector else { return };
        let messages: Vec<(Ordinal, Vec<u8>)> = detector.take_messages();
        let changes = detector.take_changes(now.monotonic);
        let document = self.document().cloned();
        for (ordinal, message) in messages {
            let member = document.as_ref().and_then(|document| document.member(ordinal));
            let Some(name) = member.map(|member| &member.node_id) else { continue };
            // One whose name another bears by now is not reached.
            if self.ordinal_of(name) == Some(ordinal) && self.peers.is_linked(name) {
                self.outgoing.tell(name, ClusterMessage::Swim(message));
            }
        }
        for (peer, liveness) in changes {
            self.outgoing.push(match liveness {
                Liveness::Alive => ClusterEffect::Alive { peer },
                Liveness::Dead => ClusterEffect::Dead { peer },
            });
        }
    }
}
