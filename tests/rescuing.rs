//! A cluster that has lost most of its members for good, and goes on with those that are left.

use std::process::Stdio;

use rmpv::Value;

use crate::support::{Cluster, Ran, wait_until};

fn rescue(cluster: &Cluster, number: usize, more: &[&str]) -> Ran {
    let file = format!("node-{number}.yaml");
    let arguments = [&["rescue", "--config", &file], more].concat();
    let mut command = cluster.folder.paravon(&arguments);
    Ran::of(command.stdin(Stdio::null()))
}

fn put_all(cluster: &Cluster, number: usize, keys: usize) {
    let mut client = cluster.client(number);
    for key in 0..keys {
        client.put(&format!("key-{key}"), b"value");
    }
}

#[test]
fn the_survivors_of_five_go_on_and_a_lost_one_changes_nothing() {
    let mut cluster = Cluster::prepare_small(5);
    cluster.bring_up(5);
    put_all(&cluster, 1, 200);
    rescue(&cluster, 1, &[]).failed(1, &["is in use by process"]);
    for number in [3, 4, 5] {
        cluster.take(number).kill();
    }
    assert!(cluster.take(1).stop().success());

    rescue(&cluster, 1, &["--survivor", "node-9"]).failed(2, &["no member node-9"]);
    let enough = ["--survivor", "node-2", "--survivor", "node-3", "--survivor", "node-4"];
    rescue(&cluster, 1, &enough).failed(2, &["4 of the 5", "admin remove"]);
    let asked = |survivors: &[&str]| {
        let asked = rescue(&cluster, 1, survivors);
        assert!(asked.code == 2 && asked.err.contains("nothing was changed"), "{asked:?}");
        String::from_utf8(asked.out).unwrap()
    };
    let said = asked(&enough[..4]);
    assert!(said.contains("before you confirm, stop node-2, node-3 as well"), "{said}");
    let said = asked(&enough[..2]);
    assert!(!said.contains("before you confirm"), "two of five decide nothing: {said}");

    let said = rescue(&cluster, 1, &["--survivor", "node-2", "--yes"]).done();
    assert!(said.contains("survivors: node-1, node-2"), "{said}");
    assert!(said.contains("lost for good: node-"), "{said}");
    cluster.launch(1);
    cluster.wait_until_members(1, &[1, 2]);
    cluster.wait_until_members(2, &[1, 2]);
    // Three copies were on five nodes: whatever had one on the first two is on both now.
    let there = |number: usize| {
        let mut client = cluster.client(number);
        let has = |key: &usize| {
            let reply = client.get(&format!("key-{key}"));
            assert_eq!(reply["type"], Value::from("ok"), "{reply}");
            reply["data"]["versions"].as_array().is_some_and(|versions| !versions.is_empty())
        };
        (0..200).filter(has).collect::<Vec<usize>>()
    };
    let kept = there(1);
    assert_eq!(kept, there(2));
    assert!(kept.len() > 150, "one partition of ten had no copy there: {}", kept.len());
    put_all(&cluster, 2, 200);
    assert_eq!(there(1).len(), 200);

    // One that was given up is alive after all.
    cluster.launch(4);
    wait_until("it is refused", || cluster.phase(4) == "starting");
    let reply = cluster.client(4).get("key-0");
    assert_eq!(reply["data"]["code"], Value::from("not_ready"), "{reply}");
    cluster.wait_until_members(2, &[1, 2]);
}
