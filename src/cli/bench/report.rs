//! The measurements, for people and for programs.

use std::fmt::Write;
use std::path::Path;

use anabranch::bench::run::Figures;
use clap::ValueEnum;
use serde_json::{Value, json};

use super::BenchArguments;

/// Both sides, and the records read back.
#[derive(Debug)]
pub(super) struct Report {
    arguments: BenchArguments,
    directory: String,
    raw: Figures,
    anabranch: Figures,
    /// The ratio of each slice.
    ratios: Vec<f64>,
    /// How many records were acknowledged and read back, those of the warm-up included.
    pub(super) read_back: u64,
}

impl Report {
    pub(super) fn new(arguments: &BenchArguments, directory: Option<&Path>) -> Self {
        let directory = directory.unwrap_or(&arguments.directory);
        Self {
            arguments: arguments.clone(),
            directory: std::fs::canonicalize(directory)
                .unwrap_or_else(|_| directory.to_owned())
                .display()
                .to_string(),
            raw: Figures::default(),
            anabranch: Figures::default(),
            ratios: Vec::new(),
            read_back: 0,
        }
    }

    /// Adds one slice of each side.
    pub(super) fn add(&mut self, raw: &Figures, anabranch: &Figures) {
        self.raw.add_later(raw);
        self.anabranch.add_later(anabranch);
        self.ratios.push(anabranch.per_second() / raw.per_second());
    }

    /// A line for a person who waits.
    pub(super) fn so_far(&self) -> String {
        match self.ratios.is_empty() {
            true => "warming up".to_owned(),
            false => format!(
                "raw {} records/s, anabranch {} records/s",
                whole(self.records_per_second(&self.raw)),
                whole(self.records_per_second(&self.anabranch))
            ),
        }
    }

    pub(super) fn text(&self) -> String {
        let arguments = &self.arguments;
        let mut text = String::new();
        let through = match &arguments.endpoint {
            Some(url) => format!("through {url}"),
            None => "through the library".to_owned(),
        };
        let _ = writeln!(text, "Disk   {}", self.directory);
        let _ = writeln!(
            text,
            "Load   {}, {} of {} bytes a call, {}, {}, {through}\n",
            counted(arguments.writers, "writer"),
            counted(arguments.batch, "record"),
            arguments.record_bytes,
            counted(arguments.shards, "shard"),
            self.durability()
        );
        let _ = writeln!(
            text,
            "{:<12}{:>14}{:>14}{:>9}",
            "", "raw limit", "anabranch", "ratio"
        );
        let mut row = |name: &str, digits: usize, of: &dyn Fn(&Figures) -> f64| {
            let (raw, anabranch) = (of(&self.raw), of(&self.anabranch));
            let shown = |number| match digits {
                0 => whole(number),
                _ => format!("{number:.digits$}"),
            };
            let _ = writeln!(
                text,
                "{name:<12}{:>14}{:>14}{:>9.2}",
                shown(raw),
                shown(anabranch),
                anabranch / raw
            );
        };
        row("records/s", 0, &|figures| self.records_per_second(figures));
        row("MB/s", 1, &|figures| self.megabytes_per_second(figures));
        for (name, share) in SHARES {
            row(&format!("{name} us"), 0, &|figures| figures.micros(share));
        }
        let (low, high) = self.ratio_range();
        let _ = writeln!(
            text,
            "\nThe ratio of records/s was {low:.2} to {high:.2} from second to second.\n\
             Read back: all {} acknowledged records are there.",
            whole(self.read_back as f64)
        );
        text
    }

    pub(super) fn json(&self) -> Value {
        let arguments = &self.arguments;
        let (low, high) = self.ratio_range();
        json!({
            "directory": self.directory,
            "endpoint": arguments.endpoint,
            "seconds": arguments.seconds,
            "writers": arguments.writers,
            "batch": arguments.batch,
            "record_bytes": arguments.record_bytes,
            "shards": arguments.shards,
            "durability": self.durability(),
            "raw": self.side(&self.raw),
            "anabranch": self.side(&self.anabranch),
            "ratio": self.anabranch.per_second() / self.raw.per_second(),
            "ratio_lowest": low,
            "ratio_highest": high,
            "read_back_records": self.read_back,
        })
    }

    fn side(&self, figures: &Figures) -> Value {
        let mut side = json!({
            "records_per_second": self.records_per_second(figures),
            "megabytes_per_second": self.megabytes_per_second(figures),
            "calls": figures.operations(),
        });
        for (name, share) in SHARES {
            side[format!("{name}_us")] = figures.micros(share).into();
        }
        side
    }

    fn durability(&self) -> String {
        self.arguments
            .durability
            .to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    fn records_per_second(&self, figures: &Figures) -> f64 {
        figures.per_second() * f64::from(self.arguments.batch)
    }

    fn megabytes_per_second(&self, figures: &Figures) -> f64 {
        self.records_per_second(figures) * f64::from(self.arguments.record_bytes) / 1e6
    }

    fn ratio_range(&self) -> (f64, f64) {
        let lowest = self.ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = self.ratios.iter().copied().fold(0.0, f64::max);
        (lowest, highest)
    }
}

const SHARES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("worst", 1.0),
];

fn counted(count: u32, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{} {what}s", whole(f64::from(count))),
    }
}

/// Without a fraction, in groups of three digits.
fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three_digits() {
        assert_eq!(whole(0.4), "0");
        assert_eq!(whole(999.0), "999");
        assert_eq!(whole(1_234_567.8), "1,234,568");
    }
}
