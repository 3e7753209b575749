//! How near the node comes to the limit of its design on this machine.
//!
//! The limit is an echo of the same frames over the same TLS stack with no store behind it, and with
//! as many event loops as the node. Every figure of the node stands beside its echo from the same
//! round; several rounds give medians and spread.
//!
//! `cargo bench --bench throughput -- [--seconds S] [--rounds N] [--keys K]`

#![forbid(unsafe_code)]

mod alone;
mod echo;
mod load;
mod place;
mod sync;

use std::time::Duration;

use crate::load::{Load, Operation};
use crate::place::Place;

/// What the command line says.
struct Plan {
    span: Duration,
    rounds: usize,
    keys: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(place) = value_of(&arguments, "--echo") {
        return echo::serve(&Place::at(place.into()));
    }
    let number = |name, default| {
        value_of(&arguments, name).map_or(default, |text| text.parse().expect("a number"))
    };
    let plan = Plan {
        span: Duration::from_secs(number("--seconds", 4)),
        rounds: usize::try_from(number("--rounds", 3)).expect("a small number"),
        keys: number("--keys", 100_000),
    };
    run(&plan);
}

fn value_of<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let place = arguments.iter().position(|argument| argument == name)?;
    arguments.get(place + 1).map(String::as_str)
}

fn run(plan: &Plan) {
    let place = Place::make();
    let node = place.start_node();
    let echo = place.start_echo();
    let load = |address, operation, connections, depth, span| {
        let load = Load { address, operation, connections, depth, span, keys: plan.keys };
        load.run(&place)
    };
    println!("filling {} keys", plan.keys);
    load(node.address, Operation::Fill, 1, 512, Duration::MAX);

    let mut table = Table::default();
    for _ in 0..plan.rounds {
        for (name, connections, depth) in [("64x1", 64, 1), ("1x64", 1, 64)] {
            for operation in [Operation::Get, Operation::Put] {
                let limit = load(echo.address, operation, connections, depth, plan.span);
                let ours = load(node.address, operation, connections, depth, plan.span);
                table.add(format!("{name} {operation:?} echo"), limit);
                table.add(format!("{name} {operation:?} node"), ours);
                table.add(format!("{name} {operation:?} node/echo"), ours / limit);
            }
        }
        let alone = alone::run(&place, plan.span, 64, plan.keys);
        table.add("storage alone, batches of 64".to_owned(), alone);
        table.add("1x64 Put node/storage".to_owned(), table.last("1x64 Put node") / alone);
        let (echo_put, _) = sync::alternate(&place, echo.address, 300);
        table.add("1x1 Put echo p50 µs".to_owned(), echo_put);
        let (put, sync) = sync::alternate(&place, node.address, 300);
        table.add("1x1 Put p50 µs".to_owned(), put);
        table.add("fdatasync p50 µs".to_owned(), sync);
        table.add("1x1 Put/fdatasync".to_owned(), put / sync);
        table.add("node CPU µs per 64x1 Put".to_owned(), {
            let before = node.cpu_seconds();
            let rate = load(node.address, Operation::Put, 64, 1, plan.span);
            (node.cpu_seconds() - before) * 1e6 / (rate * plan.span.as_secs_f64())
        });
    }
    table.print();
    println!("node resident memory: {} MiB", node.resident_bytes() >> 20);
}

/// Figures by name, in the order in which they first came.
#[derive(Default)]
struct Table {
    rows: Vec<(String, Vec<f64>)>,
}

impl Table {
    fn add(&mut self, name: String, figure: f64) {
        match self.rows.iter_mut().find(|(known, _)| *known == name) {
            Some((_, figures)) => figures.push(figure),
            None => self.rows.push((name, vec![figure])),
        }
    }

    fn last(&self, name: &str) -> f64 {
        let row = self.rows.iter().find(|(known, _)| known == name);
        row.and_then(|(_, figures)| figures.last().copied()).expect("added before")
    }

    fn print(&mut self) {
        println!("{:<28} {:>12} {:>12} {:>12}", "", "median", "least", "most");
        for (name, figures) in &mut self.rows {
            figures.sort_by(f64::total_cmp);
            let (least, most) = (figures[0], figures[figures.len() - 1]);
            let median = figures[figures.len() / 2];
            println!("{name:<28} {median:>12.2} {least:>12.2} {most:>12.2}");
        }
    }
}
