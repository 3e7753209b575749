//! What the nodes of a test cluster ask each other while time passes, counted.

use core::time::Duration;

use paravon_model::{Command, Compare};

use crate::agreement::Agreement;
use crate::event::Event;
use crate::test_cluster::{Cluster, Message};

/// What was asked for on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// For folds, however many of them.
    pub(crate) questions: usize,
    pub(crate) folds: usize,
    pub(crate) digests: usize,
    pub(crate) pulls: usize,
}

impl Asked {
    fn count(&mut self, command: &Command) {
        match command {
            Command::Compare(Compare::Folds { count, .. }) => {
                self.questions += 1;
                self.folds += usize::from(*count);
            }
            Command::Compare(Compare::Digest { .. }) => self.digests += 1,
            Command::Pull { .. } => self.pulls += 1,
            _ => {}
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.questions += other.questions;
        self.folds += other.folds;
        self.digests += other.digests;
        self.pulls += other.pulls;
    }

    /// About what it takes in answers, and in frames of questions and answers.
    pub(crate) fn bytes(self) -> usize {
        self.folds * 18 + self.digests * 272 + (self.questions + self.digests) * 100
    }
}

/// Lets time pass in steps of half a second and counts what is asked.
pub(crate) fn pass(cluster: &mut Cluster, time: Duration) -> Asked {
    pass_losing(cluster, time, usize::MAX)
}

/// The same where of the questions that narrow down each so-and-so-many-th is lost.
pub(crate) fn pass_losing(cluster: &mut Cluster, time: Duration, each: usize) -> Asked {
    let (end, mut asked) = (cluster.time + time, Asked::default());
    let nodes = u32::try_from(cluster.nodes.len()).unwrap();
    while cluster.time < end {
        cluster.time += Duration::from_millis(500);
        (1..=nodes).for_each(|node| cluster.step(node, Event::Tick));
        while let Some(message) = cluster.wire.pop_front() {
            let before = asked.questions;
            if let Message::Request { request, .. } = &message {
                asked.count(&request.command);
            }
            if asked.questions > before && asked.questions.is_multiple_of(each) {
                continue;
            }
            cluster.deliver(message);
            (1..=nodes).for_each(|node| cluster.sync(node));
        }
    }
    asked
}

/// How far the replicas of a node's partitions agree now.
pub(crate) fn agreement(cluster: &Cluster, node: u32) -> Agreement {
    cluster.nodes[node as usize - 1].shard.agreement(cluster.time)
}
