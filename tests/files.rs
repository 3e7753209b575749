//! Files that are not as they should be: configurations, ports, data directories; and what becomes of
//! data when bits flip and files end too early (`NO_SILENT_ROT`).

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use paravon_model::{ClusterState, Document};
use paravon_protocol::{StoredState, decode_cluster_state};
use paravon_storage::{Completion, Completions, Options, Storage};
use rmpv::Value;

use crate::support::{Folder, Image, Node, PATIENCE, Ran, Raw, message, node_subject};

/// Changes one line of the configuration of a folder.
fn edit(folder: &Folder, from: &str, to: &str) {
    let path = folder.path("paranode.yaml");
    let text = fs::read_to_string(&path).expect("a configuration");
    assert!(text.contains(from), "{from:?} is not in: {text}");
    fs::write(path, text.replace(from, to)).expect("written");
}

#[test]
fn a_wrong_configuration_is_named_with_its_line_and_what_would_be_right() {
    for (from, to, said) in [
        (
            "  api:\n    port: 0",
            "  api:\n    prot: 0",
            &["paranode.yaml:7:", "unknown key server.api.prot", "did you mean server.api.port?"][..],
        ),
        ("id: node-1", "id: node 1", &["paranode.yaml:2:", "node.id", "letters, digits"]),
        ("port: 0", "port: many", &["paranode.yaml:7:", "\"many\"", "a whole number from"]),
        ("port: 0", "port: 70000", &["paranode.yaml:7:", "server.api.port", "65535"]),
        (
            "data_dir: data",
            "engine: memory",
            &["storage.data_dir is missing", "PARAVON__STORAGE__DATA_DIR"],
        ),
        ("id: node-1", "id: [a, b]", &["paranode.yaml", "node.id", "line 2"]),
        ("id: node-1", "id: 'node-1", &["paranode.yaml", "line"]),
    ] {
        let folder = Folder::new();
        edit(&folder, from, to);
        let ran = folder.refused();
        ran.failed(2, said);
        let checked = Ran::of(&mut folder.paravon(&["check-config", "paranode.yaml"]));
        assert_eq!(checked.err, ran.err, "check-config says the same");
        assert!(!folder.path("data").exists(), "nothing has been founded");
    }
}

#[test]
fn an_absent_configuration_is_named_with_the_ways_to_name_another() {
    let folder = Folder::new();
    fs::remove_file(folder.path("paranode.yaml")).expect("a file");
    folder.refused().failed(2, &["paranode.yaml", "--config FILE", "$PARANODECONFIG"]);
}

#[test]
fn a_variable_overrides_the_file_and_a_wrong_one_is_named() {
    let folder = Folder::new();
    let run = |name: &str, value: &str| {
        Ran::of(folder.paravon(&["check-config", "paranode.yaml"]).env(name, value))
    };
    run("PARAVON__NODE__ID", "node-2").failed(2, &["node.id is node-2", "names node-1"]);
    run("PARAVON__NODE__IDD", "x").failed(2, &["PARAVON__NODE__IDD", "did you mean node.id?"]);
}

#[test]
fn a_taken_port_is_named_with_its_key() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("a socket").port().to_string();
    for (variable, key) in [
        ("PARAVON__SERVER__API__PORT", "server.api"),
        ("PARAVON__SERVER__PEER__PORT", "server.peer"),
    ] {
        let ran = Ran::of(folder.command().env(variable, &port));
        ran.failed(1, &[&format!("127.0.0.1:{port}"), key, "another process has the port"]);
    }
}

#[test]
fn a_file_in_place_of_the_data_directory_is_named() {
    let folder = Folder::new();
    folder.write("data", "not a directory");
    folder
        .refused()
        .failed(2, &["storage.data_dir", "data", "ot a directory", "make it, or give one"]);
    assert_eq!(fs::read(folder.path("data")).expect("still there"), b"not a directory");
}

