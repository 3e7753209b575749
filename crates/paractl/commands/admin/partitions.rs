//! `admin partitions`: how the partitions fare that a node stores.
//!
//! **Never:** mixes what two nodes store: each that is asked has a table of its own.

use std::time::Duration;

use paravon_client::{Client, ClientError, PartitionStatus};
use serde_json::{Value as Json, json};

use super::super::Caller;
use crate::args::{Form, PartitionsArgs};
use crate::context::Context;
use crate::error::Error;
use crate::output::Output;

pub(super) fn run(args: PartitionsArgs, context: &Context, output: &Output) -> Result<(), Error> {
    let mut answers = Vec::new();
    for one in context.each_server() {
        let server = one.servers().concat();
        let caller = Caller::of(one)?;
        let mut partitions = caller.ask(all(&caller.client))?;
        let stored = partitions.len();
        partitions.retain(|status| args.behind.is_none_or(|behind| is_behind(status, behind)));
        answers.push((server, stored, partitions));
    }
    if output.form() == Form::Table {
        return answers.iter().try_for_each(|(server, stored, partitions)| {
            let shown = partitions.len();
            let head = format!("{server}: {shown} of {stored} partitions");
            output.print_rows(&[head], &partitions.iter().map(row).collect())
        });
    }
    // Plain fields become a tree without fail.
    let tree = |partitions| serde_json::to_value(partitions).unwrap_or(Json::Null);
    super::print(answers.iter().map(|(_, _, partitions)| tree(partitions)).collect(), output)
}

/// All pages.
async fn all(client: &Client) -> Result<Vec<PartitionStatus>, ClientError> {
    let mut partitions: Vec<PartitionStatus> = Vec::new();
    let mut after = None;
    loop {
        let page = client.partitions(after).await?;
        partitions.extend(page.partitions);
        // A node that did not lead on would be asked for ever.
        match page.next.filter(|next| after.is_none_or(|after| *next > after)) {
            Some(next) => after = Some(next),
            None => return Ok(partitions),
        }
    }
}

/// Whether a partition is damaged, or was not seen to agree for so long.
fn is_behind(status: &PartitionStatus, behind: Duration) -> bool {
    let agreed = status.agreed_seconds.is_some_and(|seconds| seconds < behind.as_secs());
    status.lost || status.damaged_keys > 0 || !agreed
}

fn row(status: &PartitionStatus) -> Json {
    let ago = |seconds: Option<u64>| match seconds {
        Some(seconds) => {
            format!("{} ago", humantime::format_duration(Duration::from_secs(seconds)))
        }
        None => "never".to_owned(),
    };
    let damage = match (status.lost, status.damaged_keys) {
        (true, _) => "file lost".to_owned(),
        (false, 0) => String::new(),
        (false, keys) => format!("{keys} keys"),
    };
    json!({
        "partition": status.partition,
        "agreed": ago(status.agreed_seconds),
        "with": status.waits_for,
        "floor": ago(status.floor_seconds),
        "damage": damage,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::rows as align;

    #[test]
    fn a_row_says_since_when_and_by_whom_a_partition_is_held_up() {
        let agreed = PartitionStatus {
            partition: 7,
            agreed_seconds: Some(75),
            floor_seconds: Some(3600),
            waits_for: "n2".to_owned(),
            ..PartitionStatus::default()
        };
        let damaged = PartitionStatus { damaged_keys: 2, ..agreed.clone() };
        let lost = PartitionStatus { partition: 9, lost: true, ..PartitionStatus::default() };
        let minute = Duration::from_secs(60);
        assert!(is_behind(&agreed, minute) && !is_behind(&agreed, 2 * minute));
        assert!(is_behind(&damaged, 2 * minute) && is_behind(&lost, 2 * minute));
        let items = [agreed, damaged, lost].iter().map(row).collect();
        assert_eq!(
            align(&["n1:6000: 3 of 3 partitions".to_owned()], &items),
            "n1:6000: 3 of 3 partitions\n\
             PARTITION  AGREED      WITH  FLOOR   DAMAGE\n\
             7          1m 15s ago  n2    1h ago\n\
             7          1m 15s ago  n2    1h ago  2 keys\n\
             9          never             never   file lost\n"
        );
    }
}
