//! Telling other members the marks of this shard's partitions, and asking them for theirs.
//!
//! Whoever asks says what it has heard already, so that while nothing changes an exchange is one short
//! question and answer per class. **Never:** tells what is not durable, tells of a partition that awaits
//! `closed`, or keeps an answer of another fence (`EPOCH_FENCE`).

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::limits::MAX_MARKS;
use paravon_model::{
    Class, Command, Compare, Compared, Failure, Marks, Moment, Ordinal, ReplicaReply,
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
    heard: BTreeMap<(u32, u32), Moment>,
    /// Classes of which the member says that it has heard all that this run has told.
    told: BTreeSet<(u32, u32)>,
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
        let teller = self.tellers.iter().find(|teller| teller.member == member);
        let of = |&(modulus, residue): &(u32, u32)| partition.0 % modulus == residue;
        teller.is_some_and(|teller| teller.told.iter().any(of))
    }

    /// Whether the member has told all that it tells of the class of this partition under this fence.
    pub(crate) fn has_heard(&self, member: Ordinal, partition: Partition) -> bool {
        let teller = self.tellers.iter().find(|teller| teller.member == member);
        let of = |&(modulus, residue): &(u32, u32)| partition.0 % modulus == residue;
        teller.is_some_and(|teller| teller.heard.keys().any(of))
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
            let (marks, next) = if since.run == run {
                self.marks_heard(now, from, class, out);
                self.changed_marks(from, class, since, Partition(first))
            } else {
                self.all_marks(from, class, Partition(first))
            };
            Ok(Compared::Marks { marks, next, moment })
        };
        out.push(Effect::Answer { token, reply: ReplicaReply::Compared { answer } });
    }

    /// A member says that it has heard the marks of this class.
    fn marks_heard(&mut self, now: Now, by: Ordinal, class: Class, out: &mut Vec<Effect>) {
        let teller = self.floors.tellers.teller(by);
        if teller.told.insert((class.modulus, class.residue)) && !self.restoring.is_idle() {
            self.advance_transfer(now, out);
        }
    }

    fn changed_marks(
        &self,
        to: Ordinal,
        class: Class,
        since: Moment,
        first: Partition,
    ) -> (Vec<(u32, Marks)>, Option<u32>) {
        let news = self.floors.from(first).filter(|(partition, marks)| {
            partition.0 % class.modulus == class.residue && marks.changed > since.changes
        });
        let news = news.filter(|(partition, _)| self.tells(to, *partition));
        page(news.filter_map(|(partition, marks)| Some((partition.0, marks.told()?))))
    }

    /// Also of partitions without marks: a newcomer must know who is closed nowhere.
    fn all_marks(
        &self,
        to: Ordinal,
        class: Class,
        first: Partition,
    ) -> (Vec<(u32, Marks)>, Option<u32>) {
        let Some(counterpart) = self.entropy.counterparts.get(to) else {
            return (Vec::new(), None);
        };
        let shared = counterpart.shared().iter().copied().filter(|&partition| {
            partition >= first && partition.0 % class.modulus == class.residue
        });
        let told = |partition| match self.floors.get(partition) {
            Some(marks) => marks.told(),
            None => Some(Marks::default()),
        };
        page(shared.filter_map(|partition| Some((partition.0, told(partition)?))))
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
        let heard = teller.heard.get(&(class.modulus, class.residue));
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
            Ok(Compared::Marks { marks, next, moment }) => {
                self.take_marks(now, &hearing, marks, out);
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

    /// Believes nothing of partitions that were not asked for, or that no replica could say.
    fn take_marks(
        &mut self,
        now: Now,
        hearing: &Hearing,
        marks: Vec<(u32, Marks)>,
        out: &mut Vec<Effect>,
    ) {
        let (member, class) = (hearing.member, hearing.class);
        for (number, told) in marks {
            let ordered = told.floor <= told.full && told.full <= told.closed;
            if ordered
                && number % class.modulus == class.residue
                && self.tells(member, Partition(number))
            {
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
            _ => {
                let teller = self.floors.tellers.teller(member);
                teller.heard.insert((class.modulus, class.residue), begun);
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

/// As many as one answer holds, and where the next one begins.
fn page(mut told: impl Iterator<Item = (u32, Marks)>) -> (Vec<(u32, Marks)>, Option<u32>) {
    let marks = told.by_ref().take(MAX_MARKS).collect();
    (marks, told.next().map(|(partition, _)| partition))
}
