//! Members that are dead or have lost their disks, changes that are given up, and what administrators are
//! refused.

use rmpv::Value;
use serde_json::Value as Json;

use crate::support::{Cluster, Ran, wait_until};

/// Stores keys through a node.
fn fill(cluster: &Cluster, number: usize, keys: usize) {
    let mut client = cluster.client(number);
    for key in 0..keys {
        client.put(&format!("key-{key}"), b"value");
    }
}

#[track_caller]
fn has_all(cluster: &Cluster, number: usize, keys: usize) {
    let mut client = cluster.client(number);
    for key in 0..keys {
        let reply = client.get(&format!("key-{key}"));
        assert_eq!(reply["type"], Value::from("ok"), "{reply}");
        assert!(!reply["data"]["versions"][0].is_nil(), "key-{key}: {reply}");
    }
}

fn wait_until_dead(cluster: &Cluster, witness: usize, member: usize) {
    wait_until("it is believed to be down", || {
        let status = cluster.cluster_status(witness);
        let members = status["members"].as_array().cloned().unwrap_or_default();
        let name = format!("node-{member}");
        members.iter().any(|each| each["node_id"] == *name && each["state"] == "dead")
    });
}

fn loses_its_disk(cluster: &Cluster, number: usize) {
    std::fs::remove_dir_all(cluster.folder.path(&format!("data-{number}"))).expect("removed");
}

#[test]
fn a_dead_member_is_removed() {
    let mut cluster = Cluster::prepare_small(4);
    cluster.bring_up(4);
    fill(&cluster, 1, 200);
    cluster.admin(1, &["remove", "node-4", "--yes"]).failed(3, &["node-4 is up", "drain"]);
    cluster.take(4).kill();
    wait_until_dead(&cluster, 2, 4);
    cluster.admin(2, &["remove", "node-4"]).failed(2, &["--yes"]);
    let removed = cluster.admin(2, &["remove", "node-4", "--yes", "--wait"]).done();
    assert!(removed.contains("state: done"), "{removed}");
    cluster.wait_until_members(1, &[1, 2, 3]);
    has_all(&cluster, 3, 200);

    // It finds out when it comes back, serves nothing, and may be taken in again.
    cluster.launch(4);
    wait_until("it knows", || cluster.phase(4) == "not_member");
    let reply = cluster.client(4).get("key-0");
    assert_eq!(reply["data"]["code"], Value::from("not_ready"), "{reply}");
    cluster.join(&[4]).done();
    cluster.wait_until_members(2, &[1, 2, 3, 4]);
    has_all(&cluster, 4, 200);
}

#[test]
fn a_node_that_lost_its_disk_takes_its_old_place() {
    let mut cluster = Cluster::prepare_small(3);
    cluster.bring_up(3);
    fill(&cluster, 1, 200);
    cluster.take(3).kill();
    loses_its_disk(&cluster, 3);
    cluster.launch(3);
    wait_until("it waits", || cluster.phase(3) == "waiting");
    cluster.admin(3, &["join"]).failed(3, &["replace node-3"]);
    let replaced = cluster.admin(3, &["replace", "node-3", "--wait"]).done();
    assert!(replaced.contains("ordinal: 4"), "{replaced}");
    cluster.wait_until_members(1, &[1, 2, 3]);
    cluster.wait_until_whole();
    // It has everything: another one may be lost now.
    cluster.take(1).kill();
    has_all(&cluster, 3, 200);
}

#[test]
fn another_node_takes_the_place_of_a_dead_one() {
    let mut cluster = Cluster::prepare_small(4);
    cluster.bring_up(3);
    fill(&cluster, 1, 200);
    cluster.take(2).kill();
    wait_until_dead(&cluster, 1, 2);
    cluster.launch(4);
    wait_until("it waits", || cluster.phase(4) == "waiting");
    cluster.admin(4, &["replace", "node-9"]).failed(3, &["no member of that name"]);
    cluster.admin(4, &["replace", "node-2", "--wait"]).done();
    cluster.wait_until_members(1, &[1, 3, 4]);
    has_all(&cluster, 4, 200);
}

