//! `VERSION_MONOTONIC`: a process stamps above everything that earlier processes of its member stamped,
//! whatever its clock says, and never above the ceiling that its disk holds; what a disk holds of a key
//! only rises, but for what the node is to hold no longer.
//!
//! Within a process a stamp may be seen later than it was given out, where nobody could be sent to.

use std::collections::BTreeMap;

use paravon_model::{Hlc, Ordinal};

use super::Invariant;
use crate::fact::Fact;
use crate::view::View;

/// A node as a member: one that lost its disk comes back as another member.
type Stamper = (u8, Ordinal);

/// Remembers the largest stamp of every member, and of its earlier processes.
#[derive(Debug, Default)]
pub(crate) struct VersionMonotonic {
    largest: BTreeMap<Stamper, Hlc>,
    floor: BTreeMap<Stamper, Hlc>,
}

impl Invariant for VersionMonotonic {
    const NAME: &'static str = "VERSION_MONOTONIC";

    fn observe(&mut self, fact: &Fact, _view: &View) -> Result<(), String> {
        match *fact {
            Fact::Started { node, .. } => {
                let members = (node, Ordinal(0))..=(node, Ordinal(u32::MAX));
                for (stamper, largest) in self.largest.range(members) {
                    self.floor.insert(*stamper, *largest);
                }
                Ok(())
            }
            Fact::Stamped { node, version, ceiling, .. } => {
                let stamper = (node, version.ordinal);
                let largest = self.largest.entry(stamper).or_insert(Hlc::ZERO);
                *largest = version.hlc.max(*largest);
                let floor = self.floor.get(&stamper).copied().unwrap_or(Hlc::ZERO);
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
