//! `HINT_ORDER`: a hint never undoes a newer write. What is sent as a hint or a repair is the very
//! record that was written at that version.

use super::Invariant;
use crate::fact::Fact;
use crate::view::View;

/// Judges what is spread by what was stamped.
#[derive(Debug, Default)]
pub(crate) struct HintOrder;

impl Invariant for HintOrder {
    const NAME: &'static str = "HINT_ORDER";

    fn observe(&mut self, fact: &Fact, view: &View) -> Result<(), String> {
        let Fact::Spread { node, to, key, version, content, .. } = *fact else { return Ok(()) };
        match view.stamps.get(&version) {
            Some(stamp) if stamp.key == key && stamp.content == content => Ok(()),
            written => Err(format!(
                "node {node} spreads {content:?} of key {key} to {to:?} at {version:?}, which was \
                 given out for {written:?}"
            )),
        }
    }
}
