//! The configuration as its author meets it: what is accepted, and what each mistake is told.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use paravon_model::NodeId;
use paravon_transport::issue::{Authority, Subject};
use paravon_transport::{Existing, TlsFiles};

use super::keys::{KEYS, Kind};
use super::paths::Places;
use super::testing::sound;
use super::{Address, Config, ConfigError, Durability, Engine, Host, Loaded, Problem, load};

/// The file that is published with the program.
const TEMPLATE: &str = include_str!("../../../../paranode.yaml");

/// The five keys that have no default, and room for more.
const REQUIRED: &str = "\
node: {id: node-1}
storage: {data_dir: /data}
server:
  tls: {certfile: /server.crt, keyfile: /server.key, cafile: /ca.crt}
";

fn parse_with(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let folder = PathBuf::from("/nowhere");
    let places = Places { home: Some("/home/ada".into()), working: folder.clone(), folder };
    let variables = variables.iter().map(|&(n, v)| (OsString::from(n), OsString::from(v)));
    load::parse(text, Path::new("paranode.yaml"), &places, variables.collect())
}

fn parse(text: &str) -> Result<Loaded, ConfigError> {
    parse_with(text, &[])
}

fn defaults() -> Config {
    let tls = TlsFiles {
        certfile: "/server.crt".into(),
        keyfile: "/server.key".into(),
        cafile: "/ca.crt".into(),
        crlfile: None,
    };
    Config::new(NodeId::new("node-1").unwrap(), tls, "/data".into())
}

