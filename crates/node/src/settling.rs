//! How far the shards of a node are with a layout, put together for the cluster machine.
//!
//! **Never:** says that the node has settled a layout while one of its shards is at another.

use paravon_model::{Fence, Progress};
use paravon_replication::cluster::ClusterEvent;

/// What each shard has said last.
#[derive(Debug)]
pub(crate) struct Settling {
    shards: Vec<Option<(Fence, Progress)>>,
    /// What the machine was told.
    told: Option<(Fence, Progress)>,
}

impl Settling {
    /// Of shards that have said nothing yet.
    pub(crate) fn new(shards: u16) -> Self {
        Self { shards: vec![None; usize::from(shards)], told: None }
    }

    /// A shard has settled a layout; what the machine is to be told, if anything.
    pub(crate) fn settled(
        &mut self,
        shard: u16,
        fence: Fence,
        progress: Progress,
    ) -> Option<ClusterEvent> {
        *self.shards.get_mut(usize::from(shard))? = Some((fence, progress));
        self.news()
    }

    /// A shard has taken over more. What it says of a layout that it has not settled is of no use.
    pub(crate) fn progressed(
        &mut self,
        shard: u16,
        fence: Fence,
        progress: Progress,
    ) -> Option<ClusterEvent> {
        let said = self.shards.get_mut(usize::from(shard))?.as_mut()?;
        if said.0 != fence {
            return None;
        }
        said.1 = progress;
        self.news()
    }

    fn news(&mut self) -> Option<ClusterEvent> {
        let (fence, _) = (*self.shards.first()?)?;
        let mut sum = Progress::default();
        for said in &self.shards {
            let (at, progress) = (*said)?;
            if at != fence {
                return None;
            }
            sum = sum + progress;
        }
        let before = self.told.replace((fence, sum));
        match before {
            Some((told, progress)) if told == fence => {
                (progress != sum).then_some(ClusterEvent::Progressed { fence, progress: sum })
            }
            _ => Some(ClusterEvent::Settled { fence, progress: sum }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Fence = Fence { generation: 0, number: 1 };
    const SECOND: Fence = Fence { generation: 0, number: 2 };

    fn done(complete: u64) -> Progress {
        Progress { partitions: 4, complete, ..Progress::default() }
    }

    #[test]
    fn a_layout_is_settled_once_and_by_all_shards() {
        let mut settling = Settling::new(2);
        assert_eq!(settling.settled(1, FIRST, done(0)), None);
        let settled = settling.settled(0, FIRST, done(1));
        let progress = Progress { partitions: 8, complete: 1, ..Progress::default() };
        assert_eq!(settled, Some(ClusterEvent::Settled { fence: FIRST, progress }));
        assert_eq!(settling.settled(0, SECOND, done(0)), None, "the other one is behind");
        assert_eq!(settling.progressed(1, SECOND, done(4)), None, "it has not settled that");
        assert!(matches!(
            settling.settled(1, SECOND, done(0)),
            Some(ClusterEvent::Settled { fence: SECOND, .. })
        ));
    }

    #[test]
    fn progress_is_told_as_a_sum_and_when_it_changes() {
        let mut settling = Settling::new(2);
        settling.settled(0, FIRST, done(0));
        settling.settled(1, FIRST, done(1));
        let progress = Progress { partitions: 8, complete: 3, ..Progress::default() };
        let told = settling.progressed(0, FIRST, done(2));
        assert_eq!(told, Some(ClusterEvent::Progressed { fence: FIRST, progress }));
        assert_eq!(settling.progressed(0, FIRST, done(2)), None, "nothing new");
        assert_eq!(settling.progressed(0, SECOND, done(4)), None, "of another layout");
    }
}
