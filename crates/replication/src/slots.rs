//! One thing per replica of an operation.
//!
//! **Memory.** As many as one set has lie in place; the others, which there are only while two sets of
//! more than three replicas are in force, lie in a box: an operation is no larger for what is rare, and
//! **never** allocates for it in a stable layout.

use alloc::boxed::Box;
use core::array;
use core::ops::{Index, IndexMut};

use crate::quorum::{MAX_REPLICAS, MAX_SET};

/// Up to [`MAX_REPLICAS`] things, by place.
#[derive(Clone, Debug)]
pub(crate) struct Slots<T> {
    first: [T; MAX_SET],
    rest: Option<Box<[T; MAX_REPLICAS - MAX_SET]>>,
}

impl<T> Slots<T> {
    /// At least so many, all the same.
    pub(crate) fn of(count: usize, same: impl Fn() -> T) -> Self {
        let rest = (count > MAX_SET).then(|| Box::new(array::from_fn(|_| same())));
        Self { first: array::from_fn(|_| same()), rest }
    }
}

impl<T> Index<usize> for Slots<T> {
    type Output = T;

    fn index(&self, slot: usize) -> &T {
        match &self.rest {
            Some(rest) if slot >= MAX_SET => &rest[slot - MAX_SET],
            _ => &self.first[slot],
        }
    }
}

impl<T> IndexMut<usize> for Slots<T> {
    fn index_mut(&mut self, slot: usize) -> &mut T {
        match &mut self.rest {
            Some(rest) if slot >= MAX_SET => &mut rest[slot - MAX_SET],
            _ => &mut self.first[slot],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_its_own_in_place_or_boxed() {
        for count in [1, MAX_SET, MAX_SET + 1, MAX_REPLICAS] {
            let mut slots = Slots::of(count, || 0);
            assert_eq!(slots.rest.is_some(), count > MAX_SET);
            (0..count).for_each(|slot| slots[slot] = slot);
            assert!((0..count).all(|slot| slots[slot] == slot));
        }
    }
}
