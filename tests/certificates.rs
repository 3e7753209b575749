//! `NO_STRANGER`: who is refused and how it is said, and certificates that change while a node runs.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use paravon_transport::issue::Subject;
use rmpv::Value;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{
    AlertDescription, ClientConfig, NamedGroup, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, StreamOwned,
};

use crate::support::{Folder, Ran, Raw, connect, message, node_subject};

/// Longer than any certificate is valid.
const YEARS: Duration = Duration::from_secs(4 * 365 * 24 * 3600);

const CLIENT: Subject<'_> = Subject::Client { name: "user-1" };

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A certificate and its key, whatever they are worth: `place/stem.crt` and `place/stem.key`.
fn pair(folder: &Folder, stem: &str) -> Pair {
    let certificate = folder.path(&format!("{stem}.crt"));
    let key = folder.path(&format!("{stem}.key"));
    let chain =
        CertificateDer::pem_file_iter(certificate).expect("a file").map(|c| c.expect("PEM"));
    (chain.collect(), PrivateKeyDer::from_pem_file(key).expect("PEM"))
}

/// A client that trusts the authority of `folder` and presents `certificate`, without a look at it.
fn reckless(folder: &Folder, certificate: Option<Pair>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(folder.path("ca/ca.crt")).expect("PEM");
    roots.add(authority).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots);
    Arc::new(match certificate {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("a pair"),
    })
}

/// What the node at `address` answers to the handshake of `config` instead of serving.
fn alert_for(config: Arc<ClientConfig>, address: SocketAddr) -> AlertDescription {
    let mut stranger = Raw::with(config, address);
    let error = stranger.stream.read(&mut [0; 1]).expect_err("a stranger was served");
    match error.get_ref().and_then(|source| source.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        _ => panic!("no alert but {error}"),
    }
}

/// What the node sends, until it closes, to one who sends `bytes` over plain TCP.
fn answer_to(bytes: &[u8], address: SocketAddr) -> Vec<u8> {
    let mut stream = connect(address);
    stream.write_all(bytes).expect("sent");
    let mut answer = Vec::new();
    // A reset closes as well.
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[track_caller]
fn assert_serves(folder: &Folder, address: SocketAddr) {
    let reply = Raw::connect(folder, "client", address).get("k");
    assert_eq!(reply["type"], Value::from("ok"), "{reply}");
}

#[test]
fn a_stranger_is_told_why_it_is_refused_and_others_are_served() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let node = folder.start();
    folder.issue_at("old", CLIENT, SystemTime::now() - YEARS);
    folder.issue_at("early", CLIENT, SystemTime::now() + YEARS);
    let strangers = [
        ("no certificate", None, AlertDescription::CertificateRequired),
        (
            "another authority's",
            Some(pair(&elsewhere, "client/client")),
            AlertDescription::UnknownCA,
        ),
        ("an authority's own", Some(pair(&folder, "ca/ca")), AlertDescription::CertificateUnknown),
        ("expired", Some(pair(&folder, "old/client")), AlertDescription::CertificateExpired),
        (
            "not yet valid",
            Some(pair(&folder, "early/client")),
            AlertDescription::CertificateExpired,
        ),
    ];
    for (what, certificate, expected) in strangers {
        for address in [node.api, node.peer] {
            let alert = alert_for(reckless(&folder, certificate.as_ref().map(copy)), address);
            assert_eq!(alert, expected, "{what}");
        }
        assert_serves(&folder, node.api);
    }
}

fn copy((chain, key): &Pair) -> Pair {
    (chain.clone(), key.clone_key())
}

/// A `ClientHello` of TLS 1.2: no `supported_versions`, and a cipher suite of its time.
fn client_hello_of_tls_1_2() -> Vec<u8> {
    let extensions = b"\x00\x0a\x00\x04\x00\x02\x00\x17\x00\x0d\x00\x04\x00\x02\x04\x03";
    let hello = [&b"\x03\x03"[..], &[7; 32], b"\x00\x00\x02\xc0\x2b\x01\x00", &[0, 16], extensions]
        .concat();
    let length = u8::try_from(hello.len()).expect("short");
    [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat()
}

#[test]
fn tls_1_2_is_refused_by_its_version() {
    let folder = Folder::new();
    let node = folder.start();
    for address in [node.api, node.peer] {
        let answer = answer_to(&client_hello_of_tls_1_2(), address);
        let fatal_protocol_version = [2, 70];
        assert!(
            answer.starts_with(&[0x15]) && answer.ends_with(&fatal_protocol_version),
            "{answer:?}"
        );
    }
    assert_serves(&folder, node.api);
}

#[test]
fn plain_text_gets_nothing_but_an_alert() {
    let folder = Folder::new();
    let node = folder.start();
    let get = message("get", &[("key", "k".into())]);
    let frame = [&[0, 0, 0, u8::try_from(get.len()).expect("short")][..], &get].concat();
    for bytes in [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], &frame, &[0xff; 4096]] {
        for address in [node.api, node.peer] {
            let answer = answer_to(bytes, address);
            assert!(answer.is_empty() || answer[0] == 0x15 && answer.len() == 7, "{answer:?}");
        }
    }
    assert_serves(&folder, node.api);
}

