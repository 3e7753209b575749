//! A folder of its own for each test: an authority, certificates, configurations, data.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use paravon_transport::Existing;
use paravon_transport::issue::{Authority, Subject};
use tempfile::TempDir;

use super::node::Node;
use super::ran::Ran;

/// The binary under test: from the folder `PARAVON_BINARIES` where that is set, else Cargo's.
pub(crate) fn binary(name: &str) -> PathBuf {
    match (std::env::var_os("PARAVON_BINARIES"), name) {
        (Some(folder), _) => Path::new(&folder).join(name),
        (None, "paravon") => env!("CARGO_BIN_EXE_paravon").into(),
        (None, _) => env!("CARGO_BIN_EXE_paractl").into(),
    }
}

/// The subject of the certificate of node `name`, which is reached by 127.0.0.1.
pub(crate) fn node_subject(name: &str) -> Subject<'_> {
    const ADDRESSES: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
    Subject::Server { name, dns: &[], addresses: &ADDRESSES }
}

/// A folder with an authority, certificates of a node, a client and an administrator, and the node's
/// configuration.
pub(crate) struct Folder {
    folder: TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = Self { folder: tempfile::tempdir().expect("a folder") };
        let made = Authority::make(SystemTime::now()).expect("an authority");
        made.write(&folder.path("ca"), Existing::Replace).expect("written");
        folder.issue("node", node_subject("node-1"));
        folder.issue("client", Subject::Client { name: "user-1" });
        folder.issue("admin", Subject::Admin { name: "root" });
        folder.configure("");
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("written");
    }

    /// Writes a certificate for `subject` and its key into `place`, over what is there.
    pub(crate) fn issue(&self, place: &str, subject: Subject<'_>) {
        self.issue_at(place, subject, SystemTime::now());
    }

    /// A certificate that was issued at `then`.
    pub(crate) fn issue_at(&self, place: &str, subject: Subject<'_>, then: SystemTime) {
        let authority = Authority::read(&self.path("ca")).expect("an authority");
        let issued = authority.issue(subject, then).expect("a certificate");
        issued.write(&self.path(place), Existing::Replace).expect("written");
    }

    /// Writes the configuration: the least that a node needs, and `more`, which goes on within
    /// `server.tls`.
    pub(crate) fn configure(&self, more: &str) {
        let yaml = format!(
            "node:\n  id: node-1\nstorage:\n  data_dir: data\nserver:\n  api:\n    port: 0\n  \
             peer:\n    port: 0\n  tls:\n    certfile: node/server.crt\n    \
             keyfile: node/server.key\n    cafile: ca/ca.crt\n{more}"
        );
        self.write("paranode.yaml", yaml);
    }

    /// `paravon` with these arguments, in this folder.
    pub(crate) fn paravon(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("paravon"));
        command.current_dir(self.folder.path()).args(arguments);
        command
    }

    /// The command that runs the node.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.paravon(&["--config", "paranode.yaml"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(&self) -> Node {
        Node::start(self.command())
    }

    /// Runs the node, which must not start; its exit code and what it said.
    pub(crate) fn refused(&self) -> Ran {
        let ran = Ran::of(&mut self.command());
        assert_ne!(ran.code, 0, "it started: {}", ran.err);
        ran
    }

    /// Writes a configuration with which `paractl` talks to `node` with the certificate of `who`.
    pub(crate) fn write_paraconf(&self, node: &Node, who: &str) {
        let yaml = format!(
            "current-context: test\ncontexts:\n  test:\n    server: {}\n    admin: {}\n    tls:\n      \
             ca: ca/ca.crt\n      cert: {who}/client.crt\n      key: {who}/client.key\n",
            node.api, node.peer
        );
        self.write("paraconf.yaml", yaml);
    }

    /// `paractl` with these arguments and this folder's configuration.
    pub(crate) fn paractl_command(&self, arguments: &[&str]) -> Command {
        self.paractl_with("paraconf.yaml", arguments)
    }

    /// `paractl` with these arguments and a configuration of its own.
    pub(crate) fn paractl_with(&self, paraconf: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("paractl"));
        command.current_dir(self.folder.path()).env("HOME", self.folder.path());
        command.args(["--paraconf", paraconf]).args(arguments);
        command
    }

    /// Runs `paractl`.
    pub(crate) fn paractl(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.paractl_command(arguments))
    }
}
