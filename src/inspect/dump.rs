//! Showing the contents of a store.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::Inspection;
use super::contents::Contents;
use super::finding::{Consequence, Damage, Finding, InspectedLog, LostRecords};
use super::named_log::NamedLog;
use super::segment_check::SegmentCheck;
use crate::catalog::{CatalogState, Edit};
use crate::encryption::{DataKey, KeyFingerprint, KeyRing};
use crate::error::{Error, Result};
use crate::log::{SegmentKey, SurveyedFrame};
use crate::model::{
    LogName, PartitionKey, RecordNumber, SequenceNumber, Shard, ShardId, StreamId, StreamName, Timestamp,
};
use crate::seam::ReadRecord;

/// What to show.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DumpOptions {
    /// Which layer of the store.
    pub what: DumpWhat,
    /// Only this stream, by its name or its number. A name may have its namespace and a slash in front, and needs them
    /// if streams of several namespaces have the name.
    pub stream: Option<String>,
    /// Only this shard of each stream.
    pub shard: Option<ShardId>,
    /// No more than this many items.
    pub limit: Option<u64>,
    /// The keys with which encrypted records are shown.
    #[cfg(feature = "encryption")]
    pub keys: Option<KeyRing>,
}

/// A layer of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DumpWhat {
    /// The edits of the manifest, in the order in which they happened.
    Manifest,
    /// The streams' shards.
    #[default]
    Lineage,
    /// The shards' segments.
    Segments,
    /// The segments' frames, each of which is one commit.
    Frames,
    /// The records.
    Records,
}

/// One thing that is in a store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DumpItem {
    /// A change that the manifest holds.
    Edit(DumpedEdit),
    /// A shard.
    Shard(DumpedShard),
    /// A segment.
    Segment(DumpedSegment),
    /// A frame.
    Frame(DumpedFrame),
    /// A record.
    Record(DumpedRecord),
    /// A frame with records that are encrypted with a key that was not given.
    Encrypted(DumpedFrame),
    /// A place that is damaged or unfinished, behind the whole items of its file.
    Finding(Finding),
}

/// A change that the manifest holds. It serializes with all its fields; the store's secret is replaced by zeros.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DumpedEdit {
    /// The manifest.
    pub path: PathBuf,
    /// Where its frame begins. Edits of one frame took effect together.
    pub offset: u64,
    /// Which frame of the manifest it is in, from 0.
    pub frame: u64,
    /// What happened.
    pub kind: &'static str,
    /// All fields of the change.
    pub edit: EditDetails,
}

/// The fields of an edit, for people to read and for programs that print them. Their shape is that of the format.
#[derive(Clone)]
pub struct EditDetails(pub(super) Edit);

/// A shard, and the manifest's entry of its log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DumpedShard {
    /// Its stream and its name.
    pub log: InspectedLog,
    /// Its range, its parents, and when it was opened and closed; `None` without a manifest.
    pub shard: Option<Shard>,
    /// How many segments it has.
    pub segments: u64,
    /// The lowest number that its next record can have, if it is known without reading the log.
    pub next_record: Option<RecordNumber>,
}

/// A segment, from its name and its contents.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DumpedSegment {
    /// Its log.
    pub log: InspectedLog,
    /// The file.
    pub path: PathBuf,
    /// The file's length in bytes.
    pub bytes: u64,
    /// The lowest number that a record in it can have.
    pub first_record: RecordNumber,
    /// The number behind its last whole record.
    pub next_record: RecordNumber,
    /// Position of its first frame in the shard's log.
    pub base_position: u64,
    /// Position behind its last whole frame.
    pub end_position: u64,
    /// The earliest time at which a record in it can have arrived: the epoch in the first segment of a log.
    pub base_arrival: Timestamp,
    /// When its last record arrived.
    pub last_arrival: Timestamp,
    /// The seed of its checksums.
    pub salt: u64,
    /// How many frames hold.
    pub frames: u64,
    /// How many records are in them.
    pub records: u64,
    /// The fingerprint of the key that its records are encrypted with.
    pub encrypted_with: Option<u64>,
}

