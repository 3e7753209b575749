//! Durable before spoken: what the machine wants done leaves it only once the state that it rests on
//! is on the disk. The one place that knows this rule, so that no other file can forget it.
//!
//! **Never:** lets a promise, a vote, a `MayFound`, a document, a layout, a report or an admission out
//! before the state of its step is durable. Only what says nothing about that state goes at once.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use paravon_model::{ClusterMessage, ClusterState, Document, Membership, NodeId, Ordinal};

use super::disks::Disks;
use super::event::{ClusterEffect, Notice};

/// The effects of a machine on their way out, and what the disk holds of its state.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The state that was last given to the disk, but for what it remembers of others'.
    written: ClusterState,
    last_number: u64,
    durable_number: u64,
    /// What the disk holds of the node's membership, and what it will with states on their way.
    durable_membership: Option<Membership>,
    under_way: VecDeque<(u64, Option<Membership>)>,
    /// Effects of this step.
    fresh: Vec<ClusterEffect>,
    /// Effects that wait for the state of that number.
    waiting: VecDeque<(u64, ClusterEffect)>,
}

impl Outgoing {
    /// Nothing on its way, on a disk that holds `state`.
    pub(super) fn new(state: ClusterState) -> Self {
        let durable_membership = membership_of_state(&state);
        Self {
            written: state,
            last_number: 0,
            durable_number: 0,
            durable_membership,
            under_way: VecDeque::new(),
            fresh: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// To be done as soon as the state at the end of this step is durable.
    pub(super) fn push(&mut self, effect: ClusterEffect) {
        if matches!(effect, ClusterEffect::Notice(Notice::NotMember | Notice::OldDisk)) {
            // A layout that still waits for the disk would have the node serve again.
            let serves = |effect: &ClusterEffect| {
                matches!(effect, ClusterEffect::Layout { .. } | ClusterEffect::Admit { .. })
            };
            self.fresh.retain(|effect| !serves(effect));
            self.waiting.retain(|(_, effect)| !serves(effect));
        }
        self.fresh.push(effect);
    }

    /// To be said likewise.
    pub(super) fn tell(&mut self, to: &NodeId, message: ClusterMessage) {
        self.push(ClusterEffect::Tell { to: to.clone(), message });
    }

    /// The disk holds the state of this number.
    pub(super) fn persisted(&mut self, number: u64) {
        self.durable_number = self.durable_number.max(number.min(self.last_number));
        while let Some((_, membership)) =
            self.under_way.pop_front_if(|(number, _)| *number <= self.durable_number)
        {
            self.durable_membership = membership;
        }
    }

    /// The node's place in a cluster, as far as the disk holds it.
    pub(super) fn durable_membership(&self) -> Option<Membership> {
        self.durable_membership
    }

    /// Ends a step whose state is `state`, to which what is known of others' disks belongs: gives it to
    /// the disk where it has changed, and lets out what may leave. Messages of the node to itself come
    /// back, to be heard at once.
    pub(super) fn flush(
        &mut self,
        mut state: ClusterState,
        disks: &mut Disks,
        out: &mut Vec<ClusterEffect>,
    ) -> Vec<ClusterMessage> {
        if is_worth_writing(&self.written, &state) || disks.is_worth_writing() {
            self.last_number += 1;
            self.under_way.push_back((self.last_number, membership_of_state(&state)));
            self.written = state.clone();
            state.remembered = disks.write();
            out.push(ClusterEffect::Persist { number: self.last_number, state });
        }
        for effect in self.fresh.drain(..) {
            if rests_on_state(&effect) {
                self.waiting.push_back((self.last_number, effect));
            } else {
                out.push(effect);
            }
        }
        let mut to_itself = Vec::new();
        while let Some((_, effect)) =
            self.waiting.pop_front_if(|(number, _)| *number <= self.durable_number)
        {
            match effect {
                ClusterEffect::Tell { to, message } if to == self.written.node_id => {
                    to_itself.push(message);
                }
                effect => out.push(effect),
            }
        }
        to_itself
    }
}

/// Whether the disk must hear of the difference, apart from other nodes' disks.
fn is_worth_writing(written: &ClusterState, state: &ClusterState) -> bool {
    let rest = |state: &ClusterState| (state.ordinal, state.stored, state.joining);
    let revision = |state: &ClusterState| state.document.as_ref().map(|d| d.revision());
    revision(written) != revision(state)
        || written.vote != state.vote
        || written.waits_for != state.waits_for
        || rest(written) != rest(state)
}

fn membership_of_state(state: &ClusterState) -> Option<Membership> {
    Some(membership_of(state.document.as_ref()?, state.ordinal?))
}

/// The place of the node that has this number by a document.
pub(super) fn membership_of(document: &Document, ordinal: Ordinal) -> Membership {
    Membership {
        cluster_id: document.cluster_id,
        generation: document.generation,
        rescue_id: document.rescue_id,
        ordinal,
    }
}

/// Whether an effect says something that the node must still know after a crash.
fn rests_on_state(effect: &ClusterEffect) -> bool {
    match effect {
        ClusterEffect::Tell { message, .. } => !matches!(
            message,
            ClusterMessage::Swim(_)
                | ClusterMessage::Ping { .. }
                | ClusterMessage::Pong { .. }
                | ClusterMessage::AskDocument { .. }
        ),
        ClusterEffect::Layout { .. }
        | ClusterEffect::Admit { .. }
        | ClusterEffect::Admin { .. } => true,
        ClusterEffect::Notice(notice) => {
            matches!(notice, Notice::Founded { .. } | Notice::Joined { .. } | Notice::Left)
        }
        ClusterEffect::Persist { .. }
        | ClusterEffect::Dial { .. }
        | ClusterEffect::GreetAgain
        | ClusterEffect::Alive { .. }
        | ClusterEffect::Dead { .. }
        | ClusterEffect::Clock { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::worlds::name;
    use paravon_model::Fence;

    fn told(effects: &[ClusterEffect]) -> usize {
        effects.iter().filter(|effect| matches!(effect, ClusterEffect::Tell { .. })).count()
    }

    #[test]
    fn a_may_found_leaves_once_the_binding_is_durable_and_a_ping_at_once() {
        let mut state = ClusterState::new(name("b"));
        let mut outgoing = Outgoing::new(state.clone());
        let mut disks = Disks::new(&[]);
        state.waits_for = Some(name("a"));
        outgoing.tell(&name("a"), ClusterMessage::MayFound);
        outgoing.tell(&name("a"), ClusterMessage::AskDocument { known: None });
        let mut out = Vec::new();
        outgoing.flush(state.clone(), &mut disks, &mut out);
        assert!(matches!(out[0], ClusterEffect::Persist { number: 1, .. }));
        assert_eq!(told(&out), 1, "only what rests on nothing");
        out.clear();
        outgoing.flush(state.clone(), &mut disks, &mut out);
        assert_eq!(out, []);
        outgoing.persisted(1);
        outgoing.flush(state, &mut disks, &mut out);
        assert_eq!(told(&out), 1);
    }

    #[test]
    fn a_fence_is_admitted_once_the_disk_says_that_it_is_stored() {
        let mut state = ClusterState::new(name("b"));
        let fence = Fence { generation: 0, number: 3 };
        let mut outgoing = Outgoing::new(state.clone());
        let mut disks = Disks::new(&[]);
        state.stored = Some(fence);
        outgoing.push(ClusterEffect::Admit { fence });
        let mut out = Vec::new();
        outgoing.flush(state.clone(), &mut disks, &mut out);
        assert!(matches!(out[..], [ClusterEffect::Persist { number: 1, .. }]));
        outgoing.persisted(1);
        out.clear();
        outgoing.flush(state, &mut disks, &mut out);
        assert_eq!(out, [ClusterEffect::Admit { fence }]);
    }

    #[test]
    fn a_node_that_has_left_does_not_serve_under_a_layout_from_before() {
        let mut state = ClusterState::new(name("b"));
        let fence = Fence { generation: 0, number: 3 };
        let mut outgoing = Outgoing::new(state.clone());
        let mut disks = Disks::new(&[]);
        state.stored = Some(fence);
        outgoing.push(ClusterEffect::Admit { fence });
        let mut out = Vec::new();
        outgoing.flush(state.clone(), &mut disks, &mut out);
        outgoing.push(ClusterEffect::Notice(Notice::NotMember));
        outgoing.persisted(1);
        out.clear();
        outgoing.flush(state, &mut disks, &mut out);
        assert_eq!(out, [ClusterEffect::Notice(Notice::NotMember)]);
    }

    #[test]
    fn what_rests_on_an_old_state_does_not_wait_and_order_is_kept() {
        let mut state = ClusterState::new(name("b"));
        let mut outgoing = Outgoing::new(state.clone());
        let mut disks = Disks::new(&[]);
        let mut out = Vec::new();
        outgoing.tell(&name("a"), ClusterMessage::MayNotFound);
        outgoing.flush(state.clone(), &mut disks, &mut out);
        assert_eq!(told(&out), 1, "nothing has changed");
        out.clear();
        state.waits_for = Some(name("a"));
        outgoing.tell(&name("a"), ClusterMessage::MayFound);
        outgoing.flush(state.clone(), &mut disks, &mut out);
        outgoing.tell(&name("c"), ClusterMessage::MayNotFound);
        outgoing.flush(state.clone(), &mut disks, &mut out);
        assert_eq!(told(&out), 0, "the later one waits behind the earlier");
        outgoing.persisted(1);
        outgoing.flush(state, &mut disks, &mut out);
        assert_eq!(told(&out), 2);
    }

    #[test]
    fn a_number_that_was_never_given_confirms_nothing_to_come() {
        let state = ClusterState::new(name("b"));
        let mut outgoing = Outgoing::new(state.clone());
        let mut disks = Disks::new(&[]);
        outgoing.persisted(7);
        let mut out = Vec::new();
        let joining = Some(paravon_model::ChangeId(1));
        outgoing.tell(&name("a"), ClusterMessage::AskToFound);
        outgoing.flush(ClusterState { joining, ..state }, &mut disks, &mut out);
        assert_eq!(told(&out), 0);
    }
}
