//! Every way in which a set of files can be wrong, and what its owner is told.

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};

use super::*;
use crate::issue::Subject;
use crate::testing::{DAY, Workshop, load};

fn refusal(files: &TlsFiles) -> TlsError {
    Credentials::load(files, SystemTime::now()).unwrap_err()
}

/// The message names the file and says what to do.
fn assert_says(error: &TlsError, file: &Path, advice: &str) {
    let message = error.to_string();
    assert!(message.contains(&*file.to_string_lossy()) && message.contains(advice), "{message}");
}

#[test]
fn a_sound_set_is_loaded_without_warnings() {
    let now = SystemTime::now();
    let workshop = Workshop::new();
    let credentials = load(&workshop.server(now));
    assert_eq!(credentials.identity().node_id().unwrap().as_str(), "node-1");
    assert_eq!(credentials.warnings(), []);
    assert!(credentials.not_after() > now + 800 * DAY);
    for (host, covered) in [
        ("node-1", true),
        ("localhost", true),
        ("127.0.0.1", true),
        ("10.0.0.1", false),
        ("", false),
    ] {
        assert_eq!(credentials.is_valid_for(host), covered, "{host}");
    }
}

#[test]
fn an_unreadable_file_is_named() {
    let workshop = Workshop::new();
    let sound = workshop.server(SystemTime::now());
    let absent = workshop.path("absent");
    let with = |change: fn(&mut TlsFiles, PathBuf)| {
        let mut files = sound.clone();
        change(&mut files, absent.clone());
        files
    };
    for files in [
        with(|files, path| files.certfile = path),
        with(|files, path| files.keyfile = path),
        with(|files, path| files.cafile = path),
        with(|files, path| files.crlfile = Some(path)),
    ] {
        let error = refusal(&files);
        assert!(matches!(error, TlsError::Unreadable { .. }), "{error}");
        assert_says(&error, &absent, "check the path");
    }
}

#[test]
fn a_file_without_what_is_looked_for_is_named() {
    let workshop = Workshop::new();
    let sound = workshop.server(SystemTime::now());
    let swapped = TlsFiles {
        certfile: sound.keyfile.clone(),
        keyfile: sound.certfile.clone(),
        ..sound.clone()
    };
    let error = refusal(&swapped);
    assert!(matches!(error, TlsError::Absent { what: Item::Certificate, .. }), "{error}");
    assert_says(&error, &swapped.certfile, "mixed up");

    let error = refusal(&TlsFiles { keyfile: sound.certfile.clone(), ..sound.clone() });
    assert!(matches!(error, TlsError::Absent { what: Item::PrivateKey, .. }), "{error}");

    let broken = workshop.path("broken");
    let text = fs::read_to_string(&sound.certfile).unwrap();
    fs::write(&broken, &text[..text.len() / 2]).unwrap();
    let error = refusal(&TlsFiles { certfile: broken.clone(), ..sound.clone() });
    assert!(matches!(error, TlsError::BadPem { .. }), "{error}");

    fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let error = refusal(&TlsFiles { cafile: broken, ..sound });
    assert!(matches!(error, TlsError::Undecodable { .. }), "{error}");
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let workshop = Workshop::new();
    let mut files = workshop.server(SystemTime::now());
    files.keyfile = workshop.client(SystemTime::now()).keyfile;
    let error = refusal(&files);
    assert!(matches!(error, TlsError::KeyMismatch { .. }), "{error}");
    assert_says(&error, &files.keyfile, "made together");
}

#[test]
fn a_certificate_counts_only_within_its_time() {
    let now = SystemTime::now();
    let workshop = Workshop::new();
    let files = workshop.server(now);
    let error = Credentials::load(&files, now - DAY).unwrap_err();
    assert!(matches!(error, TlsError::NotYetValid { .. }), "{error}");
    assert_says(&error, &files.certfile, "clock");
    let error = Credentials::load(&files, now + 900 * DAY).unwrap_err();
    assert!(matches!(error, TlsError::Expired { .. }), "{error}");
    assert_says(&error, &files.certfile, "--force");
    let warned = Credentials::load(&files, now + 800 * DAY).unwrap();
    assert!(matches!(warned.warnings(), [TlsWarning::ExpiresSoon { .. }]));
}

