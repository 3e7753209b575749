//! Whole shards among themselves: what differs is found and mended, what is under way is left alone.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::limits::MAX_REQUEST_TIMEOUT;
use paravon_model::{
    Class, Command, Compare, Compared, Digest, Failure, Fence, Moment, Ordinal, PARTS,
    ReplicaReply, ReplicaRequest, Unlisted,
};
use paravon_ring::{KeyHash, Layout, Partition};

use super::ROUND;
use crate::admission::Admission;
use crate::event::{Effect, Event, Now, PeerToken};
use crate::operations::OperationId;
use crate::pull::SOURCE_PATIENCE;
use crate::round::LONGEST;
use crate::shard::{Settings, Shard};
use crate::sixteenths::Sixteenths;
use crate::test_cluster::{
    Cluster, Message, START_MS, joint, key, layout, record, settings, version,
};
use crate::test_traffic::{Asked, agreement, pass};

/// Three nodes that hold the same records.
fn cluster() -> Cluster {
    let mut cluster = Cluster::new(3);
    for node in 1..=3 {
        for number in 0..50 {
            cluster.node(node).merge(key(&format!("key-{number}")), record(START_MS, "v"));
        }
    }
    cluster
}

fn partition_of(name: &str) -> Partition {
    KeyHash::of(&key(name), 0).partition(layout(3, 1).shift())
}

/// When the node was last seen to agree with the other on the partition of the key.
fn agreed(cluster: &Cluster, node: u32, name: &str, peer: u32) -> Option<Duration> {
    let shard = &cluster.nodes[node as usize - 1].shard;
    shard.entropy.counterparts.agreed_at(partition_of(name), Ordinal(peer))
}

fn agree(cluster: &Cluster) -> bool {
    let mut nodes = 1..=u32::try_from(cluster.nodes.len()).unwrap();
    nodes.all(|node| agreement(cluster, node).never == 0)
}

#[test]
fn while_all_agree_a_round_is_one_question() {
    let mut cluster = cluster();
    assert_eq!(agreement(&cluster, 1).never, 16);
    let asked = pass(&mut cluster, ROUND * 5);
    assert!((20..=30).contains(&asked.questions), "{asked:?}");
    assert_eq!((asked.digests, asked.pulls), (0, 0));
    assert!(agree(&cluster));
    let agreement = agreement(&cluster, 1);
    assert_eq!((agreement.partitions, agreement.differing), (16, 0));
    assert!(agreement.oldest.is_some_and(|oldest| oldest <= ROUND * 2), "{agreement:?}");
    for node in 1..=3 {
        assert_eq!(cluster.node(node).shard.under_way(), 0);
    }
}

#[test]
fn replicas_that_diverged_converge() {
    let mut cluster = cluster();
    let mut state = 3_u64;
    let mut roll = move |sides: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        (state >> 33) % sides
    };
    for number in 0..50 {
        let key = key(&format!("key-{number}"));
        let node = u32::try_from(roll(3)).unwrap() + 1;
        match roll(4) {
            0 => drop(cluster.node(node).stored.remove(&key)),
            1 => {
                cluster.node(node).merge(key, record(START_MS + roll(9), "newer"));
            }
            // The same version with another content: a bug or a restored disk.
            2 => {
                cluster.node(node).merge(key, record(START_MS, "w"));
            }
            _ => {}
        }
    }
    pass(&mut cluster, MAX_REQUEST_TIMEOUT + ROUND * 5);
    let stored = cluster.node(1).stored.clone();
    assert_eq!(stored.len(), 50);
    for node in 2..=3 {
        assert_eq!(cluster.node(node).stored, stored);
    }
    let pulled = (1..=3).map(|node| cluster.node(node).shard.agreement(Duration::ZERO));
    let pulled: Vec<_> = pulled.map(|agreement| agreement.pulled_records).collect();
    assert!(pulled.iter().sum::<u64>() >= 10, "{pulled:?}");
    pass(&mut cluster, ROUND * 2);
    let settled = pass(&mut cluster, MAX_REQUEST_TIMEOUT * 2);
    assert_eq!((settled.digests, settled.pulls), (0, 0));
    assert_eq!(agreement(&cluster, 2).differing, 0);
}

