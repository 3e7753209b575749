//! The two command lines as people and scripts meet them: words in, data and exit codes out.

use std::fs;
use std::path::Path;
use std::process::Command;

use paravon_transport::issue::Subject;
use rmpv::Value;
use serde_json::{Value as Json, json};

use crate::support::{Cluster, Folder, Node, Ran, Raw, binary, message, wait_until};

/// A running node, and a configuration with which `paractl` reaches it as an administrator.
fn started() -> (Folder, Node) {
    let folder = Folder::new();
    let node = folder.start();
    folder.write_paraconf(&node, "admin");
    (folder, node)
}

fn json_of(ran: Ran) -> Json {
    serde_json::from_str(&ran.done()).expect("JSON")
}

/// The repository's folder.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_value_comes_back_as_the_kind_that_it_was_put_as() {
    let (folder, _node) = started();
    folder.write("picture", b"\x89PNG\0\xff");
    folder.write("poem", "two\nlines\n");
    let deepest = format!("{}{}", "[".repeat(29), "]".repeat(29));
    for (put, kind, value, raw) in [
        (&["5"][..], "msgpack", json!(5), &b"5"[..]),
        (&["-5"], "msgpack", json!(-5), b"-5"),
        (&["0.5"], "msgpack", json!(0.5), b"0.5"),
        (&["true"], "msgpack", json!(true), b"true"),
        (&["null"], "msgpack", json!(null), b"null"),
        (&["plain text"], "msgpack", json!("plain text"), b"plain text"),
        (&[""], "msgpack", json!(""), b""),
        (
            &[r#"{"b": [1, {}], "a": null}"#],
            "msgpack",
            json!({"b": [1, {}], "a": null}),
            br#"{"b":[1,{}],"a":null}"#,
        ),
        (&["--string", "5"], "msgpack", json!("5"), b"5"),
        (&["--json", "\"x\""], "msgpack", json!("x"), b"x"),
        (&["--file", "poem"], "bytes", json!("two\nlines\n"), b"two\nlines\n"),
        (&["--file", "picture"], "bytes", json!({"$base64": "iVBORwD/"}), b"\x89PNG\0\xff"),
        (&[&deepest], "msgpack", serde_json::from_str(&deepest).expect("JSON"), deepest.as_bytes()),
    ] {
        folder.paractl(&[&["put", "k"], put].concat()).done();
        let got = json_of(folder.paractl(&["get", "k", "-o", "json"]));
        assert_eq!((&got["value"], &got["kind"]), (&value, &json!(kind)), "{put:?}");
        let alone = folder.paractl(&["get", "k", "-o", "raw"]);
        assert_eq!(alone.out, raw, "{put:?}");
    }
}

#[test]
fn a_file_of_a_single_hyphen_is_standard_input() {
    let (folder, _node) = started();
    let put = ["put", "k", "--file", "-"];
    Ran::with_input(&mut folder.paractl_command(&put), b"\0piped\xff").done();
    assert_eq!(folder.paractl(&["get", "k", "-o", "raw"]).out, b"\0piped\xff");
    Ran::of(&mut folder.paractl_command(&put)).done();
    let got = json_of(folder.paractl(&["get", "k", "-o", "json"]));
    assert_eq!((&got["value"], &got["kind"]), (&json!(""), &json!("bytes")), "empty is a value");
}

#[test]
fn one_result_has_four_forms() {
    let (folder, _node) = started();
    folder.paractl(&["put", "k", "[1, \"a\"]"]).done();
    let json = json_of(folder.paractl(&["get", "k", "-o", "json"]));
    let yaml: Json = serde_yaml::from_str(&folder.paractl(&["get", "k"]).done()).expect("YAML");
    assert_eq!(json, yaml, "yaml is the default");
    assert_eq!(json["key"], json!("k"));
    assert_eq!(json["version"]["node_id"], json!("node-1"));
    assert!(json["version"]["physical"].as_u64().is_some_and(|ms| ms > 1_500_000_000_000));
    let table = folder.paractl(&["get", "k", "-o", "table"]).done();
    let cells: Vec<Vec<&str>> = table.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(cells[..3], [vec!["FIELD", "VALUE"], vec!["key", "k"], vec!["value", "[1,\"a\"]"]]);
    assert_eq!(folder.paractl(&["get", "k", "-o", "raw"]).done(), "[1,\"a\"]");
}

