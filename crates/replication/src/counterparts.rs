//! What this shard and each other member both store, and when they were last seen to agree on it.
//!
//! *Agreed with a peer at a time* means: whatever the peer held until then this node held too, or
//! something newer. **Never:** outlives the emptying of the partition here, and is never taken from a
//! pull: only equal totals say it.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Class, Ordinal};
use paravon_ring::{Layout, Partition};

use crate::comparison::Differences;
use crate::portion::Portion;
use crate::suspects::{Sight, Suspects};

/// Partitions of a class whose sums are looked at in one round; the next one begins behind these.
const MAX_LOOKS: usize = 256;

/// So many of these are for what has changed, where so much has: what is due may stay so for as long as
/// its peer cannot be pulled from, or stores nothing.
const FOR_CHANGED: usize = MAX_LOOKS / 4;

/// Another member that stores partitions of this shard.
#[derive(Debug)]
pub(crate) struct Counterpart {
    pub(crate) peer: Ordinal,
    /// In order.
    shared: Arc<[Partition]>,
    /// When they agreed, of each of these; never since the start where none.
    agreed: Vec<Option<Duration>>,
    /// A multiple of the numbers of shards at both ends, as far as that is known.
    modulus: u32,
    /// When the next round with it may begin; none before the first was planned.
    due: Option<Duration>,
    /// How much sooner than that, because somebody waits for a round that begins from now on.
    sooner: Duration,
    pub(crate) suspects: Suspects,
    /// Where the next round begins to look at what is due, and at what has changed.
    look_from: [Partition; 2],
}

/// All of them, by ordinal.
#[derive(Debug)]
pub(crate) struct Counterparts {
    portion: Portion,
    all: Vec<Counterpart>,
}

impl Counterparts {
    /// Those that `layout` gives this portion of `own`.
    pub(crate) fn of(layout: &Layout, own: Ordinal, portion: Portion) -> Self {
        let mut shared: BTreeMap<Ordinal, Vec<Partition>> = BTreeMap::new();
        for partition in portion.partitions(layout.shift()) {
            let sets = layout.sets(partition);
            if sets.contains(own) {
                for peer in sets.all().filter(|peer| *peer != own) {
                    shared.entry(peer).or_default().push(partition);
                }
            }
        }
        let counterpart = |(peer, shared): (Ordinal, Vec<Partition>)| Counterpart {
            peer,
            agreed: vec![None; shared.len()],
            shared: shared.into(),
            modulus: portion.shards(),
            due: None,
            sooner: Duration::ZERO,
            suspects: Suspects::default(),
            look_from: [Partition(0); 2],
        };
        Self { portion, all: shared.into_iter().map(counterpart).collect() }
    }