#[test]
fn a_data_directory_that_may_not_be_written_is_named() {
    let folder = Folder::new();
    fs::create_dir(folder.path("data")).expect("made");
    fs::set_permissions(folder.path("data"), PermissionsExt::from_mode(0o500)).expect("set");
    if fs::write(folder.path("data/probe"), "").is_ok() {
        eprintln!("skipped: permissions do not bind this user, who is root");
        return;
    }
    folder.refused().failed(2, &["storage.data_dir", "data", "that this user may write"]);
}

#[test]
fn a_data_directory_in_use_names_the_process_that_has_it() {
    let folder = Folder::new();
    let node = folder.start();
    let ran = folder.refused();
    ran.failed(1, &["data is in use by", &format!("process {}", node.id()), "stop that process"]);
    let reply = Raw::connect(&folder, "client", node.api).get("k");
    assert_eq!(reply["type"], Value::from("ok"), "the first goes on");
}

#[test]
fn a_data_directory_of_another_node_is_refused_and_kept() {
    let folder = Folder::new();
    let node = folder.start();
    Raw::connect(&folder, "client", node.api).put("k", b"v");
    assert!(node.stop().success());
    folder.issue("node", node_subject("node-2"));
    edit(&folder, "id: node-1", "id: node-2");
    folder.refused().failed(
        1,
        &["data", "belongs to node 'node-1', not to 'node-2'", "a directory of its own"],
    );
    folder.issue("node", node_subject("node-1"));
    edit(&folder, "id: node-2", "id: node-1");
    let node = folder.start();
    let reply = Raw::connect(&folder, "client", node.api).get("k");
    assert_eq!(reply["data"]["versions"][0]["value"], Value::from(&b"v"[..]), "{reply}");
}

/// What the first version wrote into a data directory about its cluster.
fn first_format(document: &Document) -> Vec<u8> {
    let cluster_id = document.cluster_id.0.to_be_bytes();
    let fields = Value::Map(vec![
        ("cluster_id".into(), Value::Array(cluster_id.map(Value::from).to_vec())),
        ("node_id".into(), "node-1".into()),
        ("ordinal".into(), 1.into()),
        ("hash_seed".into(), document.hash_seed.into()),
        ("shift".into(), document.shift.into()),
        ("replication_factor".into(), document.current.replication_factor.into()),
    ]);
    let mut bytes = vec![1];
    rmpv::encode::write_value(&mut bytes, &fields).expect("written to memory");
    bytes
}

/// Nobody listens.
struct Ignored;

impl Completions for Ignored {
    fn deliver(&self, _: Vec<Completion>) {}
}

#[test]
fn a_data_directory_of_the_first_version_goes_on_as_a_cluster_of_one() {
    let folder = Folder::new();
    let node = folder.start();
    Raw::connect(&folder, "client", node.api).put("k", b"v");
    assert!(node.stop().success());
    let options = Options::new(folder.path("data"));
    let storage = Storage::open(&options, Arc::new(Ignored)).expect("it opens");
    let state = decode_cluster_state(&storage.recovered.document).expect("its state");
    let StoredState::Current(ClusterState { document: Some(document), .. }) = state else {
        panic!("{state:?}")
    };
    storage.documents.replace(first_format(&document)).expect("written");
    drop((storage.journal, storage.documents));
    storage.closer.close(storage.stores, PATIENCE).expect("closed");

    for _ in 0..2 {
        let node = folder.start();
        let reply = Raw::connect(&folder, "client", node.api).get("k");
        assert_eq!(reply["data"]["versions"][0]["value"], Value::from(&b"v"[..]), "{reply}");
        folder.write_paraconf(&node, "client");
        let status = folder.paractl(&["admin", "node-status"]).done();
        assert!(status.contains(&document.cluster_id.to_string()), "{status}");
        assert!(node.stop().success());
    }
}

#[test]
fn what_was_fixed_at_founding_counts_and_a_difference_is_said() {
    let folder = Folder::new();
    assert!(folder.start().stop().success());
    let mut command = folder.command();
    command.env("PARAVON__PLACEMENT__SHIFT", "8");
    let node = Node::start(command);
    folder.write_paraconf(&node, "client");
    assert!(folder.paractl(&["admin", "node-status"]).done().contains("partitions: 65536\n"));
    let said = node.said_before_it_served();
    assert!(said.contains("placement.shift is 8 in the configuration"), "{said}");
}

