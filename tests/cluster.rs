//! Clusters of real nodes: founding, joining, serving, losing nodes and getting them back, and who is
//! let in.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use paravon_model::{Address, ClusterMessage, Hlc, NodeId, PeerHello};
use paravon_protocol::{Hello, PROTOCOL_VERSION, encode_cluster_message};
use paravon_transport::issue::Authority;
use paravon_transport::{Credentials, Existing, TlsFiles};
use rmpv::Value;

use crate::support::{Cluster, Folder, Raw, message, node_subject, wait_until};

const LEVELS: [&str; 3] = ["one", "quorum", "all"];

/// Puts at a level; the reply.
fn put(client: &mut Raw, key: &str, value: &str, consistency: &str) -> Value {
    client.send_frame(&message(
        "put",
        &[("key", key.into()), ("value", value.into()), ("consistency", consistency.into())],
    ));
    client.receive_value()
}

#[track_caller]
fn put_ok(client: &mut Raw, key: &str, value: &str, consistency: &str) {
    let reply = put(client, key, value, consistency);
    assert_eq!(reply["type"], Value::from("ok"), "{reply}");
}

/// The value of a key, which must be there.
#[track_caller]
fn get(client: &mut Raw, key: &str, consistency: &str) -> String {
    client.send_frame(&message("get", &[("key", key.into()), ("consistency", consistency.into())]));
    let reply = client.receive_value();
    assert_eq!(reply["type"], Value::from("ok"), "{reply}");
    let value = &reply["data"]["versions"][0]["value"];
    value.as_str().unwrap_or_else(|| panic!("{key} is absent: {reply}")).to_owned()
}

#[test]
fn three_nodes_found_and_join_and_each_serves_what_came_through_any() {
    let mut cluster = Cluster::start(3);
    let status = cluster.cluster_status(2);
    assert_eq!(status["fence"], 3, "both joined in one change: {status}");
    assert_eq!(status["under_replicated"], serde_json::Value::Null, "{status}");
    let mut clients: Vec<Raw> = (1..=3).map(|number| cluster.client(number)).collect();
    for (writer, client) in clients.iter_mut().enumerate() {
        for level in LEVELS {
            let key = format!("{writer}-{level}");
            put_ok(client, &key, &format!("of {key}"), level);
        }
    }
    for client in &mut clients {
        for writer in 0..3 {
            for level in &LEVELS[1..] {
                let key = format!("{writer}-{level}");
                assert_eq!(get(client, &key, "quorum"), format!("of {key}"));
            }
        }
    }
    drop(clients);

    // All stop and come back with everything.
    for number in 1..=3 {
        assert!(cluster.take(number).stop().success());
    }
    for number in 1..=3 {
        cluster.launch(number);
    }
    cluster.wait_until_whole();
    for number in 1..=3 {
        let mut client = cluster.client(number);
        for writer in 0..3 {
            let key = format!("{writer}-quorum");
            assert_eq!(get(&mut client, &key, "quorum"), format!("of {key}"));
        }
    }
}

#[test]
fn a_waiting_node_serves_nothing_and_says_what_it_waits_for() {
    let mut cluster = Cluster::prepare(2);
    cluster.serve(1);
    cluster.launch(2);
    wait_until("it waits", || cluster.phase(2) == "waiting");
    let mut client = cluster.client(2);
    client.send_frame(&message("get", &[("key", "k".into())]));
    let reply = client.receive_value();
    assert_eq!(reply["data"]["code"], Value::from("not_ready"), "{reply}");
    let said = reply["data"]["message"].as_str().expect("a sentence").to_owned();
    assert!(said.contains("paractl admin join"), "{said}");
    cluster.paractl("client", &[2], &["admin", "join"]).failed(3, &["no administrator"]);
    let planned = cluster.paractl("admin", &[2], &["admin", "join", "--dry-run"]).done();
    assert!(planned.contains("members_after: 2"), "{planned}");
    assert_eq!(cluster.phase(2), "waiting");
}

#[test]
fn nodes_that_may_join_by_themselves_do() {
    let mut cluster = Cluster::prepare_small(5);
    for number in 1..=5 {
        let mut command = cluster.command(number);
        command.env("PARAVON__NODE__AUTO_JOIN", "true");
        command.env("PARAVON__NODE__ZONE", format!("zone-{}", number % 3));
        cluster.run(number, command);
    }
    cluster.wait_until_members(1, &[1, 2, 3, 4, 5]);
    cluster.wait_until_whole();
    let status = cluster.cluster_status(4);
    let members = status["members"].as_array().expect("a list");
    let partitions = members.iter().map(|member| member["partitions"].as_u64().expect("a number"));
    assert_eq!(partitions.sum::<u64>(), 3 * 256, "{status}");
    for number in 1..=5 {
        let (mut through, key) = (cluster.client(number), format!("key-{number}"));
        put_ok(&mut through, &key, "v", "all");
        assert_eq!(get(&mut cluster.client(number % 5 + 1), &key, "all"), "v");
    }
}

