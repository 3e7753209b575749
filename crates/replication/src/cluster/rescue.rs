//! What an operator does when a majority of the council, or of the copies of some partitions, is lost for
//! good: a document that nobody decided, of the next generation, in which the members that are left go on
//! without the others.
//!
//! **Never:** done by the machine itself. Nobody but an operator knows that a silent member will not
//! come back, and two rescues of one cluster make two clusters of it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use paravon_model::{
    ClusterState, Joint, NodeId, OperationState, Ordinal, PastChange, Phase, Roster, VoteSlot,
    majority,
};

use super::change::council_of;
use super::view::may_miss;
use crate::mutants::{self, Mutant};

/// So many numbers are not given after a rescue: the lost may have decided about newcomers of whom no
/// survivor knows.
const SKIPPED_ORDINALS: u32 = 1024;

/// Why there is no rescue; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RescueRefusal {
    /// The disk belongs to no cluster.
    NoMember,
    /// The cluster has no such member.
    UnknownSurvivor {
        /// The name that was given.
        node_id: NodeId,
    },
    /// This node, or one that was named, is to come with the change under way, which a rescue gives up.
    Newcomer {
        /// Which.
        node_id: NodeId,
    },
    /// A majority of the council survives, and of every set: it can do without the others by itself.
    CouncilIsThere {
        /// Members of the council that survive.
        survivors: usize,
        /// All members of the council.
        council: usize,
    },
}

impl fmt::Display for RescueRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMember => {
                f.write_str("this disk belongs to no cluster; there is nothing to rescue")
            }
            Self::UnknownSurvivor { node_id } => {
                write!(f, "the cluster has no member {node_id}; see its document for the names")
            }
            Self::Newcomer { node_id } => write!(
                f,
                "{node_id} was joining when the others were lost, and a rescue gives that up, so what it \
                 holds is not counted: rescue the members that were there before, without naming it, \
                 and let it join again with an empty data directory"
            ),
            Self::CouncilIsThere { survivors, council } => write!(
                f,
                "{survivors} of the {council} members that decide survive, which is a majority: start \
                 them and run `paractl admin remove` for each that is lost"
            ),
        }
    }
}

impl core::error::Error for RescueRefusal {}

/// The state of the disk of a member of a cluster of which, besides itself, only `others` are left.
/// `rescue_id` is drawn at random: it tells this rescue from any other one.
///
/// The layout is on the way from the present one, without the copies of those that are lost, to one of
/// the members that are left, each of which takes over what any of them has. A change that was under
/// way is given up, and with it who was to come: what was acknowledged is on a majority of the sets that
/// were there before, and a newcomer's copy is none of theirs. Sets without the lost are those of
/// `current`; to count a newcomer's they would have to be those of two layouts.
///
/// # Errors
/// Nothing is to be rescued, or a name is wrong.
pub fn rescue(
    state: &ClusterState,
    others: &[NodeId],
    rescue_id: u128,
) -> Result<ClusterState, RescueRefusal> {
    let (Some(before), Some(own)) = (&state.document, state.ordinal) else {
        return Err(RescueRefusal::NoMember);
    };
    let roster = &before.current;
    if roster.member(own).is_none() {
        let newcomer = before.member(own).map(|member| member.node_id.clone());
        let newcomer = newcomer.map(|node_id| RescueRefusal::Newcomer { node_id });
        return Err(newcomer.unwrap_or(RescueRefusal::NoMember));
    }
    for node_id in others.iter().cloned() {
        // Of two of one name it is the one that takes the place of its like.
        match before.member_named(&node_id).map(|member| roster.member(member.ordinal)) {
            Some(Some(_)) => {}
            Some(None) => return Err(RescueRefusal::Newcomer { node_id }),
            None => return Err(RescueRefusal::UnknownSurvivor { node_id }),
        }
    }
    let survives = |ordinal: Ordinal| {
        ordinal == own
            || roster.member(ordinal).is_some_and(|member| others.contains(&member.node_id))
                && !before.given_up().contains(&ordinal)
    };
    let council = before.council.len();
    let survivors = before.council.iter().filter(|&&member| survives(member)).count();
    let lost = roster.members.iter().filter(|member| !survives(member.ordinal)).count();
    // So few are in no set a majority, and the council that is left can do without them. A rescue under
    // way waits for all that it left: nobody else can do without one of them.
    let can_be_removed = survivors >= majority(council) && lost <= may_miss(roster.copies());
    if can_be_removed && before.given_up().is_empty() {
        return Err(RescueRefusal::CouncilIsThere { survivors, council });
    }
    let (left, lost): (Vec<_>, Vec<_>) =
        roster.members.iter().cloned().partition(|member| survives(member.ordinal));
    let mut document = (**before).clone();
    document.generation += 1;
    document.rescue_id = rescue_id;
    document.version += 1;
    if let Some(given_up) = before.joint() {
        let (generation, fence) = (before.generation, before.fence);
        let (from, to) = (roster.clone(), given_up.next.clone());
        document.past.push(PastChange { generation, fence, from, to });
    }
    document.fence += 1;
    // Documents that this survivor has missed may have given further numbers.
    document.next_ordinal = document.next_ordinal.saturating_add(SKIPPED_ORDINALS);
    document.council = council_of(&left);
    for operation in &mut document.operations {
        if matches!(operation.state, OperationState::Pending | OperationState::Running) {
            operation.state = OperationState::Cancelled;
        }
    }
    let next = Roster { members: left, replication_factor: roster.replication_factor };
    let lost = lost.into_iter().map(|member| member.ordinal).collect();
    let joint = Joint { next, lost };
    document.phase = if mutants::is(Mutant::RescueCountsTheLost) {
        Phase::Joint(joint)
    } else {
        Phase::Rescue(joint)
    };
    let document = Some(Arc::new(document));
    Ok(ClusterState { document, vote: VoteSlot::default(), joining: None, ..state.clone() })
}

#[cfg(test)]
#[path = "rescue_tests.rs"]
mod tests;
