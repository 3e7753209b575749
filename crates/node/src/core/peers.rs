//! Other nodes: their hellos, their requests, the links to them and the replies that come over those.
//! Peers have a lane of their own: no limit of clients stops them.
//!
//! **Never:** takes a message between nodes from anyone whose certificate and hello do not agree, or
//! from one that the cluster machine did not admit (`NO_STRANGER`).

use std::collections::HashMap;
use std::rc::Rc;

use paravon_model::{
    Command, Compare, Fence, Hlc, NodeId, Ordinal, PeerHello, ReplicaReply, ReplicaRequest,
};
use paravon_protocol::{
    Code, MAX_VALUE_BYTES, PeerFrame, Refusal, decode_peer_frame, encode_replica_reply,
};
use paravon_replication::cluster::{ClusterEvent, HelloRefusal};
use paravon_replication::{Event, Now, OperationId, PeerToken};
use paravon_ring::{KeyHash, Layout, Partition, Shift, shard_of};
use tokio::sync::oneshot;

use super::Core;
use crate::asked::{Asked, Question};
use crate::failure;
use crate::inbox::{Admitted, Asker, Greeting, Message};
use crate::links::{Link, LinkChange};
use crate::outbox::Correlation;
use crate::session::{PeerNode, Port, Session};

/// Who waits for the cluster machine to admit a node.
pub(super) enum Admitting {
    /// A connection that came in.
    Session { session: Rc<Session>, correlation: Correlation, node: PeerNode },
    /// A connection that was dialled.
    Link(oneshot::Sender<Admitted>),
}

impl Core {
    /// Takes the hello of a connection that says it is a node's.
    pub(super) fn greet_node(
        &mut self,
        now: Now,
        session: &Rc<Session>,
        correlation: Correlation,
        hello: PeerHello,
    ) {
        let certificate = session.identity.node_id().filter(|_| session.port == Port::Peer);
        let Some(certificate) = certificate.filter(|name| **name == hello.node_id).cloned() else {
            let message = format!(
                "{} says that it is node {}: a node shows a certificate of its own name, on the peer port",
                session.identity, hello.node_id
            );
            tracing::warn!(peer = %session.peer, "refused: {message}");
            return session.expel(correlation, &Refusal::new(Code::Unauthenticated, message));
        };
        let ordinal = hello.membership.map(|membership| membership.ordinal);
        let greeting = Greeting::default();
        let node = PeerNode { node_id: certificate.clone(), ordinal, greeting };
        let session = session.clone();
        let admitting = Admitting::Session { session, correlation, node };
        self.ask_to_admit(now, admitting, certificate, hello);
    }

    /// Asks the cluster machine whether a node is spoken to; what it says goes to `admitting`.
    fn ask_to_admit(
        &mut self,
        now: Now,
        admitting: Admitting,
        certificate: NodeId,
        hello: PeerHello,
    ) {
        let asker = Asker { index: self.index, slot: self.admitting.insert(admitting) };
        self.route_to_cluster(now, Message::Hello { asker, certificate, hello });
    }

    /// The same for a connection that this loop has dialled.
    pub(crate) fn admit_dialled(
        &mut self,
        now: Now,
        certificate: NodeId,
        hello: PeerHello,
    ) -> oneshot::Receiver<Admitted> {
        let (admit, admitted) = oneshot::channel();
        self.ask_to_admit(now, Admitting::Link(admit), certificate, hello);
        admitted
    }

    /// The cluster machine has decided.
    pub(super) fn admitted(&mut self, slot: usize, admitted: Admitted) {
        match self.admitting.remove(slot) {
            // A link that has ended meanwhile waits no more.
            Admitting::Link(admit) => drop(admit.send(admitted)),
            Admitting::Session { session, correlation, mut node } => match admitted {
                Ok((own, greeting)) => {
                    node.greeting = greeting;
                    let cluster_id = own.membership.map(|m| m.cluster_id.to_string());
                    let welcome = self.shared.welcome(cluster_id.unwrap_or_default(), Some(own));
                    tracing::debug!(peer = %session.peer, node = %node.node_id, "a node has come");
                    session.node.replace(Some(node));
                    session.reply(correlation, |out, id| welcome.encode(id, out));
                    session.greet();
                    session.wake();
                }
                Err(refusal) => {
                    tracing::warn!(peer = %session.peer, "refused node {}: {refusal}", node.node_id);
                    let why = Refusal::new(code_of(&refusal), refusal.to_string());
                    session.expel(correlation, &why);
                }
            },
        }
    }