/// A frame: one commit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DumpedFrame {
    /// Its log.
    pub log: InspectedLog,
    /// The segment's file.
    pub path: PathBuf,
    /// Where in the file it begins.
    pub offset: u64,
    /// Its length, with its header.
    pub bytes: u64,
    /// Its position in the shard's log.
    pub position: u64,
    /// The number of its first record.
    pub first_record: RecordNumber,
    /// How many records it has; none if it stands for bytes that a repair gave up.
    pub count: u32,
    /// The position that was known to be durable when it was written.
    pub durable_through: u64,
    /// When its first record arrived.
    pub first_arrival: Timestamp,
    /// When its last record arrived.
    pub last_arrival: Timestamp,
    /// Its header's checksum.
    pub checksum: u32,
    /// The header's checksum of the frame before.
    pub chain: u32,
    /// The fingerprint of the key that its records are encrypted with.
    pub encrypted_with: Option<u64>,
}

/// A record and its place.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DumpedRecord {
    /// The log it is in.
    pub log: InspectedLog,
    /// The segment's file.
    pub path: PathBuf,
    /// Where in the file its frame begins.
    pub offset: u64,
    /// Its number in the shard.
    pub record: RecordNumber,
    /// Its number in the form of Kinesis, if the manifest can be read.
    pub sequence_number: Option<SequenceNumber>,
    /// When it arrived.
    pub arrival: Timestamp,
    /// Its key.
    pub partition_key: PartitionKey,
    /// Its bytes.
    pub data: Bytes,
}

