//! What the invariants are told of marks, of what goes by them, and of what comes in spite of them.
//!
//! What a replica knows it is told by its peers; the world looks at their disks. **Never:** blames a node for
//! what a disk says that has stored another layout: its marks were others when they were told.

use paravon_model::{Damage, Fence, Hlc, Marks, Ordinal, Version};
use paravon_ring::{Layout, Partition};

use crate::fact::Fact;
use crate::view::NOTHING;
use crate::world::{World, small};

/// Below every mark that a partition is ever closed at: what lies there only says that it was emptied.
const LEAST_MARK: Hlc = Hlc::new(1, 0);

impl World {
    /// A shard wants marks to be durable: has it a right to?
    pub(crate) fn judge_wanted(
        &mut self,
        node: usize,
        shard: usize,
        partition: Partition,
        wanted: Marks,
    ) {
        let Some(process) = &mut self.nodes[node].process else { return };
        let Some(layout) = process.shard_layouts.get(shard).cloned() else { return };
        let known = self.oracle.view.marks(small(node), partition.0);
        let judged = process.judged.entry(partition).or_insert((known.0, known.1));
        let before = std::mem::replace(judged, (wanted.floor, wanted.full));
        let others: Vec<_> = layout.sets(partition).all().collect();
        let fence = layout.fence();
        if wanted.closed < known.2 && !self.may_give_up_marks(node, &layout, partition) {
            self.emit(Fact::MarksGivenUp { node: small(node), partition: partition.0 });
        }
        self.judge_hurt(node, partition, &layout, before, wanted);
        if wanted.full > before.1 {
            self.judge_full(node, partition, fence, &others, wanted.full);
        }
        if wanted.floor > before.0 {
            self.judge_floor(node, partition, fence, &others, wanted.floor);
        }
    }

    /// A replica that cannot read a key raises neither floor nor full; but whoever heals one with the absence
    /// that a whole member shows takes that member's floor, too.
    fn judge_hurt(
        &mut self,
        node: usize,
        partition: Partition,
        layout: &Layout,
        before: (Hlc, Hlc),
        wanted: Marks,
    ) {
        let number = small(node);
        let hurt_key = |node: u8| {
            let keys = self.oracle.view.hurt.range((node, 0)..=(node, u8::MAX));
            keys.map(|(_, key)| *key).find(|key| self.partition_of(*key) == partition)
        };
        let Some(key) = hurt_key(number) else { return };
        let fence = layout.fence();
        let sets = layout.sets(partition);
        let mut others = sets.all().filter_map(|member| self.marks_under(member, partition, fence));
        let shows = |(other, (floor, ..)): (u8, (Hlc, Hlc, Hlc))| {
            other != number && floor >= wanted.floor && hurt_key(other).is_none()
        };
        if wanted.full > before.1 || wanted.floor > before.0 && !others.any(shows) {
            self.emit(Fact::HurtMoved { node: number, key });
        }
    }

    /// A replica that calls itself full holds what was acknowledged, and everybody is closed there.
    fn judge_full(
        &mut self,
        node: usize,
        partition: Partition,
        fence: Fence,
        members: &[Ordinal],
        full: Hlc,
    ) {
        let number = small(node);
        let open = members.iter().filter_map(|member| self.marks_under(*member, partition, fence));
        let open = open.filter(|(_, (_, _, closed))| *closed < full).map(|(other, _)| other).next();
        if let Some(other) = open {
            let partition = partition.0;
            self.emit(Fact::FullBeforeClosed { node: number, other, partition, full });
        }
        for key in 0..small(self.keys.len()) {
            let view = &self.oracle.view;
            let acked = view.acked_up_to(key, full);
            let held = view.durable(number, key);
            // A newcomer need not know of what all have dropped.
            let is_gone = held == NOTHING && view.dropped(key) >= acked;
            let is_hurt = view.rotten.contains_key(&(number, key));
            let holds = held >= acked || view.dropped_on(number, key) >= acked;
            if self.partition_of(key) == partition && !holds && !is_gone && !is_hurt {
                self.emit(Fact::FullWithout { node: number, key, full, acked, held });
            }
        }
    }

    /// A floor is what every member is full at, or what one of them knows to be so.
    fn judge_floor(
        &mut self,
        node: usize,
        partition: Partition,
        fence: Fence,
        members: &[Ordinal],
        floor: Hlc,
    ) {
        let number = small(node);
        let marks = members.iter().filter_map(|member| self.marks_under(*member, partition, fence));
        let marks: Vec<_> = marks.filter(|(other, _)| *other != number).collect();
        let is_known = marks.iter().any(|(_, (theirs, _, _))| *theirs >= floor);
        let lacking = marks.iter().find(|(_, (_, full, _))| *full < floor);
        if let Some(&(other, _)) = lacking.filter(|_| !is_known) {
            let partition = partition.0;
            self.emit(Fact::FloorBeforeFull { node: number, other, partition, floor });
        }
    }

