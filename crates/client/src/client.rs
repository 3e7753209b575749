//! The client's methods: one for each thing that a node can be asked.
//!
//! **Never:** a method that can wait for ever, or that hides whether a write may be stored.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use paravon_model::{ChangeId, Delete, Get, Key, Outcome, Put, Value};
use paravon_protocol::{
    AdminRequest, ClientMessage, ClusterStatus, Hello, Loss, LossReply, MAX_LISTED_PARTITIONS,
    NodeStatus, OperationReply, OperationStatus, PROTOCOL_VERSION, PartitionsReply, PlanReply,
    Replied, decode_reply,
};
use paravon_transport::{Credentials, TlsError, TlsWarning};
use tokio_rustls::TlsConnector;

use crate::address::ServerAddress;
use crate::backoff::random;
use crate::call::call;
use crate::change::MemberChange;
use crate::dial::Dialer;
use crate::error::{ClientError, Violation};
use crate::message::Message;
use crate::options::{ClientOptions, PutOptions, RequestOptions, ServerOrder};
use crate::pool::Pool;
use crate::result::{Found, Written};

/// A client of one cluster. Cheap to clone; clones share the connections, and when the last is dropped
/// the connections end.
///
/// Every method may be called from many tasks at once: requests share a connection, and answers come in
/// whatever order the server has them.
///
/// ```no_run
/// # use paravon_client::{Client, ClientOptions, Key, PutOptions, RequestOptions, TlsFiles, Value};
/// # async fn example(tls: TlsFiles) -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::new(ClientOptions::new(vec!["127.0.0.1:2000".into()], tls))?;
/// let key = Key::new("users", b"souls")?;
/// client.put(&key, Value::bytes(b"21 grams"), PutOptions::default()).await?;
/// let found = client.get(&key, RequestOptions::default()).await?;
/// assert_eq!(found.map(|found| found.value), Some(Value::bytes(b"21 grams")));
/// # Ok(())
/// # }
/// ```
///
/// # Retries
/// A read is tried again, on the next server, until its deadline. A write is tried again only where
/// nothing was stored: it could not be sent in full, or the server answered `refused` with a reason
/// that may pass. **A write whose outcome is unknown is returned as an error and never sent again**
/// ([`ClientError::outcome`]). A caller who sends it again at his own risk should know that at another
/// node this is a new write: it gets a larger version, and replaces what anyone wrote in between.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    timeout: Duration,
    max_attempts: u32,
    warnings: Vec<TlsWarning>,
}

