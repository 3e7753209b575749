//! A pass through what one source holds of a partition, or of some parts of it, page by page.
//!
//! Whoever takes a partition over and whoever mends a difference passes so. **Never:** believes an answer
//! that does not belong to the part, or that does not lead on.

use alloc::collections::VecDeque;
use alloc::vec::{self, Vec};

use paravon_model::{Detail, Key, Listed, Ordinal, Part, Pull, Pulled, Record, Rest, Version};
use paravon_ring::{KeyHash, Layout, Partition};

/// A pass through what a source holds of one partition.
#[derive(Debug)]
pub(crate) struct Pass {
    partition: Partition,
    pub(crate) source: Ordinal,
    detail: Detail,
    /// The part that is passed through, and those that follow.
    part: Part,
    parts: vec::IntoIter<Part>,
    after: Option<(KeyHash, Key)>,
    page: Page,
    /// Told by the source, and nothing done about it.
    pub(crate) ready: VecDeque<Item>,
    /// Being fetched or stored.
    pub(crate) under_way: usize,
    /// Records that the store of this node got.
    pub(crate) stored: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Wanted,
    Asked,
    /// It was the last one.
    Ended,
}

/// One key that a source holds.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) hash: KeyHash,
    pub(crate) key: Key,
    pub(crate) told: Told,
}

/// What the source told of it.
#[derive(Debug)]
pub(crate) enum Told {
    Listed(Held),
    Record(Record),
    /// That it cannot read it.
    Damage,
}

/// Enough of a record to tell whether another one is as good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) version: Version,
    pub(crate) check: u64,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The source holds what this node holds.
    Equal,
    /// There is more to do.
    GoesOn,
    /// It is no answer to what was asked.
    Nonsense,
}

impl Pass {
    /// Through these parts, which must be in order; without any it is over at once.
    pub(crate) fn new(
        partition: Partition,
        source: Ordinal,
        detail: Detail,
        parts: Vec<Part>,
    ) -> Self {
        let mut parts = parts.into_iter();
        let first = parts.next();
        let (part, page) = first.map_or((Part::Whole, Page::Ended), |part| (part, Page::Wanted));
        let (after, ready) = (None, VecDeque::new());
        let (under_way, stored) = (0, 0);
        Self { partition, source, detail, part, parts, after, page, ready, under_way, stored }
    }

    /// What to ask the source for now.
    pub(crate) fn wanted(&self) -> Option<Pull> {
        if self.page != Page::Wanted || !self.ready.is_empty() {
            return None;
        }
        let after = self.after.as_ref().map(|(_, key)| key.clone());
        Some(Pull { part: self.part, detail: self.detail, after })
    }

    /// The page was asked for.
    pub(crate) fn asked(&mut self) {
        self.page = Page::Asked;
    }

    /// The page that was asked for does not come: it is to be asked for again.
    pub(crate) fn unask(&mut self) {
        if self.page == Page::Asked {
            self.page = Page::Wanted;
        }
    }

    /// Whether everything that the source told is durable here.
    pub(crate) fn is_over(&self) -> bool {
        self.page == Page::Ended && self.ready.is_empty() && self.under_way == 0
    }

    /// The source has answered with a page.
    pub(crate) fn take(&mut self, pulled: Pulled, layout: &Layout) -> Taken {
        match (self.detail, pulled) {
            (Detail::Listing, Pulled::Listing { listed, rest }) => {
                let items = listed.into_iter().map(|Listed { key, version, check }| {
                    (key, Told::Listed(Held { version, check }))
                });
                self.take_page(items, rest, layout)
            }
            (Detail::Record, Pulled::Records { records, rest }) => {
                let items = records.into_iter().map(|(key, record)| (key, Told::Record(record)));
                self.take_page(items, rest, layout)
            }
            (_, Pulled::Damaged { key }) => {
                self.take_page([(key, Told::Damage)].into_iter(), Rest::More, layout)
            }
            _ => Taken::Nonsense,
        }
    }

    fn take_page(
        &mut self,
        page: impl Iterator<Item = (Key, Told)>,
        rest: Rest,
        layout: &Layout,
    ) -> Taken {
        if self.page != Page::Asked {
            return Taken::Nonsense;
        }
        let item = |(key, told)| Item { hash: layout.hash(&key), key, told };
        let items: Vec<Item> = page.map(item).collect();
        let arc = self.partition.part(layout.shift(), self.part);
        for item in &items {
            let place = (item.hash, item.key.clone());
            let leads_on = self.after.as_ref().is_none_or(|after| *after < place);
            if !leads_on || !arc.contains(item.hash) {
                return Taken::Nonsense;
            }
            self.after = Some(place);
        }
        self.page = match rest {
            Rest::End => self.next_part(),
            Rest::More if items.is_empty() => return Taken::Nonsense,
            Rest::More => Page::Wanted,
        };
        self.ready.extend(items);
        Taken::GoesOn
    }

    fn next_part(&mut self) -> Page {
        let Some(part) = self.parts.next() else { return Page::Ended };
        (self.part, self.after) = (part, None);
        Page::Wanted
    }
}

/// Bytes that are counted for a record of which only the version is known: values are smaller mostly,
/// and memory is to be bounded.
const UNKNOWN_BYTES: usize = 256 * 1024;