#[test]
fn an_authority_must_be_one() {
    let workshop = Workshop::new();
    let mut files = workshop.server(SystemTime::now());
    files.cafile = workshop.client(SystemTime::now()).certfile;
    let error = refusal(&files);
    assert!(matches!(error, TlsError::NotAnAuthority { .. }), "{error}");
    assert_says(&error, &files.cafile, "CN=ada");
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (workshop, other) = (Workshop::new(), Workshop::new());
    let files = TlsFiles { cafile: other.path("ca/ca.crt"), ..workshop.server(SystemTime::now()) };
    let error = refusal(&files);
    assert!(matches!(error, TlsError::UnknownIssuer { .. }), "{error}");
    assert_says(&error, &files.cafile, "signed it");
}

#[test]
fn an_expired_authority_is_trusted_no_more() {
    let now = SystemTime::now();
    let (old, new) = (Workshop::at(now - 3700 * DAY), Workshop::new());
    let mut files = new.server(now);
    let both = new.path("both.crt");
    let text = |path: PathBuf| fs::read_to_string(path).unwrap();
    fs::write(&both, text(old.path("ca/ca.crt")) + &text(new.path("ca/ca.crt"))).unwrap();
    files.cafile = both;
    assert!(matches!(load(&files).warnings(), [TlsWarning::AuthorityExpired { .. }]));
    files.cafile = old.path("ca/ca.crt");
    assert!(matches!(refusal(&files), TlsError::Expired { .. }));
}

#[test]
fn a_revoked_certificate_is_refused() {
    let now = SystemTime::now();
    let workshop = Workshop::new();
    let mut files = workshop.server(now);
    let serial = load(&files).identity().serial().to_vec();
    files.crlfile = Some(workshop.revoke(&serial, now + DAY));
    let error = refusal(&files);
    assert!(matches!(error, TlsError::Revoked { .. }), "{error}");

    files.crlfile = Some(workshop.revoke(&[1], now - DAY));
    assert!(matches!(load(&files).warnings(), [TlsWarning::RevocationListOutdated { .. }]));
}

#[test]
fn a_revocation_list_of_another_authority_is_refused() {
    let (workshop, other) = (Workshop::new(), Workshop::new());
    let list = other.revoke(&[1], SystemTime::now() + DAY);
    let files = TlsFiles { crlfile: Some(list), ..workshop.server(SystemTime::now()) };
    let error = refusal(&files);
    assert!(matches!(error, TlsError::ForeignRevocationList { .. }), "{error}");
}

#[test]
fn a_certificate_that_may_not_be_presented_is_refused() {
    let workshop = Workshop::new();
    let mut params = CertificateParams::new(vec!["node-1".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "node-1");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let error = refusal(&workshop.sign("serving-only.crt", params));
    assert!(matches!(error, TlsError::WrongPurpose { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn a_key_that_all_can_read_is_warned_about() {
    use std::os::unix::fs::PermissionsExt as _;
    let workshop = Workshop::new();
    let server = workshop.server(SystemTime::now());
    fs::set_permissions(&server.keyfile, fs::Permissions::from_mode(0o644)).unwrap();
    let credentials = load(&server);
    assert!(matches!(credentials.warnings(), [TlsWarning::KeyReadableByAll { .. }]));
    assert!(credentials.warnings()[0].to_string().contains("chmod 600"));
}

#[test]
fn a_nameless_certificate_is_refused() {
    let workshop = Workshop::new();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let error = refusal(&workshop.sign("nameless.crt", params));
    assert!(matches!(error, TlsError::Identity { .. }), "{error}");
}

#[test]
fn an_admin_and_a_client_are_told_apart() {
    let workshop = Workshop::new();
    let client = load(&workshop.client(SystemTime::now()));
    let subject = Subject::Admin { name: "ada" };
    let admin = load(&workshop.issue("admin", subject, SystemTime::now()));
    assert!(admin.identity().is_administrator(&[]) && !client.identity().is_administrator(&[]));
}