    /// Another layout is in use: what was agreed on partitions that are still shared stays so, but for
    /// `new` ones, which are emptied here.
    pub(crate) fn relayout(&mut self, layout: &Layout, own: Ordinal, new: &[Partition]) {
        let earlier = core::mem::replace(self, Self::of(layout, own, self.portion));
        let new: BTreeSet<_> = new.iter().collect();
        for mut known in earlier.all {
            let Some(now) = self.get_mut(known.peer) else { continue };
            for (partition, agreed) in now.shared.iter().zip(&mut now.agreed) {
                *agreed = known.agreed_at(*partition).filter(|_| !new.contains(partition));
            }
            known
                .suspects
                .retain(|partition| now.place(partition).is_some() && !new.contains(&partition));
            (now.modulus, now.due, now.sooner) = (known.modulus, known.due, known.sooner);
            (now.suspects, now.look_from) = (known.suspects, known.look_from);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Counterpart> {
        self.all.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Counterpart> {
        self.all.iter_mut()
    }

    pub(crate) fn get(&self, peer: Ordinal) -> Option<&Counterpart> {
        let at = self.all.binary_search_by_key(&peer, |counterpart| counterpart.peer).ok()?;
        self.all.get(at)
    }

    pub(crate) fn get_mut(&mut self, peer: Ordinal) -> Option<&mut Counterpart> {
        let at = self.all.binary_search_by_key(&peer, |counterpart| counterpart.peer).ok()?;
        self.all.get_mut(at)
    }

    /// When this node held all that the peer held of the partition until then; none where that is not
    /// known since the start.
    pub(crate) fn agreed_at(&self, partition: Partition, peer: Ordinal) -> Option<Duration> {
        self.get(peer)?.agreed_at(partition)
    }

    /// Whether all that store the partition were seen to agree on it after this time.
    pub(crate) fn agree_since(&self, partition: Partition, time: Duration) -> bool {
        self.all
            .iter()
            .filter_map(|known| known.agreed.get(known.place(partition)?))
            .all(|agreed| agreed.is_some_and(|at| at > time))
    }
}

impl Counterpart {
    /// What both store, of this shard.
    pub(crate) fn shared(&self) -> &Arc<[Partition]> {
        &self.shared
    }

    /// When the next round with it may begin.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.due.map(|due| due.saturating_sub(self.sooner))
    }

    /// The next round with it may begin then, or sooner where it is wanted.
    pub(crate) fn plan(&mut self, at: Duration) {
        (self.due, self.sooner) = (Some(at), Duration::ZERO);
    }

    /// Another round is wanted so much sooner.
    pub(crate) fn hasten(&mut self, sooner: Duration) {
        self.sooner = sooner;
    }

    /// When they last agreed on the partition.
    pub(crate) fn agreed_at(&self, partition: Partition) -> Option<Duration> {
        self.agreed[self.place(partition)?]
    }

    /// They agree since then.
    pub(crate) fn agree(&mut self, partition: Partition, at: Duration) {
        if let Some(place) = self.place(partition) {
            self.agreed[place] = Some(at);
        }
    }

    /// A comparison of a class that lasted from `began` to `ended` found these to differ: gives those whose
    /// sums are to be looked at in this round.
    pub(crate) fn looks(
        &mut self,
        differing: Differences,
        began: Duration,
        ended: Duration,
    ) -> VecDeque<Partition> {
        let (mut due, mut changed) = (Vec::new(), Vec::new());
        for (partition, by) in differing {
            match self.suspects.see(partition, by, began, ended) {
                Sight::Waits => {}
                Sight::Changed => changed.push(partition),
                Sight::Due => due.push(partition),
            }
        }
        let [due_from, changed_from] = &mut self.look_from;
        let kept_free = changed.len().min(FOR_CHANGED);
        let mut looks = in_turn(due, due_from, MAX_LOOKS - kept_free);
        let room = MAX_LOOKS - looks.len();
        looks.extend(in_turn(changed, changed_from, room));
        looks
    }

    /// The peer has so many shards: gives whether that was news.
    pub(crate) fn learn_shards(&mut self, shards: u16) -> Option<()> {
        let shards = u32::from(shards);
        if shards == 0 || self.modulus.is_multiple_of(shards) {
            return None;
        }
        // Both numbers were 16 bits wide, so there is no overflow unless the peer changes its mind.
        self.modulus = (self.modulus / common_divisor(self.modulus, shards)).checked_mul(shards)?;
        Some(())
    }

    /// The classes in which something is shared, each of one shard at both ends.
    pub(crate) fn classes(&self, portion: Portion) -> VecDeque<Class> {
        let modulus = self.modulus;
        let class = |residue| Class { modulus, residue };
        if modulus == portion.shards() {
            return [class(portion.number())].into();
        }
        let residues = self.shared.iter().map(|partition| partition.0 % modulus);
        let mut residues: Vec<_> = residues.collect();
        residues.sort_unstable();
        residues.dedup();
        residues.into_iter().map(class).collect()
    }

    fn place(&self, partition: Partition) -> Option<usize> {
        self.shared.binary_search(&partition).ok()
    }
}

/// Those of these partitions, which are in order, that are of the class.
pub(crate) fn of_class(partitions: &Arc<[Partition]>, class: Class) -> Arc<[Partition]> {
    let is_of = |partition: &Partition| class.contains(partition.0);
    if partitions.iter().all(is_of) {
        return partitions.clone();
    }
    partitions.iter().copied().filter(is_of).collect()
}

/// The first `most` of these partitions, which are in order, from the one on whose turn it is.
fn in_turn(mut all: Vec<Partition>, from: &mut Partition, most: usize) -> VecDeque<Partition> {
    let before = all.partition_point(|partition| partition < from);
    all.rotate_left(before);
    all.truncate(most);
    if let Some(last) = all.last() {
        *from = Partition(last.0 + 1);
    }
    all.into()
}

fn common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { common_divisor(other, one % other) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_cluster::{joint, layout};

    const AT: Duration = Duration::from_secs(7);

    #[test]
    fn what_is_agreed_is_kept_with_whoever_still_shares_it_unless_it_is_emptied() {
        let own = Ordinal(1);
        let mut known = Counterparts::of(&layout(3, 1), own, Portion::new(0, 1));
        assert_eq!(known.iter().map(|known| known.peer.0).collect::<Vec<_>>(), [2, 3]);
        let shared = known.get(Ordinal(2)).unwrap().shared().clone();
        assert_eq!(shared.len(), 16);
        for partition in shared.iter() {
            known.get_mut(Ordinal(2)).unwrap().agree(*partition, AT);
        }
        known.relayout(&joint(&[1, 2, 3], &[1, 2, 4], 2), own, &[Partition(3)]);
        let four = known.get(Ordinal(4)).unwrap();
        assert!(four.shared().iter().all(|partition| four.agreed_at(*partition).is_none()));
        for partition in shared.iter() {
            let expected = (partition.0 != 3).then_some(AT);
            assert_eq!(known.agreed_at(*partition, Ordinal(2)), expected);
        }
        known.relayout(&layout(1, 3), own, &[]);
        assert_eq!(known.iter().count(), 0);
    }

    #[test]
    fn classes_are_of_one_shard_at_both_ends() {
        let (layout, portion) = (layout(3, 1), Portion::new(1, 4));
        let mut known = Counterparts::of(&layout, Ordinal(1), portion);
        let peer = known.get_mut(Ordinal(2)).unwrap();
        let same = Class { modulus: 4, residue: 1 };
        assert_eq!(peer.classes(portion), [same]);
        assert!(Arc::ptr_eq(&of_class(peer.shared(), same), peer.shared()), "without a copy");
        assert_eq!((peer.learn_shards(0), peer.learn_shards(2)), (None, None));
        assert_eq!(peer.learn_shards(6), Some(()));
        let classes = peer.classes(portion);
        assert_eq!(classes, [1, 5, 9].map(|residue| Class { modulus: 12, residue }));
        let mut all: Vec<_> =
            classes.iter().flat_map(|c| of_class(peer.shared(), *c).to_vec()).collect();
        all.sort_unstable();
        assert_eq!(all, peer.shared().to_vec());
        assert!(
            (1..=u16::MAX)
                .rev()
                .take(5)
                .all(|shards| peer.learn_shards(shards).is_none() || peer.modulus != 0)
        );
    }

    #[test]
    fn what_is_due_leaves_turns_to_what_has_changed_and_each_gets_its_own() {
        let mut known = Counterparts::of(&layout(3, 1), Ordinal(1), Portion::new(0, 1));
        let peer = known.get_mut(Ordinal(2)).unwrap();
        let late = AT + paravon_model::limits::MAX_REQUEST_TIMEOUT;
        // A third changes all the time, and nobody pulls what is due.
        let all = |round: u32| -> Differences {
            let by = |it| if it % 3 == 0 { 2 + round } else { 1 };
            (0..900).map(|it| (Partition(it), by(it).into())).collect()
        };
        assert_eq!(peer.looks(all(0), AT, AT), []);
        assert_eq!(peer.looks(all(1), AT, AT).len(), MAX_LOOKS);
        let (mut due, mut changed) = (BTreeSet::new(), BTreeSet::new());
        for round in 2..7 {
            let looks = peer.looks(all(round), late, late);
            assert_eq!(looks.len(), MAX_LOOKS);
            let of_each = looks.iter().partition::<Vec<Partition>, _>(|it| it.0 % 3 > 0);
            assert_eq!((of_each.0.len(), of_each.1.len()), (192, 64));
            due.extend(of_each.0);
            changed.extend(of_each.1);
        }
        assert_eq!((due.len(), changed.len()), (600, 300));
    }
}
