//! One message of every kind, for the vectors and for the tests that break them.

use std::sync::Arc;
use std::time::Duration;

use paravon_model::{
    Accepted, Address, Ballot, Body, ChangeId, ClusterId, ClusterMessage, Command, CouncilMessage,
    Document, Failure, Fence, Hlc, JoinRefusal, JoinRequest, Key, Kind, Member, Membership, Merged,
    NodeId, Ordinal, Outcome, PeerHello, Phase, Purpose, Record, ReplicaReply, ReplicaRequest,
    Revision, Size, Value, Version,
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

/// The document of so many members, the first of which has a zone.
pub(crate) fn document(members: u32) -> Document {
    let member = |ordinal| Member {
        ordinal: Ordinal(ordinal),
        node_id: name(&format!("node-{ordinal}")),
        size: Size::L,
        zone: (ordinal == 1).then(|| name("east")),
        address: Address::new(&format!("node-{ordinal}:6000")),
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
        replication_factor: 3,
        current: (1..=members).map(member).collect(),
        council: vec![Ordinal(1)],
        next_ordinal: members + 1,
        operations: (1..members).map(|number| ChangeId(u128::from(number))).collect(),
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
    reply(ReplicaReply::Found { answer })
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
    vec![
        ("store a client's write", store(Purpose::Write, record(None, live()))),
        ("store with an expiry", store(Purpose::Write, record(Some(1_800_000_000_000), typed()))),
        ("store a tombstone to repair", store(Purpose::Repair, record(None, Body::Tombstone))),
        ("store a hint", store(Purpose::Hint, record(None, Body::Live(Value::bytes(b""))))),
        ("read", request(Command::Read { key: Key::new("users", b"\x00").unwrap() })),
        ("stored", stored(Ok(Merged::Applied))),
        ("superseded", stored(Ok(Merged::Superseded { version: version(1_700_000_000_001) }))),
        ("found nothing", found(Ok(None))),
        ("found a value", found(Ok(Some(record(Some(1_800_000_000_000), live()))))),
        ("found a tombstone", found(Ok(Some(record(None, Body::Tombstone))))),
        ("found a damaged record", found(Err(Failure::Damaged { outcome: Outcome::Refused }))),
        ("stale layout", reply(stale)),
        ("later layout", reply(ReplicaReply::LaterLayout { known })),
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
    let change = ChangeId(7);
    let known = Some(Revision { generation: 0, version: 1 });
    let ceiling = Hlc::new(1_700_000_000_000, 0);
    let member = Ordinal(2);
    let joined = |refusal| ClusterMessage::Joined { change, refusal };
    vec![
        ("document", ClusterMessage::Document(Arc::new(document(1)))),
        ("ask for a document, knowing none", ClusterMessage::AskDocument { known: None }),
        ("ask for a later document", ClusterMessage::AskDocument { known }),
        ("swim", ClusterMessage::Swim(vec![0, 1, 2])),
        ("ping", ClusterMessage::Ping { nonce: 9, ceiling }),
        ("pong", ClusterMessage::Pong { nonce: 9, wall_ms: 1_700_000_000_001, ceiling }),
        ("ask to found", ClusterMessage::AskToFound),
        ("may found", ClusterMessage::MayFound),
        ("may not found", ClusterMessage::MayNotFound),
        ("join", ClusterMessage::Join(join(change, Some(name("west"))))),
        ("join without a zone", ClusterMessage::Join(join(change, None))),
        ("joined", joined(None)),
        ("not joined, a member holds records", joined(Some(JoinRefusal::HoldsRecords { member }))),
        ("not joined, the name is taken", joined(Some(JoinRefusal::NameTaken { member }))),
        ("not joined, no majority", joined(Some(JoinRefusal::NoMajority))),
        ("ask whether empty", ClusterMessage::AskEmpty { change }),
        ("emptiness", ClusterMessage::Emptiness { change, empty: true }),
    ]
}

fn join(change: ChangeId, zone: Option<NodeId>) -> JoinRequest {
    let (node_id, address) = (name("node-2"), Address::new("node-2:6000"));
    JoinRequest { change, node_id, size: Size::Xs, zone, address }
}

/// Every kind of message with its name in the vectors.
pub(crate) fn samples() -> Vec<(&'static str, PeerFrame)> {
    let council = council_samples().into_iter();
    let council = council.map(|(name, message)| (name, ClusterMessage::Council(message)));
    let cluster = council.chain(cluster_samples());
    let cluster = cluster.map(|(name, message)| (name, PeerFrame::Cluster(message)));
    replica_samples().into_iter().chain(cluster).collect()
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
