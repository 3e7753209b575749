//! What a bench says in the end.
//!
//! **Never:** an average of latencies; it hides what matters.

use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Map, Value as Json, json};

use super::load::{Done, Stats};
use super::{BenchArgs, Op};

/// The quantiles that are shown.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// The report as a tree. Field names are stable.
pub(super) fn tree(args: &BenchArgs, done: &Done) -> Json {
    let stats = &done.stats;
    let op = args.op.to_possible_value();
    let mut tree = Map::new();
    let mut add = |name: &str, value: Json| drop(tree.insert(name.to_owned(), value));
    add("op", op.map_or(Json::Null, |op| op.get_name().into()));
    add("clients", args.clients.into());
    add("depth", args.depth.into());
    add("keys", args.keys.into());
    add("value_size", args.value_size.into());
    add("zipf", args.zipf.into());
    add("seconds", rounded(done.elapsed.as_secs_f64()));
    add("requests", stats.latency.len().into());
    add("requests_per_second", rate(stats.latency.len(), done.elapsed));
    add("latency_ms", latency(stats));
    if args.op != Op::Put {
        add("found", stats.found.into());
        add("absent", stats.absent.into());
    }
    add("errors", stats.errors.values().sum::<u64>().into());
    if !stats.errors.is_empty() {
        let by_code = stats.errors.iter().map(|(&code, &count)| (code.to_owned(), count.into()));
        add("errors_by_code", Json::Object(by_code.collect()));
        add("first_error", stats.first_error.as_ref().map(ToString::to_string).into());
    }
    Json::Object(tree)
}

fn latency(stats: &Stats) -> Json {
    if stats.latency.is_empty() {
        return Json::Null;
    }
    let quantile = |&(name, at): &(&str, f64)| {
        (name.to_owned(), milliseconds(stats.latency.value_at_quantile(at)))
    };
    let max = ("max".to_owned(), milliseconds(stats.latency.max()));
    Json::Object(QUANTILES.iter().map(quantile).chain([max]).collect())
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a bench fit")]
fn milliseconds(us: u64) -> Json {
    rounded(us as f64 / 1000.0)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is rounded to whole requests"
)]
fn rate(requests: u64, elapsed: Duration) -> Json {
    json!((requests as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)).round() as u64)
}

/// Three digits after the point.
fn rounded(number: f64) -> Json {
    json!((number * 1000.0).round() / 1000.0)
}
