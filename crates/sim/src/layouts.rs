//! Hands layouts to a node's shards, and what the shards say of them to its cluster machine: a document
//! is durable, everything older has ended, requests are admitted, partitions are taken over.

use std::sync::Arc;

use paravon_model::{Document, Fence, Member, Ordinal, Progress, Version};
use paravon_replication::cluster::ClusterEvent;
use paravon_replication::{Admission, ClockSettings, Event, Settings, Shard};
use paravon_ring::{Layout, Partition};

use crate::fact::Fact;
use crate::life::MAX_SKEW;
use crate::node::{Sums, index_of};
use crate::world::{Work, World, small};

impl World {
    /// A document is durable, says the cluster machine: the shards use its layout from now on.
    pub(crate) fn use_layout(
        &mut self,
        node: usize,
        document: Arc<Document>,
        stored: Option<Fence>,
    ) {
        let durable = self.nodes[node].state.document.as_ref() == Some(&document);
        let layout = self.layout_of(node, document);
        self.note_layout(node, &layout, durable);
        let own = layout.document().member_named(&self.nodes[node].name);
        let own = own.map(|member| member.ordinal);
        let new = own.map(|own| layout.made_new(own, stored)).unwrap_or_default();
        let Some(process) = &mut self.nodes[node].process else { return };
        process.members = members_of(&layout);
        process.dead.retain(|dead| layout.document().member(*dead).is_some());
        if own != process.ordinal || own.is_none() {
            self.stop_serving(node);
        }
        let Some(own) = own else { return };
        let sim = &mut self.nodes[node];
        sim.old_disk &= sim.lost == Some(own);
        let Some(process) = &mut sim.process else { return };
        let new: Arc<[Partition]> = new.into();
        process.ordinal = Some(own);
        process.layout = Some(Arc::clone(&layout));
        process.new = Arc::clone(&new);
        if process.shards.is_empty() {
            let rescued = stored.is_some_and(|fence| fence.generation < layout.fence().generation);
            let admission = if rescued { Admission::Rescued(new) } else { Admission::Empties(new) };
            self.make_shards(node, own, &layout, &admission);
        } else {
            self.tell_shards(node, &Event::Layout { layout, new });
        }
        self.tell_links(node);
    }

    /// Says which layout a node uses, and whether others mean the same by its fence.
    fn note_layout(&mut self, node: usize, layout: &Layout, durable: bool) {
        let document = layout.document();
        let fence = layout.fence();
        let mask = |members: &[Member]| {
            let bits = members.iter().filter_map(|member| index_of(&member.node_id));
            bits.fold(0, |mask, index| mask | 1 << index)
        };
        let current = mask(&document.current.members);
        let next = document.joint().map_or(0, |joint| mask(&joint.next.members));
        let (node, version) = (small(node), document.version);
        self.emit(Fact::LayoutUsed { node, version, fence, current, next, durable });
    }

    /// The table of a document, made once for all nodes.
    fn layout_of(&mut self, node: usize, document: Arc<Document>) -> Arc<Layout> {
        if self.is_of_stray(&document) {
            return Arc::new(Layout::of(document));
        }
        let (revision, fence) = (document.revision(), document.fence());
        let known = self.layouts.iter().find(|layout| layout.document().revision() == revision);
        if let Some(layout) = known.cloned() {
            if *layout.document() == document {
                return layout;
            }
            let version = document.version;
            self.emit(Fact::DocumentsDiffer { node: small(node), version });
        }
        let places_alike =
            |known: &Document| known.current == document.current && known.phase == document.phase;
        let of_fence = self.layouts.iter().find(|layout| layout.fence() == fence);
        let is_new = of_fence.is_none();
        if of_fence.is_some_and(|known| !places_alike(known.document())) {
            self.emit(Fact::LayoutsDiffer { node: small(node), fence });
        }
        let layout = Arc::new(Layout::of(document));
        self.layouts.push(Arc::clone(&layout));
        if is_new && layout.document().joint().is_none() {
            self.note_inheritance(&layout);
        }
        layout
    }

