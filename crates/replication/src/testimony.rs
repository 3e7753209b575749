//! What other members tell of a key that one of them cannot read: a pure object that says when enough
//! have told, and what the key holds then.
//!
//! **Never:** takes one that cannot read the key either, or that is silent, for one that lacks it.

use alloc::vec::Vec;

use paravon_model::{Failure, Hlc, Ordinal, Record};

use crate::damage::{Obstacles, Others};

/// How many of those who are asked must tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Witnesses {
    /// So many that every majority meets one of them.
    AtLeast(usize),
    /// After a rescue the best that is left is taken: whoever can be asked was, and those who cannot read
    /// the key either have said so.
    AllThatAreLeft,
    /// All, and there is one.
    All,
    /// An operator has accepted what is lost: whoever does. Nobody is enough where all said that they
    /// cannot read the key either.
    WhoeverTells,
}

/// Who was asked, and what they told.
#[derive(Debug)]
pub(crate) struct Testimony {
    enough: Witnesses,
    /// Whose answer is to come.
    outstanding: Vec<Ordinal>,
    told: usize,
    /// The highest floor of those.
    floor: Hlc,
    /// Who neither told nor said that it cannot read the key either.
    silent: Vec<Ordinal>,
    damaged: Vec<Ordinal>,
    newest: Option<Record>,
    /// The highest floor of those who told that they hold nothing.
    absent: Option<Hlc>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pending,
    /// What the key holds, if anything.
    Known(Option<Record>),
    /// Too few can tell.
    Unknown(Obstacles),
}

impl Testimony {
    /// These are asked; those cannot be.
    pub(crate) fn new(enough: Witnesses, asked: Vec<Ordinal>, silent: Vec<Ordinal>) -> Self {
        let (damaged, newest, absent) = (Vec::new(), None, None);
        let (told, floor) = (0, Hlc::ZERO);
        Self { enough, outstanding: asked, told, floor, silent, damaged, newest, absent }
    }

    /// Whether an answer of this member is to come.
    pub(crate) fn asks(&self, member: Ordinal) -> bool {
        self.outstanding.contains(&member)
    }

    /// No answer of this member will come.
    pub(crate) fn unask(&mut self, member: Ordinal) {
        if self.heard(member).is_some() {
            self.silent.push(member);
        }
    }

    /// Nobody is waited for any longer.
    pub(crate) fn end(&mut self) {
        self.silent.append(&mut self.outstanding);
    }

    /// A member has answered, and claims that floor.
    pub(crate) fn hear(
        &mut self,
        from: Ordinal,
        answer: Result<Option<Record>, Failure>,
        floor: Hlc,
    ) {
        if self.heard(from).is_none() {
            return;
        }
        match answer {
            Ok(record) => {
                self.told += 1;
                self.floor = self.floor.max(floor);
                if record.is_none() {
                    self.absent = self.absent.max(Some(floor));
                }
                let known = [self.newest.take(), record].into_iter().flatten();
                self.newest = known.max_by(Record::precedence);
            }
            Err(Failure::Damaged { .. }) => self.damaged.push(from),
            Err(_) => self.silent.push(from),
        }
    }

    pub(crate) fn verdict(&mut self) -> Verdict {
        let all_heard = self.outstanding.is_empty();
        let none_silent = all_heard && self.silent.is_empty();
        let enough = match self.enough {
            Witnesses::AtLeast(count) => self.told >= count,
            Witnesses::AllThatAreLeft => none_silent,
            Witnesses::All => none_silent && self.damaged.is_empty() && self.told > 0,
            Witnesses::WhoeverTells => none_silent || (all_heard && self.told > 0),
        };
        match (enough, all_heard) {
            (true, _) => Verdict::Known(self.winner()),
            (false, true) => Verdict::Unknown(self.obstacles()),
            (false, false) => Verdict::Pending,
        }
    }

    /// So many members have told what they hold.
    pub(crate) fn told(&self) -> usize {
        self.told
    }

    /// The highest floor of those who told.
    pub(crate) fn floor(&self) -> Hlc {
        self.floor
    }

    /// The highest floor of those who told that they hold nothing.
    pub(crate) fn absence(&self) -> Hlc {
        self.absent.unwrap_or_default()
    }

    /// The newest, unless one that holds nothing has dropped it: at or below its floor it would.
    fn winner(&mut self) -> Option<Record> {
        let absent = self.absent;
        self.newest.take().filter(|newest| absent.is_none_or(|floor| newest.version.hlc > floor))
    }