/// More than is mended at once is mended in one go.
#[test]
fn many_partitions_that_differ_are_mended_one_after_the_other() {
    let mut document = (**layout(3, 1).document()).clone();
    document.shift = 7;
    let mut cluster = Cluster::of(3, &Arc::new(Layout::of(document.into())));
    for number in 0..400 {
        let key = key(&format!("key-{number}"));
        cluster.node(1).merge(key.clone(), record(START_MS, "v"));
        cluster.node(3).merge(key, record(START_MS, "v"));
    }
    pass(&mut cluster, MAX_REQUEST_TIMEOUT + ROUND * 2);
    pass(&mut cluster, ROUND);
    assert_eq!(cluster.node(2).stored.len(), 400);
    let agreement = agreement(&cluster, 2);
    assert_eq!((agreement.partitions, agreement.pulled_records), (128, 400));
    assert_eq!(cluster.node(2).shard.under_way(), 0);
}

/// What either end cannot read is not made whole by this, and holds up nothing else of the partition.
#[test]
fn a_damaged_key_is_left_out() {
    for (damaged, source) in [(1, 1), (2, 1)] {
        let mut cluster = cluster();
        let missing = (0..50).map(|number| format!("key-{number}"));
        let mut missing =
            missing.filter(|name| partition_of(name) == partition_of("key-7") && name != "key-7");
        let missing = missing.next().expect("another key of the partition");
        cluster.node(2).stored.remove(&key(&missing));
        cluster.node(2).merge(key("key-7"), record(START_MS - 1, "older"));
        cluster.node(damaged).damaged.insert(key("key-7"));
        let all = Sixteenths::differing(&Digest::default(), &Digest([1; PARTS]));
        cluster.node(2).shard.mend(Ordinal(source), partition_of("key-7"), all);
        pass(&mut cluster, Duration::from_secs(1));
        assert_eq!(cluster.held(2, &missing), Some(version(START_MS, 9)));
        assert!(cluster.node(damaged).marked.contains(&key("key-7")), "it counts nowhere");
        let shard = &cluster.node(2).shard;
        assert!(shard.entropy.mending.is_idle() && shard.under_way() == 0);
    }
}

#[test]
fn a_difference_is_pulled_only_when_it_outlives_every_request() {
    let mut cluster = cluster();
    cluster.node(2).stored.remove(&key("key-7"));
    let asked = pass(&mut cluster, MAX_REQUEST_TIMEOUT);
    assert_eq!((asked.digests, asked.pulls), (0, 0));
    assert_eq!(agreement(&cluster, 2).differing, 1);
    assert_eq!(cluster.held(2, "key-7"), None);
    let asked = pass(&mut cluster, ROUND * 3);
    assert!(asked.pulls > 0);
    assert_eq!(cluster.held(2, "key-7"), Some(version(START_MS, 9)));
    let agreement = agreement(&cluster, 2);
    assert_eq!((agreement.pulled_records, agreement.pulled_bytes), (1, 6));
}

#[test]
fn nothing_is_listed_for_a_difference_that_is_gone_at_the_second_look() {
    let mut cluster = cluster();
    for round in 0..30 {
        let written = format!("key-{}", round % 50);
        cluster.node(1).merge(key(&written), record(START_MS + 1 + round, "new"));
        let asked = pass(&mut cluster, ROUND + Duration::from_secs(1));
        assert_eq!(asked.pulls, 0);
        assert_eq!(agreement(&cluster, 1).differing, 1, "it is seen");
        for node in 2..=3 {
            cluster.node(node).merge(key(&written), record(START_MS + 1 + round, "new"));
        }
        assert_eq!(pass(&mut cluster, ROUND + Duration::from_secs(1)).pulls, 0);
    }
}

