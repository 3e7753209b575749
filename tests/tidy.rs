//! The shape of the repository, checked from its manifests and sources, so that nobody has to remember
//! it: rows and downward dependencies, what the pure crates may reach, what each file owes its reader.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The rows of `docs/architecture.md`. A crate depends only on crates in rows with a smaller number.
const ROWS: [(&str, u32); 10] = [
    ("paravon-model", 0),
    ("paravon-ring", 1),
    ("paravon-protocol", 1),
    ("paravon-replication", 2),
    ("paravon-storage", 2),
    ("paravon-transport", 2),
    ("paravon-client", 3),
    ("paravon-sim", 3),
    ("paravon-node", 4),
    ("paravon", 5),
];

/// What the pure crates may reach, at any depth.
const PURE: [(&str, &[&str]); 4] = [
    ("paravon-model", &[]),
    ("paravon-ring", &["paravon-model", "xxhash-rust"]),
    (
        "paravon-replication",
        &["bytes", "foca", "paravon-model", "paravon-ring", "rand", "rand_core", "xxhash-rust"],
    ),
    (
        "paravon-protocol",
        &[
            "itoa",
            "num-traits",
            "paravon-model",
            "rmp",
            "rmp-serde",
            "serde",
            "serde_core",
            "thiserror",
        ],
    ),
];

/// What runs at build time and reaches no binary.
const BUILD_TIME: [&str; 8] = [
    "autocfg",
    "proc-macro2",
    "quote",
    "serde_derive",
    "syn",
    "thiserror-impl",
    "unicode-ident",
    "version_check",
];

/// Lines after which a file is expected to have two jobs.
const MOST_LINES: usize = 700;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn output_of(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The direct normal dependencies of every package, by name.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let compiler = output_of(Command::new("rustc").arg("-vV"));
    let host = compiler.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    // For this platform alone: other platforms' packages need not have been fetched.
    let metadata = output_of(
        Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--offline"])
            .args(["--filter-platform", host])
            .current_dir(root()),
    );
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo writes JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let name_of = |id: &Value| {
        let packages = metadata["packages"].as_array().expect("packages");
        let package = packages.iter().find(|package| package["id"] == *id).expect("a package");
        package["name"].as_str().expect("a name").to_owned()
    };
    let is_normal = |dependency: &Value| {
        list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null())
    };
    let nodes = list(&metadata["resolve"]["nodes"]);
    let entry = |node: &Value| {
        let normal = list(&node["deps"]).into_iter().filter(is_normal);
        (name_of(&node["id"]), normal.map(|dependency| name_of(&dependency["pkg"])).collect())
    };
    nodes.iter().map(entry).collect()
}

#[test]
fn crates_depend_downwards_only() {
    let dependencies = dependencies();
    let row = |name: &str| ROWS.iter().find(|(known, _)| *known == name).map(|&(_, row)| row);
    let ours = dependencies.iter().filter(|(name, _)| name.starts_with("paravon"));
    for (name, below) in ours {
        let own = row(name).unwrap_or_else(|| panic!("{name} has no row in this table"));
        for dependency in below.iter().filter(|d| d.starts_with("paravon")) {
            let other = row(dependency).expect("checked in its own turn");
            assert!(
                other < own,
                "{name} (row {own}) must not depend on {dependency} (row {other})"
            );
        }
    }
}

#[test]
fn pure_crates_reach_only_what_is_allowed() {
    for (name, allowed) in PURE {
        // With the features that this crate alone asks for: tests of others may turn on more.
        let tree = output_of(
            Command::new(env!("CARGO"))
                .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none"])
                .args(["--package", name])
                .current_dir(root()),
        );
        let reached = tree.lines().filter_map(|line| line.split(' ').next());
        for dependency in reached.filter(|reached| *reached != name) {
            let known = allowed.contains(&dependency) || BUILD_TIME.contains(&dependency);
            assert!(known, "{name} reaches {dependency}");
        }
    }
}

/// Every file below `folder` whose name ends with `ending`.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() && entry.file_name() != "target" {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    let folders = ["crates", "tests", "benches", "models"].map(|folder| root().join(folder));
    let paths = folders.iter().flat_map(|folder| files(folder, ".rs"));
    paths.map(|path| (path.clone(), fs::read_to_string(&path).expect("a source"))).collect()
}

#[test]
fn every_file_says_what_it_is_and_has_one_job() {
    for (path, text) in sources() {
        let path = path.display();
        assert!(text.starts_with("//!"), "{path} does not open with what it is");
        let lines = text.lines().count();
        assert!(lines <= MOST_LINES, "{path} has {lines} lines: find the idea that makes it small");
    }
}

#[test]
fn every_crate_forbids_unsafe_code_and_the_pure_ones_have_no_std() {
    let roots = files(&root().join("crates"), "lib.rs").into_iter();
    let binaries = ["crates/paravon/main.rs", "crates/paractl/main.rs", "tests/main.rs"];
    for path in roots.chain(binaries.map(|path| root().join(path))) {
        let text = fs::read_to_string(&path).expect("a source");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{}", path.display());
    }
    for name in ["model", "ring", "replication"] {
        let path = root().join("crates").join(name).join("src/lib.rs");
        let text = fs::read_to_string(&path).expect("a source");
        assert!(text.contains("#![no_std]"), "{}", path.display());
    }
}

#[test]
fn paractl_uses_nothing_of_ours_but_the_client() {
    for path in files(&root().join("crates/paractl"), ".rs") {
        let text = fs::read_to_string(&path).expect("a source");
        for (found, _) in text.match_indices("paravon_") {
            let name = &text[found..(found + "paravon_client".len()).min(text.len())];
            assert_eq!(name, "paravon_client", "{}", path.display());
        }
    }
}
