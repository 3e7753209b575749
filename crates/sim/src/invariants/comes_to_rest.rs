//! A mended world comes to rest and serves: it forms, connects, delivers its hints, and does what
//! clients ask at every level.

use super::Invariant;
use crate::fact::Fact;
use crate::view::View;

/// Judges the end of the world.
#[derive(Debug, Default)]
pub(crate) struct ComesToRest;

impl Invariant for ComesToRest {
    const NAME: &'static str = "COMES_TO_REST";

    fn observe(&mut self, fact: &Fact, _view: &View) -> Result<(), String> {
        match *fact {
            Fact::Restless { why } => Err(why.to_owned()),
            Fact::MendedFailed { operation, code } => {
                Err(format!("operation {operation} of the mended world failed: {code:?}"))
            }
            _ => Ok(()),
        }
    }
}
