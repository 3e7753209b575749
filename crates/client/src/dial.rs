//! Makes one connection: name, TCP, TLS, `hello`.
//!
//! **Never:** sends a request, keeps what a name meant the last time, or waits without a deadline.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use paravon_model::Outcome;
use paravon_protocol::{
    Envelope, HEADER_BYTES, Hello, PROTOCOL_VERSION, Refused, Welcome, decode_reply, split_frame,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::address::ServerAddress;
use crate::connection::Connection;
use crate::error::{ClientError, Violation};
use crate::session::frame_limit;

/// What every connection of a client has in common.
pub(crate) struct Dialer {
    /// TLS, with the client's certificate.
    pub(crate) tls: TlsConnector,
    /// What the client says first.
    pub(crate) hello: Hello,
    /// The deadline of the whole.
    pub(crate) connect_timeout: Duration,
    /// Most requests in flight, if the server does not ask for fewer.
    pub(crate) max_in_flight: usize,
}

impl Dialer {
    /// A connection to `server`, ready for requests.
    pub(crate) async fn dial(&self, server: &ServerAddress) -> Result<Connection, ClientError> {
        let after = self.connect_timeout;
        let too_late = |_| ClientError::ConnectTimeout { server: server.clone(), after };
        timeout(after, self.connect(server)).await.map_err(too_late)?
    }

    async fn connect(&self, server: &ServerAddress) -> Result<Connection, ClientError> {
        let failed = |source: io::Error| ClientError::Handshake {
            server: server.clone(),
            source: Arc::new(source),
        };
        let tcp = connect_tcp(server, self.connect_timeout).await?;
        let name = ServerName::try_from(server.host().to_owned())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let mut stream = self.tls.connect(name, tcp).await.map_err(failed)?;
        let (welcome, rest) = self.greet(&mut stream, server).await?;
        let in_flight = usize::try_from(welcome.limits.in_flight).unwrap_or(usize::MAX);
        let max_in_flight = self.max_in_flight.min(in_flight);
        Ok(Connection::start(stream, rest, max_in_flight, welcome.limits.value_bytes))
    }

    /// Says hello over a new stream; the answer, and what has been read beyond it.
    pub(crate) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        server: &ServerAddress,
    ) -> Result<(Welcome, Vec<u8>), ClientError> {
        let failed = |source: io::Error| ClientError::Handshake {
            server: server.clone(),
            source: Arc::new(source),
        };
        let garbage = |source: Violation| ClientError::Garbage {
            server: server.clone(),
            outcome: Outcome::Refused,
            source,
        };
        let mut frame = Vec::with_capacity(128);
        self.hello.encode(None, &mut frame);
        stream.write_all(&frame).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;

        let mut incoming = Vec::with_capacity(HEADER_BYTES + 512);
        let payload = loop {
            match split_frame(&incoming, frame_limit()).map_err(|e| garbage(e.into()))? {
                Some(payload) => break payload,
                // With TLS 1.3 a server that does not trust our certificate says so only here.
                None if stream.read_buf(&mut incoming).await.map_err(failed)? == 0 => {
                    return Err(failed(io::ErrorKind::UnexpectedEof.into()));
                }
                None => {}
            }
        };
        let rest = incoming.split_off(payload.end);
        let envelope = Envelope::decode(&incoming[payload]).map_err(|e| garbage(e.error.into()))?;
        if envelope.kind == "ko" {
            return Err(match decode_reply("ko", envelope.data) {
                Ok(Err(refused)) => refusal(server, refused),
                Ok(Ok(_)) => garbage(Violation::UnknownType),
                Err(error) => garbage(error.into()),
            });
        }
        let welcome = Welcome::decode(envelope.data).map_err(|_| garbage(Violation::Incomplete))?;
        match welcome.protocol {
            PROTOCOL_VERSION => Ok((welcome, rest)),
            version => Err(ClientError::Unsupported { server: server.clone(), version }),
        }
    }
}

/// The first of the name's addresses that accepts. Each gets an equal part of the time, so that one
/// that is silent does not take it all.
async fn connect_tcp(server: &ServerAddress, limit: Duration) -> Result<TcpStream, ClientError> {
    let resolve = |source: io::Error| ClientError::Resolve {
        server: server.clone(),
        source: Arc::new(source),
    };
    let found = lookup_host((server.host(), server.port())).await.map_err(resolve)?;
    let addresses: Vec<SocketAddr> = found.collect();
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match timeout(limit / count, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                // Requests are batched here; the kernel must not wait for more.
                let _best_effort = tcp.set_nodelay(true);
                return Ok(tcp);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(ClientError::Connect { server: server.clone(), source: Arc::new(last) })
}

/// A server's refusal as an error.
pub(crate) fn refusal(server: &ServerAddress, refused: Refused) -> ClientError {
    let Refused { code, message, outcome, retry_after_ms } = refused;
    ClientError::Refused { server: server.clone(), code, message, outcome, retry_after_ms }
}