#[test]
fn what_differs_or_was_pulled_is_not_agreed_before_it_was_compared_again() {
    let mut cluster = cluster();
    pass(&mut cluster, ROUND * 2);
    let before = agreed(&cluster, 2, "key-7", 1).expect("they agreed");
    let forgotten = cluster.time;
    cluster.node(2).stored.remove(&key("key-7"));
    while cluster.held(2, "key-7").is_none() {
        pass(&mut cluster, Duration::from_millis(500));
        assert!(cluster.time < forgotten + MAX_REQUEST_TIMEOUT * 3);
        let source = [1, 3].map(|peer| agreed(&cluster, 2, "key-7", peer));
        assert!(source.iter().all(|at| *at <= Some(forgotten)), "{source:?} {before:?}");
    }
    let mended = cluster.time;
    pass(&mut cluster, ROUND * 2);
    assert!(agreed(&cluster, 2, "key-7", 1) > Some(mended - Duration::from_millis(500)));
}

#[test]
fn an_agreement_is_as_old_as_the_own_totals() {
    let mut cluster = Cluster::new(2);
    cluster.time += ROUND;
    cluster.step(1, Event::Tick);
    let asked = cluster.time;
    cluster.time += Duration::from_secs(3);
    assert_eq!(cluster.node(1).shard.agreement(asked).never, 16);
    cluster.run();
    assert_eq!(agreed(&cluster, 1, "key", 2), Some(asked));
    let agreement = agreement(&cluster, 1);
    assert_eq!((agreement.never, agreement.oldest), (0, Some(Duration::from_secs(3))));
}

#[test]
fn who_is_away_is_waited_for_and_named() {
    let mut cluster = cluster();
    pass(&mut cluster, ROUND * 2);
    cluster.cut(1, 3);
    let cut = cluster.time;
    pass(&mut cluster, ROUND * 6);
    let shard = &cluster.node(1).shard;
    let now = cut + ROUND * 6;
    for (_, age, waits_for) in shard.agreements(now) {
        assert_eq!(waits_for, Some(Ordinal(3)));
        assert!(age >= Some(ROUND * 6));
    }
    cluster.link(1, 3);
    pass(&mut cluster, ROUND);
    assert!(agreement(&cluster, 1).oldest <= Some(ROUND * 2));
}

#[test]
fn what_is_not_summed_up_does_not_count_and_costs_the_others_nothing() {
    let mut cluster = cluster();
    cluster.node(2).unsummed = [partition_of("key-7")].into();
    cluster.node(1).stored.remove(&key("key-7"));
    let asked = pass(&mut cluster, MAX_REQUEST_TIMEOUT);
    assert_eq!(asked.pulls, 0);
    for (node, peer) in [(1, 2), (2, 1), (2, 3), (3, 2)] {
        assert_eq!(agreed(&cluster, node, "key-7", peer), None);
        let never = cluster.node(node).shard.agreement(Duration::ZERO).never;
        assert_eq!(never, 1);
    }
    pass(&mut cluster, ROUND * 3);
    assert!(cluster.held(1, "key-7").is_some(), "3 has summed it up and has it");
    cluster.node(2).unsummed.clear();
    pass(&mut cluster, ROUND * 2);
    assert!(agree(&cluster));
}

#[test]
fn what_agrees_is_called_clean_as_long_as_anything_is_dirty_for_the_peer() {
    let mut cluster = cluster();
    let clean = |cluster: &mut Cluster| {
        cluster.said.clear();
        pass(cluster, ROUND);
        let clean = |(node, said): &(u32, Effect)| match said {
            Effect::Clean { target, partition, moment } => {
                Some((*node, target.0, partition.0, *moment))
            }
            _ => None,
        };
        cluster.said.iter().filter_map(clean).collect::<Vec<_>>()
    };
    assert_eq!(clean(&mut cluster), []);
    cluster.node(1).dirty.insert(Ordinal(3), 7);
    let all: Vec<_> = (0..16).map(|partition| (1, 3, partition, 7)).collect();
    assert_eq!(clean(&mut cluster), all);
    assert_eq!(clean(&mut cluster), all, "the store had left it out");
    cluster.node(1).dirty.clear();
    assert_eq!(clean(&mut cluster), []);
}

