//! How far this node is with one partition that it takes over: whom it has merged, and the pass through
//! what one source holds that is under way.
//!
//! A source is merged when everything that it told in one full pass is durable here, at that version or
//! newer, or when both summed up to the same. **Never:** believes an answer that does not belong to the
//! partition, or that does not lead on.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use paravon_model::{Key, Ordinal, PartitionSum, Pull, Pulled, Record, Rest, Version};
use paravon_ring::{KeyHash, Layout, Partition};

/// A partition to take over, on its way.
#[derive(Debug)]
pub(crate) struct Takeover {
    pub(crate) partition: Partition,
    /// What the own store held when it was summed up; none before, and after more was stored.
    pub(crate) own: Option<PartitionSum>,
    pub(crate) stage: Stage,
}

/// What a takeover waits for.
#[derive(Debug)]
pub(crate) enum Stage {
    /// The choice of a source.
    Idle,
    /// The sum of the own store.
    Summing,
    /// The sum of this source.
    Comparing(Ordinal),
    /// Pages and records of a source.
    Passing(Pass),
}

/// A pass through what a source holds of the partition.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) source: Ordinal,
    listing: Listing,
    after: Option<(KeyHash, Key)>,
    page: Page,
    /// Told by the source, and nothing done about it.
    pub(crate) ready: VecDeque<Item>,
    /// Being fetched or stored.
    pub(crate) under_way: usize,
    /// Records that the store of this node got.
    pub(crate) stored: usize,
}

/// What the pages of a pass hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    /// Keys and versions: the own store holds most of them already.
    Versions,
    /// Records: the own store holds nothing.
    Records,
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
    Version(Version),
    Record(Record),
    /// That it cannot read it.
    Damage,
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

impl Takeover {
    pub(crate) fn new(partition: Partition) -> Self {
        Self { partition, own: None, stage: Stage::Idle }
    }

    /// Whom it takes from just now.
    pub(crate) fn source(&self) -> Option<Ordinal> {
        match &self.stage {
            Stage::Idle | Stage::Summing => None,
            Stage::Comparing(source) => Some(*source),
            Stage::Passing(pass) => Some(pass.source),
        }
    }

    pub(crate) fn pass(&mut self) -> Option<&mut Pass> {
        match &mut self.stage {
            Stage::Passing(pass) => Some(pass),
            _ => None,
        }
    }

    /// The source has answered.
    pub(crate) fn take(&mut self, pulled: Pulled, layout: &Layout) -> Taken {
        let partition = self.partition;
        match (&mut self.stage, pulled) {
            (Stage::Comparing(_), Pulled::Sum(sum)) if self.own == Some(sum) => Taken::Equal,
            (&mut Stage::Comparing(source), Pulled::Sum(_)) => {
                self.stage = Stage::Passing(Pass::new(source, Listing::Versions));
                Taken::GoesOn
            }
            (Stage::Passing(pass), Pulled::Versions { versions, rest })
                if pass.listing == Listing::Versions =>
            {
                let items =
                    versions.into_iter().map(|(key, version)| (key, Told::Version(version)));
                pass.take(partition, items, rest, layout)
            }
            (Stage::Passing(pass), Pulled::Records { records, rest })
                if pass.listing == Listing::Records =>
            {
                let items = records.into_iter().map(|(key, record)| (key, Told::Record(record)));
                pass.take(partition, items, rest, layout)
            }
            (Stage::Passing(pass), Pulled::Damaged { key }) => {
                let items = [(key, Told::Damage)].into_iter();
                pass.take(partition, items, Rest::More, layout)
            }
            _ => Taken::Nonsense,
        }
    }

    /// The source gives no sum, in time or at all: the partition is gone through page by page. Says
    /// whether there was a sum to wait for.
    pub(crate) fn list_instead(&mut self) -> bool {
        let Stage::Comparing(source) = self.stage else { return false };
        self.stage = Stage::Passing(Pass::new(source, Listing::Versions));
        true
    }
}

impl Pass {
    pub(crate) fn new(source: Ordinal, listing: Listing) -> Self {
        let (after, page, ready) = (None, Page::Wanted, VecDeque::new());
        Self { source, listing, after, page, ready, under_way: 0, stored: 0 }
    }

