//! Entries about what a shard remembers beside its records: marks of partitions, and damaged keys.
//!
//! ```text
//! 7 marks:   tag | shard u16 | partition u32 | quarantines u32 | floor u64 | full u64 | closed u64 | damage u8
//! 8 damaged: tag | shard u16 | key hash u64 | key length u16 | key
//! 9 healed:  tag | shard u16 | key hash u64 | key length u16 | key
//! ```
//! Each carries the state that results, and never what led to it.

use paravon_model::{Hlc, Marks};
use paravon_ring::Partition;

use crate::log::entry::{self, BadEntry, DAMAGED, Entry, HEALED, MARKS};
use crate::marks::MarkChange;
use crate::marks_file::{damage_number, damage_of};

/// Bytes of a marks entry.
const MARKS_LEN: usize = 1 + 2 + 4 + 4 + 3 * 8 + 1;

/// Appends the entry of a change.
pub(crate) fn put_mark(out: &mut Vec<u8>, shard: u16, change: &MarkChange) {
    match change {
        MarkChange::Marks { partition, marks, quarantines } => {
            out.push(MARKS);
            out.extend_from_slice(&shard.to_be_bytes());
            out.extend_from_slice(&partition.0.to_be_bytes());
            out.extend_from_slice(&quarantines.to_be_bytes());
            for hlc in [marks.floor, marks.full, marks.closed] {
                out.extend_from_slice(&hlc.as_u64().to_be_bytes());
            }
            out.push(damage_number(marks.damage));
        }
        MarkChange::Damaged(slot) => entry::put_key(out, DAMAGED, shard, slot.hash, &slot.key),
        MarkChange::Healed(slot) => entry::put_key(out, HEALED, shard, slot.hash, &slot.key),
    }
}

/// How many bytes [`put_mark`] appends.
pub(crate) fn mark_len(change: &MarkChange) -> usize {
    match change {
        MarkChange::Marks { .. } => MARKS_LEN,
        MarkChange::Damaged(slot) | MarkChange::Healed(slot) => entry::key_entry_len(&slot.key),
    }
}

/// The marks entry whose tag came before `bytes`.
pub(super) fn parse_marks(bytes: &[u8]) -> Result<(Entry, &[u8]), BadEntry> {
    let (bytes, rest) =
        bytes.split_first_chunk::<{ MARKS_LEN - 1 }>().ok_or(BadEntry::Malformed)?;
    let damage = damage_of(bytes[MARKS_LEN - 2]).ok_or(BadEntry::Newer(MARKS))?;
    let fields = || {
        let (&shard, bytes) = bytes.split_first_chunk()?;
        let (&partition, bytes) = bytes.split_first_chunk()?;
        let (&quarantines, bytes) = bytes.split_first_chunk()?;
        let (hlcs, _) = bytes.as_chunks();
        let &[floor, full, closed] = hlcs.first_chunk()?;
        let [floor, full, closed] =
            [floor, full, closed].map(|hlc| Hlc::from_u64(u64::from_be_bytes(hlc)));
        let marks = Marks { floor, full, closed, damage };
        let partition = Partition(u32::from_be_bytes(partition));
        let quarantines = u32::from_be_bytes(quarantines);
        let change = MarkChange::Marks { partition, marks, quarantines };
        Some(Entry::Mark { shard: u16::from_be_bytes(shard), change })
    };
    fields().map(|entry| (entry, rest)).ok_or(BadEntry::Malformed)
}

/// The entry of a damaged or healed key whose `tag` came before `bytes`.
pub(super) fn parse_key_mark(tag: u8, bytes: &[u8]) -> Result<(Entry, &[u8]), BadEntry> {
    let (shard, slot, rest) = entry::parse_key(bytes).ok_or(BadEntry::Malformed)?;
    let change = if tag == DAMAGED { MarkChange::Damaged(slot) } else { MarkChange::Healed(slot) };
    Ok((Entry::Mark { shard, change }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::key;
    use crate::log::entry::Entries;
    use crate::record_stage::Slot;
    use paravon_model::Damage;

    fn sample() -> (Vec<u8>, Vec<Entry>) {
        let (hash, key) = key(1);
        let slot = Slot { hash, key };
        let [floor, full, closed] = [(1, 2), (3, 4), (5, 6)].map(|(ms, n)| Hlc::new(ms, n));
        let marks = Marks { floor, full, closed, damage: Damage::Lost };
        let partition = Partition(0x00ab_cdef);
        let changes = [
            MarkChange::Marks { partition, marks, quarantines: 2 },
            MarkChange::Damaged(slot.clone()),
            MarkChange::Healed(slot),
        ];
        let mut bytes = Vec::new();
        for change in &changes {
            let before = bytes.len();
            put_mark(&mut bytes, 6, change);
            assert_eq!(bytes.len() - before, mark_len(change));
        }
        (bytes, changes.map(|change| Entry::Mark { shard: 6, change }).into())
    }

    /// Never regenerate them: add a tag for another form.
    #[test]
    fn the_frozen_entries_are_still_read_and_written() {
        let (bytes, entries) = sample();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("../../fixtures/mark-entries-1.hex").trim_end());
        assert_eq!(Entries(&bytes).map(Result::unwrap).collect::<Vec<_>>(), entries);
    }

    #[test]
    fn a_damage_that_is_not_known_is_of_a_later_version() {
        let (mut bytes, _) = sample();
        bytes[MARKS_LEN - 1] = 2;
        assert_eq!(Entries(&bytes).next(), Some(Err(BadEntry::Newer(MARKS))));
    }

    #[test]
    fn no_cut_of_the_entries_panics_or_adds_one() {
        let (bytes, entries) = sample();
        for len in 0..bytes.len() {
            let read = Entries(&bytes[..len]).filter_map(Result::ok);
            assert!(read.zip(&entries).all(|(read, entry)| read == *entry), "{len}");
        }
    }
}
