//! `paravon dev`: a throwaway local node with nothing to prepare.
//!
//! Makes certificates, a configuration and a client context under one folder, starts the node as a
//! child that ends when this process does (a pipe that closes), and prints the first commands to copy.
//! What is there already is used again, so that a second run continues with the same data.

use std::fs;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use paravon_transport::issue::{Authority, Subject};
use paravon_transport::{Existing, TlsError};
use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;
use crate::args::DevArgs;

/// How far the peer port is above the client port.
const PEER_OFFSET: u16 = 4000;

const NODE: &str = "node-1";

/// What marks a folder as ours, so that `--clean` never removes anything else.
const MARK: &str = ".paravon-dev";

pub(crate) fn run(args: &DevArgs) -> Result<(), Failure> {
    let place = Place::new(args).map_err(|error| failed(&args.dir, &error))?;
    // First, because what has the ports may be the node whose folder --clean would remove.
    for port in [place.api_port, place.api_port + PEER_OFFSET] {
        refuse_taken(port)?;
    }
    place.prepare(args.clean)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Node(error.to_string()))?;
    runtime.block_on(watch(&place))
}

/// The folder of a throwaway node, by its absolute path so that printed commands work anywhere.
struct Place {
    dir: PathBuf,
    api_port: u16,
}

impl Place {
    fn new(args: &DevArgs) -> io::Result<Self> {
        Ok(Self { dir: std::path::absolute(&args.dir)?, api_port: args.base_port })
    }

    fn node(&self) -> PathBuf {
        self.dir.join(NODE)
    }

    fn configuration(&self) -> PathBuf {
        self.node().join("paranode.yaml")
    }

    fn paraconf(&self) -> PathBuf {
        self.dir.join("paraconf.yaml")
    }

    /// Makes what is missing.
    fn prepare(&self, clean: bool) -> Result<(), Failure> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| failed(&path, &error)
        };
        if clean && self.dir.exists() {
            if !self.dir.join(MARK).exists() {
                return Err(Failure::Usage(format!(
                    "{} was not made by `paravon dev`, so --clean leaves it alone; give another --dir",
                    self.dir.display()
                )));
            }
            fs::remove_dir_all(&self.dir).map_err(at(&self.dir))?;
        }
        fs::create_dir_all(self.node()).map_err(at(&self.node()))?;
        let mark = self.dir.join(MARK);
        fs::write(&mark, "Made by `paravon dev`; `paravon dev --clean` removes this folder.\n")
            .map_err(at(&mark))?;
        self.certificates().map_err(|error| Failure::Usage(error.to_string()))?;
        let paranode = self.configuration();
        fs::write(&paranode, self.paranode_yaml()).map_err(at(&paranode))?;
        let paraconf = self.paraconf();
        fs::write(&paraconf, self.paraconf_yaml()).map_err(at(&paraconf))
    }

    fn certificates(&self) -> Result<(), TlsError> {
        let (ca, now) = (self.dir.join("ca"), SystemTime::now());
        if !ca.join("ca.crt").exists() {
            Authority::make(now)?.write(&ca, Existing::Replace)?;
        }
        let authority = Authority::read(&ca)?;
        let issue = |dir: &Path, file: &str, subject| {
            if dir.join(file).exists() {
                return Ok(());
            }
            authority.issue(subject, now)?.write(dir, Existing::Replace).map(drop)
        };
        let dns = ["localhost".to_owned()];
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let server = Subject::Server { name: NODE, dns: &dns, addresses: &addresses };
        issue(&self.node(), "server.crt", server)?;
        issue(&self.dir.join("admin"), "client.crt", Subject::Admin { name: "dev-admin" })
    }

    fn paranode_yaml(&self) -> String {
        let (node, ca) = (self.node(), self.dir.join("ca/ca.crt"));
        let (api, peer) = (self.api_port, self.api_port + PEER_OFFSET);
        format!(
            "# Made by `paravon dev`, and made again by its next run.\n\
             node:\n  id: {NODE}\n\
             server:\n  api:\n    port: {api}\n  peer:\n    port: {peer}\n  \
             tls:\n    certfile: {}\n    keyfile: {}\n    cafile: {}\n\
             storage:\n  data_dir: {}\n",
            quoted(&node.join("server.crt")),
            quoted(&node.join("server.key")),
            quoted(&ca),
            quoted(&node.join("data")),
        )
    }

    fn paraconf_yaml(&self) -> String {
        let admin = self.dir.join("admin");
        let (api, peer) = (self.api_port, self.api_port + PEER_OFFSET);
        format!(
            "# Made by `paravon dev`, and made again by its next run.\n\
             current-context: dev\n\
             contexts:\n  dev:\n    server: 127.0.0.1:{api}\n    admin: 127.0.0.1:{peer}\n    \
             tls:\n      ca: {}\n      cert: {}\n      key: {}\n",
            quoted(&self.dir.join("ca/ca.crt")),
            quoted(&admin.join("client.crt")),
            quoted(&admin.join("client.key")),
        )
    }
}