#[test]
fn nothing_is_clean_that_this_node_was_refused_itself_until_all_others_agree() {
    let mut cluster = cluster();
    let clean = |cluster: &mut Cluster| {
        cluster.said.clear();
        pass(cluster, ROUND * 2);
        let is_of =
            |said: &Effect, to| matches!(said, Effect::Clean { target, .. } if target.0 == to);
        [1, 2].map(|to| cluster.said.iter().filter(|(_, said)| is_of(said, to)).count())
    };
    clean(&mut cluster);
    let now = cluster.now(1).monotonic;
    cluster.node(1).shard.handoffs.kept(now, Ordinal(1));
    cluster.node(1).dirty = [(Ordinal(1), 1), (Ordinal(2), 1)].into();
    cluster.cut(1, 3);
    assert_eq!(clean(&mut cluster), [0, 0], "3 may hold what the store of 1 refused");
    cluster.link(1, 3);
    let [own, peers] = clean(&mut cluster);
    assert!(own >= 16 && peers >= 16, "{own} {peers}");
}

#[test]
fn it_runs_while_two_sets_are_in_force_and_keeps_what_was_agreed() {
    let mut cluster = Cluster::of(4, &layout(3, 1));
    for node in 1..=3 {
        cluster.node(node).merge(key("key-1"), record(START_MS, "v"));
    }
    pass(&mut cluster, ROUND * 2);
    let kept = agreed(&cluster, 1, "key-1", 2);
    assert!(kept.is_some());
    let layout = joint(&[1, 2, 3], &[1, 2, 4], 2);
    cluster.learn(&[1, 2, 3, 4], &layout);
    cluster.run();
    assert_eq!(agreed(&cluster, 1, "key-1", 2), kept);
    pass(&mut cluster, ROUND * 3);
    assert!(agree(&cluster));
    assert!(agreed(&cluster, 4, "key-1", 3).is_some() && agreed(&cluster, 1, "key-1", 4).is_some());
}

#[test]
fn what_this_node_still_takes_over_is_left_out() {
    let mut cluster = Cluster::of(4, &layout(3, 1));
    let layout = joint(&[1, 2, 3], &[1, 2, 4], 2);
    // 3 leaves and cannot be reached, so that nobody is complete.
    [1, 2, 4].iter().for_each(|&peer| cluster.cut(3, peer));
    cluster.learn(&[1, 2, 4], &layout);
    pass(&mut cluster, ROUND * 3);
    for node in [1, 2, 4] {
        assert!(!cluster.node(node).shard.transfer.progress().is_complete());
        let agreement = agreement(&cluster, node);
        assert_eq!((agreement.never, agreement.compared), (16, 0));
    }
    [1, 2, 4].iter().for_each(|&peer| cluster.link(3, peer));
    cluster.learn(&[3], &layout);
    pass(&mut cluster, ROUND * 3);
    assert!(agree(&cluster));
}

#[test]
fn answers_of_another_fence_are_void() {
    let mut cluster = cluster();
    while cluster.wire.is_empty() {
        cluster.time += Duration::from_millis(500);
        (1..=3).for_each(|node| cluster.step(node, Event::Tick));
    }
    let late: Vec<_> = cluster.wire.drain(..).collect();
    for message in late {
        cluster.deliver(message);
    }
    let replies: Vec<_> = cluster.wire.drain(..).collect();
    assert!(replies.iter().any(|message| matches!(message, Message::Reply { .. })));
    cluster.learn(&[1, 2, 3], &layout(3, 2));
    for reply in replies {
        cluster.deliver(reply);
    }
    for node in 1..=3 {
        assert_eq!(agreement(&cluster, node).never, 16);
        assert_eq!(cluster.node(node).shard.under_way(), 0);
    }
    pass(&mut cluster, ROUND * 2);
    assert!(agree(&cluster));
}

