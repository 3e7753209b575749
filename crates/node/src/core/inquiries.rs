//! Admin messages: who may ask, and the answers that only all loops together know.
//!
//! **Never:** does what changes something for anyone but an administrator (`NO_STRANGER`).

use std::rc::Rc;

use paravon_protocol::{AdminReply, AdminRequest, Envelope, Refusal};
use paravon_replication::Now;

use super::Core;
use crate::admin;
use crate::administration::{About, Answer, Question};
use crate::inbox::{Asker, Message};
use crate::outbox::Correlation;
use crate::session::Session;

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
        let done = match request {
            AdminRequest::Healthz if self.layout.is_none() => Err(self.not_ready()),
            AdminRequest::Healthz => {
                let source = self.shared.config.node.id.as_str().to_owned();
                Ok(AdminReply::Healthz { source })
            }
            AdminRequest::Reload => admin::reload(&self.shared, &session.identity),
            AdminRequest::NodeStatus | AdminRequest::ClusterStatus => {
                let asker = self.inquirer(session, correlation);
                let about = match request {
                    AdminRequest::NodeStatus => About::Node,
                    _ => About::Cluster,
                };
                let question = Box::new(Question::new(asker, about));
                return self.shared.inboxes.of_loop(0).send([Message::Question(question)]);
            }
            AdminRequest::Join { dry_run } => {
                tracing::info!(by = %session.identity, dry_run, "join");
                let asker = self.inquirer(session, correlation);
                return self.join(now, asker, dry_run);
            }
        };
        answer(session, correlation, done);
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
        for owned in &self.shards {
            question.add(owned.store.as_ref());
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
            Answer::Join(done) => done.map(AdminReply::Join),
            Answer::Gathered(question) => Ok(match question.about {
                About::Node => {
                    let status = admin::node_status(&self.shared, placed, &question);
                    AdminReply::NodeStatus(Box::new(status))
                }
                About::Cluster => {
                    let status = admin::cluster_status(placed, &question);
                    AdminReply::ClusterStatus(Box::new(status))
                }
            }),
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
