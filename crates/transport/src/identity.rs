//! Who is at the other end, read from the certificate that the TLS handshake has verified.
//!
//! Semantics section 11 (`NO_STRANGER`). **Never:** verifies anything, and never believes what a
//! peer says of itself in a message: a node is what its certificate names, anyone else is a client.

use std::fmt;
use std::time::SystemTime;

use paravon_model::NodeId;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The organizational unit of the subject that makes an administrator.
pub(crate) const ADMINISTRATORS_UNIT: &str = "admin";

/// Longest common name, in characters: X.520's upper bound.
pub(crate) const MAX_COMMON_NAME_CHARS: usize = 64;

/// Whom a certificate names, and what it permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    common_name: String,
    role: Role,
    in_administrators_unit: bool,
    serial: Box<[u8]>,
    not_after_s: i64,
}

/// What its owner is to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A node: the certificate may serve (extended key usage serverAuth) and its common name is a
    /// node id.
    Node(NodeId),
    /// Anyone else.
    Client,
}

/// Why a certificate names nobody. The connection is refused; a new certificate mends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be decoded.
    #[error("the certificate cannot be decoded")]
    Undecodable,
    /// Its subject has no common name.
    #[error("the certificate's subject has no common name")]
    Nameless,
    /// Its subject has several, and which one counts would be a guess.
    #[error("the certificate's subject has more than one common name")]
    Ambiguous,
    /// Its common name is empty, too long, or not printable.
    #[error(
        "the certificate's common name is not 1 to {MAX_COMMON_NAME_CHARS} printable characters"
    )]
    Unprintable,
}

impl Identity {
    /// Whom `certificate`, the end-entity certificate of a verified chain, names.
    ///
    /// # Errors
    /// Says why it names nobody.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| IdentityError::Undecodable)?;
        let common_name = common_name(&parsed)?;
        let usage = parsed.extended_key_usage().map_err(|_| IdentityError::Undecodable)?;
        let serves = usage.is_some_and(|usage| usage.value.server_auth);
        let role = match NodeId::new(&common_name) {
            Ok(id) if serves => Role::Node(id),
            _ => Role::Client,
        };
        let mut units = parsed.subject().iter_organizational_unit();
        let in_administrators_unit =
            units.any(|unit| unit.as_str().is_ok_and(|unit| unit == ADMINISTRATORS_UNIT));
        let serial = parsed.raw_serial().into();
        let not_after_s = parsed.validity().not_after.timestamp();
        Ok(Self { common_name, role, in_administrators_unit, serial, not_after_s })
    }

    /// The common name of the subject.
    #[must_use]
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// Node or client.
    #[must_use]
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// The node's name, where it is a node.
    #[must_use]
    pub fn node_id(&self) -> Option<&NodeId> {
        match &self.role {
            Role::Node(id) => Some(id),
            Role::Client => None,
        }
    }

    /// Whether it may send administrative messages that change something: its subject says so, or
    /// its common name is one of `admins` (`security.admins`).
    #[must_use]
    pub fn is_administrator(&self, admins: &[String]) -> bool {
        self.in_administrators_unit || admins.contains(&self.common_name)
    }

    /// Whether the certificate has ended before `now`. A full handshake verifies that; a resumed one does
    /// not.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.as_secs()).is_ok_and(|now_s| self.not_after_s < now_s)
    }

    /// The certificate's serial number, big-endian: what a revocation list names.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Node(_) => "node",
            Role::Client => "client",
        };
        write!(f, "{role} {}", self.common_name)
    }
}

fn common_name(certificate: &X509Certificate<'_>) -> Result<String, IdentityError> {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next().ok_or(IdentityError::Nameless)?;
    if names.next().is_some() {
        return Err(IdentityError::Ambiguous);
    }
    let name = name.as_str().map_err(|_| IdentityError::Unprintable)?;
    if is_printable_name(name) { Ok(name.to_owned()) } else { Err(IdentityError::Unprintable) }
}

/// Whether `name` can stand in a certificate, a log line and a terminal.
pub(crate) fn is_printable_name(name: &str) -> bool {
    let length = name.chars().count();
    (1..=MAX_COMMON_NAME_CHARS).contains(&length) && !name.chars().any(char::is_control)
}
