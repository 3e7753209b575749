//! Small worlds, for tests that try everything.

use alloc::vec::Vec;

use paravon_model::Ordinal;
use paravon_ring::Sets;

/// So many replicas, numbered from 1.
pub(crate) fn replicas(count: usize) -> Vec<Ordinal> {
    (1..=u32::try_from(count).unwrap()).map(Ordinal).collect()
}

/// The set of a stable layout.
pub(crate) fn stable(current: &[Ordinal]) -> Sets<'_> {
    Sets { current, next: None }
}

/// A change of one replica set to another.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    current: Vec<Ordinal>,
    next: Vec<Ordinal>,
}

impl Change {
    pub(crate) fn sets(&self) -> Sets<'_> {
        Sets { current: &self.current, next: Some(&self.next) }
    }

    /// All members, those of the current set first.
    pub(crate) fn all(&self) -> Vec<Ordinal> {
        self.sets().all().collect()
    }

    /// The places that each set has in the order of [`all`](Self::all).
    pub(crate) fn places(&self) -> [Vec<usize>; 2] {
        let all = self.all();
        let place = |member: &Ordinal| all.iter().position(|known| known == member).unwrap();
        [&self.current, &self.next].map(|set| set.iter().map(place).collect())
    }
}

/// One of three moves, the only one moves, one joins, two are named anew, a lone node gets company, one
/// of three goes, and all move.
pub(crate) fn changes() -> Vec<Change> {
    let sets: [(&[u32], &[u32]); 7] = [
        (&[1, 2, 3], &[1, 2, 4]),
        (&[1], &[2]),
        (&[1, 2], &[1, 2, 3]),
        (&[1, 2], &[3, 1]),
        (&[1], &[1, 2, 3]),
        (&[1, 2, 3], &[3, 2]),
        (&[1, 2, 3], &[4, 5, 6]),
    ];
    let members = |set: &[u32]| set.iter().copied().map(Ordinal).collect();
    sets.map(|(current, next)| Change { current: members(current), next: members(next) }).into()
}

/// Every sequence of `length` choices out of `choices`.
pub(crate) fn sequences(choices: usize, length: usize) -> Vec<Vec<usize>> {
    (0..length).fold(Vec::from([Vec::new()]), |shorter, _| {
        let extend = |s: &Vec<usize>| {
            (0..choices).map(|c| [s.as_slice(), &[c]].concat()).collect::<Vec<_>>()
        };
        shorter.iter().flat_map(extend).collect()
    })
}

/// Every order of `0..length`.
pub(crate) fn orders(length: usize) -> Vec<Vec<usize>> {
    let distinct = |s: &Vec<usize>| (0..length).all(|i| s.contains(&i));
    sequences(length, length).into_iter().filter(distinct).collect()
}
