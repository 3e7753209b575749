//! Steps a shard and does what it wants done.
//!
//! **Never:** steps a shard that has no layout, or answers for one.

use paravon_model::Failure;
use paravon_replication::cluster::ClusterEvent;
use paravon_replication::{Effect, Event, Now};

use super::Core;
use super::peers::NO_LAYOUT;
use crate::inbox::Message;

impl Core {
    /// The place of a shard among those of this loop.
    pub(super) fn local(&self, shard: u16) -> usize {
        usize::from(shard) / self.shared.inboxes.loops()
    }

    /// Brings an event to its shard, here or on another loop.
    pub(super) fn dispatch(&mut self, now: Now, shard: u16, event: Event) {
        match self.shared.inboxes.loop_of(shard) {
            here if here == self.index => self.step(now, self.local(shard), event),
            elsewhere => self.outgoing[elsewhere].push(Message::Event { shard, event }),
        }
    }

    /// Steps a shard and does all that follows from it.
    pub(super) fn step(&mut self, now: Now, local: usize, event: Event) {
        self.feed(now, local, event);
        self.follow(now, local);
    }

    /// Does all that follows from what the shard was fed, and nothing else was.
    pub(super) fn follow(&mut self, now: Now, local: usize) {
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::Reply { request, reply } => self.end_request(now, request, &reply),
                Effect::Send { to, operation, request } => {
                    let shard = self.shards[local].store.shard();
                    self.links.send(to, shard, operation.as_u64() ^ self.mask, &request);
                }
                Effect::Answer { token, reply } => self.answer_peer(token, reply),
                Effect::RaiseCeiling { ceiling } => {
                    self.uncommitted.ceiling = self.uncommitted.ceiling.max(Some(ceiling));
                }
                Effect::Learn { document } => {
                    self.tell_cluster(now, ClusterEvent::Learned { document });
                }
                Effect::Teach { peer } => self.tell_cluster(now, ClusterEvent::Teach { peer }),
                Effect::AskDocument { peer } => self.tell_cluster(now, ClusterEvent::Ask { peer }),
                Effect::Settled { fence, progress } => {
                    let shard = self.shards[local].store.shard();
                    self.route_to_cluster(now, Message::Settled { shard, fence, progress });
                }
                Effect::Progress { fence, progress } => {
                    let shard = self.shards[local].store.shard();
                    self.route_to_cluster(now, Message::Progress { shard, fence, progress });
                }
                of_store => self.ask_store(now, local, of_store),
            }
        }
    }

    /// The last step of every shard: answered writes that a replica lacks become hints
    /// (`HINT_NOT_LOST`).
    pub(crate) fn stop(&mut self, now: Now) {
        self.step_all(now, &Event::Stop);
    }

    fn tell_cluster(&mut self, now: Now, event: ClusterEvent) {
        self.route_to_cluster(now, Message::Cluster(event));
    }

    pub(super) fn feed(&mut self, now: Now, local: usize, event: Event) {
        let Some(shard) = &mut self.shards[local].shard else {
            return self.without_shard(now, event);
        };
        shard.step(now, event, &mut self.stepped);
        self.effects.extend(self.stepped.drain(..));
    }

    /// A request has overtaken the layout on its way to the shard's loop.
    fn without_shard(&mut self, now: Now, event: Event) {
        match event {
            Event::Put { request, .. }
            | Event::Get { request, .. }
            | Event::Delete { request, .. } => {
                self.end_request(now, request, &Err(Failure::NotReady));
            }
            Event::Asked { token, .. } => self.answer_peer(token, NO_LAYOUT),
            _ => {}
        }
    }
}