#[test]
fn a_put_and_a_delete_print_the_version_that_they_got_and_versions_rise() {
    let (folder, _node) = started();
    let version = |ran: Ran| {
        let printed = json_of(ran);
        assert_eq!((&printed["acks"], &printed["replicas"]), (&json!(1), &json!(1)));
        let number = |name: &str| printed["version"][name].as_u64().expect("a number");
        (number("physical"), number("logical"))
    };
    let first = version(folder.paractl(&["put", "k", "1", "-o", "json"]));
    let second = version(folder.paractl(&["put", "k", "2", "-o", "json"]));
    let third = version(folder.paractl(&["delete", "k", "-o", "json"]));
    assert!(first < second && second < third, "{first:?} {second:?} {third:?}");
    folder.paractl(&["get", "k"]).failed(1, &["k is absent"]);
    folder.paractl(&["delete", "never"]).done();
}

#[test]
fn the_exit_code_says_what_happened() {
    let (folder, node) = started();
    folder.write("large", vec![0; (1 << 20) + 1]);
    let refused = [
        (&["get", "absent"][..], 1, "absent is absent"),
        (&["frobnicate"], 2, "unrecognized subcommand 'frobnicate'"),
        (&["get"], 2, "<KEY>"),
        (&["put", "k", "--json", "{"], 2, "VALUE is not JSON"),
        (&["put", "k", "18446744073709551616"], 2, "--string stores it as a string"),
        (&["put", "k", "v", "--ttl", "soon"], 2, "a time such as 5s"),
        (&["put", "k", "--file", "nowhere"], 2, "nowhere"),
        (&["put", "", "v"], 2, "the key is empty"),
        (&["get", "k", "-n", "no blanks"], 2, "the namespace must be"),
        (&["get", "k", "--consistency", "some"], 2, "one, quorum, all or a number"),
        (&["get", "k", "--context", "other"], 2, "there is no context other; there are test"),
        (&["get", "k", "--server", "nonsense"], 2, "write HOST:PORT"),
        (
            &["get", "k", "--consistency", "2"],
            3,
            "(quorum_unavailable): 2 replicas are needed and 1 are up",
        ),
        (&["put", "k", "v", "--consistency", "4"], 3, "(bad_request)"),
        (&["put", "k", "--file", "large"], 3, "server.max_message_size"),
        (&["get", "k", "--server", &node.peer.to_string()], 3, "on the peer port"),
        (&["admin", "node-status", "--server", &node.api.to_string()], 3, "on the client port"),
        (&["get", "k", "--server", "127.0.0.1:1"], 4, "cannot connect to 127.0.0.1:1"),
        (&["put", "k", "v", "--server", "host.invalid:1"], 4, "cannot resolve host.invalid:1"),
    ];
    for (arguments, code, said) in refused {
        folder.paractl(arguments).failed(code, &[said]);
    }
}

#[test]
fn a_server_that_hangs_is_waited_for_as_long_as_asked_and_not_longer() {
    let (folder, node) = started();
    node.signal("STOP");
    let ran = folder.paractl(&["put", "k", "v", "--timeout", "300ms"]);
    node.signal("CONT");
    ran.failed(4, &[&node.api.to_string(), "300ms"]);
}

#[test]
fn levels_that_one_node_can_give_are_given() {
    let (folder, _node) = started();
    for level in ["one", "quorum", "all", "1"] {
        folder.paractl(&["put", level, level, "--consistency", level]).done();
        folder.paractl(&["get", level, "--consistency", level]).done();
    }
}

#[test]
fn namespaces_keep_equal_keys_apart() {
    let (folder, _node) = started();
    folder.paractl(&["put", "k", "1"]).done();
    folder.paractl(&["-n", "other", "put", "k", "2"]).done();
    assert_eq!(folder.paractl(&["get", "k", "-o", "raw"]).done(), "1");
    assert_eq!(folder.paractl(&["get", "k", "-o", "raw", "-n", "default"]).done(), "1");
    assert_eq!(folder.paractl(&["get", "k", "-o", "raw", "-n", "other"]).done(), "2");
    folder.paractl(&["delete", "k", "-n", "other"]).done();
    assert_eq!(folder.paractl(&["get", "k", "-o", "raw"]).done(), "1");
}

