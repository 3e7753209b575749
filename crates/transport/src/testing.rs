//! What the tests of this crate share: a folder with an authority, and what it signs.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair,
    RevokedCertParams, SerialNumber,
};
use tempfile::TempDir;

use crate::issue::{Authority, Subject, Written};
use crate::{Credentials, Existing, TlsFiles};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// An authority in a folder that is gone with the test.
pub(crate) struct Workshop {
    folder: TempDir,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        Self::at(SystemTime::now())
    }

    /// One whose authority was made at `now`.
    pub(crate) fn at(now: SystemTime) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Authority::make(now).unwrap().write(&folder.path().join("ca"), Existing::Keep).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn authority(&self) -> Authority {
        Authority::read(&self.path("ca")).unwrap()
    }

    pub(crate) fn issue(&self, directory: &str, subject: Subject<'_>, now: SystemTime) -> TlsFiles {
        let issued = self.authority().issue(subject, now).unwrap();
        self.files(issued.write(&self.path(directory), Existing::Keep).unwrap())
    }

    /// The certificate of node-1, valid for localhost and 127.0.0.1.
    pub(crate) fn server(&self, now: SystemTime) -> TlsFiles {
        let (dns, addresses) = (["localhost".to_owned()], [IpAddr::from([127, 0, 0, 1])]);
        let subject = Subject::Server { name: "node-1", dns: &dns, addresses: &addresses };
        self.issue("node-1", subject, now)
    }

    pub(crate) fn client(&self, now: SystemTime) -> TlsFiles {
        self.issue("ada", Subject::Client { name: "ada" }, now)
    }

    /// What the authority signs of `params`, whatever they say.
    pub(crate) fn sign(&self, name: &str, params: CertificateParams) -> TlsFiles {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer()).unwrap().pem();
        let written = Written { certificate: self.path(name), key: self.path("other.key") };
        fs::write(&written.certificate, certificate).unwrap();
        fs::write(&written.key, key.serialize_pem()).unwrap();
        self.files(written)
    }

    /// The authority's list that revokes `serial`, in the file `ca/ca.crl`.
    pub(crate) fn revoke(&self, serial: &[u8], next_update: SystemTime) -> PathBuf {
        let list = CertificateRevocationListParams {
            this_update: (next_update - 2 * DAY).into(),
            next_update: next_update.into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from_slice(serial),
                revocation_time: (next_update - 2 * DAY).into(),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.path("ca/ca.crl");
        fs::write(&path, list.signed_by(&self.issuer()).unwrap().pem().unwrap()).unwrap();
        path
    }

    fn files(&self, written: Written) -> TlsFiles {
        TlsFiles {
            certfile: written.certificate,
            keyfile: written.key,
            cafile: self.path("ca/ca.crt"),
            crlfile: None,
        }
    }

    fn issuer(&self) -> Issuer<'static, KeyPair> {
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        let key = KeyPair::from_pem(&read(&self.path("ca/ca.key"))).unwrap();
        Issuer::from_ca_cert_pem(&read(&self.path("ca/ca.crt")), key).unwrap()
    }
}

/// The credentials in `files`, as of now.
pub(crate) fn load(files: &TlsFiles) -> Credentials {
    Credentials::load(files, SystemTime::now()).unwrap()
}
