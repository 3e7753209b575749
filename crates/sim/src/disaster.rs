//! A majority of those who decide is lost for good: the operator rescues one of the nodes that are left,
//! with the very function of `paravon rescue`, and takes the others back with empty disks.
//!
//! **Never:** excuses more than a rescue costs. A promise about a key is narrowed only where a majority
//! of its copies is gone, and to what those that are left hold of it.

use std::sync::Arc;

use paravon_model::{ClusterState, Document, NodeId, Ordinal, Version};
use paravon_replication::cluster::{RescueRefusal, rescue};
use paravon_ring::{Layout, Partition};

use crate::fact::Fact;
use crate::happening::Happening;
use crate::node::{SimNode, index_of, node_name};
use crate::queue::{MILLISECOND, Nanos, SECOND};
use crate::random::Random;
use crate::topology::{Revival, Who};
use crate::view::NOTHING;
use crate::world::{World, small};

/// What was on its way from the dead has arrived before the operator looks: the longest way, and a clog.
const MOURNING: Nanos = 7 * SECOND;

/// How often the operator tries before it believes that the members that are left can help themselves.
const TRIES: u8 = 20;

/// What the operator knows of losses.
#[derive(Debug, Default)]
pub(crate) struct Disasters {
    /// The one under way.
    disaster: Option<Disaster>,
    /// Nodes that some rescue has given up, and that have not come back empty.
    given_up: Vec<usize>,
    /// Of rescues that nobody but their own node may follow.
    strays: Vec<u128>,
}

/// From the loss to the end of the rescue.
#[derive(Debug)]
struct Disaster {
    /// The nodes that are left.
    left: Vec<usize>,
    tries: u8,
    /// Of the document that the rescue has written.
    generation: Option<u64>,
}

impl World {
    /// Members die for good, so many that those that are left, about `left`, cannot decide any more. Of
    /// these one at least can be rescued.
    pub(crate) fn lose_majority(&mut self, left: u8, number: u64) {
        let Some(latest) = self.latest() else { return };
        let document = Arc::clone(latest.document());
        let is_whole = document.given_up().is_empty() && !self.any_is_lost();
        if self.disasters.disaster.is_some() || !is_whole {
            return;
        }
        let mut random = Random::new(number);
        let names = document.current.members.iter().map(|member| &member.node_id);
        let mut members: Vec<usize> = names.filter_map(index_of).collect();
        for place in (1..members.len()).rev() {
            members.swap(place, random.index(place + 1));
        }
        let mut left = usize::from(left).clamp(1, members.len());
        while !needs_rescue(&document, &members[..left]) || !self.can_be_rescued(&members[..left]) {
            left -= 1;
            if left == 0 {
                return;
            }
        }
        for &node in &members[left..] {
            self.kill(node);
        }
        let is_left = |node: &usize| !self.nodes[*node].killed;
        let left = (0..self.nodes.len()).filter(is_left).collect();
        self.disasters.disaster = Some(Disaster { left, tries: 0, generation: None });
        let at = self.now + self.random.between(MOURNING, MOURNING + 2 * SECOND);
        self.queue.push(at, Happening::Rescue);
    }

    /// Whether one of these nodes is there already by the newest document on their disks. A rescue does not
    /// count who was only about to come, and nothing else is left of a cluster whose other members all die
    /// before they have told that it came.
    fn can_be_rescued(&self, left: &[usize]) -> bool {
        let known = left.iter().filter_map(|&node| self.nodes[node].state.document.as_ref());
        let Some(newest) = known.max_by_key(|document| document.revision()) else { return false };
        let mut names =
            newest.current.members.iter().filter_map(|member| index_of(&member.node_id));
        names.any(|member| left.contains(&member))
    }

