//! The layout of this loop: its first one makes the shards, a later one changes them, and a node that
//! is no member any more gives them up.
//!
//! **Never:** lets a shard use a layout whose document is not durable (`EPOCH_FENCE`): the cluster
//! machine gives out no other. Never lets a shard that was given up acknowledge anything.

use std::collections::BTreeSet;
use std::sync::Arc;

use paravon_model::limits::MAX_REQUEST_TIMEOUT;
use paravon_model::{Member, Ordinal};
use paravon_replication::{ClockSettings, Effect, Event, Now, Settings, Shard};
use paravon_transport::random_bytes;

use super::{Core, Ending, OwnedShard, Ticket};
use crate::placed::Placed;
use crate::shared::Standing;

impl Core {
    /// Uses a layout from now on.
    pub(super) fn use_layout(&mut self, now: Now, placed: Arc<Placed>) {
        let (layout, own) = (placed.layout.clone(), placed.own);
        if layout.document().member(own).is_none() {
            return tracing::error!("a layout does not name this node; it is not used");
        }
        if self.placed.as_ref().is_some_and(|present| present.own != own) {
            // The shards are those of another member.
            self.withdraw(now);
        }
        if self.has_void_stores() {
            // A layout that comes meanwhile says what is to be emptied since the one that was stored.
            self.awaiting = Some(placed);
            return;
        }
        let known: BTreeSet<Ordinal> = self.ordinals.values().copied().collect();
        let reached: BTreeSet<Ordinal> = self.links.reached().collect();
        let document = layout.document().clone();
        // Of two members of one name, the later one.
        self.ordinals = document.members().map(|m| (m.node_id.clone(), m.ordinal)).collect();
        self.layout = Some(layout.clone());
        self.placed = Some(placed.clone());
        self.links.find_members(&self.ordinals);
        let others: Vec<&Member> = document.members().filter(|m| m.ordinal != own).collect();
        if self.index > 0 {
            self.links.want(others.iter().map(|member| member.address.clone()).collect());
        }

        let made = self.shards.iter().any(OwnedShard::is_idle);
        if made {
            self.mask = u64::from_be_bytes(random_bytes());
        }
        for local in 0..self.shards.len() {
            if self.shards[local].is_idle() {
                self.make_shard(now, local, &placed);
            } else {
                let (layout, new) = (layout.clone(), placed.new.clone());
                self.step(now, local, Event::Layout { layout, new });
            }
        }
        for peer in others.into_iter().map(|member| member.ordinal) {
            if (made || !known.contains(&peer)) && self.dead.contains(&peer) {
                self.step_all(now, &Event::Dead { peer });
            }
            match (!made && reached.contains(&peer), self.links.reaches(peer)) {
                (false, true) => self.step_all(now, &Event::LinkUp { peer }),
                // Its name is another member's now.
                (true, false) => self.step_all(now, &Event::LinkDown { peer }),
                _ => {}
            }
        }
        if self.index == 0 {
            self.shared.set_standing(Standing::Serves);
        }
    }

    /// Whether a store of an earlier service of this node may still become durable. A shard that empties a
    /// partition must not be made before: what it has emptied would not stay so (`NO_RESURRECTION`).
    fn has_void_stores(&self) -> bool {
        let tickets = self.shards.iter().flat_map(|owned| owned.tickets.iter());
        tickets.into_iter().any(|(_, ticket)| matches!(ticket, Ticket::Void))
    }

    /// Uses the layout that has waited for stores of an earlier service.
    pub(super) fn use_awaiting(&mut self, now: Now) {
        if !self.has_void_stores()
            && let Some(placed) = self.awaiting.take()
        {
            self.use_layout(now, placed);
        }
    }

    fn make_shard(&mut self, now: Now, local: usize, placed: &Placed) {
        let owned = &mut self.shards[local];
        let number = owned.store.shard();
        let sums = (placed.layout.document().hash_seed, placed.layout.shift());
        if owned.sums.replace(sums) != Some(sums) {
            // Before the first merge under this layout, and once for each cluster.
            owned.store.keep_sums(sums.0, sums.1);
            owned.scrubbing.begin(now.monotonic);
        }
        let clock = ClockSettings {
            max_skew: self.shared.config.clock.max_skew,
            recovered: self.ceiling,
            lane: number,
            lanes: self.shared.shards,
        };
        let totals = owned.store.hint_totals(placed.layout.shift());
        owned.shard = Some(Shard::new(Settings {
            ordinal: placed.own,
            number,
            shards: self.shared.shards,
            layout: placed.layout.clone(),
            admission: placed.admission(),
            clock,
            hinted: totals.iter().map(|totals| totals.target).collect(),
            damaged: owned.store.damaged(),
            // Only a store that keeps sums knows what partitions there are to be lost.
            marks: owned.store.marks(),
        }));
        self.count_damaged(local);
        if let Some(permit) = self.permit {
            self.step(now, local, Event::Clock { permit });
        }
        // It begins with this.
        self.step(now, local, Event::Tick);
    }

    /// Serves nothing any more. Answered writes do not wait for others; what is under way ends at its
    /// deadline without being acknowledged.
    pub(super) fn withdraw(&mut self, now: Now) {
        self.awaiting = None;
        self.stop(now);
        let until = now.monotonic.saturating_add(MAX_REQUEST_TIMEOUT);
        for owned in &mut self.shards {
            // What the store still answers is for nobody: another shard's operations have the same
            // names.
            owned.tickets.iter_mut().for_each(|(_, ticket)| *ticket = Ticket::Void);
            if let Some(shard) = owned.shard.take() {
                owned.ending.push(Ending { shard, until });
            }
        }
        self.scans.clear();
        self.layout = None;
        self.placed = None;
        self.ordinals.clear();
        self.links.find_members(&self.ordinals);
        self.say_what_is_waited_for();
    }

    /// Lets time pass in the shards that were given up. Nothing else comes to them, so nothing that
    /// they answer is an acknowledgement.
    pub(super) fn end_withdrawn(&mut self, now: Now) {
        for local in 0..self.shards.len() {
            let ending = std::mem::take(&mut self.shards[local].ending);
            for mut each in ending {
                each.shard.step(now, Event::Tick, &mut self.stepped);
                for effect in std::mem::take(&mut self.stepped) {
                    if let Effect::Reply { request, reply } = effect {
                        self.end_request(now, request, &reply);
                    }
                }
                if each.shard.under_way() > 0 && now.monotonic < each.until {
                    self.shards[local].ending.push(each);
                }
            }
        }
    }

    /// A member is believed to be up, or down.
    pub(super) fn liveness(&mut self, now: Now, peer: Ordinal, event: Event) {
        match event {
            Event::Dead { .. } => self.dead.insert(peer),
            _ => self.dead.remove(&peer),
        };
        let known = self.layout.as_ref().is_some_and(|layout| layout.node_id(peer).is_some());
        if known {
            self.step_all(now, &event);
        }
    }
}