impl Client {
    /// A client with these options. Reads the certificate files; connects at the first request.
    ///
    /// # Errors
    /// The options name no server, something that is no address, or certificates that cannot be used.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let parse = |text: &String| {
            ServerAddress::parse(text).ok_or_else(|| ClientError::Address { text: text.clone() })
        };
        let servers: Vec<_> = options.servers.iter().map(parse).collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err(ClientError::NoServers);
        }
        let unusable = |source: TlsError| ClientError::Certificate { source: Arc::new(source) };
        let credentials = Credentials::load(&options.tls, SystemTime::now()).map_err(unusable)?;
        let tls = TlsConnector::from(credentials.client_config().map_err(unusable)?);
        let ClientOptions { client_id, program, connect_timeout, max_in_flight, .. } = options;
        let hello = Hello { protocol: PROTOCOL_VERSION, client_id, program, node: None };
        let dialer = Dialer { tls, hello, connect_timeout, max_in_flight };
        let first = match options.order {
            ServerOrder::Listed => 0,
            ServerOrder::Spread => usize::try_from(random() >> 32).unwrap_or_default(),
        };
        let inner = Inner {
            pool: Pool::new(dialer, servers, first),
            timeout: options.timeout,
            max_attempts: options.max_attempts,
            warnings: credentials.warnings().to_vec(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Connects to the first server that can be reached, so that what is wrong shows before the first
    /// request. Only those who want to know it early need this.
    ///
    /// # Errors
    /// No server can be reached; the error is that of the last one.
    pub async fn connect(&self) -> Result<(), ClientError> {
        let pool = &self.inner.pool;
        let mut last = ClientError::NoServers;
        for _ in 0..pool.len() {
            let index = pool.preferred();
            match pool.connection(index).await {
                Ok(_) => return Ok(()),
                Err(error) => last = error,
            }
            pool.avoid(index);
        }
        Err(last)
    }

    /// What is usable about the certificates and should be mended.
    #[must_use]
    pub fn warnings(&self) -> &[TlsWarning] {
        &self.inner.warnings
    }

    /// Stores `value` under `key`.
    ///
    /// # Errors
    /// [`ClientError::outcome`] says whether the value may be stored all the same.
    pub async fn put(
        &self,
        key: &Key,
        value: Value,
        options: PutOptions,
    ) -> Result<Written, ClientError> {
        let PutOptions { consistency, timeout, ttl } = options;
        let put = Put { key: key.clone(), value, ttl, consistency };
        self.write(ClientMessage::Put(put), timeout).await
    }

    /// Deletes `key`. Deleting an absent key succeeds.
    ///
    /// # Errors
    /// [`ClientError::outcome`] says whether the key may be deleted all the same.
    pub async fn delete(&self, key: &Key, options: RequestOptions) -> Result<Written, ClientError> {
        let delete = Delete { key: key.clone(), consistency: options.consistency };
        self.write(ClientMessage::Delete(delete), options.timeout).await
    }

    /// The value of `key`; `None` where it is absent, deleted or expired.
    ///
    /// # Errors
    /// No server could answer with the consistency asked for. Never means absent.
    pub async fn get(
        &self,
        key: &Key,
        options: RequestOptions,
    ) -> Result<Option<Found>, ClientError> {
        let get = Get { key: key.clone(), consistency: options.consistency };
        let message = Message::Data(ClientMessage::Get(get));
        let (_, reply) = self.data(message, options.timeout, Outcome::Refused).await?;
        Ok(Found::from_reply(reply))
    }

    async fn write(
        &self,
        message: ClientMessage,
        timeout: Option<Duration>,
    ) -> Result<Written, ClientError> {
        let (index, reply) = self.data(Message::Data(message), timeout, Outcome::Unknown).await?;
        let incomplete = || self.garbage(index, Outcome::Unknown, Violation::Incomplete);
        Written::from_reply(reply).ok_or_else(incomplete)
    }

    /// Sends a data message; `outcome` is what an answer that cannot be read leaves.
    async fn data(
        &self,
        message: Message,
        timeout: Option<Duration>,
        outcome: Outcome,
    ) -> Result<(usize, Replied), ClientError> {
        let (index, data) = self.call(message, timeout).await?;
        match decode_reply("ok", &data) {
            Ok(Ok(reply)) => Ok((index, reply)),
            Ok(Err(_)) => Err(self.garbage(index, outcome, Violation::UnknownType)),
            Err(error) => Err(self.garbage(index, outcome, error.into())),
        }
    }

    /// What the node is and how it fares. For a peer port.
    ///
    /// # Errors
    /// No server answered.
    pub async fn node_status(&self) -> Result<NodeStatus, ClientError> {
        let message = Message::Admin(AdminRequest::NodeStatus);
        let (index, data) = self.call(message, None).await?;
        NodeStatus::decode(&data)
            .map_err(|_| self.garbage(index, Outcome::Refused, Violation::Incomplete))
    }

    /// The cluster as this node sees it. For a peer port.
    ///
    /// # Errors
    /// No server answered, or the node belongs to no cluster yet.
    pub async fn cluster_status(&self) -> Result<ClusterStatus, ClientError> {
        let message = Message::Admin(AdminRequest::ClusterStatus);
        let (index, data) = self.call(message, None).await?;
        ClusterStatus::decode(&data)
            .map_err(|_| self.garbage(index, Outcome::Refused, Violation::Incomplete))
    }

    /// Changes the members. For a peer port, with an administrator's certificate.
    ///
    /// A node that comes in is asked itself, and answers once it is a member, though not once it has all
    /// its data. Any member is asked for everything else; it answers with the name of an operation, which
    /// then goes on by itself: [`operation`](Self::operation) says how far it is.
    ///
    /// # Errors
    /// It was refused, and the message says why; or the answer was lost, and the change may be under way:
    /// [`cluster_status`](Self::cluster_status) says so.
    pub async fn change(&self, change: &MemberChange) -> Result<OperationReply, ClientError> {
        let (index, data) = self.call(Message::Admin(change.request(false)), None).await?;
        OperationReply::decode(&data)
            .map_err(|_| self.garbage(index, Outcome::Unknown, Violation::Incomplete))
    }

    /// What [`change`](Self::change) would move. Changes nothing.
    ///
    /// # Errors
    /// It would be refused, and the message says why.
    pub async fn plan(&self, change: &MemberChange) -> Result<PlanReply, ClientError> {
        let (index, data) = self.call(Message::Admin(change.request(true)), None).await?;
        PlanReply::decode(&data)
            .map_err(|_| self.garbage(index, Outcome::Refused, Violation::Incomplete))
    }

    /// Gives up the change of the members that is under way. For a peer port of any member, with an
    /// administrator's certificate.
    ///
    /// # Errors
    /// There is none, or too few members answered; or the answer was lost.
    pub async fn cancel(&self) -> Result<OperationReply, ClientError> {
        let (index, data) = self.call(Message::Admin(AdminRequest::Cancel), None).await?;
        OperationReply::decode(&data)
            .map_err(|_| self.garbage(index, Outcome::Unknown, Violation::Incomplete))
    }

    /// How far an operation is that [`change`](Self::change) named. For a peer port of any member.
    ///
    /// # Errors
    /// The member knows no such operation.
    pub async fn operation(&self, id: ChangeId) -> Result<OperationStatus, ClientError> {
        let request = AdminRequest::OperationStatus { id };
        let (index, data) = self.call(Message::Admin(request), None).await?;
        OperationStatus::decode(&data)
            .map_err(|_| self.garbage(index, Outcome::Refused, Violation::Incomplete))
    }

    /// How the partitions fare that the node stores: those behind `after`, up to a page of them. For a peer
    /// port.
    ///
    /// # Errors
    /// No server answered.
    pub async fn partitions(&self, after: Option<u32>) -> Result<PartitionsReply, ClientError> {
        let request = AdminRequest::Partitions { after, limit: MAX_LISTED_PARTITIONS };
        let (index, data) = self.call(Message::Admin(request), None).await?;
        PartitionsReply::decode(&data)
            .map_err(|_| self.garbage(index, Outcome::Refused, Violation::Incomplete))
    }

    /// Makes the node take the best that is left of what is damaged there, although a newer write may be
    /// lost. For a peer port, with an administrator's certificate. The node goes on by itself:
    /// [`node_status`](Self::node_status) says what is damaged still.
    ///
    /// # Errors
    /// The node refused; or its answer was lost, and it may be doing so.
    pub async fn accept_loss(&self, loss: &Loss) -> Result<LossReply, ClientError> {
        let request = AdminRequest::AcceptLoss(loss.clone());
        let (index, data) = self.call(Message::Admin(request), None).await?;
        LossReply::decode(&data)
            .map_err(|_| self.garbage(index, Outcome::Unknown, Violation::Incomplete))
    }

    /// Makes the node read its certificates, key and authorities anew. For a peer port, with an
    /// administrator's certificate.
    ///
    /// # Errors
    /// The server refused, and keeps what it had; or its answer was lost, and it may have reloaded.
    pub async fn reload(&self) -> Result<(), ClientError> {
        self.call(Message::Admin(AdminRequest::Reload), None).await.map(|_| ())
    }

    /// Whether a node answers at all. For a peer port.
    ///
    /// # Errors
    /// None did.
    pub async fn healthz(&self) -> Result<(), ClientError> {
        self.call(Message::Admin(AdminRequest::Healthz), None).await.map(|_| ())
    }

    /// Ends all connections, with a moment for the answers that are due. Later requests connect anew.
    pub async fn close(&self) {
        self.inner.pool.close().await;
    }

    async fn call(
        &self,
        message: Message,
        timeout: Option<Duration>,
    ) -> Result<(usize, Vec<u8>), ClientError> {
        let timeout = timeout.unwrap_or(self.inner.timeout);
        call(&self.inner.pool, message, timeout, self.inner.max_attempts).await
    }

    fn garbage(&self, index: usize, outcome: Outcome, source: Violation) -> ClientError {
        let server = self.inner.pool.address(index).clone();
        ClientError::Garbage { server, outcome, source }
    }
}
