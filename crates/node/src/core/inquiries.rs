//! Admin messages: who may ask, and the answers that only all loops together know.
//!
//! **Never:** does what changes something for anyone but an administrator (`NO_STRANGER`).

use std::rc::Rc;

use paravon_protocol::{AdminReply, AdminRequest, Code, Envelope, Loss, Refusal};
use paravon_replication::cluster::{OperateMode, OperatorRequest};
use paravon_replication::{Event, Now};
use paravon_ring::{Partition, shard_of};

use super::{Core, OwnedShard};
use crate::administration::{About, Answer, Question, name_of};
use crate::copies::{GivenUp, Listing};
use crate::inbox::{Asker, Message};
use crate::outbox::Correlation;
use crate::session::Session;
use crate::{admin, status};

/// A connection that waits for an answer of other loops.
pub(super) struct Inquirer {
    session: Rc<Session>,
    correlation: Correlation,
}

impl Core {
    pub(super) fn admin_request(
        &mut self,
        now: Now,
        session: &Rc<Session>,
        correlation: Correlation,
        envelope: &Envelope<'_>,
    ) {
        let permitted = AdminRequest::decode(envelope)
            .and_then(|request| admin::permit(&self.shared, &session.identity, request));
        let request = match permitted {
            Ok(request) => request,
            Err(refusal) => return session.refuse(correlation, &refusal, None),
        };
        let mode = |dry_run| if dry_run { OperateMode::Plan } else { OperateMode::Do };
        let (request, mode) = match request {
            AdminRequest::NodeStatus => return self.inquire(session, correlation, About::Node),
            AdminRequest::ClusterStatus => {
                return self.inquire(session, correlation, About::Cluster);
            }
            AdminRequest::OperationStatus { id } => {
                return self.inquire(session, correlation, About::Operation(id));
            }
            AdminRequest::Partitions { after, limit } => {
                let listing = Listing::new(after, limit);
                return self.inquire(session, correlation, About::Partitions(listing));
            }
            AdminRequest::AcceptLoss(loss) => {
                tracing::warn!(by = %session.identity, ?loss, "a loss is accepted");
                return match self.place_of_loss(loss) {
                    Ok(given_up) => self.inquire(session, correlation, About::Loss(given_up)),
                    Err(refusal) => session.refuse(correlation, &refusal, None),
                };
            }
            AdminRequest::Healthz => return answer(session, correlation, self.healthz()),
            AdminRequest::Reload => {
                let done = admin::reload(&self.shared, &session.identity);
                return answer(session, correlation, done);
            }
            AdminRequest::Join { dry_run } => (OperatorRequest::Join, mode(dry_run)),
            AdminRequest::Replace { node, dry_run } => {
                (OperatorRequest::Replace { node }, mode(dry_run))
            }
            AdminRequest::Drain { node, dry_run } => {
                let node = node.unwrap_or_else(|| self.shared.config.node.id.clone());
                (OperatorRequest::Drain { node }, mode(dry_run))
            }
            AdminRequest::Remove { node, dry_run } => {
                (OperatorRequest::Remove { node }, mode(dry_run))
            }
            AdminRequest::SetReplication { factor, dry_run } => {
                (OperatorRequest::SetReplication { factor }, mode(dry_run))
            }
            AdminRequest::Cancel => (OperatorRequest::Cancel, OperateMode::Do),
        };
        tracing::info!(by = %session.identity, ?request, ?mode, "asked for");
        let asker = self.inquirer(session, correlation);
        self.operate(now, asker, request, mode);
    }

    fn healthz(&self) -> Result<AdminReply, Refusal> {
        if self.layout.is_none() {
            return Err(self.not_ready());
        }
        Ok(AdminReply::Healthz { source: self.shared.config.node.id.as_str().to_owned() })
    }

    /// Asks all loops.
    fn inquire(&mut self, session: &Rc<Session>, correlation: Correlation, about: About) {
        let asker = self.inquirer(session, correlation);
        let question = Box::new(Question::new(asker, about));
        self.shared.inboxes.of_loop(0).send([Message::Question(question)]);
    }

    fn inquirer(&mut self, session: &Rc<Session>, correlation: Correlation) -> Asker {
        session.began();
        let session = session.clone();
        let slot = self.inquirers.insert(Inquirer { session, correlation });
        Asker { index: self.index, slot }
    }