#[test]
fn a_connection_that_never_shakes_hands_is_closed() {
    let folder = Folder::new();
    folder.configure("  handshake_timeout: 100ms\n");
    let node = folder.start();
    assert_eq!(answer_to(b"", node.api), b"", "closed without a word");
    assert_eq!(answer_to(&client_hello_of_tls_1_2()[..20], node.api), b"");
    assert_serves(&folder, node.api);
}

#[test]
fn our_client_and_server_agree_on_post_quantum_keys_and_tls_1_3() {
    let folder = Folder::new();
    let node = folder.start();
    for address in [node.api, node.peer] {
        let mut stream = Raw::connect(&folder, "client", address).stream;
        stream.conn.complete_io(&mut stream.sock).expect("a handshake");
        let group = stream.conn.negotiated_key_exchange_group().expect("a group");
        assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
        assert_eq!(stream.conn.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    }
}

/// Answers every connection with the certificate `place/stem` of `folder`; ends with the test process.
fn impostor(folder: &Folder, stem: &str) -> SocketAddr {
    let (chain, key) = pair(folder, stem);
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(config.clone()).expect("a server");
            // A client that refuses it breaks the handshake.
            let _ = StreamOwned::new(connection, stream).read(&mut [0; 1]);
        }
    });
    address
}

#[test]
fn a_client_refuses_a_server_that_shows_a_clients_or_a_strangers_certificate() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let node = folder.start();
    folder.write_paraconf(&node, "client");
    folder.issue_at("old", node_subject("node-1"), SystemTime::now() - YEARS);
    for (owner, stem, why) in [
        (&folder, "client/client", "does not allow extended key usage"),
        (&elsewhere, "node/server", "UnknownIssuer"),
        (&folder, "old/server", "expired"),
    ] {
        let server = impostor(owner, stem).to_string();
        let ran = folder.paractl(&["--server", &server, "put", "k", "secret"]);
        ran.failed(4, &["no secure connection to", &server, why, "check the certificates"]);
    }
}

#[test]
fn a_client_refuses_a_server_whose_certificate_is_not_for_the_host_that_it_dialled() {
    let folder = Folder::new();
    let mut command = folder.command();
    command.env("PARAVON__SERVER__API__HOST", "127.0.0.2");
    let node = crate::support::Node::start(command);
    folder.write_paraconf(&node, "client");
    let server = node.api.to_string();
    assert!(server.starts_with("127.0.0.2:"), "{server}");
    folder.paractl(&["get", "k"]).failed(4, &[&server, "not valid for name", "127.0.0.1"]);
}

#[test]
fn a_client_names_the_file_of_its_own_that_is_wrong() {
    const SPOILED: [Spoiled; 4] = [
        Spoiled {
            what: "no key",
            spoil: |folder, _| remove(folder, "client/client.key"),
            said: &["client.key", "check the path"],
        },
        Spoiled {
            what: "an expired certificate",
            spoil: |folder, _| folder.issue_at("client", CLIENT, SystemTime::now() - YEARS),
            said: &["client.crt", "expired at", "paravon cert"],
        },
        Spoiled {
            what: "another key",
            spoil: |folder, other| take(folder, other, "client/client.key"),
            said: &["client.key", "is not that of the certificate in", "client.crt"],
        },
        Spoiled {
            what: "another authority",
            spoil: |folder, other| take(folder, other, "ca/ca.crt"),
            said: &["client.crt", "is not signed by the authority in", "ca.crt"],
        },
    ];
    let (node, other) = (Folder::new().start(), Folder::new());
    for Spoiled { what, spoil, said } in SPOILED {
        let folder = Folder::new();
        folder.write_paraconf(&node, "client");
        spoil(&folder, &other);
        let ran = folder.paractl(&["get", "k"]);
        assert_eq!(ran.code, 2, "{what}: {}", ran.err);
        ran.failed(2, said);
    }
}

fn remove(folder: &Folder, name: &str) {
    fs::remove_file(folder.path(name)).expect("a file");
}

/// Replaces a file of `folder` with that of `other`.
fn take(folder: &Folder, other: &Folder, name: &str) {
    fs::copy(other.path(name), folder.path(name)).expect("a file");
}