#[test]
fn a_killed_node_is_not_missed_and_gets_what_it_missed() {
    let mut cluster = Cluster::start(3);
    put_ok(&mut cluster.client(1), "before", "1", "all");
    cluster.take(3).kill();
    let mut clients = [cluster.client(1), cluster.client(2)];
    let mut written = BTreeMap::new();
    for number in 0..300 {
        let (key, value) = (format!("key-{}", number % 200), number.to_string());
        put_ok(&mut clients[number % 2], &key, &value, "quorum");
        assert_eq!(get(&mut clients[(number + 1) % 2], &key, "quorum"), value);
        written.insert(key, value);
    }
    let refused = put(&mut clients[0], "before", "2", "all");
    assert_eq!(refused["type"], Value::from("ko"), "{refused}");
    wait_until("hints are kept", || cluster.hints(1) + cluster.hints(2) > 0);

    cluster.serve(3);
    wait_until("hints have been handed over", || cluster.hints(1) + cluster.hints(2) == 0);
    let mut back = cluster.client(3);
    for (key, value) in &written {
        assert_eq!(get(&mut back, key, "one"), *value);
    }
}

#[test]
fn a_frozen_node_costs_no_request() {
    let cluster = Cluster::start(3);
    let mut clients = [cluster.client(1), cluster.client(2)];
    put_ok(&mut clients[0], "key-0", "0", "all");
    cluster.node(3).signal("STOP");
    let told_dead = || {
        let status = cluster.cluster_status(1);
        let mut members = status["members"].as_array().expect("a list").iter();
        members.any(|member| member["node_id"] == "node-3" && member["state"] == "dead")
    };
    let (mut number, mut slowest) = (0, Duration::ZERO);
    wait_until("it is believed to be down", || {
        for _ in 0..50 {
            number += 1;
            let (key, value) = (format!("key-{}", number % 20), number.to_string());
            let start = Instant::now();
            put_ok(&mut clients[number % 2], &key, &value, "quorum");
            slowest = slowest.max(start.elapsed());
            assert_eq!(get(&mut clients[(number + 1) % 2], &key, "quorum"), value);
        }
        told_dead()
    });
    assert!(slowest < Duration::from_secs(2), "a put waited for the frozen node: {slowest:?}");
    cluster.node(3).signal("CONT");
    cluster.wait_until_whole();
    wait_until("hints have been handed over", || cluster.hints(1) + cluster.hints(2) == 0);
}

#[test]
fn an_old_copy_of_a_disk_is_refused() {
    let mut cluster = Cluster::start(3);
    assert!(cluster.take(3).stop().success());
    let copy = |from: &str, to: &str| {
        let (from, to) = (cluster.folder.path(from), cluster.folder.path(to));
        let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
        assert!(copied.expect("cp runs").success());
    };
    copy("data-3", "copy");
    cluster.serve(3);
    cluster.wait_until_whole();
    assert!(cluster.take(3).stop().success());
    std::fs::remove_dir_all(cluster.folder.path("data-3")).expect("removed");
    std::fs::rename(cluster.folder.path("copy"), cluster.folder.path("data-3")).expect("moved");
    cluster.launch(3);
    wait_until("it is refused", || cluster.phase(3) == "old_disk");
    let reply = cluster.client(3).get("k");
    assert_eq!(reply["data"]["code"], Value::from("not_ready"), "{reply}");
    put_ok(&mut cluster.client(1), "k", "v", "quorum");
}

#[test]
fn a_node_of_another_cluster_is_refused() {
    let mut cluster = Cluster::prepare(3);
    cluster.configure(3, &[]);
    cluster.serve(1);
    cluster.serve(3);
    let founded = cluster.cluster_status(3)["cluster_id"].clone();
    assert!(cluster.take(3).stop().success());
    cluster.configure(3, &[1]);
    cluster.launch(3);
    let said = cluster.node(3).wait_for_log("belongs to cluster");
    assert!(said.contains(founded.as_str().expect("a text")), "{said}");
    wait_until("it goes on alone", || cluster.phase(3) == "serving");
    assert_eq!(cluster.cluster_status(3)["cluster_id"], founded);
    assert_eq!(cluster.cluster_status(1)["members"].as_array().map(Vec::len), Some(1));
}

