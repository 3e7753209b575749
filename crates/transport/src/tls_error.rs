//! What can be wrong with certificates, keys and the lists around them, and how it is mended.
//!
//! **Never:** a message without the file it speaks of and the next step; never the content of a
//! key.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use paravon_model::InvalidNodeId;
use rustls::pki_types::pem;

use crate::identity::IdentityError;

/// Why certificates cannot be used or made. What was in use before stays in use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file is not there or may not be read. Mended by its path or its permissions.
    #[error(
        "cannot read {}: {source}; check the path and that this user may read it",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not in PEM form, or cut off.
    #[error(
        "{} is not valid PEM: {source}; copy it again or convert it with openssl",
        path.display()
    )]
    BadPem {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: pem::Error,
    },
    /// The file is PEM and has nothing of the kind that is looked for.
    #[error("{} holds no {what}; {}", path.display(), what.advice())]
    Absent {
        /// The file.
        path: PathBuf,
        /// What is looked for.
        what: Item,
    },
    /// The file's content cannot be decoded.
    #[error("{}: the {what} cannot be decoded; make it again with `paravon cert`", path.display())]
    Undecodable {
        /// The file.
        path: PathBuf,
        /// What was decoded.
        what: Item,
    },
    /// The certificate does not say who its owner is.
    #[error("{}: {source}; make it again with `paravon cert`", path.display())]
    Identity {
        /// The certificate.
        path: PathBuf,
        /// What is missing.
        source: IdentityError,
    },
    /// The key is of a kind that TLS 1.3 does not sign with.
    #[error(
        "the key in {} cannot be used: {source}; use an ECDSA P-256, Ed25519 or RSA key",
        path.display()
    )]
    UnusableKey {
        /// The key file.
        path: PathBuf,
        /// What the TLS library said.
        source: rustls::Error,
    },
    /// Certificate and key belong to different pairs.
    #[error(
        "the key in {} is not that of the certificate in {}; give the two files that were made \
         together",
        keyfile.display(),
        certfile.display()
    )]
    KeyMismatch {
        /// The certificate.
        certfile: PathBuf,
        /// The key.
        keyfile: PathBuf,
    },
    /// The certificate's time has not come, or this machine's clock is behind.
    #[error(
        "the certificate in {} is valid only from {}; check this machine's clock, or wait",
        path.display(),
        humantime::format_rfc3339_seconds(*not_before)
    )]
    NotYetValid {
        /// The certificate.
        path: PathBuf,
        /// When its time begins.
        not_before: SystemTime,
    },
    /// The certificate's time is over, or this machine's clock is ahead.
    #[error(
        "the certificate in {} expired at {}; make a new one with `paravon cert --force`, and \
         check this machine's clock",
        path.display(),
        humantime::format_rfc3339_seconds(*not_after)
    )]
    Expired {
        /// The certificate.
        path: PathBuf,
        /// When its time ended.
        not_after: SystemTime,
    },
    /// The file of certificate authorities holds a certificate that may not sign others.
    #[error(
        "{}: the certificate of {subject} is no certificate authority (basicConstraints CA and \
         keyCertSign); give the file made by `paravon cert ca`",
        path.display()
    )]
    NotAnAuthority {
        /// The file of certificate authorities.
        path: PathBuf,
        /// Whose certificate it is.
        subject: String,
    },
    /// No authority of the file signed the certificate.
    #[error(
        "the certificate in {} is not signed by the authority in {}; give the authority that \
         signed it, or make the certificate again",
        certfile.display(),
        cafile.display()
    )]
    UnknownIssuer {
        /// The certificate.
        certfile: PathBuf,
        /// The file of certificate authorities.
        cafile: PathBuf,
    },
    /// The certificate itself is on the revocation list.
    #[error(
        "the certificate in {} is revoked; make a new one with `paravon cert --force`",
        path.display()
    )]
    Revoked {
        /// The certificate.
        path: PathBuf,
    },
    /// The revocation list does not speak for the certificate's authority.
    #[error(
        "the revocation list {} is not signed by the authority in {}; give a list of each \
         authority",
        crlfile.display(),
        cafile.display()
    )]
    ForeignRevocationList {
        /// The revocation list.
        crlfile: PathBuf,
        /// The file of certificate authorities.
        cafile: PathBuf,
    },
    /// The certificate's extended key usage forbids to present it to a server.
    #[error(
        "the certificate in {} lacks the extended key usage clientAuth; make it again with \
         `paravon cert`",
        path.display()
    )]
    WrongPurpose {
        /// The certificate.
        path: PathBuf,
    },
    /// The TLS library refuses the certificate or revocation list for another reason.
    #[error("{} is refused: {source}; make it again", path.display())]
    Refused {
        /// The certificate or revocation list.
        path: PathBuf,
        /// What the TLS library said.
        source: rustls::Error,
    },
    /// The TLS library refuses what was validated: our bug.
    #[error("TLS cannot be set up: {source}; please report it")]
    Setup {
        /// What the TLS library said.
        source: rustls::Error,
    },
    /// A certificate or key is there already and stays.
    #[error("{} exists and is kept; pass --force to replace it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A certificate or key cannot be written.
    #[error("cannot write {}: {source}; check the directory and its permissions", path.display())]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name that no certificate can carry.
    #[error("{name:?} cannot be {purpose}")]
    InvalidName {
        /// The name.
        name: String,
        /// What it was to be, and the rule.
        purpose: NamePurpose,
    },
    /// The authority's certificate or key cannot sign.
    #[error(
        "cannot sign with the authority in {}: {source}; make one with `paravon cert ca`",
        path.display()
    )]
    UnusableAuthority {
        /// The authority's certificate or key.
        path: PathBuf,
        /// What the certificate library said.
        source: rcgen::Error,
    },
    /// The system gave no random numbers, or the certificate library failed.
    #[error(
        "cannot make a key or certificate: {source}; check that the system's random source works"
    )]
    Making {
        /// What the certificate library said.
        source: rcgen::Error,
    },
}

/// What a file is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A certificate.
    Certificate,
    /// A private key.
    PrivateKey,
    /// A list of revoked certificates.
    RevocationList,
}

/// What a name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamePurpose {
    /// The common name of a node: its `node.id`.
    Node(InvalidNodeId),
    /// The common name of a client or administrator.
    Client,
    /// A DNS name of a node.
    Dns,
}

impl Item {
    fn advice(self) -> &'static str {
        match self {
            Self::Certificate => {
                "it begins with -----BEGIN CERTIFICATE-----; check that paths are not mixed up"
            }
            Self::PrivateKey => {
                "it begins with -----BEGIN PRIVATE KEY-----; decrypt an encrypted key first"
            }
            Self::RevocationList => {
                "it begins with -----BEGIN X509 CRL-----; check that paths are not mixed up"
            }
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::PrivateKey => "private key",
            Self::RevocationList => "revocation list",
        })
    }
}

impl fmt::Display for NamePurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(reason) => write!(f, "a node id: {reason}"),
            Self::Client => f.write_str("a common name: give 1 to 64 printable characters"),
            Self::Dns => {
                f.write_str("a DNS name: give labels of letters, digits and '-', joined by dots")
            }
        }
    }
}
