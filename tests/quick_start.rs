//! The README does what it says: its commands are run as they are printed there, and print what it shows.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use tempfile::TempDir;

use crate::support::{PATIENCE, Ran, binary, free_ports, wait_until};

const QUICK_START: &str = "## Quick start with certificates of your own";

const THREE_NODES: &str = "## Three nodes";

/// How far the peer port of `paravon dev` is above the client port.
const PEER_OFFSET: u16 = 4000;

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    fs::read_to_string(path).expect("the README")
}

/// What is fenced off in a text: its language, and its lines.
fn fenced(text: &str) -> Vec<(&str, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let within = lines.by_ref().take_while(|line| *line != "```");
            blocks.push((language, within.map(|line| format!("{line}\n")).collect()));
        }
    }
    blocks
}

/// The part of the README below a heading.
fn below<'a>(readme: &'a str, heading: &str) -> &'a str {
    let (_, rest) = readme.split_once(heading).unwrap_or_else(|| panic!("no {heading:?}"));
    rest.split("\n## ").next().unwrap_or(rest)
}

/// The first of ten client ports that are free, and so are the peer ports above them; it ends in 0.
fn free_port() -> u16 {
    let distances: Vec<u16> = (0..10).flat_map(|node| [node, node + PEER_OFFSET]).collect();
    free_ports(&distances)
}

/// A text of the README with the ports from `port` on in place of those from 2000 on, which it uses.
fn with_ports(text: &str, port: u16) -> String {
    let (api, peer) = (port / 10, (port + PEER_OFFSET) / 10);
    let ports = text.replace("port: 200", &format!("port: {api}"));
    let ports = ports.replace("port: 600", &format!("port: {peer}"));
    ports.replace(":200", &format!(":{api}")).replace(":600", &format!(":{peer}"))
}

/// The value of what differs from run to run, put out of sight.
fn masked(line: &str) -> String {
    const VARYING: [&str; 11] = [
        "physical",
        "logical",
        "cluster_id",
        "uptime_seconds",
        "connections",
        "storage_shards",
        // The scrubber may have come to the records by now.
        "rounds",
        "last_round_seconds",
        "records",
        "bytes",
        "oldest_floor_seconds",
    ];
    if let Some((_, message)) = line.split_once("  INFO ") {
        let id = message.strip_prefix("founded cluster ");
        return format!("TIME  INFO {}", id.map_or(message, |_| "founded cluster ..."));
    }
    if let Some((start, _milliseconds)) =
        line.strip_suffix(" ms").and_then(|row| row.rsplit_once("  "))
    {
        return format!("{start}  ... ms");
    }
    match line.split_once(": ") {
        Some((name, _)) if VARYING.contains(&name.trim()) => format!("{name}: ..."),
        Some((name, rest)) if name.starts_with("cluster ") => format!("cluster ...: {rest}"),
        _ => line.to_owned(),
    }
}

/// Lines as they are compared. Log lines of one moment come from several threads, so that their order among
/// each other varies.
fn comparable<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut section = "";
    let mut lines: Vec<String> = lines
        .map(|line| {
            section = if line.starts_with(' ') { section } else { line };
            // A delete's partition is on its way to a floor a moment later.
            let is_late = section == "marks:" && line.starts_with("  partitions: ");
            if is_late { "  partitions: ...".to_owned() } else { masked(line) }
        })
        .collect();
    let is_log = |line: &String| line.starts_with("TIME ");
    lines.chunk_by_mut(|one, next| is_log(one) && is_log(next)).for_each(<[String]>::sort);
    lines
}

/// A shell that is given one block after the other. When it is dropped, it ends with all that it started.
struct Bash {
    child: Child,
    input: Option<ChildStdin>,
    printed: Receiver<String>,
}

impl Bash {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new("bash")
            .current_dir(folder)
            .env("HOME", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash runs");
        let printed = lines_of(child.stdout.take().expect("piped"));
        let mut bash = Self { input: child.stdin.take(), child, printed };
        bash.run("exec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n", 0);
        bash
    }

    /// Runs a block, and gives what was printed until then, at least `lines` lines.
    fn run(&mut self, block: &str, lines: usize) -> Vec<String> {
        const END: &str = "the block has ended";
        let input = self.input.as_mut().expect("open until the drop");
        input.write_all(format!("{block}echo {END}\n").as_bytes()).expect("bash reads");
        let mut printed = Vec::new();
        let mut has_ended = false;
        while !has_ended || printed.len() < lines {
            let line = self.printed.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("{block}printed only {printed:#?}"));
            match line.as_str() {
                END => has_ended = true,
                // A shell says this of a job in its own words, sooner or later.
                notice if notice.contains(" Killed ") => {}
                // How far a change is; on a terminal a line that goes away.
                progress if progress.starts_with("running: ") => {}
                _ => printed.push(line),
            }
        }
        printed
    }
}