#[test]
fn a_node_alone_does_nothing() {
    let mut cluster = Cluster::new(1);
    assert_eq!(pass(&mut cluster, ROUND * 3), Asked::default());
    let shard = &cluster.node(1).shard;
    assert_eq!((shard.entropy_wake(), shard.next_wake()), (None, shard.floors_wake()));
    assert_eq!(shard.agreement(Duration::ZERO).partitions, 0);
    assert!(shard.agreements(Duration::ZERO).all(|(_, age, with)| age.is_some() && with.is_none()));
}

/// Links break and messages are lost; in the end all agree, and nothing is left under way.
#[test]
fn every_fault_is_outlived() {
    for seed in 1..=10_u64 {
        let mut state = seed;
        let mut roll = move |sides: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            (state >> 33) % sides
        };
        let mut cluster = cluster();
        for round in 0..400 {
            let node = u32::try_from(roll(3)).unwrap() + 1;
            let peer = u32::try_from(roll(3)).unwrap() + 1;
            match roll(8) {
                0 if node != peer => cluster.cut(node, peer),
                1 if node != peer => cluster.link(node, peer),
                2 => drop(cluster.wire.pop_front()),
                3 => {
                    let key = key(&format!("key-{}", roll(60)));
                    cluster.node(node).merge(key, record(START_MS + round, "newer"));
                }
                4 => {
                    let broken = Failure::Overloaded { retry_after_ms: 1 };
                    cluster.node(node).broken = (roll(2) == 0).then_some(broken);
                }
                _ => {
                    cluster.time += Duration::from_secs(1);
                    (1..=3).for_each(|node| cluster.step(node, Event::Tick));
                    for _ in 0..roll(30) {
                        let Some(message) = cluster.wire.pop_front() else { break };
                        cluster.deliver(message);
                    }
                    cluster.sync(node);
                }
            }
        }
        for (one, other) in [(1, 2), (1, 3), (2, 3)] {
            cluster.link(one, other);
        }
        (1..=3).for_each(|node| cluster.node(node).broken = None);
        cluster.run();
        pass(&mut cluster, MAX_REQUEST_TIMEOUT + ROUND * 6);
        let stored = cluster.node(1).stored.clone();
        for node in 1..=3 {
            assert_eq!(cluster.node(node).stored, stored, "seed {seed}");
            assert_eq!(cluster.node(node).shard.under_way(), 0, "seed {seed}");
        }
        let agreement = agreement(&cluster, 1);
        assert!(agreement.oldest <= Some(ROUND * 3), "seed {seed} {agreement:?}");
    }
}

const NOW: Now = Now { monotonic: Duration::from_secs(1), wall_ms: START_MS };

/// One of two shards of node 1, which can reach node 2.
fn first_of_two() -> Shard {
    let only = Settings { shards: 2, ..settings(1, &layout(2, 1), Admission::Stored) };
    let mut shard = Shard::new(only);
    step(&mut shard, Duration::ZERO, Event::LinkUp { peer: Ordinal(2) });
    step(&mut shard, Duration::ZERO, Event::Tick);
    shard
}

fn step(shard: &mut Shard, monotonic: Duration, event: Event) -> Vec<Effect> {
    let mut out = Vec::new();
    shard.step(Now { monotonic, ..NOW }, event, &mut out);
    out.retain(|effect| !matches!(effect, Effect::RaiseCeiling { .. }));
    let asks_marks = |effect: &Effect| match effect {
        Effect::Send { operation, request, .. } => {
            let marks = matches!(request.command, Command::Compare(Compare::Marks { .. }));
            marks.then_some(*operation)
        }
        _ => None,
    };
    // The other end has no marks.
    while let Some(operation) = out.iter().find_map(asks_marks) {
        out.retain(|effect| asks_marks(effect).is_none());
        let (unlisted, moment) = (Unlisted::Unmarked, Moment::default());
        let none = Compared::Marks { marks: vec![], unlisted, next: None, moment };
        shard.step(Now { monotonic, ..NOW }, told(operation, none), &mut out);
    }
    out
}