#[test]
fn an_old_copy_of_a_disk_comes_back_as_a_new_member() {
    let mut cluster = Cluster::prepare_small(3);
    cluster.bring_up(3);
    fill(&cluster, 1, 100);
    assert!(cluster.take(3).stop().success());
    let (data, copy) = (cluster.folder.path("data-3"), cluster.folder.path("copy"));
    let copied = std::process::Command::new("cp").arg("-a").arg(&data).arg(&copy).status();
    assert!(copied.expect("cp runs").success());
    cluster.serve(3);
    cluster.wait_until_whole();
    assert!(cluster.take(3).stop().success());
    loses_its_disk(&cluster, 3);
    std::fs::rename(copy, data).expect("moved");
    cluster.launch(3);
    wait_until("it is refused", || cluster.phase(3) == "old_disk");
    cluster.admin(3, &["join"]).failed(3, &["replace"]);
    cluster.admin(3, &["replace", "node-3", "--wait"]).done();
    cluster.wait_until_members(1, &[1, 2, 3]);
    has_all(&cluster, 3, 100);
}

#[test]
fn a_disk_whose_name_has_a_later_number_serves_nothing_until_it_takes_its_place_again() {
    let mut cluster = Cluster::prepare_small(3);
    cluster.bring_up(3);
    fill(&cluster, 1, 100);
    assert!(cluster.take(3).stop().success());
    let (data, old) = (cluster.folder.path("data-3"), cluster.folder.path("old"));
    std::fs::rename(&data, &old).expect("moved");
    cluster.launch(3);
    wait_until("it waits", || cluster.phase(3) == "waiting");
    cluster.admin(3, &["replace", "node-3", "--wait"]).done();
    cluster.wait_until_members(1, &[1, 2, 3]);

    assert!(cluster.take(3).stop().success());
    loses_its_disk(&cluster, 3);
    std::fs::rename(old, data).expect("moved back");
    cluster.launch(3);
    wait_until("it is told", || cluster.phase(3) == "not_member");
    let reply = cluster.client(3).get("key-0");
    assert_eq!(reply["data"]["code"], Value::from("not_ready"), "{reply}");
    let replaced = cluster.admin(3, &["replace", "node-3", "--wait"]).done();
    assert!(replaced.contains("ordinal: 5"), "{replaced}");
    cluster.wait_until_members(1, &[1, 2, 3]);
    has_all(&cluster, 3, 100);
}

