//! The certificate, key and trusted authorities of this process: read, then validated as a whole.
//!
//! **Never:** a value of [`Credentials`] that a handshake would find wrong. Everything that can be
//! known without a peer is checked at once, so that a reload with a broken set is refused and the
//! old one stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use rustls::client::verify_server_name;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime,
};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, InconsistentKeys, RootCertStore};

use crate::identity::Identity;
use crate::pem_file::{read_all, unreadable};
use crate::tls::provider;
use crate::tls_error::{Item, TlsError};
use crate::trust::{check_time, read_authorities, read_revoked};

/// How long before its end a certificate is warned about.
const EXPIRES_SOON: Duration = Duration::from_secs(30 * 24 * 3600);

/// The files that hold a certificate, its key and whom it trusts, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, with any intermediates after it.
    pub certfile: PathBuf,
    /// Its private key.
    pub keyfile: PathBuf,
    /// The authorities whose certificates are accepted.
    pub cafile: PathBuf,
    /// Their lists of revoked certificates, one of each authority, where revocation is used.
    pub crlfile: Option<PathBuf>,
}

/// A validated set of certificate, key, authorities and revocation lists.
#[derive(Debug)]
pub struct Credentials {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) revoked: Vec<CertificateRevocationListDer<'static>>,
    pub(crate) client_verifier: Arc<dyn ClientCertVerifier>,
    identity: Identity,
    not_after: SystemTime,
    warnings: Vec<TlsWarning>,
}

/// What is usable and should be mended. The caller shows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsWarning {
    /// Every user of the machine can read the key.
    #[error("every user can read the key {}; run chmod 600 on it", path.display())]
    KeyReadableByAll {
        /// The key file.
        path: PathBuf,
    },
    /// The certificate ends within 30 days.
    #[error(
        "the certificate in {} expires at {}; replace it before, then send SIGHUP",
        path.display(),
        humantime::format_rfc3339_seconds(*not_after)
    )]
    ExpiresSoon {
        /// The certificate.
        path: PathBuf,
        /// When it ends.
        not_after: SystemTime,
    },
    /// One authority of several has expired and is not trusted any more.
    #[error(
        "{}: the authority {subject} has expired and is not trusted any more; remove it",
        path.display()
    )]
    AuthorityExpired {
        /// The file of authorities.
        path: PathBuf,
        /// The authority.
        subject: String,
    },
    /// A revocation list is older than its authority promised; it still counts.
    #[error(
        "the revocation list {} is out of date; it still counts, fetch a newer one",
        path.display()
    )]
    RevocationListOutdated {
        /// The list.
        path: PathBuf,
    },
}

impl Credentials {
    /// Reads and validates `files` as of `now`.
    ///
    /// # Errors
    /// Names the file that is wrong, what is wrong with it and what to do.
    pub fn load(files: &TlsFiles, now: SystemTime) -> Result<Self, TlsError> {
        let mut warnings = Vec::new();
        let chain: Vec<_> = read_all(&files.certfile, Item::Certificate)?;
        let key = read_key(&files.keyfile, &mut warnings)?;
        let identity = Identity::of(&chain[0])
            .map_err(|source| TlsError::Identity { path: files.certfile.clone(), source })?;
        check_key(files, &chain, &key)?;
        let not_after = check_time(&files.certfile, &chain[0], now)?;
        if not_after < now + EXPIRES_SOON {
            warnings.push(TlsWarning::ExpiresSoon { path: files.certfile.clone(), not_after });
        }
        let roots = read_authorities(&files.cafile, now, &mut warnings)?;
        let revoked = match &files.crlfile {
            Some(path) => read_revoked(path, now, &mut warnings)?,
            None => Vec::new(),
        };
        let client_verifier = client_verifier(files, &roots, &revoked)?;
        check_chain(files, &*client_verifier, &chain, now)?;
        Ok(Self { chain, key, roots, revoked, client_verifier, identity, not_after, warnings })
    }