    /// The number of a member and its durable floor, `full` and `closed`, where its disk says that it has
    /// stored this layout and no later one.
    fn marks_under(
        &self,
        member: Ordinal,
        partition: Partition,
        fence: Fence,
    ) -> Option<(u8, (Hlc, Hlc, Hlc))> {
        let node = self.node_of(member)?;
        let state = &self.nodes[node].state;
        let is_it = state.ordinal == Some(member) && state.stored == Some(fence);
        is_it.then(|| (small(node), self.oracle.view.marks(small(node), partition.0)))
    }

    /// The marks of a partition are durable.
    pub(crate) fn note_marks(&mut self, node: usize, partition: Partition, marks: Marks) {
        if marks.damage == Damage::None {
            self.note_lifted(node, partition);
        }
        let Marks { floor, full, closed, .. } = marks;
        let (node, partition) = (small(node), partition.0);
        if self.oracle.view.marks(node, partition) != (floor, full, closed) {
            let emptied = closed < LEAST_MARK;
            self.emit(Fact::Marked { node, partition, floor, full, closed, emptied });
        }
    }

    /// Marks are on their way to a disk.
    pub(crate) fn note_marking(&mut self, node: usize, partition: Partition, marks: Marks) {
        self.nodes[node].marking.push((partition, promise_of(marks)));
    }

    /// The disk has answered for marks that were on their way to it.
    pub(crate) fn note_marking_ended(&mut self, node: usize, partition: Partition, marks: Marks) {
        let marking = &mut self.nodes[node].marking;
        let ended = (partition, promise_of(marks));
        if let Some(at) = marking.iter().position(|known| *known == ended) {
            marking.swap_remove(at);
        }
    }

    /// What a crash left of marks: those that were durable before it, or some that were on their way. Those
    /// may be lower, and were judged when a shard wanted them.
    pub(crate) fn judge_surviving_marks(&mut self, node: usize) {
        let (number, shards) = (small(node), usize::from(self.plan.shards));
        let marking = std::mem::take(&mut self.nodes[node].marking);
        let kept: Vec<_> =
            (0..shards).flat_map(|shard| self.nodes[node].engine.marks(shard)).collect();
        let known = self.oracle.view.marks.iter().filter(|((holder, _), _)| *holder == number);
        let lost = known.filter(|&(&(_, partition), &durable)| {
            let of_partition = kept.iter().find(|(of, _)| of.0 == partition);
            let left = promise_of(of_partition.map(|(_, marks)| *marks).unwrap_or_default());
            left != durable && !marking.contains(&(Partition(partition), left))
        });
        let lost: Vec<_> = lost.map(|((_, partition), _)| *partition).collect();
        for partition in lost {
            self.emit(Fact::MarksLost { node: number, partition });
        }
        let restored = kept.iter().filter(|(_, marks)| marks.closed >= LEAST_MARK).count();
        if restored > 0 {
            self.emit(Fact::MarksRestored { node: number, partitions: small(restored) });
        }
        for (partition, marks) in kept {
            self.note_marks(node, partition, marks);
        }
    }

    /// Whether a node of this layout need not keep what its marks of a partition promise: it stores the
    /// partition no longer, or is new to it and holds nothing of it.
    fn may_give_up_marks(&self, node: usize, layout: &Layout, partition: Partition) -> bool {
        let Some(process) = &self.nodes[node].process else { return false };
        let stores = process.ordinal.is_some_and(|own| layout.sets(partition).contains(own));
        !stores || process.new.contains(&partition) && self.is_bare(small(node), partition)
    }

    /// Whether a disk holds nothing of a partition.
    fn is_bare(&self, node: u8, partition: Partition) -> bool {
        let keys = 0..small(self.keys.len());
        let mut own = keys.filter(|key| self.partition_of(*key) == partition);
        own.all(|key| self.oracle.view.durable(node, key) == NOTHING)
    }

    /// Whether a record is one of those that go at or below the floor.
    pub(crate) fn may_drop(&self, node: usize, key: u8, version: Version) -> bool {
        let (floor, _, _) = self.oracle.view.marks(small(node), self.partition_of(key).0);
        version.hlc <= floor && self.oracle.view.goes(version, floor)
    }

    /// Something is about to be known as stored: it must not lie where nothing enters any more, nor below
    /// what was dropped.
    pub(crate) fn judge_entry(&mut self, node: usize, key: u8, before: Version, version: Version) {
        let number = small(node);
        let view = &self.oracle.view;
        let is_hurt = view.rotten.contains_key(&(number, key));
        if version <= before || is_hurt {
            return;
        }
        let (_, full, _) = view.marks(number, self.partition_of(key).0);
        let dropped = view.dropped(key);
        if version.hlc <= full {
            self.emit(Fact::EnteredBelowFull { node: number, key, version, full });
        }
        if version < dropped && self.is_to_store(node, key) {
            self.emit(Fact::Resurrected { node: number, key, version, dropped });
        }
    }

