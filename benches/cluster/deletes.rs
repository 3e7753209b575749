//! Every key is deleted: how long until no replica holds a delete any more, and what is left on the disks.
//!
//! The size of a node is what its files take of the disk, without the log, whose segments are kept for
//! another life; an empty store's is that of the same node before its first write.

use std::time::{Duration, Instant};

use crate::load::Operation;
use crate::nodes::{Cluster, Taken, came_true_within};
use crate::{Plan, load};

/// How long files are given to shrink once no delete is left.
const SHRINKING: Duration = Duration::from_secs(120);

/// Deletes every key, and waits until all of it has gone.
pub(crate) fn deletes(cluster: &Cluster, plan: &Plan, empty: &[Taken]) {
    println!("\n{} keys are deleted", plan.keys);
    say("empty", empty);
    say("full", &cluster.taken());
    let report = load(&cluster.addresses(), cluster, Operation::Clear { keys: plan.keys });
    println!("deletes               {report}");
    say("deleted", &cluster.taken());
    let start = Instant::now();
    cluster.wait_until_nothing_is_deleted();
    println!("no delete is left after {:.0} s", start.elapsed().as_secs_f64());
    let shrunk = || {
        let taken = cluster.taken();
        let pairs = taken.iter().zip(empty);
        pairs.clone().all(|(taken, empty)| taken.files * 2 <= empty.files * 3)
    };
    let has_shrunk = came_true_within(SHRINKING, shrunk);
    say(if has_shrunk { "shrunk" } else { "not shrunk" }, &cluster.taken());
    println!("{:.0} s after the last delete", start.elapsed().as_secs_f64());
}

fn say(when: &str, taken: &[Taken]) {
    let node = |taken: &Taken| format!("{} + log {}", taken.files / 1024, taken.log / 1024);
    let all: Vec<String> = taken.iter().map(node).collect();
    println!("{when:<21} {} KiB", all.join(", "));
}
