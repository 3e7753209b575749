//! Three nodes, quorum, every write synced on a majority: how fast, and what a client notices when a
//! node stops, dies, or comes back to what it missed.
//!
//! The load and all nodes share this machine. A phase with a fault stands beside the seconds before
//! the fault, from the same run.
//!
//! `cargo bench --bench cluster -- [--seconds S] [--keys K] [--hints H] [PHASE...]`
//! where a phase is `rate`, `stop`, `kill`, `hints`, `mend`, `away`, `deletes`, `grow`, or `join`, which
//! is `grow` without load; all of them but the last where none is named.

#![forbid(unsafe_code)]

mod deletes;
mod heal;
mod load;
mod nodes;
mod plant;
mod report;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::load::{Load, Operation};
use crate::nodes::{Cluster, Moved};
use crate::report::Report;

/// What the command line says.
struct Plan {
    span: Duration,
    keys: u64,
    hints: u64,
    phases: Vec<String>,
}

/// Connections of every load.
const CONNECTIONS: usize = 64;

/// What a fault may cost is judged from here on.
const DETECTION: Duration = Duration::from_secs(3);

fn main() {
    let mut plan =
        Plan { span: Duration::from_secs(10), keys: 100_000, hints: 100_000, phases: Vec::new() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|n| n.parse().ok()).expect("a number");
        match argument.as_str() {
            "--seconds" => plan.span = Duration::from_secs(number()),
            "--keys" => plan.keys = number(),
            "--hints" => plan.hints = number(),
            // Cargo's own.
            "--bench" => {}
            _ => plan.phases.push(argument),
        }
    }
    let wanted = |phase: &str| plan.phases.is_empty() || plan.phases.iter().any(|p| p == phase);
    let mut cluster = Cluster::start();
    let empty = cluster.taken();
    println!("filling {} keys", plan.keys);
    load(&cluster.addresses(), &cluster, Operation::Fill { from: 0, keys: plan.keys });
    if wanted("rate") {
        rate(&cluster, &plan);
    }
    if wanted("stop") {
        fault(&mut cluster, &plan, "SIGSTOP", Cluster::pause_last, Cluster::resume_last);
    }
    if wanted("kill") {
        fault(&mut cluster, &plan, "kill -9", Cluster::kill_last, Cluster::restart_last);
    }
    if wanted("hints") {
        hints(&mut cluster, &plan);
    }
    if wanted("mend") {
        heal::mend(&mut cluster, plan.keys);
    }
    if wanted("away") {
        heal::away(&mut cluster, &plan);
    }
    if wanted("deletes") {
        deletes::deletes(&cluster, &plan, &empty);
    }
    let hints = if wanted("hints") { plan.hints } else { 0 };
    let records = plan.keys + hints;
    if plan.phases.iter().any(|phase| phase == "join") {
        join(&mut cluster, records);
    } else if wanted("grow") {
        grow(&mut cluster, &plan, records);
    }
}

/// Until it is done.
fn load(addresses: &[SocketAddr], cluster: &Cluster, operation: Operation) -> Report {
    let addresses = addresses.to_vec();
    Load { addresses, operation, connections: CONNECTIONS, span: Duration::MAX }.run(cluster)
}

/// Puts and gets over all three nodes.
fn rate(cluster: &Cluster, plan: &Plan) {
    println!("\n{CONNECTIONS} connections over three nodes, each one request at a time");
    for _ in 0..3 {
        for operation in [Operation::Put { keys: plan.keys }, Operation::Get { keys: plan.keys }] {
            let before = cluster.cpu_seconds();
            let addresses = cluster.addresses();
            let (connections, span) = (CONNECTIONS, plan.span);
            let report = Load { addresses, operation, connections, span }.run(cluster);
            let cpu = cluster.cpu_seconds() - before;
            println!(
                "{operation:>4}  {report}  {:.1} µs of CPU in the nodes",
                cpu * 1e6 / report.answered()
            );
        }
    }
}

