//! Shows what a change of the members would move.

use paravon_client::{PlanReply, PlannedNode};
use serde_json::{Value as Json, json};

use super::progress::shown_bytes;
use crate::args::Form;
use crate::error::Error;
use crate::output::Output;

pub(super) fn print(plan: &PlanReply, output: &Output) -> Result<(), Error> {
    if output.form() == Form::Table {
        return output.print_rows(&head(plan), &rows(plan));
    }
    output.print(&tree(plan))
}

/// A plan as a tree. Plain fields become one without fail.
pub(super) fn tree(plan: &PlanReply) -> Json {
    serde_json::to_value(plan).unwrap_or(Json::Null)
}

/// What the table's rows have in common.
fn head(plan: &PlanReply) -> Vec<String> {
    let knows_bytes = plan.nodes.iter().any(|node| node.bytes_in + node.bytes_out > 0);
    let time = match knows_bytes {
        true => format!("about {} s", plan.seconds),
        // One without data cannot tell how much others have.
        false => "bytes and time are not known to this node".to_owned(),
    };
    vec![
        format!("members: {} now, {} then", plan.members_before, plan.members_after),
        format!("copies: {} now, {} then", plan.copies_before, plan.copies_after),
        format!("partitions with another set of nodes: {}; {time}", plan.partitions_changed),
    ]
}

fn rows(plan: &PlanReply) -> Json {
    let row = |node: &PlannedNode| {
        json!({
            "node": node.node,
            "ordinal": node.ordinal.map_or_else(|| "new".to_owned(), |number| number.to_string()),
            "gains": node.partitions_gained,
            "loses": node.partitions_lost,
            "takes in": shown_bytes(node.bytes_in),
            "gives out": shown_bytes(node.bytes_out),
        })
    };
    plan.nodes.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::rows as align;

    #[test]
    fn a_plan_has_a_row_for_each_node() {
        let node = |node: &str, ordinal, gained, bytes_in| PlannedNode {
            node: node.to_owned(),
            ordinal,
            partitions_gained: gained,
            bytes_in,
            ..PlannedNode::default()
        };
        let plan = PlanReply {
            members_before: 1,
            members_after: 2,
            copies_before: 1,
            copies_after: 2,
            partitions_changed: 256,
            seconds: 2,
            nodes: vec![node("n1", Some(1), 0, 0), node("n2", None, 256, 2500)],
        };
        assert_eq!(
            align(&head(&plan), &rows(&plan)),
            "members: 1 now, 2 then\n\
             copies: 1 now, 2 then\n\
             partitions with another set of nodes: 256; about 2 s\n\
             NODE  ORDINAL  GAINS  LOSES  TAKES IN  GIVES OUT\n\
             n1    1        0      0      0 B       0 B\n\
             n2    new      256    0      2.5 kB    0 B\n"
        );
    }
}
