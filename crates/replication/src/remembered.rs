//! Request ids that clients gave: what makes a retry the same write (section 4).
//!
//! Per coordinator, bounded in time and number; what is forgotten makes the retry a new write. **Never**
//! remembers a refusal: nothing was stored, so the retry is a new try.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Failure, Outcome};

use crate::event::{Reply, RequestToken};

/// How long an end is remembered: twice the longest request deadline.
pub const KEEP: Duration = Duration::from_secs(120);

/// Most requests that are remembered, in progress and ended.
pub const MAX_REMEMBERED: usize = 65_536;

/// Shortest request id that makes a retry the same write, in bytes: shorter ones collide.
pub const MIN_REQUEST_ID_BYTES: usize = 16;

/// Whose request it is. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestKey {
    /// The common name of the client's certificate.
    pub certificate: Arc<str>,
    /// The `client_id` of its hello; empty where it gave none.
    pub client_id: Arc<str>,
    /// The request's id, at least [`MIN_REQUEST_ID_BYTES`] long.
    pub request_id: Arc<[u8]>,
}

/// What a request with an id is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// The first of its id: do it, then tell [`Remembered::end`].
    New,
    /// A retry of one in progress: it is answered with that one.
    Joined,
    /// A retry of one that has ended like this.
    Answered(Result<Reply, Failure>),
    /// The id was used for another operation, key or value: a bad request.
    Conflict,
    /// Too many are in progress: overloaded.
    Full,
}

/// The requests that a node remembers.
#[derive(Debug, Default)]
pub struct Remembered {
    requests: BTreeMap<RequestKey, Remembrance>,
    /// Ends in the order in which they came.
    ended: VecDeque<(Duration, RequestKey)>,
}

#[derive(Debug)]
struct Remembrance {
    content: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    InProgress(Vec<RequestToken>),
    Done(Result<Reply, Failure>),
}

impl Remembered {
    /// Nothing remembered.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A request of id `key` comes. `content` is a hash of its operation, key and value; `waiter` is
    /// given back by [`end`](Self::end) where the request is [`Begin::New`] or [`Begin::Joined`].
    pub fn begin(
        &mut self,
        now: Duration,
        key: RequestKey,
        content: u64,
        waiter: RequestToken,
    ) -> Begin {
        self.forget_old(now);
        if let Some(known) = self.requests.get_mut(&key) {
            if known.content != content {
                return Begin::Conflict;
            }
            return match &mut known.state {
                State::InProgress(waiters) => {
                    waiters.push(waiter);
                    Begin::Joined
                }
                State::Done(result) => Begin::Answered(result.clone()),
            };
        }
        if self.requests.len() >= MAX_REMEMBERED && !self.forget_oldest() {
            return Begin::Full;
        }
        let state = State::InProgress(Vec::from([waiter]));
        self.requests.insert(key, Remembrance { content, state });
        Begin::New
    }

