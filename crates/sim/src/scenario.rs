//! Worlds made for one danger each. They are run over many seeds like any other, and end with the same
//! invariants.

use crate::faults::{Fault, TimedFault};
use crate::plan::{ClientsBegin, DiskPace, Ending, EngineKind, Far, Founding, Plan, RequestIds};
use crate::queue::{MILLISECOND, SECOND};

mod changes;
mod deletes;
mod healing;
mod losses;
mod marks;

/// A world made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A coordinator far away writes a key that others write all the time.
    FarCoordinator,
    /// Nodes restart within the block of their ceiling, some with the clock put back.
    RestartWithinBlock,
    /// A node whose clock is ten seconds ahead is itself a replica.
    AheadReplica,
    /// Clients whose request ids are equal and short.
    EqualRequestIds,
    /// The founder comes back without its disk while it is cut off.
    FounderWithoutDisk,
    /// A node comes back on an old copy of its disk.
    OldDisk,
    /// Puts that are read half-done, and stamped anew.
    HalfDonePuts,
    /// Replicas that refuse copies of writes of a hot key, while clocks differ.
    RefusedCopies,
    /// Nodes that join one after the other while clients write already.
    JoinRacesFirstWrite,
    /// Disks whose syncs are torn by crashes.
    TornSyncs,
    /// A founder and four nodes that come one after the other.
    GrowOneToFive,
    /// Two of three members leave.
    ShrinkThreeToOne,
    /// Two of five members leave while one that stays is cut off.
    FiveToThreeOneCutOff,
    /// Changes that are asked for while others are under way.
    ChainedChanges,
    /// A node that joins, is given up and joins again, several times.
    CancelAndAgain,
    /// The second member of two dies for good while it is taken in.
    JoinerKilledOneToTwo,
    /// A member loses its disk and comes back under its name.
    DiskLostReplace,
    /// A member comes back on an old copy of its disk, and then anew.
    OldDiskReplace,
    /// A coordinator that hears nothing of documents but reaches every replica.
    StaleCoordinator,
    /// The number of copies goes down and up again while writes are under way.
    CopiesDownAndUp,
    /// A majority is lost for good, and one of those that are left is rescued.
    Rescue,
    /// A member is away for longer than hints are kept, and nobody reads afterwards.
    LongAbsence,
    /// No hint is ever kept, and messages are lost all the time.
    HintsLost,
    /// What disks hold rots, while members come.
    Rot,
    /// What rots was acknowledged lately, and the write still waits for others.
    RotUnderWay,
    /// Files of shards are lost, while members come and go.
    FilesLost,
    /// Keys are deleted for minutes, while processes die between any two steps of forgetting that.
    Deletes,
    /// Likewise, and one member is slow, or away for long.
    DeletesSlowMember,
    /// Likewise, and members come and go, some with what they held before.
    DeletesAndChanges,
    /// Likewise, and what disks hold rots.
    DeletesAndRot,
    /// Copies of writes come minutes late to replicas that close meanwhile.
    LateWrites,
    /// Deletes reach one replica, which is away until it may close above them.
    LonelyDeletes,
    /// A member that was away has missed a delete when the others close above it.
    MissedDeletes,
    /// Hints are kept until what they say has long been deleted.
    LateHints,
    /// Stores are admitted before their replica closes and durable long after.
    StalledStores,
    /// A read asks a member that was away, and the others only when they have dropped the delete.
    SlowReads,
    /// A member leaves a set when it is full, and is new to it again while another one is away.
    LeaversComeBack,
    /// Hints outlive their target: a member that has joined since takes them.
    InheritedHints,
    /// All of these, and members come and go meanwhile.
    MarksAndChanges,
    /// All of these, and what disks hold rots.
    MarksAndRot,
}

