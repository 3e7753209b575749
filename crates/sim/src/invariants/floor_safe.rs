//! `FLOOR_SAFE`: at one fence, replicas with equal floors hold equal content at or below it. So a replica
//! calls itself full only where all are closed and it holds what was acknowledged; nothing enters there any
//! more; a floor rises to what all are full at; nothing goes but what lies at or below the floor; and marks
//! only rise, over crashes too, but where a rescue or a loss that was accepted takes back what they promise, or
//! a node gives up what it stores no longer or is to empty.

use super::Invariant;
use crate::fact::Fact;
use crate::view::View;
use paravon_model::Hlc;

/// Judges marks, and what enters and goes by them.
#[derive(Debug, Default)]
pub(crate) struct FloorSafe;

impl Invariant for FloorSafe {
    const NAME: &'static str = "FLOOR_SAFE";

    fn observe(&mut self, fact: &Fact, view: &View) -> Result<(), String> {
        match *fact {
            Fact::Marked { node, partition, floor, full, closed, emptied } => {
                let before = view.marks(node, partition);
                let rises = floor >= before.0 && full >= before.1 && closed >= before.2;
                let falls = full == Hlc::ZERO || floor == full && view.accepts(node, partition);
                let taken_back = falls && closed >= before.2;
                if floor <= full && full <= closed && (rises || taken_back || emptied) {
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
            Fact::MarksGivenUp { node, partition } => Err(format!(
                "node {node} gives up its marks of partition {partition}, which it is to store"
            )),
            Fact::ForgottenWrongly { node, key, before } => {
                Err(format!("node {node} forgot {before:?} of key {key}, which it is to store"))
            }
            Fact::EnteredBelowFull { node, key, version, full } => Err(format!(
                "node {node} stored {version:?} of key {key} although it held all up to {full:?}"
            )),
            Fact::HurtMoved { node, key } => {
                Err(format!("node {node} raises marks although it cannot read key {key}"))
            }
            Fact::FullBeforeClosed { node, other, partition, full } => Err(format!(
                "node {node} is full at {full:?} in partition {partition}, and node {other} is not \
                 closed there"
            )),
            Fact::FullWithout { node, key, full, acked, held } => Err(format!(
                "node {node} is full at {full:?} and holds {held:?} of key {key}: {acked:?} was \
                 acknowledged"
            )),
            Fact::FloorBeforeFull { node, other, partition, floor } => Err(format!(
                "node {node} raises the floor of partition {partition} to {floor:?}, and node {other} is \
                 not full there"
            )),
            Fact::FloorsDiffer { node, other, key, floor } => Err(format!(
                "nodes {node} and {other} have the floor {floor:?} and differ in key {key} below it"
            )),
            _ => Ok(()),
        }
    }
}