/// A path as a YAML string in double quotes.
fn quoted(path: &Path) -> String {
    let escaped = path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::Usage(format!("{}: {error}; give another --dir", path.display()))
}

/// The child would find out too, but only here is it known which option helps.
fn refuse_taken(port: u16) -> Result<(), Failure> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Node(format!(
            "port {port} cannot be used: {error}; stop what has it or give another --base-port"
        ))),
    }
}

/// Runs the node until Ctrl-C, or until it ends by itself.
async fn watch(place: &Place) -> Result<(), Failure> {
    let system = |error: io::Error| Failure::Node(error.to_string());
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let mut child = start(place).map_err(system)?;
    let log = child.stderr.take();
    let (served, serves) = tokio::sync::oneshot::channel();
    let reading = tokio::task::spawn_blocking(move || follow(log, served));
    if serves.await.is_ok() {
        print_first_commands(place);
        tokio::select! {
            _ = interrupt.recv() => eprintln!("stopping; the data stays in {}", place.dir.display()),
            _ = terminate.recv() => {}
            () = until_ended(&mut child) => {}
        }
    }
    // The pipe's end tells the child to stop, however this process ends.
    drop(child.stdin.take());
    let status = tokio::task::spawn_blocking(move || child.wait()).await;
    let last = reading.await.unwrap_or_default();
    match status {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(Failure::Node(format!("{NODE} ended with {status}: {last}"))),
        _ => Err(Failure::Node(format!("{NODE} could not be waited for"))),
    }
}

fn start(place: &Place) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg("--config")
        .arg(place.configuration())
        .arg("--until-stdin-ends")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
}

/// Passes the child's log on, says when it serves, and gives its last line back.
fn follow(log: Option<impl io::Read>, served: tokio::sync::oneshot::Sender<()>) -> String {
    let mut served = Some(served);
    let mut last = String::new();
    for line in log.map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
        if line.contains("serves clients on")
            && let Some(served) = served.take()
        {
            // Whoever waits for this has not gone before the log ends.
            let _ = served.send(());
        }
        eprintln!("{line}");
        last = line;
    }
    last
}

async fn until_ended(child: &mut Child) {
    while matches!(child.try_wait(), Ok(None)) {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

fn print_first_commands(place: &Place) {
    let paractl = std::env::current_exe()
        .map_or_else(|_| PathBuf::from("paractl"), |exe| exe.with_file_name("paractl"));
    let command = format!("{} --paraconf {}", shell(&paractl), shell(&place.paraconf()));
    let bold = if io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        ("\u{1b}[1m", "\u{1b}[0m")
    } else {
        ("", "")
    };
    let mut text =
        format!("{}Paravon is ready.{} Copy these into another terminal:\n\n", bold.0, bold.1);
    for rest in ["put greeting hello", "get greeting", "admin node-status", "delete greeting"] {
        text += &format!("  {command} {rest}\n");
    }
    text += &format!("\nCtrl-C stops it; the data stays in {}.\n", place.dir.display());
    // A reader that has gone has seen what it wanted; the node goes on.
    let _ = io::stdout().write_all(text.as_bytes());
}

/// A path as one word of a shell.
fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
