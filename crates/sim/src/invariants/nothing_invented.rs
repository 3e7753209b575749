//! Nothing is read or stored that was not written: every record is that of a write of its key, at a
//! version given out for it.

use super::Invariant;
use crate::fact::{Content, End, Fact, Verb};
use crate::view::View;

/// Judges what reads answer and what disks hold.
#[derive(Debug, Default)]
pub(crate) struct NothingInvented;

impl Invariant for NothingInvented {
    const NAME: &'static str = "NOTHING_INVENTED";

    fn observe(&mut self, fact: &Fact, view: &View) -> Result<(), String> {
        let (key, version, content) = match *fact {
            Fact::Ended { operation, end: End::Found { version, content }, .. } => {
                let Some(known) = view.operation(operation) else { return Ok(()) };
                (known.key, version, content)
            }
            Fact::Durable { key, version, content, .. } => (key, version, content),
            _ => return Ok(()),
        };
        if let Content::Of(number) = content {
            let written = view.operation(number);
            if !written.is_some_and(|known| known.key == key && known.verb == Verb::Put) {
                return Err(format!("{content:?} at {version:?} is no write of key {key}"));
            }
        }
        match view.stamps.get(&version) {
            Some(stamp) if stamp.key == key && stamp.content == content => Ok(()),
            written => Err(format!(
                "{content:?} of key {key} stands at {version:?}, which was given out for {written:?}"
            )),
        }
    }
}
