//! `CONVERGES_AFTER_HEAL`: after everything was mended all replicas of a key hold the same: once every
//! key was read at `all`, or, where nobody reads, once replicas have compared their sums, which are
//! equal then. The cost follows what differs for good: what is only under way is not pulled.

use std::collections::BTreeMap;

use paravon_model::{Hlc, Version};

use super::Invariant;
use crate::fact::{Content, Fact};
use crate::view::{NOTHING, View};

/// Compares what replicas hold in the end.
#[derive(Debug, Default)]
pub(crate) struct ConvergesAfterHeal {
    first: BTreeMap<u8, (u8, Version, Content)>,
}

impl Invariant for ConvergesAfterHeal {
    const NAME: &'static str = "CONVERGES_AFTER_HEAL";

    fn observe(&mut self, fact: &Fact, view: &View) -> Result<(), String> {
        if let Fact::PulledEarly { node, served_ms } = *fact {
            return Err(format!(
                "node {node} pulls {served_ms} ms after it began: what differs may be under way"
            ));
        }
        if let Fact::SumsWrong { node } = *fact {
            return Err(format!("node {node} keeps sums that are not those of what it holds"));
        }
        if let Fact::Disagreeing { partition, node, other } = *fact {
            return Err(format!(
                "nodes {node} and {other} do not sum up partition {partition} to the same"
            ));
        }
        let Fact::Settled { node, key, version, content } = *fact else { return Ok(()) };
        // What some replicas have dropped says what its absence says.
        let goes = view.goes(version, Hlc::from_u64(u64::MAX)) && version <= view.dropped(key);
        let (version, content) =
            if goes { (NOTHING, Content::Tombstone) } else { (version, content) };
        let (other, theirs, held) = *self.first.entry(key).or_insert((node, version, content));
        if (theirs, held) == (version, content) {
            return Ok(());
        }
        Err(format!(
            "key {key}: node {other} holds {held:?} at {theirs:?}, node {node} holds {content:?} at \
             {version:?}"
        ))
    }
}
