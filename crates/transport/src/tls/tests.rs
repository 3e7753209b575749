//! Handshakes in memory, no sockets: what is agreed, and who is refused.

use std::time::SystemTime;

use rustls::pki_types::ServerName;
use rustls::{
    CertificateError, ClientConnection, Error, NamedGroup, ProtocolVersion, ServerConnection,
};

use super::*;
use crate::issue::Subject;
use crate::testing::{DAY, Workshop, load};

/// A client and a server after as much of the handshake as both allow.
struct Meeting {
    client: ClientConnection,
    server: ServerConnection,
}

/// Lets the two talk about `host` until both are done, or one refuses.
fn meet(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    host: &'static str,
) -> Result<Meeting, Error> {
    let mut client = ClientConnection::new(client, ServerName::try_from(host).unwrap())?;
    let mut server = ServerConnection::new(server)?;
    let mut bytes = Vec::new();
    while client.wants_write() || server.wants_write() {
        bytes.clear();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut &bytes[..]).unwrap();
        server.process_new_packets()?;
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut &bytes[..]).unwrap();
        client.process_new_packets()?;
    }
    Ok(Meeting { client, server })
}

fn refusal(result: Result<Meeting, Error>) -> Error {
    result.err().expect("the handshake is refused")
}

#[test]
fn both_ends_agree_on_the_post_quantum_exchange_and_know_each_other() {
    let workshop = Workshop::new();
    let now = SystemTime::now();
    let server = load(&workshop.server(now)).server_config().unwrap();
    let client = load(&workshop.client(now)).client_config().unwrap();
    let Meeting { client, server } = meet(client, server, "localhost").unwrap();

    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let groups = [
        client.negotiated_key_exchange_group().unwrap().name(),
        server.negotiated_key_exchange_group().unwrap().name(),
    ];
    assert_eq!(groups, [NamedGroup::X25519MLKEM768; 2]);
    let who = |chain: Option<&[_]>| crate::Identity::of(&chain.unwrap()[0]).unwrap().to_string();
    assert_eq!(who(server.peer_certificates()), "client ada");
    assert_eq!(who(client.peer_certificates()), "node node-1");
}

#[test]
fn a_node_connects_to_a_node_by_address_and_by_name() {
    let workshop = Workshop::new();
    let node = load(&workshop.server(SystemTime::now()));
    for host in ["127.0.0.1", "node-1", "localhost"] {
        meet(node.client_config().unwrap(), node.server_config().unwrap(), host).unwrap();
    }
}

#[test]
fn a_node_believes_the_name_of_a_peer_and_not_the_host_that_it_dialled() {
    let workshop = Workshop::new();
    let node = load(&workshop.server(SystemTime::now()));
    let elsewhere = "elsewhere.example.com";
    let met = meet(node.peer_config().unwrap(), node.server_config().unwrap(), elsewhere).unwrap();
    let chain = met.client.peer_certificates().unwrap();
    assert_eq!(crate::Identity::of(&chain[0]).unwrap().to_string(), "node node-1");
    let refused = meet(node.client_config().unwrap(), node.server_config().unwrap(), elsewhere);
    assert!(matches!(
        refusal(refused),
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })
    ));

    let stranger = load(&Workshop::new().server(SystemTime::now()));
    let refused = meet(node.peer_config().unwrap(), stranger.server_config().unwrap(), elsewhere);
    assert!(matches!(refusal(refused), Error::InvalidCertificate(_)));
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let workshop = Workshop::new();
    let node = load(&workshop.server(SystemTime::now()));
    let stranger = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .unwrap()
        .with_root_certificates(node.roots.clone())
        .with_no_client_auth();
    let error = refusal(meet(Arc::new(stranger), node.server_config().unwrap(), "localhost"));
    assert_eq!(error, Error::NoCertificatesPresented);
}

#[test]
fn a_client_of_another_authority_is_refused() {
    let (workshop, other) = (Workshop::new(), Workshop::new());
    let now = SystemTime::now();
    let node = load(&workshop.server(now));
    let mut stranger = load(&other.client(now));
    stranger.roots = node.roots.clone();
    let (client, server) = (stranger.client_config().unwrap(), node.server_config().unwrap());
    let error = refusal(meet(client, server, "localhost"));
    assert!(
        matches!(
            error,
            Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature
            )
        ),
        "{error}"
    );
}

