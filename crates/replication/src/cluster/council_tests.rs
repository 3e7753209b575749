//! Every interleaving of small councils: a world whose messages stay in the network for ever, so that
//! they arrive in any order, twice, late or not at all, and whose nodes crash and keep what is durable.
//! Promises: no two documents of one revision are ever stored, and a majority that is up decides.
//!
//! The larger worlds let an answer to a proposer arrive at once or never ([`Answers::AtOnce`]). An
//! answer touches its proposer alone, whose next request then stays in the network for as long as it
//! likes, and lost answers come again with a doubled request: later arrivals add no new outcome.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use paravon_model::{
    Ballot, ChangeId, ClusterMessage, CouncilMessage, Document, NodeId, Operation, OperationKind,
    Ordinal, VoteSlot,
};

use super::change::Change;
use super::council::{Council, Speech};
use super::random::Random;
use super::worlds::{begun, document_of, join, name};

/// What is wrong with a world, on purpose: the tests must notice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mutant {
    None,
    /// A crash forgets the vote slot.
    VoteIsNotDurable,
    /// A proposer does not see what was voted for before.
    VotesAreIgnored,
}

/// When the answers of acceptors arrive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    /// At any time, and again.
    Whenever,
    /// At once or never.
    AtOnce,
}

/// The actors and how often each acts.
struct Setting {
    document: Document,
    /// Who exists, by name; the document names some or all.
    names: Vec<&'static str>,
    /// Who proposes what, and how often in all.
    proposers: Vec<(&'static str, Change, u8)>,
    answers: Answers,
    mutant: Mutant,
}

#[derive(Clone)]
struct World {
    nodes: Vec<Node>,
    /// Numbers of the messages that were ever sent, sorted.
    network: Vec<u16>,
    proposals_left: Vec<u8>,
    /// The document of each version that was stored first anywhere.
    stored: Vec<u16>,
}

/// One that has no document yet has no part in the council.
#[derive(Clone)]
struct Node {
    name: NodeId,
    council: Option<Council>,
}

/// What a document is, from one first document on: its version, its fence, whether it is `joint`, its
/// operations in their order, and its members.
type DocumentKey = (u64, u64, bool, Vec<(ChangeId, u8)>, Vec<Ordinal>);

fn key_of(document: &Document) -> DocumentKey {
    let state = |operation: &Operation| (operation.id, operation.state as u8);
    let operations = document.operations.iter().map(state).collect();
    let members = document.members().map(|member| member.ordinal).collect();
    (document.version, document.fence, document.joint().is_some(), operations, members)
}

/// Numbers for messages and documents, so that a state is a few bytes.
#[derive(Default)]
struct Numbers {
    documents: BTreeMap<DocumentKey, u16>,
    numbers: BTreeMap<Vec<u64>, u16>,
    messages: Vec<(NodeId, NodeId, ClusterMessage)>,
}

impl Numbers {
    fn document(&mut self, document: &Document) -> u16 {
        let next = u16::try_from(self.documents.len() + 1).expect("few documents");
        *self.documents.entry(key_of(document)).or_insert(next)
    }

    fn message(&mut self, from: &NodeId, speech: Speech) -> u16 {
        let mut key = vec![letter(from), letter(&speech.0)];
        self.encode(&speech.1, &mut key);
        let next = u16::try_from(self.messages.len()).expect("few messages");
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.messages.push((from.clone(), speech.0, speech.1));
        }
        number
    }

    fn is_answer(&self, number: u16) -> bool {
        use CouncilMessage::{Outbid, Promise, Vote};
        let message = &self.messages[usize::from(number)].2;
        matches!(message, ClusterMessage::Council(Promise { .. } | Vote { .. } | Outbid { .. }))
    }

    fn encode(&mut self, message: &ClusterMessage, key: &mut Vec<u64>) {
        let revision_of = |document: &Document| document.version;
        match message {
            ClusterMessage::Document(document) => key.extend([1, self.document(document).into()]),
            ClusterMessage::Council(CouncilMessage::Prepare { base, ballot }) => {
                key.extend([2, self.document(base).into(), bits(*ballot)]);
            }
            ClusterMessage::Council(CouncilMessage::Promise { base, ballot, accepted }) => {
                key.extend([3, base.version, bits(*ballot)]);
                if let Some(accepted) = accepted {
                    let value = self.document(&accepted.value).into();
                    key.extend([bits(accepted.ballot), value]);
                }
            }
            ClusterMessage::Council(CouncilMessage::Accept { base, ballot, value }) => {
                let value = self.document(value).into();
                key.extend([4, revision_of(base), bits(*ballot), value]);
            }
            ClusterMessage::Council(CouncilMessage::Vote { base, ballot }) => {
                key.extend([5, base.version, bits(*ballot)]);
            }
            ClusterMessage::Council(CouncilMessage::Outbid { base, ballot, promised }) => {
                key.extend([6, base.version, bits(*ballot), bits(*promised)]);
            }
            other => panic!("a council does not say {other:?}"),
        }
    }

