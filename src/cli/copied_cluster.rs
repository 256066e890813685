//! `anabranch backup --engine` and `anabranch restore --engine`: a store on a cluster as a directory, and back.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anabranch::{ClusterCopied, ClusterProgress, Error, JetStream};
use serde_json::json;

use super::Failure;
use super::counted::Counted;
use super::progress_line::ProgressLine;

pub(super) fn back_up(cluster: &JetStream, destination: &Path, as_json: bool) -> Result<ExitCode, Failure> {
    told(as_json, "The backup is sound.", |on_progress| {
        cluster.back_up(destination, on_progress)
    })
}

pub(super) fn restore(cluster: &JetStream, backup: &Path, as_json: bool) -> Result<ExitCode, Failure> {
    told(as_json, "The store is restored.", |on_progress| {
        cluster.restore(backup, on_progress)
    })
}

/// Prints what was copied; 1 if the source is damaged.
fn told(
    as_json: bool,
    end: &str,
    copy: impl FnOnce(&mut dyn FnMut(&ClusterProgress)) -> anabranch::Result<ClusterCopied>,
) -> Result<ExitCode, Failure> {
    let line = ProgressLine::default();
    let copied = copy(&mut |at| line.show(&format!("{}: {} of {}", at.stream, at.sequence, at.last)));
    drop(line);
    let copied = match copied {
        Ok(copied) => copied,
        Err(error @ (Error::Corrupt { .. } | Error::Unreadable { .. })) => {
            Failure::Inspection(error).report();
            return Ok(ExitCode::from(1));
        }
        Err(error) => return Err(Failure::Inspection(error)),
    };
    let out = &mut io::stdout().lock();
    // The exit status is given even if standard output is closed.
    let _ = match as_json {
        true => writeln!(
            out,
            "{}",
            json!({
                "sound": true,
                "streams": copied.streams,
                "messages": copied.messages,
                "bytes": copied.bytes,
            })
        ),
        false => writeln!(
            out,
            "{}, {}, {}. {end}",
            Counted(copied.streams, "stream"),
            Counted(copied.messages, "message"),
            Counted(copied.bytes, "byte"),
        ),
    };
    Ok(ExitCode::SUCCESS)
}
