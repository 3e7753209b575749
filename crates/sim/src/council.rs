//! Steps a node's cluster machine and carries out what it wants done: connections, messages, durable
//! states.

use paravon_model::{ClusterId, NodeId, Ordinal};
use paravon_replication::cluster::{ClusterEffect, ClusterEvent, HelloRefusal, Notice, RefusedAs};
use paravon_replication::{Event, Permit};

use crate::fact::Fact;
use crate::happening::{Happening, Payload};
use crate::network::LinkState;
use crate::node::{Asker, index_at, index_of};
use crate::queue::{MICROSECOND, MILLISECOND, SECOND};
use crate::world::{World, small};

impl World {
    /// Gives a cluster machine an event and carries out the effects.
    pub(crate) fn step_cluster(&mut self, node: usize, event: ClusterEvent) {
        let now = self.node_now(node);
        let mut effects = std::mem::take(&mut self.cluster_effects);
        let Some(process) = &mut self.nodes[node].process else { return };
        process.cluster.step(now, event, &mut effects);
        for effect in effects.drain(..) {
            self.carry_out_cluster(node, effect);
        }
        self.cluster_effects = effects;
        self.plan_wake(node, usize::from(self.plan.shards));
    }

    fn carry_out_cluster(&mut self, node: usize, effect: ClusterEffect) {
        match effect {
            ClusterEffect::Dial { addresses } => {
                let wanted: Vec<usize> = addresses.iter().filter_map(index_at).collect();
                self.want_links(node, &wanted);
            }
            ClusterEffect::Tell { to, message } => {
                let Some(to) = index_of(&to) else { return };
                if let Some(incarnation) = self.network.connected(node, to) {
                    self.post(node, to, incarnation, Payload::Cluster(message));
                }
            }
            ClusterEffect::Persist { number, state } => {
                let disks = self.plan.disks;
                let lasting = self.random.between(disks.least_sync, disks.most_sync);
                let now = self.now;
                let sim = &mut self.nodes[node];
                let incarnation = sim.incarnation;
                let Some(process) = &mut sim.process else { return };
                process.persisting.push_back((number, state));
                process.persisted_at =
                    process.persisted_at.max(now).max(sim.stalled_until) + lasting;
                let at = process.persisted_at;
                self.queue.push(at, Happening::Persisted { node, incarnation });
            }
            ClusterEffect::Layout { document, stored } => self.use_layout(node, document, stored),
            ClusterEffect::Admit { fence } => self.admit_requests(node, fence),
            ClusterEffect::Alive { peer } => self.believe(node, peer, Event::Alive { peer }),
            ClusterEffect::Dead { peer } => self.believe(node, peer, Event::Dead { peer }),
            ClusterEffect::Clock { permit } => self.permit(node, permit),
            ClusterEffect::GreetAgain => self.part(node),
            ClusterEffect::Admin { token, answer } => self.operator_answered(token, &answer),
            ClusterEffect::Notice(Notice::OldDisk | Notice::NotMember) => self.stop_serving(node),
            ClusterEffect::Notice(_) => {}
        }
    }

    /// The oldest state under way to the disk is there.
    pub(crate) fn persisted(&mut self, node: usize, incarnation: u32) {
        let Some(process) = self.process(node, incarnation) else { return };
        let Some((number, state)) = process.persisting.pop_front() else { return };
        let before = std::mem::replace(&mut self.nodes[node].state, state);
        self.note_number(node, before.ordinal);
        self.tell_cluster(node, ClusterEvent::Persisted { number });
    }

    /// A disk holds a state of its node, which may have another number than `before`.
    fn note_number(&mut self, node: usize, before: Option<Ordinal>) {
        let sim = &mut self.nodes[node];
        let taken = sim.state.ordinal.filter(|number| Some(*number) != before);
        let Some((number, process)) = taken.zip(sim.process.as_mut()) else { return };
        let largest = process.largest_number;
        process.largest_number = largest.max(Some(number));
        self.emit(Fact::Numbered { node: small(node), number, largest });
    }

    fn permit(&mut self, node: usize, permit: Permit) {
        let Some(process) = &mut self.nodes[node].process else { return };
        process.permit = permit;
        let (held, ms) = match permit {
            Permit::Alone => (false, 0),
            Permit::Measured { wall_less_monotonic_ms } => (false, wall_less_monotonic_ms),
            Permit::Held { offset_ms } => (true, i64::try_from(offset_ms).unwrap_or(i64::MAX)),
        };
        self.emit(Fact::Permitted { node: small(node), held, ms });
        self.tell_shards(node, &Event::Clock { permit });
    }

