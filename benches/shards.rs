//! Batches of 500 records over many shards, durable on return, compared with one `fdatasync` of one file with the same
//! bytes.
//!
//! `cargo bench -p anabranch-benches --bench shards`, or with `-- 64-shards` for the cases whose names contain that.

use anabranch::Durability;
use anabranch::bench::raw::RawFile;
use measure::Outcome;
use measure::beside::{COLUMNS, Case, RAW_BYTES};
use measure::report::Report;
use measure::scratch::Scratch;
use measure::settings::Settings;

fn main() -> Outcome<()> {
    let settings = Settings::read();
    let scratch = Scratch::new(&settings.directory, "shards")?;
    let raw = RawFile::fill(&scratch.path().join("raw"), RAW_BYTES)?;
    let mut report = Report::new("shards");
    for (writers, title) in [
        (1, "One caller, 500 records a call"),
        (8, "Eight callers, 500 records a call"),
    ] {
        let cases: Vec<_> = [1, 4, 16, 64, 256]
            .into_iter()
            .map(|shards| Case {
                durability: Durability::Synced,
                record_bytes: 1 << 10,
                writers,
                batch: 500,
                shards,
                is_recycling: true,
            })
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
