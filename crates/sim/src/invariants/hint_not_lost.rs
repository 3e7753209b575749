//! `HINT_NOT_LOST`: a hint that a disk holds stays until the target's disk holds its version or a newer
//! one, over crashes too; and so does a mark that stands in for hints. Not judged once the target has no use for it, or its keeper has left: then it
//! goes to those that store the key by now.

use super::Invariant;
use crate::fact::Fact;
use crate::view::View;

/// Judges the removal of hints, and what crashes left of them.
#[derive(Debug, Default)]
pub(crate) struct HintNotLost;

impl Invariant for HintNotLost {
    const NAME: &'static str = "HINT_NOT_LOST";

    fn observe(&mut self, fact: &Fact, view: &View) -> Result<(), String> {
        match *fact {
            Fact::HintDropped { node, target, key, version, durable, counts: true } => {
                let Some(&kept) = view.hints.get(&(node, target, key)) else { return Ok(()) };
                if kept > version || durable >= kept {
                    return Ok(());
                }
                Err(format!(
                    "node {node} dropped the hint {kept:?} of key {key} for {target:?}, whose disk \
                     holds {durable:?}"
                ))
            }
            Fact::HintSurvived { node, target, key, before, after, durable, counts: true } => {
                if after.is_some_and(|after| after >= before) || durable >= before {
                    return Ok(());
                }
                Err(format!(
                    "the hint {before:?} of key {key} for {target:?} on node {node} is {after:?} \
                     after a crash, the target's disk holds {durable:?}"
                ))
            }
            Fact::HintCleaned { node, target, key, durable, counts: true } => {
                let Some(dirty) = view.dirty.get(&(node, target, key)) else { return Ok(()) };
                if durable >= dirty.version {
                    return Ok(());
                }
                Err(format!(
                    "on node {node} key {key} is not dirty any more for {target:?}, whose disk holds \
                     {durable:?} and lacks {:?}",
                    dirty.version
                ))
            }
            _ => Ok(()),
        }
    }
}
