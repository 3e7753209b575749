//! What peers have asked this loop and are not answered yet.
//!
//! A shard answers nothing that came too late or from a stranger, so a question may never end by
//! itself: it is forgotten some time after its deadline. **Never:** gives an answer to the wrong
//! question; a slot that is used again has another number.

use std::rc::Rc;
use std::time::Duration;

use paravon_replication::PeerToken;
use slab::Slab;

use crate::session::Session;

/// Bytes of peers' requests under way per loop. Their own lane: what clients do does not fill it.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// How long after its deadline a question is forgotten.
const GRACE: Duration = Duration::from_secs(1);

/// A token is the loop, the number of the question, and its slot.
const LOOP_SHIFT: u32 = 48;
const NUMBER_SHIFT: u32 = 24;
const NUMBER_MASK: u64 = (1 << (LOOP_SHIFT - NUMBER_SHIFT)) - 1;
const SLOT_MASK: u64 = (1 << NUMBER_SHIFT) - 1;

/// A peer's request whose answer is due.
pub(crate) struct Question {
    /// Where it came from.
    pub(crate) session: Rc<Session>,
    /// The peer's names for it.
    pub(crate) shard: u16,
    pub(crate) operation: u64,
    /// What it takes.
    pub(crate) bytes: usize,
    /// When the peer gives up.
    pub(crate) deadline: Duration,
}

/// The questions of one loop.
pub(crate) struct Asked {
    index: u64,
    questions: Slab<(u64, Question)>,
    last_number: u64,
    bytes: usize,
    swept: Duration,
}

impl Asked {
    pub(crate) fn new(index: usize) -> Self {
        let index = index as u64;
        Self { index, questions: Slab::new(), last_number: 0, bytes: 0, swept: Duration::ZERO }
    }

    /// The loop that a token belongs to.
    pub(crate) fn loop_of(token: PeerToken) -> usize {
        usize::try_from(token.0 >> LOOP_SHIFT).unwrap_or(usize::MAX)
    }

    /// Keeps a question; gives it back where too much is under way.
    pub(crate) fn ask(&mut self, question: Question) -> Result<PeerToken, Question> {
        let full = self.questions.len() as u64 > SLOT_MASK;
        if full || self.bytes + question.bytes > MAX_BYTES {
            return Err(question);
        }
        self.bytes += question.bytes;
        self.last_number = (self.last_number + 1) & NUMBER_MASK;
        question.session.began();
        let slot = self.questions.insert((self.last_number, question)) as u64;
        Ok(PeerToken(self.index << LOOP_SHIFT | self.last_number << NUMBER_SHIFT | slot))
    }

    /// The question of this token, unless it was forgotten.
    pub(crate) fn take(&mut self, token: PeerToken) -> Option<Question> {
        let slot = usize::try_from(token.0 & SLOT_MASK).unwrap_or(usize::MAX);
        let number = token.0 >> NUMBER_SHIFT & NUMBER_MASK;
        self.questions.get(slot).filter(|(asked, _)| *asked == number)?;
        let (_, question) = self.questions.remove(slot);
        self.bytes -= question.bytes;
        question.session.ended();
        Some(question)
    }

    /// Forgets what nobody waits for any more, now and then.
    pub(crate) fn forget_late(&mut self, now: Duration) {
        if now < self.swept + GRACE {
            return;
        }
        self.swept = now;
        let bytes = &mut self.bytes;
        self.questions.retain(|_, (_, question)| {
            let kept = now < question.deadline + GRACE;
            if !kept {
                *bytes -= question.bytes;
                question.session.ended();
                question.session.wake();
            }
            kept
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Port;
    use paravon_transport::issue::{Authority, Subject};
    use paravon_transport::{Credentials, Existing, TlsFiles};
    use std::time::SystemTime;

    const SECOND: Duration = Duration::from_secs(1);

    fn session() -> Rc<Session> {
        let (folder, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let authority = Authority::make(now).unwrap();
        let ca = authority.write(folder.path(), Existing::Keep).unwrap();
        let authority = Authority::read(folder.path()).unwrap();
        let issued = authority.issue(Subject::Client { name: "ada" }, now).unwrap();
        let made = issued.write(folder.path(), Existing::Keep).unwrap();
        let files = TlsFiles {
            certfile: made.certificate,
            keyfile: made.key,
            cafile: ca.certificate,
            crlfile: None,
        };
        let identity = Credentials::load(&files, now).unwrap().identity().clone();
        Rc::new(Session::new(identity, ([127, 0, 0, 1], 1).into(), Port::Peer))
    }

    fn question(session: &Rc<Session>, operation: u64, deadline: Duration) -> Question {
        Question { session: session.clone(), shard: 1, operation, bytes: 10, deadline }
    }

    #[test]
    fn a_late_answer_finds_no_other_question_in_its_slot() {
        let (mut asked, session) = (Asked::new(3), session());
        let first = asked.ask(question(&session, 7, SECOND)).ok().unwrap();
        assert_eq!(Asked::loop_of(first), 3);
        asked.forget_late(2 * SECOND);
        assert!(asked.take(first).is_none(), "its time was over");
        let second = asked.ask(question(&session, 8, 9 * SECOND)).ok().unwrap();
        assert!(asked.take(first).is_none());
        assert_eq!(asked.take(second).unwrap().operation, 8);
        assert!(asked.take(second).is_none(), "answered once");
        assert_eq!(asked.bytes, 0);
    }

    #[test]
    fn past_the_bound_a_question_is_given_back() {
        let (mut asked, session) = (Asked::new(0), session());
        let large = Question { bytes: MAX_BYTES, ..question(&session, 1, SECOND) };
        let token = asked.ask(large).ok().unwrap();
        assert!(asked.ask(question(&session, 2, SECOND)).is_err());
        asked.take(token).unwrap();
        assert!(asked.ask(question(&session, 2, SECOND)).is_ok());
    }
}
