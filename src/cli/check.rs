//! `anabranch check`: finds errors of a cluster.

use std::io::{self, Write};
use std::process::ExitCode;

use anabranch::{CheckedReplica, CheckedServer, CheckedStream, ClusterCheck, StoreOwner};
use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use super::counted::Counted;
use super::engine::ClusterOfTool;
use super::table;

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    engine: ClusterOfTool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(super) const AFTER_HELP: &str = "\
Asks each server of the cluster for its configuration and its room, and the leader of each of the store's streams which
servers are current. Opens no store and changes nothing, so it may run while a server has the store. The store need not
exist yet.

For each thing that is wrong it prints one line: what it is about, what is wrong, and what to do next.

Example:
  anabranch check --engine nats://a,b,c

Exit status:
  0  nothing is wrong
  1  something is wrong
  2  the cluster was not reached";

/// Prints the findings; 1 if something is wrong.
pub(super) fn run(arguments: &CheckArguments) -> Result<ExitCode, Failure> {
    let given = arguments.engine.given()?;
    let no_engine =
        || Failure::Usage("there is no --engine: the cluster to check, nats://HOST[:PORT],...".to_owned());
    let checked = given
        .ok_or_else(no_engine)?
        .check()
        .map_err(Failure::Inspection)?;
    let out = &mut io::stdout().lock();
    // The exit status is given even if standard output is closed.
    let _ = match arguments.json {
        true => writeln!(out, "{}", as_json(&checked)),
        false => print(out, &checked),
    };
    Ok(match checked.is_sound() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

fn print(out: &mut impl Write, checked: &ClusterCheck) -> io::Result<()> {
    let servers: Vec<_> = checked.servers.iter().map(row_of_server).collect();
    let head = ["SERVER", "ADDRESS", "VERSION", "SYNC", "PAYLOAD", "USED", "LIMIT"];
    table::write(out, head, &servers)?;
    if !checked.streams.is_empty() {
        let streams: Vec<_> = checked.streams.iter().map(row_of_stream).collect();
        let head = [
            "STREAM", "LEADER", "REPLICAS", "CURRENT", "LAG", "MESSAGES", "SIZE",
        ];
        writeln!(out)?;
        table::write(out, head, &streams)?;
    }
    writeln!(out)?;
    match &checked.owner {
        None => writeln!(out, "No server has the store open.")?,
        Some(StoreOwner { url: Some(url), .. }) => writeln!(out, "{url} has the store open.")?,
        Some(_) => writeln!(out, "A server has the store open.")?,
    }
    for problem in &checked.problems {
        writeln!(out, "{problem}")?;
    }
    match checked.problems.len() {
        0 => writeln!(out, "Nothing is wrong."),
        1 => writeln!(out, "1 thing is wrong."),
        count => writeln!(out, "{} are wrong.", Counted(count as u64, "thing")),
    }
}

fn row_of_server(server: &CheckedServer) -> [String; 7] {
    [
        server.name.clone(),
        server.address.clone(),
        server.version.clone(),
        sync_of(server).to_owned(),
        bytes(Some(server.max_payload)),
        bytes(server.used_bytes),
        bytes(server.limit_bytes),
    ]
}

fn row_of_stream(stream: &CheckedStream) -> [String; 7] {
    [
        stream.name.clone(),
        stream.leader.clone().unwrap_or_else(|| "none".to_owned()),
        stream.wanted_replicas.to_string(),
        stream.current_replicas().to_string(),
        lag_of(stream).to_string(),
        stream.messages.to_string(),
        bytes(Some(stream.bytes)),
    ]
}

fn sync_of(server: &CheckedServer) -> &'static str {
    match server.is_synced {
        Some(true) => "always",
        Some(false) => "no",
        None => "unknown",
    }
}

fn lag_of(stream: &CheckedStream) -> u64 {
    let lags = stream.replicas.iter().map(|replica| replica.lag);
    lags.max().unwrap_or_default()
}

fn bytes(bytes: Option<u64>) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let Some(bytes) = bytes else {
        return "unknown".to_owned();
    };
    let unit = (UNITS.len() - 1).min((bytes.max(1).ilog2() / 10) as usize);
    match unit {
        0 => format!("{bytes} B"),
        _ => format!(
            "{:.1} {}",
            bytes as f64 / (1_u64 << (10 * unit)) as f64,
            UNITS[unit]
        ),
    }
}

fn as_json(checked: &ClusterCheck) -> Value {
    let server = |server: &CheckedServer| {
        json!({
            "name": server.name,
            "address": server.address,
            "version": server.version,
            "max_payload": server.max_payload,
            "synced": server.is_synced,
            "used_bytes": server.used_bytes,
            "limit_bytes": server.limit_bytes,
        })
    };
    let replica = |replica: &CheckedReplica| {
        json!({
            "server": replica.server,
            "current": replica.is_current,
            "offline": replica.is_offline,
            "lag": replica.lag,
            "heard_seconds": replica.heard.as_secs_f64(),
        })
    };
    let stream = |stream: &CheckedStream| {
        json!({
            "name": stream.name,
            "ours": stream.is_ours,
            "leader": stream.leader,
            "wanted_replicas": stream.wanted_replicas,
            "current_replicas": stream.current_replicas(),
            "replicas": stream.replicas.iter().map(replica).collect::<Vec<_>>(),
            "messages": stream.messages,
            "bytes": stream.bytes,
        })
    };
    let problems = checked
        .problems
        .iter()
        .map(|problem| json!({ "about": problem.about, "what": problem.what, "next": problem.next }));
    json!({
        "sound": checked.is_sound(),
        "servers": checked.servers.iter().map(server).collect::<Vec<_>>(),
        "streams": checked.streams.iter().map(stream).collect::<Vec<_>>(),
        "open": checked.owner.is_some(),
        "owner": checked.owner.as_ref().and_then(|owner| owner.url.as_deref()),
        "problems": problems.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_the_unit_that_fits() {
        let shown = [
            None,
            Some(0),
            Some(1023),
            Some(1536),
            Some(16 << 20),
            Some(3 << 40),
        ]
        .map(bytes);
        assert_eq!(
            shown,
            ["unknown", "0 B", "1023 B", "1.5 KiB", "16.0 MiB", "3.0 TiB"]
        );
    }
}