    /// The operator rescues the node that knows the latest document, if there is one yet.
    pub(crate) fn try_rescue(&mut self) {
        let Some(disaster) = &mut self.disasters.disaster else { return };
        disaster.tries += 1;
        if disaster.generation.is_some() {
            return;
        }
        if disaster.tries > TRIES {
            self.disasters.disaster = None;
            return;
        }
        let left = disaster.left.clone();
        let stopped = self.stop_deciders(&left);
        let is_rescued = self.rescue_one_of(&left);
        for node in stopped {
            let down = self.random.magnitude(5 * MILLISECOND, 2 * SECOND);
            self.queue.push(self.now + down, Happening::Start { node });
        }
        if !is_rescued {
            let at = self.now + self.random.between(200 * MILLISECOND, SECOND);
            self.queue.push(at, Happening::Rescue);
        }
    }

    /// Where those that are left could still decide, as after the loss of two nodes of five, all of them
    /// are stopped: what they decide meanwhile the rescue does not know of, and they would refuse it.
    fn stop_deciders(&mut self, left: &[usize]) -> Vec<usize> {
        let known = left.iter().filter_map(|&node| known_document(&self.nodes[node]));
        let Some(newest) = known.max_by_key(|document| document.revision()) else {
            return Vec::new();
        };
        let names = newest.council.iter().filter_map(|member| newest.member(*member));
        let there = names.filter_map(|member| index_of(&member.node_id));
        if there.filter(|node| left.contains(node)).count() <= newest.council.len() / 2 {
            return Vec::new();
        }
        let running = left.iter().copied().filter(|&node| self.nodes[node].process.is_some());
        let running: Vec<usize> = running.collect();
        for &node in &running {
            self.crash(node, None);
        }
        running
    }

    fn rescue_one_of(&mut self, left: &[usize]) -> bool {
        let known = left.iter().filter_map(|&node| known_document(&self.nodes[node]));
        let Some(newest) = known.map(|document| document.revision()).max() else { return false };
        let has_newest = |node: &usize| {
            let document = self.nodes[*node].state.document.as_ref();
            document.is_some_and(|document| document.revision() == newest)
        };
        let candidates: Vec<usize> = left.iter().copied().filter(has_newest).collect();
        for node in candidates {
            let others = left.iter().copied().filter(|other| *other != node);
            let names = others.map(node_name).collect();
            let rescue_id = u128::from(self.random.next()) | 1;
            if let Ok(after) = rescued(&self.nodes[node].state, names, rescue_id) {
                self.write_rescue(node, after);
                return true;
            }
        }
        false
    }

    /// Stops a node, and has it start again with the state that a rescue made of its own.
    fn write_rescue(&mut self, node: usize, after: ClusterState) {
        let (Some(before), Some(document)) =
            (self.nodes[node].state.document.clone(), after.document.clone())
        else {
            return;
        };
        self.crash(node, None);
        self.nodes[node].state = after;
        let down = self.random.magnitude(5 * MILLISECOND, SECOND);
        self.queue.push(self.now + down, Happening::Start { node });
        let generation = document.generation;
        self.emit(Fact::Rescued { node: small(node), generation, is_stray: false });
        self.note_bereavement(&before, &document);
        let lost = |ordinal: &Ordinal| index_of(&before.member(*ordinal)?.node_id);
        self.disasters.given_up.extend(document.given_up().iter().filter_map(lost));
        if let Some(disaster) = &mut self.disasters.disaster {
            disaster.generation = Some(generation);
        }
    }

    /// Says of every key that has lost a majority of its copies what is left of it.
    fn note_bereavement(&mut self, before: &Arc<Document>, after: &Document) {
        let Some(joint) = after.joint() else { return };
        let survives = |member: &&Ordinal| joint.next.member(**member).is_some();
        let layout = Layout::of(Arc::clone(before));
        for key in 0..small(self.keys.len()) {
            let partition = self.partition_of(key);
            // The lost may have decided documents of which no survivor knows, and written under them.
            let later = self.layouts.iter().filter(|known| {
                known.document().revision() > before.revision()
                    && known.document().generation == before.generation
            });
            let has_majority = |layout: &Layout| {
                let set = layout.sets(partition).current;
                set.iter().filter(survives).count() > set.len() / 2
            };
            if has_majority(&layout) && later.clone().all(|layout| has_majority(layout)) {
                continue;
            }
            let set = layout.sets(partition).current;
            let survivors: Vec<Ordinal> = set.iter().filter(survives).copied().collect();
            let left = self.left_of(key, &layout, partition, &survivors);
            let generation = after.generation;
            self.emit(Fact::Bereft { key, generation, left });
        }
    }

