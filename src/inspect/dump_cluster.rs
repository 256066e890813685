//! Showing the contents of a store on a cluster.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::dump::{
    Dump, DumpItem, DumpOptions, DumpWhat, DumpedEdit, DumpedRecord, DumpedShard, EditDetails,
};
use super::finding::{Consequence, Damage, Finding, InspectedLog, LostRecords};
use crate::backend::jetstream::{ClusterLook, JetStream, SeenFrame};
use crate::error::{Error, InvalidArgument, Result};
use crate::model::{RecordNumber, Shard, Timestamp};

impl JetStream {
    /// Shows one layer of the store on the cluster, item by item, until `on_item` asks to stop, as
    /// [`Inspection::dump`](crate::inspect::Inspection::dump) does for a store in a directory. Changes nothing, and may
    /// run while the store is open.
    ///
    /// There are no segments, and frames are not shown. In place of the path of a file, an item has the stream of the
    /// cluster and the subject; in place of an offset, the sequence of the message. If a log is damaged on all servers,
    /// the records before the damage are shown, and the damage as a [`DumpItem::Finding`].
    ///
    /// ```no_run
    /// # fn main() -> anabranch::Result<()> {
    /// use std::ops::ControlFlow;
    ///
    /// use anabranch::JetStream;
    /// use anabranch::inspect::{DumpItem, DumpOptions, DumpWhat};
    ///
    /// let cluster = JetStream::at("nats://a,b,c")?;
    /// cluster.dump(&DumpOptions::of(DumpWhat::Records), &mut |item| {
    ///     if let DumpItem::Record(record) = item {
    ///         println!("{} {:?}", record.partition_key, record.data);
    ///     }
    ///     ControlFlow::Continue(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotAStore`] if the cluster has no store of the name; [`Error::Corrupt`] if its catalog is damaged on
    /// all servers; [`Error::StreamNotFound`] for a stream that it does not have; [`Error::InvalidArgument`] for
    /// segments and frames; [`Error::Cluster`] if it cannot be reached, or does not answer.
    pub fn dump(
        &self,
        options: &DumpOptions,
        on_item: &mut dyn FnMut(DumpItem) -> ControlFlow<()>,
    ) -> Result<()> {
        if matches!(options.what, DumpWhat::Segments | DumpWhat::Frames) {
            return Err(InvalidArgument::ClusterOption {
                reason: "a store on a cluster has no files: its manifest, lineage and records can be shown"
                    .to_owned(),
            }
            .into());
        }
        let look = ClusterLook::at(self)?;
        let mut dump = Dump {
            options,
            stream: options.stream_number(Some(&look.state))?,
            is_held: true,
            shown: 0,
            on_item,
        };
        match options.what {
            DumpWhat::Manifest => drop(manifest(&mut dump, &look)),
            _ => drop(logs(&mut dump, &look)?),
        }
        Ok(())
    }
}

fn manifest(dump: &mut Dump<'_>, look: &ClusterLook) -> ControlFlow<()> {
    let path = PathBuf::from(look.place_of_catalog());
    for (edit, at) in look.edits.iter().zip(0..) {
        if dump.wants_edit(edit) {
            dump.show(DumpItem::Edit(DumpedEdit {
                path: path.clone(),
                offset: at,
                frame: at,
                kind: edit.kind(),
                edit: EditDetails(edit.without_secrets()),
            }))?;
        }
    }
    ControlFlow::Continue(())
}

fn logs(dump: &mut Dump<'_>, look: &ClusterLook) -> Result<ControlFlow<()>> {
    for (id, stream) in look.state.streams() {
        for (name, log) in stream.logs_of(id) {
            if !dump.wants_log(name) {
                continue;
            }
            let lineage = stream.lineage.as_ref();
            let shard = name.shard().and_then(|shard| lineage?.shard(shard)).cloned();
            let inspected = InspectedLog {
                name,
                stream_name: Some(stream.name.local.clone()),
            };
            let flow = match dump.options.what {
                DumpWhat::Lineage => dump.show(DumpItem::Shard(DumpedShard {
                    log: inspected,
                    shard,
                    segments: 0,
                    next_record: log.end.map(|end| end.next_record),
                })),
                _ => records(dump, look, &inspected, shard.as_ref())?,
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn records(
    dump: &mut Dump<'_>,
    look: &ClusterLook,
    log: &InspectedLog,
    shard: Option<&Shard>,
) -> Result<ControlFlow<()>> {
    let path = PathBuf::from(look.place_of(log.name));
    let mut flow = ControlFlow::Continue(());
    let mut behind = (RecordNumber::FIRST, Timestamp::EPOCH);
    let read = look.read(log.name, &mut |frame| {
        if let Some(last) = frame.records.last() {
            behind = (last.number.next(), last.arrival);
        }
        flow = show_frame(dump, log, shard, &path, frame);
        flow
    });
    match read {
        Ok(()) => Ok(flow),
        Err(Error::Corrupt { offset, reason, .. }) => {
            let damage = Damage::Frames { bytes: 0, reason };
            let lost = Consequence::Lost(LostRecords {
                from: behind.0,
                to: None,
                arrived_from: behind.1,
                arrived_until: None,
            });
            let finding = Finding {
                log: Some(log.clone()),
                ..Finding::new(&path, offset, damage, lost)
            };
            Ok((dump.on_item)(DumpItem::Finding(finding)))
        }
        Err(error) => Err(error),
    }
}

fn show_frame(
    dump: &mut Dump<'_>,
    log: &InspectedLog,
    shard: Option<&Shard>,
    path: &Path,
    frame: SeenFrame,
) -> ControlFlow<()> {
    for record in frame.records {
        let sequence_number =
            shard.map(|shard| shard.sequence_number(record.number, record.arrival.as_seconds()));
        dump.show(DumpItem::Record(DumpedRecord {
            log: log.clone(),
            path: path.to_owned(),
            offset: frame.sequence,
            record: record.number,
            sequence_number,
            arrival: record.arrival,
            partition_key: record.partition_key,
            data: record.data,
        }))?;
    }
    ControlFlow::Continue(())
}