    /// The state of a world in few bytes; equal for equal states alone.
    fn key(&mut self, world: &World) -> u128 {
        let mut key = Vec::with_capacity(64);
        for node in &world.nodes {
            match &node.council {
                None => key.push(u64::MAX),
                Some(council) => council.encode(&mut key, &mut |document| self.document(document)),
            }
        }
        key.extend(world.network.iter().map(|&number| u64::from(number)));
        key.push(u64::MAX);
        key.extend(world.proposals_left.iter().map(|&left| u64::from(left)));
        key.extend(world.stored.iter().map(|&document| u64::from(document)));
        let mix = |prime: u64| {
            key.iter().fold(prime, |hash, &word| {
                (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ prime
            })
        };
        u128::from(mix(0x1234_5678_9abc_def1)) << 64 | u128::from(mix(0xc2b2_ae3d_27d4_eb4f))
    }
}

fn letter(name: &NodeId) -> u64 {
    name.as_str().as_bytes()[0].into()
}

fn bits(ballot: Ballot) -> u64 {
    ballot.round << 8 | u64::from(ballot.proposer)
}

impl World {
    fn of(setting: &Setting) -> Self {
        let document = Arc::new(setting.document.clone());
        let node = |text: &&str| {
            let name = name(text);
            let council = document.member_named(&name).map(|member| {
                Council::new(member.ordinal, Arc::clone(&document), VoteSlot::default())
            });
            Node { name, council }
        };
        Self {
            nodes: setting.names.iter().map(node).collect(),
            network: Vec::new(),
            proposals_left: setting.proposers.iter().map(|(_, _, times)| *times).collect(),
            stored: Vec::new(),
        }
    }

    /// A node hears a message that stands in the network; what it says to that.
    fn deliver(&mut self, number: u16, mutant: Mutant, numbers: &mut Numbers) -> Vec<u16> {
        let (from, to, message) = numbers.messages[usize::from(number)].clone();
        let Some(node) = self.nodes.iter_mut().find(|node| node.name == to) else {
            return Vec::new();
        };
        if node.council.is_none()
            && let ClusterMessage::Document(document)
            | ClusterMessage::Council(CouncilMessage::Prepare { base: document, .. }) = &message
        {
            let ordinal = document.member_named(&to).map(|member| member.ordinal);
            node.council = ordinal
                .map(|ordinal| Council::new(ordinal, Arc::clone(document), VoteSlot::default()));
        }
        let Some(council) = &mut node.council else { return Vec::new() };
        let mut out = Vec::new();
        match message {
            ClusterMessage::Document(document) => {
                council.learn(&document);
            }
            ClusterMessage::Council(mut message) => {
                if let CouncilMessage::Promise { accepted, .. } = &mut message
                    && mutant == Mutant::VotesAreIgnored
                {
                    *accepted = None;
                }
                council.hear(&from, message, &mut out);
            }
            other => panic!("a council does not hear {other:?}"),
        }
        out.into_iter().map(|speech| numbers.message(&to, speech)).collect()
    }

    fn send(&mut self, numbers: Vec<u16>) {
        for number in numbers {
            if let Err(place) = self.network.binary_search(&number) {
                self.network.insert(place, number);
            }
        }
    }

    /// What becomes of a message that is heard now, and of the answer to it.
    fn heard(&self, number: u16, setting: &Setting, numbers: &mut Numbers, found: &mut Vec<Self>) {
        let mut next = self.clone();
        let said = next.deliver(number, setting.mutant, numbers);
        let (answers, requests): (Vec<u16>, Vec<u16>) = said
            .into_iter()
            .partition(|&said| setting.answers == Answers::AtOnce && numbers.is_answer(said));
        next.send(requests);
        for answer in answers {
            let mut answered = next.clone();
            let said = answered.deliver(answer, setting.mutant, numbers);
            answered.send(said);
            found.push(answered);
        }
        found.push(next);
    }