    /// What a quorum of the survivors of a set is sure to see.
    fn left_of(
        &self,
        key: u8,
        layout: &Layout,
        partition: Partition,
        survivors: &[Ordinal],
    ) -> Version {
        let held = |&survivor: &Ordinal| {
            let Some(node) = self.node_of(survivor) else { return NOTHING };
            let stored = self.nodes[node].state.stored;
            // What it is new to it empties first: that was of an earlier membership.
            if layout.made_new(survivor, stored).contains(&partition) {
                return NOTHING;
            }
            self.oracle.view.durable(small(node), key)
        };
        let mut held: Vec<Version> = survivors.iter().map(held).collect();
        held.sort_unstable_by(|a, b| b.cmp(a));
        let quorum = held.len() / 2 + 1;
        held.get(held.len().saturating_sub(quorum)).copied().unwrap_or(NOTHING)
    }

    /// Whether a rescue is on its way, or under way.
    pub(crate) fn is_rescuing(&mut self) -> bool {
        let Some(disaster) = &self.disasters.disaster else { return false };
        let latest = self.latest().map(|latest| latest.document());
        let is_over = latest.is_some_and(|document| {
            Some(document.generation) >= disaster.generation && document.given_up().is_empty()
        });
        if disaster.generation.is_some() && is_over {
            self.disasters.disaster = None;
        }
        self.disasters.disaster.is_some()
    }

    /// Whether a document comes from a rescue that nobody but its own node may follow.
    pub(crate) fn is_of_stray(&self, document: &Document) -> bool {
        self.disasters.strays.contains(&document.rescue_id)
    }

    /// A node that was given up runs again with its data: nobody may speak to it. One at a time, which
    /// is no majority of anything.
    pub(crate) fn revive(&mut self, revival: Revival) {
        let Some(latest) = self.latest().map(|latest| Arc::clone(latest.document())) else {
            return;
        };
        let knows = |sim: &SimNode| {
            let known = sim.state.document.as_ref();
            known.is_some_and(|known| known.generation == latest.generation)
        };
        let living = latest.members().filter_map(|member| index_of(&member.node_id));
        let living = living.filter(|node| !self.disasters.given_up.contains(node));
        let living: Vec<usize> = living.collect();
        let is_alone = self.disasters.given_up.iter().all(|&node| self.nodes[node].killed);
        if !is_alone || !living.iter().all(|&node| knows(&self.nodes[node])) {
            return;
        }
        let was_one_of_several = |node: &usize| {
            let document = self.nodes[*node].state.document.as_ref();
            document.is_some_and(|document| document.current.copies() > 1)
        };
        let Some(node) = self.disasters.given_up.iter().copied().find(was_one_of_several) else {
            return;
        };
        if revival == Revival::Rescued {
            let rescue_id = u128::from(self.random.next()) | 1;
            // With one of the others, so that it acknowledges nothing alone. Where the two can help
            // themselves it comes as it is.
            let names = living.first().copied().map(node_name).into_iter().collect();
            if let Ok(after) = rescued(&self.nodes[node].state, names, rescue_id) {
                let generation = after.document.as_ref().map_or(0, |after| after.generation);
                self.nodes[node].state = after;
                self.disasters.strays.push(rescue_id);
                self.emit(Fact::Rescued { node: small(node), generation, is_stray: true });
            }
        }
        self.nodes[node].killed = false;
        self.queue.push(self.now, Happening::Start { node });
    }