    /// What to ask the source for now.
    pub(crate) fn wanted(&self) -> Option<Pull> {
        if self.page != Page::Wanted || !self.ready.is_empty() {
            return None;
        }
        let after = self.after.as_ref().map(|(_, key)| key.clone());
        Some(match self.listing {
            Listing::Versions => Pull::Versions { after },
            Listing::Records => Pull::Records { after },
        })
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

    fn take(
        &mut self,
        partition: Partition,
        page: impl Iterator<Item = (Key, Told)>,
        rest: Rest,
        layout: &Layout,
    ) -> Taken {
        if self.page != Page::Asked {
            return Taken::Nonsense;
        }
        let item = |(key, told)| Item { hash: layout.hash(&key), key, told };
        let items: Vec<Item> = page.map(item).collect();
        for item in &items {
            let place = (item.hash, item.key.clone());
            let leads_on = self.after.as_ref().is_none_or(|after| *after < place);
            if !leads_on || item.hash.partition(layout.shift()) != partition {
                return Taken::Nonsense;
            }
            self.after = Some(place);
        }
        self.page = match rest {
            Rest::End => Page::Ended,
            Rest::More if items.is_empty() => return Taken::Nonsense,
            Rest::More => Page::Wanted,
        };
        self.ready.extend(items);
        Taken::GoesOn
    }
}

/// Bytes that are counted for a record of which only the version is known: values are smaller mostly,
/// and memory is to be bounded.
const UNKNOWN_BYTES: usize = 256 * 1024;

impl Item {
    /// What it takes in memory on its way to the store, in bytes.
    pub(crate) fn weight(&self) -> usize {
        match &self.told {
            Told::Version(_) | Told::Damage => UNKNOWN_BYTES,
            Told::Record(record) => size_of::<Self>() + payload(&self.key, record),
        }
    }
}

/// The bytes of a key and its value.
pub(crate) fn payload(key: &Key, record: &Record) -> usize {
    key.bytes().len() + record.body.value_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_cluster::{key, layout, record, version};
    use alloc::format;
    use alloc::vec;

    /// Keys of one partition of two, in order.
    fn keys(layout: &Layout, partition: Partition) -> Vec<Key> {
        let keys = (0..200).map(|number| key(&format!("key-{number}")));
        let place = |key: &Key| layout.hash(key).partition(layout.shift());
        let mut keys: Vec<_> = keys.filter(|key| place(key) == partition).collect();
        keys.sort_by_key(|key| (layout.hash(key), key.clone()));
        keys
    }

    fn passing(partition: Partition) -> Takeover {
        let mut takeover = Takeover::new(partition);
        takeover.stage = Stage::Passing(Pass::new(Ordinal(2), Listing::Records));
        takeover.pass().unwrap().asked();
        takeover
    }

    fn page(keys: &[Key], rest: Rest) -> Pulled {
        let records = keys.iter().map(|key| (key.clone(), record(1, "v"))).collect();
        Pulled::Records { records, rest }
    }

    /// A layout with many keys per partition.
    fn coarse() -> Layout {
        let mut document = (**layout(3, 1).document()).clone();
        document.shift = 1;
        Layout::of(document.into())
    }

    #[test]
    fn a_pass_goes_on_behind_its_last_key_and_is_over_when_all_is_stored() {
        let layout = coarse();
        let keys = keys(&layout, Partition(1));
        let mut takeover = passing(Partition(1));
        assert_eq!(takeover.take(page(&keys[..3], Rest::More), &layout), Taken::GoesOn);
        let pass = takeover.pass().unwrap();
        assert_eq!((pass.ready.len(), pass.wanted()), (3, None));
        pass.ready.clear();
        assert_eq!(pass.wanted(), Some(Pull::Records { after: Some(keys[2].clone()) }));
        pass.asked();
        pass.under_way = 1;
        assert_eq!(takeover.take(page(&[], Rest::End), &layout), Taken::GoesOn);
        let pass = takeover.pass().unwrap();
        assert!(!pass.is_over() && pass.wanted().is_none());
        pass.under_way = 0;
        assert!(pass.is_over());
    }

    #[test]
    fn an_answer_that_belongs_elsewhere_or_does_not_lead_on_is_not_believed() {
        let layout = coarse();
        let (keys, others) = (keys(&layout, Partition(1)), keys(&layout, Partition(0)));
        let take = |pulled| passing(Partition(1)).take(pulled, &layout);
        assert_eq!(take(page(&others[..1], Rest::More)), Taken::Nonsense);
        assert_eq!(take(page(&[], Rest::More)), Taken::Nonsense, "it would never end");
        let backwards = [keys[1].clone(), keys[0].clone()];
        assert_eq!(take(page(&backwards, Rest::More)), Taken::Nonsense);
        let versions = vec![(keys[0].clone(), version(1, 1))];
        assert_eq!(take(Pulled::Versions { versions, rest: Rest::End }), Taken::Nonsense);
        assert_eq!(take(Pulled::Sum(PartitionSum::default())), Taken::Nonsense);

        let mut twice = passing(Partition(1));
        assert_eq!(twice.take(page(&keys[..2], Rest::More), &layout), Taken::GoesOn);
        assert_eq!(
            twice.take(page(&keys[2..4], Rest::More), &layout),
            Taken::Nonsense,
            "not asked"
        );
    }

    #[test]
    fn equal_sums_are_enough_and_others_are_listed() {
        let layout = coarse();
        let mut takeover = Takeover::new(Partition(0));
        let sum = |records| PartitionSum { records, sum: 5 };
        (takeover.own, takeover.stage) = (Some(sum(2)), Stage::Comparing(Ordinal(2)));
        assert_eq!(takeover.take(Pulled::Sum(sum(2)), &layout), Taken::Equal);
        assert_eq!(takeover.take(Pulled::Sum(sum(3)), &layout), Taken::GoesOn);
        assert_eq!(takeover.pass().unwrap().wanted(), Some(Pull::Versions { after: None }));
    }
}
