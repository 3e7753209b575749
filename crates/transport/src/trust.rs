//! Whom this process trusts: the authorities, and their lists of revoked certificates.
//!
//! **Never:** the system's authorities, or one whose time is over.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

use crate::credentials::TlsWarning;
use crate::pem_file::read_all;
use crate::tls_error::{Item, TlsError};

/// The authorities that may be trusted now. TLS itself does not look at the end of a trust anchor.
pub(crate) fn read_authorities(
    path: &Path,
    now: SystemTime,
    warnings: &mut Vec<TlsWarning>,
) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    let mut outdated = None;
    for der in read_all::<CertificateDer<'static>>(path, Item::Certificate)? {
        let parsed = parse(path, &der)?;
        let subject = parsed.subject().to_string();
        if !may_sign(&parsed) {
            return Err(TlsError::NotAnAuthority { path: path.to_owned(), subject });
        }
        match check_time(path, &der, now) {
            Ok(_) => roots
                .add(der)
                .map_err(|source| TlsError::Refused { path: path.to_owned(), source })?,
            Err(error) => {
                warnings.push(TlsWarning::AuthorityExpired { path: path.to_owned(), subject });
                outdated = Some(error);
            }
        }
    }
    match outdated {
        Some(error) if roots.is_empty() => Err(error),
        _ => Ok(Arc::new(roots)),
    }
}

fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    let usage = certificate.key_usage().ok().flatten();
    certificate.is_ca() && usage.is_none_or(|usage| usage.value.key_cert_sign())
}

pub(crate) fn read_revoked(
    path: &Path,
    now: SystemTime,
    warnings: &mut Vec<TlsWarning>,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let lists = read_all::<CertificateRevocationListDer<'static>>(path, Item::RevocationList)?;
    for list in &lists {
        let (_, parsed) = CertificateRevocationList::from_der(list).map_err(|_| {
            TlsError::Undecodable { path: path.to_owned(), what: Item::RevocationList }
        })?;
        let next = parsed.next_update().map(|time| SystemTime::from(time.to_datetime()));
        if next.is_some_and(|next| next < now) {
            warnings.push(TlsWarning::RevocationListOutdated { path: path.to_owned() });
        }
    }
    Ok(lists)
}

/// When the certificate ends, where `now` lies within its time.
pub(crate) fn check_time(
    path: &Path,
    certificate: &CertificateDer<'_>,
    now: SystemTime,
) -> Result<SystemTime, TlsError> {
    let parsed = parse(path, certificate)?;
    let path = path.to_owned();
    let (not_before, not_after) = validity(&parsed);
    if now < not_before {
        return Err(TlsError::NotYetValid { path, not_before });
    }
    if not_after < now {
        return Err(TlsError::Expired { path, not_after });
    }
    Ok(not_after)
}

fn parse<'a>(path: &Path, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, TlsError> {
    let undecodable = |_| TlsError::Undecodable { path: path.to_owned(), what: Item::Certificate };
    X509Certificate::from_der(der).map(|(_, parsed)| parsed).map_err(undecodable)
}

fn validity(certificate: &X509Certificate<'_>) -> (SystemTime, SystemTime) {
    let validity = certificate.validity();
    (validity.not_before.to_datetime().into(), validity.not_after.to_datetime().into())
}