impl Inspection {
    /// Shows one layer of the store, item by item, until `on_item` asks to stop. Records behind the trim horizon are
    /// shown as long as their segment exists.
    ///
    /// Whole items are shown even if other places are damaged; damage is shown as a [`DumpItem::Finding`]. Without a
    /// manifest the segments are found by their header pages. Records that a program trims meanwhile may be left out.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("data");
    /// # let store = anabranch::Store::open(&path)?;
    /// # store.create_stream("clicks", 1)?.put("user-42", b"{}")?;
    /// # store.close()?;
    /// # use anabranch::inspect::Inspection;
    /// use std::ops::ControlFlow;
    ///
    /// use anabranch::inspect::{DumpItem, DumpOptions, DumpWhat};
    ///
    /// Inspection::of(&path).dump(&DumpOptions::of(DumpWhat::Records), &mut |item| {
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
    /// As for [`verify`](Self::verify); [`Error::StreamNotFound`] for a stream that the manifest does not know.
    pub fn dump(
        &self,
        options: &DumpOptions,
        on_item: &mut dyn FnMut(DumpItem) -> ControlFlow<()>,
    ) -> Result<()> {
        let contents = Contents::read(self)?;
        let mut findings = contents.findings.clone();
        let mut logs = self.logs(&contents, &mut findings)?;
        if matches!(options.what, DumpWhat::Segments | DumpWhat::Frames) {
            logs.extend(contents.state().and_then(|state| NamedLog::journal(self, state)));
        }
        let stream = options.stream_number(contents.state())?;
        let mut dump = Dump {
            options,
            stream,
            is_held: contents.is_held,
            shown: 0,
            on_item,
        };
        // It ended early only because the caller asked for it.
        let _ = match options.what {
            DumpWhat::Manifest => dump.manifest(&contents),
            _ => dump.logs(self, &logs),
        };
        for finding in findings {
            if (dump.on_item)(DumpItem::Finding(finding)).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl DumpOptions {
    /// Everything of one layer.
    pub fn of(what: DumpWhat) -> Self {
        Self {
            what,
            ..Self::default()
        }
    }

    pub(super) fn stream_number(&self, state: Option<&CatalogState>) -> Result<Option<StreamId>> {
        let Some(name) = &self.stream else {
            return Ok(None);
        };
        let by_name = state.and_then(|state| {
            let StreamName { namespace, local } = StreamName::parse(name);
            state
                .id_of(&namespace, &local)
                .or_else(|| only_one_named(state, name))
        });
        match by_name.or_else(|| name.parse().ok().map(StreamId::new)) {
            Some(id) => Ok(Some(id)),
            None => Err(Error::StreamNotFound { name: name.clone() }),
        }
    }
}

/// The stream that has this name in its namespace, if no other namespace has a stream of this name.
fn only_one_named(state: &CatalogState, name: &str) -> Option<StreamId> {
    let mut named = state.streams().filter(|(_, stream)| stream.name.local == name);
    let (id, _) = named.next()?;
    named.next().is_none().then_some(id)
}

pub(super) struct Dump<'a> {
    pub(super) options: &'a DumpOptions,
    pub(super) stream: Option<StreamId>,
    pub(super) is_held: bool,
    pub(super) shown: u64,
    pub(super) on_item: &'a mut dyn FnMut(DumpItem) -> ControlFlow<()>,
}

impl Dump<'_> {
    pub(super) fn show(&mut self, item: DumpItem) -> ControlFlow<()> {
        if self.options.limit.is_some_and(|limit| self.shown >= limit) {
            return ControlFlow::Break(());
        }
        self.shown += 1;
        (self.on_item)(item)?;
        // Stops here, so no item is read that is not shown.
        match self.options.limit {
            Some(limit) if self.shown >= limit => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn manifest(&mut self, contents: &Contents) -> ControlFlow<()> {
        let Some(manifest) = &contents.manifest else {
            return ControlFlow::Continue(());
        };
        for ((edits, offset), frame) in manifest.frames.iter().zip(0..) {
            for edit in edits {
                if !self.wants_edit(edit) {
                    continue;
                }
                self.show(DumpItem::Edit(DumpedEdit {
                    path: manifest.path.clone(),
                    offset: *offset,
                    frame,
                    kind: edit.kind(),
                    edit: EditDetails(edit.without_secrets()),
                }))?;
            }
        }
        ControlFlow::Continue(())
    }

    pub(super) fn wants_edit(&self, edit: &Edit) -> bool {
        self.stream.is_none_or(|wanted| edit.streams().contains(&wanted))
    }

    fn logs(&mut self, inspection: &Inspection, logs: &[NamedLog]) -> ControlFlow<()> {
        for log in logs {
            if self.wants_log(log.name.name) {
                self.log(inspection, log)?;
            }
        }
        ControlFlow::Continue(())
    }

    pub(super) fn wants_log(&self, log: LogName) -> bool {
        self.stream.is_none_or(|stream| log.stream() == Some(stream))
            && self.options.shard.is_none_or(|shard| log.shard() == Some(shard))
    }

    fn log(&mut self, inspection: &Inspection, log: &NamedLog) -> ControlFlow<()> {
        if self.options.what == DumpWhat::Lineage {
            return self.show(DumpItem::Shard(DumpedShard {
                log: log.name.clone(),
                shard: log.shard.clone(),
                segments: log.segments.len() as u64,
                next_record: log.end.map(|end| end.next_record),
            }));
        }
        for at in 0..log.segments.len() {
            let path = log.directory.join(log.segments[at].file_name());
            let encryption = Encryption::of(self.options, log, at);
            let mut flow = ControlFlow::Continue(());
            let check = inspection.check_segment(log, at, self.is_held, &mut |frame| {
                flow = self.frame(log, &path, frame, &encryption);
                flow
            });
            flow?;
            let Some(check) = check else { continue };
            if self.options.what == DumpWhat::Segments {
                self.show(DumpItem::Segment(DumpedSegment::of(log, &check)))?;
            }
            for finding in check.findings(log, self.is_held) {
                let is_trimmed = self.is_held && finding.damage == Damage::Missing;
                if !is_trimmed {
                    (self.on_item)(DumpItem::Finding(finding))?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn frame(
        &mut self,
        log: &NamedLog,
        path: &Path,
        frame: &SurveyedFrame,
        encryption: &Encryption,
    ) -> ControlFlow<()> {
        let dumped = || DumpedFrame::of(log, path, frame, encryption);
        match (self.options.what, encryption) {
            (DumpWhat::Frames, _) => self.show(DumpItem::Frame(dumped())),
            (DumpWhat::Records, Encryption::None) => self.records(log, path, frame, frame.records()),
            (DumpWhat::Records, Encryption::Encrypted { key, .. }) => {
                match key.as_ref().map(|key| frame.decrypted(key)) {
                    Some(Some(records)) => self.records(log, path, frame, records),
                    _ if frame.header.count == 0 => ControlFlow::Continue(()),
                    // Damage that only a reader with the key can see.
                    Some(None) => (self.on_item)(DumpItem::Finding(changed_frame(log, path, frame))),
                    None => self.show(DumpItem::Encrypted(dumped())),
                }
            }
            (DumpWhat::Manifest | DumpWhat::Lineage | DumpWhat::Segments, _) => ControlFlow::Continue(()),
        }
    }

    fn records(
        &mut self,
        log: &NamedLog,
        path: &Path,
        frame: &SurveyedFrame,
        records: impl Iterator<Item = ReadRecord>,
    ) -> ControlFlow<()> {
        for record in records {
            let sequence_number = log
                .shard
                .as_ref()
                .map(|shard| shard.sequence_number(record.number, record.arrival.as_seconds()));
            self.show(DumpItem::Record(DumpedRecord {
                log: log.name.clone(),
                path: path.to_owned(),
                offset: frame.offset,
                record: record.number,
                sequence_number,
                arrival: record.arrival,
                partition_key: record.partition_key,
                data: record.data,
            }))?;
        }
        ControlFlow::Continue(())
    }
}

/// Damage that is seen only with the key: the frame was changed, and its checksums with it.
fn changed_frame(log: &NamedLog, path: &Path, frame: &SurveyedFrame) -> Finding {
    let lost = LostRecords {
        from: frame.header.first_record,
        to: Some(frame.header.next_record()),
        arrived_from: frame.header.first_arrival,
        arrived_until: Some(frame.header.last_arrival),
    };
    let damage = Damage::Frames {
        bytes: frame.bytes(),
        reason: "the frame's body is not what was encrypted".to_owned(),
    };
    Finding {
        log: Some(log.name.clone()),
        ..Finding::new(path, frame.offset, damage, Consequence::Lost(lost))
    }
}

/// What the frames of a segment are encrypted with.
enum Encryption {
    None,
    Encrypted {
        fingerprint: KeyFingerprint,
        /// The segment's own key, if the key that it is wrapped with was given.
        key: Option<Box<DataKey>>,
    },
}

impl Encryption {
    fn of(options: &DumpOptions, log: &NamedLog, at: usize) -> Self {
        let entry = &log.segments[at];
        let Some(SegmentKey {
            wrapped_with,
            wrapped,
        }) = &entry.encryption
        else {
            return Self::None;
        };
        #[cfg(feature = "encryption")]
        let keys = options.keys.as_ref();
        #[cfg(not(feature = "encryption"))]
        let (keys, _) = (None::<&KeyRing>, options);
        let associated = log.identity.associated(entry.salt);
        let unwrapped = keys.and_then(|keys| keys.unwrap(*wrapped_with, wrapped, &associated));
        Self::Encrypted {
            fingerprint: *wrapped_with,
            key: unwrapped.flatten().map(Box::new),
        }
    }

    fn fingerprint(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Encrypted { fingerprint, .. } => Some(fingerprint.number()),
        }
    }
}

impl DumpedSegment {
    fn of(log: &NamedLog, check: &SegmentCheck) -> Self {
        let (entry, survey) = (&check.entry, &check.survey);
        Self {
            log: log.name.clone(),
            path: check.path.clone(),
            bytes: entry.bytes,
            first_record: entry.first_record,
            next_record: survey.end.next_record,
            base_position: entry.base_position.0,
            end_position: survey.end.position.0,
            base_arrival: entry.base_arrival,
            last_arrival: survey.end.last_arrival,
            salt: entry.salt,
            frames: survey.frames,
            records: survey.records,
            encrypted_with: entry.encryption.map(|key| key.wrapped_with.number()),
        }
    }
}

impl DumpedFrame {
    fn of(log: &NamedLog, path: &Path, frame: &SurveyedFrame, encryption: &Encryption) -> Self {
        let header = &frame.header;
        Self {
            log: log.name.clone(),
            path: path.to_owned(),
            offset: frame.offset,
            bytes: frame.bytes(),
            position: header.position.0,
            first_record: header.first_record,
            count: header.count,
            durable_through: header.durable_through.0,
            first_arrival: header.first_arrival,
            last_arrival: header.last_arrival,
            checksum: frame.checksum,
            chain: header.chain,
            encrypted_with: encryption.fingerprint(),
        }
    }
}

impl std::fmt::Debug for EditDetails {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for EditDetails {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