/// What became of the operation of this kind that was asked for last.
fn last(cluster: &Cluster, witness: usize, kind: &str) -> String {
    let status = cluster.cluster_status(witness);
    let operations = status["operations"].as_array().cloned().unwrap_or_default();
    let found = operations.iter().rev().find(|each| each["kind"] == kind);
    found.map_or_else(String::new, |each| each["state"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_change_that_cannot_end_is_cancelled_or_overtaken_and_what_waits_for_it_is_not_forgotten() {
    let mut cluster = Cluster::prepare_small(4);
    let launch = |cluster: &mut Cluster, number| {
        let mut command = cluster.command(number);
        command.env("PARAVON__MEMBERSHIP__JOIN_TIMEOUT", "3s");
        cluster.run(number, command);
    };
    (1..=3).for_each(|number| launch(&mut cluster, number));
    wait_until("both wait", || (2..=3).all(|number| cluster.phase(number) == "waiting"));
    cluster.join(&[2, 3]).done();
    cluster.wait_until_whole();
    launch(&mut cluster, 4);
    wait_until("it waits", || cluster.phase(4) == "waiting");
    fill(&cluster, 1, 100);
    cluster.admin(1, &["cancel"]).failed(3, &["nothing to cancel"]);

    // What a dead member holds cannot be handed over.
    cluster.take(3).kill();
    wait_until_dead(&cluster, 1, 3);
    cluster.admin(1, &["drain", "node-3"]).done();
    cluster.wait_until_joint(1);
    // Another change waits behind it, until its node has been silent for too long.
    cluster.admin(4, &["join", "--timeout", "1s"]).failed(4, &[]);
    wait_until("the join waits", || last(&cluster, 1, "join") == "pending");
    cluster.take(4).kill();
    wait_until("the join is given up", || last(&cluster, 1, "join") == "cancelled");
    assert_eq!(last(&cluster, 1, "drain"), "running");
    has_all(&cluster, 2, 100);

    cluster.admin(2, &["cancel"]).done();
    cluster.wait_until_members(1, &[1, 2, 3]);
    assert_eq!(last(&cluster, 1, "drain"), "cancelled");

    // Nobody waits for a member that is named as dead.
    cluster.admin(1, &["drain", "node-3"]).done();
    cluster.wait_until_joint(1);
    cluster.admin(2, &["remove", "node-3", "--yes", "--wait"]).done();
    cluster.wait_until_members(1, &[1, 2]);
    has_all(&cluster, 1, 100);
}

#[test]
fn who_waits_for_a_join_that_is_overtaken_waits_on() {
    let mut cluster = Cluster::prepare_small(4);
    cluster.bring_up(3);
    fill(&cluster, 1, 100);
    cluster.launch(4);
    wait_until("it waits", || cluster.phase(4) == "waiting");
    cluster.take(3).kill();
    wait_until_dead(&cluster, 1, 3);
    // It cannot end: what the dead member gives up cannot be handed over.
    let mut join = cluster.admin_command(4, &["join", "--wait", "-o", "json"]);
    let join = std::thread::spawn(move || Ran::of(&mut join));
    wait_until("the join has begun", || cluster.phase(4) == "serving");
    cluster.admin(1, &["remove", "node-3", "--yes", "--wait"]).done();
    let joined = join.join().expect("no panic").done();
    let joined: Json = serde_json::from_str(&joined).expect("JSON");
    assert_eq!(joined["ordinal"], 5, "4 went with the change that was overtaken: {joined}");
    cluster.wait_until_members(1, &[1, 2, 4]);
    has_all(&cluster, 4, 100);
}

#[test]
fn a_plan_says_what_would_move_and_changes_nothing() {
    let mut cluster = Cluster::prepare_small(4);
    cluster.bring_up(3);
    fill(&cluster, 1, 100);
    cluster.launch(4);
    wait_until("it waits", || cluster.phase(4) == "waiting");
    let before = cluster.cluster_status(1);
    let plan = |number, arguments: &[&str]| -> Json {
        let all = [arguments, &["--dry-run", "-o", "json"]].concat();
        serde_json::from_str(&cluster.admin(number, &all).done()).expect("JSON")
    };
    let join = plan(4, &["join"]);
    assert_eq!((&join["members_before"], &join["members_after"]), (&3.into(), &4.into()), "{join}");
    let of = |plan: &Json, name: &str| {
        let nodes = plan["nodes"].as_array().expect("a list");
        nodes.iter().find(|node| node["node"] == name).cloned().unwrap_or_default()
    };
    let new = of(&join, "node-4");
    assert!(new["partitions_gained"].as_u64().is_some_and(|count| count > 100), "{join}");
    let drain = plan(1, &["drain", "node-2"]);
    assert_eq!(
        (&drain["copies_before"], &drain["copies_after"]),
        (&3.into(), &2.into()),
        "{drain}"
    );
    assert_eq!(of(&drain, "node-2")["partitions_lost"], 256, "{drain}");
    let table = cluster.admin(1, &["drain", "node-2", "--dry-run", "-o", "table"]).done();
    assert!(table.contains("members: 3 now, 2 then") && table.contains("GIVES OUT"), "{table}");
    let after = cluster.cluster_status(1);
    assert_eq!((&before["version"], &before["fence"]), (&after["version"], &after["fence"]));
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    let mut cluster = Cluster::prepare_small(2);
    cluster.bring_up(1);
    cluster.admin(1, &["drain", "node-1"]).failed(3, &["last member"]);
    cluster.admin(1, &["drain", "node-7"]).failed(3, &["no member of that name"]);
    cluster.admin(1, &["join"]).failed(3, &["member already"]);
    cluster.admin(1, &["operation", &"0".repeat(32)]).failed(3, &["knows no operation"]);
    cluster.admin(1, &["operation", "what"]).failed(2, &["32 hexadecimal digits"]);
    cluster.paractl("client", &[1], &["admin", "drain", "node-1"]).failed(3, &["no administrator"]);
    cluster.launch(2);
    wait_until("it waits", || cluster.phase(2) == "waiting");
    cluster.admin(2, &["drain", "node-1"]).failed(3, &["no member"]);

    // An operation can be looked at by its name, also when it is over.
    cluster.join(&[2]).done();
    let accepted = cluster.admin(1, &["drain", "node-2", "-o", "json"]).done();
    let accepted: Json = serde_json::from_str(&accepted).expect("JSON");
    let id = accepted["operation"].as_str().expect("a name");
    let done = cluster.admin(1, &["operation", id, "--wait"]).done();
    assert!(done.contains("member: 2") && done.contains("state: done"), "{done}");
    let again = cluster.admin(1, &["operation", id]).done();
    assert!(again.contains("state: done"), "{again}");
}