    fn believe(&mut self, node: usize, peer: Ordinal, event: Event) {
        let alive = matches!(event, Event::Alive { .. });
        let of = self.node_of(peer);
        let Some(process) = &mut self.nodes[node].process else { return };
        process.dead.retain(|dead| *dead != peer);
        if !alive {
            process.dead.push(peer);
        }
        let of = of.map_or(u8::MAX, small);
        self.emit(Fact::Believed { node: small(node), of, alive });
        self.tell_shards(node, &event);
    }

    /// Tells the shards which members are connected, where they do not know.
    pub(crate) fn tell_links(&mut self, node: usize) {
        for peer in 0..self.nodes.len() {
            let connected = self.network.connected(node, peer).is_some();
            let Some(process) = &mut self.nodes[node].process else { return };
            if process.shards.is_empty() {
                return;
            }
            let ordinal = process.ordinal_of(peer);
            let told = process.told_links[peer];
            match (connected, ordinal, told) {
                (true, Some(ordinal), told) if told != Some(ordinal) => {
                    process.told_links[peer] = Some(ordinal);
                    if let Some(earlier) = told {
                        self.tell_shards(node, &Event::LinkDown { peer: earlier });
                    }
                    self.tell_shards(node, &Event::LinkUp { peer: ordinal });
                }
                (false, _, Some(ordinal)) | (true, None, Some(ordinal)) => {
                    process.told_links[peer] = None;
                    self.tell_shards(node, &Event::LinkDown { peer: ordinal });
                }
                _ => {}
            }
        }
    }

    fn want_links(&mut self, node: usize, wanted: &[usize]) {
        for peer in 0..self.nodes.len() {
            let link = self.network.link_mut(node, peer);
            link.wanted = peer != node && wanted.contains(&peer);
            match link.state {
                LinkState::Down if link.wanted => self.dial(node, peer),
                LinkState::Up if !link.wanted => {
                    let number = link.number;
                    self.broken(node, peer, number);
                }
                _ => {}
            }
        }
    }

    fn dial(&mut self, from: usize, to: usize) {
        let lasting = self.random.between(200 * MICROSECOND, 5 * MILLISECOND);
        let link = self.network.link_mut(from, to);
        link.state = LinkState::Dialling;
        link.number += 1;
        let number = link.number;
        self.queue.push(self.now + lasting, Happening::Dialled { from, to, number });
    }

    /// Tries again where a connection is still wanted.
    pub(crate) fn redial(&mut self, from: usize, to: usize, number: u32) {
        let link = self.network.link_mut(from, to);
        if link.number != number || link.state != LinkState::Down || !link.wanted {
            return;
        }
        if self.nodes[from].process.is_some() {
            self.dial(from, to);
        }
    }

    fn redial_later(&mut self, from: usize, to: usize) {
        let pause = self.random.between(20 * MILLISECOND, 300 * MILLISECOND);
        let link = self.network.link_mut(from, to);
        link.state = LinkState::Down;
        let number = link.number;
        self.queue.push(self.now + pause, Happening::Redial { from, to, number });
    }

    /// A dial ends: both say who they are, and each judges the other.
    pub(crate) fn dialled(&mut self, from: usize, to: usize, number: u32) {
        let link = self.network.link(from, to);
        if link.number != number || link.state != LinkState::Dialling {
            return;
        }
        let lost = self.random.chance(self.network.weather.loss);
        let open = self.network.is_open(from, to, self.now) && !lost;
        let ready = |node: usize| {
            self.nodes[node].process.is_some() && self.nodes[node].paused_until <= self.now
        };
        if !open || !ready(from) || !ready(to) {
            return self.redial_later(from, to);
        }
        let admitted = self.judge(to, from).and_then(|()| self.judge(from, to));
        if admitted.is_err() {
            return self.redial_later(from, to);
        }
        let incarnation = self.nodes[to].incarnation;
        let link = self.network.link_mut(from, to);
        link.state = LinkState::Up;
        link.incarnation = incarnation;
        self.emit(Fact::Linked { from: small(from), to: small(to) });
        if self.are_parted(from, to) {
            self.emit(Fact::HelloAdmitted { by: small(to), of: small(from), impostor: true });
        }
        let Some(hello) = self.nodes[to].process.as_ref().map(|process| process.cluster.hello())
        else {
            return;
        };
        self.tell_cluster(from, ClusterEvent::Linked { hello });
        self.tell_links(from);
    }

