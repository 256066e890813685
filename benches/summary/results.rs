//! The output of the benchmarks.

use std::fs;
use std::io;
use std::path::Path;

use measure::Outcome;
use serde_json::Value;

const BENCHES: [&str; 8] = [
    "append",
    "read",
    "open",
    "shards",
    "resharding",
    "growth",
    "http",
    "peers",
];

/// All sections of all benchmarks that were run.
#[derive(Debug, Default)]
pub struct Results {
    sections: Vec<Section>,
}

#[derive(Debug)]
struct Section {
    bench: String,
    title: String,
    rows: Vec<Row>,
}

/// A row of a table, by the names of its columns.
#[derive(Clone, Debug)]
pub struct Row(Value);

impl Row {
    pub fn text(&self, column: &str) -> &str {
        self.0[column].as_str().unwrap_or_default()
    }

    pub fn number(&self, column: &str) -> f64 {
        self.0[column].as_f64().unwrap_or(f64::NAN)
    }
}

impl Results {
    pub fn read(directory: &Path) -> Outcome<Self> {
        let mut results = Self::default();
        for bench in BENCHES {
            let path = directory.join(format!("{bench}.json"));
            let json = match fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                json => json.map_err(|error| format!("{}: {error}", path.display()))?,
            };
            let json: Value = serde_json::from_slice(&json)?;
            for section in json["sections"].as_array().into_iter().flatten() {
                let rows = section["rows"].as_array().cloned().unwrap_or_default();
                results.sections.push(Section {
                    bench: bench.to_owned(),
                    title: section["title"].as_str().unwrap_or_default().to_owned(),
                    rows: rows.into_iter().map(Row).collect(),
                });
            }
        }
        Ok(results)
    }

    pub fn section(&self, bench: &str, title: &str) -> Vec<Row> {
        let found = |section: &&Section| section.bench == bench && section.title == title;
        self.sections
            .iter()
            .find(found)
            .map(|section| section.rows.clone())
            .unwrap_or_default()
    }

    /// The rows of all sections of a benchmark.
    pub fn rows(&self, bench: &str) -> Vec<Row> {
        self.sections
            .iter()
            .filter(|section| section.bench == bench)
            .flat_map(|section| section.rows.clone())
            .collect()
    }

    pub fn case(&self, bench: &str, case: &str) -> Option<Row> {
        self.rows(bench).into_iter().find(|row| row.text("case") == case)
    }
}
