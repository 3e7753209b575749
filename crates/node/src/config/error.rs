//! What can be wrong with a configuration, said so that its reader can mend it.
//!
//! **Never:** a message without the place (file and line, or the variable) and what would be right.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use paravon_model::InvalidNodeId;
use paravon_transport::TlsWarning;

/// Why a configuration cannot be used. The node has not started and nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is not there or may not be read. Mended by `--config` or the file's permissions.
    #[error(
        "cannot read the configuration {}: {source}; name another with --config FILE or \
         $PARANODECONFIG",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no YAML, or has a list or a section where one value belongs.
    #[error("{}: {source}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// What the parser said, with key, line and column.
        source: serde_yaml::Error,
    },
    /// A key that no version of the file has had.
    #[error("{origin}: unknown key {key}{}", suggestion(*nearest))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// The key with its sections, joined by dots.
        key: String,
        /// The known key that is nearest, where one is near.
        nearest: Option<&'static str>,
    },
    /// A key that is given twice; the file's author must choose.
    #[error("{origin}: {key} is given a second time; keep one of them")]
    Twice {
        /// Where the second one stands.
        origin: Origin,
        /// The key.
        key: &'static str,
    },
    /// A value of another type, or outside its range.
    #[error("{origin}: {key} is {found:?}; it must be {expected}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// The value, as written.
        found: String,
        /// What would be right.
        expected: Expected,
    },
    /// A key without a default is absent or empty.
    #[error("{}: {key} is missing; add it, or set {}", path.display(), super::load::variable(key))]
    Missing {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
    },
    /// Two values that are right alone and wrong together.
    #[error(
        "{}: {smaller} ({smaller_bytes} bytes) must be at least {larger} ({larger_bytes} bytes); \
         raise the first or lower the second",
        path.display()
    )]
    Order {
        /// The file.
        path: PathBuf,
        /// The key whose value is too small.
        smaller: &'static str,
        /// Its value, in bytes.
        smaller_bytes: usize,
        /// The key that it must reach.
        larger: &'static str,
        /// Its value, in bytes.
        larger_bytes: usize,
    },
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// In the environment.
    Environment {
        /// The name of the variable.
        variable: String,
    },
}

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A whole number in this range.
    Whole {
        /// The smallest.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// A number of bytes in this range.
    Bytes {
        /// The smallest.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// A time span in this range.
    Time {
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// A node id; says what broke the rule.
    NodeId(InvalidNodeId),
    /// An IP address or a host name.
    Host,
    /// `HOST:PORT`.
    Address,
    /// `HOST:PORT`, or `off`.
    AddressOrOff,
    /// A path that begins with `~` means the caller's home directory alone, and it is known.
    Path,
    /// The common name of a certificate.
    CommonName,
    /// One value, not a list.
    OneValue,
    /// Text in UTF-8.
    Unicode,
}

/// What is accepted, and yet not what its author meant. The caller shows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// A key of the Python program that has no effect here.
    #[error("{key} has no effect; it is accepted because files of the Python program have it")]
    NoEffect {
        /// The key.
        key: &'static str,
    },
    /// A key whose feature this version does not have.
    #[error("{key} has no effect in this version, which runs single nodes without metrics")]
    NotYet {
        /// The key.
        key: &'static str,
    },
    /// The certificates are usable and should be mended.
    #[error("server.tls: {source}")]
    Tls {
        /// What should be mended.
        source: TlsWarning,
    },
}

fn suggestion(nearest: Option<&'static str>) -> String {
    match nearest {
        Some(key) => format!("; did you mean {key}?"),
        None => String::from("; remove it, or see paranode.yaml for the keys that exist"),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneOf(words) => write!(f, "one of {}", words.join(", ")),
            Self::Whole { least, most } => write!(f, "a whole number from {least} to {most}"),
            Self::Bytes { least, most } => write!(
                f,
                "a size such as 256MiB, or a number of bytes, from {least} to {most} bytes"
            ),
            Self::Time { least, most } => write!(
                f,
                "a time such as 5s or 500ms, or a number of seconds, from {} to {}",
                humantime::format_duration(*least),
                humantime::format_duration(*most)
            ),
            Self::NodeId(reason) => {
                write!(f, "a name of letters, digits, '.', '_' and '-': {reason}")
            }
            Self::Host => f.write_str("an IP address or a host name, without a port"),
            Self::Address => f.write_str("HOST:PORT with a port from 1 to 65535, [IPv6]:PORT"),
            Self::AddressOrOff => f.write_str("HOST:PORT with a port from 1 to 65535, or off"),
            Self::Path => f.write_str("a path; ~/ needs $HOME, and ~user is not supported"),
            Self::CommonName => f.write_str("the common name of a certificate, not empty"),
            Self::OneValue => f.write_str("one value, not a list"),
            Self::Unicode => f.write_str("text in UTF-8"),
        }
    }
}
