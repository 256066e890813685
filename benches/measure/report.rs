//! The table for people, and the JSON for programs.

use std::fmt::Write;

use crate::Outcome;
use crate::settings::target_directory;

/// A cell: text for the table, a number or text for the JSON.
#[derive(Clone, Debug)]
pub enum Cell {
    Text(String),
    Number { value: f64, digits: usize },
    Nothing,
}

impl Cell {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// With about three significant digits.
    pub fn number(value: f64) -> Self {
        let digits = match value.abs() {
            0.0..10.0 => 2,
            10.0..100.0 => 1,
            _ => 0,
        };
        Self::Number { value, digits }
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number { value, .. } if !value.is_finite() => "-".to_owned(),
            Self::Number { value, digits } => with_separators(&format!("{value:.digits$}")),
            Self::Nothing => String::new(),
        }
    }

    fn json(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Number { value, .. } if value.is_finite() => format!("{value}"),
            Self::Number { .. } | Self::Nothing => "null".to_owned(),
        }
    }
}

/// Rows under named columns. Each row is printed as soon as it is complete.
#[derive(Debug)]
pub struct Report {
    name: &'static str,
    sections: Vec<Section>,
}

#[derive(Debug)]
struct Section {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Report {
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            sections: Vec::new(),
        }
    }

    pub fn section(&mut self, title: &str, columns: &[&'static str]) {
        println!("\n## {title}\n");
        println!("| {} |", columns.join(" | "));
        println!("|---{}|", "|---:".repeat(columns.len() - 1));
        self.sections.push(Section {
            title: title.to_owned(),
            columns: columns.to_vec(),
            rows: Vec::new(),
        });
    }

    pub fn row(&mut self, cells: Vec<Cell>) {
        let shown: Vec<_> = cells.iter().map(Cell::shown).collect();
        println!("| {} |", shown.join(" | "));
        if let Some(section) = self.sections.last_mut() {
            section.rows.push(cells);
        }
    }

    /// Writes `bench/NAME.json` into cargo's target directory.
    pub fn save(&self) -> Outcome<()> {
        let directory = target_directory().join("bench");
        std::fs::create_dir_all(&directory)?;
        let path = directory.join(format!("{}.json", self.name));
        std::fs::write(&path, self.json())?;
        println!("\nwritten to {}", path.display());
        Ok(())
    }

    fn json(&self) -> String {
        let mut json = format!("{{\"bench\":{},\"sections\":[", quoted(self.name));
        for (at, section) in self.sections.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(json, "{comma}\n{{\"title\":{},\"rows\":[", quoted(&section.title));
            for (at, row) in section.rows.iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                let fields: Vec<_> = section
                    .columns
                    .iter()
                    .zip(row)
                    .map(|(column, cell)| format!("{}:{}", quoted(column), cell.json()))
                    .collect();
                let _ = write!(json, "{comma}\n{{{}}}", fields.join(","));
            }
            json.push_str("]}");
        }
        json.push_str("]}\n");
        json
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn with_separators(number: &str) -> String {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut shown = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 && digit.is_ascii_digit() && !shown.ends_with('-') {
            shown.push(',');
        }
        shown.push(digit);
    }
    if !fraction.is_empty() {
        shown.push('.');
        shown.push_str(fraction);
    }
    shown
}
