//! The README does what it says: its commands are run as they are printed there, and print what it shows.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};

use tempfile::TempDir;

use crate::support::{PATIENCE, Ran, binary, wait_until};

const QUICK_START: &str = "## Quick start with certificates of your own";

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

/// A client port that is free, and so is the peer port above it. The system does not give out ports this
/// low by itself.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 1000).expect("small") * 16;
    let is_free = |port: &u16| {
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        bind(*port) && bind(port + PEER_OFFSET)
    };
    let candidates =
        std::iter::repeat_with(|| 10_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 18_000);
    candidates.take(1000).find(is_free).expect("a free port")
}

/// The value of what differs from run to run, put out of sight.
fn masked(line: &str) -> String {
    const VARYING: [&str; 6] =
        ["physical", "logical", "cluster_id", "uptime_seconds", "connections", "storage_shards"];
    if let Some((_, message)) = line.split_once("  INFO ") {
        return format!("TIME  INFO {message}");
    }
    match line.split_once(": ") {
        Some((name, _)) if VARYING.contains(&name.trim()) => format!("{name}: ..."),
        _ => line.to_owned(),
    }
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
            match line == END {
                true => has_ended = true,
                false => printed.push(line),
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

#[test]
fn the_quick_start_prints_what_the_readme_shows() {
    let port = free_port();
    let (api, peer) = (format!(":{port}"), format!(":{}", port + PEER_OFFSET));
    let as_here = |text: String| {
        let ports = text.replace("port: 2000", &format!("port: {port}"));
        let ports = ports.replace("port: 6000", &format!("port: {}", port + PEER_OFFSET));
        ports.replace(":2000", &api).replace(":6000", &peer)
    };
    let folder = built();
    let mut bash = Bash::start(folder.path());
    let readme = readme();
    let mut blocks = fenced(below(&readme, QUICK_START)).into_iter().peekable();
    let mut shown = 0;
    while let Some((language, block)) = blocks.next() {
        assert_eq!(language, "sh", "output without its command: {block}");
        let expected = blocks.next_if(|(language, _)| *language == "text");
        let expected = expected.map(|(_, text)| as_here(text)).unwrap_or_default();
        let expected: Vec<String> = expected.lines().map(masked).collect();
        shown += expected.len();
        let printed = bash.run(&as_here(block.clone()), expected.len());
        let printed: Vec<String> = printed.iter().map(|line| masked(line)).collect();
        assert_eq!(printed, expected, "{}\n printed\n{}", block, printed.join("\n"));
    }
    assert!(shown > 40, "the README shows what is printed");
}

#[test]
fn the_readme_names_the_two_commands() {
    let readme = readme();
    let commands: Vec<String> = fenced(&readme)
        .into_iter()
        .filter(|(language, _)| *language == "sh")
        .map(|(_, block)| block)
        .collect();
    for command in
        ["cargo build --release && target/release/paravon dev\n", "cargo test --workspace\n"]
    {
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
}

impl Dev {
    /// Runs it in `folder` and waits until it has printed its last line.
    fn start(folder: &Path, port: u16, more: &[&str]) -> Self {
        let mut child =
            command(folder, port, more).stdout(Stdio::piped()).spawn().expect("it runs");
        let printed = lines_of(child.stdout.take().expect("piped"));
        let mut dev = Self { child, port, text: String::new() };
        while !dev.text.contains("Ctrl-C stops it") {
            dev.text += &printed.recv_timeout(PATIENCE).expect("it prints what to do");
            dev.text.push('\n');
        }
        dev
    }

    /// The commands to copy.
    fn lines(&self) -> Vec<&str> {
        self.text.lines().filter_map(|line| line.strip_prefix("  ")).collect()
    }

    /// Ends it with a signal; its exit code, where it has one.
    fn end(mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill").args(["-s", signal, &pid]).status().expect("kill runs").success()
        );
        let mut status = None;
        wait_until("paravon dev ends", || {
            status = self.child.try_wait().expect("our child");
            status.is_some()
        });
        let port = self.port;
        wait_until("its node has ended", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
        });
        status.and_then(|status| status.code())
    }
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
    let dev = Dev::start(&place, free_port(), &[]);
    let binaries = absolute(binary("paractl")).parent().expect("a folder").display().to_string();
    let printed = dev.text.replace(&binaries, ".../target/release");
    let printed = printed.replace(&place.display().to_string(), "...");
    let readme = readme();
    let shown = fenced(below(&readme, "## Start\n"));
    assert!(
        shown.iter().any(|(language, text)| *language == "text" && *text == printed),
        "{printed}"
    );

    let [put, get, status, delete] = dev.lines()[..] else { panic!("{}", dev.text) };
    assert!(paste(put).done().starts_with("key: greeting\nversion:"));
    assert!(paste(get).done().contains("\nvalue: hello\n"));
    assert!(paste(status).done().contains("\nphase: ready\n"));
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
fn dev_says_what_stands_in_its_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let run = |more: &[&str]| Ran::of(&mut command(folder.path(), port, more));
    fs::create_dir(folder.path().join("mine")).expect("made");
    fs::write(folder.path().join("mine/file"), "precious").expect("written");
    run(&["--dir", "mine", "--clean"]).failed(2, &["mine", "was not made by `paravon dev`"]);
    assert_eq!(fs::read(folder.path().join("mine/file")).expect("still there"), b"precious");
    run(&["--nodes", "3"]).failed(2, &["this version runs single nodes"]);
    for taken in [port, port + PEER_OFFSET] {
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, taken)).expect("free");
        run(&[]).failed(1, &[&format!("port {taken}"), "--base-port"]);
    }
}
