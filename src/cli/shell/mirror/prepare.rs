//! Prepares a mirror that begins or goes on: looks up both streams, and makes the target's if it does not exist.

use anabranch::{HashKeyRange, Retention, StreamMode};

use super::super::super::Failure;
use super::super::target::{NewStream, StreamRow, Target};
use super::arguments::{LineageKind, MirrorArguments};
use super::checkpoint::{Checkpoint, CheckpointFile, Identity};
use super::reading::Reading;
use super::report::Report;
use super::shaping::{has_ranges, is_whole, shape, shards_at_first, wait_until_active};

/// A mirror that is ready to run.
pub(super) struct Prepared<C> {
    pub(super) checkpoint: Checkpoint,
    pub(super) reading: Reading<C>,
    pub(super) is_resumed: bool,
}

/// Looks at both streams and the checkpoint, refuses what does not fit, and makes the target's stream.
pub(super) fn prepare<S: Target>(
    arguments: &MirrorArguments,
    file: &CheckpointFile,
    source: &mut S,
    target: &mut impl Target,
    report: &Report,
) -> Result<Prepared<S::Cursor>, Failure> {
    if arguments.shards.is_some() && arguments.lineage == LineageKind::Mirror {
        return Err(Failure::Usage(
            "--shards is for --lineage flatten: a mirrored lineage has the shards of the source".to_owned(),
        ));
    }
    let row = source.stream(arguments.stream())?;
    let found = target.look_up(arguments.to())?;
    if found
        .as_ref()
        .is_some_and(|found| is_same(arguments, &row, found))
    {
        return Err(Failure::Refused(format!(
            "source and target are the same stream, {}: name another place, or another stream with --to",
            row.name
        )));
    }
    let mut prepared = match file.read()? {
        Some(checkpoint) => resumed(arguments, file, source, checkpoint, &row, found.as_ref(), report)?,
        None => begun(arguments, source, target, &row, found.as_ref())?,
    };
    if prepared.checkpoint.target.created.is_none() {
        // Written before the stream is made, so that the stream is known to be the mirror's.
        file.write(&prepared.checkpoint)?;
        make(
            arguments,
            &prepared.reading.ranges(),
            source,
            target,
            &row,
            report,
        )?;
        let made = target.stream(arguments.to())?;
        prepared.checkpoint.target.created = Identity::of(&made).created;
    }
    file.write(&prepared.checkpoint)?;
    Ok(prepared)
}

/// Whether both are the same stream, perhaps at two addresses. Amazon Kinesis gives the time of creation in whole
/// seconds, so another place can have a stream with the same name and time.
fn is_same(arguments: &MirrorArguments, source: &StreamRow, target: &StreamRow) -> bool {
    let is_told_apart = !source.created.as_millis().is_multiple_of(1000);
    Identity::of(source) == Identity::of(target) && (is_told_apart || arguments.places.is_one_place())
}

fn begun<S: Target>(
    arguments: &MirrorArguments,
    source: &mut S,
    target: &mut impl Target,
    row: &StreamRow,
    found: Option<&StreamRow>,
) -> Result<Prepared<S::Cursor>, Failure> {
    let (stream, begin) = (arguments.stream(), arguments.begin()?);
    if found.is_some() && !arguments.existing {
        return Err(Failure::Refused(format!(
            "stream {} is at the target already, and no checkpoint says that a mirror has made it: name the checkpoint \
             with --checkpoint, another stream with --to, or say --existing to put all that the source has behind what \
             is in it",
            arguments.to()
        )));
    }
    let shards = Reading::first_shards(source, stream, begin)?;
    let ranges: Vec<_> = shards.iter().map(|shard| shard.range).collect();
    if arguments.lineage == LineageKind::Mirror {
        if !is_whole(&ranges) {
            return Err(Failure::Refused(format!(
                "the oldest shards of stream {stream} do not cover all hash keys, since some of their time have \
                 expired: begin with --from latest, or use --lineage flatten"
            )));
        }
        if found.is_some() && !has_ranges(target, arguments.to(), &ranges)? {
            return Err(Failure::Refused(format!(
                "stream {} at the target has other shards than {stream} where the mirror begins: delete it, choose \
                 another name with --to, or use --lineage flatten",
                arguments.to()
            )));
        }
    }
    let reading = Reading::begin(source, stream, &shards, begin)?;
    let to = Identity {
        stream: arguments.to().to_string(),
        created: found.and_then(|found| Identity::of(found).created),
    };
    let mut checkpoint = Checkpoint::new(Identity::of(row), to, arguments.lineage);
    checkpoint.shards = reading.reached();
    Ok(Prepared {
        checkpoint,
        reading,
        is_resumed: false,
    })
}