/// The own store tells its totals: gives the class that the peer is asked for then.
fn tell_totals(shard: &mut Shard, now: Duration, out: &[Effect]) -> (OperationId, Class) {
    let [Effect::Totals { operation, partitions, .. }] = out else { panic!("{out:?}") };
    let (operation, totals) = (*operation, vec![Some(1); partitions.len()]);
    let partitions = partitions.clone();
    let asked = step(shard, now, Event::Totals { operation, totals, moment: None });
    let [Effect::Send { to: Ordinal(2), operation, request }] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    let Command::Compare(Compare::Folds { class, span: 0, first: 0, count }) = request.command
    else {
        panic!("{request:?}")
    };
    assert_eq!(usize::from(count), partitions.len());
    assert!(partitions.iter().all(|partition| class.contains(partition.0)));
    (*operation, class)
}

fn told(operation: OperationId, compared: Compared) -> Event {
    let reply = ReplicaReply::Compared { answer: Ok(compared) };
    Event::Answered { from: Ordinal(2), operation, reply }
}

#[test]
fn a_peer_with_other_shards_is_asked_class_by_class() {
    let mut shard = first_of_two();
    let mut begins = step(&mut shard, ROUND, Event::Tick);
    let (operation, class) = tell_totals(&mut shard, ROUND, &begins);
    assert_eq!(class, Class { modulus: 2, residue: 0 });
    begins = step(&mut shard, ROUND, told(operation, Compared::Shards(3)));
    for at in [ROUND, ROUND * 2] {
        for residue in [0, 2, 4] {
            let (operation, class) = tell_totals(&mut shard, at, &begins);
            assert_eq!(class, Class { modulus: 6, residue });
            let count = if residue < 4 { 3 } else { 2 };
            let equal = Compared::Folds(vec![Some(1); count]);
            begins = step(&mut shard, at, told(operation, equal));
        }
        let agreement = shard.agreement(at);
        assert_eq!((agreement.never, agreement.oldest), (0, Some(Duration::ZERO)));
        assert_eq!((begins, shard.under_way()), (vec![], 0), "the round has ended");
        begins = step(&mut shard, at + ROUND, Event::Tick);
    }
}

#[test]
fn a_round_ends_with_an_answer_that_makes_no_sense_and_comes_again_in_time() {
    let nonsense = [
        Compared::Shards(0),
        Compared::Shards(2),
        Compared::Shards(1),
        Compared::Folds(vec![]),
        Compared::Folds(vec![Some(1); 9]),
        Compared::Digest(None),
    ];
    for nonsense in nonsense {
        let mut shard = first_of_two();
        let begins = step(&mut shard, ROUND, Event::Tick);
        let (operation, _) = tell_totals(&mut shard, ROUND, &begins);
        let stranger = Event::Answered {
            from: Ordinal(3),
            operation,
            reply: ReplicaReply::Compared { answer: Ok(Compared::Folds(vec![Some(1); 8])) },
        };
        assert_eq!(step(&mut shard, ROUND, stranger), []);
        assert_eq!((shard.under_way(), shard.agreement(ROUND).never), (1, 8));
        assert_eq!(step(&mut shard, ROUND, told(operation, nonsense)), []);
        assert_eq!((shard.under_way(), shard.agreement(ROUND).never), (0, 8));
        assert_eq!(shard.entropy_wake(), Some(ROUND * 2));
        let begins = step(&mut shard, ROUND * 2, Event::Tick);
        tell_totals(&mut shard, ROUND * 2, &begins);
    }
}

