//! Durable batches of random puts through store and journal, against redb's own durable commits of
//! the same batches in the same run.
//!
//! `cargo bench -p paravon-storage --bench batches -- [--seconds 10] [--keys 1000000] [--shards 1]
//! [--dir PATH]`. Prints rates, latencies, memory, file sizes and the time of a restart after a kill.
//! Figures of one run compare with each other, not with those of another machine or hour.

mod load;
mod redb_alone;
mod report;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use load::{Bench, Phase};
use report::print_rate;

/// Puts in a batch.
const BATCH: u64 = 128;

struct Arguments {
    seconds: u64,
    keys: u64,
    shards: u16,
    dir: PathBuf,
    write_until_killed: Option<PathBuf>,
}

impl Arguments {
    fn parse() -> Self {
        let mut parsed = Self {
            seconds: 10,
            keys: 1_000_000,
            shards: 1,
            dir: std::env::temp_dir(),
            write_until_killed: None,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_else(|| panic!("{name} needs a value"));
            let number = |text: String| text.parse().expect("a number");
            match name.as_str() {
                "--seconds" => parsed.seconds = number(value()),
                "--keys" => parsed.keys = number(value()),
                "--shards" => parsed.shards = value().parse().expect("a number of shards"),
                "--dir" => parsed.dir = value().into(),
                "--write-until-killed" => parsed.write_until_killed = Some(value().into()),
                // Cargo says so.
                "--bench" => {}
                other => panic!("unknown argument {other}"),
            }
        }
        parsed
    }
}

fn main() {
    let arguments = Arguments::parse();
    if let Some(path) = &arguments.write_until_killed {
        write_until_killed(path, &arguments);
    }
    let duration = Duration::from_secs(arguments.seconds);
    let dir = tempfile::tempdir_in(&arguments.dir).expect("a directory for the bench");

    println!(
        "store and journal: batches of {BATCH}, {} keys of 16 B, values of 100 B, {} shard(s)",
        arguments.keys, arguments.shards
    );
    let path = dir.path().join("node");
    let mut bench = Bench::open(&path, arguments.shards, arguments.keys);
    bench.load();
    println!("  loaded: RSS {} MiB", report::rss_mib());

    bench.settle();
    let burst = bench.run(Phase::Overwrite, Duration::from_secs(1), None);
    print_phase("burst of one second", &burst);
    let overwrites = bench.run(Phase::Overwrite, duration, None);
    print_phase("overwrites, sustained", &overwrites);
    println!("  RSS {} MiB", report::rss_mib());
    let rate = overwrites.rate.mean() * 0.6;
    let paced = bench.run(Phase::Overwrite, duration, Some(rate));
    print_phase(&format!("overwrites at {rate:.0}/s"), &paced);
    let new_keys = bench.run(Phase::NewKeys, duration, None);
    print_phase("new keys, sustained", &new_keys);
    println!("  RSS {} MiB", report::rss_mib());
    bench.close();
    drop(bench);

    println!("redb alone, committing each batch durably");
    // After ours, because memory that it frees would stay with this process.
    let yardstick = duration.min(Duration::from_secs(15));
    let alone = redb_alone::run(&dir.path().join("alone.redb"), arguments.keys, yardstick);
    print_rate("  overwrites", &alone.overwrites);
    print_rate("  new keys", &alone.new_keys);
    println!(
        "times redb alone: burst {:.1}, overwrites {:.1}, new keys {:.1}",
        burst.rate.mean() / alone.overwrites.mean(),
        overwrites.rate.mean() / alone.overwrites.mean(),
        new_keys.rate.mean() / alone.new_keys.mean()
    );
    restarts_after_kills(&dir.path().join("killed"), &arguments);
    rounds(&dir.path().join("rounds"), &arguments);
}

fn print_phase(name: &str, phase: &load::Outcome) {
    println!("  {name}:");
    print_rate("    puts", &phase.rate);
    println!("    CPU of a put over all threads: {:.1} us", phase.cpu.as_secs_f64() * 1e6);
    report::print_latency("    batch", &phase.batches);
    report::print_latency("    get", &phase.gets);
    report::print_latency("    refused as overloaded, waited", &phase.refusals);
}

/// Kills a process in the middle of its writes, several times, and starts from what it left.
fn restarts_after_kills(path: &Path, arguments: &Arguments) {
    for kill in 1..=3 {
        let program = std::env::current_exe().expect("this program has a path");
        let mut child = std::process::Command::new(program)
            .args(["--keys", &arguments.keys.to_string()])
            .args(["--shards", &arguments.shards.to_string()])
            .arg("--write-until-killed")
            .arg(path)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("a child starts");
        let mut loaded = [0];
        let output = child.stdout.as_mut().expect("it is piped");
        output.read_exact(&mut loaded).expect("the child says when it has loaded");
        std::thread::sleep(Duration::from_millis(2500 + 700 * kill));
        child.kill().expect("it is killed");
        child.wait().expect("it ends");
        let begun = Instant::now();
        let mut reopened = Bench::open(path, arguments.shards, arguments.keys);
        let took = begun.elapsed().as_secs_f64();
        println!("  restart after kill {kill}: {took:.2} s, RSS {} MiB", report::rss_mib());
        reopened.check_loaded();
        reopened.close();
    }
}

/// What the killed process does.
fn write_until_killed(path: &Path, arguments: &Arguments) {
    let mut bench = Bench::open(path, arguments.shards, arguments.keys);
    bench.load();
    println!("loaded");
    loop {
        bench.run(Phase::Overwrite, Duration::from_secs(1), None);
    }
}

/// Overwrites everything again and again: the files must not grow with it.
fn rounds(path: &Path, arguments: &Arguments) {
    let mut bench = Bench::open(path, arguments.shards, arguments.keys);
    bench.load();
    let encoded = bench.encoded_bytes();
    for round in 1..=6 {
        bench.overwrite_all();
        bench.settle();
        let bytes = report::redb_bytes(path);
        println!(
            "  redb files after round {round}: {} MiB, {:.2} times the encoded records",
            bytes >> 20,
            bytes as f64 / encoded as f64
        );
    }
    bench.close();
}