    /// A change has ended: what was acknowledged or read before lies on a majority of every set that
    /// there is from now on.
    fn note_inheritance(&mut self, layout: &Layout) {
        for key in 0..small(self.keys.len()) {
            let version = self.oracle.view.acked(key).max(self.oracle.view.seen(key));
            let mut holders = self.holders_in(layout, key, version);
            holders.current.holding -= self.counted_in_vain(layout, key, version);
            self.emit(Fact::Inherited { fence: layout.fence(), key, version, holders });
        }
    }

    /// Copies that were lost before the change began: others have brought what they held.
    fn counted_in_vain(&self, layout: &Layout, key: u8, version: Version) -> u8 {
        let (view, partition) = (&self.oracle.view, self.partition_of(key));
        let is_counted = |replica: &&Ordinal| {
            let Some(node) = self.node_of(**replica).map(small) else { return false };
            let was_lost = view.lost.get(&(node, partition.0)).is_some_and(|fence| {
                fence.generation == layout.fence().generation
                    && fence.number + 2 <= layout.fence().number
            });
            let counts = view.holds(node, key, version, layout.fence());
            was_lost && counts && view.durable(node, key) < version
        };
        let vain = small(layout.sets(partition).current.iter().filter(is_counted).count());
        // Where several were lost and the set stays as it was nobody brings anything: they wait for an
        // operator.
        if vain > 1 && self.is_set_as_before(layout, partition) { 0 } else { vain }
    }

    /// Whether the change that this layout ends has left the set of a partition alone.
    fn is_set_as_before(&self, layout: &Layout, partition: Partition) -> bool {
        let fence = layout.fence();
        let is_before = |known: &&Arc<Layout>| {
            let known = known.fence();
            known.generation == fence.generation && known.number + 2 == fence.number
        };
        let before = self.layouts.iter().find(is_before);
        before
            .is_some_and(|before| before.sets(partition).current == layout.sets(partition).current)
    }

    fn make_shards(
        &mut self,
        node: usize,
        ordinal: Ordinal,
        layout: &Arc<Layout>,
        admission: &Admission,
    ) {
        let lanes = self.plan.shards;
        let (shift, now) = (self.shift(), self.now);
        let sim = &mut self.nodes[node];
        sim.services += 1;
        let Some(process) = &mut sim.process else { return };
        if process.sums == Sums::None {
            process.sums = Sums::Kept { unsummed: true };
            sim.engine.keep_sums(lanes, layout.document().hash_seed, shift);
        }
        process.service = sim.services;
        process.served_since = now;
        process.shard_layouts = vec![Arc::clone(layout); usize::from(lanes)];
        process.settled = vec![None; usize::from(lanes)];
        process.told_links = Default::default();
        for lane in 0..lanes {
            let clock = ClockSettings { max_skew: MAX_SKEW, recovered: sim.ceiling, lane, lanes };
            process.shards.push(Shard::new(Settings {
                ordinal,
                number: lane,
                shards: lanes,
                layout: Arc::clone(layout),
                admission: admission.clone(),
                clock,
                hinted: sim.engine.owed(usize::from(lane)),
                damaged: sim.engine.damaged(usize::from(lane)),
                marks: sim.engine.marks(usize::from(lane)),
            }));
        }
        let lanes = usize::from(lanes);
        let hurt: Vec<_> = (0..lanes).flat_map(|lane| sim.engine.damaged(lane)).collect();
        let (permit, dead) = (process.permit, process.dead.clone());
        for (_, key) in hurt {
            self.emit(Fact::Hurt { node: small(node), key: self.key_number(&key) });
        }
        for key in 0..small(self.keys.len()) {
            let node = small(node);
            if self.oracle.view.lost.contains_key(&(node, self.partition_of(key).0)) {
                self.emit(Fact::Hurt { node, key });
            }
        }
        self.tell_shards(node, &Event::Clock { permit });
        for peer in dead {
            self.tell_shards(node, &Event::Dead { peer });
        }
        self.tell_shards(node, &Event::Tick);
    }

    /// The node is no member any more, or not the one that its shards are of: what they have under way
    /// is dropped, and nothing of it is ever answered.
    pub(crate) fn stop_serving(&mut self, node: usize) {
        let Some(process) = &mut self.nodes[node].process else { return };
        process.shards.clear();
        process.shard_layouts.clear();
        process.settled.clear();
        process.layout = None;
        process.admitted = None;
    }

