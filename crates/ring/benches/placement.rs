//! What a layout costs, and how evenly it spreads.
//!
//! `cargo bench -p paravon-ring`. CPU time of this thread; figures of one run compare with each other,
//! not with those of another machine or hour. The tables of shares are the same everywhere.

use std::hint::black_box;
use std::sync::Arc;

use paravon_model::{Address, ClusterId, Document, Member, NodeId, Ordinal, Phase, Roster, Size};
use paravon_ring::{Layout, Partition};
use rustix::time::{ClockId, clock_gettime};

/// The published defaults.
const SHIFT: u8 = 16;
const COPIES: u8 = 3;

fn main() {
    println!("shift {SHIFT}, {COPIES} copies\n");
    println!("{:<46} {:>10} {:>10} {:>10}", "CPU time in ms", "median", "fastest", "slowest");
    for count in [3, 100, 1000] {
        of(count, None);
    }
    of(1000, Some(3));
    of(1000, Some(2));
    one_more_or_less(1000, None);
    one_more_or_less(1000, Some(3));
    one_more_or_less(3, None);
    equal_nodes();
    mixed_nodes();
}

fn member(ordinal: u32, size: Size, zones: Option<u32>) -> Member {
    let name = |text: String| NodeId::new(&text).expect("a valid name");
    Member {
        ordinal: Ordinal(ordinal),
        node_id: name(format!("node-{ordinal}")),
        size,
        zone: zones.map(|zones| name(format!("zone-{}", ordinal % zones))),
        address: Address::new("localhost:1"),
    }
}

fn document(members: Vec<Member>, seed: u64) -> Arc<Document> {
    Arc::new(Document {
        cluster_id: ClusterId(1),
        generation: 0,
        rescue_id: 0,
        version: 1,
        fence: 1,
        phase: Phase::Stable,
        hash_seed: seed,
        shift: SHIFT,
        current: Roster { members, replication_factor: COPIES },
        past: Vec::new(),
        council: Vec::new(),
        next_ordinal: u32::MAX,
        operations: Vec::new(),
    })
}

/// Nodes of size L.
fn nodes(count: u32, zones: Option<u32>) -> Vec<Member> {
    (1..=count).map(|ordinal| member(ordinal, Size::L, zones)).collect()
}

fn in_zones(zones: Option<u32>) -> String {
    zones.map_or_else(String::new, |zones| format!(" in {zones} zones"))
}

fn of(count: u32, zones: Option<u32>) {
    let document = document(nodes(count, zones), 1);
    measure(&format!("from nothing, {count} nodes{}", in_zones(zones)), 7, || {
        Layout::of(Arc::clone(&document))
    });
}

fn one_more_or_less(count: u32, zones: Option<u32>) {
    let before = document(nodes(count, zones), 1);
    let layout = Layout::of(Arc::clone(&before));
    for size in [Size::L, Size::Xxl] {
        let mut members = before.current.members.clone();
        members.push(member(count + 1, size, zones));
        let after = document(members, 1);
        let one = format!("{count} nodes{}, one {}", in_zones(zones), size.name());
        measure(&format!("{one} more"), 21, || layout.after(Arc::clone(&after)));
        let grown = Layout::of(Arc::clone(&after));
        measure(&format!("{one} less again"), 21, || grown.after(Arc::clone(&before)));
    }
}

/// Runs `work` several times, after one run for the caches, and prints a row.
fn measure<T>(name: &str, runs: usize, mut work: impl FnMut() -> T) {
    black_box(work());
    let mut times: Vec<f64> = Vec::new();
    for _ in 0..runs {
        let start = cpu_ms();
        black_box(work());
        times.push(cpu_ms() - start);
    }
    times.sort_by(f64::total_cmp);
    let (median, slowest) = (times[runs / 2], times[runs - 1]);
    println!("{name:<46} {median:>10.2} {:>10.2} {slowest:>10.2}", times[0]);
}

fn cpu_ms() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// How many partitions the first `copies` replicas give to every member, by its place.
fn held(layout: &Layout, copies: usize) -> Vec<u32> {
    let mut held = vec![0; layout.document().current.members.len()];
    for partition in (0..layout.shift().partitions()).map(Partition) {
        for replica in &layout.sets(partition).current[..copies] {
            held[replica.0 as usize - 1] += 1;
        }
    }
    held
}

fn equal_nodes() {
    const SEEDS: u64 = 32;
    println!(
        "\n100 equal nodes, {SEEDS} seeds: partitions of the fullest and emptiest over the mean"
    );
    let mut rows = Vec::new();
    for seed in 0..SEEDS {
        let held = held(&Layout::of(document(nodes(100, None), seed)), COPIES.into());
        let mean = f64::from(held.iter().sum::<u32>()) / 100.0;
        let most = held.iter().max().copied().unwrap_or_default();
        let least = held.iter().min().copied().unwrap_or_default();
        rows.push((f64::from(most) / mean, f64::from(least) / mean));
    }
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let emptiest = rows.iter().map(|row| row.1).fold(f64::INFINITY, f64::min);
    let (median, worst) = (rows[rows.len() / 2].0, rows[rows.len() - 1].0);
    println!("fullest: median {median:.3}, largest {worst:.3}; emptiest: smallest {emptiest:.3}");
}

fn mixed_nodes() {
    const SIZES: [Size; 6] = [Size::Xs, Size::S, Size::M, Size::L, Size::Xl, Size::Xxl];
    const EACH: usize = 17;
    println!("\n{EACH} nodes of every size: share of a size over its share of tickets");
    println!("{:<6} {:>14} {:>14}", "size", "first replica", "three copies");
    let sizes = SIZES.iter().cycle().take(EACH * SIZES.len());
    let members = (1..).zip(sizes).map(|(ordinal, &size)| member(ordinal, size, None));
    let layout = Layout::of(document(members.collect(), 1));
    let tickets: u32 = SIZES.iter().map(|size| size.tickets()).sum();
    for (place, size) in SIZES.iter().enumerate() {
        let fair = f64::from(size.tickets()) / f64::from(tickets);
        let over = |copies: usize| {
            let held = held(&layout, copies);
            let own: u32 = held.iter().skip(place).step_by(SIZES.len()).sum();
            f64::from(own) / f64::from(held.iter().sum::<u32>()) / fair
        };
        println!("{:<6} {:>14.3} {:>14.3}", size.name(), over(1), over(usize::from(COPIES)));
    }
}
