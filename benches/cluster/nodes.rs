//! Three nodes as processes of their own, joined to one cluster, and a fourth that may join later.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use paravon_transport::issue::{Authority, Subject};
use paravon_transport::{Credentials, Existing, TlsFiles};
use serde_json::Value;
use tempfile::TempDir;

/// How many nodes there are at first.
const NODES: usize = 3;

/// How many may be in the end.
const MOST: usize = NODES + 1;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// The nodes and their folder; ended and removed when dropped.
pub(crate) struct Cluster {
    folder: TempDir,
    /// Of the clients, then of the peers.
    ports: Vec<u16>,
    nodes: Vec<Node>,
}

/// What a node has taken over.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// What a node takes of the disk, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    /// Of the log.
    pub(crate) log: u64,
    /// Of all other files.
    pub(crate) files: u64,
}

struct Node {
    child: Child,
    api: u16,
    peer: u16,
}

impl Cluster {
    /// Makes certificates and configurations, starts the nodes and joins them.
    pub(crate) fn start() -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        certificates(folder.path());
        let mut cluster = Self { folder, ports: free_ports(), nodes: Vec::new() };
        for index in 0..NODES {
            cluster.start_node(index);
        }
        cluster.wait("the nodes are joined", || cluster.join());
        cluster.wait("all serve", || cluster.alive() == NODES);
        cluster
    }

    fn start_node(&mut self, index: usize) {
        let (api, peer) = (self.ports[index], self.ports[MOST + index]);
        let founder = format!("127.0.0.1:{}", self.ports[MOST]);
        let seeds = if index == 0 { String::new() } else { founder };
        configure(self.folder.path(), index, (api, peer), &seeds);
        self.nodes.push(Node { child: spawn(self.folder.path(), index), api, peer });
    }

    /// Starts a fourth node, which waits to join.
    pub(crate) fn start_fourth(&mut self) {
        self.start_node(NODES);
        self.wait("the fourth node waits", || {
            let status = self.paractl(0, &["admin", "cluster-status"]);
            status.is_some_and(|status| !status["waiting"].as_array().is_none_or(Vec::is_empty))
        });
    }

    /// Lets it join, and waits until the layout is stable with it; what it has taken over by then.
    pub(crate) fn join_fourth(&self) -> Moved {
        self.wait("the fourth node joins", || self.paractl(NODES, &["admin", "join"]).is_some());
        let mut moved = Moved::default();
        self.wait("the layout is stable again", || {
            let Some(status) = self.paractl(0, &["admin", "cluster-status"]) else { return false };
            let last = status["operations"].as_array().and_then(|operations| operations.last());
            if let Some(id) = last.and_then(|operation| operation["operation"].as_str())
                && let Some(operation) = self.paractl(0, &["admin", "operation", id])
            {
                let of = |field: &str| operation[field].as_u64().unwrap_or(0);
                moved.records = moved.records.max(of("records"));
                moved.bytes = moved.bytes.max(of("bytes"));
            }
            status["phase"] == "stable" && self.members() == MOST
        });
        moved
    }

    fn join(&self) -> bool {
        let join = |index: usize| self.paractl(index, &["admin", "join"]).is_some();
        let joined: Vec<bool> = std::thread::scope(|scope| {
            let joins: Vec<_> = (1..NODES).map(|index| scope.spawn(move || join(index))).collect();
            joins.into_iter().map(|join| join.join().expect("no panic")).collect()
        });
        joined.into_iter().all(|joined| joined) || self.members() == NODES
    }

    /// Where clients connect.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| SocketAddr::from(([127, 0, 0, 1], node.api))).collect()
    }

    /// Where clients connect, but for the last of the first three nodes.
    pub(crate) fn but_the_last(&self) -> Vec<SocketAddr> {
        self.addresses()[..NODES - 1].to_vec()
    }

    pub(crate) fn credentials(&self) -> Credentials {
        let file = |name| self.folder.path().join("admin").join(name);
        let files = TlsFiles {
            certfile: file("client.crt"),
            keyfile: file("client.key"),
            cafile: self.folder.path().join("ca/ca.crt"),
            crlfile: None,
        };
        Credentials::load(&files, SystemTime::now()).expect("good certificates")
    }

    /// CPU time that the nodes have used, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.nodes.iter().map(Node::cpu_seconds).sum()
    }

    pub(crate) fn pause_last(&mut self) {
        self.nodes[NODES - 1].signal("STOP");
    }

    pub(crate) fn resume_last(&mut self) {
        self.nodes[NODES - 1].signal("CONT");
    }

    /// Ends it as an operator would.
    pub(crate) fn stop_last(&mut self) {
        self.nodes[NODES - 1].signal("TERM");
        self.nodes[NODES - 1].child.wait().expect("our child");
    }

    /// The data directory of the last one.
    pub(crate) fn data_of_last(&self) -> PathBuf {
        self.data_of(NODES - 1)
    }

    fn data_of(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("node-{}/data", index + 1))
    }

    /// What each of the first three nodes takes of the disk.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        (0..NODES).map(|index| taken(&self.data_of(index))).collect()
    }

    pub(crate) fn kill_last(&mut self) {
        let child = &mut self.nodes[NODES - 1].child;
        child.kill().expect("our child");
        child.wait().expect("our child");
    }

    pub(crate) fn restart_last(&mut self) {
        self.nodes[NODES - 1].child = spawn(self.folder.path(), NODES - 1);
    }

    pub(crate) fn wait_until_dead(&self) {
        self.wait("the node is known to be dead", || self.alive() < NODES);
    }

    pub(crate) fn wait_until_drained(&self) {
        self.wait("the node is back and has what it missed", || {
            self.alive() == NODES && self.hints() == 0
        });
    }

    /// Waits until the last node has summed up all that it holds.
    pub(crate) fn wait_until_summed(&self) {
        self.wait("the last node has summed up what it holds", || {
            self.repair(NODES - 1).is_some_and(|status| status["scrub"]["unsummed"] == 0)
        });
    }

    /// Waits until the last node has pulled so many records and agrees with the others again.
    pub(crate) fn wait_until_mended(&self, records: u64) {
        let since = Instant::now();
        self.wait("the last node has what it lacked", || {
            self.repair(NODES - 1).is_some_and(|status| {
                status["anti_entropy"]["pulled_records"].as_u64() >= Some(records)
            })
        });
        println!("pulled after           {:.1} s", since.elapsed().as_secs_f64());
        self.wait_until_agreed(Instant::now());
    }

    /// Waits until every node was seen to agree with all others after this moment.
    pub(crate) fn wait_until_agreed(&self, since: Instant) {
        let agrees = |index| {
            let age = since.elapsed().as_secs();
            self.repair(index).is_some_and(|status| {
                let status = &status["anti_entropy"];
                let oldest = status["oldest_agreement_seconds"].as_u64();
                status["agreed"] == status["partitions"]
                    && oldest.is_some_and(|oldest| oldest < age)
            })
        };
        self.wait("all agree", || (0..NODES).all(agrees));
    }

    /// Waits until no node knows of a partition with a delete.
    pub(crate) fn wait_until_nothing_is_deleted(&self) {
        self.wait("no delete is left", || {
            let none = |index| self.repair(index).is_some_and(|s| s["marks"]["partitions"] == 0);
            (0..NODES).all(none)
        });
    }

    fn repair(&self, index: usize) -> Option<Value> {
        self.paractl(index, &["admin", "node-status"])
    }

    /// What the kernel has sent over the connections between nodes that are open now, in bytes.
    pub(crate) fn bytes_between_nodes(&self) -> u64 {
        let output = Command::new("ss").args(["-tinOH", "state", "established"]).output();
        let output = output.expect("`ss` of iproute2 is there").stdout;
        let peers: Vec<String> = self.nodes.iter().map(|node| format!(":{}", node.peer)).collect();
        let of_nodes = |line: &&str| {
            let mut ends = line.split_whitespace().skip(2).take(2);
            ends.any(|end| peers.iter().any(|peer| end.ends_with(peer)))
        };
        let sent = |line: &str| {
            let field = line.split_whitespace().find_map(|word| word.strip_prefix("bytes_sent:"));
            field.and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or(0)
        };
        String::from_utf8_lossy(&output).lines().filter(of_nodes).map(sent).sum()
    }

    /// Hints that wait in the first two nodes.
    pub(crate) fn hints(&self) -> u64 {
        let waiting = |index| {
            let status = self.paractl(index, &["admin", "node-status"])?;
            let waiting = status["handoff"].as_array()?.iter();
            Some(waiting.filter_map(|target| target["count"].as_u64()).sum::<u64>())
        };
        (0..NODES - 1).map(|index| waiting(index).unwrap_or(u64::MAX / 4)).sum()
    }

    fn members(&self) -> usize {
        let status = self.paractl(0, &["admin", "cluster-status"]);
        status.map_or(0, |status| status["members"].as_array().map_or(0, Vec::len))
    }

    /// Members that every one of the first two nodes believes to be up.
    fn alive(&self) -> usize {
        let alive = |index| {
            let status = self.paractl(index, &["admin", "cluster-status"])?;
            let members = status["members"].as_array()?.clone();
            Some(members.iter().filter(|member| member["state"] != "dead").count())
        };
        (0..NODES - 1).map(|index| alive(index).unwrap_or(0)).min().unwrap_or(0)
    }

    /// What `paractl` says about a node; none where it failed.
    fn paractl(&self, index: usize, arguments: &[&str]) -> Option<Value> {
        let server = format!("127.0.0.1:{}", self.nodes[index].peer);
        let output = Command::new(env!("CARGO_BIN_EXE_paractl"))
            .current_dir(self.folder.path())
            .args(["--paraconf", "paraconf.yaml", "--server", &server, "-o", "json"])
            .args(arguments)
            .stderr(Stdio::null())
            .output();
        let output = output.expect("paractl runs");
        if !output.status.success() {
            return None;
        }
        Some(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
    }

    fn wait(&self, what: &str, condition: impl FnMut() -> bool) {
        assert!(came_true_within(PATIENCE, condition), "waited in vain until {what}");
    }
}