    pub(crate) fn tell_shards(&mut self, node: usize, event: &Event) {
        let shards = self.nodes[node].process.as_ref().map_or(0, |process| process.shards.len());
        for shard in 0..shards {
            let event = event.clone();
            self.work.push_back(Work::Shard { node, shard, event });
        }
    }

    /// A shard has ended what it did under earlier layouts.
    pub(crate) fn settled(&mut self, node: usize, shard: usize, fence: Fence, progress: Progress) {
        let Some(process) = &mut self.nodes[node].process else { return };
        let Some(settled) = process.settled.get_mut(shard) else { return };
        *settled = Some((fence, progress));
        if let Some(progress) = progress_under(&process.settled, fence) {
            self.note_progress(node, fence, progress);
            self.tell_cluster(node, ClusterEvent::Settled { fence, progress });
        }
    }

    /// A shard has taken over more.
    pub(crate) fn progressed(
        &mut self,
        node: usize,
        shard: usize,
        fence: Fence,
        progress: Progress,
    ) {
        let Some(process) = &mut self.nodes[node].process else { return };
        let Some(settled) = process.settled.get_mut(shard) else { return };
        *settled = Some((fence, progress));
        if let Some(progress) = progress_under(&process.settled, fence) {
            self.note_progress(node, fence, progress);
            self.tell_cluster(node, ClusterEvent::Progressed { fence, progress });
        }
    }

    fn note_progress(&mut self, node: usize, fence: Fence, progress: Progress) {
        let Progress { partitions, complete, .. } = progress;
        self.emit(Fact::Progressed { node: small(node), fence, partitions, complete });
    }

    /// The node has stored the document of this fence.
    pub(crate) fn admit_requests(&mut self, node: usize, fence: Fence) {
        let durable = self.nodes[node].state.stored == Some(fence);
        self.emit(Fact::LayoutStored { node: small(node), fence, durable });
        self.note_entry(node, fence);
        let Some(process) = &mut self.nodes[node].process else { return };
        process.admitted = Some(fence);
        self.tell_shards(node, &Event::Admit { fence });
    }

    /// What the disk of a node holds of keys that it is new to, in the moment before it may take any.
    fn note_entry(&mut self, node: usize, fence: Fence) {
        let Some(process) = &self.nodes[node].process else { return };
        let new = Arc::clone(&process.new);
        for key in 0..small(self.keys.len()) {
            if new.contains(&self.partition_of(key)) {
                let node = small(node);
                let held = self.oracle.view.durable(node, key);
                self.emit(Fact::Entered { node, fence, key, held });
            }
        }
    }

    /// While a change is under way every cluster machine hears now and then what its stores keep for
    /// others.
    pub(crate) fn tell_hints_kept(&mut self) {
        for node in 0..self.nodes.len() {
            let sim = &mut self.nodes[node];
            let layout = sim.process.as_ref().and_then(|process| process.layout.as_ref());
            if layout.is_none_or(|layout| layout.document().joint().is_none()) {
                continue;
            }
            let shards = 0..usize::from(self.plan.shards);
            let hints = shards.map(|shard| sim.engine.hints_kept(shard)).sum();
            self.tell_cluster(node, ClusterEvent::HintsKept { hints });
        }
    }

    /// The latest document that any node uses.
    pub(crate) fn latest(&self) -> Option<&Arc<Layout>> {
        self.layouts.iter().max_by_key(|layout| layout.document().revision())
    }
}

/// How far all shards are under a fence; none before each has settled it.
fn progress_under(settled: &[Option<(Fence, Progress)>], fence: Fence) -> Option<Progress> {
    settled.iter().try_fold(Progress::default(), |sum, settled| {
        settled.filter(|(known, _)| *known == fence).map(|(_, progress)| sum + progress)
    })
}

/// Who stands behind the numbers of a layout.
fn members_of(layout: &Layout) -> Vec<(Ordinal, usize)> {
    let document = layout.document();
    let is_newest = |member: &&Member| {
        document.member_named(&member.node_id).map(|newest| newest.ordinal) == Some(member.ordinal)
    };
    let member = |member: &Member| Some((member.ordinal, index_of(&member.node_id)?));
    document.members().filter(is_newest).filter_map(member).collect()
}
