//! Standard output: tables for people, JSON lines for programs.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use clap::{Args, ValueEnum};

use super::super::Failure;
use crate::cli::table;

#[derive(Debug, Clone, Args)]
pub(super) struct OutputArguments {
    /// The format of standard output [default: table on a terminal, json otherwise]
    #[arg(long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns for people
    Table,
    /// One JSON object per line
    Json,
}

/// Standard output.
pub(super) struct Output {
    out: BufWriter<StdoutLock<'static>>,
    pub(super) format: Format,
}

impl OutputArguments {
    pub(super) fn open(&self) -> Output {
        let out = io::stdout();
        let default = match out.is_terminal() {
            true => Format::Table,
            false => Format::Json,
        };
        Output {
            out: BufWriter::new(out.lock()),
            format: self.output.unwrap_or(default),
        }
    }
}

impl Output {
    /// A line, which may wait for a flush.
    pub(super) fn line(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.out, "{line}").map_err(Failure::Output)
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::Output)
    }

    /// All rows at once: as a table, or each as its JSON.
    pub(super) fn rows<T, const N: usize>(
        &mut self,
        rows: &[T],
        head: [&str; N],
        cells: impl Fn(&T) -> [String; N],
        json: impl Fn(&T) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => {
                let cells: Vec<_> = rows.iter().map(cells).collect();
                table::write(&mut self.out, head, &cells).map_err(Failure::Output)?;
            }
            Format::Json => {
                for row in rows {
                    self.line(&json(row))?;
                }
            }
        }
        self.flush()
    }
}