#[test]
fn a_value_with_a_ttl_says_when_it_ends_and_is_absent_then() {
    let (folder, _node) = started();
    folder.paractl(&["put", "long", "v", "--ttl", "1h"]).done();
    let shown = json_of(folder.paractl(&["get", "long", "-o", "json"]));
    assert!(shown["expires"].as_str().is_some_and(|at| at.ends_with('Z')), "{shown}");
    folder.paractl(&["put", "short", "v", "--ttl", "100ms"]).done();
    wait_until("it has expired", || folder.paractl(&["get", "short"]).code == 1);
    folder.paractl(&["put", "long", "v"]).done();
    let shown = json_of(folder.paractl(&["get", "long", "-o", "json"]));
    assert!(shown["expires"].is_null(), "a put without one ends it: {shown}");
}

#[test]
fn with_msgpack_keys_the_python_clients_data_is_read_and_written() {
    let (folder, node) = started();
    let yaml = fs::read_to_string(folder.path("paraconf.yaml")).expect("a configuration");
    folder.write("paraconf.yaml", yaml + "    key_encoding: msgpack\n");
    let mut python = Raw::connect(&folder, "client", node.api);
    let theirs = message(
        "put",
        &[("key", (&b"\xa5their"[..]).into()), ("value", (&b"\x92\x01\x02"[..]).into())],
    );
    python.send_frame(&theirs);
    assert_eq!(python.receive_value()["type"], Value::from("ok"));
    assert_eq!(folder.paractl(&["get", "their", "-o", "raw"]).done(), "[1,2]");
    folder.paractl(&["put", "ours", "{\"a\": 1}"]).done();
    python.send_frame(&message("get", &[("key", (&b"\xa4ours"[..]).into())]));
    let reply = python.receive_value();
    let version = &reply["data"]["versions"][0];
    assert_eq!(version["kind"], Value::from("bytes"));
    assert_eq!(version["value"], Value::from(&b"\x81\xa1a\x01"[..]));
}

#[test]
fn a_context_is_chosen_and_the_file_keeps_its_comments() {
    let folder = Folder::new();
    let template = fs::read_to_string(repository().join("paraconf.yaml")).expect("the template");
    folder.write("paraconf.yaml", &template);
    assert_eq!(folder.paractl(&["config", "current-context"]).done(), "dev\n");
    folder.paractl(&["config", "use-context", "prod"]).done();
    assert_eq!(folder.paractl(&["config", "current-context", "-o", "raw"]).done(), "prod\n");
    let edited = fs::read_to_string(folder.path("paraconf.yaml")).expect("still there");
    let expected = template.replace("current-context: dev", "current-context: prod");
    assert_eq!(edited, expected);
    let contexts = json_of(folder.paractl(&["config", "get-contexts", "-o", "json"]));
    let names: Vec<_> =
        contexts.as_array().expect("a list").iter().map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["dev", "prod"]);
    assert_eq!((&contexts[0]["current"], &contexts[1]["current"]), (&json!(false), &json!(true)));
    folder.paractl(&["config", "use-context", "nope"]).failed(2, &["no context nope", "dev, prod"]);
    assert_eq!(fs::read_to_string(folder.path("paraconf.yaml")).expect("still there"), expected);
}

#[test]
fn the_configuration_is_found_in_its_usual_places() {
    let (folder, _node) = started();
    fs::create_dir(folder.path(".para")).expect("made");
    fs::rename(folder.path("paraconf.yaml"), folder.path("elsewhere.yaml")).expect("moved");
    let run = |variable: Option<&str>| {
        let mut command = Command::new(binary("paractl"));
        command.current_dir(folder.path("")).env("HOME", folder.path("")).env_remove("PARACONF");
        Ran::of(command.envs(variable.map(|value| ("PARACONF", value))).args(["put", "k", "v"]))
    };
    run(None).failed(2, &[".para/paraconf.yaml", "--paraconf FILE", "$PARACONF"]);
    run(Some("elsewhere.yaml")).done();
    fs::rename(folder.path("elsewhere.yaml"), folder.path(".para/paraconf.yaml")).expect("moved");
    run(None).done();
    folder.write("paraconf.yaml", "current-context: a\ncontexts:\n  a:\n    sever: x:1\n");
    run(Some("paraconf.yaml")).failed(2, &["paraconf.yaml", "sever", "server", "line 4"]);
}

