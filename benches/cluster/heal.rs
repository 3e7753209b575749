//! What it costs to find what differs between replicas and to mend it: a few records that one of them
//! lost, and all that one of them missed while it was away.
//!
//! Bytes are those of the connections between the nodes, in both directions, as the kernel counts them:
//! with TLS, failure detection and clocks. What they take while nothing is mended stands beside them.

use std::time::{Duration, Instant};

use crate::load::Operation;
use crate::nodes::Cluster;
use crate::{Plan, load, plant};

/// Differences that are planted.
const PLANTED: u64 = 100;

/// Records vanish from one replica. Nobody reads or writes meanwhile.
pub(crate) fn mend(cluster: &mut Cluster, records: u64) {
    println!("\n{PLANTED} of {records} records vanish from one of three replicas");
    cluster.stop_last();
    let planted = plant::forget(&cluster.data_of_last(), PLANTED, records);
    cluster.wait_until_dead();
    let (start, bytes) = (Instant::now(), cluster.bytes_between_nodes());
    cluster.restart_last();
    cluster.wait_until_drained();
    cluster.wait_until_summed();
    println!("summed up after        {:.1} s", start.elapsed().as_secs_f64());
    cluster.wait_until_mended(planted);
    let took = start.elapsed();
    println!("mended after           {:.1} s, {planted} records", took.as_secs_f64());
    report_bytes(cluster, bytes, took);
}

/// One node is away while every key is written anew.
pub(crate) fn away(cluster: &mut Cluster, plan: &Plan) {
    println!("\none of three nodes is away while {} keys are written", plan.keys);
    cluster.kill_last();
    cluster.wait_until_dead();
    load(&cluster.but_the_last(), cluster, Operation::Fill { from: 0, keys: plan.keys });
    println!("waiting for the node   {} hints", cluster.hints());
    let bytes = cluster.bytes_between_nodes();
    cluster.restart_last();
    let start = Instant::now();
    cluster.wait_until_drained();
    println!("hints are gone after   {:.1} s", start.elapsed().as_secs_f64());
    cluster.wait_until_agreed(start);
    let took = start.elapsed();
    println!("all agree after        {:.1} s", took.as_secs_f64());
    report_bytes(cluster, bytes, took);
}

/// The bytes since, beside those of as long a time in which all agree.
fn report_bytes(cluster: &Cluster, before: u64, took: Duration) {
    let bytes = cluster.bytes_between_nodes() - before;
    let (idle, resting) = (Instant::now(), cluster.bytes_between_nodes());
    std::thread::sleep(took.min(Duration::from_secs(60)));
    let at_rest = cluster.bytes_between_nodes() - resting;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let at_rest = at_rest as f64 * took.as_secs_f64() / idle.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let all = bytes as f64;
    println!(
        "on the wire            {:.0} KiB; in as long a time at rest {:.0} KiB",
        all / 1024.0,
        at_rest / 1024.0
    );
}