impl Drop for Bash {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

fn lines_of(from: impl Read + Send + 'static) -> Receiver<String> {
    let (line, lines) = channel();
    std::thread::spawn(move || {
        for text in BufReader::new(from).lines().map_while(Result::ok) {
            // A test that no longer reads has seen enough.
            let _ = line.send(text);
        }
    });
    lines
}

/// A folder that looks like the repository after a build.
fn built() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("target/release");
    fs::create_dir_all(&target).expect("made");
    for name in ["paravon", "paractl"] {
        symlink(absolute(binary(name)), target.join(name)).expect("linked");
    }
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    symlink(scripts, folder.path().join("scripts")).expect("linked");
    folder
}

fn absolute(path: PathBuf) -> PathBuf {
    path.canonicalize().expect("the binary is there")
}

/// Runs what stands below `heading` block by block, and compares what is printed. Returns the lines shown.
#[track_caller]
fn run_section(heading: &str) -> usize {
    let port = free_port();
    let folder = built();
    let mut bash = Bash::start(folder.path());
    let readme = readme();
    let mut blocks = fenced(below(&readme, heading)).into_iter().peekable();
    let mut shown = 0;
    while let Some((language, block)) = blocks.next() {
        assert_eq!(language, "sh", "output without its command: {block}");
        let expected = blocks.next_if(|(language, _)| *language == "text");
        let expected = expected.map(|(_, text)| with_ports(&text, port)).unwrap_or_default();
        let expected = comparable(expected.lines());
        shown += expected.len();
        let printed = bash.run(&with_ports(&block, port), expected.len());
        let printed = comparable(printed.iter().map(String::as_str));
        assert_eq!(printed, expected, "{}\n printed\n{}", block, printed.join("\n"));
    }
    shown
}

#[test]
fn the_quick_start_prints_what_the_readme_shows() {
    assert!(run_section(QUICK_START) > 40, "the README shows what is printed");
}

#[test]
fn three_nodes_print_what_the_readme_shows() {
    assert!(run_section(THREE_NODES) > 20, "the README shows what is printed");
}

#[test]
fn the_readme_names_the_two_commands() {
    let readme = readme();
    let commands: Vec<String> = fenced(&readme)
        .into_iter()
        .filter(|(language, _)| *language == "sh")
        .map(|(_, block)| block)
        .collect();
    for command in [
        "cargo build --release && target/release/paravon dev --nodes 3\n",
        "cargo test --workspace\n",
    ] {
        assert!(commands.iter().any(|block| block == command), "{command}");
    }
}

#[test]
fn the_readme_links_to_files_that_are_there() {
    let readme = readme();
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(link);
        assert!(path.exists(), "{link} is not there");
    }
}

/// A running `paravon dev`; killed when dropped, and its node ends with it.
struct Dev {
    child: Child,
    port: u16,
    /// What it printed.
    text: String,
    /// Where its log goes.
    log: PathBuf,
}

impl Dev {
    /// Runs it in `folder` and waits until it has printed its last line.
    fn start(folder: &Path, port: u16, more: &[&str]) -> Self {
        let log = folder.join("dev.log");
        let file = fs::File::create(&log).expect("a file");
        let mut child = command(folder, port, more)
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .expect("it runs");
        let printed = lines_of(child.stdout.take().expect("piped"));
        let mut dev = Self { child, port, text: String::new(), log };
        while !dev.text.contains("Ctrl-C stops it") {
            let line = printed.recv_timeout(PATIENCE);
            dev.text +=
                &line.unwrap_or_else(|_| panic!("it did not print what to do: {}", dev.said()));
            dev.text.push('\n');
        }
        dev
    }

    /// The commands to copy.
    fn lines(&self) -> Vec<&str> {
        self.text.lines().filter_map(|line| line.strip_prefix("  ")).collect()
    }

    /// What it and its nodes have said.
    fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("a file")
    }

    /// The process of its node of this name.
    fn node(&self, name: &str) -> u32 {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.expect("a running process");
        let mut children = children.split_whitespace().map(|pid| pid.parse().expect("a number"));
        let is_it = |pid: &u32| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.contains(&format!("/{name}/"))
        };
        children.find(is_it).expect("it runs")
    }

    /// Ends it with a signal; its exit code, where it has one.
    fn end(self, signal: &str) -> Option<i32> {
        send(signal, self.child.id());
        self.wait()
    }

    /// Waits until it and its nodes have ended; its exit code, where it has one.
    fn wait(mut self) -> Option<i32> {
        let mut status = None;
        wait_until("paravon dev ends", || {
            status = self.child.try_wait().expect("our child");
            status.is_some()
        });
        let port = self.port;
        wait_until("its node has ended", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
        });
        // Shown where the test fails.
        eprintln!("{}", self.said());
        status.and_then(|status| status.code())
    }
}

