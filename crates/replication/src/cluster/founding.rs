//! Founding a cluster, once: a node without a document asks every other seed, and each answers one
//! asker alone (`LAYOUT_AGREES`: no two clusters of the same seeds).
//!
//! **Never:** founds while a seed is silent, unless the operator says so; nor where a node that it
//! reaches has a document.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Address, ClusterMessage, Document, Member, NodeId, Ordinal, Phase, Roster};

use super::change::council_of;
use super::peers::Peers;
use super::settings::ClusterSettings;

/// How often a seed is asked again, and with it founding is tried.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How often silent seeds are named.
const NOTICE_AGAIN: Duration = Duration::from_secs(10);

/// How long seeds have to answer before a node founds although they are silent.
const PATIENCE: Duration = Duration::from_secs(3);

/// A node's way to a cluster of its own, while it has no document.
#[derive(Debug)]
pub(super) struct Founding {
    began: Duration,
    /// Whom this node has promised to wait for; durable.
    waits_for: Option<NodeId>,
    /// Who promised to wait for this node.
    permitted_by: BTreeSet<NodeId>,
    next_ask: Duration,
    next_notice: Duration,
}

/// What founding comes to at this moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FoundingStep {
    /// Nothing is to be done yet.
    Wait,
    /// Ask these nodes, and tell the operator of these silent seeds, where there are any.
    Ask {
        /// Linked seeds that have not permitted it.
        whom: Vec<NodeId>,
        /// Seeds without an answer, once in a while.
        silent: Vec<Address>,
    },
    /// This node founds.
    Found,
}

impl Founding {
    /// Begins now, on a disk that says whom it waits for.
    pub(super) fn new(now: Duration, waits_for: Option<NodeId>) -> Self {
        Self {
            began: now,
            waits_for,
            permitted_by: BTreeSet::new(),
            next_ask: now,
            next_notice: now.saturating_add(NOTICE_AGAIN),
        }
    }

    /// Whom this node has promised to wait for.
    pub(super) fn waits_for(&self) -> Option<&NodeId> {
        self.waits_for.as_ref()
    }

    /// A node without a document wants to found. A permission binds this one; the caller lets it out
    /// only once that is durable.
    pub(super) fn asked(
        &mut self,
        settings: &ClusterSettings,
        from: &NodeId,
        address: &Address,
    ) -> ClusterMessage {
        // Two that ask each other must not wait for each other: the smaller address goes on.
        let goes_first = self.may_ask(settings) && settings.address < *address;
        let waits_for_other = self.waits_for.as_ref().is_some_and(|name| name != from);
        // One that founds whatever others say must not let another one found.
        if goes_first || waits_for_other || settings.found_anyway {
            return ClusterMessage::MayNotFound;
        }
        self.waits_for = Some(from.clone());
        ClusterMessage::MayFound
    }

    /// A seed will wait for this node.
    pub(super) fn permitted(&mut self, from: &NodeId) {
        self.permitted_by.insert(from.clone());
    }

    /// A seed will not.
    pub(super) fn denied(&mut self, from: &NodeId) {
        self.permitted_by.remove(from);
    }

    /// Whether this node is the one of its seeds to found: bound to nobody, the smallest address.
    fn may_ask(&self, settings: &ClusterSettings) -> bool {
        let is_free = self.waits_for.is_none();
        is_free && others(settings).all(|seed| settings.address < *seed)
    }

    /// What is to be done now, while no cluster is seen.
    pub(super) fn tick(
        &mut self,
        now: Duration,
        settings: &ClusterSettings,
        peers: &Peers,
    ) -> FoundingStep {
        let is_permitted = |seed: &Address| {
            peers.linked_at(seed).is_some_and(|hello| self.permitted_by.contains(&hello.node_id))
        };
        if self.may_ask(settings) && others(settings).all(is_permitted) {
            return FoundingStep::Found;
        }
        if settings.found_anyway && now >= self.began.saturating_add(PATIENCE) {
            return FoundingStep::Found;
        }
        if now < self.next_ask {
            return FoundingStep::Wait;
        }
        self.next_ask = now.saturating_add(ASK_AGAIN);
        let mut silent = Vec::new();
        if now >= self.next_notice {
            self.next_notice = now.saturating_add(NOTICE_AGAIN);
            let is_silent = |seed: &&Address| peers.linked_at(seed).is_none();
            silent = others(settings).filter(is_silent).cloned().collect();
        }
        let asks = self.may_ask(settings);
        let linked = others(settings).filter_map(|seed| peers.linked_at(seed));
        let missing = linked.filter(|hello| asks && !self.permitted_by.contains(&hello.node_id));
        FoundingStep::Ask { whom: missing.map(|hello| hello.node_id.clone()).collect(), silent }
    }

