//! What can go wrong, and the exit code that says so.
//!
//! **Never:** a message that does not name what failed, where, and what to do next.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use paravon_client::{ClientError, InvalidKey, Outcome};

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The configuration is not there or may not be read.
    #[error("cannot read the configuration {}: {source}; write it, or name another with --paraconf FILE or $PARACONF", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no home directory in which the configuration could lie.
    #[error(
        "$HOME is not set, so there is no ~/.para/paraconf.yaml; name a configuration with --paraconf FILE"
    )]
    NoHome,
    /// The configuration cannot be understood; `source` says the line.
    #[error("{}: {source}", path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_yaml::Error,
    },
    /// A key without a default is missing.
    #[error("{}: {key} is missing; add it", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The key with its sections.
        key: String,
    },
    /// The context that is asked for is not in the file.
    #[error("{}: there is no context {name}; {}", path.display(), choices(known))]
    NoContext {
        /// The file.
        path: PathBuf,
        /// The context asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The file names no current context, and neither did the caller.
    #[error("{}: no current-context is set; choose one with --context NAME or `paractl config use-context NAME`; {}", path.display(), choices(known))]
    NoCurrentContext {
        /// The file.
        path: PathBuf,
        /// The contexts that there are.
        known: Vec<String>,
    },
    /// The configuration cannot be written; the old one is still there.
    #[error("cannot write the configuration {}: {source}; it is unchanged", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file's form does not allow this edit; it is unchanged.
    #[error("{}: current-context cannot be changed in a file of this form; edit it by hand", path.display())]
    Uneditable {
        /// The file.
        path: PathBuf,
    },
    /// The value's file cannot be read.
    #[error("cannot read the value from {}: {source}", path.display())]
    ValueFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The value was said to be JSON and is not.
    #[error("VALUE is not JSON: {source}; leave out --json to store it as a string")]
    Json {
        /// Where it stops being JSON.
        source: serde_json::Error,
    },
    /// A whole number that MessagePack cannot hold.
    #[error(
        "VALUE is a whole number of more than 64 bits, which cannot be stored as a number; --string stores it as a string"
    )]
    TooBig,
    /// The value nests deeper than the protocol allows.
    #[error("VALUE nests deeper than {limit}, the protocol's limit; --file stores it as bytes")]
    TooDeep {
        /// The limit.
        limit: u32,
    },
    /// The key cannot be one.
    #[error("{0}")]
    Key(InvalidKey),
    /// The key is absent.
    #[error("{key} is absent")]
    Absent {
        /// The key, as typed.
        key: String,
    },
    /// A node did not come to where `--wait` would have it.
    #[error("{missing} after {after:?}; `admin node-status` and the nodes' logs say why")]
    NotSettled {
        /// What there was to wait for.
        missing: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// Something that loses data and that nobody has confirmed; nothing was done.
    #[error("{loses}, and there is no terminal to ask at; give --yes if you mean it")]
    Unconfirmed {
        /// What is lost.
        loses: String,
    },
    /// Whoever was asked did not say yes; nothing was done.
    #[error("nothing is done: {word} was not typed")]
    Declined {
        /// What would have been a yes.
        word: String,
    },
    /// There is nothing to give up; nothing was done.
    #[error(
        "none of the nodes that were asked has damage there; `admin node-status` shows what a node has"
    )]
    NothingDamaged,
    /// One node takes another's place, and several were named; nothing was done.
    #[error("one node takes a member's place: name its peer port alone with --server")]
    SeveralNewcomers,
    /// The change that was waited for was given up.
    #[error(
        "{what} was cancelled: by an administrator, or because a node was silent for too long; `admin cluster-status` shows what there is now"
    )]
    Cancelled {
        /// Which.
        what: String,
    },
    /// The server, or the way to it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The line cannot be read; clap has the whole message, with usage.
    #[error("{0}")]
    Usage(clap::Error),
    /// A quote in the shell's line is not closed.
    #[error("a quote is not closed, or a backslash ends the line; nothing was done")]
    Quotes,
    /// The terminal, or standard input or output.
    #[error("{what}: {source}")]
    Terminal {
        /// What could not be done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// What a process ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The key is absent.
    Absent = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The server refused, and nothing was stored.
    Refused = 3,
    /// No server could be reached, or a write may be stored.
    Unknown = 4,
}

impl Error {
    /// The exit code of a command that ended so.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Absent { .. } => Exit::Absent,
            Self::Client(error) => client_exit(error),
            Self::NotSettled { .. } => Exit::Unknown,
            Self::Cancelled { .. } | Self::NothingDamaged => Exit::Refused,
            _ => Exit::Usage,
        }
    }

    /// Whether the reader of our output has gone, which is success: he has seen what he wanted.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Terminal { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn client_exit(error: &ClientError) -> Exit {
    match error {
        ClientError::NoServers | ClientError::Address { .. } | ClientError::Certificate { .. } => {
            Exit::Usage
        }
        ClientError::ValueTooLarge { .. } => Exit::Refused,
        ClientError::Refused { outcome: Outcome::Refused, .. } => Exit::Refused,
        _ => Exit::Unknown,
    }
}

fn choices(known: &[String]) -> String {
    match known {
        [] => "the file defines none".to_owned(),
        known => format!("there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paravon_client::{Code, ServerAddress};

    fn refused(outcome: Outcome) -> Error {
        Error::Client(ClientError::Refused {
            server: ServerAddress::parse("a:1").unwrap(),
            code: Code::QuorumTimeout,
            message: String::new(),
            outcome,
            retry_after_ms: None,
        })
    }

    #[test]
    fn the_exit_code_tells_refused_from_unknown() {
        assert_eq!(refused(Outcome::Refused).exit(), Exit::Refused);
        assert_eq!(refused(Outcome::Unknown).exit(), Exit::Unknown);
        assert_eq!(Error::Client(ClientError::NoServers).exit(), Exit::Usage);
        assert_eq!(Error::Absent { key: "k".into() }.exit(), Exit::Absent);
        assert_eq!(Error::Quotes.exit(), Exit::Usage);
        let server = ServerAddress::parse("a:1").unwrap();
        let leaving = Error::Client(ClientError::Leaving { server });
        assert_eq!(leaving.exit(), Exit::Unknown);
    }
}
