//! `anabranch dump`: the contents of a store.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anabranch::inspect::{
    DumpItem, DumpOptions, DumpWhat, DumpedEdit, DumpedFrame, DumpedRecord, DumpedSegment, DumpedShard,
    Finding, Inspection,
};
use anabranch::{RecordNumber, ShardId, StreamId, Timestamp};
use base64_simd::STANDARD;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Failure;
use super::counted::Counted;
use super::secret_file::SecretFile;
use super::store_directory::store_directory;
use super::verify::{finding_as_json, no_store};
#[cfg(feature = "nats")]
use {super::engine::ClusterOfTool, clap::ArgMatches};

#[derive(Debug, Args)]
pub(super) struct DumpArguments {
    /// The store's directory
    #[arg(value_name = "DIR", value_parser = store_directory())]
    #[cfg_attr(not(feature = "nats"), arg(required = true))]
    directory: Option<PathBuf>,

    #[cfg(feature = "nats")]
    #[command(flatten)]
    engine: ClusterOfTool,

    /// What to show
    #[arg(long, value_enum, default_value_t = What::Lineage)]
    what: What,

    /// Only this stream: its name, or its number
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,

    /// Only this shard, by its full id or its number
    #[arg(long, value_name = "SHARD", value_parser = shard)]
    shard: Option<ShardId>,

    /// Show at most this many lines
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,

    /// A file of keys, to show encrypted records: lines of an id, =, and 64 hexadecimal digits
    #[arg(long, value_name = "FILE", env = "ANABRANCH_KEYS")]
    keys: Option<PathBuf>,

    /// Print one JSON object per line
    #[arg(long)]
    json: bool,

    /// Print the data of records in base64, even if it is text
    #[arg(long)]
    base64: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// The changes in the manifest, in their order
    Manifest,
    /// The shards of each stream, their ranges, parents and ends
    Lineage,
    /// The files of each shard, and what is in them
    Segments,
    /// The commits in each file
    Frames,
    /// The records, with keys and data
    Records,
}

pub(super) const AFTER_HELP: &str = "\
Changes nothing, and may run while a server has the store. It also works on stores that do not open: without a manifest,
it finds the segments by their header pages. Damage is reported on standard error, or with --json as an object whose
\"type\" is \"finding\". Undamaged parts are shown all the same.

With --engine, it shows the manifest, lineage and records of a store on a cluster. In place of a file, the output names
a stream of the cluster and a subject.

Examples:
  anabranch dump DIR                                          which shards there are
  anabranch dump DIR --what records --stream clicks --limit 10
  anabranch dump DIR --what records --json | jq -r 'select(.type == \"record\") | .data' | base64 -d

Exit status:
  0  shown
  1  shown, except for damaged parts
  2  could not be shown";

impl DumpArguments {
    /// Decides between a directory and a cluster.
    #[cfg(feature = "nats")]
    pub(super) fn settle(&mut self, matches: &ArgMatches) -> Result<(), String> {
        self.engine.settle(matches, self.directory.is_some())
    }

    /// Gives the items of the store that are to be shown.
    fn dump(
        &self,
        options: &DumpOptions,
        on_item: &mut dyn FnMut(DumpItem) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        #[cfg(feature = "nats")]
        if let Some(cluster) = self.engine.given()? {
            return cluster.dump(options, on_item).map_err(Failure::Inspection);
        }
        let directory = self.directory.as_ref().ok_or_else(|| no_store("dump"))?;
        let inspection = Inspection::of(directory);
        inspection.dump(options, on_item).map_err(Failure::Inspection)
    }
}

