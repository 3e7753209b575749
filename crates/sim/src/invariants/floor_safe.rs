//! `FLOOR_SAFE`: at one fence, replicas with equal floors hold equal content at or below it. So nothing
//! enters where a replica has said that it holds all there is, nothing goes but what lies at or below the
//! floor, and marks only rise, over crashes too.

use paravon_model::Hlc;

use super::Invariant;
use crate::fact::Fact;
use crate::view::View;

/// Judges marks, and what enters and goes by them.
#[derive(Debug, Default)]
pub(crate) struct FloorSafe;

impl Invariant for FloorSafe {
    const NAME: &'static str = "FLOOR_SAFE";

    fn observe(&mut self, fact: &Fact, view: &View) -> Result<(), String> {
        match *fact {
            Fact::Marked { node, partition, floor, full, closed } => {
                let before = view.marks(node, partition);
                let rises = floor >= before.0 && full >= before.1 && closed >= before.2;
                // A node that is new to a partition begins anew.
                let is_reset = closed == Hlc::ZERO;
                if floor <= full && full <= closed && (rises || is_reset) {
                    return Ok(());
                }
                Err(format!(
                    "node {node} marks partition {partition} with {:?} after {before:?}",
                    (floor, full, closed)
                ))
            }
            Fact::MarksLost { node, partition } => {
                Err(format!("node {node} lost its marks of partition {partition} in a crash"))
            }
            Fact::ForgottenWrongly { node, key, before } => {
                Err(format!("node {node} forgot {before:?} of key {key}, which it is to store"))
            }
            Fact::EnteredBelowFull { node, key, version, full } => Err(format!(
                "node {node} stored {version:?} of key {key} although it held all up to {full:?}"
            )),
            Fact::FloorsDiffer { node, other, key, floor } => Err(format!(
                "nodes {node} and {other} have the floor {floor:?} and differ in key {key} below it"
            )),
            _ => Ok(()),
        }
    }
}