    /// Whom the certificate names.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// When the certificate ends.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Whether a peer that dials `host`, a DNS name or an IP address, will accept the certificate.
    #[must_use]
    pub fn is_valid_for(&self, host: &str) -> bool {
        let certificate = ParsedCertificate::try_from(&self.chain[0]);
        let name = ServerName::try_from(host);
        certificate.is_ok_and(|certificate| {
            name.is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
        })
    }

    /// What should be mended.
    #[must_use]
    pub fn warnings(&self) -> &[TlsWarning] {
        &self.warnings
    }
}

fn read_key(
    path: &Path,
    warnings: &mut Vec<TlsWarning>,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    let key = read_all(path, Item::PrivateKey)?.swap_remove(0);
    if is_readable_by_all(path).map_err(|source| unreadable(path, source))? {
        warnings.push(TlsWarning::KeyReadableByAll { path: path.to_owned() });
    }
    Ok(key)
}

#[cfg(unix)]
fn is_readable_by_all(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::metadata(path)?.permissions().mode() & 0o004 != 0)
}

/// Elsewhere access lists decide, and a mode says nothing.
#[cfg(not(unix))]
fn is_readable_by_all(_: &Path) -> io::Result<bool> {
    Ok(false)
}

fn check_key(
    files: &TlsFiles,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<(), TlsError> {
    let signer = provider().key_provider.load_private_key(key.clone_key());
    let unusable = |source| TlsError::UnusableKey { path: files.keyfile.clone(), source };
    let pair = CertifiedKey::new(chain.to_vec(), signer.map_err(unusable)?);
    match pair.keys_match() {
        Ok(()) => Ok(()),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let (certfile, keyfile) = (files.certfile.clone(), files.keyfile.clone());
            Err(TlsError::KeyMismatch { certfile, keyfile })
        }
        Err(source) => Err(unusable(source)),
    }
}

/// Accepts certificates of `roots` that may be presented to a server and are not revoked. An
/// authority without a list among `revoked`, where there is any, cannot vouch for anyone.
fn client_verifier(
    files: &TlsFiles,
    roots: &Arc<RootCertStore>,
    revoked: &[CertificateRevocationListDer<'static>],
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let builder = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider());
    builder.with_crls(revoked.iter().cloned()).build().map_err(|_| TlsError::Undecodable {
        path: files.crlfile.clone().unwrap_or_else(|| files.cafile.clone()),
        what: Item::RevocationList,
    })
}

/// Whether a peer with the same authorities will accept our own certificate.
fn check_chain(
    files: &TlsFiles,
    verifier: &dyn ClientCertVerifier,
    chain: &[CertificateDer<'static>],
    now: SystemTime,
) -> Result<(), TlsError> {
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(since_epoch);
    let Err(source) = verifier.verify_client_cert(&chain[0], &chain[1..], now) else {
        return Ok(());
    };
    let path = files.certfile.clone();
    let reason = match (&source, &files.crlfile) {
        (rustls::Error::InvalidCertificate(reason), _) => reason,
        (rustls::Error::InvalidCertRevocationList(_), Some(crlfile)) => {
            return Err(TlsError::Refused { path: crlfile.clone(), source });
        }
        _ => return Err(TlsError::Refused { path, source }),
    };
    Err(match (reason, &files.crlfile) {
        (CertificateError::UnknownIssuer | CertificateError::BadSignature, _) => {
            TlsError::UnknownIssuer { certfile: path, cafile: files.cafile.clone() }
        }
        (CertificateError::Revoked, _) => TlsError::Revoked { path },
        (CertificateError::UnknownRevocationStatus, Some(crlfile)) => {
            let (crlfile, cafile) = (crlfile.clone(), files.cafile.clone());
            TlsError::ForeignRevocationList { crlfile, cafile }
        }
        (CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. }, _) => {
            TlsError::WrongPurpose { path }
        }
        _ => TlsError::Refused { path, source },
    })
}

#[cfg(test)]
mod tests;
