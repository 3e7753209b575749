//! One message of every kind, for the vectors and for the tests that break them.

use std::sync::Arc;
use std::time::Duration;

use paravon_model::{
    Accepted, Address, Ballot, Body, ChangeId, Class, ClusterId, ClusterMessage, Command, Compare,
    Compared, CouncilMessage, Damage, Detail, Digest, Document, Failure, Fence, Hlc, Joint, Key,
    Kind, Listed, Marks, Member, Membership, Merged, Moment, Newcomer, NodeId, Operation,
    OperationKind, OperationRefusal, OperationState, Ordinal, Outcome, Part, PastChange, PeerHello,
    Phase, Progress, Pull, Pulled, Purpose, Record, ReplicaReply, ReplicaRequest, Report, Rest,
    Revision, Roster, Size, Unlisted, Value, Version,
};

use super::{PeerFrame, encode_cluster_message, encode_replica_reply, encode_replica_request};

pub(crate) fn encoded(frame: &PeerFrame) -> Vec<u8> {
    let mut out = Vec::new();
    match frame {
        PeerFrame::Request { shard, operation, request } => {
            encode_replica_request(&mut out, *shard, *operation, request);
        }
        PeerFrame::Reply { shard, operation, reply } => {
            encode_replica_reply(&mut out, *shard, *operation, reply);
        }
        PeerFrame::Cluster(message) => encode_cluster_message(&mut out, message),
    }
    out
}

pub(crate) fn name(text: &str) -> NodeId {
    NodeId::new(text).unwrap()
}

/// A member, the first of which has a zone.
pub(crate) fn member(ordinal: u32) -> Member {
    Member {
        ordinal: Ordinal(ordinal),
        node_id: name(&format!("node-{ordinal}")),
        size: Size::L,
        zone: (ordinal == 1).then(|| name("east")),
        address: Address::new(&format!("node-{ordinal}:6000")),
    }
}

pub(crate) fn roster(ordinals: impl IntoIterator<Item = u32>) -> Roster {
    Roster { members: ordinals.into_iter().map(member).collect(), replication_factor: 3 }
}

pub(crate) fn newcomer(text: &str) -> Newcomer {
    let (node_id, address) = (name(text), Address::new(&format!("{text}:6000")));
    Newcomer { node_id, size: Size::Xs, zone: None, address }
}

/// The document of so many members.
pub(crate) fn document(members: u32) -> Document {
    let operation = |number: u32| Operation {
        id: ChangeId(u128::from(number)),
        kind: OperationKind::Join(newcomer(&format!("node-{number}"))),
        state: OperationState::Done,
    };
    Document {
        cluster_id: ClusterId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        generation: 0,
        rescue_id: 0,
        version: u64::from(members),
        fence: u64::from(members),
        phase: Phase::Stable,
        hash_seed: u64::MAX,
        shift: 16,
        current: roster(1..=members),
        past: Vec::new(),
        council: vec![Ordinal(1)],
        next_ordinal: members + 1,
        operations: (2..=members).map(operation).collect(),
    }
}

/// The document of three members while number 2, which lost its disk, is replaced by number 5, after a
/// change that was cancelled; a drain waits.
pub(crate) fn joint_document() -> Document {
    let mut by_itself = member(5);
    by_itself.node_id = name("node-2");
    let mut next = roster([1, 3]);
    next.members.push(by_itself);
    let operation = |id, kind, state| Operation { id: ChangeId(id), kind, state };
    let lost = Ordinal(2);
    let by = newcomer("node-2");
    Document {
        version: 9,
        fence: 6,
        phase: Phase::Joint(Joint { next, lost: vec![lost] }),
        past: vec![PastChange { generation: 0, fence: 4, from: roster(1..=3), to: roster(1..=4) }],
        council: vec![Ordinal(1), Ordinal(2), Ordinal(3)],
        next_ordinal: 6,
        operations: vec![
            operation(1, OperationKind::Join(newcomer("node-4")), OperationState::Cancelled),
            operation(2, OperationKind::Replace { member: lost, by }, OperationState::Running),
            operation(3, OperationKind::Drain { member: Ordinal(3) }, OperationState::Pending),
        ],
        ..document(3)
    }
}

pub(crate) fn version(ms: u64) -> Version {
    Version { hlc: Hlc::new(ms, 3), ordinal: Ordinal(2) }
}

fn record(expires_ms: Option<u64>, body: Body) -> Record {
    Record { version: version(1_700_000_000_000), expires_ms, body }
}

