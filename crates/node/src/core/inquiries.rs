//! Admin messages: who may ask, and the answers that only all loops together know.
//!
//! **Never:** does what changes something for anyone but an administrator (`NO_STRANGER`).

use std::rc::Rc;

use paravon_protocol::{AdminReply, AdminRequest, Envelope, Refusal};
use paravon_replication::Now;
use paravon_replication::cluster::{OperateMode, OperatorRequest};

use super::Core;
use crate::administration::{About, Answer, Question};
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

    /// Adds what this loop knows to a question, and passes it on.
    pub(super) fn pass_on(&mut self, mut question: Box<Question>) {
        if let Some(membership) = &self.membership {
            question.cluster = Some(membership.status());
        }
        for owned in &mut self.shards {
            question.add(owned.store.as_mut());
        }
        let inboxes = &self.shared.inboxes;
        if self.index + 1 < inboxes.loops() {
            return inboxes.of_loop(self.index + 1).send([Message::Question(question)]);
        }
        let Asker { index, slot } = question.asker;
        let answer = Answer::Gathered(question);
        inboxes.of_loop(index).send([Message::Answer { slot, answer }]);
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