/// Puts and gets through the first two nodes, before and after something happens to the third.
fn fault(
    cluster: &mut Cluster,
    plan: &Plan,
    name: &str,
    begin: fn(&mut Cluster),
    end: fn(&mut Cluster),
) {
    for operation in [Operation::Put { keys: plan.keys }, Operation::Get { keys: plan.keys }] {
        println!("\n{name} of one of three nodes, {operation} through the two others");
        let survivors = || cluster.but_the_last();
        let run = |addresses, span| Load { addresses, operation, connections: CONNECTIONS, span };
        let before = run(survivors(), plan.span).run(cluster);
        println!("before                {before}");
        begin(cluster);
        let first = run(cluster.but_the_last(), DETECTION).run(cluster);
        println!("first three seconds   {first}");
        let after = run(cluster.but_the_last(), plan.span).run(cluster);
        println!("afterwards            {after}  p99 {:.2} x", after.p99() / before.p99());
        end(cluster);
        cluster.wait_until_drained();
    }
}

/// Writes that one node misses, and how long it takes to hand them over when it is back.
fn hints(cluster: &mut Cluster, plan: &Plan) {
    println!("\n{} hints", plan.hints);
    let foreground = Operation::Put { keys: plan.keys };
    let run = |cluster: &Cluster, operation, span| {
        let addresses = cluster.but_the_last();
        Load { addresses, operation, connections: CONNECTIONS, span }.run(cluster)
    };
    let before = run(cluster, foreground, plan.span);
    println!("before                {before}");
    cluster.kill_last();
    cluster.wait_until_dead();
    run(cluster, Operation::Fill { from: plan.keys, keys: plan.hints }, Duration::MAX);
    println!("waiting for the node  {} hints", cluster.hints());
    cluster.restart_last();
    let start = Instant::now();
    let draining = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            cluster.wait_until_drained();
            start.elapsed()
        });
        let during = run(cluster, foreground, plan.span);
        println!("while they drain      {during}  p99 {:.2} x", during.p99() / before.p99());
        waiter.join().expect("no panic")
    });
    println!("drained after         {:.1} s", draining.as_secs_f64());
}

/// A fourth node joins under load.
fn grow(cluster: &mut Cluster, plan: &Plan, records: u64) {
    println!("\na fourth node joins under puts and gets through the first three");
    let addresses = cluster.addresses();
    let operation = Operation::Checked { keys: plan.keys };
    let run = |cluster: &Cluster, span| {
        let addresses = addresses.clone();
        Load { addresses, operation, connections: CONNECTIONS, span }.run(cluster)
    };
    cluster.start_fourth();
    let before = run(cluster, plan.span);
    println!("before                {before}");
    let start = Instant::now();
    let mut whole = Report::new();
    let (moved, taken) = std::thread::scope(|scope| {
        let joining = scope.spawn(|| (cluster.join_fourth(), start.elapsed()));
        while !joining.is_finished() || whole.elapsed.is_zero() {
            let during = run(cluster, plan.span);
            println!("while it joins        {during}  p99 {:.2} x", during.p99() / before.p99());
            whole.add(&during);
        }
        joining.join().expect("no panic")
    });
    println!("all of the join       {whole}  p99 {:.2} x", whole.p99() / before.p99());
    let after = run(cluster, plan.span);
    println!("afterwards            {after}  p99 {:.2} x", after.p99() / before.p99());
    say_joined(records, &moved, taken);
}

/// A fourth node joins while nobody asks for anything.
fn join(cluster: &mut Cluster, records: u64) {
    println!("\na fourth node joins without load");
    cluster.start_fourth();
    let start = Instant::now();
    let moved = cluster.join_fourth();
    say_joined(records, &moved, start.elapsed());
}

/// How much of its share of these records a fourth node has taken: what was told last before the change
/// ended.
fn say_joined(records: u64, moved: &Moved, taken: Duration) {
    // Four equal nodes: the newcomer holds three quarters of all keys.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let needed = records as f64 * 0.75;
    let seconds = taken.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let (moved_records, moved_bytes) = (moved.records as f64, moved.bytes as f64);
    println!(
        "joined after {seconds:.1} s: {} records moved, {:.3} of what is needed, {:.1} MB/s",
        moved.records,
        moved_records / needed,
        moved_bytes / 1e6 / seconds,
    );
}