fn complaint(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn the_published_file_says_every_default_and_every_key() {
    let loaded = parse(TEMPLATE).unwrap();
    let mut expected = defaults();
    expected.server.tls.certfile = "/nowhere/node-1/server.crt".into();
    expected.server.tls.keyfile = "/nowhere/node-1/server.key".into();
    expected.server.tls.cafile = "/nowhere/ca/ca.crt".into();
    expected.storage.data_dir = "/nowhere/node-1/data".into();
    assert_eq!(loaded, Loaded { config: expected, warnings: Vec::new() });

    let yaml: serde_yaml::Value = serde_yaml::from_str(TEMPLATE).unwrap();
    for key in KEYS.iter().filter(|key| !matches!(key.kind, Kind::NoEffect)) {
        let found = key.name.split('.').try_fold(&yaml, |value, name| value.get(name));
        assert!(found.is_some(), "paranode.yaml lacks {}", key.name);
    }
}

#[test]
fn the_required_keys_are_enough() {
    assert_eq!(parse(REQUIRED).unwrap().config, defaults());
}

#[test]
fn every_required_key_is_missed_by_name() {
    assert_eq!(
        complaint(""),
        "paranode.yaml: node.id is missing; add it, or set PARAVON__NODE__ID"
    );
    for key in KEYS.iter().filter(|key| key.required) {
        let last = key.name.rsplit('.').next().unwrap();
        let value = REQUIRED.split(&format!("{last}: ")).nth(1).unwrap();
        let value = &value[..value.find([',', '}']).unwrap()];
        let without = REQUIRED.replace(&format!("{last}: {value}"), &format!("{last}: "));
        assert!(complaint(&without).contains(&format!("{} is missing", key.name)), "{without}");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest() {
    let text = format!("{REQUIRED}  api:\n    prot: 2000\n");
    assert_eq!(
        complaint(&text),
        "paranode.yaml:6:5: unknown key server.api.prot; did you mean server.api.port?"
    );
    let text = format!("{REQUIRED}colour: red\n");
    assert_eq!(
        complaint(&text),
        "paranode.yaml:5:1: unknown key colour; remove it, or see paranode.yaml for the keys that exist"
    );
}

#[test]
fn a_value_out_of_range_is_named_with_its_line_and_what_would_be_right() {
    let text = format!("{REQUIRED}placement:\n  replication_factor: 9\n");
    assert_eq!(
        complaint(&text),
        "paranode.yaml:6:23: placement.replication_factor is \"9\"; it must be a whole number from 1 to 7"
    );
    for (line, right) in [
        ("node: {size: XXXL}", "one of XS, S, M, L, XL, XXL"),
        ("server: {api: {port: 70000}}", "from 0 to 65535"),
        ("server: {max_message_size: 9MiB}", "from 1024 to 8388608 bytes"),
        ("server: {peer: {seeds: [node-2]}}", "HOST:PORT"),
        ("server: {peer: {listener: 'node-2:0'}}", "a port from 1 to 65535"),
        ("server: {handshake_timeout: soon}", "a time such as 5s"),
        ("request: {timeout: 61s}", "from 1ms to 1m"),
        ("storage: {durability: sometimes}", "one of always, interval"),
        ("storage: {data_dir: ~bob/data}", "~user is not supported"),
        ("node: {auto_join: yes}", "one of true, false"),
        ("placement: {shift: 25}", "from 1 to 24"),
        ("security: {admins: ['']}", "not empty"),
    ] {
        let message = complaint(line);
        assert!(message.starts_with("paranode.yaml:1:") && message.contains(right), "{message}");
    }
}

#[test]
fn a_list_or_a_section_where_one_value_belongs_is_named_with_its_line() {
    for (text, key) in [
        ("node:\n  id: [a]", "node.id"),
        ("node:\n  id: {a: b}", "node.id"),
        ("server:\n  api: 2000", "server.api"),
        ("server:\n  peer:\n    seeds: {a: b}", "server.peer.seeds"),
    ] {
        let message = complaint(text);
        assert!(message.contains(key) && message.contains("line"), "{message}");
    }
}

#[test]
fn a_key_given_twice_is_refused() {
    let text = format!("{REQUIRED}  backlog: 1\n  backlog: 2\n");
    assert_eq!(
        complaint(&text),
        "paranode.yaml:6:12: server.backlog is given a second time; keep one of them"
    );
}

#[test]
fn what_is_no_yaml_says_where() {
    let message = complaint("node:\n  id: 'a");
    assert!(message.starts_with("paranode.yaml: ") && message.contains("line 2"), "{message}");
}

#[test]
fn a_scalar_is_taken_as_it_was_written() {
    let text = REQUIRED.replace("node-1", "0123");
    assert_eq!(parse(&text).unwrap().config.node.id, NodeId::new("0123").unwrap());
}

#[test]
fn an_empty_or_null_value_and_an_empty_section_leave_the_default() {
    let text = format!("{REQUIRED}  backlog: ''\n  metrics: null\n  max_connections: ~\nclock:\n");
    assert_eq!(parse(&text).unwrap().config, defaults());
}

#[test]
fn a_value_of_each_kind_is_read() {
    let text = format!(
        "{REQUIRED}  timeout_graceful_shutdown: 2.5
  max_buffer_size: 4194304
  metrics: '[::1]:9100'
  peer: {{host: 0.0.0.0, seeds: ['a:1', 'b:2'], listener: 'node-1.example.com:6001'}}
clock: {{max_skew: 250ms}}
security: {{admins: [ops]}}
"
    );
    let text =
        text.replace("{data_dir: /data}", "{data_dir: ~/d, engine: memory, durability: interval}");
    let config = parse(&text).unwrap().config;
    assert_eq!(config.server.timeout_graceful_shutdown, Duration::from_millis(2500));
    assert_eq!(config.server.metrics, Address::parse("[::1]:9100"));
    assert_eq!(config.server.peer.seeds.len(), 2);
    assert_eq!(config.server.peer.advertised(7).to_string(), "node-1.example.com:6001");
    assert_eq!(config.clock.max_skew, Duration::from_millis(250));
    assert_eq!(config.security.admins, ["ops"]);
    assert_eq!(config.storage.data_dir, PathBuf::from("/home/ada/d"));
    assert_eq!(
        (config.storage.engine, config.storage.durability),
        (Engine::Memory, Durability::Interval)
    );
}

#[test]
fn a_buffer_smaller_than_a_message_is_refused() {
    let text = format!("{REQUIRED}  max_message_size: 8MiB\n");
    let message = complaint(&text);
    assert!(
        message.contains("server.max_buffer_size (4194304 bytes) must be at least"),
        "{message}"
    );
}

#[test]
fn the_environment_overlays_the_file() {
    let text = format!("{REQUIRED}  api: {{port: 2001}}\n");
    let variables = [
        ("PARAVON__SERVER__API__PORT", "2002"),
        ("PARAVON__SERVER__PEER__SEEDS", "a:1, b:2"),
        ("PARAVON__SERVER__MAX_CONNECTIONS", ""),
        ("PARAVON_SOMETHING", "else"),
    ];
    let config = parse_with(&text, &variables).unwrap().config;
    assert_eq!(config.server.api.bind.port, 2002);
    assert_eq!(config.server.peer.seeds.len(), 2);
    assert_eq!(config.server.max_connections, 10_000);
}

#[test]
fn the_environment_alone_can_configure_a_node() {
    let required = KEYS.iter().filter(|key| key.required);
    let names: Vec<_> = required.map(|key| load::variable(key.name)).collect();
    let variables: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let config = parse_with("", &variables).unwrap().config;
    assert_eq!(config.node.id, NodeId::new("x").unwrap());
    assert_eq!(config.storage.data_dir, PathBuf::from("/nowhere/x"));
}

#[test]
fn a_variable_that_means_no_key_is_refused_by_name() {
    let error = parse_with(REQUIRED, &[("PARAVON__SERVER__API__PROT", "1")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "environment variable PARAVON__SERVER__API__PROT: unknown key server.api.prot; \
         did you mean server.api.port?"
    );
}

#[test]
fn the_files_mistakes_come_before_the_environments_mending() {
    let text = format!("{REQUIRED}  backlog: none\n");
    let error = parse_with(&text, &[("PARAVON__SERVER__BACKLOG", "1")]).unwrap_err();
    assert!(error.to_string().starts_with("paranode.yaml:5:"), "{error}");
}

#[test]
fn the_python_templates_replication_dir_is_accepted_with_a_warning() {
    let text = REQUIRED.replace("/data}", "/data, replication_dir: ''}");
    let warnings = parse(&text).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].to_string().starts_with("storage.replication_dir has no effect"));
}

#[test]
fn an_absent_file_is_named_with_the_ways_to_name_another() {
    let error = Config::load(Path::new("/nowhere/paranode.yaml"), []).unwrap_err().to_string();
    assert!(error.contains("/nowhere/paranode.yaml") && error.contains("--config"), "{error}");
}

#[test]
fn a_file_is_loaded_with_paths_from_its_own_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("paranode.yaml");
    std::fs::write(&file, TEMPLATE).unwrap();
    let config = Config::load(&file, []).unwrap().config;
    assert_eq!(config.server.tls.cafile, folder.path().join("ca/ca.crt"));
}

fn problems(config: &Config) -> Vec<Problem> {
    config.check(SystemTime::now()).problems
}

#[test]
fn a_sound_configuration_has_no_problems() {
    let folder = tempfile::tempdir().unwrap();
    let report = sound(folder.path()).check(SystemTime::now());
    assert!(report.problems.is_empty() && report.warnings.is_empty(), "{report:?}");
}

#[test]
fn certificates_are_checked_against_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = sound(folder.path());
    config.node.id = NodeId::new("node-2").unwrap();
    config.server.peer.listener = Address::parse("db.example.com:6000");
    let found = problems(&config);
    assert!(
        matches!(&found[..], [Problem::OtherNode { .. }, Problem::NotValidFor { .. }]),
        "{found:?}"
    );

    let authority = Authority::read(&folder.path().join("ca")).unwrap();
    let client = authority.issue(Subject::Client { name: "node-1" }, SystemTime::now()).unwrap();
    let written = client.write(folder.path(), Existing::Keep).unwrap();
    let mut config = sound_with(config, written.certificate, written.key);
    config.server.peer.listener = None;
    let found = problems(&config);
    assert!(matches!(found[0], Problem::NotOfANode { .. }), "{found:?}");

    config.server.tls.keyfile = "/nowhere".into();
    assert!(matches!(problems(&config)[..], [Problem::Tls { .. }]));
}

fn sound_with(mut config: Config, certfile: PathBuf, keyfile: PathBuf) -> Config {
    config.server.tls.certfile = certfile;
    config.server.tls.keyfile = keyfile;
    config
}

#[test]
fn services_do_not_share_a_port_and_peers_can_connect() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = sound(folder.path());
    config.server.api.bind.port = 6000;
    config.server.metrics = Address::parse("10.0.0.1:6000");
    assert!(matches!(problems(&config)[..], [Problem::SamePort { .. }]));
    config.server.peer.bind.host = Host::parse("0.0.0.0").unwrap();
    let found = problems(&config);
    assert!(
        matches!(
            &found[..],
            [Problem::Unreachable { .. }, Problem::SamePort { .. }, Problem::SamePort { .. }]
        ),
        "{found:?}"
    );
}

#[test]
fn a_data_directory_below_a_file_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = sound(folder.path());
    config.storage.data_dir = folder.path().join("node-1/server.crt/data/deep");
    let found = problems(&config);
    assert!(matches!(&found[..], [Problem::DataDir { .. }]), "{found:?}");
}
