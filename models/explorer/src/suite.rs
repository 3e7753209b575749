//! A table of cases, each with the verdict that is expected of it, for tests and for the command
//! line.
//!
//! **Never:** passes a case that found less than was asked: a world that must be exhausted and was
//! not has failed.

use std::process::ExitCode;
use std::time::Instant;

use crate::{End, Model, Report, search, walk};

/// What a case is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Exhausted by every run of the tests.
    Small,
    /// Breaks a rule on purpose; run by the tests.
    Mutant,
    /// The same, where the way to the broken promise is too long for going breadth first.
    WalkedMutant,
    /// Too large for the tests; explored up to a limit.
    Large,
    /// Too large to come near exhaustion; walked at random.
    Walk,
}

/// A world, and what exploring it must say.
pub struct Case<M: Model> {
    /// Unique in its package.
    pub name: String,
    /// What it is for.
    pub group: Group,
    /// The world.
    pub model: M,
    /// The promise that must be found broken; none where all hold.
    pub expected: Option<M::Promise>,
}

/// States that a small world or a mutant may have at most.
const TEST_LIMIT: usize = 5_000_000;

/// States of a large world that are seen unless the command line says otherwise; about 3 GB.
const LARGE_LIMIT: usize = 20_000_000;

/// Actions of a random walk.
const WALK_DEPTH: usize = 80;

impl<M: Model> Case<M> {
    /// Explores the world.
    pub fn run(&self, limit: Option<usize>) -> Report<M::Promise> {
        match self.group {
            Group::Small | Group::Mutant => search(&self.model, limit.unwrap_or(TEST_LIMIT)),
            Group::Large => search(&self.model, limit.unwrap_or(LARGE_LIMIT)),
            Group::WalkedMutant => walk(&self.model, limit.unwrap_or(TEST_LIMIT), WALK_DEPTH, 1),
            Group::Walk => walk(&self.model, limit.unwrap_or(LARGE_LIMIT), WALK_DEPTH, 1),
        }
    }

    /// Whether a report says what was expected.
    pub fn is_expected(&self, report: &Report<M::Promise>) -> bool {
        match (&report.end, self.expected) {
            (End::Broken { promise, .. }, Some(expected)) => *promise == expected,
            (End::Exhausted, None) => true,
            (End::Bounded, None) => matches!(self.group, Group::Large | Group::Walk),
            _ => false,
        }
    }

    /// For tests.
    ///
    /// # Panics
    ///
    /// With the trace, if the verdict is not the expected one.
    pub fn assert(&self) {
        let report = self.run(None);
        assert!(self.is_expected(&report), "{}\n{}", self.line(&report), trace(&report).join("\n"));
    }

    fn line(&self, report: &Report<M::Promise>) -> String {
        let verdict = match &report.end {
            End::Exhausted => "holds (exhausted)".to_owned(),
            End::Bounded => "holds as far as it was explored".to_owned(),
            End::Broken { promise, .. } => format!("breaks {promise}"),
        };
        let expected = match self.expected {
            _ if self.is_expected(report) => "as expected",
            Some(_) => "NOT CAUGHT ",
            None => "SURPRISE   ",
        };
        let (name, states, depth) = (&self.name, report.states, report.depth);
        format!("{expected}  {name:<44} {states:>10} states, depth {depth:>3}: {verdict}")
    }
}

fn trace<Promise>(report: &Report<Promise>) -> &[String] {
    match &report.end {
        End::Broken { trace, .. } => trace,
        _ => &[],
    }
}

/// For tests: every case of a group, of which there must be one. Each has a name of its own.
///
/// # Panics
///
/// With the trace of the first case whose verdict is not the expected one.
pub fn assert_group<M: Model>(cases: &[Case<M>], group: Group) {
    let of_group: Vec<_> = cases.iter().filter(|case| case.group == group).collect();
    assert!(!of_group.is_empty(), "no case of {group:?}");
    for (place, case) in cases.iter().enumerate() {
        let repeated = cases[..place].iter().any(|earlier| earlier.name == case.name);
        assert!(!repeated, "two cases are called {}", case.name);
    }
    of_group.into_iter().for_each(Case::assert);
}

/// The program of a package: `NAME... [LIMIT]` runs the cases of these groups (`small`, `mutants`,
/// `large`, `walks`) or names; a case named on its own prints its trace. Without a name: small
/// worlds and mutants.
pub fn run_from_command_line<M: Model>(cases: &[Case<M>]) -> ExitCode {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    let limit = names.last().and_then(|last| last.parse().ok());
    if limit.is_some() {
        names.pop();
    }
    if names.is_empty() {
        names = vec!["small".to_owned(), "mutants".to_owned()];
    }
    let mut ran = 0;
    let mut surprises = 0;
    for case in cases {
        let by_name = names.contains(&case.name);
        if !by_name && !names.iter().any(|name| name == group_name(case.group)) {
            continue;
        }
        let started = Instant::now();
        let report = case.run(limit);
        println!("{}, {:.1} s", case.line(&report), started.elapsed().as_secs_f32());
        let expected = case.is_expected(&report);
        if by_name || !expected {
            trace(&report).iter().for_each(|line| println!("    {line}"));
        }
        ran += 1;
        surprises += usize::from(!expected);
    }
    if ran == 0 {
        eprintln!("no case has this name; there are small, mutants, large, walks and:");
        cases.iter().for_each(|case| eprintln!("  {}", case.name));
        return ExitCode::from(2);
    }
    if surprises > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn group_name(group: Group) -> &'static str {
    match group {
        Group::Small => "small",
        Group::Mutant | Group::WalkedMutant => "mutants",
        Group::Large => "large",
        Group::Walk => "walks",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_model::{Broken, Jugs};

    fn case(group: Group, forbidden: u8, expected: Option<Broken>) -> Case<Jugs> {
        Case { name: "jugs".to_owned(), group, model: Jugs { forbidden }, expected }
    }

    #[test]
    fn a_verdict_is_compared_with_the_expected_one() {
        case(Group::Small, 6, None).assert();
        case(Group::Mutant, 4, Some(Broken)).assert();
    }

    #[test]
    #[should_panic(expected = "NOT CAUGHT")]
    fn a_mutant_that_is_not_caught_fails() {
        case(Group::Mutant, 6, Some(Broken)).assert();
    }

    #[test]
    fn a_small_world_that_was_not_exhausted_fails() {
        let small = case(Group::Small, 6, None);
        assert!(!small.is_expected(&small.run(Some(5))));
        let large = case(Group::Large, 6, None);
        assert!(large.is_expected(&large.run(Some(5))));
    }
}
