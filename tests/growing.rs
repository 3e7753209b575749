//! Clusters that grow and shrink while clients write: nothing fails, nothing is lost, nothing is stale, and a
//! change goes on by itself whoever is killed.

use std::collections::BTreeMap;

use rmpv::Value;

use crate::support::{Cluster, Failures, Load, Raw, message, wait_until};

/// Stores keys with values of some length.
fn fill(client: &mut Raw, keys: usize, bytes: usize) {
    for number in 0..keys {
        client.put(&format!("fill-{number}"), &vec![b'v'; bytes]);
    }
}

/// Reads all that was acknowledged through a node.
fn reads_all(cluster: &Cluster, number: usize, written: &BTreeMap<String, u64>) {
    let mut client = cluster.client(number);
    for (key, expected) in written {
        let reply = client.get(key);
        let read = reply["data"]["versions"][0]["value"].as_str();
        assert_eq!(read, Some(expected.to_string().as_str()), "{key} through {number}: {reply}");
    }
}

/// How many of the keys of [`fill`] a node answers at level `all`.
fn filled(client: &mut Raw, keys: usize) -> usize {
    let is_there = |number: &usize| {
        let key = format!("fill-{number}");
        client.send_frame(&message(
            "get",
            &[("key", key.as_str().into()), ("consistency", "all".into())],
        ));
        let reply = client.receive_value();
        assert_eq!(reply["type"], Value::from("ok"), "{key}: {reply}");
        !reply["data"]["versions"][0].is_nil()
    };
    (0..keys).filter(is_there).count()
}

#[test]
fn one_node_with_data_becomes_three_while_clients_write() {
    let mut cluster = Cluster::prepare_small(3);
    cluster.bring_up(1);
    fill(&mut cluster.client(1), 300, 100);
    cluster.launch(2);
    cluster.launch(3);
    wait_until("both wait to join", || (2..=3).all(|number| cluster.phase(number) == "waiting"));
    let load = Load::start(&cluster, &[1], Failures::Never);
    load.wait_for(50);
    cluster.join(&[2, 3]).done();
    load.wait_for(50);
    cluster.wait_until_members(1, &[1, 2, 3]);
    let written = load.stop();
    let status = cluster.cluster_status(2);
    assert_eq!(status["fence"], 3, "both came in with one change: {status}");
    cluster.wait_until_whole();
    for number in 1..=3 {
        reads_all(&cluster, number, &written);
        assert_eq!(filled(&mut cluster.client(number), 300), 300);
    }
    // What one node had is on all of them.
    cluster.take(1).kill();
    let mut client = cluster.client(2);
    for number in 0..300 {
        let reply = client.get(&format!("fill-{number}"));
        assert!(!reply["data"]["versions"][0].is_nil(), "{number}: {reply}");
    }
}

#[test]
fn a_fourth_node_comes_and_goes_and_no_client_notices() {
    let mut cluster = Cluster::prepare_small(4);
    cluster.bring_up(3);
    fill(&mut cluster.client(1), 300, 1000);
    cluster.launch(4);
    wait_until("it waits to join", || cluster.phase(4) == "waiting");
    let load = Load::start(&cluster, &[1, 2, 3], Failures::Never);
    load.wait_for(50);
    let joined = cluster.join(&[4]).done();
    assert!(joined.contains("members: 4"), "{joined}");
    load.wait_for(50);
    let status = cluster.cluster_status(4);
    let own = &status["members"][3];
    assert!(own["partitions"].as_u64().is_some_and(|count| count > 100), "{status}");

    let drained = cluster.admin(2, &["drain", "node-4", "--wait"]).done();
    assert!(drained.contains("kind: drain") && drained.contains("state: done"), "{drained}");
    load.wait_for(50);
    cluster.wait_until_members(1, &[1, 2, 3]);
    wait_until("it knows that it has left", || cluster.phase(4) == "not_member");
    let reply = cluster.client(4).get("fill-0");
    assert_eq!(reply["data"]["code"], Value::from("not_ready"), "{reply}");
    let written = load.stop();
    for number in 1..=3 {
        reads_all(&cluster, number, &written);
        assert_eq!(filled(&mut cluster.client(number), 300), 300);
    }

    // It may come again.
    cluster.join(&[4]).done();
    cluster.wait_until_members(1, &[1, 2, 3, 4]);
    let status = cluster.cluster_status(4);
    assert_eq!(status["members"][3]["ordinal"], 5, "its number is a new one: {status}");
    reads_all(&cluster, 4, &written);
}

#[test]
fn a_change_goes_on_by_itself_whoever_is_killed() {
    let mut cluster = Cluster::prepare_small(4);
    cluster.bring_up(3);
    fill(&mut cluster.client(1), 2000, 1000);
    cluster.launch(4);
    for victim in 1..=4 {
        wait_until("it may join", || matches!(cluster.phase(4).as_str(), "waiting" | "not_member"));
        let through: Vec<usize> = (1..=3).filter(|&number| number != victim).collect();
        let witness = through[0];
        let load = Load::start(&cluster, &through, Failures::Happen);
        cluster.admin(4, &["join"]).done();
        cluster.take(victim).kill();
        load.wait_for(20);
        cluster.serve(victim);
        cluster.wait_until_members(witness, &[1, 2, 3, 4]);

        cluster.admin(witness, &["drain", "node-4"]).done();
        cluster.wait_until_begun(witness);
        cluster.take(victim).kill();
        load.wait_for(20);
        cluster.launch(victim);
        cluster.wait_until_members(witness, &[1, 2, 3]);
        let written = load.stop();
        reads_all(&cluster, witness, &written);
    }
    assert_eq!(filled(&mut cluster.client(2), 2000), 2000);
}

#[test]
fn copies_are_made_and_given_up_as_the_administrator_says() {
    let mut cluster = Cluster::prepare_small(3);
    cluster.bring_up(3);
    fill(&mut cluster.client(1), 100, 100);
    let fewer = cluster.admin(1, &["set-replication", "2", "--wait"]).done();
    assert!(fewer.contains("kind: set_replication"), "{fewer}");
    assert_eq!(cluster.cluster_status(3)["replication_factor"], 2);
    assert_eq!(filled(&mut cluster.client(2), 100), 100);
    cluster.admin(2, &["set-replication", "3", "--wait"]).done();
    assert_eq!(filled(&mut cluster.client(3), 100), 100);
    cluster.admin(1, &["set-replication", "3"]).failed(3, &["another than there is now"]);
    cluster.admin(1, &["set-replication", "8"]).failed(2, &["1..=7"]);
}