    fn propose(&mut self, proposer: usize, setting: &Setting, numbers: &mut Numbers) {
        let (text, change, _) = &setting.proposers[proposer];
        let name = name(text);
        let mut out = Vec::new();
        let node = self.nodes.iter_mut().find(|node| node.name == name);
        if let Some(council) = node.and_then(|node| node.council.as_mut()) {
            self.proposals_left[proposer] = self.proposals_left[proposer].saturating_sub(1);
            council.propose(change, &mut out);
        }
        let said = out.into_iter().map(|speech| numbers.message(&name, speech)).collect();
        self.send(said);
    }

    /// Forgets what is not durable.
    fn crash(&mut self, node: usize, mutant: Mutant) {
        let node = &mut self.nodes[node];
        if let Some(council) = &mut node.council {
            let vote = match mutant {
                Mutant::VoteIsNotDurable => VoteSlot::default(),
                _ => council.vote().clone(),
            };
            let document = council.document();
            let own = document.member_named(&node.name);
            let ordinal = own.map_or(Ordinal(0), |member| member.ordinal);
            *council = Council::new(ordinal, Arc::clone(document), vote);
        }
    }

    /// A ballot asks for votes for one document alone, also across crashes of its proposer.
    fn has_ballot_with_two_values(&self, numbers: &Numbers) -> bool {
        let mut values: BTreeMap<(u64, u64), &Document> = BTreeMap::new();
        self.network.iter().any(|&number| {
            let message = &numbers.messages[usize::from(number)].2;
            let ClusterMessage::Council(CouncilMessage::Accept { base, ballot, value }) = message
            else {
                return false;
            };
            let first = values.entry((base.version, bits(*ballot))).or_insert(value);
            key_of(first) != key_of(value)
        })
    }

    /// `LAYOUT_AGREES`: says which revision has two documents.
    fn disagrees(&mut self, numbers: &mut Numbers) -> Option<String> {
        if self.has_ballot_with_two_values(numbers) {
            return Some("a ballot with two values".into());
        }
        for node in &self.nodes {
            let Some(council) = &node.council else { continue };
            let version = usize::try_from(council.document().version).expect("a low version");
            let number = numbers.document(council.document());
            self.stored.resize(self.stored.len().max(version + 1), 0);
            let first = &mut self.stored[version];
            if *first == 0 {
                *first = number;
            }
            if *first != number {
                return Some(format!("two documents of version {version}"));
            }
        }
        None
    }

    fn successors(&self, setting: &Setting, numbers: &mut Numbers) -> Vec<Self> {
        let mut found = Vec::new();
        for &number in &self.network {
            self.heard(number, setting, numbers, &mut found);
        }
        for (proposer, &left) in self.proposals_left.iter().enumerate() {
            if left > 0 {
                let mut next = self.clone();
                next.propose(proposer, setting, numbers);
                found.push(next);
            }
        }
        for (place, node) in self.nodes.iter().enumerate() {
            let forgets = node.council.as_ref().is_some_and(|council| {
                council.is_proposing() || setting.mutant == Mutant::VoteIsNotDurable
            });
            if forgets {
                let mut next = self.clone();
                next.crash(place, setting.mutant);
                found.push(next);
            }
        }
        found
    }

    /// Lets the nodes of `up` alone go on, one proposer after the other, each message once. Whether
    /// something was decided, or nothing is left to decide.
    fn decides(&mut self, setting: &Setting, up: &[NodeId], numbers: &mut Numbers) -> bool {
        let before = self.latest_version(up);
        self.network.clear();
        for _ in 0..4 {
            for (proposer, (text, change, _)) in setting.proposers.iter().enumerate() {
                if !up.contains(&name(text)) {
                    continue;
                }
                self.propose(proposer, setting, numbers);
                while let Some(number) = self.network.pop() {
                    if up.contains(&numbers.messages[usize::from(number)].1) {
                        let said = self.deliver(number, setting.mutant, numbers);
                        self.send(said);
                    }
                }
                let council = self.node(text).and_then(|node| node.council.as_ref());
                let is_done = council.is_none_or(|c| change.successor(c.document()).is_none());
                if is_done || self.latest_version(up) > before {
                    return true;
                }
            }
        }
        !setting.proposers.iter().any(|(text, ..)| up.contains(&name(text)))
    }

    fn node(&self, text: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name.as_str() == text)
    }

    fn latest_version(&self, up: &[NodeId]) -> u64 {
        let councils = self.nodes.iter().filter(|node| up.contains(&node.name));
        let versions = councils.filter_map(|node| Some(node.council.as_ref()?.document().version));
        versions.max().unwrap_or(0)
    }
}

