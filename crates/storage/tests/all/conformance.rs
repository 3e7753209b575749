//! Both engines against the one suite, and against a model under random scripts.

use paravon_storage::conformance::{Act, Rig, check, check_hint_limit, follow};
use paravon_storage::crash_disk::CrashDisk;
use paravon_storage::{MemoryStore, Options, Store};
use proptest::prelude::*;

use crate::rig::{Node, small_options};

struct Memory(MemoryStore);

impl Rig for Memory {
    fn store(&mut self) -> &mut dyn Store {
        &mut self.0
    }

    fn shards(&self) -> u16 {
        1
    }

    fn sync(&mut self) {
        assert!(self.0.take_group().is_none());
    }

    fn settle(&mut self) {}
}

fn memory() -> Memory {
    Memory(MemoryStore::new((0, 1), usize::MAX, u64::MAX))
}

#[test]
fn the_memory_store_conforms() {
    check(memory);
}

#[test]
fn the_disk_store_conforms() {
    check(Node::new);
}

#[test]
fn the_limit_of_hints_holds_in_memory() {
    check_hint_limit(|bytes| Memory(MemoryStore::new((0, 1), usize::MAX, bytes)));
}

#[test]
fn the_limit_of_hints_holds_on_disk() {
    check_hint_limit(|bytes| {
        // The limit is for all shards together.
        let options = Options { hint_bytes: 2 * bytes, ..small_options() };
        Node::open_on(CrashDisk::new(), &options).unwrap()
    });
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..12u8, 0..20u8, 0..4u8).prop_map(|(key, ms, value)| Act::Put { key, ms, value }),
        2 => (0..12u8, 0..20u8).prop_map(|(key, ms)| Act::Delete { key, ms }),
        2 => (0..12u8).prop_map(|key| Act::Forget { key }),
        4 => (0..12u8, 0..20u8).prop_map(|(key, ms)| Act::DropRecord { key, ms }),
        4 => (0..12u8).prop_map(|key| Act::Get { key }),
        3 => (0..12u8, 0..12u8, 0..16u8, 0..9u8)
            .prop_map(|(first, last, after, limit)| Act::Scan { first, last, after, limit }),
        4 => (0..3u8, 0..12u8, 0..20u8, 0..4u8)
            .prop_map(|(target, key, ms, value)| Act::Keep { target, key, ms, value }),
        3 => (0..3u8, 0..12u8, 0..20u8).prop_map(|(target, key, ms)| Act::Drop { target, key, ms }),
        3 => (0..3u8, 0..12u8, 0..9u8)
            .prop_map(|(target, after, limit)| Act::List { target, after, limit }),
        1 => Just(Act::KeepSums),
        4 => (0..9u8).prop_map(|limit| Act::Scrub { limit }),
        2 => Just(Act::Compare),
        3 => (0..3u8, 0..12u8).prop_map(|(target, key)| Act::Clean { target, key }),
        3 => Just(Act::Sync),
        1 => Just(Act::Fail),
        1 => Just(Act::Settle),
        1 => Just(Act::EndBatch),
        1 => Just(Act::Flush),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_memory_store_is_a_map(script in prop::collection::vec(act(), 0..200)) {
        follow(&mut memory(), &script);
    }

    #[test]
    fn the_disk_store_is_a_map(script in prop::collection::vec(act(), 0..200)) {
        follow(&mut Node::new(), &script);
    }
}