/// The first frame of a node of this name.
fn hello_of(node_id: &str) -> Vec<u8> {
    let node = PeerHello {
        node_id: NodeId::new(node_id).expect("a name"),
        address: Address::new("127.0.0.1:1"),
        membership: None,
        start: 1,
        run: 1,
        ceiling: Hlc::ZERO,
    };
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        client_id: String::new(),
        program: String::new(),
        node: Some(node),
    };
    let mut frame = Vec::new();
    hello.encode(None, &mut frame);
    frame
}

#[test]
fn nobody_but_a_node_under_its_own_name_speaks_as_a_node() {
    let mut cluster = Cluster::prepare(1);
    cluster.serve(1);
    let peer = cluster.node(1).peer;
    cluster.folder.issue("node-9", node_subject("node-9"));
    let mut question = Vec::new();
    encode_cluster_message(&mut question, &ClusterMessage::AskToFound);

    // A node's certificate, and the hello of that node.
    let mut node = Raw::connect(&cluster.folder, "node-9", peer);
    node.send(&hello_of("node-9"));
    let welcome = node.receive_value();
    assert_eq!(welcome["data"]["node"]["node_id"], Value::from("node-1"), "{welcome}");

    // Another name; no hello; a client, with or without one.
    let strangers: [(&str, Vec<u8>); 4] = [
        ("node-9", hello_of("node-8")),
        ("node-9", question.clone()),
        ("client", question.clone()),
        ("client", hello_of("user-1")),
    ];
    for (who, frame) in strangers {
        let mut stranger = Raw::connect(&cluster.folder, who, peer);
        stranger.send(&frame);
        assert_eq!(stranger.receive_code(), "unauthenticated", "{who}");
        assert!(stranger.is_closed(), "{who}");
    }
    let api = cluster.node(1).api;
    let mut node = Raw::connect(&cluster.folder, "node-9", api);
    node.send(&hello_of("node-9"));
    assert_eq!(node.receive_code(), "unauthenticated");
}

#[test]
fn a_node_of_another_authority_is_refused() {
    let mut cluster = Cluster::prepare(1);
    cluster.serve(1);
    let stranger = Folder::new();
    let made = Authority::make(SystemTime::now()).expect("an authority");
    made.write(&stranger.path("ca"), Existing::Replace).expect("written");
    stranger.issue("node-9", node_subject("node-9"));
    let files = TlsFiles {
        certfile: stranger.path("node-9/server.crt"),
        keyfile: stranger.path("node-9/server.key"),
        cafile: stranger.path("ca/ca.crt"),
        crlfile: None,
    };
    // It would not believe our node either; here it is asked to believe anybody of ours.
    let trusted = stranger.path("ours.crt");
    std::fs::copy(cluster.folder.path("ca/ca.crt"), &trusted).expect("copied");
    let both = [std::fs::read(&files.cafile), std::fs::read(&trusted)];
    let both: Vec<u8> = both.into_iter().flat_map(|file| file.expect("read")).collect();
    std::fs::write(&trusted, both).expect("written");
    let files = TlsFiles { cafile: trusted, ..files };
    let credentials = Credentials::load(&files, SystemTime::now()).expect("good certificates");
    let mut node = Raw::with(credentials.client_config().expect("usable"), cluster.node(1).peer);
    // With TLS 1.3 the refusal may come behind the first bytes.
    let refused = node.try_send(&hello_of("node-9")).is_err() || node.receive().is_err();
    assert!(refused);
}

#[test]
fn no_seed_that_is_silent_founds_a_second_cluster() {
    let mut cluster = Cluster::prepare(2);
    cluster.configure(1, &[1, 2]);
    cluster.configure(2, &[1, 2]);
    cluster.launch(1);
    let mut client = cluster.client(1);
    client.send_frame(&message("get", &[("key", "k".into())]));
    let reply = client.receive_value();
    assert_eq!(reply["data"]["code"], Value::from("not_ready"), "{reply}");
    cluster.launch(2);
    // The smaller address founds, the other one waits.
    wait_until("one founds", || cluster.phase(1) == "serving");
    wait_until("the other one waits", || cluster.phase(2) == "waiting");
    cluster.join(&[2]).done();
    cluster.wait_until_whole();

    let mut alone = Cluster::prepare(2);
    alone.configure(1, &[1, 2]);
    alone.launch(1);
    assert_eq!(alone.phase(1), "founding");
    assert!(alone.take(1).stop().success());
    let mut command = alone.command(1);
    command.arg("--found");
    let node = crate::support::Node::start(command);
    assert!(node.stop().success());
}
