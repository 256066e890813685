//! Copying a store that is open.
//!
//! All logs are first written out while appends go on. Then appends stop, and the logs are written out again, which is
//! quick now. Then, while no edit can be made, the state is copied and all segments are held. Up to the ends of the
//! logs, these segments are the store at that moment. From then on the store goes on while its files are copied: held
//! segments are neither removed nor overwritten, and a log is only ever appended to.

use std::path::Path;
use std::sync::Arc;

use super::logs::LocalLogs;
use crate::backend::Snapshot;
use crate::backup::{Copied, Destination, SegmentSource};
use crate::catalog::CatalogState;
use crate::disk::{Disk, OpenMode};
use crate::error::{Error, Result};
use crate::log::{LocalLog, LogContext, LogCut, SegmentEntry};
use crate::model::{LogName, Timestamp};

/// The files of a store as they were at one moment.
#[derive(Debug)]
pub(super) struct LocalSnapshot {
    disk: Arc<dyn Disk>,
    context: Arc<LogContext>,
    /// The state as it will be in the copy.
    state: CatalogState,
    logs: Vec<LogCut>,
}

impl LocalLogs {
    /// The names of all logs.
    pub(super) fn names(&self) -> Vec<LogName> {
        self.catalog.read().logs().map(|(name, _)| name).collect()
    }

    /// Opens these logs, except those that were removed meanwhile, and writes them out.
    pub(super) fn write_out_all(&self, names: &[LogName]) -> Result<Vec<Arc<LocalLog>>> {
        let mut logs = Vec::with_capacity(names.len());
        for name in names {
            match self.log(*name) {
                Ok(Some(log)) => {
                    log.write_out()?;
                    logs.push(log);
                }
                _ if self.catalog.read().log(*name).is_none() => {}
                Err(error) => return Err(error),
                Ok(None) => {}
            }
        }
        Ok(logs)
    }

    pub(super) fn take_snapshot(&self, now: Timestamp) -> Result<LocalSnapshot> {
        loop {
            self.context.resources.health.check()?;
            let names = self.names();
            let logs = self.write_out_all(&names)?;
            let cut: Option<(CatalogState, Vec<LogCut>)> = self.catalog.while_unchanged(|state| {
                let is_same = state.logs().map(|(name, _)| name).eq(names.iter().copied());
                is_same.then(|| (state.clone(), logs.iter().map(|log| log.cut()).collect()))
            });
            if let Some((state, logs)) = cut {
                return Ok(LocalSnapshot {
                    disk: self.disk.clone(),
                    context: self.context.clone(),
                    state: settled(state, &logs, now),
                    logs,
                });
            }
        }
    }
}

/// The state of the copy. A segment that its log has not taken in yet has no frame, and a segment that the catalog has
/// dropped is not needed.
fn settled(mut state: CatalogState, logs: &[LogCut], now: Timestamp) -> CatalogState {
    for log in logs {
        let name = log.identity.name;
        let known = state.log(name).map_or(&[][..], |known| &known.segments);
        let first_records = known
            .first()
            .zip(known.last())
            .map(|(first, last)| first.first_record..=last.first_record);
        let is_known = |entry: &SegmentEntry| {
            let first_records = first_records.as_ref();
            first_records.is_some_and(|first_records| first_records.contains(&entry.first_record))
        };
        let segments = log.segments.iter().map(|segment| segment.entry);
        let segments = segments.filter(is_known).collect();
        state.settle_copied_log(name, segments, log.end, now);
    }
    state.drop_copied_journal();
    state.leave_out_ids(now);
    state
}

impl Snapshot for LocalSnapshot {
    fn write(&self, mut destination: Destination) -> Result<Copied> {
        for log in &self.logs {
            self.copy_log(log, &mut destination)?;
        }
        destination.write_manifest(&self.state)?;
        destination.finish(&self.state)
    }
}

impl LocalSnapshot {
    fn copy_log(&self, log: &LogCut, destination: &mut Destination) -> Result<()> {
        let name = log.identity.name;
        let named = self.state.log(name).map_or(&[][..], |known| &known.segments);
        let next = named.iter().skip(1).map(|next| next.base_position);
        let mut held = log.segments.iter();
        for (entry, end) in named.iter().zip(next.chain([log.end.position])) {
            let segment = held.find(|segment| segment.entry == *entry);
            let path = segment.map_or(Path::new(""), |segment| &segment.path);
            let source = SegmentSource {
                log: log.identity,
                entry: *entry,
                path,
                end,
            };
            let is_last = Some(entry) == named.last();
            let may_be_written_to = is_last && self.state.may_go_on(name);
            if may_be_written_to || !destination.share(&source)? {
                self.copy_segment(&source, destination)?;
            }
        }
        Ok(())
    }

    fn copy_segment(&self, source: &SegmentSource<'_>, destination: &mut Destination) -> Result<()> {
        let path = source.path;
        // Opened by its name, which it keeps while it is held.
        let open_segments = &self.context.resources.open_segments;
        let file = (open_segments.with_descriptor(|| self.disk.open(path, OpenMode::Read)))
            .map_err(|error| Error::io("open", path, error))?;
        source.entry.verify_file(source.log, file.as_ref(), path)?;
        destination.copy(source, file.as_ref())
    }
}