    /// Takes a frame that only nodes send.
    pub(super) fn receive_from_peer(&mut self, now: Now, session: &Rc<Session>, payload: &[u8]) {
        let Some(node) = session.node.borrow().clone() else {
            let message = format!(
                "{} is no node that has said hello, so it sends no messages of nodes",
                session.identity
            );
            tracing::warn!(peer = %session.peer, "refused: {message}");
            let why = Refusal::new(Code::Unauthenticated, message);
            return session.expel(session.correlate(None), &why);
        };
        if node.greeting < self.greeting {
            let message = "this node goes on after a rescue; say hello again".to_owned();
            let why = Refusal::new(Code::WrongCluster, message);
            return session.expel(session.correlate(None), &why);
        }
        match decode_peer_frame(payload, MAX_VALUE_BYTES) {
            Ok(PeerFrame::Request { shard, operation, request }) => {
                let from = number_of(&node, &self.ordinals);
                let bytes = payload.len();
                let asked = Correlated { shard, operation, bytes };
                self.replica_request(now, session, from, asked, request);
            }
            Ok(PeerFrame::Cluster(message)) => {
                let told = ClusterEvent::Told { from: node.node_id, message };
                self.route_to_cluster(now, Message::Cluster(told));
            }
            Ok(PeerFrame::Reply { .. }) => {
                tracing::debug!(node = %node.node_id, "a reply came where nothing is asked");
            }
            Err(error) => {
                tracing::warn!(node = %node.node_id, %error, "a message of a node is not understood");
                session.expel(session.correlate(None), &error.into());
            }
        }
    }

    fn replica_request(
        &mut self,
        now: Now,
        session: &Rc<Session>,
        from: Option<Ordinal>,
        asked: Correlated,
        request: ReplicaRequest,
    ) {
        let Correlated { shard, operation, bytes } = asked;
        let Some(layout) = &self.layout else {
            session.append(|out| encode_replica_reply(out, shard, operation, &NO_LAYOUT));
            return session.wake();
        };
        // A node without a number coordinates nothing.
        let Some(from) = from else { return };
        let Some((partition, hash)) = place_of(&request.command, layout) else {
            return tracing::warn!(%from, "asked for a partition that there is not");
        };
        let own_shard = shard_of(partition, self.shared.shards);
        let deadline = now.monotonic.saturating_add(request.time_left);
        let session = session.clone();
        let question = Question { session, shard, operation, bytes, deadline };
        match self.asked.ask(question) {
            Ok(token) => {
                self.dispatch(now, own_shard, Event::Asked { from, token, hash, request });
            }
            Err(Question { session, .. }) => {
                let reply = overloaded(&request.command);
                session.append(|out| encode_replica_reply(out, shard, operation, &reply));
                session.wake();
            }
        }
    }

    /// Brings a shard's answer to the peer that asked.
    pub(super) fn answer_peer(&mut self, token: PeerToken, reply: ReplicaReply) {
        match Asked::loop_of(token) {
            here if here == self.index => {
                let Some(question) = self.asked.take(token) else { return };
                let Question { session, shard, operation, .. } = question;
                session.append(|out| encode_replica_reply(out, shard, operation, &reply));
                session.wake();
            }
            elsewhere => self.outgoing[elsewhere].push(Message::PeerReply { token, reply }),
        }
    }

    /// Takes a frame that came over the link to `peer`.
    ///
    /// # Errors
    /// It is not understood; the link is to end.
    pub(crate) fn receive_over_link(
        &mut self,
        now: Now,
        peer: &NodeId,
        payload: &[u8],
    ) -> Result<(), paravon_protocol::DecodeError> {
        self.frames += 1;
        let PeerFrame::Reply { shard, operation, reply } =
            decode_peer_frame(payload, MAX_VALUE_BYTES)?
        else {
            return Ok(());
        };
        let ours = shard < self.shared.shards
            && self.shared.inboxes.loop_of(shard) == self.index
            && !self.shards[self.local(shard)].is_idle();
        if let (true, Some(&from)) = (ours, self.ordinals.get(peer)) {
            let operation = OperationId::from_u64(operation ^ self.mask);
            self.step(now, self.local(shard), Event::Answered { from, operation, reply });
        }
        Ok(())
    }

    /// A link is up: both ends have admitted each other.
    pub(crate) fn link_up(
        &mut self,
        now: Now,
        link: &Rc<Link>,
        hello: PeerHello,
        greeting: Greeting,
    ) {
        if greeting < self.greeting {
            return link.outdate();
        }
        if !self.links.up(link.clone(), hello.clone(), &self.ordinals) {
            return;
        }
        if let Some(&peer) = self.ordinals.get(&hello.node_id) {
            self.step_all(now, &Event::LinkUp { peer });
        }
        if self.index == 0 {
            self.route_to_cluster(now, Message::Cluster(ClusterEvent::Linked { hello }));
        }
    }

    /// The connection of a link has ended.
    pub(crate) fn link_down(&mut self, now: Now, link: &Rc<Link>, peer: &NodeId) {
        let change = self.links.down(link, peer, &self.ordinals);
        if matches!(change, LinkChange::None) {
            return;
        }
        let ordinal = self.ordinals.get(peer).copied();
        if let Some(peer) = ordinal {
            self.step_all(now, &Event::LinkDown { peer });
        }
        if self.index == 0 {
            let peer = peer.clone();
            self.route_to_cluster(now, Message::Cluster(ClusterEvent::Unlinked { peer }));
        }
        let LinkChange::Replaced(hello) = change else { return };
        if let Some(peer) = ordinal {
            self.step_all(now, &Event::LinkUp { peer });
        }
        if self.index == 0 {
            self.route_to_cluster(now, Message::Cluster(ClusterEvent::Linked { hello }));
        }
    }