fn typed() -> Body {
    Body::Live(Value { kind: Kind::Msgpack, bytes: (&[0x93, 1, 2, 3][..]).into() })
}

fn request(command: Command) -> PeerFrame {
    let fence = Fence { generation: 0, number: 2 };
    let request = ReplicaRequest { fence, time_left: Duration::from_millis(5000), command };
    PeerFrame::Request { shard: 5, operation: 0x1_0000_0007, request }
}

fn store(purpose: Purpose, record: Record) -> PeerFrame {
    let key = Key::new("default", b"k1").unwrap();
    request(Command::Store { key, record, purpose })
}

fn reply(reply: ReplicaReply) -> PeerFrame {
    PeerFrame::Reply { shard: 5, operation: 0x1_0000_0007, reply }
}

fn stored(answer: Result<Merged, Failure>) -> PeerFrame {
    reply(ReplicaReply::Stored { stamp: version(1_700_000_000_000), answer })
}

fn found(answer: Result<Option<Record>, Failure>) -> PeerFrame {
    reply(ReplicaReply::Found { answer, floor: Hlc::ZERO })
}

pub(crate) fn failures() -> Vec<Failure> {
    let mut failures = vec![
        Failure::TooManyReplicas { needed: 4, replication_factor: 3 },
        Failure::QuorumUnavailable { needed: 2, alive: 1, down: vec![name("node-2")] },
        Failure::Overloaded { retry_after_ms: 20 },
        Failure::StorageFull,
        Failure::ShuttingDown,
        Failure::NotReady,
    ];
    for outcome in [Outcome::Refused, Outcome::Unknown] {
        failures.extend([
            Failure::QuorumTimeout { needed: 2, got: 1, outcome },
            Failure::ReadOnly { outcome },
            Failure::ClockSkew { offset_ms: 1500, outcome },
            Failure::Damaged { outcome },
            Failure::Internal { id: u64::MAX, outcome },
        ]);
    }
    failures
}

/// Every message of the data path with its name in the vectors.
fn replica_samples() -> Vec<(&'static str, PeerFrame)> {
    let live = || Body::Live(Value::bytes(b"v"));
    let stale = ReplicaReply::StaleLayout { document: Arc::new(document(3)) };
    let known = Fence { generation: 0, number: 1 };
    let for_good = ReplicaReply::Found { answer: Ok(None), floor: Hlc::new(1_700_000_000_000, 0) };
    vec![
        ("store a client's write", store(Purpose::Write, record(None, live()))),
        ("store with an expiry", store(Purpose::Write, record(Some(1_800_000_000_000), typed()))),
        ("store a tombstone to repair", store(Purpose::Repair, record(None, Body::Tombstone))),
        ("store a hint", store(Purpose::Hint, record(None, Body::Live(Value::bytes(b""))))),
        ("read", request(Command::Read { key: Key::new("users", b"\x00").unwrap() })),
        ("stored", stored(Ok(Merged::Applied))),
        ("superseded", stored(Ok(Merged::Superseded { version: version(1_700_000_000_001) }))),
        ("below the floor", stored(Ok(Merged::BelowFloor { version: version(1_700_000_000_002) }))),
        ("found nothing", found(Ok(None))),
        ("found nothing, for good", reply(for_good)),
        ("found a value", found(Ok(Some(record(Some(1_800_000_000_000), live()))))),
        ("found a tombstone", found(Ok(Some(record(None, Body::Tombstone))))),
        ("found a damaged record", found(Err(Failure::Damaged { outcome: Outcome::Refused }))),
        ("stale layout", reply(stale)),
        ("stale fence", reply(ReplicaReply::StaleFence { known })),
        ("later layout", reply(ReplicaReply::LaterLayout { known })),
    ]
}

fn pull(part: Part, detail: Detail, after: Option<Key>) -> PeerFrame {
    let pull = Pull { part, detail, after };
    request(Command::Pull { partition: 65_535, pull })
}

fn pulled(answer: Result<Pulled, Failure>) -> PeerFrame {
    reply(ReplicaReply::Pulled { answer })
}

