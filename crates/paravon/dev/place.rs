//! The folder of a throwaway cluster: certificates, configurations, and where each node keeps its data.
//!
//! **Never:** writes over certificates or data, or removes a folder without the mark.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use paravon_transport::issue::{Authority, Subject};
use paravon_transport::{Existing, TlsError, TlsFiles};

use super::configuration;
use super::mark::{self, Mark};
use crate::Failure;
use crate::args::DevArgs;

/// How far a node's peer port is above its client port.
const PEER_OFFSET: u16 = 4000;

/// The client port of the first node where neither the caller nor the folder says one.
const BASE_PORT: u16 = 2000;

/// The folder, by its absolute path so that printed commands work anywhere, and what is wanted of it.
pub(super) struct Place {
    dir: PathBuf,
    /// Nodes wanted.
    count: u16,
    base_port: u16,
    /// What the folder remembers; none where it is to be made, or made anew.
    mark: Option<Mark>,
    /// Whether what an earlier run left is to be removed first.
    clean: bool,
    /// What the folder remembers, also where it is to be removed: its nodes may still run.
    former: Option<Mark>,
}

/// One node of a place.
pub(super) struct Node<'a> {
    place: &'a Place,
    /// From 1.
    number: u16,
}

impl Place {
    /// The place that `args` and the folder itself name. Changes nothing yet.
    pub(super) fn new(args: &DevArgs) -> Result<Self, Failure> {
        let dir = std::path::absolute(&args.dir).map_err(|error| failed(&args.dir, &error))?;
        let mark = Mark::read(&dir).map_err(|error| failed(&dir, &error))?;
        if mark.is_none() && !is_free(&dir).map_err(|error| failed(&dir, &error))? {
            return Err(Failure::Usage(format!(
                "{} was not made by `paravon dev` and is not empty, so it is left alone; \
                 give another --dir",
                dir.display()
            )));
        }
        let (former, mark) = (mark, mark.filter(|_| !args.clean));
        let place = Self {
            count: args.nodes.or(mark.map(|mark| mark.nodes)).unwrap_or(1),
            base_port: args.base_port.or(mark.and_then(|mark| mark.base_port)).unwrap_or(BASE_PORT),
            dir,
            mark,
            clean: args.clean,
            former,
        };
        place.refuse_another_cluster()?;
        Ok(place)
    }

