//! What `paravon check-config` finds: everything that can be known about a configuration without a
//! start.
//!
//! **Never:** changes anything, binds a port or asks the network; and never stops at the first
//! problem.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use paravon_model::NodeId;
use paravon_transport::{Credentials, TlsError};

use super::address::{Address, Host};
use super::error::Warning;
use super::settings::Config;
use crate::error::StartError;

/// What is wrong and what is doubtful with a configuration.
#[derive(Debug, Default)]
pub struct Report {
    /// With any of these the node would not start, or not work.
    pub problems: Vec<Problem>,
    /// What works and should be mended.
    pub warnings: Vec<Warning>,
}

/// Why a configuration whose values are right alone would not work. Mended in the file or beside
/// it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The certificates cannot be used.
    #[error("server.tls: {source}")]
    Tls {
        /// Which file, why, and what to do.
        source: TlsError,
    },
    /// The certificate is that of a client.
    #[error(
        "server.tls.certfile: the certificate in {} is not that of a node: it needs the extended \
         key usage serverAuth; make one with `paravon cert server`",
        certfile.display()
    )]
    NotOfANode {
        /// The certificate.
        certfile: PathBuf,
    },
    /// The certificate names another node.
    #[error(
        "node.id is {node_id} and the certificate in {} names {certificate}; change node.id or \
         give the certificate of {node_id}",
        certfile.display()
    )]
    OtherNode {
        /// `node.id`.
        node_id: NodeId,
        /// The common name of the certificate.
        certificate: NodeId,
        /// The certificate.
        certfile: PathBuf,
    },
    /// Administrators will refuse the certificate, because it does not carry what they connect to.
    #[error(
        "the certificate in {} is not valid for {advertised}, which other nodes connect to; \
         change server.peer.listener, or make it again with `paravon cert server` and that name \
         or address",
        certfile.display()
    )]
    NotValidFor {
        /// The host of `server.peer.listener`, or `server.peer.host`.
        advertised: Host,
        /// The certificate.
        certfile: PathBuf,
    },
    /// Other nodes are told to connect to an address that means every machine.
    #[error(
        "server.peer.host is {host}, which other nodes cannot connect to; set \
         server.peer.listener to HOST:PORT as they see it"
    )]
    Unreachable {
        /// What they are told.
        host: Host,
    },
    /// Two services cannot listen in the same place.
    #[error("{first} and {second} are both {address}; give them different ports")]
    SamePort {
        /// The one.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// Where both listen.
        address: Address,
    },
    /// The data directory cannot be used or made.
    #[error(
        "storage.data_dir {}: {source} at {}; make it, or give one that this user may write",
        data_dir.display(),
        at.display()
    )]
    DataDir {
        /// The directory.
        data_dir: PathBuf,
        /// The directory itself, or the nearest one above it that is there.
        at: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Config {
    /// Everything that can be validated as of `now` without starting, certificates included.
    #[must_use]
    pub fn check(&self, now: SystemTime) -> Report {
        let mut report = Report { warnings: self.without_effect(), ..Report::default() };
        self.check_certificates(now, &mut report);
        self.check_ports(&mut report.problems);
        report.problems.extend(writable(&self.storage.data_dir).err());
        report
    }

    /// What is asked for and cannot be had yet.
    fn without_effect(&self) -> Vec<Warning> {
        let asked_for = [("server.metrics", self.server.metrics.is_some())];
        let asked_for = asked_for.into_iter().filter(|(_, asked_for)| *asked_for);
        asked_for.map(|(key, _)| Warning::NotYet { key }).collect()
    }

    /// The certificates as of `now`, where they can be used and are this node's.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub(crate) fn credentials(&self, now: SystemTime) -> Result<Credentials, StartError> {
        let mut report = Report::default();
        match self.check_certificates(now, &mut report) {
            Some(credentials) if report.problems.is_empty() => Ok(credentials),
            _ => Err(StartError::Configuration { problems: report.problems }),
        }
    }

    fn check_certificates(&self, now: SystemTime, report: &mut Report) -> Option<Credentials> {
        let credentials = match Credentials::load(&self.server.tls, now) {
            Ok(credentials) => credentials,
            Err(source) => {
                report.problems.push(Problem::Tls { source });
                return None;
            }
        };
        let warnings = credentials.warnings().iter().cloned();
        report.warnings.extend(warnings.map(|source| Warning::Tls { source }));
        let certfile = || self.server.tls.certfile.clone();
        match credentials.identity().node_id() {
            None => report.problems.push(Problem::NotOfANode { certfile: certfile() }),
            Some(named) if *named != self.node.id => report.problems.push(Problem::OtherNode {
                node_id: self.node.id.clone(),
                certificate: named.clone(),
                certfile: certfile(),
            }),
            Some(_) => {}
        }
        let advertised = self.server.peer.advertised(self.server.peer.bind.port).host;
        if !advertised.is_unspecified() && !credentials.is_valid_for(advertised.as_str()) {
            report.problems.push(Problem::NotValidFor { advertised, certfile: certfile() });
        }
        Some(credentials)
    }

    fn check_ports(&self, problems: &mut Vec<Problem>) {
        let peer = &self.server.peer;
        let advertised = peer.advertised(peer.bind.port).host;
        if advertised.is_unspecified() {
            problems.push(Problem::Unreachable { host: advertised });
        }
        let mut bound = vec![("server.api", &self.server.api.bind), ("server.peer", &peer.bind)];
        bound.extend(self.server.metrics.iter().map(|address| ("server.metrics", address)));
        for (index, &(first, address)) in bound.iter().enumerate() {
            for &(second, other) in &bound[index + 1..] {
                if collide(address, other) {
                    let address = address.clone();
                    problems.push(Problem::SamePort { first, second, address });
                }
            }
        }
    }
}

/// Whether the second of the two cannot be bound after the first.
fn collide(one: &Address, other: &Address) -> bool {
    let everywhere = one.host.is_unspecified() || other.host.is_unspecified();
    one.port == other.port && one.port != 0 && (everywhere || one.host == other.host)
}

/// Whether `directory` can be written to, or be made.
fn writable(directory: &Path) -> Result<(), Problem> {
    let mut at = directory;
    let found = loop {
        match (at.metadata(), at.parent()) {
            (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => at = parent,
            (found, _) => break found,
        }
    };
    let wrong = |source| {
        let (data_dir, at) = (directory.to_owned(), at.to_owned());
        Problem::DataDir { data_dir, at, source }
    };
    if !found.map_err(wrong)?.is_dir() {
        return Err(wrong(io::ErrorKind::NotADirectory.into()));
    }
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    rustix::fs::access(at, access).map_err(|error| wrong(error.into()))
}
