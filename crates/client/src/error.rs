//! Why a request was not done, where, and what that leaves behind.
//!
//! **Never:** an error of a write that does not say whether the write may be stored.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use paravon_model::Outcome;
use paravon_protocol::{Code, DecodeError, TooLarge};
use paravon_transport::TlsError;

use crate::address::ServerAddress;

/// Why a request was not done. After retries it is the last attempt's error.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The options list no server. Mended by the caller.
    #[error("no server is given; name at least one HOST:PORT")]
    NoServers,
    /// A server's address cannot be one. Mended by the caller.
    #[error("{text:?} is no server address; write HOST:PORT, or [IPv6]:PORT")]
    Address {
        /// What was given.
        text: String,
    },
    /// The certificate, key or authority cannot be used. Mended by the caller.
    #[error("{source}")]
    Certificate {
        /// Which file, and what is wrong with it.
        source: Arc<TlsError>,
    },
    /// The value is longer than the server takes; nothing was sent. Mended by the caller.
    #[error(
        "the value has {bytes} bytes and {server} takes {limit}; split it, or raise server.max_message_size there"
    )]
    ValueTooLarge {
        /// The server.
        server: ServerAddress,
        /// The value's length.
        bytes: usize,
        /// The longest that the server takes.
        limit: u64,
    },
    /// The server's name has no address; nothing was sent.
    #[error("cannot resolve {server}: {source}; check the name")]
    Resolve {
        /// The server.
        server: ServerAddress,
        /// What the resolver said.
        source: Arc<io::Error>,
    },
    /// Nobody answers at the server's address; nothing was sent.
    #[error("cannot connect to {server}: {source}; check the address and that the node runs")]
    Connect {
        /// The server.
        server: ServerAddress,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// TLS or `hello` failed; nothing was sent. Mended by certificates that both sides trust.
    #[error("no secure connection to {server}: {source}; check the certificates of both sides")]
    Handshake {
        /// The server.
        server: ServerAddress,
        /// What TLS said.
        source: Arc<io::Error>,
    },
    /// Connecting took too long; nothing was sent.
    #[error(
        "{server} did not accept a connection within {after:?}; check the address, the network and that the node runs"
    )]
    ConnectTimeout {
        /// The server.
        server: ServerAddress,
        /// How long the client waited.
        after: Duration,
    },
    /// The server speaks another version of the protocol; nothing was sent.
    #[error(
        "{server} speaks version {version} of the protocol, which this client does not; use a client of its version"
    )]
    Unsupported {
        /// The server.
        server: ServerAddress,
        /// The version that it speaks.
        version: u32,
    },
    /// The server answered that it did not do it.
    #[error("{server} refused ({code}): {message}")]
    Refused {
        /// The server.
        server: ServerAddress,
        /// Why, for programs.
        code: Code,
        /// Why, for people, and what to do.
        message: String,
        /// Whether a write may be stored all the same.
        outcome: Outcome,
        /// When to try again, in milliseconds, where the server said so.
        retry_after_ms: Option<u64>,
    },
    /// The server asked its clients to connect elsewhere before this request was sent.
    #[error("{server} is leaving service; try again, or use another node")]
    Leaving {
        /// The server.
        server: ServerAddress,
    },
    /// The connection broke before the answer.
    #[error("the connection to {server} broke: {source}; {}", after_break(*outcome))]
    Lost {
        /// The server.
        server: ServerAddress,
        /// `Refused` where the request had not been sent in full.
        outcome: Outcome,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The server sent what is no answer; the connection is closed.
    #[error("{server} sent what is no Paravon message: {source}; {}", after_break(*outcome))]
    Garbage {
        /// The server.
        server: ServerAddress,
        /// `Refused` where the request had not been sent in full.
        outcome: Outcome,
        /// What is wrong with it.
        source: Violation,
    },
    /// No answer came before the deadline.
    #[error("{server} did not answer within {after:?}; {}", after_break(*outcome))]
    Deadline {
        /// The server that was asked last.
        server: ServerAddress,
        /// The whole time that the request was given.
        after: Duration,
        /// `Refused` where the request had not been sent.
        outcome: Outcome,
    },
}

/// What a server sent that the protocol does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A frame longer than any answer.
    #[error(transparent)]
    Frame(#[from] TooLarge),
    /// A message that cannot be read.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// An answer to a request that was not sent.
    #[error("an answer without a request")]
    NoRequest,
    /// A message of a type that no server sends.
    #[error("a message of unknown type")]
    UnknownType,
    /// An answer that lacks what was asked for.
    #[error("an answer without its fields")]
    Incomplete,
}

impl ClientError {
    /// Whether a write that ended so may be stored. `Refused` means that nothing was stored, and that
    /// sending the same again is safe.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Refused { outcome, .. }
            | Self::Lost { outcome, .. }
            | Self::Garbage { outcome, .. }
            | Self::Deadline { outcome, .. } => *outcome,
            Self::NoServers
            | Self::Address { .. }
            | Self::Certificate { .. }
            | Self::ValueTooLarge { .. }
            | Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Handshake { .. }
            | Self::ConnectTimeout { .. }
            | Self::Unsupported { .. }
            | Self::Leaving { .. } => Outcome::Refused,
        }
    }

    /// The server that was asked last; none where none was.
    #[must_use]
    pub fn server(&self) -> Option<&ServerAddress> {
        match self {
            Self::NoServers | Self::Address { .. } | Self::Certificate { .. } => None,
            Self::ValueTooLarge { server, .. }
            | Self::Resolve { server, .. }
            | Self::Connect { server, .. }
            | Self::Handshake { server, .. }
            | Self::ConnectTimeout { server, .. }
            | Self::Unsupported { server, .. }
            | Self::Refused { server, .. }
            | Self::Leaving { server }
            | Self::Lost { server, .. }
            | Self::Garbage { server, .. }
            | Self::Deadline { server, .. } => Some(server),
        }
    }
}

fn after_break(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Refused => "nothing was sent, so try again",
        Outcome::Unknown => "if it was a write, it may be stored: read the key before trying again",
    }
}