    /// One of the nodes that were given up comes with an empty disk and is to join.
    pub(crate) fn come_empty(&mut self, who: Who) {
        if self.is_rescuing() {
            return;
        }
        let given_up = |world: &Self, node: usize| world.disasters.given_up.contains(&node);
        if let Some(node) = self.pick(who, given_up) {
            self.clear(node);
            self.wish(crate::fact::Wish::Join(small(node)));
        }
    }

    /// Nodes that nobody speaks to any more come back empty: those that a rescue gave up and that live
    /// after all, and those that were about to join when it gave up what was under way.
    pub(crate) fn clear_strays(&mut self) {
        let Some(latest) = self.latest().map(|latest| Arc::clone(latest.document())) else {
            return;
        };
        for node in 0..self.nodes.len() {
            let sim = &self.nodes[node];
            let (Some(own), Some(document)) = (sim.state.ordinal, &sim.state.document) else {
                continue;
            };
            let line = |document: &Document| (document.generation, document.rescue_id);
            let is_named =
                latest.member(own).is_some_and(|member| member.node_id == self.nodes[node].name);
            let believes = document.member(own).is_some();
            if !sim.killed && believes && !is_named && line(document) != line(&latest) {
                self.clear(node);
            }
        }
    }

    /// A node that is no member any more starts anew, as `paravon rescue` tells the operator to do.
    fn clear(&mut self, node: usize) {
        self.crash(node, None);
        let fresh = SimNode::new(&self.plan, node);
        let sim = &mut self.nodes[node];
        sim.lost = sim.state.ordinal.or(sim.lost);
        sim.killed = false;
        sim.engine = fresh.engine;
        sim.state = fresh.state;
        sim.forgetting = fresh.forgetting;
        sim.marking = fresh.marking;
        self.disasters.given_up.retain(|given_up| *given_up != node);
        self.emit(Fact::DiskCleared { node: small(node) });
        let down = self.random.magnitude(10 * MILLISECOND, SECOND);
        self.queue.push(self.now + down, Happening::Start { node });
    }

    /// Whether two nodes may not speak to each other, because a rescue stands between them.
    pub(crate) fn are_parted(&self, one: usize, other: usize) -> bool {
        let place = |node: usize| {
            let process = self.nodes[node].process.as_ref()?;
            Some((process.cluster.document()?, self.nodes[node].state.ordinal?))
        };
        let (Some(one), Some(other)) = (place(one), place(other)) else { return false };
        let (earlier, later) =
            if one.0.generation <= other.0.generation { (one, other) } else { (other, one) };
        if earlier.0.generation == later.0.generation {
            return earlier.0.rescue_id != later.0.rescue_id;
        }
        later.0.given_up().contains(&earlier.1)
    }
}

/// The latest document that a node knows.
fn known_document(sim: &SimNode) -> Option<&Arc<Document>> {
    let process = sim.process.as_ref();
    let in_memory = process.and_then(|process| process.cluster.document());
    in_memory.or(sim.state.document.as_ref())
}

/// Whether nobody but an operator can help these members of a document, if they are all that is left.
fn needs_rescue(document: &Arc<Document>, left: &[usize]) -> bool {
    let Some((&first, others)) = left.split_first() else { return false };
    let name = node_name(first);
    let ordinal = document.member_named(&name).map(|member| member.ordinal);
    let document = Some(Arc::clone(document));
    let state = ClusterState { ordinal, document, ..ClusterState::new(name) };
    rescued(&state, others.iter().copied().map(node_name).collect(), 1).is_ok()
}

/// What a rescue makes of a node's state, with as many of `others` as it can name.
fn rescued(
    state: &ClusterState,
    mut others: Vec<NodeId>,
    rescue_id: u128,
) -> Result<ClusterState, RescueRefusal> {
    loop {
        match rescue(state, &others, rescue_id) {
            // Whoever was about to come with the change that is given up is to join again.
            Err(
                RescueRefusal::UnknownSurvivor { node_id } | RescueRefusal::Newcomer { node_id },
            ) if others.contains(&node_id) => others.retain(|other| *other != node_id),
            done => return done,
        }
    }
}
