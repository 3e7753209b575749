//! A server that does what a test tells it to: it reads requests and answers, or misbehaves, by script.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use paravon_model::{Found, Hlc, Kind, Ordinal, Outcome, Reading, Value, Version, Written};
use paravon_protocol::{
    AdminReply, AdminRequest, ClientMessage, ClientRequest, Code, Envelope, FrameLimit, Hello,
    Limits, Refusal, RequestId, Welcome, encode_goaway, encode_reading, encode_refusal,
    encode_written, split_frame,
};
use paravon_transport::issue::{Authority, Subject};
use paravon_transport::{Credentials, Existing, TlsFiles};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::{Client, ClientOptions, Key, ServerOrder};

/// The longest value that the server says it takes.
pub(super) const VALUE_BYTES: usize = 1000;

/// A listening server; dropping it ends it and all its connections.
pub(super) struct FakeServer {
    /// Where it listens.
    pub(super) address: String,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

/// One connection, as the script sees it; `hello` is done.
pub(super) struct Peer {
    stream: TlsStream<TcpStream>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

/// A request, as the script sees it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) id: u64,
    pub(super) message: ClientMessage,
    pub(super) timeout: Option<Duration>,
}

impl FakeServer {
    /// A server that gives each connection, with its number from 0, to `script`.
    pub(super) async fn start<S, F>(script: S) -> Self
    where
        S: Fn(usize, Peer) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_with(64, script).await
    }

