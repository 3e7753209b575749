//! Telling other members the marks of this shard's partitions, and asking them for theirs.
//!
//! Whoever asks says what it has heard already, so that while nothing changes an exchange is one short
//! question and answer per class. Whoever has heard nothing is told of the partitions that have marks, and by
//! the form of the answer that no other one has any. **Never:** tells what is not durable, lets a partition
//! that awaits `closed` pass for one without marks, or keeps an answer of another fence (`EPOCH_FENCE`).

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::limits::MAX_MARKS;
use paravon_model::{
    Class, Command, Compare, Compared, Failure, Marks, Moment, Ordinal, ReplicaReply, Unlisted,
};
use paravon_ring::Partition;

use crate::event::{Effect, Now, PeerToken};
use crate::operation::Operation;
use crate::operations::OperationId;
use crate::peers::Reach;
use crate::pull::SOURCE_PATIENCE;
use crate::shard::Shard;

/// From one question to the next to the same member.
const HEAR: Duration = Duration::from_secs(5);

/// The same while a partition is on its way to a higher floor: each mark on that way waits for what the
/// others tell.
const HEAR_OPEN: Duration = Duration::from_secs(1);

/// The same while a partition that is new here awaits a `closed`: it serves nobody before that.
const HEAR_SOON: Duration = Duration::from_millis(200);

/// By partition, and the one to go on with; none at the end.
type Page<T> = (Vec<(u32, T)>, Option<u32>);

/// What is known of the exchanges with all members, and how this shard names its own moments.
#[derive(Debug, Default)]
pub(crate) struct Tellers {
    tellers: Vec<Teller>,
    /// None before the first question under this layout since the start.
    run: Option<u64>,
    /// Since when members are to be asked.
    began: Option<Duration>,
}

/// A member that tells its marks.
#[derive(Debug)]
struct Teller {
    member: Ordinal,
    asked_at: Option<Duration>,
    /// What was heard of each class, all of it.
    heard: BTreeMap<Class, Moment>,
    /// Classes of which the member says that it has heard all that this run has told.
    told: BTreeSet<Class>,
    /// Classes that are left of this exchange.
    classes: VecDeque<Class>,
    under_way: Option<OperationId>,
}

/// A question for marks on its way.
#[derive(Debug)]
pub(crate) struct Hearing {
    member: Ordinal,
    class: Class,
    since: Moment,
    first: u32,
    /// Of the first page: what changes until the last one is told again.
    moment: Option<Moment>,
    pub(crate) deadline: Duration,
}

impl Tellers {
    /// Another layout is in use: everything is told anew.
    pub(crate) fn relayout(&mut self) {
        *self = Self::default();
    }

    fn get(&self, member: Ordinal) -> Option<&Teller> {
        self.tellers.iter().find(|teller| teller.member == member)
    }

    fn teller(&mut self, member: Ordinal) -> &mut Teller {
        let known = self.tellers.iter().position(|teller| teller.member == member);
        let at = known.unwrap_or_else(|| {
            self.tellers.push(Teller {
                member,
                asked_at: None,
                heard: BTreeMap::new(),
                told: BTreeSet::new(),
                classes: VecDeque::new(),
                under_way: None,
            });
            self.tellers.len() - 1
        });
        &mut self.tellers[at]
    }

    /// Whether the member knows how this node stands in the partition since the start or the change.
    pub(crate) fn has_told(&self, member: Ordinal, partition: Partition) -> bool {
        self.get(member).is_some_and(|teller| any_contains(&teller.told, partition))
    }

    /// Whether the member has told all that it tells of the class of this partition under this fence.
    pub(crate) fn has_heard(&self, member: Ordinal, partition: Partition) -> bool {
        self.get(member).is_some_and(|teller| any_contains(teller.heard.keys(), partition))
    }

    /// Moments are of a run: another one after each start and under each layout, because the wall clock
    /// has gone on. Should it not have, links that broke at a restart make the others ask anew.
    fn run(&mut self, now: Now, fence: u64) -> u64 {
        *self.run.get_or_insert((now.wall_ms.rotate_left(16) ^ fence).max(1))
    }
}

impl Teller {
    fn is_due(&self, now: Duration, began: Duration, pause: Duration) -> bool {
        let at = match self.asked_at {
            Some(at) => at + pause,
            None if pause < HEAR => began,
            None => began + HEAR,
        };
        self.under_way.is_none() && now >= at
    }
}

