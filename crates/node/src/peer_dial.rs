//! Makes one connection to another node: name, TCP, TLS, and the hellos of both ends.
//!
//! **Never:** speaks with a node that one of the two ends has not admitted (`NO_STRANGER`,
//! `DISK_NOT_OLDER`), or waits without a deadline.

use std::io;
use std::rc::Rc;
use std::time::SystemTime;

use paravon_model::{Address, Membership, NodeId, PeerHello};
use paravon_protocol::{
    Code, Envelope, FrameLimit, HEADER_BYTES, Hello, PROTOCOL_VERSION, Refused, Welcome,
    decode_reply, split_frame,
};
use paravon_replication::cluster::HelloRefusal;
use paravon_transport::{FrameStream, Identity};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::event_loop::Local;
use crate::inbox::Greeting;

/// A connection on which both ends have admitted each other.
pub(crate) struct Dialled {
    pub(crate) frames: FrameStream<TlsStream<TcpStream>>,
    /// What the other end says of itself.
    pub(crate) hello: PeerHello,
    /// When this node admitted that.
    pub(crate) greeting: Greeting,
}

/// Why there is no connection. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// Name, TCP or TLS.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Nothing happened for `server.handshake_timeout`.
    #[error("it does not answer")]
    Silent,
    /// It is no node, or speaks another protocol.
    #[error("{what}")]
    NotANode {
        /// What is wrong.
        what: &'static str,
    },
    /// The address leads back to this node.
    #[error("the address leads back to this node")]
    Own,
    /// The other end does not admit this node.
    #[error("{by} refuses this node: {message}")]
    Refused {
        /// Who.
        by: NodeId,
        /// As whom this node came.
        claimed: Option<Membership>,
        /// For programs.
        code: Code,
        /// For people.
        message: String,
    },
    /// This node does not admit the other end.
    #[error("{node_id} is refused: {refusal}")]
    Refuses {
        /// Whom.
        node_id: NodeId,
        /// Why.
        refusal: HelloRefusal,
    },
}

/// Connects to the node at `address`.
pub(crate) async fn dial(local: &Rc<Local>, address: &Address) -> Result<Dialled, DialError> {
    let limit = local.shared.config.server.handshake_timeout;
    // Boxed, so that the task of a link does not keep the room of its handshake.
    match timeout(limit, Box::pin(connect(local, address))).await {
        Ok(done) => done,
        Err(_) => Err(DialError::Silent),
    }
}

async fn connect(local: &Rc<Local>, address: &Address) -> Result<Dialled, DialError> {
    let shared = &local.shared;
    let tcp = connect_tcp(address).await?;
    let host = address.as_str().rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let mut stream = TlsConnector::from(shared.peer_tls()).connect(name, tcp).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certificate = certificate.ok_or(io::Error::from(io::ErrorKind::PermissionDenied))?;
    let identity = Identity::of(certificate).map_err(io::Error::other)?;
    let Some(node_id) = identity.node_id().filter(|_| !identity.is_expired(SystemTime::now()))
    else {
        return Err(DialError::NotANode { what: "its certificate is not a node's" });
    };

    let own = shared.hello();
    let (local_end, far_end) = (stream.get_ref().0.local_addr()?, stream.get_ref().0.peer_addr()?);
    let to_own_port =
        far_end.port() == shared.peer_address.port() && far_end.ip() == local_end.ip();
    if *node_id == own.node_id && to_own_port {
        return Err(DialError::Own);
    }
    let (welcome, rest) = greet(&mut stream, node_id, own.clone()).await?;
    let hello = welcome.node.ok_or(DialError::NotANode { what: "it does not say who it is" })?;
    let admitted = {
        let mut core = local.core.borrow_mut();
        let admitted = core.admit_dialled(shared.now(), node_id.clone(), hello.clone());
        core.end_batch();
        local.wake_after_batch(&core);
        admitted
    };
    match admitted.await {
        Ok(Ok((_, greeting))) => {
            Ok(Dialled { frames: FrameStream::resumed(stream, rest), hello, greeting })
        }
        Ok(Err(refusal)) => Err(DialError::Refuses { node_id: node_id.clone(), refusal }),
        Err(_) => Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()),
    }
}

/// The first of the name's addresses that accepts.
async fn connect_tcp(address: &Address) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for found in lookup_host(address.as_str()).await? {
        match TcpStream::connect(found).await {
            Ok(tcp) => {
                tcp.set_nodelay(true)?;
                return Ok(tcp);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Says hello; the answer, and what has been read beyond it.
async fn greet(
    stream: &mut TlsStream<TcpStream>,
    node_id: &NodeId,
    own: PeerHello,
) -> Result<(Welcome, Vec<u8>), DialError> {
    let claimed = own.membership;
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        client_id: String::new(),
        program: concat!("paravon ", env!("CARGO_PKG_VERSION")).to_owned(),
        node: Some(own),
    };
    let mut frame = Vec::with_capacity(512);
    hello.encode(None, &mut frame);
    stream.write_all(&frame).await?;
    stream.flush().await?;

    let garbage = |_| DialError::NotANode { what: "its answer is not understood" };
    let mut incoming = Vec::with_capacity(HEADER_BYTES + 512);
    let payload = loop {
        let whole = split_frame(&incoming, FrameLimit::for_values(0));
        match whole.map_err(|_| DialError::NotANode { what: "its answer is too long" })? {
            Some(payload) => break payload,
            // With TLS 1.3 a node that does not trust our certificate says so only here.
            None if stream.read_buf(&mut incoming).await? == 0 => {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            None => {}
        }
    };
    let rest = incoming.split_off(payload.end);
    let envelope = Envelope::decode(&incoming[payload])
        .map_err(|_| DialError::NotANode { what: "its answer is not understood" })?;
    if envelope.kind == "ko" {
        return Err(match decode_reply("ko", envelope.data) {
            Ok(Err(Refused { code, message, .. })) => {
                DialError::Refused { by: node_id.clone(), claimed, code, message }
            }
            _ => DialError::NotANode { what: "its answer is not understood" },
        });
    }
    let welcome = Welcome::decode(envelope.data).map_err(garbage)?;
    match welcome.protocol {
        PROTOCOL_VERSION => Ok((welcome, rest)),
        _ => Err(DialError::NotANode { what: "it speaks another version of the protocol" }),
    }
}
