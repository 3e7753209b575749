//! What operators see of how copies fare, and what they give up of them.

use serde_json::{Value as Json, json};

use crate::support::{Cluster, wait_until};

fn status(cluster: &Cluster, number: usize) -> Json {
    cluster.try_status(number).expect("it answers")
}

fn partitions(cluster: &Cluster, number: usize, more: &[&str]) -> Vec<Json> {
    let arguments = [&["admin", "partitions", "-o", "json"], more].concat();
    let listed = cluster.paractl("client", &[number], &arguments).done();
    serde_json::from_str(&listed).expect("a list")
}

#[test]
fn replicas_are_seen_to_agree() {
    let mut cluster = Cluster::prepare_small(3);
    cluster.bring_up(3);
    let mut client = cluster.client(1);
    for key in 0..100 {
        client.put(&format!("key-{key}"), b"value");
    }
    for number in 1..=3 {
        wait_until("all partitions agree", || {
            status(&cluster, number)["anti_entropy"]["agreed"] == 256
        });
        let status = status(&cluster, number);
        assert_eq!(status["anti_entropy"]["partitions"], 256, "{status}");
        assert_eq!(status["scrub"]["unsummed"], 0, "{status}");
        assert_eq!(status["damage"]["keys"], 0, "{status}");
    }
    let listed = partitions(&cluster, 2, &[]);
    assert_eq!(listed.len(), 256);
    for (number, partition) in listed.iter().enumerate() {
        assert_eq!(partition["partition"], number, "{partition}");
        assert!(partition["agreed_seconds"].is_u64(), "{partition}");
        let others = [json!("node-1"), json!("node-3")];
        assert!(others.contains(&partition["waits_for"]), "{partition}");
    }
    assert_eq!(partitions(&cluster, 2, &["--behind=1h"]), Vec::<Json>::new());
    let arguments = ["admin", "partitions", "-o", "table"];
    let table = cluster.paractl("client", &[2], &arguments).done();
    assert!(table.contains(": 256 of 256 partitions\nPARTITION  AGREED"), "{table}");
    assert_eq!(table.lines().count(), 258);
}

#[test]
fn a_loss_is_accepted_by_an_administrator_who_means_it() {
    let mut cluster = Cluster::prepare_small(1);
    cluster.bring_up(1);
    cluster.client(1).put("k", b"v");
    cluster.admin(1, &["accept-loss", "k"]).failed(2, &["--yes"]);
    cluster.admin(1, &["accept-loss", "k", "--yes"]).failed(3, &["damage", "node-status"]);
    cluster.admin(1, &["accept-loss", "--partition", "255", "--yes"]).failed(3, &["damage"]);
    let beyond = ["accept-loss", "--partition", "256", "--yes"];
    cluster.admin(1, &beyond).failed(3, &["no partition 256", "255"]);
    let arguments = ["admin", "accept-loss", "k", "--yes"];
    cluster.paractl("client", &[1], &arguments).failed(3, &["forbidden", "no administrator"]);
    wait_until("all was read once", || {
        status(&cluster, 1)["scrub"]["last_round_seconds"].is_number()
    });
    let listed = partitions(&cluster, 1, &["--behind"]);
    assert_eq!(listed, Vec::<Json>::new(), "there is nobody to agree with");
}

#[test]
fn a_file_that_cannot_be_used_is_set_aside_and_counts_for_nothing() {
    let mut cluster = Cluster::prepare_small(3);
    cluster.bring_up(3);
    let mut client = cluster.client(1);
    for key in 0..50 {
        client.put(&format!("key-{key}"), b"value");
    }
    cluster.take(3).kill();
    let data = cluster.folder.path("data-3/data");
    std::fs::write(data.join("shard-00.redb"), [7; 4096]).expect("written");
    cluster.serve(3);
    let aside = data.join("shard-00.redb.quarantined-1");
    assert_eq!(std::fs::read(aside).expect("it is there"), [7; 4096]);
    let mut lost = 0;
    wait_until("the node says what it has lost", || {
        lost = status(&cluster, 3)["damage"]["partitions"].as_u64().unwrap_or_default();
        lost > 0
    });
    let listed = partitions(&cluster, 3, &["--behind=1h"]);
    let listed: Vec<&Json> = listed.iter().filter(|each| each["lost"] == true).collect();
    assert_eq!(listed.len() as u64, lost, "{listed:?}");
    let number = listed[0]["partition"].to_string();
    let arguments = ["accept-loss", "--partition", &number, "--yes", "-o", "json"];
    let accepted: Json =
        serde_json::from_str(&cluster.admin(3, &arguments).done()).expect("an answer");
    assert_eq!(accepted["partitions"], 1, "{accepted}");
    cluster.wait_until_whole();
    let mut client = cluster.client(3);
    for key in 0..50 {
        let reply = client.get(&format!("key-{key}"));
        assert!(!reply["data"]["versions"][0].is_nil(), "key-{key}: {reply}");
    }
}