    /// Where on the ring something is given up.
    fn place_of_loss(&self, loss: Loss) -> Result<GivenUp, Refusal> {
        let Some(layout) = &self.layout else { return Err(self.not_ready()) };
        let shift = layout.shift();
        match loss {
            Loss::Key(key) => {
                let hash = layout.hash(&key);
                Ok(GivenUp::new(hash.partition(shift), Some((hash, key))))
            }
            Loss::Partition(number) if number < shift.partitions() => {
                Ok(GivenUp::new(Partition(number), None))
            }
            Loss::Partition(number) => {
                let last = shift.partitions() - 1;
                let message = format!("there is no partition {number}; the last one is {last}");
                Err(Refusal::new(Code::BadRequest, message))
            }
        }
    }

    /// Adds what this loop knows to a question, and passes it on.
    pub(super) fn pass_on(&mut self, now: Now, mut question: Box<Question>) {
        if let Some(membership) = &self.membership {
            question.cluster = Some(membership.status());
        }
        for owned in &mut self.shards {
            question.add(owned.store.as_mut());
        }
        self.add_copies(now, &mut question);
        let inboxes = &self.shared.inboxes;
        if self.index + 1 < inboxes.loops() {
            return inboxes.of_loop(self.index + 1).send([Message::Question(question)]);
        }
        let Asker { index, slot } = question.asker;
        let answer = Answer::Gathered(question);
        inboxes.of_loop(index).send([Message::Answer { slot, answer }]);
    }

    /// Adds how the copies of this loop fare, where that is asked; where something of them is given up,
    /// their shard is told.
    fn add_copies(&mut self, now: Now, question: &mut Question) {
        let shift = self.layout.as_ref().map(|layout| layout.shift());
        let shards = self.shared.shards;
        for local in 0..self.shards.len() {
            let OwnedShard { shard, store, scrubbing, .. } = &self.shards[local];
            let store = store.as_ref();
            match (&mut question.about, shift) {
                (About::Node, _) => question.copies.add(now, shard.as_ref(), store, scrubbing),
                (About::Partitions(listing), Some(shift)) => {
                    shard.iter().for_each(|shard| listing.add(now, shard, store, shift));
                }
                (About::Loss(given_up), Some(shift))
                    if shard_of(given_up.partition, shards) == store.shard() =>
                {
                    given_up.count(store, shift);
                    let GivenUp { partition, key, .. } = given_up.clone();
                    self.step(now, local, Event::AcceptLoss { partition, key });
                }
                _ => {}
            }
        }
        question.copies.add_found(self.damage_found.total);
    }

    /// Brings an answer to whoever waits for it.
    pub(super) fn answer_inquirer(&mut self, slot: usize, gathered: Answer) {
        let Inquirer { session, correlation } = self.inquirers.remove(slot);
        let placed = self.placed.as_deref();
        let done = match gathered {
            Answer::Operation(done) => done.map(AdminReply::Operation),
            Answer::Gathered(question) => match &question.about {
                About::Node => {
                    let status = status::node_status(&self.shared, placed, &question);
                    Ok(AdminReply::NodeStatus(Box::new(status)))
                }
                About::Cluster => {
                    let status = status::cluster_status(placed, &question);
                    Ok(AdminReply::ClusterStatus(Box::new(status)))
                }
                About::Operation(id) => status::operation_status(*id, &question)
                    .map(|status| AdminReply::OperationStatus(Box::new(status))),
                About::Partitions(listing) => {
                    let name = |ordinal| name_of(question.document(), ordinal);
                    Ok(AdminReply::Partitions(listing.reply(name)))
                }
                About::Loss(given_up) => Ok(AdminReply::Loss(given_up.reply.clone())),
                About::Plan(plan) => {
                    let partitions = placed.map_or(0, |placed| placed.partitions(placed.own));
                    let each = question.stored_bytes / f64::from(partitions.max(1));
                    Ok(AdminReply::Plan(Box::new(plan.reply(each))))
                }
            },
        };
        session.ended();
        answer(&session, correlation, done);
        session.wake();
    }
}

fn answer(session: &Session, correlation: Correlation, done: Result<AdminReply, Refusal>) {
    match done {
        Ok(reply) => session.reply(correlation, |out, id| reply.encode(id, out)),
        Err(refusal) => session.refuse(correlation, &refusal, None),
    }
}