#[test]
fn a_peer_that_does_not_answer_holds_nobody_up_for_long() {
    let mut shard = first_of_two();
    let begins = step(&mut shard, ROUND, Event::Tick);
    tell_totals(&mut shard, ROUND, &begins);
    assert_eq!(step(&mut shard, ROUND + SOURCE_PATIENCE / 2, Event::Tick), []);
    let begins = step(&mut shard, ROUND + SOURCE_PATIENCE, Event::Tick);
    tell_totals(&mut shard, ROUND + SOURCE_PATIENCE, &begins);
    step(&mut shard, ROUND + SOURCE_PATIENCE, Event::LinkDown { peer: Ordinal(2) });
    assert_eq!((shard.under_way(), shard.entropy_wake()), (0, None));

    let mut slow = first_of_two();
    let begins = step(&mut slow, ROUND, Event::Tick);
    let (operation, _) = tell_totals(&mut slow, ROUND, &begins);
    let differing = Compared::Folds(vec![Some(2); 8]);
    assert_eq!(step(&mut slow, ROUND + LONGEST, told(operation, differing)), []);
    assert_eq!(slow.under_way(), 0);
}

/// What the second of two shards answers to another member.
fn ask(shard: &mut Shard, fence: Fence, compare: Compare) -> Vec<Effect> {
    let time_left = Duration::from_secs(1);
    let request = ReplicaRequest { fence, time_left, command: Command::Compare(compare) };
    let (from, token) = (Ordinal(2), PeerToken(1));
    let mut out = Vec::new();
    shard.step(NOW, Event::Asked { from, token, hash: KeyHash(0), request }, &mut out);
    out
}

fn answer(out: &[Effect]) -> Option<&Result<Compared, Failure>> {
    match out {
        [Effect::Answer { reply: ReplicaReply::Compared { answer }, .. }] => Some(answer),
        _ => None,
    }
}

#[test]
fn whoever_asks_is_told_of_the_shards_or_the_folds_and_no_numbers_do_harm() {
    let layout = layout(3, 1);
    let second = Settings { number: 1, shards: 2, ..settings(1, &layout, Admission::Stored) };
    let mut shard = Shard::new(second);
    let mut ask = |modulus, residue, span, first, count| {
        let class = Class { modulus, residue };
        ask(&mut shard, layout.fence(), Compare::Folds { class, span, first, count })
    };
    for (modulus, residue) in [(3, 1), (1, 0), (2, 0), (4, 2), (6, 4)] {
        let out = ask(modulus, residue, 0, 0, 1);
        assert_eq!(answer(&out), Some(&Ok(Compared::Shards(2))), "{modulus} {residue}");
    }
    let nonsense = [
        (0, 1, 0, 0, 1),
        (4, 5, 0, 0, 1),
        (4, 3, 25, 0, 1),
        (4, 3, 0, 0, 0),
        (4, 3, 0, 0, 1025),
        (4, 3, 0, u32::MAX, 1),
    ];
    for (modulus, residue, span, first, count) in nonsense {
        let out = ask(modulus, residue, span, first, count);
        assert_eq!(answer(&out), Some(&Err(Failure::NotReady)), "{modulus} {residue}");
    }
    let out = ask(4, 3, 1, 1, 3);
    let [Effect::Totals { operation, partitions, .. }] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!(partitions.to_vec(), [11, 15].map(Partition));
    let (operation, totals) = (*operation, vec![Some(u128::MAX), Some(3)]);
    let mut out = Vec::new();
    shard.step(NOW, Event::Totals { operation, totals, moment: None }, &mut out);
    let folds = Compared::Folds(vec![Some(2), Some(0), Some(0)]);
    assert_eq!(answer(&out), Some(&Ok(folds)));
    assert_eq!(shard.under_way(), 0);
}

#[test]
fn no_more_than_a_limit_of_comparisons_are_under_way() {
    let layout = layout(3, 1);
    let mut shard = Shard::new(settings(1, &layout, Admission::Stored));
    let compare = Compare::Digest { partition: 3 };
    let begun = (0..1000).take_while(|_| {
        let out = ask(&mut shard, layout.fence(), compare);
        matches!(out.as_slice(), [Effect::Digest { .. }])
    });
    assert_eq!(begun.count(), 256);
    let out = ask(&mut shard, layout.fence(), compare);
    assert!(matches!(answer(&out), Some(Err(Failure::Overloaded { .. }))));
}