/// Every message by which one replica takes records from another.
fn pull_samples() -> Vec<(&'static str, PeerFrame)> {
    let key = |text: &str| Key::new("default", text.as_bytes()).unwrap();
    let after = || Some(key("k1"));
    let listed = |text, ms| Listed { key: key(text), version: version(ms), check: u64::MAX - ms };
    let listed = vec![listed("k1", 1), listed("k2", 2)];
    let live = record(Some(1_800_000_000_000), typed());
    let records = vec![(key("k1"), live), (key("k2"), record(None, Body::Tombstone))];
    let (more, end) = (Rest::More, Rest::End);
    let (whole, sixteenth) = (Part::Whole, Part::Sixteenth(15));
    vec![
        ("pull the first of a listing", pull(whole, Detail::Listing, None)),
        ("pull more of a listing", pull(whole, Detail::Listing, after())),
        ("pull the listing of a sixteenth", pull(sixteenth, Detail::Listing, None)),
        ("pull the first records", pull(whole, Detail::Record, None)),
        ("pull further records", pull(whole, Detail::Record, after())),
        ("pulled a listing", pulled(Ok(Pulled::Listing { listed, rest: more }))),
        ("pulled records", pulled(Ok(Pulled::Records { records, rest: more }))),
        ("pulled the end", pulled(Ok(Pulled::Records { records: Vec::new(), rest: end }))),
        ("pulled nothing", pulled(Err(Failure::NotReady))),
        ("pulled what cannot be read", pulled(Ok(Pulled::Damaged { key: key("k1") }))),
    ]
}

fn compare(compare: Compare) -> PeerFrame {
    request(Command::Compare(compare))
}

fn compared(answer: Result<Compared, Failure>) -> PeerFrame {
    reply(ReplicaReply::Compared { answer })
}

/// Every message by which replicas find out where they differ.
fn compare_samples() -> Vec<(&'static str, PeerFrame)> {
    let class = Class { modulus: 12, residue: 11 };
    let since = Moment { run: u64::MAX, changes: 7 };
    let moment = Moment { changes: 9, ..since };
    let time = |ms: u64| Hlc::new(1_700_000_000_000 + ms, 0);
    let marks = Marks { floor: time(1), full: time(2), closed: time(3), damage: Damage::None };
    let lost = Marks { damage: Damage::Lost, ..Marks::default() };
    let all = vec![(11, Some(marks)), (23, Some(lost)), (35, None)];
    let changed = vec![(35, Some(Marks::default()))];
    let mut sums = Digest::default();
    sums.0.iter_mut().zip(1..).for_each(|(sum, number)| *sum = u128::MAX - number);
    let folds = Compare::Folds { class, span: 6, first: 64, count: 1024 };
    let unlisted = Unlisted::Unmarked;
    let all = Compared::Marks { marks: all, unlisted, next: Some(47), moment };
    let unlisted = Unlisted::Unchanged;
    let changed = Compared::Marks { marks: changed, unlisted, next: None, moment };
    let digest = |sums: Option<Digest>| compared(Ok(Compared::Digest(sums.map(Box::new))));
    vec![
        ("compare folds", compare(folds)),
        ("compare a partition", compare(Compare::Digest { partition: 65_535 })),
        ("compare marks", compare(Compare::Marks { class, since, first: 23 })),
        ("compared folds", compared(Ok(Compared::Folds(vec![Some(u128::MAX - 1), None, Some(0)])))),
        ("compared a partition", digest(Some(sums))),
        ("compared a partition that is not summed", digest(None)),
        ("compared all marks", compared(Ok(all))),
        ("compared marks that have changed", compared(Ok(changed))),
        ("compared nothing, by so many shards", compared(Ok(Compared::Shards(4)))),
        ("compared nothing", compared(Err(Failure::NotReady))),
    ]
}

fn council_samples() -> Vec<(&'static str, CouncilMessage)> {
    let base = || Arc::new(document(1));
    let value = || Arc::new(document(3));
    let revision = Revision { generation: 0, version: 1 };
    let (ballot, promised) = (Ballot { round: 1, proposer: 1 }, Ballot { round: 300, proposer: 2 });
    let accepted = Some(Accepted { ballot, value: value() });
    vec![
        ("prepare", CouncilMessage::Prepare { base: base(), ballot }),
        ("promise", CouncilMessage::Promise { base: revision, ballot, accepted: None }),
        (
            "promise with a vote",
            CouncilMessage::Promise { base: revision, ballot: promised, accepted },
        ),
        ("accept", CouncilMessage::Accept { base: base(), ballot, value: value() }),
        ("vote", CouncilMessage::Vote { base: revision, ballot }),
        ("outbid", CouncilMessage::Outbid { base: revision, ballot, promised }),
    ]
}

