//! The layout of this loop: its first one makes the shards, a later one changes them.
//!
//! **Never:** lets a shard use a layout whose document is not durable (`EPOCH_FENCE`): the cluster
//! machine gives out no other.

use std::collections::BTreeSet;
use std::sync::Arc;

use paravon_model::Ordinal;
use paravon_replication::{ClockSettings, Event, Now, Settings, Shard};

use super::Core;
use crate::inbox::Message;
use crate::placed::Placed;
use crate::shared::Standing;

impl Core {
    /// Uses a layout from now on.
    pub(super) fn use_layout(&mut self, now: Now, placed: Arc<Placed>) {
        let layout = placed.layout.clone();
        let Some(own) = layout.document().member_named(&self.shared.config.node.id) else {
            return tracing::error!("a layout does not name this node; it is not used");
        };
        let own = own.ordinal;
        let before: BTreeSet<Ordinal> = self.ordinals.values().copied().collect();
        let numbered = |member: &paravon_model::Member| (member.node_id.clone(), member.ordinal);
        self.ordinals = layout.members().iter().map(numbered).collect();
        self.layout = Some(layout.clone());
        self.placed = Some(placed);
        self.links.find_members(Some(&layout));
        let others = layout.members().iter().filter(|member| member.ordinal != own);
        if self.index > 0 {
            self.links.want(others.clone().map(|member| member.address.clone()).collect());
        }

        let mut made = false;
        for local in 0..self.shards.len() {
            if self.shards[local].is_idle() {
                made = true;
                self.make_shard(now, local, own);
            } else {
                self.step(now, local, Event::Layout { layout: layout.clone() });
            }
        }
        for peer in others.map(|member| member.ordinal) {
            if !made && before.contains(&peer) {
                continue;
            }
            if self.dead.contains(&peer) {
                self.step_all(now, &Event::Dead { peer });
            }
            if self.links.reaches(peer) {
                self.step_all(now, &Event::LinkUp { peer });
            }
        }
        if self.index == 0 {
            self.shared.set_standing(Standing::Serves);
        }
    }

    fn make_shard(&mut self, now: Now, local: usize, ordinal: Ordinal) {
        let Some(layout) = self.layout.clone() else { return };
        let owned = &mut self.shards[local];
        let clock = ClockSettings {
            max_skew: self.shared.config.clock.max_skew,
            recovered: self.ceiling,
            lane: owned.store.shard(),
            lanes: self.shared.shards,
        };
        let totals = owned.store.hint_totals(layout.shift());
        let hinted = totals.iter().map(|totals| totals.target).collect();
        let (shard, fence) = (owned.store.shard(), layout.fence());
        owned.shard = Some(Shard::new(Settings { ordinal, layout, clock, hinted }));
        if let Some(permit) = self.permit {
            self.step(now, local, Event::Clock { permit });
        }
        // Nothing was ever admitted under an earlier layout.
        self.route_to_cluster(now, Message::Settled { shard, fence });
    }

    /// Serves nothing any more. What is under way ends at its deadline, but answered writes do not
    /// wait for others.
    pub(super) fn withdraw(&mut self, now: Now) {
        self.stop(now);
        self.layout = None;
        self.placed = None;
        self.ordinals.clear();
        self.links.find_members(None);
        self.say_what_is_waited_for();
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