#[test]
fn node_status_says_who_the_node_is_and_that_it_keeps_one_copy_of_three() {
    let (folder, node) = started();
    let status = json_of(folder.paractl(&["admin", "node-status", "-o", "json"]));
    for (field, expected) in [
        ("node_id", json!("node-1")),
        ("phase", json!("ready")),
        ("writes", json!("accepted")),
        ("replication", json!("under-replicated 1 of 3")),
        ("partitions", json!(65536)),
        ("storage_engine", json!("disk")),
    ] {
        assert_eq!(status[field], expected, "{field}");
    }
    assert_eq!(status["api_listener"]["address"], json!(node.api.to_string()));
    assert_eq!(status["peer_listener"]["address"], json!(node.peer.to_string()));
    assert_eq!(status["cluster_id"].as_str().map(str::len), Some(32));
}

#[test]
fn a_bench_counts_what_it_did() {
    let (folder, _node) = started();
    let bench = |op: &str, duration: &str| {
        let load = ["bench", "--op", op, "--duration", duration, "--clients", "2", "--keys", "10"];
        json_of(folder.paractl(&[&load[..], &["--zipf", "0.99", "-o", "json"]].concat()))
    };
    let report = bench("put", "1s");
    assert_eq!((&report["op"], &report["errors"]), (&json!("put"), &json!(0)));
    assert!(report["requests"].as_u64().is_some_and(|requests| requests > 100), "{report}");
    assert!(
        report["latency_ms"]["max"].as_f64() >= report["latency_ms"]["p50"].as_f64(),
        "{report}"
    );
    let report = bench("mixed", "200ms");
    assert_eq!((&report["errors"], &report["absent"]), (&json!(0), &json!(0)), "{report}");
    let nobody = ["bench", "--duration", "200ms", "--server", "127.0.0.1:1"];
    folder.paractl(&nobody).failed(4, &["cannot connect"]);
}

#[test]
fn the_shell_goes_on_after_an_error_and_prints_data_alone() {
    let (folder, _node) = started();
    let lines = "put 'a b' 1\nfrobnicate\nget nothing\n\nput k \"open\n\
                 paractl get 'a b' -o raw\nexit\nget 'a b'\n";
    let mut shell = folder.paractl_command(&["-o", "json"]);
    let ran = Ran::with_input(&mut shell, lines.as_bytes());
    for said in
        ["unrecognized subcommand 'frobnicate'", "nothing is absent", "a quote is not closed"]
    {
        assert!(ran.err.contains(said), "{said:?} is not in: {}", ran.err);
    }
    let printed = ran.done();
    let (version, raw) = printed.split_at(printed.rfind('}').expect("JSON") + 1);
    let version: Json = serde_json::from_str(version).expect("JSON");
    assert_eq!(version["key"], json!("a b"));
    assert_eq!(raw, "\n1\n", "and nothing after exit");
}

#[test]
fn a_shell_with_a_wrong_configuration_does_not_begin() {
    let folder = Folder::new();
    folder.paractl(&[]).failed(2, &["paraconf.yaml", "--paraconf FILE"]);
}

#[test]
fn a_reader_that_has_gone_is_success() {
    let (folder, _node) = started();
    folder.paractl(&["put", "k", "v"]).done();
    for arguments in [&["get", "k"][..], &["admin", "node-status"], &["completions", "bash"]] {
        assert_reader_may_go(folder.paractl_command(arguments));
    }
    assert_reader_may_go(folder.paravon(&["check-config", "paranode.yaml"]));
    assert_reader_may_go(folder.paravon(&["--help"]));
}

/// Runs `command` with a standard output that nobody reads.
fn assert_reader_may_go(mut command: Command) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = command.stdout(writer).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{command:?}: {}: {said}", output.status);
}

#[test]
fn every_shell_gets_its_completions() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = folder.paractl(&["completions", shell]).done();
        assert!(script.contains("node-status") && script.contains("use-context"), "{shell}");
    }
    let script = folder.paractl(&["completions", "bash"]).done();
    Ran::with_input(Command::new("bash").arg("-n"), script.as_bytes()).done();
}

