//! What operators are told of operations: that one was taken, which there are, how far one is.
//!
//! States are `pending`, `running`, `done` and `cancelled`; kinds are `join`, `drain`, `remove`,
//! `replace` and `set_replication`. A later version may add some, so they are read as text.

use paravon_model::{
    ChangeId, Document, Fence, Operation, OperationKind, OperationState, Ordinal, Progress, Report,
};
use serde::{Deserialize, Serialize};

/// What became of a request that changes something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperationReply {
    /// The operation, 32 hexadecimal digits, to ask for its status; empty where there is nothing to
    /// ask for.
    pub operation: String,
    /// Its state, or `joined` where the node that was asked is a member now.
    pub state: String,
    /// The node's number, where it joined.
    pub ordinal: Option<u32>,
}

impl OperationReply {
    /// The operation is part of the document.
    #[must_use]
    pub fn accepted(id: ChangeId, state: OperationState) -> Self {
        let state = state_name(state).to_owned();
        Self { operation: id.to_string(), state, ordinal: None }
    }

    /// The node that was asked is a member.
    #[must_use]
    pub fn joined(ordinal: Ordinal) -> Self {
        let (operation, state) = (String::new(), "joined".to_owned());
        Self { operation, state, ordinal: Some(ordinal.0) }
    }

    /// The change that was under way is given up.
    #[must_use]
    pub fn cancelled() -> Self {
        let state = state_name(OperationState::Cancelled).to_owned();
        Self { operation: String::new(), state, ordinal: None }
    }

    /// Reads the answer's data.
    ///
    /// # Errors
    /// A field is of a wrong type.
    pub fn decode(data: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(data)
    }
}

/// An operation in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperationSummary {
    /// The operation, 32 hexadecimal digits.
    pub operation: String,
    /// What is to be done.
    pub kind: String,
    /// The node that comes, or else the member that goes; empty where there is none, or where its
    /// name is forgotten.
    pub node: String,
    /// The number of the member that goes.
    pub member: Option<u32>,
    /// Copies to be kept.
    pub factor: Option<u8>,
    /// How far it is.
    pub state: String,
}

impl OperationSummary {
    /// What is to be told of an operation of this document.
    #[must_use]
    pub fn of(operation: &Operation, document: &Document) -> Self {
        let (kind, member, factor) = match &operation.kind {
            OperationKind::Join(_) => ("join", None, None),
            OperationKind::Drain { member } => ("drain", Some(*member), None),
            OperationKind::Remove { member } => ("remove", Some(*member), None),
            OperationKind::Replace { member, .. } => ("replace", Some(*member), None),
            OperationKind::SetReplication { factor } => ("set_replication", None, Some(*factor)),
        };
        let node = match &operation.kind {
            OperationKind::Join(by) | OperationKind::Replace { by, .. } => by.node_id.to_string(),
            _ => member.map(|ordinal| name_of(document, ordinal)).unwrap_or_default(),
        };
        Self {
            operation: operation.id.to_string(),
            kind: kind.to_owned(),
            node,
            member: member.map(|ordinal| ordinal.0),
            factor,
            state: state_name(operation.state).to_owned(),
        }
    }
}

/// How far an operation is. The numbers are those of the change that it goes with, and of all members;
/// they stand at zero while it is not under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperationStatus {
    /// The operation, 32 hexadecimal digits.
    pub operation: String,
    /// What is to be done.
    pub kind: String,
    /// The node that comes, or else the member that goes.
    pub node: String,
    /// The number of the member that goes.
    pub member: Option<u32>,
    /// Copies to be kept.
    pub factor: Option<u8>,
    /// How far it is.
    pub state: String,
    /// Partitions that members take over, each counted for every member that does.
    pub partitions: u64,
    /// Those that their members are complete for.
    pub complete: u64,
    /// Records pulled.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How far every member is that has reported, by number.
    pub members: Vec<MemberProgress>,
}

/// How far a member is with the change under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberProgress {
    /// Its name.
    pub node: String,
    /// Its number.
    pub ordinal: u32,
    /// The fence that it has stored.
    pub stored: u64,
    /// Partitions that it takes over; none before it has stored the change.
    pub partitions: u64,
    /// Those that it is complete for.
    pub complete: u64,
    /// Hints that it keeps for others.
    pub hints: u64,
}