/// Shows them; 1 if something could not be shown.
pub(super) fn run(arguments: &DumpArguments) -> Result<ExitCode, Failure> {
    let mut options = DumpOptions::of(match arguments.what {
        What::Manifest => DumpWhat::Manifest,
        What::Lineage => DumpWhat::Lineage,
        What::Segments => DumpWhat::Segments,
        What::Frames => DumpWhat::Frames,
        What::Records => DumpWhat::Records,
    });
    options.stream.clone_from(&arguments.stream);
    options.shard = arguments.shard;
    options.limit = arguments.limit;
    let keys = arguments.keys.as_deref().map(SecretFile::read).transpose()?;
    options.keys = keys.map(|file| file.secrets);

    let mut out = BufWriter::new(io::stdout().lock());
    let mut is_damaged = false;
    arguments.dump(&options, &mut |item| {
        is_damaged |= matches!(&item, DumpItem::Finding(finding) if finding.is_damage());
        let written = match arguments.json {
            true => writeln!(out, "{}", as_json(&item)),
            false => print(&mut out, &item, arguments.base64),
        };
        // If standard output is closed, no more output is wanted.
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    let _ = out.flush();
    Ok(match is_damaged {
        false => ExitCode::SUCCESS,
        true => ExitCode::from(1),
    })
}

pub(super) fn shard(text: &str) -> Result<ShardId, String> {
    match text.parse() {
        Ok(index) => ShardId::new(index).map_err(|error| error.to_string()),
        Err(_) => text
            .parse()
            .map_err(|error: anabranch::ShardIdError| error.to_string()),
    }
}

fn print(out: &mut impl Write, item: &DumpItem, is_base64: bool) -> io::Result<()> {
    match item {
        DumpItem::Edit(edit) => print_edit(out, edit),
        DumpItem::Shard(shard) => print_shard(out, shard),
        DumpItem::Segment(segment) => print_segment(out, segment),
        DumpItem::Frame(frame) => print_frame(out, frame),
        DumpItem::Record(record) => print_record(out, record, is_base64),
        DumpItem::Encrypted(frame) => print_encrypted(out, frame),
        DumpItem::Finding(finding) => print_finding(out, finding),
        _ => Ok(()),
    }
}

fn print_edit(out: &mut impl Write, edit: &DumpedEdit) -> io::Result<()> {
    writeln!(out, "frame {} at {}: {:?}", edit.frame, edit.offset, edit.edit)
}

fn print_shard(out: &mut impl Write, dumped: &DumpedShard) -> io::Result<()> {
    write!(out, "{}: {}", dumped.log, Counted(dumped.segments, "segment"))?;
    if let Some(shard) = &dumped.shard {
        let range = shard.hash_key_range;
        write!(out, ", keys {} to {}", range.start(), range.end())?;
        let parents: Vec<_> = shard.parents().map(|parent| parent.to_string()).collect();
        if !parents.is_empty() {
            write!(out, ", from {}", parents.join(" and "))?;
        }
        match &shard.closed {
            Some(closed) => write!(out, ", closed at {}", closed.at)?,
            None => write!(out, ", open")?,
        }
    }
    match dumped.next_record {
        Some(next) => writeln!(out, ", next record {next}"),
        None => writeln!(out, ", end not recorded"),
    }
}

fn print_segment(out: &mut impl Write, segment: &DumpedSegment) -> io::Result<()> {
    writeln!(
        out,
        "{}: {}, {}, {} with {} from {} to before {}, positions {} to {}, arrived {}to {}",
        segment.log,
        segment.path.display(),
        Counted(segment.bytes, "byte"),
        Counted(segment.frames, "frame"),
        Counted(segment.records, "record"),
        segment.first_record,
        segment.next_record,
        segment.base_position,
        segment.end_position,
        base_arrival(segment).map_or_else(String::new, |time| format!("{time} ")),
        segment.last_arrival,
    )
}

/// When the last record before a segment arrived. `None` for the first segment of a log.
fn base_arrival(segment: &DumpedSegment) -> Option<Timestamp> {
    Some(segment.base_arrival).filter(|time| *time > Timestamp::EPOCH)
}

fn print_frame(out: &mut impl Write, frame: &DumpedFrame) -> io::Result<()> {
    writeln!(
        out,
        "{}: {} at {}, {}, position {}, {} from {}, durable through {}, arrived {} to {}",
        frame.log,
        frame.path.display(),
        frame.offset,
        Counted(frame.bytes, "byte"),
        frame.position,
        Counted(frame.count.into(), "record"),
        frame.first_record,
        frame.durable_through,
        frame.first_arrival,
        frame.last_arrival,
    )
}

fn print_record(out: &mut impl Write, record: &DumpedRecord, is_base64: bool) -> io::Result<()> {
    write!(out, "{}: record {}", record.log, record.record)?;
    if let Some(number) = record.sequence_number {
        write!(out, ", sequence number {number}")?;
    }
    write!(
        out,
        ", arrived {}, key {:?}, ",
        record.arrival,
        record.partition_key.as_str()
    )?;
    match std::str::from_utf8(&record.data) {
        Ok(text) if !is_base64 => writeln!(out, "data {text:?}"),
        _ => writeln!(out, "data in base64 {}", STANDARD.encode_to_string(&record.data)),
    }
}

fn print_encrypted(out: &mut impl Write, frame: &DumpedFrame) -> io::Result<()> {
    writeln!(
        out,
        "{}: {} from {}, encrypted; to show them, give --keys with the key of fingerprint {}",
        frame.log,
        Counted(frame.count.into(), "record"),
        frame.first_record,
        shown_fingerprint(frame.encrypted_with).unwrap_or_default(),
    )
}

fn shown_fingerprint(fingerprint: Option<u64>) -> Option<String> {
    fingerprint.map(|fingerprint| format!("{fingerprint:016x}"))
}

/// On standard error, after the items that were shown already.
fn print_finding(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    out.flush()?;
    writeln!(io::stderr(), "{finding}")
}

fn as_json(item: &DumpItem) -> Value {
    match item {
        DumpItem::Edit(edit) => json!({
            "type": "edit",
            "file": edit.path.display().to_string(),
            "offset": edit.offset,
            "frame": edit.frame,
            "kind": edit.kind,
            "edit": serde_json::to_value(&edit.edit).unwrap_or_else(|error| json!({ "error": error.to_string() })),
        }),
        DumpItem::Shard(dumped) => {
            let shard = dumped.shard.as_ref();
            json!({
                "type": "shard",
                "stream": dumped.log.stream().map(StreamId::value),
                "stream_name": dumped.log.stream_name,
                "shard": dumped.log.shard().map(|shard| shard.to_string()),
                "starting_hash_key": shard.map(|shard| shard.hash_key_range.start().to_string()),
                "ending_hash_key": shard.map(|shard| shard.hash_key_range.end().to_string()),
                "parents": shard.map(|shard| shard.parents().map(|id| id.to_string()).collect::<Vec<_>>()),
                "created": shard.map(|shard| shard.created.to_string()),
                "closed": shard.and_then(|shard| shard.closed).map(|closed| closed.at.to_string()),
                "segments": dumped.segments,
                "next_record": dumped.next_record.map(RecordNumber::value),
            })
        }
        DumpItem::Segment(segment) => json!({
            "type": "segment",
            "stream": segment.log.stream().map(StreamId::value),
            "stream_name": segment.log.stream_name,
            "shard": segment.log.shard().map(|shard| shard.to_string()),
            "file": segment.path.display().to_string(),
            "bytes": segment.bytes,
            "first_record": segment.first_record.value(),
            "next_record": segment.next_record.value(),
            "base_position": segment.base_position,
            "end_position": segment.end_position,
            "base_arrival": base_arrival(segment).map(|time| time.to_string()),
            "last_arrival": segment.last_arrival.to_string(),
            "salt": format!("{:016x}", segment.salt),
            "frames": segment.frames,
            "records": segment.records,
            "encrypted_with": shown_fingerprint(segment.encrypted_with),
        }),
        DumpItem::Frame(frame) | DumpItem::Encrypted(frame) => json!({
            "type": match item {
                DumpItem::Encrypted(_) => "encrypted",
                _ => "frame",
            },
            "stream": frame.log.stream().map(StreamId::value),
            "stream_name": frame.log.stream_name,
            "shard": frame.log.shard().map(|shard| shard.to_string()),
            "file": frame.path.display().to_string(),
            "offset": frame.offset,
            "bytes": frame.bytes,
            "position": frame.position,
            "first_record": frame.first_record.value(),
            "count": frame.count,
            "durable_through": frame.durable_through,
            "first_arrival": frame.first_arrival.to_string(),
            "last_arrival": frame.last_arrival.to_string(),
            "checksum": format!("{:08x}", frame.checksum),
            "chain": format!("{:08x}", frame.chain),
            "encrypted_with": shown_fingerprint(frame.encrypted_with),
        }),
        DumpItem::Record(record) => json!({
            "type": "record",
            "stream": record.log.stream().map(StreamId::value),
            "stream_name": record.log.stream_name,
            "shard": record.log.shard().map(|shard| shard.to_string()),
            "file": record.path.display().to_string(),
            "offset": record.offset,
            "record": record.record.value(),
            "sequence_number": record.sequence_number.map(|number| number.to_string()),
            "arrival": record.arrival.to_string(),
            "partition_key": record.partition_key.as_str(),
            "data": STANDARD.encode_to_string(&record.data),
        }),
        DumpItem::Finding(finding) => {
            let mut value = finding_as_json(finding);
            value["type"] = json!("finding");
            value
        }
        _ => Value::Null,
    }
}