    /// The same, for at most `in_flight` requests at a time.
    pub(super) async fn start_with<S, F>(in_flight: u64, script: S) -> Self
    where
        S: Fn(usize, Peer) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let credentials = Credentials::load(&files("server"), SystemTime::now()).unwrap();
        let acceptor = TlsAcceptor::from(credentials.server_config().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        let script = Arc::new(script);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut sessions = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, script, counter) =
                    (acceptor.clone(), script.clone(), counter.clone());
                sessions.spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    let mut peer = Peer { stream, incoming: Vec::new(), outgoing: Vec::new() };
                    if peer.welcome(in_flight).await.is_some() {
                        script(counter.fetch_add(1, Ordering::SeqCst), peer).await;
                    }
                });
            }
        });
        Self { address, connections, _tasks: tasks }
    }

    /// How many connections have said hello.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Peer {
    async fn welcome(&mut self, in_flight: u64) -> Option<()> {
        let payload = self.payload().await?;
        let envelope = Envelope::decode(&payload).unwrap();
        assert_eq!(envelope.kind, Hello::KIND);
        assert_eq!(Hello::decode(envelope.data).unwrap().client_id, "test");
        let limits = Limits { key_bytes: 4096, value_bytes: VALUE_BYTES as u64, in_flight };
        let (node_id, cluster_id) = ("node-1".to_owned(), "0".repeat(32));
        let welcome = Welcome { protocol: 1, node_id, cluster_id, limits, node: None };
        welcome.encode(envelope.id, &mut self.outgoing);
        self.send().await
    }

    async fn payload(&mut self) -> Option<Vec<u8>> {
        let limit = FrameLimit::for_values(VALUE_BYTES);
        loop {
            if let Some(range) = split_frame(&self.incoming, limit).unwrap() {
                let rest = self.incoming.split_off(range.end);
                let frame = std::mem::replace(&mut self.incoming, rest);
                return Some(frame[range].to_vec());
            }
            if self.stream.read_buf(&mut self.incoming).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// The next request; `None` once the client has gone.
    pub(super) async fn request(&mut self) -> Option<Seen> {
        let payload = self.payload().await?;
        let envelope = Envelope::decode(&payload).unwrap();
        let request = ClientRequest::decode(&envelope, VALUE_BYTES).unwrap();
        let ClientRequest { message, timeout, .. } = request;
        Some(Seen { id: envelope.id.unwrap(), message, timeout })
    }

    /// The next admin message, and its number; `None` once the client has gone.
    pub(super) async fn admin_request(&mut self) -> Option<(u64, AdminRequest)> {
        let payload = self.payload().await?;
        let envelope = Envelope::decode(&payload).unwrap();
        Some((envelope.id.unwrap(), AdminRequest::decode(&envelope).unwrap()))
    }

    pub(super) async fn tell(&mut self, id: u64, reply: &AdminReply) {
        reply.encode(Some(id), &mut self.outgoing);
        self.send().await;
    }

    /// Answers everything with [`answer`](Self::answer), until the client goes.
    pub(super) async fn serve(mut self) {
        while let Some(seen) = self.request().await {
            self.answer(&seen).await;
        }
    }

    /// A get finds its own key as the value; a write is done.
    pub(super) async fn answer(&mut self, seen: &Seen) {
        let version = Version { hlc: Hlc::new(1, 2), ordinal: Ordinal(1) };
        let written = Written { version, kind: Some(Kind::Bytes), acks: 2, replicas: 3 };
        let (id, request_id) = (Some(seen.id), RequestId::from_text("r"));
        match &seen.message {
            ClientMessage::Get(get) => {
                let value = Value::bytes(get.key.bytes());
                let reading = Reading { found: Some(Found { value, version, expires_ms: None }) };
                encode_reading(&mut self.outgoing, id, &reading, "node-1", &request_id);
            }
            _ => encode_written(&mut self.outgoing, id, &written, "node-1", &request_id),
        }
        self.send().await;
    }

    pub(super) async fn refuse(&mut self, seen: &Seen, code: Code, outcome: Outcome) {
        let mut refusal = Refusal::new(code, "because".to_owned());
        refusal.outcome = outcome;
        refusal.retry_after_ms = Some(1);
        encode_refusal(&mut self.outgoing, Some(seen.id), &refusal, None);
        self.send().await;
    }

    pub(super) async fn goaway(&mut self) {
        encode_goaway(&mut self.outgoing);
        self.send().await;
    }

    /// Sends these bytes, whatever they are.
    pub(super) async fn send_raw(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
        self.send().await;
    }

    async fn send(&mut self) -> Option<()> {
        self.stream.write_all(&self.outgoing).await.ok()?;
        self.outgoing.clear();
        self.stream.flush().await.ok()
    }
}

/// A client of these servers, in this order, that waits at most two seconds.
pub(super) fn client(servers: &[&str]) -> Client {
    Client::new(options(servers)).unwrap()
}

pub(super) fn options(servers: &[&str]) -> ClientOptions {
    let servers = servers.iter().map(|&server| server.to_owned()).collect();
    let mut options = ClientOptions::new(servers, files("client"));
    options.order = ServerOrder::Listed;
    options.client_id = "test".to_owned();
    options.timeout = Duration::from_secs(2);
    options
}

pub(super) fn key(text: &str) -> Key {
    Key::new("default", text.as_bytes()).unwrap()
}

/// An address where nobody listens.
pub(super) fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// The files of `server`, of `client`, and of a client of `other`, an authority that the server does not
/// trust and that does not trust the server.
pub(super) fn files(who: &str) -> TlsFiles {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        for authority in ["ca", "other"] {
            let place = folder.path().join(authority);
            Authority::make(now).unwrap().write(&place, Existing::Keep).unwrap();
            let authority = Authority::read(&place).unwrap();
            let ip = ["127.0.0.1".parse().unwrap()];
            let server = Subject::Server { name: "node-1", dns: &[], addresses: &ip };
            let client = Subject::Client { name: "ada" };
            for subject in [server, client] {
                authority.issue(subject, now).unwrap().write(&place, Existing::Keep).unwrap();
            }
        }
        folder
    });
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let (authority, pair) = match who {
        "other" => ("other", "client"),
        who => ("ca", who),
    };
    TlsFiles {
        certfile: path(&format!("{authority}/{pair}.crt")),
        keyfile: path(&format!("{authority}/{pair}.key")),
        cafile: path(&format!("{authority}/ca.crt")),
        crlfile: None,
    }
}
