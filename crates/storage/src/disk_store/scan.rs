//! Lists the records of a disk store: those of redb and of the table over it, in order.
//!
//! A page ends before a record that cannot be read, and the next one says so: none is left out
//! silently (`NO_SILENT_ROT`). Never keeps its view of redb beyond a page.

use std::iter::Peekable;
use std::ops::{Bound, ControlFlow};

use paravon_model::{Key, Record};
use paravon_ring::{HashArc, KeyHash};

use super::DiskStore;
use crate::codec::{self, BadRecord};
use crate::hint;
use crate::page::{Page, PageLimit};
use crate::record_stage::{RecordState, Slot};
use crate::store::{ReadError, ScanError};
use crate::table::Table;

type Found = (KeyHash, Key, Record);

/// A page that is being filled, on the way through the rows of redb.
struct Walk<'a, I: Iterator<Item = (Slot, &'a RecordState)>> {
    arc: HashArc,
    after: Option<&'a (KeyHash, Key)>,
    table: &'a Table,
    /// What the table has and redb may lack.
    over: Peekable<I>,
    page: Page<Found>,
    /// A row that cannot be read, until the next one tells whether it lies where its bytes say. Who read
    /// on behind a wrong place would leave out what lies between.
    unsure: Option<(Slot, ReadError)>,
    /// What could not be read, and ends the page.
    unread: Option<ScanError>,
    /// Whether a row came that cannot be read and does not lie where its bytes say, if they say it.
    is_astray: bool,
}

impl<'a, I: Iterator<Item = (Slot, &'a RecordState)>> Walk<'a, I> {
    /// Takes a row of redb.
    fn visit(&mut self, place: &[u8], stored: &[u8]) -> ControlFlow<()> {
        let decoded = codec::decode_key(place);
        if let Some((bad, error)) = self.unsure.take() {
            let is_in_order = decoded.is_some_and(|(hash, key)| Slot { hash, key } > bad);
            return self.end_with(is_in_order.then_some(bad), error);
        }
        let Some((hash, key)) = decoded else {
            let hash = place.first_chunk().map(|hash| KeyHash(u64::from_be_bytes(*hash)));
            if hash.is_some_and(|hash| self.arc.contains(hash)) {
                return self.end(ScanError::of_file(ReadError::Unavailable));
            }
            self.is_astray = true;
            return ControlFlow::Continue(());
        };
        let slot = Slot { hash, key };
        if self.table.synced(&slot).is_some() {
            // Hidden, so it is not even looked at.
            return ControlFlow::Continue(());
        }
        let is_wanted = self.arc.contains(slot.hash) && slot.is_behind(self.after);
        match codec::decode_record(slot.hash, &slot.key, stored) {
            Ok(record) if is_wanted => self.take(slot, record),
            // It is whole, so it lies where it says.
            Ok(_) if slot.hash > self.arc.last => ControlFlow::Break(()),
            // A search that rot misleads may begin too early.
            Ok(_) => ControlFlow::Continue(()),
            Err(bad) if is_wanted => {
                let error = match bad {
                    BadRecord::Damaged => ReadError::Damaged,
                    BadRecord::Newer => ReadError::Unavailable,
                };
                self.unsure = Some((slot, error));
                ControlFlow::Continue(())
            }
            Err(_) => {
                self.is_astray = true;
                ControlFlow::Continue(())
            }
        }
    }

    /// Takes a record that nothing hides.
    fn take(&mut self, slot: Slot, record: Record) -> ControlFlow<()> {
        if self.is_astray {
            // Of this arc, since it lies between its rows, and it cannot be told of which key.
            return self.end(ScanError::of_file(ReadError::Unavailable));
        }
        self.take_over_up_to(&slot);
        if self.page.is_full() {
            return ControlFlow::Break(());
        }
        self.push(slot, record);
        if self.page.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Takes what the table has up to a row.
    fn take_over_up_to(&mut self, row: &Slot) {
        while !self.page.is_full()
            && let Some((slot, state)) = self.over.next_if(|(slot, _)| slot < row)
        {
            state.iter().for_each(|record| self.push(slot.clone(), record.clone()));
        }
    }

    /// Takes what the table has behind the last row.
    fn take_over(&mut self) {
        while !self.page.is_full()
            && let Some((slot, state)) = self.over.next()
        {
            state.iter().for_each(|record| self.push(slot.clone(), record.clone()));
        }
    }

    fn push(&mut self, slot: Slot, record: Record) {
        let bytes = hint::cost(&slot.key, &record);
        self.page.push((slot.hash, slot.key, record), bytes);
    }

    /// Ends the page before a row that cannot be read; before none where it cannot be told where it lies.
    fn end_with(&mut self, slot: Option<Slot>, error: ReadError) -> ControlFlow<()> {
        let Some(slot) = slot else {
            return self.end(ScanError::of_file(ReadError::Unavailable));
        };
        self.take_over_up_to(&slot);
        self.end(ScanError { error, at: Some((slot.hash, slot.key)) })
    }

    fn end(&mut self, unread: ScanError) -> ControlFlow<()> {
        self.unread = Some(unread);
        ControlFlow::Break(())
    }

    fn finish(mut self) -> Result<Vec<Found>, ScanError> {
        if let Some((bad, error)) = self.unsure.take() {
            let _ = self.end_with(Some(bad), error);
        }
        let is_of_the_end = self.arc.last == HashArc::ALL.last && !self.page.is_full();
        let unread = self.unread.take().or_else(|| {
            // No row that can be read follows, so it lies behind all of them.
            let astray = ScanError::of_file(ReadError::Unavailable);
            (self.is_astray && is_of_the_end).then_some(astray)
        });
        match unread {
            Some(unread) if self.page.is_empty() => Err(unread),
            Some(_) => Ok(self.page.into_found()),
            None => {
                self.take_over();
                Ok(self.page.into_found())
            }
        }
    }
}

impl DiskStore {
    /// See [`Store::scan`](crate::store::Store::scan).
    pub(super) fn scan_page(
        &self,
        arc: HashArc,
        after: Option<&(KeyHash, Key)>,
        limit: PageLimit,
    ) -> Result<Vec<Found>, ScanError> {
        let view = self.engine.view().map_err(ScanError::of_file)?;
        let mut from = Vec::new();
        let from = match after {
            Some((hash, key)) if *hash >= arc.first => {
                codec::encode_key(&mut from, *hash, key);
                Bound::Excluded(from.as_slice())
            }
            _ => {
                from.extend_from_slice(&arc.first.0.to_be_bytes());
                Bound::Included(from.as_slice())
            }
        };
        let limit = PageLimit { count: limit.count.max(1), ..limit };
        let mut walk = Walk {
            arc,
            after,
            table: &self.table,
            over: self.table.behind(arc, after).peekable(),
            page: Page::new(limit),
            unsure: None,
            unread: None,
            is_astray: false,
        };
        let visited =
            self.engine.visit_records(&view, from, |place, stored| walk.visit(place, stored));
        visited.map_err(ScanError::of_file)?;
        walk.finish()
    }

    /// Whether the file has no row but those that the table says are forgotten.
    pub(super) fn file_shows_nothing(&self) -> Result<bool, ReadError> {
        let view = self.engine.view()?;
        let mut shows_nothing = true;
        self.engine.visit_records(&view, Bound::Unbounded, |place, _| {
            let slot = codec::decode_key(place).map(|(hash, key)| Slot { hash, key });
            let state = slot.and_then(|slot| self.table.synced(&slot));
            shows_nothing = state == Some(&None);
            if shows_nothing { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(shows_nothing)
    }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
