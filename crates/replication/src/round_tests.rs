//! The whole life of differences between three nodes, and what each part of it costs: first sight, waiting
//! until no request can be under way any more, and being pulled.

use alloc::format;
use alloc::sync::Arc;
use core::time::Duration;

use paravon_model::limits::MAX_REQUEST_TIMEOUT;
use paravon_ring::Layout;

use crate::entropy::ROUND;
use crate::test_cluster::{Cluster, START_MS, key, layout, record};
use crate::test_traffic::{Asked, agreement, pass, pass_losing};

/// Three nodes with 65,536 partitions, or fewer, that hold the same two hundred records, and have seen that they do.
fn cluster() -> Cluster {
    cluster_of(16)
}

fn cluster_of(shift: u8) -> Cluster {
    let mut document = (**layout(3, 1).document()).clone();
    document.shift = shift;
    let mut cluster = Cluster::of(3, &Arc::new(Layout::of(document.into())));
    for number in 0..200 {
        let key = key(&format!("key-{number}"));
        for node in 1..=3 {
            cluster.node(node).merge(key.clone(), record(START_MS, "v"));
        }
    }
    pass(&mut cluster, ROUND * 2);
    cluster
}

/// What three nodes ask for in one [`ROUND`] while nothing new is found: six exchanges.
const AT_REST: Asked = Asked { questions: 6, folds: 6 * 16, digests: 0, pulls: 0 };

/// Lets time pass until the node holds so many records.
fn pass_until(cluster: &mut Cluster, node: u32, held: usize, longest: Duration) -> Asked {
    let (end, mut asked) = (cluster.time + longest, Asked::default());
    while cluster.node(node).stored.len() < held {
        asked.add(pass(cluster, Duration::from_millis(500)));
        assert!(cluster.time < end, "{asked:?}");
    }
    asked
}

/// Steps of 64, sums at first sight and narrowing anew in each round took ten times as much.
#[test]
fn a_hundred_differences_cost_little_from_the_first_sight_until_they_are_pulled() {
    let mut cluster = cluster();
    assert_eq!(pass(&mut cluster, ROUND), AT_REST);
    for number in 0..100 {
        cluster.node(2).stored.remove(&key(&format!("key-{number}")));
    }
    // Who lacks them narrows down to them with one peer, and differs from the other one by the same. Each of
    // those narrows down to them with it.
    let seen = pass(&mut cluster, ROUND * 2);
    assert!(seen.folds < 3 * 2350 && seen.questions < 3 * 350 && seen.digests == 0, "{seen:?}");
    assert_eq!(agreement(&cluster, 2).differing, 100);

    let waits = pass(&mut cluster, MAX_REQUEST_TIMEOUT - ROUND * 2);
    assert_eq!(waits, Asked { questions: 4 * 6, folds: 4 * 6 * 16, ..AT_REST });
    let fresh = cluster.nodes[1].shard.agreements(cluster.time);
    let fresh = fresh.filter(|(_, age, _)| age.is_some_and(|age| age <= ROUND * 2));
    assert_eq!(fresh.count(), 65_536 - 100, "what lies beside them is compared");

    let due = pass_until(&mut cluster, 2, 200, ROUND * 2);
    assert!(due.digests <= 300 && due.folds <= 2 * AT_REST.folds, "{due:?}");
    let after = pass(&mut cluster, ROUND * 2);
    assert_eq!((after.digests, after.pulls), (0, 0), "{after:?}");
    assert_eq!(agreement(&cluster, 2).differing, 0);
    let mut all = seen;
    all.add(waits);
    all.add(due);
    assert!(all.bytes() < 320 * 1024, "{all:?}");
}

#[test]
fn what_one_alone_holds_reaches_the_others_at_the_same_time() {
    let mut cluster = cluster();
    for number in 200..210 {
        cluster.node(3).merge(key(&format!("key-{number}")), record(START_MS, "v"));
    }
    pass(&mut cluster, MAX_REQUEST_TIMEOUT);
    assert!((1..=2).all(|node| cluster.node(node).stored.len() == 200), "not before");
    pass_until(&mut cluster, 1, 210, ROUND * 2);
    pass_until(&mut cluster, 2, 210, ROUND);
    pass(&mut cluster, ROUND * 2);
    assert!((1..=3).all(|node| agreement(&cluster, node).differing == 0));
    assert_eq!(pass(&mut cluster, ROUND), AT_REST);
}

/// A second difference beside one that waits is found, and each has its own time.
#[test]
fn what_comes_to_differ_beside_a_difference_that_waits_is_found_too() {
    let mut cluster = cluster();
    cluster.node(2).stored.remove(&key("key-1"));
    pass(&mut cluster, ROUND * 3);
    assert_eq!(agreement(&cluster, 2).differing, 1);
    for number in 2..100 {
        cluster.node(2).stored.remove(&key(&format!("key-{number}")));
    }
    pass(&mut cluster, ROUND * 2);
    assert_eq!(agreement(&cluster, 2).differing, 99);
    pass_until(&mut cluster, 2, 102, MAX_REQUEST_TIMEOUT - ROUND * 3);
    assert_eq!(cluster.node(2).stored.len(), 102);
    pass_until(&mut cluster, 2, 200, ROUND * 6);
}

/// A slow link, or a peer that has too much to do: else a round that is too long for it would be so for ever.
#[test]
fn a_round_that_is_broken_off_lets_the_next_one_get_further() {
    let mut cluster = cluster_of(12);
    for number in 0..100 {
        cluster.node(2).stored.remove(&key(&format!("key-{number}")));
    }
    // None of the first rounds can end: each needs some two hundred questions.
    pass_losing(&mut cluster, MAX_REQUEST_TIMEOUT + ROUND * 6, 30);
    assert_eq!(cluster.node(2).stored.len(), 200);
    assert_eq!(agreement(&cluster, 2).differing, 0);
}
