//! The goals of the store, and whether it reaches them.

use super::DURABLE;
use super::results::Results;

/// A path, its goal, and its measurement: middle, lowest and highest.
struct Goal {
    path: &'static str,
    goal: String,
    measured: Option<(String, bool)>,
}

pub fn print(results: &Results) {
    println!("| path | goal | measured: median (lowest to highest round) | |");
    println!("|---|---|---|---|");
    for goal in goals(results) {
        let (measured, mark) = match &goal.measured {
            None => ("not measured", ""),
            Some((measured, true)) => (measured.as_str(), "reached"),
            Some((measured, false)) => (measured.as_str(), "**missed**"),
        };
        println!("| {} | {} | {measured} | {mark} |", goal.path, goal.goal);
    }
    println!();
}

fn goals(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (path, bench, case, least) in [
        ("durable, 1 writer", "append", "synced/1KiB/1-writers/by-1", 0.9),
        ("durable, 8 writers", "append", "synced/1KiB/8-writers/by-1", 0.9),
        (
            "durable, 64 writers",
            "append",
            "synced/1KiB/64-writers/by-1",
            0.85,
        ),
        (
            "durable, 64 writers, 100 B",
            "append",
            "synced/100B/64-writers/by-1",
            0.8,
        ),
        (
            "durable, 64 writers, 16 KiB",
            "append",
            "synced/16KiB/64-writers/by-1",
            0.8,
        ),
        (
            "durable, batches of 100, 1 writer",
            "append",
            "synced/1KiB/1-writers/by-100",
            0.9,
        ),
        (
            "durable, batches of 100, 64 writers",
            "append",
            "synced/1KiB/64-writers/by-100",
            0.8,
        ),
        (
            "durable, batches of 500 over 64 shards, 1 caller",
            "shards",
            "synced/1KiB/1-writers/by-500/64-shards",
            0.67,
        ),
        (
            "durable, batches of 500 over 256 shards, 1 caller",
            "shards",
            "synced/1KiB/1-writers/by-500/256-shards",
            0.67,
        ),
        (
            "durable, batches of 500 over 64 shards, 8 callers",
            "shards",
            "synced/1KiB/8-writers/by-500/64-shards",
            0.67,
        ),
        (
            "HTTP PutRecords, 500 records, durable",
            "http",
            "PutRecords/500/8-connections",
            0.7,
        ),
        (
            "HTTP PutRecord, 64 connections, durable",
            "http",
            "PutRecord/64-connections",
            0.5,
        ),
        (
            "HTTP GetRecords, 10 MiB",
            "http",
            "GetRecords/10MiB/4-connections",
            0.7,
        ),
    ] {
        let beside = if bench == "http" {
            "the bare server"
        } else {
            "the raw limit"
        };
        goals.push(Goal {
            path,
            goal: format!("at least {least} of {beside}"),
            measured: results.case(bench, case).map(|row| {
                let ratio = row.number("ratio");
                let (low, high) = low_high(row.text("ratio low-high"));
                (format!("{ratio:.2} ({low} to {high})"), ratio >= least)
            }),
        });
    }
    for (path, section, least) in [
        ("durable, 1 writer, beside peers", DURABLE[0].1, 1.0),
        ("durable, 8 writers, beside peers", DURABLE[1].1, 1.0),
        ("durable, 64 writers, beside peers", DURABLE[2].1, 1.5),
        (
            "durable, batches of 100, beside peers",
            "Durable on return, batches of 100 records of 1 KiB, 1 writer",
            1.0,
        ),
        (
            "not synced, single calls",
            "Not synced, 1 KiB records, 1 writer",
            1.0,
        ),
        (
            "not synced, batches of 100",
            "Not synced, batches of 100 records of 1 KiB, 1 writer",
            1.0,
        ),
        (
            "sequential read, checksums verified",
            "Sequential read, 1 KiB records, in the page cache",
            2.0,
        ),
    ] {
        // A reader without verification is not comparable to one with it.
        let best = results
            .section("peers", section)
            .into_iter()
            .filter(|row| row.text("engine") != "anabranch" && !row.text("engine").starts_with("raw"))
            .filter(|row| ["", "yes"].contains(&row.text("verifies")))
            .min_by(|a, b| {
                a.number("anabranch is faster by")
                    .total_cmp(&b.number("anabranch is faster by"))
            });
        goals.push(Goal {
            path,
            goal: format!("at least {least:.1} times the best peer"),
            measured: best.map(|row| {
                let times = row.number("anabranch is faster by");
                let (low, high) = low_high(row.text("low-high of that"));
                let peer = row.text("engine");
                (
                    format!("{times:.2} ({low} to {high}) times {peer}"),
                    times >= least,
                )
            }),
        });
    }
    for (path, case) in [
        (
            "p99 of durable puts while shards split and merge",
            "split-merge/64-writers",
        ),
        ("p99 while segments expire", "trim/64-writers"),
        ("p99 while streams are deleted", "delete/64-writers"),
    ] {
        goals.push(Goal {
            path,
            goal: "at most 3 times the p99 without".to_owned(),
            measured: results.case("resharding", case).map(|row| {
                let ratio = row.number("p99 ratio");
                let (low, high) = low_high(row.text("p99 ratio low-high"));
                (format!("{ratio:.2} ({low} to {high})"), ratio <= 3.0)
            }),
        });
    }
    let idle = results.case("open", "shards/10-streams-of-1000/mostly-idle");
    for (path, column, most, unit) in [
        (
            "10,000 shards, mostly idle: open",
            "after a clean close ms",
            1000.0,
            "ms",
        ),
        ("the same: memory", "resident MiB", 200.0, "MiB"),
        ("the same: disk", "on disk MiB", 1024.0, "MiB"),
        (
            "the same: files open after a put to each",
            "files open",
            1024.0,
            "files",
        ),
    ] {
        goals.push(Goal {
            path,
            goal: format!("under {most} {unit}"),
            measured: idle.as_ref().map(|row| {
                let value = row.number(column);
                (format!("{value:.0} {unit}"), value < most)
            }),
        });
    }
    let grown = results.rows("growth").pop();
    goals.push(Goal {
        path: "memory, whatever is stored",
        goal: "under 300 MiB, of which 256 MiB are mapped files".to_owned(),
        measured: grown.map(|row| {
            let (resident, size) = (row.number("resident MiB"), row.number("MiB"));
            (format!("{resident:.0} MiB at {size:.0} MiB"), resident < 300.0)
        }),
    });
    goals
}

fn low_high(range: &str) -> (&str, &str) {
    range.split_once('-').unwrap_or((range, range))
}