/// One way to spoil certificates with those of another folder, and what must be said then.
struct Spoiled {
    what: &'static str,
    spoil: fn(&Folder, &Folder),
    said: &'static [&'static str],
}

const SPOILED: [Spoiled; 11] = [
    Spoiled {
        what: "no authority",
        spoil: |folder, _| remove(folder, "ca/ca.crt"),
        said: &["ca/ca.crt", "check the path"],
    },
    Spoiled {
        what: "no certificate",
        spoil: |folder, _| remove(folder, "node/server.crt"),
        said: &["node/server.crt", "check the path"],
    },
    Spoiled {
        what: "a key that cannot be read",
        spoil: |folder, _| {
            remove(folder, "node/server.key");
            fs::create_dir(folder.path("node/server.key")).expect("made");
        },
        said: &["cannot read", "node/server.key", "this user may read it"],
    },
    Spoiled {
        what: "a key that is cut off",
        spoil: |folder, _| {
            let path = folder.path("node/server.key");
            let text = fs::read(&path).expect("a key");
            fs::write(&path, &text[..text.len() / 2]).expect("written");
        },
        said: &["node/server.key", "is not valid PEM", "copy it again"],
    },
    Spoiled {
        what: "a certificate in place of the key",
        spoil: |folder, _| {
            fs::copy(folder.path("node/server.crt"), folder.path("node/server.key"))
                .expect("a file");
        },
        said: &["node/server.key", "holds no private key", "-----BEGIN PRIVATE KEY-----"],
    },
    Spoiled {
        what: "the key of another certificate",
        spoil: |folder, other| take(folder, other, "node/server.key"),
        said: &["node/server.key", "is not that of the certificate in", "node/server.crt"],
    },
    Spoiled {
        what: "an expired certificate",
        spoil: |folder, _| {
            folder.issue_at("node", node_subject("node-1"), SystemTime::now() - YEARS);
        },
        said: &["node/server.crt", "expired at", "make a new one"],
    },
    Spoiled {
        what: "the certificate of another node",
        spoil: |folder, _| folder.issue("node", node_subject("node-2")),
        said: &["node.id is node-1", "node/server.crt", "names node-2"],
    },
    Spoiled {
        what: "the certificate of a client",
        spoil: |folder, _| {
            for (from, to) in [("crt", "node/server.crt"), ("key", "node/server.key")] {
                let from = folder.path(&format!("client/client.{from}"));
                fs::copy(from, folder.path(to)).expect("a file");
            }
        },
        said: &["node/server.crt", "is not that of a node", "paravon cert server"],
    },
    Spoiled {
        what: "another authority",
        spoil: |folder, other| take(folder, other, "ca/ca.crt"),
        said: &["node/server.crt", "is not signed by the authority in", "ca/ca.crt"],
    },
    Spoiled {
        what: "a certificate in place of the authority",
        spoil: |folder, _| {
            fs::copy(folder.path("client/client.crt"), folder.path("ca/ca.crt")).expect("a file");
        },
        said: &["ca/ca.crt", "is no certificate authority", "paravon cert ca"],
    },
];

#[test]
fn a_node_names_the_file_that_is_wrong_and_what_to_do() {
    let other = Folder::new();
    for Spoiled { what, spoil, said } in SPOILED {
        let folder = Folder::new();
        spoil(&folder, &other);
        let ran = folder.refused();
        assert_eq!(ran.code, 2, "{what}: {}", ran.err);
        ran.failed(2, said);
        let checked = Ran::of(&mut folder.paravon(&["check-config", "paranode.yaml"]));
        checked.failed(2, said);
        assert!(!folder.path("data").exists(), "{what}: nothing has been founded");
    }
}

#[test]
fn a_reload_takes_effect_for_new_connections_and_leaves_the_old_ones() {
    let folder = Folder::new();
    let node = folder.start();
    let mut before = Raw::connect(&folder, "client", node.api);
    before.get("k");
    let old = shown(&before);
    folder.issue("node", node_subject("node-1"));
    node.signal("HUP");
    node.wait_for_log("certificates reloaded; valid until");
    let mut after = Raw::connect(&folder, "client", node.api);
    after.get("k");
    let new = shown(&after);
    assert_ne!(old, new);
    assert_eq!(new, pair(&folder, "node/server").0[0]);
    assert_eq!(before.get("k")["type"], Value::from("ok"), "the old connection goes on");
}

/// The certificate that the node has shown.
fn shown(client: &Raw) -> CertificateDer<'static> {
    client.stream.conn.peer_certificates().expect("after the handshake")[0].clone()
}