impl Shard {
    /// A member asks for marks, under the fence of this node, which has stored it.
    pub(crate) fn asked_marks(
        &mut self,
        now: Now,
        from: Ordinal,
        token: PeerToken,
        (class, since, first): (Class, Moment, u32),
        out: &mut Vec<Effect>,
    ) {
        let answer = if class.residue >= class.modulus || !self.owns_class(class) {
            let shards = u16::try_from(self.portion.shards()).unwrap_or(u16::MAX);
            Ok(Compared::Shards(shards))
        } else {
            let run = self.floors.tellers.run(now, self.layout.fence().number);
            let moment = Moment { run, changes: self.floors.changes() };
            let ((marks, next), unlisted) = if since.run == run {
                self.marks_heard(now, from, class, out);
                (self.changed_marks(from, class, since, Partition(first)), Unlisted::Unchanged)
            } else {
                (self.all_marks(from, class, Partition(first)), Unlisted::Unmarked)
            };
            Ok(Compared::Marks { marks, unlisted, next, moment })
        };
        out.push(Effect::Answer { token, reply: ReplicaReply::Compared { answer } });
    }

    /// A member says that it has heard the marks of this class.
    fn marks_heard(&mut self, now: Now, by: Ordinal, class: Class, out: &mut Vec<Effect>) {
        let teller = self.floors.tellers.teller(by);
        if teller.told.insert(class) && !self.restoring.is_idle() {
            self.advance_transfer(now, out);
        }
    }

    fn changed_marks(
        &self,
        to: Ordinal,
        class: Class,
        since: Moment,
        first: Partition,
    ) -> Page<Option<Marks>> {
        let news = self.floors.of_class(class, first);
        let news = news.filter(|(_, marks)| marks.changed > since.changes);
        let news = news.filter(|(partition, _)| self.tells(to, *partition));
        page(news.filter_map(|(partition, marks)| Some((partition.0, Some(marks.told()?)))))
    }

    /// What is not listed has no marks: both ends share the same partitions under one fence, and hardly any
    /// is marked. A newcomer must know who is closed nowhere, and must not take for one of these whoever
    /// awaits a `closed` too.
    fn all_marks(&self, to: Ordinal, class: Class, first: Partition) -> Page<Option<Marks>> {
        let all = self.floors.of_class(class, first);
        let all = all.map(|(partition, marks)| (partition.0, marks.told()));
        let marked = all.filter(|(_, told)| *told != Some(Marks::default()));
        page(marked.filter(|(partition, _)| self.tells(to, Partition(*partition))))
    }

    /// Asks whoever is to be asked now.
    pub(crate) fn advance_hearing(&mut self, now: Now, out: &mut Vec<Effect>) {
        let at = now.monotonic;
        let pause = if self.floors.awaits() {
            HEAR_SOON
        } else if self.floors.is_rising() {
            HEAR_OPEN
        } else {
            HEAR
        };
        let Self { floors, entropy, peers, portion, layout, .. } = self;
        let document = layout.document();
        let began = *floors.tellers.began.get_or_insert(at);
        let mut asked = Vec::new();
        for counterpart in entropy.counterparts.iter() {
            let teller = floors.tellers.teller(counterpart.peer);
            let linked = peers.reach(counterpart.peer) == Reach::Linked;
            let asks = linked && !document.has_lost(counterpart.peer);
            if asks && teller.is_due(at, began, pause) {
                teller.asked_at = Some(at);
                teller.classes = counterpart.classes(*portion);
                asked.push(counterpart.peer);
            }
        }
        for member in asked {
            self.hear_next(now, member, out);
        }
    }

    /// Goes on to the next class.
    fn hear_next(&mut self, now: Now, member: Ordinal, out: &mut Vec<Effect>) {
        let teller = self.floors.tellers.teller(member);
        teller.under_way = None;
        let Some(class) = teller.classes.pop_front() else { return };
        let heard = teller.heard.get(&class);
        let since = heard.copied().unwrap_or_default();
        let deadline = now.monotonic + SOURCE_PATIENCE;
        let first = Hearing { member, class, since, first: 0, moment: None, deadline };
        self.ask_marks(now, first, out);
    }

    fn ask_marks(&mut self, now: Now, hearing: Hearing, out: &mut Vec<Effect>) {
        let Hearing { member, class, since, first, deadline, .. } = hearing;
        let id = self.begin(Operation::Hearing(hearing));
        self.floors.tellers.teller(member).under_way = Some(id);
        let (_, mut outgoing) = self.split(now, out);
        let compare = Compare::Marks { class, since, first };
        outgoing.ask(member, id, deadline, Command::Compare(compare));
    }

    /// A member has answered.
    pub(crate) fn marks_told(
        &mut self,
        now: Now,
        id: OperationId,
        from: Ordinal,
        answer: Result<Compared, Failure>,
        out: &mut Vec<Effect>,
    ) {
        match self.operations.get(id) {
            Some(Operation::Hearing(hearing)) if hearing.member == from => {}
            _ => return,
        }
        let Some(Operation::Hearing(hearing)) = self.operations.remove(id) else { return };
        match answer {
            Ok(Compared::Marks { marks, unlisted, next, moment }) => {
                let (unmarked, next) = match unlisted {
                    Unlisted::Unchanged if hearing.since.run == moment.run => (Vec::new(), next),
                    Unlisted::Unmarked => self.unmarked(&hearing, &marks, next),
                    // Since a moment that nobody asked about.
                    Unlisted::Unchanged => return self.give_up_teller(from),
                };
                let told = marks.into_iter().filter_map(|(number, told)| Some((number, told?)));
                self.take_marks(now, &hearing, told.chain(unmarked), out);
                self.page_heard(now, hearing, next, moment, out);
            }
            Ok(Compared::Shards(shards)) => {
                let news = self.entropy.counterparts.get_mut(from);
                let news = news.and_then(|counterpart| {
                    counterpart.learn_shards(shards)?;
                    Some(counterpart.classes(self.portion))
                });
                self.floors.tellers.teller(from).classes = news.unwrap_or_default();
                self.hear_next(now, from, out);
            }
            _ => self.give_up_teller(from),
        }
    }