/// What is put, and acknowledged, before a data directory is damaged.
struct Data {
    keys: usize,
    longest: usize,
}

/// Values of very different lengths, in several pages of redb and one segment of the log.
const SMALL: Data = Data { keys: 300, longest: 900 };

/// Values that take several segments of the log.
const LARGE: Data = Data { keys: 100, longest: 1 << 20 };

impl Data {
    fn value(&self, number: usize) -> Vec<u8> {
        let length = (number + 1) * 999_331 % self.longest + 1;
        (0..length).map(|at| u8::try_from((at + number) % 251).expect("a byte")).collect()
    }

    fn key(number: usize) -> Value {
        format!("key-{number}").into()
    }

    /// Puts all keys, then some more that may be lost where the very end of the log is damaged: the
    /// last batch of a log cannot be told from one that was never acknowledged.
    fn fill(&self, folder: &Folder, node: &Node) {
        let mut client = Raw::connect(folder, "client", node.api);
        for number in 0..self.keys {
            let fields = [("key", Self::key(number)), ("value", self.value(number).into())];
            client.send_frame(&message("put", &fields));
        }
        for _ in 0..self.keys {
            assert_eq!(client.receive_value()["type"], Value::from("ok"));
        }
        for number in 0..4 {
            client.put(&format!("end-{number}"), b"");
        }
    }

    /// A data directory with all keys, as a crash leaves it.
    fn after_a_crash(&self) -> (Folder, Image) {
        let folder = Folder::new();
        let node = folder.start();
        self.fill(&folder, &node);
        node.kill();
        let image = Image::of(&folder.path("data"));
        (folder, image)
    }

    /// A data directory with all keys, as a stop leaves it.
    fn after_a_stop(&self) -> (Folder, Image) {
        let folder = Folder::new();
        let node = folder.start();
        self.fill(&folder, &node);
        assert!(node.stop().success());
        let image = Image::of(&folder.path("data"));
        (folder, image)
    }

    /// Starts the node on what is there and reads every key. It must refuse the start with the name of
    /// `damaged`, or answer each key with its value or an error.
    fn assert_no_wrong_value(&self, folder: &Folder, damaged: &str, what: &str) -> Outcome {
        let mut outcome = Outcome::default();
        let node = match Node::try_start(folder.command()) {
            Ok(node) => node,
            Err(said) => {
                assert!(said.contains("error: ") && said.contains(damaged), "{what}: {said}");
                return Outcome { refused: 1, ..outcome };
            }
        };
        let mut client = Raw::connect(folder, "client", node.api);
        for number in 0..self.keys {
            client.send_frame(&message("get", &[("key", Self::key(number))]));
        }
        for number in 0..self.keys {
            let reply = client.receive_value();
            if reply["type"] == Value::from("ko") {
                outcome.errors += 1;
                continue;
            }
            let found = reply["data"]["versions"][0]["value"].as_slice();
            assert!(found == Some(&self.value(number)), "{what}: {}", Self::key(number));
            outcome.right += 1;
        }
        outcome
    }
}

/// What became of a node with a damaged file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    refused: usize,
    errors: usize,
    right: usize,
}

/// Flips single bits, spread evenly over what is used of every file.
fn flip_bits_everywhere(folder: &Folder, image: &Image) {
    const FLIPS: usize = 40;
    let each = FLIPS.div_ceil(image.files().len()).max(2);
    let mut refused = 0;
    let mut total = 0;
    for file in image.files() {
        for offset in file.spread(each) {
            image.restore(&folder.path("data"));
            let what = format!("bit {} of byte {offset} of {} flipped", offset % 8, file.name);
            flip(&folder.path("data").join(&file.name), offset);
            let outcome = SMALL.assert_no_wrong_value(folder, file.base_name(), &what);
            refused += outcome.refused;
            total += 1;
            println!("{what}: {outcome:?}");
        }
    }
    assert!(total >= FLIPS && refused > 0, "{refused} of {total} were noticed at the start");
}