impl Scenario {
    /// All of them with their names.
    pub const ALL: [(&'static str, Self); 40] = [
        ("far-coordinator", Self::FarCoordinator),
        ("restart-within-block", Self::RestartWithinBlock),
        ("ahead-replica", Self::AheadReplica),
        ("equal-request-ids", Self::EqualRequestIds),
        ("founder-without-disk", Self::FounderWithoutDisk),
        ("old-disk", Self::OldDisk),
        ("half-done-puts", Self::HalfDonePuts),
        ("refused-copies", Self::RefusedCopies),
        ("join-races-first-write", Self::JoinRacesFirstWrite),
        ("torn-syncs", Self::TornSyncs),
        ("grow-one-to-five", Self::GrowOneToFive),
        ("shrink-three-to-one", Self::ShrinkThreeToOne),
        ("five-to-three-one-cut-off", Self::FiveToThreeOneCutOff),
        ("chained-changes", Self::ChainedChanges),
        ("cancel-and-again", Self::CancelAndAgain),
        ("joiner-killed-one-to-two", Self::JoinerKilledOneToTwo),
        ("disk-lost-replace", Self::DiskLostReplace),
        ("old-disk-replace", Self::OldDiskReplace),
        ("stale-coordinator", Self::StaleCoordinator),
        ("copies-down-and-up", Self::CopiesDownAndUp),
        ("rescue", Self::Rescue),
        ("long-absence", Self::LongAbsence),
        ("hints-lost", Self::HintsLost),
        ("rot", Self::Rot),
        ("rot-under-way", Self::RotUnderWay),
        ("files-lost", Self::FilesLost),
        ("deletes", Self::Deletes),
        ("deletes-slow-member", Self::DeletesSlowMember),
        ("deletes-and-changes", Self::DeletesAndChanges),
        ("deletes-and-rot", Self::DeletesAndRot),
        ("late-writes", Self::LateWrites),
        ("lonely-deletes", Self::LonelyDeletes),
        ("missed-deletes", Self::MissedDeletes),
        ("late-hints", Self::LateHints),
        ("stalled-stores", Self::StalledStores),
        ("slow-reads", Self::SlowReads),
        ("leavers-come-back", Self::LeaversComeBack),
        ("inherited-hints", Self::InheritedHints),
        ("marks-and-changes", Self::MarksAndChanges),
        ("marks-and-rot", Self::MarksAndRot),
    ];

    /// The scenario of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|&(_, scenario)| scenario)
    }