#[test]
fn help_names_every_command() {
    let folder = Folder::new();
    let help = Ran::of(&mut folder.paravon(&["--help"])).done();
    for word in [
        "dev",
        "check-config",
        "cert",
        "--config",
        "--found",
        "--log-level",
        "--log-format",
        "PARANODECONFIG",
    ] {
        assert!(help.contains(word), "{word} is not in: {help}");
    }
    let help = folder.paractl(&["--help"]).done();
    for word in [
        "put",
        "get",
        "delete",
        "admin",
        "config",
        "bench",
        "completions",
        "Exit codes",
        "PARACONF",
    ] {
        assert!(help.contains(word), "{word} is not in: {help}");
    }
    let help = Ran::of(&mut folder.paravon(&["dev", "--help"])).done();
    for word in ["--nodes", "1 to 9", "--base-port", "--dir", "--clean"] {
        assert!(help.contains(word), "{word} is not in: {help}");
    }
    let help = folder.paractl(&["admin", "--help"]).done();
    for word in ["node-status", "cluster-status", "join", "partitions", "accept-loss", "reload"] {
        assert!(help.contains(word), "{word} is not in: {help}");
    }
    let help = folder.paractl(&["admin", "join", "--help"]).done();
    for word in ["--dry-run", "--wait", "--server"] {
        assert!(help.contains(word), "{word} is not in: {help}");
    }
    let wrong = Ran::of(&mut folder.paravon(&["--confg", "x"]));
    wrong.failed(2, &["--confg", "--config"]);
}

#[test]
fn numbers_of_nodes_and_ports_that_cannot_be_are_refused_with_the_range() {
    let folder = Folder::new();
    for (option, wrong, range) in [
        ("--nodes", "0", "1..=9"),
        ("--nodes", "10", "1..=9"),
        ("--nodes", "three", "invalid digit"),
        ("--base-port", "0", "1..=61527"),
        ("--base-port", "61528", "1..=61527"),
    ] {
        Ran::of(&mut folder.paravon(&["dev", option, wrong])).failed(2, &[option, wrong, range]);
    }
    folder.paractl(&["admin", "join", "--wait", "--dry-run"]).failed(2, &["--wait", "--dry-run"]);
    assert!(!folder.path("paravon-dev").exists(), "nothing was made");
}

