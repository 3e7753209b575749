//! Small worlds, for tests that try everything.

use alloc::vec::Vec;

use paravon_model::Ordinal;

/// So many replicas, numbered from 1.
pub(crate) fn replicas(count: usize) -> Vec<Ordinal> {
    (1..=u32::try_from(count).unwrap()).map(Ordinal).collect()
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
