//! The goals and the measurements, and pictures of these, from the JSON that the benchmarks wrote.
//!
//! `cargo bench -p anabranch-benches --bench summary`, after the benchmarks; `benches/run` does both. The table is
//! printed, for `docs/performance.md`; the pictures go to `docs/pictures`.

mod chart;
mod goals;
mod results;

use std::fs;
use std::path::Path;

use measure::Outcome;
use measure::settings::target_directory;

use chart::{Axis, Chart, Line};
use results::Results;

fn main() -> Outcome<()> {
    let results = Results::read(&target_directory().join("bench"))?;
    goals::print(&results);
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures");
    fs::create_dir_all(&pictures)?;
    for (name, chart) in charts(&results) {
        if chart.lines.iter().all(|line| line.points.is_empty()) {
            println!("{name}: nothing was measured");
            continue;
        }
        fs::write(pictures.join(format!("{name}.svg")), chart.svg())?;
        println!("docs/pictures/{name}.svg");
    }
    Ok(())
}

fn charts(results: &Results) -> Vec<(&'static str, Chart)> {
    vec![
        ("throughput-writers", by_writers(results)),
        ("throughput-shards", by_shards(results)),
        ("throughput-size", by_size(results)),
        ("latency", latency(results)),
    ]
}

const RAW: &str = "raw limit";
const RECORDS: Axis = Axis::logarithmic("records/s");

/// The peers' three rows with one record a call.
const DURABLE: [(f64, &str); 3] = [
    (1.0, "Durable on return, 1 KiB records, 1 writer"),
    (8.0, "Durable on return, 1 KiB records, 8 writers"),
    (64.0, "Durable on return, 1 KiB records, 64 writers"),
];

/// The name without the remarks behind it.
fn short(engine: &str) -> &str {
    engine.split(':').next().unwrap_or(engine)
}

fn by_writers(results: &Results) -> Chart {
    let mut chart = Chart::new(
        "Durable puts of 1 KiB, by the number of writers",
        Axis::logarithmic("writers"),
        RECORDS,
    );
    for (writers, section) in DURABLE {
        for row in results.section("peers", section) {
            let line = chart.line(short(row.text("engine")));
            line.points.push((writers, row.number("records/s")));
        }
    }
    chart
}

fn by_shards(results: &Results) -> Chart {
    let mut chart = Chart::new(
        "Durable batches of 500 records of 1 KiB over many shards",
        Axis::logarithmic("shards"),
        RECORDS,
    );
    for (callers, section) in [
        ("1 caller", "One caller, 500 records a call"),
        ("8 callers", "Eight callers, 500 records a call"),
    ] {
        for row in results.section("shards", section) {
            let case = row.text("case");
            let shards = case
                .split('/')
                .find_map(|part| part.strip_suffix("-shards"))
                .and_then(|shards| shards.parse().ok())
                .unwrap_or(1.0);
            chart
                .line(&format!("{RAW}, {callers}"))
                .points
                .push((shards, row.number("raw records/s")));
            chart
                .line(&format!("anabranch, {callers}"))
                .points
                .push((shards, row.number("store records/s")));
        }
    }
    chart
}

fn by_size(results: &Results) -> Chart {
    let mut chart = Chart::new(
        "Durable puts of 1 KiB by 8 writers, by the size of the store",
        Axis::logarithmic("MiB in the store"),
        Axis::from_zero("records/s"),
    );
    for row in results.rows("growth") {
        let size = row.number("MiB");
        chart.line(RAW).points.push((size, row.number("raw records/s")));
        chart
            .line("anabranch")
            .points
            .push((size, row.number("store records/s")));
    }
    chart
}

const SHARES: [&str; 4] = ["p50", "p90", "p99", "p99.9"];

fn latency(results: &Results) -> Chart {
    let mut chart = Chart::new(
        "Time until a put of 1 KiB is durable, 64 writers",
        Axis::named("share of the puts", &SHARES),
        Axis::logarithmic("microseconds"),
    );
    for row in results.section("peers", DURABLE[2].1) {
        let points = (0..)
            .zip(SHARES)
            .map(|(at, name)| (f64::from(at), row.number(&format!("{name} us"))))
            .collect();
        chart.lines.push(Line {
            name: short(row.text("engine")).to_owned(),
            points,
        });
    }
    chart
}