fn resumed<S: Target>(
    arguments: &MirrorArguments,
    file: &CheckpointFile,
    source: &mut S,
    mut checkpoint: Checkpoint,
    row: &StreamRow,
    found: Option<&StreamRow>,
    report: &Report,
) -> Result<Prepared<S::Cursor>, Failure> {
    let refused = |what: String| {
        Err(Failure::Refused(format!(
            "the checkpoint {} is of another mirror: {what}\nName another file with --checkpoint, or remove it to begin \
             from the beginning.",
            file.path().display()
        )))
    };
    let (source_now, target_then) = (Identity::of(row), &checkpoint.target);
    if checkpoint.source.stream != source_now.stream {
        return refused(format!("it is of stream {}", checkpoint.source.stream));
    }
    if checkpoint.source != source_now {
        return refused(format!(
            "stream {} at the source was made at another time",
            source_now.stream
        ));
    }
    if target_then.stream != **arguments.to() {
        return refused(format!("its target is stream {}", target_then.stream));
    }
    if checkpoint.lineage != arguments.lineage {
        return refused("its --lineage is the other one".to_owned());
    }
    let target_now = found.and_then(|found| Identity::of(found).created);
    match (target_then.created, target_now) {
        (Some(_), None) => return refused(format!("stream {} is not at the target", arguments.to())),
        (Some(then), Some(now)) if then != now => {
            return refused(format!(
                "stream {} at the target was made at another time",
                arguments.to()
            ));
        }
        _ => {}
    }
    let (reading, lost) = Reading::resume(source, arguments.stream(), &checkpoint)?;
    for shard in lost {
        report.warn(&format!(
            "{shard} of the source has expired before it was read to its end: records of it are not mirrored"
        ));
    }
    checkpoint.shards = reading.reached();
    Ok(Prepared {
        checkpoint,
        reading,
        is_resumed: true,
    })
}

/// Makes the target's stream, or finishes what an earlier run began.
fn make(
    arguments: &MirrorArguments,
    ranges: &[HashKeyRange],
    source: &mut impl Target,
    target: &mut impl Target,
    row: &StreamRow,
    report: &Report,
) -> Result<(), Failure> {
    let to = arguments.to();
    if target.look_up(to)?.is_none() {
        let new = like(arguments, ranges, source, row, report);
        target.create(to, &new)?;
    }
    wait_until_active(target, to)?;
    if arguments.lineage == LineageKind::Mirror {
        shape(target, to, ranges.iter().copied())?;
    }
    Ok(())
}

/// A stream with the settings of the source.
fn like(
    arguments: &MirrorArguments,
    ranges: &[HashKeyRange],
    source: &mut impl Target,
    row: &StreamRow,
    report: &Report,
) -> NewStream {
    let is_on_demand = row.mode == StreamMode::OnDemand.to_string();
    let (shards, mode) = match arguments.lineage {
        // A stream on demand would split and merge its shards by itself.
        LineageKind::Mirror => (shards_at_first(ranges), StreamMode::Provisioned),
        LineageKind::Flatten if is_on_demand && arguments.shards.is_none() => {
            (row.open_shards, StreamMode::OnDemand)
        }
        LineageKind::Flatten => (
            arguments.shards.unwrap_or(row.open_shards),
            StreamMode::Provisioned,
        ),
    };
    let tags = source.tags(&row.name).unwrap_or_else(|failure| {
        report.warn(&format!("the tags are not copied: {}", failure.first_line()));
        Default::default()
    });
    NewStream {
        shards,
        mode,
        retention: Some(row.retention.map_or(Retention::FOREVER, Retention::of)),
        max_record_bytes: u32::try_from(row.max_record_bytes).ok(),
        tags,
    }
}
