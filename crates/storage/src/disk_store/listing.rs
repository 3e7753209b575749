//! Lists the hints of a disk store: those of redb and of the table over it, in order.
//!
//! A row that cannot be read says nothing of the others, and where it does not lie where its bytes
//! say, they do not tell whose hint it was. None is left out silently (`NO_SILENT_ROT`,
//! `HINT_NOT_LOST`).

use std::ops::ControlFlow;

use paravon_model::{Key, Ordinal};
use paravon_ring::KeyHash;

use super::{DiskStore, Pending};
use crate::codec::BadRecord;
use crate::engine::{HintRow, HintView};
use crate::hint::{self, HintSlot, KeptHint, Marked};
use crate::page::{Page, PageLimit};
use crate::store::ReadError;

/// Rows that cannot be read.
#[derive(Debug, Default)]
struct Unreadable {
    rows: Vec<(HintRow, Place)>,
    /// Rows at the beginning that have been compared with what follows them.
    compared: usize,
    /// The place of the last row that can be read.
    last: Vec<u8>,
}

/// Whether a row lies between its neighbours, as far as they can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    InOrder,
    Astray,
}

impl Unreadable {
    fn add(&mut self, row: HintRow) {
        let in_order = *self.last < *row.place;
        self.rows.push((row, if in_order { Place::InOrder } else { Place::Astray }));
    }

    /// A row follows that can be read.
    fn pass(&mut self, place: &[u8]) {
        for (row, lies) in &mut self.rows[self.compared..] {
            if *row.place >= *place {
                *lies = Place::Astray;
            }
        }
        self.compared = self.rows.len();
        self.last.clear();
        self.last.extend_from_slice(place);
    }
}

impl DiskStore {
    /// Gives up a row that no slot leads to. What it was the hint of is not known, so all of the ring
    /// is dirty for the target in whose listing it was found. It is counted until it has gone.
    fn give_up_rotten(&mut self, target: Ordinal, place: Box<[u8]>) {
        let is_pending =
            |pending: &Pending| pending.rotten.iter().any(|(known, _)| *known == place);
        if self.table.is_rotten(&place) || self.pending.iter().any(is_pending) {
            return;
        }
        self.warn_of_rot(target);
        // Again where it is dirty already: the removal must not be durable before a mark is.
        let mark = self.ledger.mark_all(target);
        self.queue_mark(mark, Marked::Dirty);
        let group = self.pending.back_mut().expect("one group is always being filled");
        group.rotten.push((place, target));
    }

    /// Does what is to be done about a row that was found in the listing of `target`.
    fn give_up_row(&mut self, view: &HintView, target: Ordinal, row: HintRow, lies: Place) {
        let slot = HintSlot::from_bytes(&row.place).filter(|_| lies == Place::InOrder);
        let place = hint::place_of(&row.place);
        let (Some(slot), Some((of, hash))) = (slot, place) else {
            return self.give_up_rotten(target, row.place);
        };
        if row.hint == Err(BadRecord::Newer) {
            if self.mark_dirty(of, hash) {
                self.warn_of_rot(of);
            }
            return;
        }
        match self.engine.read_hint(view, &slot) {
            Ok(Some(HintRow { cost, hint: Err(BadRecord::Damaged), .. })) => {
                self.give_up(of, hash, slot, cost);
            }
            Ok(_) => self.give_up_rotten(target, row.place),
            Err(_) => {}
        }
    }

    /// See [`Store::hints`](crate::store::Store::hints).
    pub(super) fn list_hints(
        &mut self,
        target: Ordinal,
        after: Option<&(KeyHash, Key)>,
        limit: PageLimit,
    ) -> Result<Vec<KeptHint>, ReadError> {
        let view = self.hint_view.take().map_or_else(|| self.engine.hint_view(), Ok)?;
        let after = after.map(|(hash, key)| HintSlot::new(target, *hash, key));
        let mut bad = Unreadable::default();
        let found = self.merged_hints(&view, target, after.as_ref(), limit, &mut bad);
        if !self.read_only {
            for (row, lies) in bad.rows {
                self.give_up_row(&view, target, row, lies);
            }
        }
        self.hint_view = Some(view);
        found
    }

    /// The hints of redb and of the table over it, in order; those that cannot be read go to `bad`.
    fn merged_hints(
        &self,
        view: &HintView,
        target: Ordinal,
        after: Option<&HintSlot>,
        limit: PageLimit,
        bad: &mut Unreadable,
    ) -> Result<Vec<KeptHint>, ReadError> {
        let after = after.map(HintSlot::as_bytes);
        let over = self.table.hints.behind(self.table.frozen_hints(), target, after);
        let mut over = over.peekable();
        let mut page = Page::new(limit);
        if page.is_full() {
            return Ok(Vec::new());
        }
        let prefix = hint::prefix(target);
        // A search that rot misleads may begin too early.
        let is_before = |place: &[u8]| *place < prefix[..] || after.is_some_and(|a| place <= a);
        let is_behind = |place: &[u8]| *place > prefix[..] && !place.starts_with(&prefix);
        self.engine.visit_hints(view, target, after, |place, stored| {
            // What the table hides is not even looked at.
            let row = self.table.synced_hint(place).is_none().then(|| HintRow::new(place, stored));
            let record = match row {
                None => None,
                Some(HintRow { hint: Ok(record), .. }) => Some(record),
                // It is whole, so it lies where it says.
                Some(HintRow { hint: Err(BadRecord::Newer), .. }) if is_behind(place) => None,
                Some(row) => {
                    bad.add(row);
                    return ControlFlow::Continue(());
                }
            };
            bad.pass(place);
            if is_before(place) {
                return ControlFlow::Continue(());
            }
            while !page.is_full()
                && let Some((slot, state)) = over.next_if(|(slot, _)| slot.as_bytes() <= place)
            {
                state.iter().for_each(|record| hint::push(&mut page, slot, record));
            }
            if page.is_full() || is_behind(place) {
                return ControlFlow::Break(());
            }
            if let (Some(record), Some(slot)) = (record, HintSlot::from_bytes(place)) {
                hint::push(&mut page, &slot, &record);
            }
            if page.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        while !page.is_full()
            && let Some((slot, state)) = over.next()
        {
            state.iter().for_each(|record| hint::push(&mut page, slot, record));
        }
        Ok(page.into_found())
    }
}