#[test]
fn a_cluster_of_one_is_shown_with_what_it_lacks_and_joins_nobody() {
    let (folder, node) = started();
    let status = json_of(folder.paractl(&["admin", "cluster-status", "-o", "json"]));
    assert_eq!(status["under_replicated"], json!("under-replicated: 1 of 3 copies"));
    assert_eq!(status["members"][0]["node_id"], json!("node-1"));
    assert_eq!(status["members"][0]["state"], json!("self"));
    let table = folder.paractl(&["admin", "cluster-status", "-o", "table"]).done();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("cluster ") && lines[0].contains("version 1"), "{table}");
    assert_eq!(lines[1], "under-replicated: 1 of 3 copies");
    assert!(lines[2].starts_with("NODE ") && lines[3].starts_with("node-1 "), "{table}");
    let refused = folder.paractl(&["admin", "join"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    folder.write_paraconf(&node, "client");
    folder.paractl(&["admin", "join"]).failed(3, &["forbidden", "no administrator"]);
}

#[test]
fn a_join_is_planned_and_what_stands_in_its_way_is_said() {
    let mut cluster = Cluster::prepare(2);
    cluster.launch(2);
    let join = |cluster: &Cluster, more: &[&str]| {
        cluster.paractl("admin", &[2], &[&["admin", "join"], more].concat())
    };
    join(&cluster, &[]).failed(3, &["no seed", "belongs to a cluster"]);
    let table = cluster.paractl("client", &[2], &["admin", "cluster-status", "-o", "table"]).done();
    assert_eq!(table, "this node belongs to no cluster yet\n");
    cluster.serve(1);
    let mut planned = Json::Null;
    wait_until("the node sees the cluster", || {
        let ran = join(&cluster, &["--dry-run", "-o", "json"]);
        planned = serde_json::from_slice(&ran.out).unwrap_or_default();
        ran.code == 0
    });
    assert_eq!((&planned["members_before"], &planned["members_after"]), (&json!(1), &json!(2)));
    assert_eq!(planned["nodes"][1]["node"], json!("node-2"), "{planned}");
    assert_eq!(cluster.phase(2), "waiting", "nothing was changed");
    cluster.client(1).put("k", b"v");
    let joined = join(&cluster, &["--wait"]).done();
    assert!(joined.contains("ordinal: 2\n") && joined.contains("members: 2\n"), "{joined}");
    join(&cluster, &[]).failed(3, &["a member already"]);
}

#[test]
fn the_template_is_in_order_and_runs_with_certificates_made_for_it() {
    let folder = Folder::new();
    fs::copy(repository().join("paranode.yaml"), folder.path("paranode.yaml")).expect("copied");
    fs::remove_dir_all(folder.path("ca")).expect("removed");
    let make = |arguments: &[&str]| {
        Ran::of(&mut folder.paravon(&[&["cert"], arguments].concat())).done();
    };
    make(&["ca"]);
    make(&["server", "node-1", "node-1", "localhost", "127.0.0.1"]);
    make(&["admin", "admin", "root", "--force"]);
    let checked = Ran::of(&mut folder.paravon(&["check-config", "paranode.yaml"]));
    assert_eq!(checked.err, "");
    assert_eq!(checked.done(), "paranode.yaml: in order\n");
    let mut command = folder.command();
    for port in ["API", "PEER"] {
        command.env(format!("PARAVON__SERVER__{port}__PORT"), "0");
    }
    let node = Node::start(command);
    folder.write_paraconf(&node, "admin");
    folder.paractl(&["admin", "reload"]).done();
    folder.paractl(&["put", "k", "v"]).done();
    assert!(node.stop().success());
}

#[test]
fn certificates_are_never_overwritten_unasked() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let cert = |arguments: &[&str]| Ran::of(&mut folder.paravon(&[&["cert"], arguments].concat()));
    for (arguments, stem) in [
        (&["ca"][..], "ca/ca"),
        (&["server", "node", "node-1"], "node/server"),
        (&["client", "client", "user-1"], "client/client"),
        (&["admin", "admin", "root"], "admin/client"),
    ] {
        let read = || {
            ["crt", "key"]
                .map(|end| fs::read(folder.path(&format!("{stem}.{end}"))).expect("a file"))
        };
        let before = read();
        cert(arguments).failed(2, &[stem, "exists and is kept", "--force"]);
        assert_eq!(read(), before, "{arguments:?}");
        cert(&[arguments, &["--force"]].concat()).done();
        assert_ne!(read(), before, "{arguments:?}");
        let key = fs::metadata(folder.path(&format!("{stem}.key"))).expect("a file");
        assert_eq!(key.permissions().mode() & 0o777, 0o600, "{arguments:?}");
    }
    cert(&["server", "x", "no blanks"]).failed(2, &["\"no blanks\" cannot be a node id"]);
    cert(&["client", "x", "y", "--ca-dir", "nowhere"])
        .failed(2, &["nowhere/ca.key", "cannot read"]);
}

#[test]
fn the_script_makes_what_the_command_makes() {
    let folder = Folder::new();
    fs::remove_dir_all(folder.path("ca")).expect("removed");
    let script = |arguments: &[&str]| {
        let mut command = Command::new(repository().join("scripts/generate-cert.sh"));
        Ran::of(command.current_dir(folder.path("")).args(arguments))
    };
    script(&["ca"]).done();
    script(&["--force", "server", "node", "node-1", "localhost", "127.0.0.1"]).done();
    script(&["--force", "client", "client", "user-1"]).done();
    script(&["--force", "admin", "admin", "root"]).done();
    let refused = script(&["admin", "admin", "root"]);
    assert!(refused.code == 2 && refused.err.contains("--force"), "{refused:?}");
    let node = folder.start();
    folder.write_paraconf(&node, "client");
    folder.paractl(&["put", "k", "v"]).done();
    folder.paractl(&["admin", "reload"]).failed(3, &["forbidden"]);
    folder.write_paraconf(&node, "admin");
    folder.paractl(&["admin", "reload"]).done();
    folder.issue("client", Subject::Client { name: "by the command, of the script's authority" });
    folder.write_paraconf(&node, "client");
    folder.paractl(&["get", "k"]).done();
}

#[test]
fn log_lines_are_json_where_asked_for() {
    let folder = Folder::new();
    let mut command = folder.command();
    command.args(["--log-format", "json"]);
    let mut child = command.spawn().expect("it runs");
    let mut line = String::new();
    let log = child.stderr.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(log), &mut line).expect("a line");
    child.kill().and_then(|()| child.wait()).expect("our child");
    let line: Json = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["level"], json!("INFO"), "{line}");
}
