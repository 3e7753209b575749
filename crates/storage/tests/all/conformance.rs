//! Both engines against the one suite, and against a model under random scripts.

use paravon_storage::conformance::{Act, Rig, check, follow};
use paravon_storage::{MemoryStore, Store};
use proptest::prelude::*;

use crate::rig::Node;

struct Memory(MemoryStore);

impl Rig for Memory {
    fn store(&mut self) -> &mut dyn Store {
        &mut self.0
    }

    fn sync(&mut self) {
        assert!(self.0.take_group().is_none());
    }

    fn settle(&mut self) {}
}

fn memory() -> Memory {
    Memory(MemoryStore::new(0, usize::MAX))
}

#[test]
fn the_memory_store_conforms() {
    check(memory);
}

#[test]
fn the_disk_store_conforms() {
    check(Node::new);
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..12u8, 0..20u8, 0..4u8).prop_map(|(key, ms, value)| Act::Put { key, ms, value }),
        2 => (0..12u8, 0..20u8).prop_map(|(key, ms)| Act::Delete { key, ms }),
        4 => (0..12u8).prop_map(|key| Act::Get { key }),
        3 => Just(Act::Sync),
        1 => Just(Act::Settle),
        1 => Just(Act::EndBatch),
        1 => Just(Act::Flush),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_memory_store_is_a_map(script in prop::collection::vec(act(), 0..120)) {
        follow(&mut memory(), &script);
    }

    #[test]
    fn the_disk_store_is_a_map(script in prop::collection::vec(act(), 0..120)) {
        follow(&mut Node::new(), &script);
    }
}
