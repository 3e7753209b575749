//! A client that sends any bytes over TLS, and reads frames.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use paravon_transport::{Credentials, TlsFiles};
use rmpv::Value;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::folder::Folder;
use super::node::PATIENCE;

/// A TLS connection to a node.
pub(crate) struct Raw {
    pub(crate) stream: StreamOwned<ClientConnection, TcpStream>,
}

/// A TCP connection on which no read waits for ever.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the node listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// A request's payload.
pub(crate) fn message(kind: &str, fields: &[(&str, Value)]) -> Vec<u8> {
    let pairs = fields.iter().map(|(name, value)| (Value::from(*name), value.clone()));
    let envelope = Value::Map(vec![
        ("type".into(), kind.into()),
        ("data".into(), Value::Map(pairs.collect())),
    ]);
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &envelope).expect("written to memory");
    bytes
}

/// The certificate files of `who` in `folder`.
fn files_of(folder: &Folder, who: &str) -> TlsFiles {
    let file = |name: &str| -> PathBuf { folder.path(name) };
    let stem = if who.starts_with("node") { "server" } else { "client" };
    TlsFiles {
        certfile: file(&format!("{who}/{stem}.crt")),
        keyfile: file(&format!("{who}/{stem}.key")),
        cafile: file("ca/ca.crt"),
        crlfile: None,
    }
}

impl Raw {
    /// Connects with the certificate of `who`: `client`, `admin`, or a node's folder.
    pub(crate) fn connect(folder: &Folder, who: &str, address: SocketAddr) -> Self {
        let credentials = Credentials::load(&files_of(folder, who), SystemTime::now());
        let config = credentials.and_then(|c| c.client_config()).expect("good certificates");
        Self::with(config, address)
    }

    /// Connects as `config` says.
    pub(crate) fn with(config: Arc<ClientConfig>, address: SocketAddr) -> Self {
        let name = ServerName::from(address.ip());
        let connection = ClientConnection::new(config, name).expect("a client");
        Self { stream: StreamOwned::new(connection, connect(address)) }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("sent");
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush())
    }

    /// Sends a payload as a frame.
    pub(crate) fn send_frame(&mut self, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a short payload");
        self.send(&[&length.to_be_bytes(), payload].concat());
    }

    /// The payload of the next frame.
    pub(crate) fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header)?;
        let mut payload = vec![0; u32::from_be_bytes(header) as usize];
        self.stream.read_exact(&mut payload)?;
        Ok(payload)
    }

    /// The next frame as MessagePack.
    pub(crate) fn receive_value(&mut self) -> Value {
        self.try_receive_value().expect("a frame")
    }

    /// The next frame as MessagePack, unless the connection ends first.
    pub(crate) fn try_receive_value(&mut self) -> io::Result<Value> {
        let payload = self.receive()?;
        let mut rest = payload.as_slice();
        let value = rmpv::decode::read_value(&mut rest).expect("MessagePack");
        assert!(rest.is_empty(), "bytes after the message");
        Ok(value)
    }

    /// The `code` of a refusal.
    pub(crate) fn receive_code(&mut self) -> String {
        let value = self.receive_value();
        assert_eq!(value["type"], Value::from("ko"), "{value}");
        value["data"]["code"].as_str().expect("a code").to_owned()
    }

    /// Reads `key`; whatever the node answers. Asserts only that it serves.
    pub(crate) fn get(&mut self, key: &str) -> Value {
        self.send_frame(&message("get", &[("key", key.into())]));
        self.receive_value()
    }

    /// Stores a value, which must succeed.
    pub(crate) fn put(&mut self, key: &str, value: &[u8]) {
        self.send_frame(&message("put", &[("key", key.into()), ("value", value.into())]));
        let reply = self.receive_value();
        assert_eq!(reply["type"], Value::from("ok"), "{reply}");
    }

    /// Says `hello`, so that the node knows a client that understands `goaway`.
    pub(crate) fn hello(&mut self) {
        self.send_frame(&message("hello", &[("protocol", 1.into())]));
        assert_eq!(self.receive_value()["type"], Value::from("ok"));
    }

    /// Whether the server has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0; 1]), Ok(0) | Err(_))
    }
}