    /// This node is not to found now; it looks again after a while.
    pub(super) fn stand_by(&mut self, now: Duration) {
        if now >= self.next_ask {
            self.next_ask = now.saturating_add(ASK_AGAIN);
        }
    }

    /// When to try again.
    pub(super) fn next_wake(&self) -> Duration {
        self.next_ask
    }
}

/// All seeds but the node itself.
fn others(settings: &ClusterSettings) -> impl Iterator<Item = &Address> {
    settings.seeds.iter().filter(|seed| **seed != settings.address)
}

/// The first document of a new cluster, whose sole member is the node with these settings.
pub(super) fn first_document(settings: &ClusterSettings) -> Document {
    let founder = Member {
        ordinal: Ordinal(1),
        node_id: settings.node_id.clone(),
        size: settings.size,
        zone: settings.zone.clone(),
        address: settings.address.clone(),
    };
    let members = Vec::from([founder]);
    Document {
        cluster_id: settings.new_cluster_id,
        generation: 0,
        rescue_id: 0,
        version: 1,
        fence: 1,
        phase: Phase::Stable,
        hash_seed: settings.new_hash_seed,
        shift: settings.shift,
        council: council_of(&members),
        current: Roster { members, replication_factor: settings.replication_factor },
        past: Vec::new(),
        next_ordinal: 2,
        operations: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::worlds::{hello_of, name, settings_of};

    const START: Duration = Duration::ZERO;

    #[test]
    fn a_node_without_other_seeds_founds_at_once() {
        for seeds in [&[][..], &["a"]] {
            let mut founding = Founding::new(START, None);
            let step = founding.tick(START, &settings_of("a", seeds), &Peers::default());
            assert_eq!(step, FoundingStep::Found);
        }
    }

    #[test]
    fn the_smallest_asks_all_and_founds_when_all_permit() {
        let settings = settings_of("a", &["a", "b", "c"]);
        let mut founding = Founding::new(START, None);
        let mut peers = Peers::default();
        peers.linked(START, &hello_of("b"));
        let ask = FoundingStep::Ask { whom: [name("b")].into(), silent: [].into() };
        assert_eq!(founding.tick(START, &settings, &peers), ask);
        founding.permitted(&name("b"));
        let later = Duration::from_secs(20);
        let ask = FoundingStep::Ask { whom: [].into(), silent: [Address::new("c")].into() };
        assert_eq!(founding.tick(later, &settings, &peers), ask);
        peers.linked(later, &hello_of("c"));
        founding.permitted(&name("c"));
        assert_eq!(founding.tick(later, &settings, &peers), FoundingStep::Found);
    }

    #[test]
    fn a_permission_binds_to_one_asker() {
        let settings = settings_of("c", &["a", "b", "c"]);
        let mut founding = Founding::new(START, None);
        let mut ask = |text: &str| founding.asked(&settings, &name(text), &Address::new(text));
        assert_eq!(ask("b"), ClusterMessage::MayFound);
        assert_eq!(ask("a"), ClusterMessage::MayNotFound);
        assert_eq!(ask("b"), ClusterMessage::MayFound, "a lost answer is said again");
        assert_eq!(founding.waits_for(), Some(&name("b")));
    }

    #[test]
    fn of_two_that_ask_each_other_the_smaller_goes_on_and_a_bound_one_never_founds() {
        let settings = settings_of("a", &["a", "b"]);
        let mut founding = Founding::new(START, None);
        let answer = founding.asked(&settings, &name("b"), &Address::new("b"));
        assert_eq!(answer, ClusterMessage::MayNotFound);
        let mut bound = Founding::new(START, Some(name("z")));
        bound.permitted(&name("b"));
        let mut peers = Peers::default();
        peers.linked(START, &hello_of("b"));
        assert_ne!(bound.tick(START, &settings, &peers), FoundingStep::Found);
    }

    #[test]
    fn one_that_founds_anyway_permits_nobody() {
        let mut settings = settings_of("b", &["a", "b"]);
        settings.found_anyway = true;
        for bound in [None, Some(name("a"))] {
            let mut founding = Founding::new(START, bound);
            let answer = founding.asked(&settings, &name("a"), &Address::new("a"));
            assert_eq!(answer, ClusterMessage::MayNotFound);
        }
    }

    #[test]
    fn silence_is_waited_out_unless_the_operator_says_otherwise() {
        let mut settings = settings_of("b", &["a", "b"]);
        let day = Duration::from_secs(86_400);
        let mut founding = Founding::new(START, None);
        assert_ne!(founding.tick(day, &settings, &Peers::default()), FoundingStep::Found);
        settings.found_anyway = true;
        assert_ne!(founding.tick(START, &settings, &Peers::default()), FoundingStep::Found);
        assert_eq!(founding.tick(day, &settings, &Peers::default()), FoundingStep::Found);
    }
}
