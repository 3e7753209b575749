//! Makes certificates: an authority, and what it signs for nodes, clients and administrators.
//!
//! The same files in the same places as `scripts/generate-cert.sh`. They pass strict X.509 checks
//! (RFC 5280 as OpenSSL's `-x509_strict` and Python 3.13 apply it). **Never:** a key that anyone
//! but its owner can read, a serial number that repeats, a file replaced without being asked.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use paravon_model::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::DnsName;

use crate::identity::{ADMINISTRATORS_UNIT, is_printable_name};
use crate::pem_file::{self, Existing};
use crate::random::random_bytes;
use crate::tls_error::{NamePurpose, TlsError};

/// How long an authority signs: ten years.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);

/// How long what it signs is valid: the longest that common verifiers accept.
const LEAF_LIFETIME: Duration = Duration::from_secs(825 * 24 * 3600);

/// Certificates begin this long ago, for machines whose clocks are behind.
const BACKDATED: Duration = Duration::from_secs(3600);

/// A certificate and its private key, not yet written.
pub struct Issued {
    certificate_pem: String,
    key: KeyPair,
    stem: &'static str,
}

/// A certificate authority that can sign.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

/// Where a pair was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key, mode 0600.
    pub key: PathBuf,
}

/// Whom a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A node: it serves, and connects to other nodes.
    Server {
        /// Its `node.id`, also a name that it can be reached by.
        name: &'a str,
        /// Further DNS names.
        dns: &'a [String],
        /// Its addresses.
        addresses: &'a [IpAddr],
    },
    /// A client.
    Client {
        /// Its common name.
        name: &'a str,
    },
    /// A client that may administer the cluster.
    Admin {
        /// Its common name.
        name: &'a str,
    },
}

impl Authority {
    /// A new authority's certificate and key, valid from about `now`.
    ///
    /// # Errors
    /// [`TlsError::Making`], when the system gives no random numbers.
    pub fn make(now: SystemTime) -> Result<Issued, TlsError> {
        // A name of its own: an authority and its successor must be told apart, in revocation lists
        // too.
        let name = format!("Paravon CA {:08x}", u32::from_be_bytes(random_bytes()));
        let mut params = parameters(&name, now, AUTHORITY_LIFETIME);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(making)?;
        let certificate_pem = params.self_signed(&key).map_err(making)?.pem();
        Ok(Issued { certificate_pem, key, stem: "ca" })
    }

    /// The authority whose `ca.crt` and `ca.key` lie in `directory`.
    ///
    /// # Errors
    /// Names the file that cannot be read or cannot sign.
    pub fn read(directory: &Path) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            let unreadable = |source| TlsError::Unreadable { path: path.to_owned(), source };
            fs::read_to_string(path).map_err(unreadable)
        };
        let (certificate, key) = (directory.join("ca.crt"), directory.join("ca.key"));
        let unusable = |path: &Path| {
            let path = path.to_owned();
            |source| TlsError::UnusableAuthority { path, source }
        };
        let pair = KeyPair::from_pem(&read(&key)?).map_err(unusable(&key))?;
        let issuer = Issuer::from_ca_cert_pem(&read(&certificate)?, pair);
        Ok(Self { issuer: issuer.map_err(unusable(&certificate))? })
    }

    /// Signs a certificate for `subject` with a new key, valid from about `now`.
    ///
    /// # Errors
    /// [`TlsError::InvalidName`] names the name that cannot be used.
    pub fn issue(&self, subject: Subject<'_>, now: SystemTime) -> Result<Issued, TlsError> {
        subject.check()?;
        let mut params = parameters(subject.name(), now, LEAF_LIFETIME);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        match subject {
            Subject::Server { name, dns, addresses } => {
                params.extended_key_usages.insert(0, ExtendedKeyUsagePurpose::ServerAuth);
                params.subject_alt_names = alternative_names(name, dns, addresses)?;
            }
            Subject::Admin { .. } => {
                params.distinguished_name.push(DnType::OrganizationalUnitName, ADMINISTRATORS_UNIT);
            }
            Subject::Client { .. } => {}
        }
        let key = KeyPair::generate().map_err(making)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(making)?;
        Ok(Issued { certificate_pem: certificate.pem(), key, stem: subject.stem() })
    }
}

impl Issued {
    /// The certificate, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Writes `ca`, `server` or `client` with `.crt` and `.key` into `directory`, which is made
    /// where it is not there. The key is written first, readable by its owner alone.
    ///
    /// # Errors
    /// [`TlsError::Exists`] where one of the two is there and is to be kept: then neither is
    /// touched.
    pub fn write(&self, directory: &Path, existing: Existing) -> Result<Written, TlsError> {
        let certificate = directory.join(format!("{}.crt", self.stem));
        let key = directory.join(format!("{}.key", self.stem));
        if existing == Existing::Keep {
            for path in [&certificate, &key] {
                pem_file::refuse_existing(path)?;
            }
        }
        pem_file::make_directory(directory)?;
        pem_file::write(&key, &self.key.serialize_pem(), pem_file::OWNER_ONLY, existing)?;
        pem_file::write(&certificate, &self.certificate_pem, pem_file::PUBLIC, existing)?;
        Ok(Written { certificate, key })
    }
}

impl<'a> Subject<'a> {
    fn name(self) -> &'a str {
        match self {
            Self::Server { name, .. } | Self::Client { name } | Self::Admin { name } => name,
        }
    }

    /// What its files are called.
    fn stem(self) -> &'static str {
        match self {
            Self::Server { .. } => "server",
            Self::Client { .. } | Self::Admin { .. } => "client",
        }
    }

    fn check(self) -> Result<(), TlsError> {
        let invalid = |purpose| TlsError::InvalidName { name: self.name().to_owned(), purpose };
        if let Self::Server { name, .. } = self {
            return NodeId::new(name).map(drop).map_err(|why| invalid(NamePurpose::Node(why)));
        }
        if is_printable_name(self.name()) { Ok(()) } else { Err(invalid(NamePurpose::Client)) }
    }
}

/// What every certificate has in common.
fn parameters(name: &str, now: SystemTime, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + lifetime).into();
    params.serial_number = Some(random_serial());
    params
}

/// A positive number with 126 random bits: an authority keeps no count of what it has signed.
fn random_serial() -> SerialNumber {
    let mut bytes = random_bytes::<16>();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn alternative_names(
    name: &str,
    dns: &[String],
    addresses: &[IpAddr],
) -> Result<Vec<SanType>, TlsError> {
    let as_dns = |name: &str| {
        let invalid = || TlsError::InvalidName { name: name.to_owned(), purpose: NamePurpose::Dns };
        name.try_into().map(SanType::DnsName).map_err(|_| invalid())
    };
    let mut names = vec![as_dns(name)?];
    for other in dns.iter().filter(|other| *other != name) {
        let plain = other.strip_prefix("*.").unwrap_or(other);
        if DnsName::try_from(plain).is_err() {
            let purpose = NamePurpose::Dns;
            return Err(TlsError::InvalidName { name: other.clone(), purpose });
        }
        names.push(as_dns(other)?);
    }
    names.extend(addresses.iter().copied().map(SanType::IpAddress));
    Ok(names)
}

fn making(source: rcgen::Error) -> TlsError {
    TlsError::Making { source }
}

#[cfg(test)]
mod tests;
