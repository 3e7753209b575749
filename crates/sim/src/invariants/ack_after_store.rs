//! `ACK_AFTER_STORE`: a replica says of a version only what its disk holds.

use super::Invariant;
use crate::fact::Fact;
use crate::view::View;

/// Judges every answer of a replica by its disk at that moment.
#[derive(Debug, Default)]
pub(crate) struct AckAfterStore;

impl Invariant for AckAfterStore {
    const NAME: &'static str = "ACK_AFTER_STORE";

    fn observe(&mut self, fact: &Fact, _view: &View) -> Result<(), String> {
        match *fact {
            Fact::Acknowledged { node, key, stamp, durable } if durable < stamp => Err(format!(
                "node {node} acknowledged {stamp:?} of key {key}, its disk holds {durable:?}"
            )),
            Fact::Superseding { node, key, named, durable } if durable < named => Err(format!(
                "node {node} named {named:?} of key {key} as stored, its disk holds {durable:?}"
            )),
            _ => Ok(()),
        }
    }
}
