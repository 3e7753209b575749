//! Why a node did not start, or did not stop in order.

use std::fmt;
use std::io;

use paravon_model::NodeId;
use paravon_transport::TlsError;

use crate::config::Problem;

/// Why a node did not start. Nothing that was acknowledged is touched; a data directory may have been
/// founded or opened before the error was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Certificate, key or authority cannot be used. Mended by the operator.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The data directory cannot be used; the text says how to mend it.
    #[error(transparent)]
    Storage(#[from] paravon_storage::Error),
    /// What the configuration names does not fit together.
    #[error("{}", Lines(problems))]
    Configuration {
        /// All that is wrong.
        problems: Vec<Problem>,
    },
    /// The data directory is another node's.
    #[error(
        "storage.data_dir {} belongs to node '{owner}', not to '{configured}'; give this node a directory of its own or set node.id back",
        path.display()
    )]
    OtherNode {
        /// The data directory.
        path: std::path::PathBuf,
        /// Whose it is.
        owner: NodeId,
        /// The configured node id.
        configured: NodeId,
    },
    /// The node's document in the data directory has an unknown form.
    #[error("the data directory was written by a newer version of paravon; start that version")]
    UnknownDocument,
    /// A host name has no address.
    #[error("{key} '{host}' has no address: {source}; give an address of this machine")]
    Resolve {
        /// The configuration key.
        key: &'static str,
        /// The configured host.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// A port cannot be listened on.
    #[error("cannot listen on {address} ({key}): {source}; {advice}")]
    Listen {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// What the system says.
        source: io::Error,
        /// What to do about it.
        advice: &'static str,
    },
    /// The system gives no thread, or no event queue.
    #[error("cannot start {what}: {source}; raise the limits of processes and open files")]
    System {
        /// What could not be started.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// One problem a line.
struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl StartError {
    /// The error of a port, with advice that fits.
    pub(crate) fn listen(
        key: &'static str,
        address: std::net::SocketAddr,
        source: io::Error,
    ) -> Self {
        let advice = match source.kind() {
            io::ErrorKind::AddrInUse => {
                "another process has the port: stop it or choose another port"
            }
            io::ErrorKind::AddrNotAvailable => "give an address of this machine",
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need a privilege: choose a higher one"
            }
            _ => "check the address",
        };
        Self::Listen { key, address, source, advice }
    }
}
