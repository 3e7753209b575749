//! `paravon rescue`: on one stopped survivor of a cluster whose council has lost its majority for good,
//! writes the document with which the members that are left go on.
//!
//! **Never:** changes anything before [`Rescue::write`]; an operator reads first what is lost.

use std::sync::Arc;
use std::time::Duration;

use paravon_model::{
    Address, ClusterState, Document, InvalidNodeId, Member, NodeId, Ordinal, majority,
};
use paravon_protocol::encode_cluster_state;
use paravon_replication::cluster::{RescueRefusal, rescue};
use paravon_ring::Layout;
use paravon_storage::{Completion, Completions, Storage, is_founded};
use paravon_transport::random_bytes;

use crate::config::{Config, Engine};
use crate::error::StartError;
use crate::server::open_storage;
use crate::stored_state;

/// How long the storage may take to close.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no rescue. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RescueError {
    /// The data directory cannot be opened; another process may run on it.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The storage cannot be read, written or closed.
    #[error(transparent)]
    Storage(#[from] paravon_storage::Error),
    /// There is nothing that could be rescued.
    #[error(transparent)]
    Refused(#[from] RescueRefusal),
    /// A survivor's name is none that a node can have.
    #[error(transparent)]
    Name(#[from] InvalidNodeId),
    /// The configuration names no data directory with a node in it.
    #[error("storage.data_dir {} holds no node; run this with the configuration of a survivor", .0.display())]
    NoNode(std::path::PathBuf),
}

impl RescueError {
    /// Whether what was asked for cannot be done, whatever the disk does: a wrong name, a wrong file, a
    /// cluster that needs no rescue.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Name(_) | Self::NoNode(_) | Self::Refused(_) => true,
            Self::Start(StartError::Configuration { .. }) => true,
            Self::Start(_) | Self::Storage(_) => false,
        }
    }
}

/// A rescue that is prepared.
pub struct Rescue {
    storage: Storage,
    state: ClusterState,
    before: Arc<Document>,
}

/// What a rescue means for the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RescueReport {
    /// The members that go on.
    pub survivors: Vec<String>,
    /// The members that are given up for good.
    pub lost: Vec<String>,
    /// Survivors besides this one that are to be stopped before it is rescued: most of the council is
    /// left, and may decide what the rescue does not know of.
    pub stop_first: Vec<String>,
    /// Nodes that were to come with a change under way, which is given up: they join again, empty.
    pub newcomers: Vec<String>,
    /// Partitions of which only a minority of the copies is left: the latest acknowledged writes to them
    /// may be lost.
    pub minority: Vec<u32>,
    /// Partitions of which no copy is left: everything in them is lost.
    pub gone: Vec<u32>,
}

impl Rescue {
    /// Opens the data directory of a stopped node, of whose cluster only this node and those named by
    /// `others` are left.
    ///
    /// # Errors
    /// There is nothing to rescue, a name is wrong, or the directory cannot be opened.
    pub fn open(config: &Config, others: &[String]) -> Result<Self, RescueError> {
        let others: Result<Vec<NodeId>, _> = others.iter().map(|name| NodeId::new(name)).collect();
        let directory = &config.storage.data_dir;
        if config.storage.engine == Engine::Memory || !is_founded(directory) {
            return Err(RescueError::NoNode(directory.clone()));
        }
        let storage = open_storage(config, 1, Arc::new(Nobody))?;
        let address = Address::new(&config.server.peer.bind.to_string());
        let state = stored_state::read(&storage.recovered.document, config, &address)?;
        let rescue_id = u128::from_be_bytes(random_bytes());
        let Some(before) = state.document.clone() else {
            return Err(RescueRefusal::NoMember.into());
        };
        let state = rescue(&state, &others?, rescue_id)?;
        Ok(Self { storage, state, before })
    }

    /// What it means for the data.
    #[must_use]
    pub fn report(&self) -> RescueReport {
        let lost = self.state.document.as_ref().map_or(&[][..], |document| document.given_up());
        let is_lost = |ordinal: Ordinal| lost.binary_search(&ordinal).is_ok();
        let members = self.before.current.members.iter();
        let (gone, left): (Vec<_>, Vec<_>) = members.partition(|member| is_lost(member.ordinal));
        let names = |members: Vec<&Member>| {
            members.into_iter().map(|member| member.node_id.to_string()).collect()
        };
        let is_newcomer = |member: &&Member| self.before.current.member(member.ordinal).is_none();
        let newcomers = self.before.members().filter(is_newcomer).collect();
        let council = &self.before.council;
        let deciders = council.iter().filter(|&&member| !is_lost(member)).count();
        let is_other = |member: &&&Member| Some(member.ordinal) != self.state.ordinal;
        let others = left.iter().filter(is_other).copied().collect();
        let may_decide = deciders >= majority(council.len());
        let mut report = RescueReport {
            survivors: names(left),
            stop_first: if may_decide { names(others) } else { Vec::new() },
            lost: names(gone),
            newcomers: names(newcomers),
            minority: Vec::new(),
            gone: Vec::new(),
        };
        let layout = Layout::of(Arc::clone(&self.before));
        for partition in layout.partitions() {
            let set = layout.sets(partition).current;
            match set.iter().filter(|&&member| !is_lost(member)).count() {
                0 => report.gone.push(partition.0),
                left if left <= set.len() / 2 => report.minority.push(partition.0),
                _ => {}
            }
        }
        report
    }

    /// Writes the document. The node goes on with it when it is started.
    ///
    /// # Errors
    /// The directory is as it was, or after a failed sync as it was or rescued: run it again.
    pub fn write(self) -> Result<(), RescueError> {
        self.storage.documents.replace(encode_cluster_state(&self.state))?;
        self.close()
    }

    /// Leaves everything as it is.
    ///
    /// # Errors
    /// The storage did not close in order; nothing is lost.
    pub fn close(self) -> Result<(), RescueError> {
        Ok(self.storage.closer.close(self.storage.stores, PATIENCE)?)
    }
}

/// Nobody waits for what the storage reports: nothing is written to it.
struct Nobody;

impl Completions for Nobody {
    fn deliver(&self, _: Vec<Completion>) {}
}