#[test]
fn a_broken_set_is_refused_at_reload_and_the_old_one_stays() {
    let other = Folder::new();
    for Spoiled { what, spoil, said } in SPOILED {
        let folder = Folder::new();
        let node = folder.start();
        let config = reckless(&folder, Some(pair(&folder, "client/client")));
        let old = pair(&folder, "node/server").0;
        spoil(&folder, &other);
        node.signal("HUP");
        let line = node.wait_for_log("certificates ");
        assert!(line.contains("not reloaded, the old ones stay"), "{what}: {line}");
        for part in said {
            assert!(line.contains(part), "{what}: {part:?} is not in: {line}");
        }
        let mut client = Raw::with(config, node.api);
        assert_eq!(client.get("k")["type"], Value::from("ok"), "{what}");
        assert_eq!(shown(&client), old[0], "{what}");
    }
}

#[test]
fn an_administrator_reloads_and_a_plain_client_is_forbidden_to() {
    let folder = Folder::new();
    let node = folder.start();
    folder.write_paraconf(&node, "client");
    folder.paractl(&["admin", "node-status"]).done();
    let refusal = folder.paractl(&["admin", "reload"]);
    refusal.failed(3, &["forbidden", "user-1", "organizational unit 'admin'", "security.admins"]);
    folder.write_paraconf(&node, "admin");
    folder.issue("node", node_subject("node-1"));
    folder.paractl(&["admin", "reload"]).done();
    let mut client = Raw::connect(&folder, "client", node.api);
    client.get("k");
    assert_eq!(shown(&client), pair(&folder, "node/server").0[0]);
    take(&folder, &Folder::new(), "node/server.key");
    let refusal = folder.paractl(&["admin", "reload"]);
    refusal.failed(3, &["the old ones stay", "node/server.key"]);
}

#[test]
fn a_name_in_security_admins_makes_an_administrator() {
    let folder = Folder::new();
    folder.configure("security:\n  admins: [user-1]\n");
    let node = folder.start();
    folder.write_paraconf(&node, "client");
    folder.paractl(&["admin", "reload"]).done();
}

#[test]
fn the_name_of_an_administrator_alone_makes_none() {
    let folder = Folder::new();
    folder.issue("client", Subject::Client { name: "root" });
    let node = folder.start();
    folder.write_paraconf(&node, "client");
    folder.paractl(&["admin", "reload"]).failed(3, &["forbidden", "client root"]);
}

#[test]
fn a_revoked_client_is_refused_after_a_reload() {
    let folder = Folder::new();
    folder.configure("    crlfile: ca/ca.crl\n");
    write_revocation_list(&folder, &[]);
    let node = folder.start();
    let client = reckless(&folder, Some(pair(&folder, "client/client")));
    // It may resume this session, which must not help it.
    assert_eq!(Raw::with(client.clone(), node.api).get("k")["type"], Value::from("ok"));
    write_revocation_list(&folder, &[&folder.path("client/client.crt")]);
    node.signal("HUP");
    node.wait_for_log("certificates reloaded");
    assert_eq!(alert_for(client, node.api), AlertDescription::CertificateRevoked);
    let admin = Raw::connect(&folder, "admin", node.api).get("k");
    assert_eq!(admin["type"], Value::from("ok"), "others are served");
}

/// Writes `ca/ca.crl`, which revokes these certificates, with the OpenSSL command line.
fn write_revocation_list(folder: &Folder, revoked: &[&Path]) {
    folder.write(
        "crl.conf",
        "[ca]\ndefault_ca = list\n[list]\ndatabase = index.txt\ncrlnumber = number\n\
         default_md = sha256\ndefault_crl_days = 30\n",
    );
    let index = revoked.iter().map(|path| {
        let serial =
            openssl(folder, &["x509", "-noout", "-serial", "-in", path.to_str().expect("text")]);
        let serial = serial.trim().strip_prefix("serial=").expect("a serial number").to_owned();
        format!("R\t350101000000Z\t250101000000Z\t{serial}\tunknown\t/CN=user-1\n")
    });
    folder.write("index.txt", index.collect::<String>());
    folder.write("number", "01\n");
    let make = ["ca", "-config", "crl.conf", "-gencrl", "-keyfile", "ca/ca.key"];
    openssl(folder, &[&make[..], &["-cert", "ca/ca.crt", "-out", "ca/ca.crl"]].concat());
}

fn openssl(folder: &Folder, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    Ran::of(command.current_dir(folder.path("")).args(arguments)).done()
}

#[test]
fn a_key_that_everyone_can_read_is_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let key: PathBuf = folder.path("node/server.key");
    fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).expect("set");
    let ran = Ran::of(&mut folder.paravon(&["check-config", "paranode.yaml"]));
    assert!(ran.err.contains("warning: ") && ran.err.contains("chmod 600"), "{}", ran.err);
    assert!(ran.err.contains("node/server.key"), "{}", ran.err);
    ran.done();
}
