//! `admin cluster-status`: the cluster as a node sees it.
//!
//! **Never:** mixes what two nodes see: each that is asked has a table of its own.

use std::time::Duration;

use paravon_client::{ClusterStatus, MemberStatus, OperationSummary};
use serde_json::{Value as Json, json};

use super::super::Caller;
use super::wait::{self, Members};
use crate::args::{ClusterStatusArgs, Form};
use crate::context::Context;
use crate::error::Error;
use crate::output::Output;

/// How long `--wait` waits for each node: what was written in an hour's outage takes a while.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) fn run(
    args: ClusterStatusArgs,
    context: &Context,
    output: &Output,
) -> Result<(), Error> {
    if args.wait {
        wait::announce("every member is reached and nothing waits to be handed over");
    }
    let mut statuses = Vec::new();
    for one in context.each_server() {
        let caller = Caller::of(one)?;
        statuses.push(match args.wait {
            true => caller.ask(wait::until_settled(&caller.client, Members::All, PATIENCE))?,
            false => caller.ask(caller.client.cluster_status())?,
        });
    }
    if output.form() == Form::Table {
        return statuses
            .iter()
            .try_for_each(|status| output.print_rows(&head(status), &rows(status)));
    }
    // Plain fields become a tree without fail.
    let tree = |status| serde_json::to_value(status).unwrap_or(Json::Null);
    super::print(statuses.iter().map(tree).collect(), output)
}

/// What the table's rows have in common.
fn head(status: &ClusterStatus) -> Vec<String> {
    let ClusterStatus { cluster_id, phase, version, fence, .. } = status;
    let cluster = match cluster_id.as_str() {
        "" => "this node belongs to no cluster yet".to_owned(),
        id => format!("cluster {id}: {phase}, version {version}, fence {fence}"),
    };
    // To a node without a cluster everybody seems to wait.
    let waiting = (!status.waiting.is_empty() && !cluster_id.is_empty())
        .then(|| format!("up and no members: {}", status.waiting.join(", ")));
    let lines = [Some(cluster), status.under_replicated.clone(), waiting].into_iter().flatten();
    lines.chain(status.operations.iter().filter(|each| is_open(each)).map(operation)).collect()
}

/// Whether there is something to wait for.
fn is_open(operation: &OperationSummary) -> bool {
    matches!(operation.state.as_str(), "pending" | "running")
}

fn operation(operation: &OperationSummary) -> String {
    let OperationSummary { operation, kind, node, factor, state, .. } = operation;
    let whom = factor.map_or_else(|| node.clone(), |factor| factor.to_string());
    format!("{kind} {whom}: {state}, operation {operation}")
}

fn rows(status: &ClusterStatus) -> Json {
    status.members.iter().map(|member| row(member, status)).collect()
}

fn row(member: &MemberStatus, status: &ClusterStatus) -> Json {
    let is_other = member.state != "self";
    let linked = if member.linked { "yes" } else { "no" };
    let going = match (member.joining, member.leaving) {
        (true, _) => ", joining",
        (_, true) => ", leaving",
        _ => "",
    };
    let mut row = json!({
        "node": member.node_id,
        "ordinal": member.ordinal,
        "size": member.size,
        "zone": member.zone,
        "state": format!("{}{going}", member.state),
        "linked": if is_other { linked } else { "" },
        "partitions": member.partitions,
        "share": format!("{:.1}%", member.share * 100.0),
        "clock": member.clock_offset_ms.map_or(String::new(), |ms| format!("{ms:+} ms")),
    });
    if status.phase != "stable" {
        row["taken over"] = json!(taken_over(member, status));
    }
    row
}

/// How much a member has taken over of what the change under way gives it, as far as the node that was
/// asked has been told.
fn taken_over(member: &MemberStatus, status: &ClusterStatus) -> String {
    let report = member.report.as_ref().filter(|report| report.stored == status.fence);
    report
        .map_or_else(String::new, |report| format!("{} of {}", report.complete, report.partitions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::rows as align;
    use paravon_client::ReportStatus;

    #[test]
    fn a_table_has_a_row_for_each_member_and_says_above_what_is_missing() {
        let member = |node_id: &str, state: &str, clock_offset_ms| MemberStatus {
            node_id: node_id.to_owned(),
            ordinal: 1,
            size: "L".to_owned(),
            state: state.to_owned(),
            partitions: 65536,
            share: 0.5,
            clock_offset_ms,
            ..MemberStatus::default()
        };
        let status = ClusterStatus {
            cluster_id: "c1".to_owned(),
            phase: "stable".to_owned(),
            version: 3,
            fence: 2,
            under_replicated: Some("under-replicated: 2 of 3 copies".to_owned()),
            waiting: vec!["n4".to_owned()],
            members: vec![member("n1", "self", None), member("n2", "dead", Some(-3))],
            ..ClusterStatus::default()
        };
        assert_eq!(
            align(&head(&status), &rows(&status)),
            "cluster c1: stable, version 3, fence 2\n\
             under-replicated: 2 of 3 copies\n\
             up and no members: n4\n\
             NODE  ORDINAL  SIZE  ZONE  STATE  LINKED  PARTITIONS  SHARE  CLOCK\n\
             n1    1        L           self           65536       50.0%\n\
             n2    1        L           dead   no      65536       50.0%  -3 ms\n"
        );
    }

    #[test]
    fn a_table_says_what_is_under_way_and_how_far_it_is() {
        let member = |node_id: &str, stored, complete| MemberStatus {
            node_id: node_id.to_owned(),
            state: "alive".to_owned(),
            joining: node_id == "n2",
            report: Some(ReportStatus { stored, partitions: 9, complete, hints: 0 }),
            ..MemberStatus::default()
        };
        let operation = |state: &str| OperationSummary {
            operation: "0a".to_owned(),
            kind: "join".to_owned(),
            node: "n2".to_owned(),
            state: state.to_owned(),
            ..OperationSummary::default()
        };
        let status = ClusterStatus {
            cluster_id: "c1".to_owned(),
            phase: "joint".to_owned(),
            version: 3,
            fence: 2,
            operations: vec![operation("done"), operation("running")],
            members: vec![member("n1", 1, 9), member("n2", 2, 4)],
            ..ClusterStatus::default()
        };
        assert_eq!(
            align(&head(&status), &rows(&status)),
            "cluster c1: joint, version 3, fence 2\n\
             join n2: running, operation 0a\n\
             NODE  ORDINAL  SIZE  ZONE  STATE           LINKED  PARTITIONS  SHARE  CLOCK  TAKEN OVER\n\
             n1    0                    alive           no      0           0.0%\n\
             n2    0                    alive, joining  no      0           0.0%          4 of 9\n"
        );
    }

    #[test]
    fn a_node_that_waits_has_no_table() {
        let status = ClusterStatus::default();
        let text = align(&head(&status), &rows(&status));
        assert_eq!(text, "this node belongs to no cluster yet\n");
    }
}