    /// Replicas with equal floors hold the same at or below them (`FLOOR_SAFE`).
    pub(crate) fn compare_floors(&mut self) {
        if self.oracle.view.marks.is_empty() {
            return;
        }
        let Some(latest) = self.latest().cloned() else { return };
        for key in 0..small(self.keys.len()) {
            let partition = self.partition_of(key);
            let mut known: Vec<(u8, Hlc, Option<Version>)> = Vec::new();
            for replica in latest.sets(partition).all() {
                let Some(node) = self.node_of(replica) else { continue };
                let admitted = self.nodes[node].process.as_ref().map(|process| process.admitted);
                let number = small(node);
                let (floor, _, _) = self.oracle.view.marks(number, partition.0);
                if admitted != Some(Some(latest.fence())) || floor == Hlc::ZERO {
                    continue;
                }
                let Some(held) = self.oracle.view.held_below(number, key, floor) else { continue };
                let alike = known.iter().find(|(_, other, _)| *other == floor);
                match alike {
                    Some(&(other, _, theirs)) if theirs != held => {
                        return self.emit(Fact::FloorsDiffer { node: number, other, key, floor });
                    }
                    Some(_) => {}
                    None => known.push((number, floor, held)),
                }
            }
        }
    }
}

/// The floor, `full` and `closed`.
fn promise_of(marks: Marks) -> (Hlc, Hlc, Hlc) {
    (marks.floor, marks.full, marks.closed)
}

#[cfg(test)]
mod tests {
    use paravon_replication::OperationId;

    use super::*;
    use crate::engine::{Job, Owner};
    use crate::plan::Plan;
    use crate::trace::Printing;

    const CLOSED: Marks = Marks {
        floor: Hlc::ZERO,
        full: Hlc::ZERO,
        closed: Hlc::new(5_000, 0),
        damage: Damage::None,
    };
    const EMPTIED: Marks = Marks { closed: Hlc::from_u64(1), ..CLOSED };

    /// Whether the marks of a partition that the node stores, or of one that it does not, were judged.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Place {
        Stored,
        Foreign,
    }

    /// Whether the world was told that marks are on their way.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Way {
        Known,
        Unknown,
    }

    fn queue(world: &mut World, marks: Marks) {
        let owner = Owner { shard: world.shard_of_partition(Partition(0)), service: 0 };
        let (operation, partition) = (OperationId::from_u64(0), Partition(0));
        let job = Job::SetMarks { owner, operation, partition, marks };
        world.nodes[0].engine.queue(job);
        assert!(world.nodes[0].engine.begin_sync());
    }

    /// What is said of a crash before which lower marks reached the disk, and nobody heard of that.
    fn crashed(way: Way) -> Option<&'static str> {
        let mut world = World::new(Plan::calm(1, 3, 10), Printing::Off);
        world.start(0);
        queue(&mut world, CLOSED);
        world.sync_ends(0, world.nodes[0].incarnation);
        assert_eq!(world.oracle.view.marks(0, 0), promise_of(CLOSED));

        if way == Way::Known {
            world.note_marking(0, Partition(0), EMPTIED);
        }
        queue(&mut world, EMPTIED);
        world.nodes[0].engine.end_sync(&mut Vec::new());
        world.crash(0, None);
        world.start(0);
        assert_eq!(world.oracle.view.marks(0, 0), promise_of(EMPTIED));
        world.oracle.violation.map(|violation| violation.invariant)
    }

    #[test]
    fn a_crash_leaves_marks_that_were_durable_or_on_their_way() {
        assert_eq!(crashed(Way::Known), None);
        assert_eq!(crashed(Way::Unknown), Some("FLOOR_SAFE"));
    }

    /// What is said of a shard that gives up the marks of a partition.
    fn given_up(place: Place) -> Option<&'static str> {
        let mut world = World::new(Plan::calm(1, 4, 10), Printing::Off);
        world.run();
        assert_eq!(world.oracle.violation, None);
        let layout = world.latest().cloned().expect("the cluster has formed");
        let own = world.nodes[0].state.ordinal.expect("it is a member");
        let is_it = |partition: &Partition| {
            layout.sets(*partition).contains(own) == (place == Place::Stored)
        };
        let mut partitions = (0..world.shift().partitions()).map(Partition);
        let partition = partitions.find(is_it).expect("three of four nodes store a partition");
        world.note_marks(0, partition, CLOSED);
        let shard = world.shard_of_partition(partition);
        world.judge_wanted(0, shard, partition, EMPTIED);
        world.oracle.violation.map(|violation| violation.invariant)
    }

    #[test]
    fn a_shard_gives_up_the_marks_of_what_it_stores_no_longer() {
        assert_eq!(given_up(Place::Foreign), None);
        assert_eq!(given_up(Place::Stored), Some("FLOOR_SAFE"));
    }
}