impl OperationStatus {
    /// How far an operation of this document is, by the members' latest `reports`; none where the
    /// document does not name it.
    #[must_use]
    pub fn of(document: &Document, id: ChangeId, reports: &[(Ordinal, Report)]) -> Option<Self> {
        let operation = document.operation(id)?;
        let OperationSummary { operation: text, kind, node, member, factor, state } =
            OperationSummary::of(operation, document);
        let is_running = operation.state == OperationState::Running;
        let reports = if is_running { reports } else { &[] };
        let report_of = |ordinal| reports.iter().find(|(of, _)| *of == ordinal);
        let reported: Vec<_> =
            document.members().filter_map(|member| report_of(member.ordinal)).collect();
        let fence = document.fence();
        let sum = reported.iter().map(|(_, report)| progress_at(report, fence));
        let Progress { partitions, complete, records, bytes } =
            sum.fold(Progress::default(), |a, b| a + b);
        let members = reported.into_iter().map(|(of, report)| MemberProgress {
            node: name_of(document, *of),
            ordinal: of.0,
            stored: report.stored.number,
            partitions: progress_at(report, fence).partitions,
            complete: progress_at(report, fence).complete,
            hints: report.hints,
        });
        Some(Self {
            operation: text,
            kind,
            node,
            member,
            factor,
            state,
            partitions,
            complete,
            records,
            bytes,
            members: members.collect(),
        })
    }

    /// Reads the answer's data.
    ///
    /// # Errors
    /// A field is of a wrong type.
    pub fn decode(data: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(data)
    }
}

/// What a member has done under this fence: what it did under another one is void.
fn progress_at(report: &Report, fence: Fence) -> Progress {
    if report.stored == fence { report.progress } else { Progress::default() }
}

fn state_name(state: OperationState) -> &'static str {
    match state {
        OperationState::Pending => "pending",
        OperationState::Running => "running",
        OperationState::Done => "done",
        OperationState::Cancelled => "cancelled",
    }
}

/// Empty where no layout of the document has this number any more.
fn name_of(document: &Document, ordinal: Ordinal) -> String {
    document.name_of(ordinal).map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::samples::{joint_document, newcomer};

    fn report(number: u64, complete: u64) -> Report {
        let progress = Progress { partitions: 10, complete, records: 100, bytes: 1000 };
        Report { stored: Fence { generation: 0, number }, progress, hints: 3 }
    }

    #[test]
    fn progress_is_summed_over_the_members_that_have_stored_the_change() {
        let document = joint_document();
        let reports =
            [(3, report(5, 10)), (5, report(6, 7)), (1, report(6, 10)), (9, report(6, 1))];
        let reports = reports.map(|(ordinal, report)| (Ordinal(ordinal), report));
        let status = OperationStatus::of(&document, ChangeId(2), &reports).unwrap();
        assert_eq!((status.kind.as_str(), status.state.as_str()), ("replace", "running"));
        assert_eq!((status.node.as_str(), status.member), ("node-2", Some(2)));
        assert_eq!((status.partitions, status.complete), (20, 17));
        assert_eq!((status.records, status.bytes), (200, 2000));
        let told = status.members.iter().map(|of| (of.ordinal, of.stored, of.partitions));
        assert_eq!(told.collect::<Vec<_>>(), [(1, 6, 10), (3, 5, 0), (5, 6, 10)]);
        let waiting = OperationStatus::of(&document, ChangeId(3), &reports).unwrap();
        assert_eq!((waiting.state.as_str(), waiting.partitions), ("pending", 0));
        assert!(waiting.members.is_empty());
        assert_eq!(OperationStatus::of(&document, ChangeId(9), &reports), None);
    }

    #[test]
    fn no_member_s_numbers_are_too_large_to_be_summed() {
        let progress = Progress { complete: u64::MAX, ..Progress::default() };
        let report = Report { progress, ..report(6, 0) };
        let reports = [(Ordinal(1), report), (Ordinal(3), report)];
        let status = OperationStatus::of(&joint_document(), ChangeId(2), &reports).unwrap();
        assert_eq!(status.complete, u64::MAX);
    }

    #[test]
    fn a_member_that_has_gone_keeps_its_name_as_long_as_the_document_has_it() {
        let document = joint_document();
        let summary = |ordinal| {
            let kind = OperationKind::Remove { member: Ordinal(ordinal) };
            let (id, state) = (ChangeId(1), OperationState::Done);
            OperationSummary::of(&Operation { id, kind, state }, &document)
        };
        assert_eq!(summary(4).node, "node-4", "in a past layout");
        assert_eq!((summary(9).node.as_str(), summary(9).member), ("", Some(9)));
    }

    #[test]
    fn every_kind_says_what_it_is_about() {
        let document = joint_document();
        let member = Ordinal(3);
        let cases = [
            (OperationKind::Join(newcomer("n")), ("join", "n", None, None)),
            (OperationKind::Drain { member }, ("drain", "node-3", Some(3), None)),
            (OperationKind::Remove { member }, ("remove", "node-3", Some(3), None)),
            (OperationKind::Replace { member, by: newcomer("n") }, ("replace", "n", Some(3), None)),
            (OperationKind::SetReplication { factor: 5 }, ("set_replication", "", None, Some(5))),
        ];
        for (kind, expected) in cases {
            let operation = Operation { id: ChangeId(1), kind, state: OperationState::Pending };
            let told = OperationSummary::of(&operation, &document);
            assert_eq!((&*told.kind, &*told.node, told.member, told.factor), expected);
        }
    }
}