    /// The partitions up to `next` that the answer does not list, where it matters here that they have no
    /// marks, and where to go on: sooner than the other end says where these are very many, because each
    /// may be an entry of the log.
    fn unmarked(
        &self,
        hearing: &Hearing,
        listed: &[(u32, Option<Marks>)],
        next: Option<u32>,
    ) -> Page<Marks> {
        let (member, none) = (hearing.member, Marks::default());
        let known = self.floors.of_class(hearing.class, Partition(hearing.first));
        let known = known.take_while(|(partition, _)| next.is_none_or(|next| partition.0 < next));
        let news = known.filter(|(_, marks)| marks.is_news(member, none));
        let is_listed = |number: u32| listed.binary_search_by_key(&number, |(of, _)| *of).is_ok();
        let news = news.filter(|(partition, _)| !is_listed(partition.0));
        let news = news.filter(|(partition, _)| self.tells(member, *partition));
        let (unmarked, rest) = page(news.map(|(partition, _)| (partition.0, none)));
        (unmarked, rest.or(next))
    }

    /// Believes nothing of partitions that were not asked for, or that no replica could say.
    fn take_marks(
        &mut self,
        now: Now,
        hearing: &Hearing,
        marks: impl Iterator<Item = (u32, Marks)>,
        out: &mut Vec<Effect>,
    ) {
        let (member, class) = (hearing.member, hearing.class);
        for (number, told) in marks {
            let ordered = told.floor <= told.full && told.full <= told.closed;
            if ordered && class.contains(number) && self.tells(member, Partition(number)) {
                self.heard(now, member, Partition(number), told, out);
            }
        }
    }

    fn page_heard(
        &mut self,
        now: Now,
        hearing: Hearing,
        next: Option<u32>,
        moment: Moment,
        out: &mut Vec<Effect>,
    ) {
        let (member, class) = (hearing.member, hearing.class);
        let begun = hearing.moment.unwrap_or(moment);
        if begun.run != moment.run {
            // It has begun anew in the middle: what it told before is true, and the rest comes later.
            return self.give_up_teller(member);
        }
        let deadline = now.monotonic + SOURCE_PATIENCE;
        match next {
            Some(first) if first > hearing.first => {
                let moment = Some(begun);
                self.ask_marks(now, Hearing { first, moment, deadline, ..hearing }, out);
            }
            // It would never come to an end.
            Some(_) => self.give_up_teller(member),
            None => {
                let teller = self.floors.tellers.teller(member);
                teller.heard.insert(class, begun);
                self.hear_next(now, member, out);
            }
        }
    }

    /// No answer will come.
    pub(crate) fn hearing_failed(&mut self, id: OperationId) {
        if let Some(Operation::Hearing(hearing)) = self.operations.remove(id) {
            self.give_up_teller(hearing.member);
        }
    }

    fn give_up_teller(&mut self, member: Ordinal) {
        let teller = self.floors.tellers.teller(member);
        teller.classes.clear();
        teller.under_way = None;
    }

    /// The member cannot be asked any more, or may have begun anew when it can be again.
    pub(crate) fn hearing_unlinked(&mut self, member: Ordinal) {
        self.floors.unhear(member);
        let teller = self.floors.tellers.teller(member);
        teller.heard.clear();
        teller.classes.clear();
        if let Some(id) = teller.under_way.take() {
            self.operations.remove(id);
        }
    }

    /// What is on its way is void.
    pub(crate) fn give_up_hearing(&mut self) {
        let hears = |operation: &Operation| matches!(operation, Operation::Hearing(_));
        for id in self.operations.select(hears) {
            self.operations.remove(id);
        }
    }
}

/// Whether the partition is of one of these classes.
fn any_contains<'a>(classes: impl IntoIterator<Item = &'a Class>, partition: Partition) -> bool {
    classes.into_iter().any(|class| class.contains(partition.0))
}

/// As many as one answer holds, and where the next one begins.
fn page<T>(mut told: impl Iterator<Item = (u32, T)>) -> Page<T> {
    let marks = told.by_ref().take(MAX_MARKS).collect();
    (marks, told.next().map(|(partition, _)| partition))
}

#[cfg(test)]
#[path = "telling_tests.rs"]
mod tests;