    /// `by` judges the hello of `of`, and tells it where it refuses.
    fn judge(&mut self, by: usize, of: usize) -> Result<(), HelloRefusal> {
        let now = self.node_now(by);
        let name = self.nodes[of].name.clone();
        let Some(hello) = self.nodes[of].process.as_ref().map(|process| process.cluster.hello())
        else {
            return Ok(());
        };
        let Some(process) = &mut self.nodes[by].process else { return Ok(()) };
        let admitted = process.cluster.admit(now, &name, &hello);
        self.plan_wake(by, usize::from(self.plan.shards));
        if let Err(refusal) = &admitted {
            let code = refusal.name();
            self.emit(Fact::HelloRefused { by: small(by), of: small(of), code });
            let refusal = match refusal {
                HelloRefusal::OldDisk { .. } => RefusedAs::OldDisk,
                HelloRefusal::Removed { .. } => match hello.membership {
                    Some(claimed) => RefusedAs::Removed { claimed },
                    None => RefusedAs::Other,
                },
                _ => RefusedAs::Other,
            };
            let by = self.nodes[by].name.clone();
            self.tell_cluster(of, ClusterEvent::Refused { by, refusal });
        }
        admitted
    }

    /// The owner of a connection notices that it is gone.
    pub(crate) fn broken(&mut self, from: usize, to: usize, number: u32) {
        let link = self.network.link(from, to);
        if link.number != number || link.state != LinkState::Up {
            return;
        }
        self.redial_later(from, to);
        if self.nodes[from].process.is_none() {
            return;
        }
        self.emit(Fact::Unlinked { from: small(from), to: small(to) });
        let peer = self.nodes[to].name.clone();
        self.tell_cluster(from, ClusterEvent::Unlinked { peer });
        self.tell_links(from);
    }

    /// A node closes its connections, whoever dialled.
    fn part(&mut self, node: usize) {
        for peer in 0..self.nodes.len() {
            for (from, to) in [(node, peer), (peer, node)] {
                let number = self.network.link(from, to).number;
                self.broken(from, to, number);
            }
        }
    }

    /// What was connected to a process that died notices it soon, or long after.
    pub(crate) fn break_links_to(&mut self, node: usize) {
        for from in 0..self.nodes.len() {
            let link = self.network.link(from, node);
            if link.state != LinkState::Up {
                continue;
            }
            let number = link.number;
            let after = if self.random.below(5) == 0 {
                self.random.between(SECOND, 4 * SECOND)
            } else {
                self.random.between(100 * MICROSECOND, 50 * MILLISECOND)
            };
            self.queue.push(self.now + after, Happening::Broken { from, to: node, number });
        }
    }

    /// A stranger with a certificate of its own says that it is a member; and a node of another
    /// cluster has the right certificate. Nobody may be let in.
    pub(crate) fn intrude(&mut self) {
        let (by, of) = (self.random.index(self.nodes.len()), self.random.index(self.nodes.len()));
        let now = self.node_now(by);
        let claimed = self.nodes[of].process.as_ref().map(|process| process.cluster.hello());
        let Some(mut hello) = claimed else { return };
        let name = hello.node_id.clone();
        let Some(process) = &mut self.nodes[by].process else { return };
        let stranger = NodeId::new("stranger").expect("letters");
        let mut admitted = vec![process.cluster.admit(now, &stranger, &hello)];
        if let (Some(membership), true, true) =
            (&mut hello.membership, process.cluster.document().is_some(), by != of)
        {
            membership.cluster_id = ClusterId(!membership.cluster_id.0);
            admitted.push(process.cluster.admit(now, &name, &hello));
        }
        for admitted in admitted {
            let (by, of) = (small(by), small(of));
            self.emit(match admitted {
                Ok(()) => Fact::HelloAdmitted { by, of, impostor: true },
                Err(refusal) => Fact::HelloRefused { by, of, code: refusal.name() },
            });
        }
        self.intrude_on_data(by);
    }

    /// Somebody whose number no document names asks for a key.
    fn intrude_on_data(&mut self, node: usize) {
        let shard = self.shard_of(0);
        let process = self.nodes[node].process.as_ref();
        let Some(fence) = process.and_then(|process| process.fence(shard)) else { return };
        let asker = Asker {
            node: small(node),
            incarnation: 0,
            shard: 0,
            service: 0,
            operation: paravon_replication::OperationId::from_u64(0),
            key: Some(0),
            purpose: None,
            fence,
            stranger: true,
        };
        let key = self.keys[0].0.clone();
        let pull = paravon_model::Pull {
            part: paravon_model::Part::Whole,
            detail: paravon_model::Detail::Record,
            after: None,
        };
        let partition = self.partition_of(0).0;
        let commands = [
            paravon_model::Command::Read { key },
            paravon_model::Command::Pull { partition, pull },
            paravon_model::Command::Compare(paravon_model::Compare::Digest { partition }),
        ];
        for command in commands {
            let time_left = std::time::Duration::from_secs(1);
            let request = paravon_model::ReplicaRequest { fence, time_left, command };
            self.ask(node, Ordinal(999_999), asker, request);
        }
    }
}