impl Node {
    fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("a Linux machine");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |field: usize| fields[field].parse::<f64>().expect("a number");
        const TICKS_PER_SECOND: f64 = 100.0;
        (ticks(11) + ticks(12)) / TICKS_PER_SECOND
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.expect("kill runs").success());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nothing is left to do should it have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// From one look to the next. Each is one process or several, which take about as much of a CPU to start as
/// a thousand requests: often enough to tell seconds, seldom enough not to be the load.
const LOOK: Duration = Duration::from_secs(1);

/// Asks again and again; whether it came true in time.
pub(crate) fn came_true_within(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() >= patience {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

/// What a folder and all below it takes of the disk.
fn taken(folder: &Path) -> Taken {
    let mut sum = Taken::default();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("a file");
        // A file may have gone since it was listed.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            let Taken { log, files } = taken(&entry.path());
            let is_log = entry.file_name() == "log";
            sum.log += if is_log { log + files } else { log };
            sum.files += if is_log { 0 } else { files };
        } else {
            sum.files += metadata.blocks() * 512;
        }
    }
    sum
}

/// Ports that nobody had a moment ago.
fn free_ports() -> Vec<u16> {
    let listeners: Vec<_> =
        (0..2 * MOST).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("bound").port()).collect()
}

fn certificates(folder: &Path) {
    let now = SystemTime::now();
    let authority = Authority::make(now).expect("an authority");
    authority.write(&folder.join("ca"), Existing::Keep).expect("written");
    let authority = Authority::read(&folder.join("ca")).expect("an authority");
    let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
    for index in 0..MOST {
        let name = format!("node-{}", index + 1);
        let subject = Subject::Server { name: &name, dns: &[], addresses: &addresses };
        let issued = authority.issue(subject, now).expect("a certificate");
        issued.write(&folder.join(&name), Existing::Keep).expect("written");
    }
    let admin = authority.issue(Subject::Admin { name: "bench" }, now).expect("a certificate");
    admin.write(&folder.join("admin"), Existing::Keep).expect("written");
    let paraconf = "current-context: bench\ncontexts:\n  bench:\n    server: 127.0.0.1:1\n    \
                    tls: {ca: ca/ca.crt, cert: admin/client.crt, key: admin/client.key}\n";
    std::fs::write(folder.join("paraconf.yaml"), paraconf).expect("written");
}

fn configure(folder: &Path, index: usize, (api, peer): (u16, u16), seeds: &str) {
    let name = format!("node-{}", index + 1);
    let yaml = format!(
        "node: {{id: {name}}}\nstorage: {{data_dir: {name}/data}}\nserver:\n  api: {{port: {api}}}\n  \
         peer: {{port: {peer}, seeds: [{seeds}]}}\n  \
         tls: {{certfile: {name}/server.crt, keyfile: {name}/server.key, cafile: ca/ca.crt}}\n"
    );
    std::fs::write(folder.join(format!("{name}.yaml")), yaml).expect("written");
}

fn spawn(folder: &Path, index: usize) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paravon"));
    command.args(["--config", &format!("node-{}.yaml", index + 1)]).current_dir(folder);
    command.stderr(Stdio::null()).spawn().expect("it runs")
}
