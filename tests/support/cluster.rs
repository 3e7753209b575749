//! Several real nodes on ports that are known beforehand, so that they can find each other.

use std::process::{Command, Stdio};

use serde_json::Value as Json;

use super::folder::{Folder, node_subject};
use super::node::{Node, wait_until};
use super::ports::free_ports;
use super::ran::Ran;
use super::raw::Raw;

/// A folder of nodes; each is stopped, or runs.
pub(crate) struct Cluster {
    pub(crate) folder: Folder,
    first_port: u16,
    /// The number of partitions as a power of two.
    shift: u8,
    nodes: Vec<Option<Node>>,
}

impl Cluster {
    /// Certificates and configurations of `count` nodes; none runs. The first one founds, the others have
    /// it as their seed.
    pub(crate) fn prepare(count: usize) -> Self {
        let distances: Vec<u16> = (0..10).collect();
        let folder = Folder::new();
        let nodes = (0..count).map(|_| None).collect();
        let cluster = Self { folder, first_port: free_ports(&distances), shift: 16, nodes };
        for number in 1..=count {
            cluster
                .folder
                .issue(&format!("node-{number}"), node_subject(&format!("node-{number}")));
            cluster.configure(number, if number == 1 { &[] } else { &[1] });
        }
        cluster
    }

    /// The same with fewer partitions, so that changes of the members take less time.
    pub(crate) fn prepare_small(count: usize) -> Self {
        Self { shift: 8, ..Self::prepare(count) }
    }

    /// Nodes that are one cluster and serve: the first one has founded it, the others have joined
    /// together.
    pub(crate) fn start(count: usize) -> Self {
        let mut cluster = Self::prepare(count);
        cluster.bring_up(count);
        cluster
    }

    /// Starts the first `count` nodes, and makes a cluster of them.
    pub(crate) fn bring_up(&mut self, count: usize) {
        let cluster = self;
        for number in 1..=count {
            cluster.launch(number);
        }
        let waiting: Vec<usize> = (2..=count).collect();
        wait_until("all wait to join", || {
            waiting.iter().all(|&number| cluster.phase(number) == "waiting")
        });
        if !waiting.is_empty() {
            cluster.join(&waiting).done();
        }
        cluster.wait_until_whole();
    }

    /// Writes a node's configuration with these nodes as its seeds.
    pub(crate) fn configure(&self, number: usize, seeds: &[usize]) {
        let seeds: Vec<String> =
            seeds.iter().map(|&seed| format!("'{}'", self.peer_address(seed))).collect();
        let port = self.peer_port(number);
        let yaml = format!(
            "node:\n  id: node-{number}\nstorage:\n  data_dir: data-{number}\nserver:\n  \
             event_loops: 2\n  api:\n    port: 0\n  peer:\n    port: {port}\n    seeds: [{}]\n  \
             tls:\n    certfile: node-{number}/server.crt\n    keyfile: node-{number}/server.key\n    \
             cafile: ca/ca.crt\n",
            seeds.join(", ")
        );
        self.folder.write(&format!("node-{number}.yaml"), yaml);
    }

    fn peer_port(&self, number: usize) -> u16 {
        self.first_port + u16::try_from(number).expect("small")
    }

    pub(crate) fn peer_address(&self, number: usize) -> String {
        format!("127.0.0.1:{}", self.peer_port(number))
    }