impl Item {
    /// What it takes in memory on its way to the store, in bytes.
    pub(crate) fn weight(&self) -> usize {
        match &self.told {
            Told::Listed(_) | Told::Damage => UNKNOWN_BYTES,
            Told::Record(record) => size_of::<Self>() + payload(&self.key, record),
        }
    }
}

/// The bytes of a key and its value.
pub(crate) fn payload(key: &Key, record: &Record) -> usize {
    key.bytes().len() + record.body.value_bytes()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::test_cluster::{key, layout, record, version};
    use alloc::format;
    use alloc::vec;

    const SOURCE: Ordinal = Ordinal(2);

    /// Keys of one partition of two, in order.
    fn keys(layout: &Layout, partition: Partition) -> Vec<Key> {
        let keys = (0..200).map(|number| key(&format!("key-{number}")));
        let place = |key: &Key| layout.hash(key).partition(layout.shift());
        let mut keys: Vec<_> = keys.filter(|key| place(key) == partition).collect();
        keys.sort_by_key(|key| (layout.hash(key), key.clone()));
        keys
    }

    fn passing(partition: Partition) -> Pass {
        let mut pass = Pass::new(partition, SOURCE, Detail::Record, vec![Part::Whole]);
        pass.asked();
        pass
    }

    fn page(keys: &[Key], rest: Rest) -> Pulled {
        let records = keys.iter().map(|key| (key.clone(), record(1, "v"))).collect();
        Pulled::Records { records, rest }
    }

    /// A layout with many keys per partition.
    pub(crate) fn coarse() -> Layout {
        let mut document = (**layout(3, 1).document()).clone();
        document.shift = 1;
        Layout::of(document.into())
    }

    #[test]
    fn a_pass_goes_on_behind_its_last_key_and_is_over_when_all_is_stored() {
        let layout = coarse();
        let keys = keys(&layout, Partition(1));
        let mut pass = passing(Partition(1));
        assert_eq!(pass.take(page(&keys[..3], Rest::More), &layout), Taken::GoesOn);
        assert_eq!((pass.ready.len(), pass.wanted()), (3, None));
        pass.ready.clear();
        assert_eq!(pass.wanted().map(|pull| pull.after), Some(Some(keys[2].clone())));
        pass.asked();
        pass.under_way = 1;
        assert_eq!(pass.take(page(&[], Rest::End), &layout), Taken::GoesOn);
        assert!(!pass.is_over() && pass.wanted().is_none());
        pass.under_way = 0;
        assert!(pass.is_over());
    }

    #[test]
    fn one_part_follows_the_other_from_its_beginning() {
        let layout = coarse();
        let keys = keys(&layout, Partition(0));
        let of = |number| {
            let sixteenth = |key: &&Key| layout.hash(key).sixteenth(layout.shift());
            keys.iter().filter(|key| sixteenth(key) == number).cloned().collect::<Vec<_>>()
        };
        let (third, ninth) = (of(3), of(9));
        assert!(!third.is_empty() && !ninth.is_empty());
        let parts = [3, 9].map(Part::Sixteenth).to_vec();
        let mut pass = Pass::new(Partition(0), SOURCE, Detail::Record, parts);
        let wanted = |part, after| Some(Pull { part, detail: Detail::Record, after });
        assert_eq!(pass.wanted(), wanted(Part::Sixteenth(3), None));
        pass.asked();
        assert_eq!(pass.take(page(&third, Rest::End), &layout), Taken::GoesOn);
        pass.ready.clear();
        assert_eq!(pass.wanted(), wanted(Part::Sixteenth(9), None));
        pass.asked();
        assert_eq!(pass.take(page(&third, Rest::End), &layout), Taken::Nonsense);
        assert_eq!(pass.take(page(&ninth, Rest::End), &layout), Taken::GoesOn);
        pass.ready.clear();
        assert!(pass.is_over());
        assert!(Pass::new(Partition(0), SOURCE, Detail::Record, vec![]).is_over());
    }

    #[test]
    fn an_answer_that_belongs_elsewhere_or_does_not_lead_on_is_not_believed() {
        let layout = coarse();
        let (keys, others) = (keys(&layout, Partition(1)), keys(&layout, Partition(0)));
        let take = |told| passing(Partition(1)).take(told, &layout);
        assert_eq!(take(page(&others[..1], Rest::More)), Taken::Nonsense);
        assert_eq!(take(page(&[], Rest::More)), Taken::Nonsense, "it would never end");
        let backwards = [keys[1].clone(), keys[0].clone()];
        assert_eq!(take(page(&backwards, Rest::More)), Taken::Nonsense);
        let listed = vec![Listed { key: keys[0].clone(), version: version(1, 1), check: 0 }];
        assert_eq!(take(Pulled::Listing { listed, rest: Rest::End }), Taken::Nonsense);

        let mut twice = passing(Partition(1));
        assert_eq!(twice.take(page(&keys[..2], Rest::More), &layout), Taken::GoesOn);
        let again = twice.take(page(&keys[2..4], Rest::More), &layout);
        assert_eq!(again, Taken::Nonsense, "not asked");
    }
}