    /// Its world of this seed.
    pub(crate) fn plan(self, seed: u64, operations: u32) -> Plan {
        let mut plan = Plan::calm(seed, 3, operations);
        plan.keys = 1;
        plan.think = 2 * MILLISECOND;
        let node = usize::try_from(seed % 3).unwrap_or(0);
        match self {
            Self::FarCoordinator => {
                plan.form(5, 5);
                plan.far = Some(Far { node: 4, longer: 80 * MILLISECOND });
            }
            Self::RestartWithinBlock => {
                for round in 0..6 {
                    let at = (200 + round * 300) * MILLISECOND;
                    let by_ms = -i64::try_from(round * 20).unwrap_or(0);
                    plan.faults
                        .push(TimedFault { at, fault: Fault::Crash { node, down: MILLISECOND } });
                    let jump = Fault::Jump { node, by_ms, back_after: None };
                    plan.faults.push(TimedFault { at: at + MILLISECOND / 2, fault: jump });
                }
                plan.think = 20 * MILLISECOND;
            }
            Self::AheadReplica => plan.skews_ms[node] = 10_000,
            Self::EqualRequestIds => {
                plan.request_ids = RequestIds::Short;
                plan.clients = 8;
                plan.weather.loss = 50_000;
                plan.retries = 100;
            }
            Self::FounderWithoutDisk => founder_without_disk(&mut plan),
            Self::OldDisk => old_disk(&mut plan, node),
            Self::HalfDonePuts => {
                plan.weather.loss = 200_000;
                plan.weather.most_delay = 20 * MILLISECOND;
                plan.skews_ms = vec![-200, 0, 200];
                plan.gets = 60;
            }
            Self::RefusedCopies => {
                plan.form(5, 5);
                plan.skews_ms = vec![-240, -200, 0, 200, 240];
                plan.disks.refusal = 250_000;
                plan.gets = 10;
                plan.weather.loss = 150_000;
                plan.weather.most_delay = 5 * MILLISECOND;
            }
            Self::JoinRacesFirstWrite => join_races_first_write(&mut plan),
            Self::TornSyncs => torn_syncs(&mut plan),
            Self::GrowOneToFive => changes::grow_one_to_five(&mut plan),
            Self::ShrinkThreeToOne => changes::shrink_three_to_one(&mut plan),
            Self::FiveToThreeOneCutOff => changes::five_to_three_one_cut_off(&mut plan),
            Self::ChainedChanges => changes::chained_changes(&mut plan),
            Self::CancelAndAgain => changes::cancel_and_again(&mut plan),
            Self::JoinerKilledOneToTwo => changes::joiner_killed_one_to_two(&mut plan),
            Self::DiskLostReplace => changes::disk_lost_replace(&mut plan),
            Self::OldDiskReplace => changes::old_disk_replace(&mut plan),
            Self::StaleCoordinator => changes::stale_coordinator(&mut plan),
            Self::CopiesDownAndUp => changes::copies_down_and_up(&mut plan),
            Self::Rescue => changes::rescue(&mut plan),
            Self::LongAbsence => healing::long_absence(&mut plan),
            Self::HintsLost => healing::hints_lost(&mut plan),
            Self::Rot => healing::rot(&mut plan),
            Self::RotUnderWay => healing::rot_under_way(&mut plan),
            Self::FilesLost => healing::files_lost(&mut plan),
            Self::Deletes => deletes::deletes(&mut plan),
            Self::DeletesSlowMember => deletes::slow_member(&mut plan),
            Self::DeletesAndChanges => deletes::and_changes(&mut plan),
            Self::DeletesAndRot => deletes::and_rot(&mut plan),
            Self::LateWrites => marks::late_writes(&mut plan),
            Self::LonelyDeletes => marks::lonely_deletes(&mut plan),
            Self::MissedDeletes => marks::missed_deletes(&mut plan),
            Self::LateHints => marks::late_hints(&mut plan),
            Self::StalledStores => marks::stalled_stores(&mut plan),
            Self::SlowReads => marks::slow_reads(&mut plan),
            Self::LeaversComeBack => marks::leavers_come_back(&mut plan),
            Self::InheritedHints => marks::inherited_hints(&mut plan),
            Self::MarksAndChanges => marks::and_changes(&mut plan),
            Self::MarksAndRot => marks::and_rot(&mut plan),
        }
        if matches!(self, Self::Rot | Self::FilesLost | Self::DeletesAndRot | Self::MarksAndRot) {
            losses::draw(&mut plan);
        }
        plan
    }
}

/// All others are cut off, so nobody tells the founder that there is a cluster.
fn founder_without_disk(plan: &mut Plan) {
    plan.founding = Founding::Together;
    plan.ending = Ending::Stop;
    plan.think = 40 * MILLISECOND;
    let split = Fault::Split { side: 1, lasting: 3 * SECOND };
    plan.faults = vec![
        TimedFault { at: 300 * MILLISECOND, fault: split },
        TimedFault {
            at: 400 * MILLISECOND,
            fault: Fault::Wipe { node: 0, down: 100 * MILLISECOND },
        },
    ];
}

fn join_races_first_write(plan: &mut Plan) {
    plan.form(5, 5);
    plan.keys = 8;
    plan.shift = 3;
    plan.clients_begin = ClientsBegin::Serving;
    plan.forming.loss = 100_000;
    plan.forming.straggler = 100_000;
}

fn torn_syncs(plan: &mut Plan) {
    plan.engine = EngineKind::Disk;
    plan.disks =
        DiskPace { least_sync: 2 * MILLISECOND, most_sync: 30 * MILLISECOND, stall: 0, refusal: 0 };
    plan.think = 10 * MILLISECOND;
    for round in 0..12 {
        let node = usize::try_from(round % 3).unwrap_or(0);
        let fault = Fault::Crash { node, down: 10 * MILLISECOND };
        plan.faults.push(TimedFault { at: (100 + round * 80) * MILLISECOND, fault });
    }
}

fn old_disk(plan: &mut Plan, node: usize) {
    plan.engine = EngineKind::Disk;
    plan.ending = Ending::Stop;
    plan.think = 40 * MILLISECOND;
    let down = 50 * MILLISECOND;
    plan.faults = vec![
        TimedFault { at: 300 * MILLISECOND, fault: Fault::Copy { node, down } },
        TimedFault { at: 2 * SECOND, fault: Fault::PutBack { node, down } },
    ];
}