    /// The cluster of an earlier run goes on as it is, or with more nodes.
    fn refuse_another_cluster(&self) -> Result<(), Failure> {
        let Some(Mark { nodes, base_port }) = self.mark else { return Ok(()) };
        let dir = self.dir.display();
        if self.count < nodes {
            return Err(Failure::Usage(format!(
                "{dir} holds a cluster of {nodes} nodes, and nodes cannot leave it yet; \
                 give --nodes {nodes}, or --clean to begin anew without its data"
            )));
        }
        match base_port {
            // A single node is known to nobody by its ports.
            Some(port) if port != self.base_port && self.count > 1 => Err(Failure::Usage(format!(
                "the nodes in {dir} know each other by base port {port}; \
                     give --base-port {port}, or --clean to begin anew without its data"
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// How many nodes.
    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// The nodes, the founder first.
    pub(super) fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        (1..=self.count).map(|number| Node { place: self, number })
    }

    /// The configuration of clients.
    pub(super) fn paraconf(&self) -> PathBuf {
        self.dir.join("paraconf.yaml")
    }

    /// The certificate of the administrator.
    pub(super) fn administrator(&self) -> TlsFiles {
        let admin = self.dir.join("admin");
        TlsFiles {
            certfile: admin.join("client.crt"),
            keyfile: admin.join("client.key"),
            cafile: self.authority().join("ca.crt"),
            crlfile: None,
        }
    }

    /// The folder of the certificate authority.
    pub(super) fn authority(&self) -> PathBuf {
        self.dir.join("ca")
    }

    /// The children would find out too, but only here is it known which option helps.
    pub(super) fn refuse_taken_ports(&self) -> Result<(), Failure> {
        let own = self.nodes().map(|node| node.api_port());
        let former = self.former.iter().flat_map(|mark| {
            let base_port = mark.base_port.unwrap_or(BASE_PORT);
            (0..mark.nodes).map(move |index| base_port + index)
        });
        for port in own.chain(former).flat_map(|api| [api, api + PEER_OFFSET]) {
            if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                return Err(Failure::Node(format!(
                    "port {port} cannot be used: {error}; stop what has it or give another --base-port"
                )));
            }
        }
        Ok(())
    }

    /// Makes what is missing.
    pub(super) fn prepare(&self) -> Result<(), Failure> {
        let at = |path: PathBuf| move |error: io::Error| failed(&path, &error);
        if self.clean && self.dir.exists() {
            fs::remove_dir_all(&self.dir).map_err(at(self.dir.clone()))?;
        }
        fs::create_dir_all(&self.dir).map_err(at(self.dir.clone()))?;
        // First, so that --clean may remove what follows. Further nodes belong to the cluster only once
        // they have joined.
        if self.mark.is_none() {
            let mark = Mark { nodes: 1, base_port: Some(self.base_port) };
            mark.write(&self.dir).map_err(at(self.dir.join(mark::NAME)))?;
        }
        for node in self.nodes() {
            fs::create_dir_all(node.dir()).map_err(at(node.dir()))?;
        }
        self.certificates().map_err(|error| Failure::Usage(error.to_string()))?;
        for node in self.nodes() {
            let file = node.configuration();
            fs::write(&file, configuration::of_node(self, &node)).map_err(at(file))?;
        }
        fs::write(self.paraconf(), configuration::of_clients(self)).map_err(at(self.paraconf()))
    }

    /// Writes down how many nodes the cluster has now.
    pub(super) fn remember(&self) -> Result<(), Failure> {
        let base_port = self.mark.and_then(|mark| mark.base_port).unwrap_or(self.base_port);
        let mark = Mark { nodes: self.count, base_port: Some(base_port) };
        mark.write(&self.dir).map_err(|error| failed(&self.dir.join(mark::NAME), &error))
    }

    fn certificates(&self) -> Result<(), TlsError> {
        let (ca, now) = (self.authority(), SystemTime::now());
        if !ca.join("ca.crt").exists() {
            Authority::make(now)?.write(&ca, Existing::Replace)?;
        }
        let authority = Authority::read(&ca)?;
        let issue = |dir: &Path, file: &str, subject: Subject<'_>| {
            if dir.join(file).exists() {
                return Ok(());
            }
            authority.issue(subject, now)?.write(dir, Existing::Replace).map(drop)
        };
        let dns = ["localhost".to_owned()];
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        for node in self.nodes() {
            let name = node.name();
            let server = Subject::Server { name: &name, dns: &dns, addresses: &addresses };
            issue(&node.dir(), "server.crt", server)?;
        }
        issue(&self.dir.join("admin"), "client.crt", Subject::Admin { name: "dev-admin" })
    }
}

impl Node<'_> {
    /// Its name: that of its folder and its certificate.
    pub(super) fn name(&self) -> String {
        format!("node-{}", self.number)
    }

    /// Its folder.
    pub(super) fn dir(&self) -> PathBuf {
        self.place.dir.join(self.name())
    }

    /// Its configuration.
    pub(super) fn configuration(&self) -> PathBuf {
        self.dir().join("paranode.yaml")
    }

    pub(super) fn api_port(&self) -> u16 {
        self.place.base_port + self.number - 1
    }

    pub(super) fn peer_port(&self) -> u16 {
        self.api_port() + PEER_OFFSET
    }

    /// Where it serves clients.
    pub(super) fn api(&self) -> String {
        format!("127.0.0.1:{}", self.api_port())
    }

    /// Where it serves peers and administrators.
    pub(super) fn peer(&self) -> String {
        format!("127.0.0.1:{}", self.peer_port())
    }

    /// The first node founds the cluster; the others ask it.
    pub(super) fn seeds(&self) -> Vec<String> {
        let founder = self.place.nodes().take(usize::from(self.number > 1));
        founder.map(|node| node.peer()).collect()
    }
}

/// Whether a folder can be made here, or is there and empty.
fn is_free(dir: &Path) -> io::Result<bool> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::Usage(format!("{}: {error}; give another --dir", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(dir: &Path) -> DevArgs {
        DevArgs { nodes: None, dir: dir.to_owned(), base_port: None, clean: false }
    }

    fn refused(args: &DevArgs) -> String {
        match Place::new(args) {
            Err(Failure::Usage(text)) => text,
            Err(Failure::Node(text)) => panic!("{text}"),
            Ok(_) => panic!("it was not refused"),
        }
    }

    #[test]
    fn a_folder_goes_on_with_its_cluster_and_grows_and_never_shrinks() {
        let dir = tempfile::tempdir().expect("a folder");
        let mark = Mark { nodes: 3, base_port: Some(2100) };
        mark.write(dir.path()).expect("written");
        let of = |args: &DevArgs| Place::new(args).map(|place| (place.count, place.base_port)).ok();
        let plain = args(dir.path());
        assert_eq!(of(&plain), Some((3, 2100)));
        assert_eq!(of(&DevArgs { nodes: Some(5), ..args(dir.path()) }), Some((5, 2100)));
        assert_eq!(of(&DevArgs { clean: true, ..args(dir.path()) }), Some((1, 2000)));
        let fewer = refused(&DevArgs { nodes: Some(1), ..args(dir.path()) });
        assert!(fewer.contains("a cluster of 3 nodes") && fewer.contains("--clean"), "{fewer}");
        let elsewhere = refused(&DevArgs { base_port: Some(2000), ..args(dir.path()) });
        assert!(elsewhere.contains("--base-port 2100"), "{elsewhere}");
    }

    #[test]
    fn a_folder_that_holds_something_else_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("file"), "precious").expect("written");
        for clean in [false, true] {
            let refused = refused(&DevArgs { clean, ..args(dir.path()) });
            assert!(refused.contains("was not made by `paravon dev`"), "{refused}");
        }
    }
}