    /// Tells every shard of this loop.
    pub(super) fn step_all(&mut self, now: Now, event: &Event) {
        for local in 0..self.shards.len() {
            self.step(now, local, event.clone());
        }
    }
}

/// What a node answers that has no layout yet, or whose shard has none: the peer sends again soon.
pub(super) const NO_LAYOUT: ReplicaReply =
    ReplicaReply::LaterLayout { known: Fence { generation: 0, number: 0 } };

/// A member's number is what the layout says. What a node says of itself counts only where no member
/// has that number: it may come from a later document, which is then asked for (`NO_STRANGER`).
fn number_of(node: &PeerNode, members: &HashMap<NodeId, Ordinal>) -> Option<Ordinal> {
    let is_free = |claimed: &Ordinal| !members.values().any(|member| member == claimed);
    members.get(&node.node_id).copied().or_else(|| node.ordinal.filter(is_free))
}

/// What ties a reply to a peer's request, and what the request takes.
struct Correlated {
    shard: u16,
    operation: u64,
    bytes: usize,
}

/// Where on the ring the receiver of a request is to look; none where the ring has no such place.
fn place_of(command: &Command, layout: &Layout) -> Option<(Partition, KeyHash)> {
    let shift = layout.shift();
    match command {
        Command::Store { key, .. } | Command::Read { key } => {
            let hash = layout.hash(key);
            Some((hash.partition(shift), hash))
        }
        Command::Pull { partition, .. } | Command::Compare(Compare::Digest { partition }) => {
            place_of_partition(*partition, shift)
        }
        // All partitions of a class are of one shard, or the shard says that they are not.
        Command::Compare(Compare::Folds { class, .. } | Compare::Marks { class, .. }) => {
            place_of_partition(class.residue, shift)
        }
    }
}

fn place_of_partition(number: u32, shift: Shift) -> Option<(Partition, KeyHash)> {
    let partition = Partition(number);
    let exists = number < shift.partitions();
    exists.then(|| (partition, partition.arc(shift).first))
}

/// The answer where too much is under way.
fn overloaded(command: &Command) -> ReplicaReply {
    match command {
        Command::Store { record, .. } => {
            ReplicaReply::Stored { stamp: record.version, answer: Err(failure::OVERLOADED) }
        }
        Command::Read { .. } => {
            ReplicaReply::Found { answer: Err(failure::OVERLOADED), floor: Hlc::ZERO }
        }
        Command::Pull { .. } => ReplicaReply::Pulled { answer: Err(failure::OVERLOADED) },
        Command::Compare(_) => ReplicaReply::Compared { answer: Err(failure::OVERLOADED) },
    }
}

/// What the refusal of a node is on the wire.
fn code_of(refusal: &HelloRefusal) -> Code {
    match refusal {
        HelloRefusal::OldDisk { .. } => Code::OldDisk,
        HelloRefusal::Removed { .. } => Code::Removed,
        HelloRefusal::OtherCluster { .. } | HelloRefusal::OtherGeneration { .. } => {
            Code::WrongCluster
        }
        _ => Code::Unauthenticated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_node_is_told_what_only_it_can_mend() {
        let (node_id, claimed) = (NodeId::new("node-1").unwrap(), Ordinal(1));
        let removed = HelloRefusal::Removed { node_id: node_id.clone(), claimed };
        assert_eq!(code_of(&removed), Code::Removed);
        assert_eq!(code_of(&HelloRefusal::OldDisk { ordinal: claimed }), Code::OldDisk);
        let wrong = HelloRefusal::WrongOrdinal { node_id, claimed };
        assert_eq!(code_of(&wrong), Code::Unauthenticated);
    }

    #[test]
    fn nobody_takes_a_members_number_by_claiming_it() {
        let name = |text| NodeId::new(text).unwrap();
        let greeting = Greeting::default();
        let claims = |text, ordinal| PeerNode { node_id: name(text), ordinal, greeting };
        let members = HashMap::from([(name("node-1"), Ordinal(1))]);
        let number = |node: PeerNode| number_of(&node, &members);
        assert_eq!(number(claims("node-1", None)), Some(Ordinal(1)));
        assert_eq!(number(claims("node-1", Some(Ordinal(7)))), Some(Ordinal(1)));
        assert_eq!(number(claims("node-9", Some(Ordinal(1)))), None);
        assert_eq!(
            number(claims("node-9", Some(Ordinal(2)))),
            Some(Ordinal(2)),
            "perhaps a later one"
        );
    }
}
