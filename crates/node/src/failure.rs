//! What storage says, in the words of the core.
//!
//! **Never:** turns an error into "absent", or an unknown end into a refusal.

use std::sync::atomic::{AtomicU64, Ordering};

use paravon_model::{Failure, Merged, Outcome};
use paravon_replication::ScanFailure;
use paravon_storage::{Done, ReadError, Refusal, ScanError, WriteError};

/// A full table of unapplied writes, or too many requests under way: both pass soon.
pub(crate) const OVERLOADED: Failure = Failure::Overloaded { retry_after_ms: 20 };

/// A merge that was not queued.
pub(crate) fn of_refusal(refusal: &Refusal) -> Failure {
    match refusal {
        Refusal::Overloaded => OVERLOADED,
        Refusal::StorageFull => Failure::StorageFull,
        Refusal::ReadOnly => Failure::ReadOnly { outcome: Outcome::Refused },
        Refusal::TooLarge { .. } | Refusal::Unavailable => internal(refusal, Outcome::Refused),
    }
}

/// A merge that was queued and failed.
pub(crate) fn of_write(error: WriteError) -> Failure {
    match error {
        WriteError::ReadOnly => Failure::ReadOnly { outcome: Outcome::Unknown },
        WriteError::StorageFull => Failure::StorageFull,
    }
}

/// A ceiling that was not made durable: nothing of the write has been sent anywhere yet.
pub(crate) fn of_unstamped(error: WriteError) -> Failure {
    match error {
        WriteError::ReadOnly => Failure::ReadOnly { outcome: Outcome::Refused },
        WriteError::StorageFull => Failure::StorageFull,
    }
}

/// A read without an answer.
pub(crate) fn of_read(error: ReadError) -> Failure {
    match error {
        ReadError::Damaged => Failure::Damaged { outcome: Outcome::Refused },
        ReadError::Unavailable => internal(&error, Outcome::Refused),
    }
}

/// A page without records.
pub(crate) fn of_scan(failed: ScanError) -> ScanFailure {
    let ScanError { error, at } = failed;
    ScanFailure { failure: of_read(error), at }
}

/// What a finished merge means to the core. A record stored over a damaged one is no acknowledgement: the
/// damaged one may have been newer (`NO_SILENT_ROT`).
pub(crate) fn of_merge(done: Done) -> Result<Merged, Failure> {
    use paravon_storage::Merged as Stored;
    match done {
        Done::Merged(Stored::Applied { .. }) => Ok(Merged::Applied),
        Done::Merged(Stored::Superseded { version }) => Ok(Merged::Superseded { version }),
        Done::Merged(Stored::OverDamaged) => Err(Failure::Damaged { outcome: Outcome::Unknown }),
        Done::Forgotten | Done::Dropped(_) | Done::Healed | Done::Marked => {
            unreachable!("the ticket of a merge is answered by what the merge did")
        }
    }
}

/// A failure whose cause stands in the log under the id that the client gets.
fn internal(cause: &dyn std::error::Error, outcome: Outcome) -> Failure {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    tracing::error!(id = format_args!("{id:016x}"), %cause, "a request failed");
    Failure::Internal { id, outcome }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_stored_over_a_damaged_one_is_no_acknowledgement_and_no_refusal() {
        let failure = of_merge(Done::Merged(paravon_storage::Merged::OverDamaged)).unwrap_err();
        assert_eq!(failure.outcome(), Outcome::Unknown);
        assert_eq!(
            of_merge(Done::Merged(paravon_storage::Merged::Applied { previous: None })),
            Ok(Merged::Applied)
        );
    }

    #[test]
    fn a_record_that_cannot_be_read_is_named_to_the_core() {
        let key = paravon_model::Key::new("default", b"k").expect("a valid key");
        let at = Some((paravon_ring::KeyHash(7), key));
        let failed = of_scan(ScanError { error: ReadError::Damaged, at: at.clone() });
        assert_eq!(failed.at, at);
        assert!(matches!(failed.failure, Failure::Damaged { outcome: Outcome::Refused }));
    }

    #[test]
    fn only_a_write_that_was_queued_ends_unknown() {
        assert_eq!(of_refusal(&Refusal::ReadOnly).outcome(), Outcome::Refused);
        assert_eq!(of_unstamped(WriteError::ReadOnly).outcome(), Outcome::Refused);
        assert_eq!(of_write(WriteError::ReadOnly).outcome(), Outcome::Unknown);
    }
}
