//! Whether a request that failed may be sent again, and when.
//!
//! **Never:** says yes to a change whose outcome is unknown. At another coordinator the retry would be
//! a new write with a larger version, and would undo what another client wrote in between.

use std::time::Duration;

use paravon_model::Outcome;
use paravon_protocol::Code;

use crate::error::ClientError;
use crate::message::Effect;

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The error is the answer.
    GiveUp,
    /// Another server may do it, and the same one not before this long.
    TryAgain {
        /// What the server asked for.
        after: Duration,
    },
}

const AT_ONCE: Verdict = Verdict::TryAgain { after: Duration::ZERO };

/// What to do after `error` ended an attempt of a request with this `effect`.
pub(crate) fn verdict(effect: Effect, error: &ClientError) -> Verdict {
    if effect == Effect::Change && error.outcome() == Outcome::Unknown {
        return Verdict::GiveUp;
    }
    match error {
        ClientError::NoServers
        | ClientError::Address { .. }
        | ClientError::Certificate { .. }
        | ClientError::ValueTooLarge { .. } => Verdict::GiveUp,
        ClientError::Refused { code, retry_after_ms, .. } => {
            let after = Duration::from_millis(retry_after_ms.unwrap_or_default());
            if may_pass(*code, effect) { Verdict::TryAgain { after } } else { Verdict::GiveUp }
        }
        ClientError::Resolve { .. }
        | ClientError::Connect { .. }
        | ClientError::Handshake { .. }
        | ClientError::ConnectTimeout { .. }
        | ClientError::Unsupported { .. }
        | ClientError::Leaving { .. }
        | ClientError::Lost { .. }
        | ClientError::Garbage { .. }
        | ClientError::Deadline { .. } => AT_ONCE,
    }
}

/// Whether the same request may pass at another server, or later.
fn may_pass(code: Code, effect: Effect) -> bool {
    match code {
        Code::Overloaded
        | Code::ShuttingDown
        | Code::ReadOnly
        | Code::StorageFull
        | Code::NotReady
        | Code::ClockSkew
        | Code::QuorumUnavailable => true,
        // For a change these say `unknown`, and we are not here; a server that says `refused` with
        // them is not believed.
        Code::QuorumTimeout | Code::Internal => effect == Effect::None,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;
    use crate::address::ServerAddress;

    fn refused(code: Code, outcome: Outcome) -> ClientError {
        let server = ServerAddress::parse("a:1").unwrap();
        let retry_after_ms = Some(7);
        ClientError::Refused { server, code, message: String::new(), outcome, retry_after_ms }
    }

    fn lost(outcome: Outcome) -> ClientError {
        let server = ServerAddress::parse("a:1").unwrap();
        let source = Arc::new(io::Error::from(io::ErrorKind::ConnectionReset));
        ClientError::Lost { server, outcome, source }
    }

    #[test]
    fn an_unknown_write_is_never_sent_again() {
        for error in [
            lost(Outcome::Unknown),
            refused(Code::QuorumTimeout, Outcome::Unknown),
            refused(Code::ReadOnly, Outcome::Unknown),
            refused(Code::Overloaded, Outcome::Unknown),
        ] {
            assert_eq!(verdict(Effect::Change, &error), Verdict::GiveUp, "{error}");
        }
    }

    #[test]
    fn a_read_goes_on_unless_the_request_itself_is_wrong() {
        for error in [lost(Outcome::Unknown), refused(Code::QuorumTimeout, Outcome::Unknown)] {
            assert_ne!(verdict(Effect::None, &error), Verdict::GiveUp, "{error}");
        }
        for code in [Code::BadRequest, Code::Forbidden, Code::KeyTooLarge, Code::Damaged] {
            let error = refused(code, Outcome::Refused);
            assert_eq!(verdict(Effect::None, &error), Verdict::GiveUp, "{error}");
        }
    }

    #[test]
    fn a_refused_write_is_sent_again_and_not_before_the_server_said() {
        let after = Duration::from_millis(7);
        for code in [Code::Overloaded, Code::ShuttingDown, Code::NotReady, Code::StorageFull] {
            let error = refused(code, Outcome::Refused);
            assert_eq!(verdict(Effect::Change, &error), Verdict::TryAgain { after });
        }
        assert_eq!(verdict(Effect::Change, &lost(Outcome::Refused)), AT_ONCE);
        let internal = refused(Code::Internal, Outcome::Refused);
        assert_eq!(verdict(Effect::Change, &internal), Verdict::GiveUp);
    }
}
