//! An engine that is filled and emptied, for the tests of what becomes of the space. Never in a product.

use std::ops::{Bound, ControlFlow};

use paravon_model::Key;
use paravon_ring::KeyHash;
use redb::Durability;

use super::Engine;
use crate::crash_disk::CrashDisk;
use crate::record_stage::{RecordState, Slot};

/// An empty one.
pub(super) fn founded(disk: &CrashDisk) -> Engine {
    Engine::found(disk, "shard").unwrap();
    Engine::open(disk, "shard", 1 << 20).unwrap().0
}

/// Gives each of these rows, of 100 bytes and more and spread over the ring, the same state, in slices as
/// an applier makes them.
pub(super) fn fill(engine: &Engine, numbers: impl Iterator<Item = u64>, state: &RecordState) {
    let mut slots: Vec<Slot> = numbers
        .map(|number| {
            let key = Key::new("default", &[number.to_be_bytes(); 12].concat()).unwrap();
            Slot { hash: KeyHash(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)), key }
        })
        .collect();
    slots.sort_unstable();
    for (at, slice) in slots.chunks(500).enumerate() {
        let durability = if at % 4 == 3 { Durability::Immediate } else { Durability::None };
        engine.apply(slice.iter().map(|slot| (slot, state)), durability).unwrap();
    }
}

/// How many rows there are.
pub(super) fn rows(engine: &Engine) -> usize {
    let (view, mut rows) = (engine.view().unwrap(), 0);
    let visit = |_: &[u8], _: &[u8]| {
        rows += 1;
        ControlFlow::Continue(())
    };
    engine.visit_records(&view, Bound::Unbounded, visit).unwrap();
    rows
}
