//! `outcome: refused` is true: of a write that was answered so, nothing is stored anywhere.
//!
//! Not judged where the network doubles messages: a coordinator counts the copies that it sends, and
//! cannot count those that it does not.

use std::collections::BTreeSet;

use super::Invariant;
use crate::fact::{Content, End, Fact, OperationNumber};
use crate::view::View;

/// Remembers what was stored and what was refused.
#[derive(Debug, Default)]
pub(crate) struct RefusedIsTrue {
    stored: BTreeSet<OperationNumber>,
    refused: BTreeSet<OperationNumber>,
    doubling: bool,
}

impl Invariant for RefusedIsTrue {
    const NAME: &'static str = "REFUSED_IS_TRUE";

    fn observe(&mut self, fact: &Fact, view: &View) -> Result<(), String> {
        let number = match *fact {
            Fact::Doubling { possible } => {
                self.doubling = possible;
                return Ok(());
            }
            // A client tries again what was refused.
            Fact::Began { operation, .. } => {
                self.refused.remove(&operation);
                return Ok(());
            }
            Fact::Durable { content: Content::Of(number), .. } => {
                self.stored.insert(number);
                number
            }
            Fact::Ended { operation, end: End::Refused { .. }, .. } => {
                let known = view.operation(operation);
                // A retry may be refused where the first try was not.
                if known.is_some_and(|known| known.verb.writes() && known.tries == 1) {
                    self.refused.insert(operation);
                }
                operation
            }
            _ => return Ok(()),
        };
        if !self.doubling && self.stored.contains(&number) && self.refused.contains(&number) {
            return Err(format!("operation {number} was answered refused and is stored"));
        }
        Ok(())
    }
}
