//! What is issued says what it should, passes strict checks, and is written safely.

use std::process::Command;

use super::*;
use crate::identity::Role;
use crate::testing::{Workshop, load};

#[test]
fn each_subject_gets_its_role() {
    let workshop = Workshop::new();
    let now = SystemTime::now();
    let node = load(&workshop.server(now));
    assert!(matches!(node.identity().role(), Role::Node(id) if id.as_str() == "node-1"));
    assert!(!node.identity().is_administrator(&[]));

    let ada = load(&workshop.client(now));
    assert_eq!((ada.identity().role(), ada.identity().common_name()), (&Role::Client, "ada"));
    assert!(!ada.identity().is_administrator(&["bob".to_owned()]));
    assert!(ada.identity().is_administrator(&["ada".to_owned()]));

    let admin = load(&workshop.issue("ops", Subject::Admin { name: "ops" }, now));
    assert!(admin.identity().is_administrator(&[]) && admin.identity().node_id().is_none());
}

#[test]
fn serial_numbers_do_not_repeat() {
    let workshop = Workshop::new();
    let now = SystemTime::now();
    let serial = |files| load(&files).identity().serial().to_vec();
    let (one, two) = (serial(workshop.server(now)), serial(workshop.client(now)));
    assert_ne!(one, two);
    assert_eq!(one.len(), 16);
}

#[test]
fn what_exists_is_kept_or_replaced_as_asked() {
    let workshop = Workshop::new();
    let directory = workshop.path("ca");
    let before = fs::read_to_string(directory.join("ca.key")).unwrap();
    let new = Authority::make(SystemTime::now()).unwrap();
    let error = new.write(&directory, Existing::Keep).unwrap_err();
    assert!(matches!(error, TlsError::Exists { .. }) && error.to_string().contains("--force"));
    assert_eq!(fs::read_to_string(directory.join("ca.key")).unwrap(), before);

    new.write(&directory, Existing::Replace).unwrap();
    assert_ne!(fs::read_to_string(directory.join("ca.key")).unwrap(), before);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "nothing is left aside");
}

#[cfg(unix)]
#[test]
fn keys_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let workshop = Workshop::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&workshop.path("ca/ca.key")), 0o600);
    let new = Authority::make(SystemTime::now()).unwrap();
    let written = new.write(&workshop.path("ca"), Existing::Replace).unwrap();
    assert_eq!(mode(&written.key), 0o600);
}

#[test]
fn names_that_no_certificate_can_carry_are_refused() {
    let authority = Workshop::new().authority();
    let dns = ["not a name".to_owned()];
    for subject in [
        Subject::Server { name: "node 1", dns: &[], addresses: &[] },
        Subject::Server { name: "node-1", dns: &dns, addresses: &[] },
        Subject::Client { name: "" },
        Subject::Admin { name: "a\nb" },
    ] {
        let refused = authority.issue(subject, SystemTime::now()).map(drop);
        assert!(matches!(refused, Err(TlsError::InvalidName { .. })), "{subject:?}");
    }
}

#[test]
fn an_authority_that_cannot_sign_is_named() {
    let workshop = Workshop::new();
    let error = Authority::read(&workshop.path("absent")).map(drop).unwrap_err();
    assert!(matches!(error, TlsError::Unreadable { .. }), "{error}");
    fs::write(workshop.path("ca/ca.key"), "no key").unwrap();
    let error = Authority::read(&workshop.path("ca")).map(drop).unwrap_err();
    assert!(error.to_string().contains("ca.key"), "{error}");
}

/// Runs `openssl`, where it is installed.
fn openssl(arguments: &[&str]) -> Option<String> {
    let output = Command::new("openssl").args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {text}{complaint}");
    Some(text)
}

#[test]
fn openssl_accepts_every_certificate_under_strict_rules() {
    let workshop = Workshop::new();
    let now = SystemTime::now();
    if openssl(&["version"]).is_none() {
        return eprintln!("skipped: openssl is not installed");
    }
    let ca = workshop.path("ca/ca.crt");
    let admin = workshop.issue("ops", Subject::Admin { name: "ops" }, now);
    let (server, client) = (workshop.server(now), workshop.client(now));
    for (path, purpose) in [
        (&server.certfile, "sslserver"),
        (&server.certfile, "sslclient"),
        (&client.certfile, "sslclient"),
        (&admin.certfile, "sslclient"),
    ] {
        let (ca, path) = (ca.to_str().unwrap(), path.to_str().unwrap());
        openssl(&["verify", "-x509_strict", "-purpose", purpose, "-CAfile", ca, path]);
    }
    let shown = openssl(&["x509", "-noout", "-text", "-in", server.certfile.to_str().unwrap()]);
    let shown = shown.unwrap();
    for part in [
        "CN = node-1",
        "Basic Constraints: critical",
        "Key Usage: critical",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "Subject Key Identifier",
        "Authority Key Identifier",
        "DNS:node-1, DNS:localhost, IP Address:127.0.0.1",
    ] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
}

#[test]
fn the_script_makes_what_we_accept() {
    let workshop = Workshop::new();
    if openssl(&["version"]).is_none() {
        return eprintln!("skipped: openssl is not installed");
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/generate-cert.sh");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(script);
        command.current_dir(workshop.path("")).args(arguments).output().unwrap().status.success()
    };
    assert!(!run(&["ca"]), "it keeps what exists");
    assert!(run(&["--force", "ca"]));
    assert!(run(&["server", "one", "node-1", "localhost", "127.0.0.1"]));
    assert!(run(&["admin", "ops", "the ops"]));

    let files = |directory: &str, stem: &str| crate::TlsFiles {
        certfile: workshop.path(&format!("{directory}/{stem}.crt")),
        keyfile: workshop.path(&format!("{directory}/{stem}.key")),
        cafile: workshop.path("ca/ca.crt"),
        crlfile: None,
    };
    let node = load(&files("one", "server"));
    assert_eq!(node.identity().to_string(), "node node-1");
    assert!(node.is_valid_for("127.0.0.1") && node.warnings().is_empty());
    let admin = load(&files("ops", "client"));
    assert_eq!(admin.identity().common_name(), "the ops");
    assert!(admin.identity().is_administrator(&[]));
    // And what the script made can sign here.
    workshop.client(SystemTime::now());
}