fn cluster_samples() -> Vec<(&'static str, ClusterMessage)> {
    let known = Some(Revision { generation: 0, version: 1 });
    let ceiling = Hlc::new(1_700_000_000_000, 0);
    vec![
        ("document", ClusterMessage::Document(Arc::new(document(1)))),
        ("document while the layout changes", ClusterMessage::Document(Arc::new(joint_document()))),
        ("ask for a document, knowing none", ClusterMessage::AskDocument { known: None }),
        ("ask for a later document", ClusterMessage::AskDocument { known }),
        ("swim", ClusterMessage::Swim(vec![0, 1, 2])),
        ("ping", ClusterMessage::Ping { nonce: 9, ceiling }),
        ("pong", ClusterMessage::Pong { nonce: 9, wall_ms: 1_700_000_000_001, ceiling }),
        ("ask to found", ClusterMessage::AskToFound),
        ("may found", ClusterMessage::MayFound),
        ("may not found", ClusterMessage::MayNotFound),
    ]
}

/// What changes the members, and what is told of it.
fn operation_samples() -> Vec<(&'static str, ClusterMessage)> {
    let (id, member) = (ChangeId(7), Ordinal(2));
    let operate = |kind| ClusterMessage::Operate { id, kind };
    let refused = |refusal| ClusterMessage::Operated { id, refusal: Some(refusal) };
    let zone = Some(name("west"));
    let zoned = Newcomer { zone, ..newcomer("node-2") };
    let by = newcomer("node-4");
    let fence = Fence { generation: 0, number: 6 };
    let progress = Progress { partitions: 100, complete: 70, records: 50_000, bytes: 5_000_000 };
    let report = Report { stored: fence, progress, hints: 3 };
    let behind = OperationRefusal::MemberTooFarBehind { member };
    vec![
        ("join", operate(OperationKind::Join(zoned))),
        ("join without a zone", operate(OperationKind::Join(newcomer("node-2")))),
        ("drain", operate(OperationKind::Drain { member })),
        ("remove", operate(OperationKind::Remove { member })),
        ("replace", operate(OperationKind::Replace { member, by })),
        ("set replication", operate(OperationKind::SetReplication { factor: 5 })),
        ("cancel", ClusterMessage::Cancel { fence }),
        ("operated", ClusterMessage::Operated { id, refusal: None }),
        ("refused, the name is taken", refused(OperationRefusal::NameTaken { member })),
        ("refused, no such member", refused(OperationRefusal::NoSuchMember { member })),
        ("refused, it is up", refused(OperationRefusal::IsUp { member })),
        ("refused, the last member", refused(OperationRefusal::LastMember)),
        ("refused, bad factor", refused(OperationRefusal::BadFactor)),
        ("refused, next has no majority", refused(OperationRefusal::NextHasNoMajority)),
        ("refused, a member is too far behind", refused(behind)),
        ("refused, too many wait", refused(OperationRefusal::TooManyWaiting)),
        ("refused, no majority", refused(OperationRefusal::NoMajority)),
        ("refused, current has no majority", refused(OperationRefusal::CurrentHasNoMajority)),
        ("report", ClusterMessage::Report { member, report }),
    ]
}

/// Every kind of message with its name in the vectors.
pub(crate) fn samples() -> Vec<(&'static str, PeerFrame)> {
    let council = council_samples().into_iter();
    let council = council.map(|(name, message)| (name, ClusterMessage::Council(message)));
    let cluster = council.chain(cluster_samples()).chain(operation_samples());
    let cluster = cluster.map(|(name, message)| (name, PeerFrame::Cluster(message)));
    let pulls = pull_samples().into_iter().chain(compare_samples());
    replica_samples().into_iter().chain(pulls).chain(cluster).collect()
}

/// What a member says of itself, and what a node does that waits to join.
pub(crate) fn hellos() -> [(&'static str, PeerHello); 2] {
    let waiting = PeerHello {
        node_id: name("node-2"),
        address: Address::new("node-2:6000"),
        membership: None,
        start: 1,
        run: u64::MAX,
        ceiling: Hlc::ZERO,
    };
    let membership = Membership {
        cluster_id: document(1).cluster_id,
        generation: 1,
        rescue_id: 0xff,
        ordinal: Ordinal(2),
    };
    let ceiling = Hlc::new(1_700_000_000_000, 0);
    let member = PeerHello { membership: Some(membership), start: 2, ceiling, ..waiting.clone() };
    [("hello of a node that waits to join", waiting), ("hello of a member", member)]
}