/// Visits every reachable state, breadth first, up to `most`; the first that breaks a promise ends it.
fn explore(setting: &Setting, most: usize) -> Result<(usize, bool), String> {
    let mut numbers = Numbers::default();
    let mut first = World::of(setting);
    first.disagrees(&mut numbers);
    let mut seen = BTreeSet::from([numbers.key(&first)]);
    let mut frontier = vec![first];
    while !frontier.is_empty() {
        let mut next_frontier = Vec::new();
        for world in frontier {
            for mut next in world.successors(setting, &mut numbers) {
                if let Some(broken) = next.disagrees(&mut numbers) {
                    return Err(broken);
                }
                if !seen.insert(numbers.key(&next)) {
                    continue;
                }
                if seen.len() % 211 == 0 {
                    progresses(&next, setting, &mut numbers)?;
                }
                next_frontier.push(next);
            }
            if seen.len() > most {
                return Ok((seen.len(), false));
            }
        }
        frontier = next_frontier;
    }
    Ok((seen.len(), true))
}

/// From here, every majority of every council that is still in charge somewhere decides alone.
fn progresses(world: &World, setting: &Setting, numbers: &mut Numbers) -> Result<(), String> {
    for mask in 1_u32..1 << world.nodes.len() {
        let is_up = |place: usize| mask >> place & 1 == 1;
        let up: Vec<NodeId> = world
            .nodes
            .iter()
            .enumerate()
            .filter(|(place, _)| is_up(*place))
            .map(|(_, node)| node.name.clone())
            .collect();
        let has_majority =
            world.nodes.iter().filter_map(|node| node.council.as_ref()).all(|council| {
                let document = council.document();
                let members = document.council.iter().filter_map(|&o| document.member(o));
                let reached = members.filter(|member| up.contains(&member.node_id)).count();
                reached > document.council.len() / 2
            });
        if has_majority && !world.clone().decides(setting, &up, numbers) {
            return Err(format!("with {up:?} up nothing is decided"));
        }
    }
    Ok(())
}

/// These nodes want to join.
fn wait(wishes: &[(&str, u128)]) -> Change {
    Change::Enqueue(wishes.iter().map(|&(text, id)| (ChangeId(id), join(text))).collect())
}

/// These joins begin.
fn begin(ids: &[u128]) -> Change {
    let operations = ids.iter().copied().map(ChangeId).collect();
    Change::Begin { operations, stored: 0 }
}

/// The change of this fence ends.
fn finish(fence: u64) -> Change {
    Change::Finish { fence, stored: 0 }
}

fn setting(names: &[&'static str], proposers: Vec<(&'static str, Change, u8)>) -> Setting {
    Setting {
        document: document_of(names),
        names: names.into(),
        proposers,
        answers: Answers::AtOnce,
        mutant: Mutant::None,
    }
}

/// Three acceptors, two of which propose different changes.
fn three(times: u8) -> Setting {
    let proposers = vec![("a", wait(&[("x", 11)]), times), ("b", wait(&[("y", 12)]), times)];
    setting(&["a", "b", "c"], proposers)
}

/// Explores to the end.
fn holds(setting: &Setting) {
    let (states, is_whole) = explore(setting, 200_000).unwrap_or_else(|broken| panic!("{broken}"));
    assert!(is_whole, "more than {states} states");
}

/// Explores the first states only, of a world that has too many.
fn holds_near_the_start(setting: &Setting, states: usize) {
    explore(setting, states).unwrap_or_else(|broken| panic!("{broken}"));
}

/// Walks at random, far from the start.
fn holds_on_walks(setting: &Setting, walks: usize) {
    let mut random = Random::new(5);
    for walk in 0..walks {
        let mut numbers = Numbers::default();
        let mut world = World::of(setting);
        for _ in 0..80 {
            let mut next = world.successors(setting, &mut numbers);
            if next.is_empty() {
                break;
            }
            world = next.swap_remove(random.below(next.len()));
            if let Some(broken) = world.disagrees(&mut numbers) {
                panic!("walk {walk}: {broken}");
            }
        }
        progresses(&world, setting, &mut numbers).unwrap_or_else(|broken| panic!("{broken}"));
    }
}

#[test]
fn three_acceptors_and_two_proposers_agree() {
    holds(&three(1));
    holds_near_the_start(&Setting { answers: Answers::Whenever, ..three(1) }, 20_000);
    holds_near_the_start(&three(2), 25_000);
    holds_on_walks(&three(2), 150);
    holds_on_walks(&Setting { answers: Answers::Whenever, ..three(2) }, 100);
}