    /// The command that runs a node.
    pub(crate) fn command(&self, number: usize) -> Command {
        let mut command = self.folder.paravon(&["--config", &format!("node-{number}.yaml")]);
        command.env("PARAVON__PLACEMENT__SHIFT", self.shift.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Starts a node and waits until it listens.
    pub(crate) fn launch(&mut self, number: usize) {
        self.run(number, self.command(number));
    }

    /// Starts a node with this command and waits until it listens.
    pub(crate) fn run(&mut self, number: usize, command: Command) {
        self.nodes[number - 1] = Some(Node::launch(command));
    }

    /// Starts a node and waits until it serves.
    pub(crate) fn serve(&mut self, number: usize) {
        let node = Node::start(self.command(number));
        self.nodes[number - 1] = Some(node);
    }

    /// A node that runs.
    pub(crate) fn node(&self, number: usize) -> &Node {
        self.nodes[number - 1].as_ref().expect("it runs")
    }

    /// Takes a node that runs, to stop or kill it.
    pub(crate) fn take(&mut self, number: usize) -> Node {
        self.nodes[number - 1].take().expect("it runs")
    }

    /// Numbers of the nodes that run.
    fn running(&self) -> Vec<usize> {
        (1..=self.nodes.len()).filter(|&number| self.nodes[number - 1].is_some()).collect()
    }

    /// Runs `paractl` as `who` against the peer ports of these nodes.
    pub(crate) fn paractl(&self, who: &str, numbers: &[usize], arguments: &[&str]) -> Ran {
        self.write_paraconf("paraconf.yaml", who, numbers);
        self.folder.paractl(arguments)
    }

    /// Writes a configuration with which `paractl` talks to the peer ports of these nodes as `who`.
    fn write_paraconf(&self, file: &str, who: &str, numbers: &[usize]) {
        let addresses: Vec<String> =
            numbers.iter().map(|&number| format!("'{}'", self.peer_address(number))).collect();
        let yaml = format!(
            "current-context: test\ncontexts:\n  test:\n    server: nowhere:1\n    admin: [{}]\n    \
             tls:\n      ca: ca/ca.crt\n      cert: {who}/client.crt\n      key: {who}/client.key\n",
            addresses.join(", ")
        );
        self.folder.write(file, yaml);
    }

    /// Runs `paractl admin` as an administrator against the peer port of a node.
    pub(crate) fn admin(&self, number: usize, arguments: &[&str]) -> Ran {
        self.paractl("admin", &[number], &[&["admin"], arguments].concat())
    }

    /// The same as a command, to be run while others are.
    pub(crate) fn admin_command(&self, number: usize, arguments: &[&str]) -> Command {
        self.write_paraconf("aside.yaml", "admin", &[number]);
        self.folder.paractl_with("aside.yaml", &[&["admin"], arguments].concat())
    }

    /// The members as a node sees them, those that join or leave apart; none where a change is under way.
    pub(crate) fn settled_members(&self, number: usize) -> Option<Vec<String>> {
        let status = self.cluster_status(number);
        let members = status["members"].as_array().cloned().unwrap_or_default();
        let name = |member: &Json| member["node_id"].as_str().unwrap_or_default().to_owned();
        let is_open = |each: &Json| each["state"] == "pending" || each["state"] == "running";
        let waits = status["operations"].as_array().is_some_and(|all| all.iter().any(is_open));
        let is_settled = status["phase"] == "stable" && !waits;
        is_settled.then(|| members.iter().map(name).collect())
    }

    /// Waits until no change is under way, and the members are these, as a node sees them.
    pub(crate) fn wait_until_members(&self, number: usize, members: &[usize]) {
        let members: Vec<String> = members.iter().map(|other| format!("node-{other}")).collect();
        wait_until(&format!("the members are {members:?}"), || {
            let mut found = self.settled_members(number).unwrap_or_default();
            found.sort();
            found == members
        });
    }

    /// Waits until whatever was asked for has begun, as a node sees it. A small change may be over by then.
    pub(crate) fn wait_until_begun(&self, number: usize) {
        wait_until("a change begins", || {
            let status = self.cluster_status(number);
            let waits = |operation: &Json| operation["state"] == "pending";
            !status["operations"].as_array().is_some_and(|all| all.iter().any(waits))
        });
    }

    /// Waits until a change of the members that goes on for long has begun, as a node sees it.
    pub(crate) fn wait_until_joint(&self, number: usize) {
        wait_until("a change begins", || self.cluster_status(number)["phase"] == "joint");
    }

    /// Lets these nodes join together.
    pub(crate) fn join(&self, numbers: &[usize]) -> Ran {
        self.paractl("admin", numbers, &["admin", "join", "--wait"])
    }

    /// What a node says of itself, where it answers.
    pub(crate) fn try_status(&self, number: usize) -> Option<Json> {
        let ran = self.paractl("client", &[number], &["admin", "node-status", "-o", "json"]);
        (ran.code == 0).then(|| serde_json::from_slice(&ran.out).expect("JSON"))
    }

    /// How far a node has come into its cluster.
    pub(crate) fn phase(&self, number: usize) -> String {
        let status = self.try_status(number).unwrap_or_default();
        status["cluster_phase"].as_str().unwrap_or_default().to_owned()
    }

    /// The cluster as a node sees it.
    pub(crate) fn cluster_status(&self, number: usize) -> Json {
        let ran = self.paractl("client", &[number], &["admin", "cluster-status", "-o", "json"]);
        serde_json::from_str(&ran.done()).expect("JSON")
    }

    /// Waits until all nodes that run serve, and each of them reaches all of them and knows their time.
    pub(crate) fn wait_until_whole(&self) {
        let running = self.running();
        for &number in &running {
            wait_until("a node sees all the others", || {
                let status = self.cluster_status(number);
                let members = status["members"].as_array().cloned().unwrap_or_default();
                let sees = |&other: &usize| {
                    members.iter().any(|member| {
                        member["node_id"] == format!("node-{other}")
                            && member["state"] != "dead"
                            && member["linked"] == true
                            && (other == number || !member["clock_offset_ms"].is_null())
                    })
                };
                self.phase(number) == "serving" && running.iter().all(sees)
            });
        }
    }

    /// Hints that a node keeps, for all targets.
    pub(crate) fn hints(&self, number: usize) -> u64 {
        let status = self.try_status(number).expect("it answers");
        let handoff = status["handoff"].as_array().expect("a list");
        let number = |each: &Json, field: &str| each[field].as_u64().expect("a number");
        handoff.iter().map(|each| number(each, "count") + number(each, "dirty")).sum()
    }

    /// A client of a node.
    pub(crate) fn client(&self, number: usize) -> Raw {
        Raw::connect(&self.folder, "client", self.node(number).api)
    }
}
