//! Putting records into one shard: throughput and latency beside the raw limit of the same disk.
//!
//! `cargo bench -p anabranch-benches --bench append`, or with `-- synced/1KiB` for the cases whose names contain that.
//! `docs/performance.md` explains the comparison and each column.

use anabranch::Durability;
use anabranch::bench::raw::RawFile;
use measure::Outcome;
use measure::beside::{COLUMNS, Case, RAW_BYTES};
use measure::report::Report;
use measure::scratch::Scratch;
use measure::settings::Settings;

fn main() -> Outcome<()> {
    let settings = Settings::read();
    let scratch = Scratch::new(&settings.directory, "append")?;
    let raw = RawFile::fill(&scratch.path().join("raw"), RAW_BYTES)?;
    let mut report = Report::new("append");
    for (durability, title) in [
        (
            Durability::Synced,
            "Synced: beside pwrite + fdatasync, blocks written before",
        ),
        (Durability::Written, "Written: beside pwrite"),
        (Durability::Buffered, "Buffered: beside pwrite"),
    ] {
        let cases: Vec<_> = cases(durability)
            .into_iter()
            .filter(|case| settings.selects(&case.name()))
            .collect();
        if !cases.is_empty() {
            report.section(title, &COLUMNS);
        }
        for case in cases {
            report.row(case.row(&case.measure(&settings, &scratch, &raw)?));
        }
    }
    report.save()
}

fn cases(durability: Durability) -> Vec<Case> {
    let case = |record_bytes, writers, batch| Case {
        durability,
        record_bytes,
        writers,
        batch,
        shards: 1,
        is_recycling: true,
    };
    let sizes_and_writers = [
        (100, 1),
        (100, 64),
        (1 << 10, 1),
        (1 << 10, 8),
        (1 << 10, 64),
        (16 << 10, 1),
        (16 << 10, 64),
    ];
    let mut cases: Vec<_> = sizes_and_writers
        .into_iter()
        .flat_map(|(bytes, writers)| [1, 100].map(|batch| case(bytes, writers, batch)))
        .collect();
    if durability != Durability::Buffered {
        cases.extend([(1, 1), (64, 1), (1, 100)].map(|(writers, batch)| Case {
            is_recycling: false,
            ..case(1 << 10, writers, batch)
        }));
    }
    cases
}
