//! `DISK_NOT_OLDER`: a node whose disk is an old copy serves nothing.

use super::Invariant;
use crate::fact::Fact;
use crate::view::View;

/// Judges answers of nodes whose disk the world has put back.
#[derive(Debug, Default)]
pub(crate) struct DiskNotOlder;

impl Invariant for DiskNotOlder {
    const NAME: &'static str = "DISK_NOT_OLDER";

    fn observe(&mut self, fact: &Fact, _view: &View) -> Result<(), String> {
        match *fact {
            Fact::OldDiskServed { node } => {
                Err(format!("node {node} serves with an old copy of its disk"))
            }
            _ => Ok(()),
        }
    }
}
