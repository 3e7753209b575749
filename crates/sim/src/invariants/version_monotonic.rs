//! `VERSION_MONOTONIC`: a process stamps above everything that earlier processes of its node stamped,
//! whatever its clock says, and never above the ceiling that its disk holds; what a disk holds of a key
//! only rises.
//!
//! Within a process a stamp may be seen later than it was given out, where nobody could be sent to.

use std::collections::BTreeMap;

use paravon_model::Hlc;

use super::Invariant;
use crate::fact::Fact;
use crate::view::View;

/// Remembers the largest stamp of every node, and of its earlier processes.
#[derive(Debug, Default)]
pub(crate) struct VersionMonotonic {
    largest: BTreeMap<u8, Hlc>,
    floor: BTreeMap<u8, Hlc>,
}

impl Invariant for VersionMonotonic {
    const NAME: &'static str = "VERSION_MONOTONIC";

    fn observe(&mut self, fact: &Fact, _view: &View) -> Result<(), String> {
        match *fact {
            Fact::Started { node, .. } => {
                if let Some(largest) = self.largest.get(&node) {
                    self.floor.insert(node, *largest);
                }
                Ok(())
            }
            Fact::Stamped { node, version, ceiling, .. } => {
                let largest = self.largest.entry(node).or_insert(Hlc::ZERO);
                *largest = version.hlc.max(*largest);
                let floor = self.floor.get(&node).copied().unwrap_or(Hlc::ZERO);
                if version.hlc <= floor {
                    return Err(format!(
                        "node {node} stamped {version:?}, an earlier process of it {floor:?}"
                    ));
                }
                if version.hlc > ceiling {
                    return Err(format!(
                        "node {node} stamped {version:?}, its disk holds the ceiling {ceiling:?}"
                    ));
                }
                Ok(())
            }
            Fact::Durable { node, key, before, version, .. } if version < before => {
                Err(format!("node {node} held {before:?} of key {key} and holds {version:?} now"))
            }
            _ => Ok(()),
        }
    }
}
