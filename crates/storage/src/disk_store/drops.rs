//! Takes one version of a record out of a disk store, and nothing else (`FLOOR_SAFE`).
//!
//! Decided like a merge, against what is queued, then what is synced, then redb. It must **never** take a
//! record of another version, or one whose key is marked damaged.

use paravon_model::Version;

use super::DiskStore;
use crate::log::entry;
use crate::record_stage::Slot;
use crate::store::{Done, Dropped, ReadError, Refusal};
use crate::sums::Delta;

impl DiskStore {
    /// See [`Store::drop_record`](crate::store::Store::drop_record).
    pub(super) fn queue_record_drop(
        &mut self,
        ticket: u64,
        slot: Slot,
        version: Version,
    ) -> Result<(), Refusal> {
        if let Some(refusal) = self.refusal(&slot.key, None) {
            return Err(refusal);
        }
        if self.is_marked(&slot) {
            self.answers.push((ticket, Ok(Done::Dropped(Dropped::Damaged))));
            return Ok(());
        }
        if let Some((present, number)) = self.table.queued(&slot) {
            let (dropped, delta) = self.sums.decide_drop(&slot, version, present.as_ref());
            match delta {
                Some(delta) => self.queue_drop_entry(ticket, slot, version, delta),
                None => self.answer_with(number, ticket, Done::Dropped(dropped)),
            }
            return Ok(());
        }
        let (dropped, delta) = match self.table.synced(&slot) {
            Some(present) => self.sums.decide_drop(&slot, version, present.as_ref()),
            None => match self.applied(&slot) {
                Ok(present) => self.sums.decide_drop(&slot, version, present.as_ref()),
                Err(ReadError::Damaged) => (Dropped::Damaged, None),
                Err(ReadError::Unavailable) => return Err(Refusal::Unavailable),
            },
        };
        match delta {
            Some(delta) => self.queue_drop_entry(ticket, slot, version, delta),
            None => self.answers.push((ticket, Ok(Done::Dropped(dropped)))),
        }
        Ok(())
    }

    fn queue_drop_entry(&mut self, ticket: u64, slot: Slot, version: Version, delta: Delta) {
        // Shorter than the entry of the record that goes, which a batch held.
        self.make_room(entry::dropped_len(&slot.key));
        entry::put_dropped(&mut self.entries, self.shard, slot.hash, &slot.key, version);
        self.enter(slot, None, delta);
        let group = self.pending.back_mut().expect("one group is always being filled");
        group.tickets.push((ticket, Done::Dropped(Dropped::Gone)));
    }
}