    /// The request of id `key` has ended: everybody who waits for that, the first included.
    pub fn end(
        &mut self,
        now: Duration,
        key: &RequestKey,
        result: &Result<Reply, Failure>,
    ) -> Vec<RequestToken> {
        let Some(known) = self.requests.get_mut(key) else { return Vec::new() };
        let State::InProgress(waiters) = &mut known.state else { return Vec::new() };
        let waiters = core::mem::take(waiters);
        match result {
            Err(failure) if failure.outcome() == Outcome::Refused => {
                self.requests.remove(key);
            }
            end => {
                known.state = State::Done(end.clone());
                self.ended.push_back((now, key.clone()));
            }
        }
        waiters
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    fn forget_old(&mut self, now: Duration) {
        while let Some((when, _)) = self.ended.front() {
            if now.saturating_sub(*when) < KEEP {
                return;
            }
            self.forget_oldest();
        }
    }

    /// Says whether there was an end to forget.
    fn forget_oldest(&mut self) -> bool {
        let Some((_, key)) = self.ended.pop_front() else { return false };
        self.requests.remove(&key);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paravon_model::Reading;

    const NOW: Duration = Duration::from_secs(1000);

    fn key(client: &str, number: u64) -> RequestKey {
        let id = [0; 8].into_iter().chain(number.to_be_bytes());
        RequestKey {
            certificate: Arc::from("app"),
            client_id: Arc::from(client),
            request_id: id.collect(),
        }
    }

    fn done() -> Result<Reply, Failure> {
        Ok(Reply::Reading(Reading::default()))
    }

    #[test]
    fn a_retry_joins_the_first_and_later_gets_its_answer() {
        let mut remembered = Remembered::new();
        let begin = |remembered: &mut Remembered, content, token| {
            remembered.begin(NOW, key("a", 1), content, RequestToken(token))
        };
        assert_eq!(begin(&mut remembered, 7, 1), Begin::New);
        assert_eq!(begin(&mut remembered, 7, 2), Begin::Joined);
        assert_eq!(begin(&mut remembered, 8, 3), Begin::Conflict);
        let waiters = remembered.end(NOW, &key("a", 1), &done());
        assert_eq!(waiters, [RequestToken(1), RequestToken(2)]);
        assert_eq!(begin(&mut remembered, 7, 4), Begin::Answered(done()));
        assert_eq!(begin(&mut remembered, 8, 5), Begin::Conflict);
        assert!(remembered.end(NOW, &key("a", 1), &done()).is_empty(), "it has ended already");
    }

    #[test]
    fn equal_ids_of_two_clients_are_two_requests() {
        let mut remembered = Remembered::new();
        for client in ["a", "b"] {
            assert_eq!(remembered.begin(NOW, key(client, 1), 7, RequestToken(1)), Begin::New);
        }
    }

    #[test]
    fn a_refusal_is_forgotten_and_an_unknown_end_is_not() {
        let mut remembered = Remembered::new();
        for (failure, again) in [
            (Failure::StorageFull, Begin::New),
            (
                Failure::ReadOnly { outcome: Outcome::Unknown },
                Begin::Answered(Err(Failure::ReadOnly { outcome: Outcome::Unknown })),
            ),
        ] {
            remembered.begin(NOW, key("a", 1), 7, RequestToken(1));
            remembered.end(NOW, &key("a", 1), &Err(failure));
            assert_eq!(remembered.begin(NOW, key("a", 1), 7, RequestToken(2)), again);
        }
    }

    #[test]
    fn an_end_is_kept_for_its_time_and_no_longer() {
        let mut remembered = Remembered::new();
        remembered.begin(NOW, key("a", 1), 7, RequestToken(1));
        remembered.end(NOW, &key("a", 1), &done());
        let early = NOW + KEEP - Duration::from_millis(1);
        assert_eq!(
            remembered.begin(early, key("a", 1), 7, RequestToken(2)),
            Begin::Answered(done())
        );
        assert_eq!(remembered.begin(NOW + KEEP, key("a", 1), 7, RequestToken(2)), Begin::New);
        assert_eq!(remembered.len(), 1);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_end_goes_first() {
        let mut remembered = Remembered::new();
        let most = u64::try_from(MAX_REMEMBERED).unwrap();
        for number in 0..most {
            let begun = remembered.begin(NOW, key("a", number), 7, RequestToken(number));
            assert_eq!(begun, Begin::New);
        }
        assert_eq!(remembered.begin(NOW, key("a", most), 7, RequestToken(0)), Begin::Full);
        remembered.end(NOW, &key("a", 5), &done());
        remembered.end(NOW, &key("a", 6), &done());
        assert_eq!(remembered.begin(NOW, key("a", most), 7, RequestToken(0)), Begin::New);
        assert_eq!(remembered.len(), MAX_REMEMBERED);
        let answered = remembered.begin(NOW, key("a", 6), 7, RequestToken(0));
        assert_eq!(answered, Begin::Answered(done()));
    }
}