fn flip(path: &Path, offset: u64) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::options().read(true).write(true).open(path).expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("within the file");
    byte[0] ^= 1 << (offset % 8);
    file.write_all_at(&byte, offset).expect("written");
}

#[test]
fn a_flipped_bit_after_a_stop_never_gives_a_wrong_value() {
    let (folder, image) = SMALL.after_a_stop();
    flip_bits_everywhere(&folder, &image);
}

#[test]
fn a_flipped_bit_after_a_crash_never_gives_a_wrong_value() {
    let (folder, image) = SMALL.after_a_crash();
    flip_bits_everywhere(&folder, &image);
}

#[test]
fn a_file_that_ends_too_early_or_is_gone_never_gives_a_wrong_value() {
    for (folder, image) in [SMALL.after_a_stop(), SMALL.after_a_crash()] {
        let mut refused = 0;
        for file in image.files() {
            let path = folder.path("data").join(&file.name);
            for length in [file.length - 1, file.used() / 2, 0] {
                image.restore(&folder.path("data"));
                let opened = fs::File::options().write(true).open(&path).expect("a file");
                opened.set_len(length).expect("cut");
                let what = format!("{} cut to {length} bytes", file.name);
                let outcome = SMALL.assert_no_wrong_value(&folder, file.base_name(), &what);
                refused += outcome.refused;
                println!("{what}: {outcome:?}");
            }
            image.restore(&folder.path("data"));
            fs::remove_file(&path).expect("a file");
            let what = format!("{} removed", file.name);
            let outcome = SMALL.assert_no_wrong_value(&folder, file.base_name(), &what);
            refused += outcome.refused;
            println!("{what}: {outcome:?}");
        }
        assert!(refused > 0);
    }
}

#[test]
fn undamaged_files_give_every_value() {
    for data in [SMALL, LARGE] {
        for (folder, image) in [data.after_a_stop(), data.after_a_crash()] {
            image.restore(&folder.path("data"));
            let outcome = data.assert_no_wrong_value(&folder, "", "nothing is damaged");
            assert_eq!(outcome, Outcome { right: data.keys, ..Outcome::default() });
        }
    }
}

#[test]
fn a_node_whose_files_cannot_be_read_any_more_says_so_and_leaves_service() {
    const KEYS: u64 = 3000;
    let folder = Folder::new();
    folder.configure("");
    let yaml = fs::read_to_string(folder.path("paranode.yaml")).expect("written");
    // Neither the table nor the cache of pages holds the keys.
    let small = yaml.replace("data_dir: data\n", "data_dir: data\n  cache_size: 1MiB\n");
    folder.write("paranode.yaml", small);
    let node = folder.start();
    let mut client = Raw::connect(&folder, "client", node.api);
    for key in 0..KEYS {
        client.put(&format!("key-{key}"), &[7; 8000]);
    }
    let data = folder.path("data");
    let mut to_visit = vec![data];
    while let Some(place) = to_visit.pop() {
        for entry in fs::read_dir(place).expect("a folder").flatten() {
            match entry.file_name().to_string_lossy() {
                _ if entry.path().is_dir() => to_visit.push(entry.path()),
                name if name.ends_with(".redb") => {
                    let file = fs::File::options().write(true).open(entry.path());
                    file.and_then(|file| file.set_len(4096)).expect("cut");
                }
                _ => {}
            }
        }
    }
    for key in 0..KEYS {
        let get = message("get", &[("key", format!("key-{key}").into())]);
        client.send_frame(&get);
        let Ok(reply) = client.try_receive_value() else { break };
        let absent = reply["data"]["versions"].as_array().is_some_and(Vec::is_empty);
        assert!(!absent, "key-{key} is called absent");
    }
    drop(client);
    node.wait_for_log("leaving service");
    assert!(!node.wait().success());
}