#[test]
fn a_server_of_another_authority_is_refused() {
    let (workshop, other) = (Workshop::new(), Workshop::new());
    let now = SystemTime::now();
    let client = load(&workshop.client(now)).client_config().unwrap();
    let server = load(&other.server(now)).server_config().unwrap();
    let error = refusal(meet(client, server, "localhost"));
    assert!(matches!(error, Error::InvalidCertificate(_)), "{error}");
}

#[test]
fn an_expired_client_is_refused() {
    let workshop = Workshop::at(SystemTime::now() - 1000 * DAY);
    let node = load(&workshop.server(SystemTime::now()));
    let past = SystemTime::now() - 900 * DAY;
    let expired = Credentials::load(&workshop.client(past), past).unwrap();
    let (client, server) = (expired.client_config().unwrap(), node.server_config().unwrap());
    let error = refusal(meet(client, server, "localhost"));
    let expired = |reason: &CertificateError| {
        matches!(reason, CertificateError::Expired | CertificateError::ExpiredContext { .. })
    };
    assert!(matches!(&error, Error::InvalidCertificate(why) if expired(why)), "{error}");
}

#[test]
fn a_revoked_client_is_refused_even_where_it_was_known_before() {
    let now = SystemTime::now();
    let workshop = Workshop::new();
    let mut files = workshop.server(now);
    let ada = load(&workshop.client(now));
    let client = ada.client_config().unwrap();
    meet(client.clone(), load(&files).server_config().unwrap(), "localhost").unwrap();

    files.crlfile = Some(workshop.revoke(ada.identity().serial(), now + DAY));
    // The same client configuration, which holds a ticket of the first meeting.
    let error = refusal(meet(client, load(&files).server_config().unwrap(), "localhost"));
    assert_eq!(error, Error::InvalidCertificate(CertificateError::Revoked));
}

#[test]
fn a_server_under_another_name_is_refused() {
    let workshop = Workshop::new();
    let node = load(&workshop.server(SystemTime::now()));
    for host in ["other.example.com", "127.0.0.2"] {
        let (client, server) = (node.client_config().unwrap(), node.server_config().unwrap());
        let error = refusal(meet(client, server, host));
        assert!(
            matches!(
                error,
                Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })
            ),
            "{error}"
        );
    }
}

#[test]
fn a_client_is_no_server() {
    let workshop = Workshop::new();
    let client =
        load(&workshop.issue("bob", Subject::Client { name: "localhost" }, SystemTime::now()));
    let (config, server) = (client.client_config().unwrap(), client.server_config().unwrap());
    let error = refusal(meet(config, server, "localhost"));
    assert!(matches!(error, Error::InvalidCertificate(_)), "{error}");
}

/// A TLS 1.2 greeting, as RFC 5246 has it: no supported_versions extension.
#[test]
fn tls_1_2_is_impossible() {
    let mut hello = vec![0x03, 0x03];
    hello.extend([0x11; 32]); // random
    hello.push(0); // no session
    hello.extend([0, 2, 0xc0, 0x2b]); // ECDHE-ECDSA with AES-128-GCM
    hello.extend([1, 0]); // no compression
    let groups = [0, 0x0a, 0, 4, 0, 2, 0, 0x17];
    let signatures = [0, 0x0d, 0, 4, 0, 2, 4, 3];
    hello.extend([0, 16]);
    hello.extend(groups.iter().chain(&signatures));
    let mut handshake = vec![1, 0, 0, u8::try_from(hello.len()).unwrap()];
    handshake.append(&mut hello);
    let mut record = vec![22, 3, 1, 0, u8::try_from(handshake.len()).unwrap()];
    record.append(&mut handshake);

    let workshop = Workshop::new();
    let node = load(&workshop.server(SystemTime::now()));
    let mut server = ServerConnection::new(node.server_config().unwrap()).unwrap();
    server.read_tls(&mut &record[..]).unwrap();
    let error = server.process_new_packets().unwrap_err();
    assert!(matches!(error, Error::PeerIncompatible(_)), "{error}");
    assert_eq!(VERSIONS.len(), 1);
}
