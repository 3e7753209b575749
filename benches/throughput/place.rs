//! Certificates, and the two servers as processes of their own.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use paravon_transport::issue::{Authority, Subject};
use paravon_transport::{Credentials, Existing, TlsFiles};
use tempfile::TempDir;

/// A folder with certificates and data.
pub(crate) struct Place {
    path: PathBuf,
    /// Removes the folder of the process that made it.
    _folder: Option<TempDir>,
}

/// A server process; ended when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Place {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path, _folder: None }
    }

    /// A new folder on the disk that the repository is on.
    pub(crate) fn make() -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let (path, now) = (folder.path().to_owned(), SystemTime::now());
        let made = Authority::make(now).expect("an authority");
        made.write(&path.join("ca"), Existing::Keep).expect("written");
        let authority = Authority::read(&path.join("ca")).expect("an authority");
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let server = Subject::Server { name: "node-1", dns: &[], addresses: &addresses };
        for subject in [server, Subject::Client { name: "bench" }] {
            let issued = authority.issue(subject, now).expect("a certificate");
            issued.write(&path, Existing::Keep).expect("written");
        }
        Self { path, _folder: Some(folder) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn credentials(&self, who: &str) -> Credentials {
        let files = TlsFiles {
            certfile: self.path.join(format!("{who}.crt")),
            keyfile: self.path.join(format!("{who}.key")),
            cafile: self.path.join("ca/ca.crt"),
            crlfile: None,
        };
        Credentials::load(&files, SystemTime::now()).expect("good certificates")
    }

    pub(crate) fn start_node(&self) -> Process {
        let yaml = "node: {id: node-1}\nstorage: {data_dir: data}\nserver:\n  api: {port: 0}\n  \
                    peer: {port: 0}\n  tls: {certfile: server.crt, keyfile: server.key, cafile: ca/ca.crt}\n";
        std::fs::write(self.path.join("paranode.yaml"), yaml).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_paravon"));
        command.args(["--config", "paranode.yaml"]);
        Process::start(command.current_dir(&self.path))
    }

    pub(crate) fn start_echo(&self) -> Process {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        Process::start(command.arg("--echo").arg(&self.path))
    }
}

impl Process {
    /// Starts a server that says where it serves clients.
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("serves clients on ")?;
            rest.split_whitespace().next()?.parse().ok()
        });
        // Whatever it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: address.expect("it serves") }
    }

    /// CPU time that it has used, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("a Linux machine");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |field: usize| fields[field].parse::<f64>().expect("a number");
        const TICKS_PER_SECOND: f64 = 100.0;
        (ticks(11) + ticks(12)) / TICKS_PER_SECOND
    }

    /// Memory that it holds.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("a Linux machine");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).expect("VmRSS");
        kib.parse::<u64>().expect("a number") << 10
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing is left to do should it have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