#[test]
fn one_of_two_decides_alone() {
    let proposers = vec![("a", wait(&[("x", 11)]), 2), ("b", wait(&[("y", 12)]), 2)];
    let two = setting(&["a", "b"], proposers);
    holds(&two);
    holds_near_the_start(&Setting { answers: Answers::Whenever, ..two }, 20_000);
}

#[test]
fn a_council_that_grows_from_one_to_three_agrees() {
    let joint = begun(&document_of(&["a"]), &[(11, join("b")), (12, join("c"))]);
    let fence = joint.fence;
    let mut world = setting(&["a"], vec![]);
    world.document = joint;
    world.names = vec!["a", "b", "c"];
    world.proposers = vec![("a", finish(fence), 2), ("b", wait(&[("x", 13)]), 2)];
    holds_near_the_start(&world, 15_000);
    holds_on_walks(&world, 200);
}

#[test]
fn a_council_that_grows_from_three_to_five_agrees() {
    let joint = begun(&document_of(&["a", "b", "c"]), &[(11, join("d")), (12, join("e"))]);
    let fence = joint.fence;
    let mut world = setting(&["a", "b", "c"], vec![]);
    world.document = joint;
    world.names = vec!["a", "b", "c", "d", "e"];
    world.proposers = vec![("a", finish(fence), 1), ("d", wait(&[("x", 13)]), 2)];
    holds_near_the_start(&world, 12_000);
    holds_on_walks(&world, 150);
}

#[test]
fn a_council_that_shrinks_agrees() {
    let drain = |member| OperationKind::Drain { member: Ordinal(member) };
    let joint = begun(&document_of(&["a", "b", "c"]), &[(11, drain(2)), (12, drain(3))]);
    let fence = joint.fence;
    let mut world = setting(&["a", "b", "c"], vec![]);
    world.document = joint;
    world.proposers = vec![("b", finish(fence), 1), ("a", wait(&[("x", 13)]), 2)];
    holds_near_the_start(&world, 8_000);
    holds_on_walks(&world, 100);
}

#[test]
fn an_operation_begins_or_is_given_up_and_never_both() {
    let waiting = wait(&[("x", 11)]).successor(&document_of(&["a", "b", "c"])).expect("x waits");
    let give_up = Change::Drop { operations: [ChangeId(11)].into() };
    let mut world = setting(&["a", "b", "c"], vec![("a", begin(&[11]), 1), ("b", give_up, 1)]);
    world.document = waiting;
    holds_near_the_start(&world, 12_000);
    holds_on_walks(&world, 100);
}

#[test]
fn only_the_next_version_is_voted_for() {
    let base = Arc::new(document_of(&["a", "b", "c"]));
    let next = wait(&[("x", 11)]).successor(&base).expect("x joins");
    let after = wait(&[("y", 12)]).successor(&next).expect("y joins");
    let ballot = Ballot { round: 1, proposer: 1 };
    for (value, votes) in [((*base).clone(), 0), (after, 0), (next, 1)] {
        let mut council = Council::new(Ordinal(2), Arc::clone(&base), VoteSlot::default());
        let value = Arc::new(value);
        let accept = CouncilMessage::Accept { base: Arc::clone(&base), ballot, value };
        let mut out = Vec::new();
        council.hear(&name("a"), accept, &mut out);
        assert_eq!(out.len(), votes);
        assert_eq!(council.vote().accepted.iter().count(), votes);
    }
}

#[test]
fn a_ballot_is_not_used_again_after_a_crash() {
    let document = Arc::new(document_of(&["a", "b", "c"]));
    let mut council = Council::new(Ordinal(2), Arc::clone(&document), VoteSlot::default());
    let mut ballots = BTreeSet::new();
    for _ in 0..3 {
        // Whatever was said, only the document and the vote slot survive.
        council = Council::new(Ordinal(2), Arc::clone(&document), council.vote().clone());
        let mut out = Vec::new();
        assert!(council.propose(&wait(&[("x", 11)]), &mut out));
        let prepares = out.into_iter().filter_map(|(_, message)| match message {
            ClusterMessage::Council(CouncilMessage::Prepare { ballot, .. }) => Some(bits(ballot)),
            _ => None,
        });
        ballots.extend(prepares);
    }
    assert_eq!(ballots.len(), 3);
}

#[test]
fn what_is_wrong_on_purpose_is_noticed() {
    for mutant in [Mutant::VoteIsNotDurable, Mutant::VotesAreIgnored] {
        let world = Setting { mutant, ..three(1) };
        assert!(explore(&world, 200_000).is_err(), "the explorer cannot fail");
    }
}
