//! `CONVERGES_AFTER_HEAL`: after everything was mended and every key was read at `all` once, all
//! replicas of a key hold the same.

use std::collections::BTreeMap;

use paravon_model::Version;

use super::Invariant;
use crate::fact::{Content, Fact};
use crate::view::View;

/// Compares what replicas hold in the end.
#[derive(Debug, Default)]
pub(crate) struct ConvergesAfterHeal {
    first: BTreeMap<u8, (u8, Version, Content)>,
}

impl Invariant for ConvergesAfterHeal {
    const NAME: &'static str = "CONVERGES_AFTER_HEAL";

    fn observe(&mut self, fact: &Fact, _view: &View) -> Result<(), String> {
        let Fact::Settled { node, key, version, content } = *fact else { return Ok(()) };
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