    fn obstacles(&mut self) -> Obstacles {
        let nobody = self.told == 0 && self.silent.is_empty() && self.damaged.is_empty();
        let others = if nobody { Others::None } else { Others::Some };
        let mut damaged = core::mem::take(&mut self.damaged);
        if self.enough == Witnesses::WhoeverTells {
            // Nobody waits for what is accepted as lost.
            damaged.clear();
        }
        Obstacles { silent: core::mem::take(&mut self.silent), damaged, others }
    }

    fn heard(&mut self, member: Ordinal) -> Option<Ordinal> {
        let at = self.outstanding.iter().position(|asked| *asked == member)?;
        Some(self.outstanding.swap_remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_cluster::{record, version};
    use paravon_model::Outcome;

    const DAMAGED: Failure = Failure::Damaged { outcome: Outcome::Refused };
    const FLOOR: Hlc = Hlc::ZERO;

    fn testimony(enough: Witnesses) -> Testimony {
        Testimony::new(enough, [1, 2, 3].map(Ordinal).into(), Vec::new())
    }

    #[test]
    fn all_must_tell_and_none_may_be_damaged_before_a_mark_goes() {
        let mut all = testimony(Witnesses::All);
        all.hear(Ordinal(1), Ok(Some(record(7, "v"))), FLOOR);
        all.hear(Ordinal(1), Ok(None), FLOOR);
        all.hear(Ordinal(2), Ok(None), FLOOR);
        assert_eq!(all.verdict(), Verdict::Pending, "one answer each");
        all.hear(Ordinal(3), Ok(Some(record(6, "v"))), FLOOR);
        assert_eq!(all.verdict(), Verdict::Known(Some(record(7, "v"))));

        let mut damaged = testimony(Witnesses::All);
        damaged.hear(Ordinal(1), Ok(Some(record(7, "v"))), FLOOR);
        damaged.hear(Ordinal(2), Err(DAMAGED), FLOOR);
        damaged.unask(Ordinal(3));
        let Verdict::Unknown(obstacles) = damaged.verdict() else { panic!() };
        assert_eq!(
            (obstacles.silent, obstacles.damaged),
            ([Ordinal(3)].into(), [Ordinal(2)].into())
        );
        let Verdict::Unknown(alone) =
            Testimony::new(Witnesses::All, [].into(), [].into()).verdict()
        else {
            panic!()
        };
        assert_eq!(alone.others, Others::None);
    }

    #[test]
    fn an_accepted_loss_takes_the_best_of_those_that_answer() {
        let mut any = testimony(Witnesses::WhoeverTells);
        any.hear(Ordinal(1), Err(DAMAGED), FLOOR);
        any.hear(Ordinal(2), Ok(Some(record(5, "v"))), FLOOR);
        assert_eq!(any.verdict(), Verdict::Pending, "the last one may know better");
        any.end();
        assert_eq!(any.verdict(), Verdict::Known(Some(record(5, "v"))));
        let mut alone = Testimony::new(Witnesses::WhoeverTells, [].into(), [].into());
        assert_eq!(alone.verdict(), Verdict::Known(None));
        let mut all_damaged = testimony(Witnesses::WhoeverTells);
        (1..=3).for_each(|member| all_damaged.hear(Ordinal(member), Err(DAMAGED), FLOOR));
        assert_eq!(all_damaged.verdict(), Verdict::Known(None));
    }

    #[test]
    fn an_accepted_loss_takes_not_nothing_while_one_that_could_tell_is_silent() {
        let mut silent = Testimony::new(Witnesses::WhoeverTells, [].into(), [Ordinal(3)].into());
        let waits = Obstacles { silent: [Ordinal(3)].into(), ..Obstacles::default() };
        assert_eq!(silent.verdict(), Verdict::Unknown(waits));
        let mut any = testimony(Witnesses::WhoeverTells);
        any.hear(Ordinal(1), Err(DAMAGED), FLOOR);
        any.hear(Ordinal(2), Err(DAMAGED), FLOOR);
        any.unask(Ordinal(3));
        let waits = Obstacles { silent: [Ordinal(3)].into(), ..Obstacles::default() };
        assert_eq!(any.verdict(), Verdict::Unknown(waits), "the damaged ones are not waited for");
    }

    #[test]
    fn an_absence_covers_what_lies_at_or_below_its_floor() {
        for (ms, covered) in [(6, true), (7, true), (8, false)] {
            let mut all = testimony(Witnesses::All);
            all.hear(Ordinal(1), Ok(Some(record(ms, "v"))), FLOOR);
            all.hear(Ordinal(2), Ok(None), version(7, 1).hlc);
            all.hear(Ordinal(3), Ok(None), FLOOR);
            let expected = (!covered).then(|| record(ms, "v"));
            assert_eq!(all.verdict(), Verdict::Known(expected), "{ms}");
        }
    }
}
