//! A whole core on a disk that is synced only when the test says so: what a node tells of itself while
//! its log is not synced.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use paravon_model::{ClusterState, Fence, Hlc, Progress, Report};
use paravon_protocol::encode_cluster_state;
use paravon_replication::Now;
use paravon_replication::cluster::Cluster;
use paravon_ring::Shift;
use paravon_storage::crash_disk::{CrashDisk, Faults};
use paravon_storage::{Durability, Options, Stepped, Steps};
use tempfile::TempDir;

use super::Core;
use crate::config::testing::sound;
use crate::inbox::{Inboxes, Message};
use crate::placed::Placed;
use crate::server::{Founding, cluster_settings};
use crate::shared::{Parts, Shared, WriteTrouble};

/// A node with one loop, whose log moves only when it is told to.
struct Node {
    core: Core,
    shared: Arc<Shared>,
    steps: Steps,
    disk: CrashDisk,
    monotonic: Duration,
    /// The state that the disk holds.
    state: Option<ClusterState>,
    /// Its certificates.
    _folder: TempDir,
}

impl Node {
    /// A node that founds a cluster of its own.
    fn new(durability: Durability) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = sound(folder.path());
        config.placement.shift = Shift::new(3).unwrap();
        let credentials = config.credentials(SystemTime::now()).unwrap();
        let inboxes = Inboxes::new(1);
        let outside = ClusterState::new(config.node.id.clone());
        let options = Options {
            shards: 2,
            cache_bytes: 1 << 20,
            segment_bytes: 32 << 10,
            document: encode_cluster_state(&outside),
            durability,
            ..Options::new("unused")
        };
        let disk = CrashDisk::new();
        let completions = Arc::new(inboxes.clone());
        let opened = Stepped::open(Arc::new(disk.clone()), &options, completions).unwrap();
        let Stepped { stores, journal, recovered, steps, .. } = opened;
        let address = paravon_model::Address::new("127.0.0.1:6000");
        let settings = cluster_settings(&config, Founding::WhenAllAnswer, address, &recovered);
        let start = Now { monotonic: Duration::ZERO, wall_ms: 1_700_000_000_000 };
        let cluster = Cluster::new(settings, outside, start);
        let shared = Arc::new(
            Shared::new(Parts {
                shards: options.shards,
                inboxes,
                journal,
                api_address: ([127, 0, 0, 1], 2000).into(),
                peer_address: ([127, 0, 0, 1], 6000).into(),
                credentials,
                hello: cluster.hello(),
                started: Instant::now(),
                config,
            })
            .unwrap(),
        );
        let core = Core::new(0, shared.clone(), stores, recovered.ceiling, Some(cluster));
        let monotonic = Duration::ZERO;
        Self { core, shared, steps, disk, monotonic, state: None, _folder: folder }
    }

    fn now(&self) -> Now {
        let wall_ms = 1_700_000_000_000 + u64::try_from(self.monotonic.as_millis()).unwrap();
        Now { monotonic: self.monotonic, wall_ms }
    }

    /// Two seconds, in which everything is done but the work of the log.
    fn live(&mut self) {
        for _ in 0..100 {
            self.monotonic += Duration::from_millis(20);
            let now = self.now();
            self.core.tick(now);
            while let Some((number, state)) = self.core.take_unsaved() {
                self.state = Some(state);
                self.core.saved(now, number);
            }
            while let Some(unplaced) = self.core.take_unplaced() {
                self.core.placed(&Arc::new(Placed::of(unplaced, None)));
            }
            while self.core.scan_one(now) {}
            let (groups, ceiling) = self.core.take_uncommitted();
            ceiling.into_iter().for_each(|ceiling| self.shared.journal.raise_ceiling(ceiling));
            self.shared.journal.submit(groups);
            for message in self.shared.inboxes.of_loop(0).take() {
                self.core.take_message(now, message);
            }
            self.core.end_batch();
        }
    }

    /// The log does all that waits, and two more seconds pass.
    fn live_after_a_sync(&mut self) {
        self.steps.commit();
        self.live();
    }

    fn fence(&self) -> Fence {
        let state = self.state.as_ref().unwrap();
        state.document.as_ref().expect("it founds a cluster").fence()
    }

    /// The fence that the disk says is stored.
    fn stored(&self) -> Option<Fence> {
        self.state.as_ref().unwrap().stored
    }

    /// What the node says of itself.
    fn report(&self) -> Option<Report> {
        let reports = self.core.membership.as_ref().unwrap().status().reports;
        reports.first().map(|(_, report)| *report)
    }

    /// Shard 0 says how much it has taken over.
    fn take_over(&mut self, complete: u64) {
        let progress = Progress { partitions: 4, complete, ..Progress::default() };
        let told = Message::Progress { shard: 0, fence: self.fence(), progress };
        self.core.take_message(self.now(), told);
    }
}

#[test]
fn a_fence_is_not_recorded_as_stored_before_the_log_is_synced() {
    let mut node = Node::new(Durability::Interval(Duration::MAX));
    node.live();
    assert_eq!((node.stored(), node.report()), (None, None), "the shards have settled, no more");
    node.live_after_a_sync();
    assert_eq!(node.stored(), Some(node.fence()));
    assert_eq!(node.report().map(|report| report.stored), Some(node.fence()));
}

#[test]
fn a_fence_is_recorded_at_once_where_every_acknowledgement_is_synced() {
    let mut node = Node::new(Durability::Sync);
    node.live();
    assert_eq!(node.stored(), Some(node.fence()));
}

#[test]
fn completeness_is_not_told_before_the_log_is_synced() {
    let mut node = Node::new(Durability::Interval(Duration::MAX));
    node.live();
    node.live_after_a_sync();
    node.take_over(1);
    node.live_after_a_sync();
    let complete = |node: &Node| node.report().unwrap().progress.complete;
    let before = complete(&node);
    node.take_over(4);
    node.live();
    assert_eq!(complete(&node), before);
    node.live_after_a_sync();
    assert_eq!(complete(&node), 4);
}

#[test]
fn a_fence_is_never_stored_after_a_sync_that_failed() {
    let mut node = Node::new(Durability::Interval(Duration::MAX));
    node.live();
    // Something to be synced.
    node.shared.journal.raise_ceiling(Hlc::new(node.now().wall_ms, 0));
    node.disk.set_faults(Faults { fail_sync: Some(0), ..Faults::default() });
    for _ in 0..3 {
        node.live_after_a_sync();
        node.disk.set_faults(Faults::default());
    }
    assert_eq!((node.stored(), node.report()), (None, None));
    assert_eq!(node.shared.write_trouble(), Some(WriteTrouble::Failed));
}