fn send(signal: &str, pid: u32) {
    let status = Command::new("kill").args(["-s", signal, &pid.to_string()]).status();
    assert!(status.expect("kill runs").success());
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended already; there is nothing else to do here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `paravon dev` in `folder`.
fn command(folder: &Path, port: u16, more: &[&str]) -> Command {
    let mut command = Command::new(absolute(binary("paravon")));
    command.current_dir(folder).args(["dev", "--base-port", &port.to_string()]).args(more);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

fn paste(line: &str) -> Ran {
    Ran::of(Command::new("bash").args(["-c", line]))
}

#[test]
fn what_dev_prints_is_what_the_readme_shows_and_works_when_pasted() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().canonicalize().expect("a folder");
    let port = free_port();
    let dev = Dev::start(&place, port, &["--nodes", "3"]);
    let binaries = absolute(binary("paractl")).parent().expect("a folder").display().to_string();
    let printed = dev.text.replace(&binaries, ".../target/release");
    let printed = printed.replace(&place.display().to_string(), "...");
    let readme = readme();
    let shown = fenced(below(&readme, "## Start\n"));
    assert!(
        shown
            .iter()
            .any(|(language, text)| *language == "text" && with_ports(text, port) == printed),
        "{printed}"
    );

    let [put, get, status, delete] = dev.lines()[..] else { panic!("{}", dev.text) };
    assert!(paste(put).done().starts_with("key: greeting\nversion:"));
    assert!(paste(get).done().contains("\nvalue: hello\n"));
    let status = paste(status).done();
    assert!(["node-1", "node-2", "node-3"].iter().all(|name| status.contains(name)), "{status}");
    assert!(paste(delete).done().starts_with("key: greeting\nversion:"));
    paste(get).failed(1, &["greeting is absent"]);
}

#[test]
fn the_printed_lines_work_whatever_the_folder_is_called() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(folder.path(), free_port(), &["--dir", "it's a \"folder\" & more"]);
    for line in dev.lines() {
        paste(line).done();
    }
}

#[test]
fn the_node_of_dev_ends_with_it_however_it_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    for (signal, code) in [("INT", Some(0)), ("TERM", Some(0)), ("KILL", None)] {
        let dev = Dev::start(folder.path(), free_port(), &[]);
        assert_eq!(dev.end(signal), code, "{signal}");
    }
}

#[test]
fn a_second_run_goes_on_with_the_data_and_clean_begins_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let dev = Dev::start(folder.path(), port, &[]);
    paste(dev.lines()[0]).done();
    assert_eq!(dev.end("INT"), Some(0));
    let dev = Dev::start(folder.path(), port, &[]);
    assert!(paste(dev.lines()[1]).done().contains("\nvalue: hello\n"));
    assert_eq!(dev.end("KILL"), None);
    let dev = Dev::start(folder.path(), port, &["--clean"]);
    paste(dev.lines()[1]).failed(1, &["greeting is absent"]);
}

#[test]
fn dev_goes_on_with_three_nodes_and_ends_when_one_of_them_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let dev = Dev::start(folder.path(), port, &["--nodes", "3"]);
    paste(dev.lines()[0]).done();
    assert_eq!(dev.end("INT"), Some(0));
    Ran::of(&mut command(folder.path(), port, &["--nodes", "2"]))
        .failed(2, &["3 nodes", "--clean"]);
    let dev = Dev::start(folder.path(), port, &[]);
    assert!(paste(dev.lines()[1]).done().contains("\nvalue: hello\n"));
    send("KILL", dev.node("node-2"));
    let log = dev.log.clone();
    assert_eq!(dev.wait(), Some(1));
    let said = fs::read_to_string(log).expect("a file");
    assert!(said.contains("error: node-2 ended by itself (signal: 9"), "{said}");
}

#[test]
fn dev_grows_and_keeps_its_data() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    assert_eq!(Dev::start(folder.path(), port, &[]).end("INT"), Some(0));
    let dev = Dev::start(folder.path(), port, &["--nodes", "3"]);
    paste(dev.lines()[0]).done();
    assert_eq!(dev.end("INT"), Some(0));
    let dev = Dev::start(folder.path(), port, &["--nodes", "4"]);
    assert!(paste(dev.lines()[1]).done().contains("\nvalue: hello\n"), "it is as before");
}

#[test]
fn dev_says_what_stands_in_its_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let run = |more: &[&str]| Ran::of(&mut command(folder.path(), port, more));
    fs::create_dir(folder.path().join("mine")).expect("made");
    fs::write(folder.path().join("mine/file"), "precious").expect("written");
    run(&["--dir", "mine", "--clean"]).failed(2, &["mine", "was not made by `paravon dev`"]);
    assert_eq!(fs::read(folder.path().join("mine/file")).expect("still there"), b"precious");
    run(&["--dir", "mine"]).failed(2, &["mine", "is not empty"]);
    for taken in [port, port + 2, port + PEER_OFFSET, port + PEER_OFFSET + 2] {
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, taken)).expect("free");
        run(&["--nodes", "3"]).failed(1, &[&format!("port {taken}"), "--base-port"]);
    }
}
