//! Putting groups into segments. Only the thread that has the log's turn puts a group there. Other threads may write
//! the deferred frames and sync.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::durability::Durability;
use super::group::Group;
use super::place::{BegunSegment, Place, make_ready};
use super::readable_end::{ReadableEnd, Withheld};
use super::resources::LogResources;
use super::sealing::Sealing;
use super::spare_buffers::SpareBuffers;
use crate::disk::{Health, Step, is_left_out, perform};
use crate::encryption::{KeyFingerprint, SEAL_BYTES};
use crate::error::{Error, Result};
use crate::log::format::frame::{FrameHeader, HEADER_BYTES, body_length, frame_bytes_of};
use crate::log::format::index::{IndexEntry, SparseIndex};
use crate::log::format::log_end::{LogEnd, LogPosition};
use crate::log::format::segment_header::{PAGE_BYTES, SegmentEntry};
use crate::log::segments::index_file::{index_of, save_index};
use crate::log::segments::ledger::LogChange;
use crate::log::segments::log_files::{LaidOver, LogFiles};
use crate::log::segments::open_segments::OpenSegment;
use crate::log::segments::pool::SegmentSize;
use crate::log::segments::segment::Segment;
use crate::model::RecordNumber;

/// A log begins with a segment of this size, so that thousands of nearly idle logs do not fill the disk.
const FIRST_SEGMENT_BYTES: u64 = 64 * 1024;

/// The factor from one size of segments to the next.
const GROWTH: u64 = 8;

/// The index of a segment that is written to is saved whenever this many more bytes are durable.
const INDEX_BYTES: u64 = 4 * 1024 * 1024;

/// If puts do not wait for a sync, one begins when this many bytes are not synced.
const SYNC_BESIDE_BYTES: u64 = 8 * 1024 * 1024;

/// Journaled frames are written to their segment when there are this many bytes of them: one call costs about as much
/// as copying 16 KiB does.
const DEFERRED_BYTES: usize = 64 * 1024;

/// With this many bytes the committing thread writes them.
const MAX_DEFERRED_BYTES: usize = 128 * 1024;

/// A deferred frame's buffer has at most this many times its bytes, or `LEAST_SHRUNK_BYTES` if that is more.
const MAX_SPARSENESS: usize = 4;
const LEAST_SHRUNK_BYTES: usize = 1024;

/// Writes the frames of one log.
#[derive(Debug)]
pub(super) struct Writer {
    files: Arc<LogFiles>,
    resources: Arc<LogResources>,
    end: LogEnd,
    synced_through: LogPosition,
    /// The position up to which a crash takes back nothing, because it is synced or in the commit journal.
    durable_through: LogPosition,
    /// The last frames before the end, which are not in the segment's file yet. They are in the commit journal, or are
    /// about to be.
    deferred: Vec<Vec<u8>>,
    deferred_bytes: usize,
    /// Whether a flusher has been asked to write the deferred frames.
    is_write_asked: bool,
    /// The end for readers once the deferred frames are in the file.
    publishable: Option<LogEnd>,
    /// From the end to here the file has zeros, which the last group wrote.
    zeroed_through: LogPosition,
    placement: Placement,
    /// The segment with bytes that are not synced, or not even written.
    unsynced: Option<Arc<Segment>>,
    /// Whether a flusher has been asked to sync.
    is_sync_asked: bool,
    /// The position up to which the index of the last segment is saved, or need not be saved.
    indexed_through: LogPosition,
    /// The encryption of the next frame, and the revision of the keys that determined it.
    wanted_key: (Option<u64>, Option<KeyFingerprint>),
}

/// Bytes that are written and not synced. They can be synced while the log is being written to.
pub(super) struct Unsynced {
    /// `None` if the file was synced and closed meanwhile, to make room for others.
    open: Option<Arc<OpenSegment>>,
    through: LogPosition,
}

/// A group that has become a frame, and the place where it goes.
#[derive(Debug)]
pub(super) struct PlacedFrame {
    segment: Arc<Segment>,
    open: Arc<OpenSegment>,
    /// Its length, at the beginning of the group's buffer.
    pub(super) bytes: usize,
    /// Where the log ends behind it.
    end: LogEnd,
}

impl PlacedFrame {
    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Keeps the file open, so that no later step needs a descriptor.
    pub(super) fn keep_open(&self) -> Arc<OpenSegment> {
        self.open.clone()
    }
}

/// Where the next group goes.
#[derive(Clone, Debug)]
pub(crate) enum Placement {
    /// Into a new segment: the log has none, or the bytes behind the end of the last one may be parts of frames.
    New,
    /// Behind the end of a segment that rested. The ledger must learn of it first.
    Resume(Arc<Segment>),
    /// Behind the end of the last segment.
    InPlace(Arc<Segment>),
}

impl Writer {
    pub(super) fn new(
        files: Arc<LogFiles>,
        resources: Arc<LogResources>,
        end: LogEnd,
        placement: Placement,
    ) -> Self {
        Self {
            files,
            resources,
            end,
            synced_through: end.position,
            durable_through: end.position,
            deferred: Vec::new(),
            deferred_bytes: 0,
            is_write_asked: false,
            publishable: None,
            zeroed_through: end.position,
            placement,
            unsynced: None,
            is_sync_asked: false,
            indexed_through: end.position,
            wanted_key: (None, None),
        }
    }

    /// The end, whose `is_interrupted` says whether the next group may follow in the same segment.
    pub(super) fn known_end(&self) -> LogEnd {
        self.end
    }

    /// Notes that the end was recorded. The ledger must learn of the next group before that is written.
    pub(super) fn rest(&mut self) {
        if let Placement::InPlace(segment) = &self.placement {
            self.placement = Placement::Resume(segment.clone());
            self.files.has_place.store(false, Ordering::Relaxed);
        }
        // Thousands of idle logs must not keep memory for frames.
        self.deferred = Vec::new();
    }

    /// Writes a group as one frame and makes it as durable as the store's level says.
    pub(super) fn commit(&mut self, group: &mut Group) -> Result<LogEnd> {
        let frame = self.frame(group)?;
        match self.resources.options.durability {
            Durability::Synced => {
                let open = frame.keep_open();
                let end = self.write(group, frame)?;
                perform(Step::GroupSync, || self.sync_written(open))?;
                Ok(end)
            }
            Durability::Written | Durability::Buffered => self.write(group, frame),
        }
    }

    /// Makes a group a frame of its segment, which is made ready if necessary.
    #[inline]
    pub(super) fn frame(&mut self, group: &mut Group) -> Result<PlacedFrame> {
        if let Some(frame) = self.frame_where_ready(group)? {
            return Ok(frame);
        }
        let mut place = self.place(group)?;
        make_ready(&self.resources, &self.files, &mut place)?;
        self.frame_in(group, place)
    }

    /// Makes a group a frame of the last segment, if that is ready and has room.
    #[inline]
    pub(super) fn frame_where_ready(&mut self, group: &mut Group) -> Result<Option<PlacedFrame>> {
        let wanted_key = self.key_for(group);
        match &self.placement {
            Placement::InPlace(segment) if self.takes(segment, group.frame_bytes(), wanted_key) => {
                let segment = segment.clone();
                let sealing = self.sealing_in(&segment)?;
                let open = self.resources.open_segments.get_writable(&segment)?;
                self.frame_of(group, segment, open, sealing).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Makes a group a frame of the segment in a place that is ready.
    pub(super) fn frame_in(&mut self, group: &mut Group, place: Place) -> Result<PlacedFrame> {
        let (segment, open, sealing) = self.take_up(place)?;
        self.frame_of(group, segment, open, sealing)
    }

    #[inline]
    fn frame_of(
        &self,
        group: &mut Group,
        segment: Arc<Segment>,
        open: Arc<OpenSegment>,
        sealing: Option<Sealing>,
    ) -> Result<PlacedFrame> {
        let chain = self.encode(&segment, group, sealing)?;
        let frame_bytes = group.buffer.len() as u64;
        let end = LogEnd {
            position: LogPosition(self.end.position.0 + frame_bytes),
            next_record: group.first_record.saturating_add(u64::from(group.count)),
            last_arrival: group.last_arrival,
            chain,
            is_interrupted: false,
        };
        Ok(PlacedFrame {
            segment,
            open,
            bytes: frame_bytes as usize,
            end,
        })
    }

    /// Writes a frame behind the last one. From here on the group is committed, or the store is poisoned.
    pub(super) fn write(&mut self, group: &mut Group, frame: PlacedFrame) -> Result<LogEnd> {
        if !self.deferred.is_empty() {
            let open = frame.keep_open();
            let end = self.defer(group, frame)?;
            return self.write_deferred_to(&open).map(|()| end);
        }
        let offset = frame.segment.entry.offset_of(self.end.position);
        self.write_at(&frame.segment, &frame.open, &mut group.buffer, offset, frame.end)?;
        self.advance(group, frame);
        Ok(self.end)
    }

    /// Takes a frame in behind the last one, to be written to the segment's file later. Before the caller answers the
    /// group, it has the commit journal make the frame durable, or calls [`sync`](Self::sync).
    pub(super) fn defer(&mut self, group: &mut Group, frame: PlacedFrame) -> Result<LogEnd> {
        let open = frame.keep_open();
        self.deferred_bytes += frame.bytes;
        self.deferred.push(well_filled(
            std::mem::take(&mut group.buffer),
            &self.resources.spare_buffers,
        ));
        self.advance(group, frame);
        if self.deferred_bytes >= MAX_DEFERRED_BYTES {
            self.write_deferred_to(&open)?;
        }
        Ok(self.end)
    }

    /// Whether the caller has to ask a flusher to write the deferred frames.
    pub(super) fn asks_for_write(&mut self) -> bool {
        let asks = self.deferred_bytes >= DEFERRED_BYTES && !self.is_write_asked;
        self.is_write_asked |= asks;
        asks
    }

    /// Lets readers see what is in the file. The caller has made it durable.
    pub(super) fn publish(&mut self, end: LogEnd) {
        if self.deferred.is_empty() {
            *self.files.published.lock() = end;
        } else {
            self.publishable = Some(end);
            let next_record = end.next_record.value();
            (self.files.acknowledged_through).store(next_record, Ordering::Release);
            self.files.has_deferred.store(true, Ordering::Release);
        }
    }

    /// Lets readers see every acknowledged frame: in the segment's file, or in memory if it cannot be written there. If
    /// the file cannot be opened, they see neither.
    pub(super) fn publish_deferred(&mut self) -> ReadableEnd {
        let failed = self.write_deferred().err();
        let withheld = failed.zip(self.publishable);
        ReadableEnd {
            end: *self.files.published.lock(),
            withheld: withheld.map(|(error, end)| Withheld { end, error }),
        }
    }

    /// Writes all frames that are not in the segment's file yet, so that they can be read or synced. If the write
    /// fails, readers find the frames in memory. If the file cannot be opened, the call can be repeated.
    pub(super) fn write_deferred(&mut self) -> Result<()> {
        if self.deferred.is_empty() {
            return Ok(());
        }
        let segment = self.unsynced_segment();
        match self.resources.open_segments.get_writable(&segment) {
            Ok(open) => self.write_deferred_to(&open),
            Err(error) => {
                self.is_write_asked = false;
                Err(error)
            }
        }
    }

    fn unsynced_segment(&self) -> Arc<Segment> {
        self.unsynced
            .clone()
            .expect("deferred frames belong to the segment that is to be synced")
    }

    fn write_deferred_to(&mut self, open: &OpenSegment) -> Result<()> {
        if self.deferred.is_empty() {
            return Ok(());
        }
        let segment = self.unsynced_segment();
        let offset = segment.entry.offset_of(self.end.position) - self.deferred_bytes as u64;
        let mut frames = Vec::with_capacity(self.deferred_bytes + PAGE_BYTES as usize);
        for frame in &self.deferred {
            frames.extend_from_slice(frame);
        }
        let result = (self.resources.health.check())
            .and_then(|()| self.write_at(&segment, open, &mut frames, offset, self.end));
        if result.is_ok() {
            self.resources.spare_buffers.give_all(self.deferred.drain(..));
            self.deferred_bytes = 0;
            self.is_write_asked = false;
        } else {
            frames.truncate(self.deferred_bytes);
            *self.files.stranded.write() = Some(LaidOver {
                segment: segment.handle,
                offset,
                bytes: frames.into(),
            });
        }
        if let Some(end) = self.publishable.take() {
            *self.files.published.lock() = end;
        }
        // After the end: readers that find nothing deferred read the end without this lock.
        self.files.has_deferred.store(result.is_err(), Ordering::Release);
        result
    }

    /// Writes frames that end at `end`, and zeros to the end of the page if they begin one.
    ///
    /// A page is written whole when its first byte is. So it is not read first, even in a recycled file, and no stale
    /// byte follows the tail in it. Later frames in the same page overwrite the zeros.
    fn write_at(
        &mut self,
        segment: &Segment,
        open: &OpenSegment,
        frames: &mut Vec<u8>,
        offset: u64,
        end: LogEnd,
    ) -> Result<()> {
        if end.position > self.zeroed_through {
            let behind = segment.entry.offset_of(end.position);
            let padding = behind.next_multiple_of(PAGE_BYTES) - behind;
            frames.resize(frames.len() + padding as usize, 0);
            self.zeroed_through = LogPosition(end.position.0 + padding);
        }
        open.write_all_at(frames, offset)
            .map_err(|error| self.resources.health.poison("write to", &segment.path, error))?;
        if is_left_out(Step::NamedBeforeFrame) && offset == PAGE_BYTES {
            let added = LogChange::SegmentAdded(segment.entry);
            self.resources.ledger.record(&[(self.files.identity, added)]);
        }
        Ok(())
    }

    /// Moves the end of the log behind this frame.
    fn advance(&mut self, group: &Group, frame: PlacedFrame) {
        let PlacedFrame { segment, end, .. } = frame;
        self.note_in_index(&segment, group, segment.entry.offset_of(self.end.position));
        self.end = end;
        if is_left_out(Step::PublishedAfterSync) {
            *self.files.published.lock() = end;
        }
        self.want_next_segment(&segment);
        self.unsynced = Some(segment);
    }

    /// Asks the keeper to prepare the next segment, but only if puts wait for a sync. Otherwise they gain nothing by
    /// it, and the zeros cost as much of the disk as the records.
    fn want_next_segment(&self, segment: &Segment) {
        if !self.puts_wait_for_sync() {
            return;
        }
        let is_half_full = segment.entry.offset_of(self.end.position) > segment.entry.bytes / 2;
        if is_half_full {
            let largest = self.resources.options.segment_bytes;
            let next = next_segment_size(2 * segment.entry.bytes, 0, largest);
            if self.resources.pool.want(next.preferred) {
                (self.resources.on_want)();
            }
        }
    }

    /// Notes that the commit journal has all frames up to here.
    pub(super) fn note_journaled(&mut self, through: LogPosition) {
        self.durable_through = self.durable_through.max(through);
    }

    /// Makes everything that was written durable.
    pub(super) fn sync(&mut self) -> Result<()> {
        if let Some(unsynced) = self.unsynced()? {
            unsynced.sync(&self.resources.health)?;
            self.note_synced(&unsynced);
        }
        Ok(())
    }

    /// The same if everything is written, the last of it to this file.
    fn sync_written(&mut self, open: Arc<OpenSegment>) -> Result<()> {
        let unsynced = Unsynced {
            open: Some(open),
            through: self.end.position,
        };
        unsynced.sync(&self.resources.health)?;
        self.note_synced(&unsynced);
        Ok(())
    }

    /// Writes the deferred frames and gives what has to be synced. The caller calls [`note_synced`](Self::note_synced)
    /// afterwards.
    pub(super) fn unsynced(&mut self) -> Result<Option<Unsynced>> {
        perform(Step::DeferredBeforeSync, || self.write_deferred())?;
        let Some(segment) = &self.unsynced else {
            return Ok(None);
        };
        let open = match segment.write_back.is_done() {
            true => None,
            false => Some(self.resources.open_segments.get_writable(segment)?),
        };
        Ok(Some(Unsynced {
            open,
            through: self.end.position,
        }))
    }

    pub(super) fn note_synced(&mut self, synced: &Unsynced) {
        self.is_sync_asked = false;
        self.synced_through = self.synced_through.max(synced.through);
        self.durable_through = self.durable_through.max(self.synced_through);
        if self.synced_through == self.end.position {
            self.unsynced = None;
        }
        self.save_index_now_and_then();
    }

    /// Saves the index of the segment that is written to, so that followers of the log need not walk all of it. It
    /// covers only durable frames, so no frame can be missing in front of one that it notes.
    fn save_index_now_and_then(&mut self) {
        if self.synced_through.0.saturating_sub(self.indexed_through.0) < INDEX_BYTES {
            return;
        }
        self.indexed_through = self.synced_through;
        if let Placement::InPlace(segment) = &self.placement
            && self.synced_through > segment.entry.base_position
        {
            save_index(segment, self.synced_through, self.resources.disk.as_ref());
        }
    }

    /// Whether the caller has to ask a flusher to sync. Where puts do not wait for a sync, the flusher syncs beside
    /// them, so that little remains to be synced when the segment is full.
    pub(super) fn asks_for_sync(&mut self) -> bool {
        let is_much = self.end.position.0 - self.synced_through.0 >= SYNC_BESIDE_BYTES;
        let asks = !self.puts_wait_for_sync() && is_much && !self.is_sync_asked;
        self.is_sync_asked |= asks;
        asks
    }

    /// Whether puts wait for a sync.
    fn puts_wait_for_sync(&self) -> bool {
        self.resources.options.durability == Durability::Synced
    }

    /// Makes the group's buffer a frame. This cannot be undone, since the records may be encrypted: the frame is
    /// written, or the store is poisoned.
    fn encode(&self, segment: &Segment, group: &mut Group, sealing: Option<Sealing>) -> Result<u32> {
        body_length(&group.buffer)?;
        group.buffer.resize(group.frame_bytes() as usize, 0);
        let mut header = FrameHeader {
            body_length: 0,
            body_checksum: 0,
            position: self.end.position,
            first_record: group.first_record,
            count: group.count,
            chain: self.end.chain,
            durable_through: self.durable_through,
            first_arrival: group.first_arrival,
            last_arrival: group.last_arrival,
        };
        if let Some(sealing) = sealing {
            sealing.seal(&header, &mut group.buffer);
        }
        let (header_space, body) = group.buffer.split_at_mut(HEADER_BYTES);
        header.body_length = body_length(body)?;
        header.body_checksum = segment.seed.body_checksum(self.end.position, body);
        let (bytes, checksum) = header.encode(&segment.seed);
        header_space.copy_from_slice(&bytes);
        Ok(checksum)
    }

    /// What encrypts the next frame of a segment, if the segment is encrypted.
    fn sealing_in(&self, segment: &Segment) -> Result<Option<Sealing>> {
        let key = segment.data_key(self.resources.keys.as_ref())?;
        Sealing::draw(key, &self.resources, &self.files.directory)
    }

    fn note_in_index(&self, segment: &Segment, group: &Group, offset: u64) {
        if let Some(index) = segment.live_index.write().as_mut() {
            index.note(IndexEntry {
                first_record: group.first_record,
                first_arrival: group.first_arrival,
                offset,
            });
        }
    }

    /// The place for `bytes` of records that the ledger does not know of yet, or `None` if it does.
    pub(super) fn place_ahead(&mut self, next_record: RecordNumber, bytes: usize) -> Result<Option<Place>> {
        let wanted_key = self.wanted_key();
        match &self.placement {
            Placement::InPlace(_) => Ok(None),
            Placement::Resume(segment) if segment.is_encrypted_with(wanted_key) => {
                let segment = segment.clone();
                // Not yet used for a frame, but a missing key must be reported before a number is given out.
                let sealing = self.sealing_in(&segment)?;
                let open = self.resources.open_segments.get_writable(&segment)?;
                Ok(Some(Place::Rested(segment, open, sealing)))
            }
            Placement::New | Placement::Resume(_) => {
                let frame_bytes = frame_bytes_of(HEADER_BYTES + bytes);
                let begun = self.begin_segment(next_record, frame_bytes, wanted_key)?;
                Ok(Some(Place::Begun(begun)))
            }
        }
    }

    /// Goes on in a place that is ready, before there is a group for it.
    pub(super) fn enter(&mut self, place: Place) -> Result<()> {
        self.take_up(place).map(drop)
    }

    /// The place for a frame whose segment is not ready. Prepares everything except the steps that are done for several
    /// logs together ([`make_all_ready`](super::place::make_all_ready)).
    pub(super) fn place(&mut self, group: &Group) -> Result<Place> {
        let wanted_key = self.key_for(group);
        match &self.placement {
            Placement::Resume(segment) if self.takes(segment, group.frame_bytes(), wanted_key) => {
                let segment = segment.clone();
                let sealing = self.sealing_in(&segment)?;
                let open = self.resources.open_segments.get_writable(&segment)?;
                Ok(Place::Rested(segment, open, sealing))
            }
            _ => self
                .begin_segment(group.first_record, group.frame_bytes(), wanted_key)
                .map(Place::Begun),
        }
    }

    /// Goes on in a place that is ready, and gives its segment.
    fn take_up(&mut self, place: Place) -> Result<(Arc<Segment>, Arc<OpenSegment>, Option<Sealing>)> {
        let (segment, open, sealing) = match place {
            Place::Rested(segment, open, sealing) => {
                if segment.live_index.read().is_none() {
                    self.make_index_live(&segment)?;
                }
                (segment, open, sealing)
            }
            Place::Begun(begun) => self.append_segment(begun)?,
        };
        self.placement = Placement::InPlace(segment.clone());
        self.files.has_place.store(true, Ordering::Relaxed);
        Ok((segment, open, sealing))
    }

    /// Loads the index of a segment that is written to again.
    fn make_index_live(&self, segment: &Segment) -> Result<()> {
        let open = self.files.open(segment, &self.resources.open_segments)?;
        let index = index_of(segment, &open, self.end.position, self.resources.disk.as_ref()).clone();
        *segment.live_index.write() = Some(index);
        Ok(())
    }

    /// Whether a frame that has so many bytes before it is encrypted can go into a segment. After a change of the
    /// stream's encryption, frames go into another segment.
    fn takes(&self, segment: &Segment, frame_bytes: u64, wanted_key: Option<KeyFingerprint>) -> bool {
        let sealed = wanted_key.map_or(0, |_| SEAL_BYTES as u64);
        let end = segment.entry.offset_of(self.end.position) + frame_bytes + sealed;
        end.next_multiple_of(PAGE_BYTES) <= segment.entry.bytes && segment.is_encrypted_with(wanted_key)
    }

    /// The key for a group. Records that were acknowledged from memory while their stream was encrypted are never
    /// written plain, even if the stream is not encrypted any more.
    fn key_for(&mut self, group: &Group) -> Option<KeyFingerprint> {
        self.wanted_key().or(group.key)
    }

    fn wanted_key(&mut self) -> Option<KeyFingerprint> {
        let keys = &self.resources.keys;
        // Read before the key: a change in between has another revision, so the key is asked for again.
        let revision = Some(keys.revision());
        if self.wanted_key.0 != revision {
            // The stream may be deleted. Then its last frames keep the encryption that they had.
            let wanted = keys.wanted(self.files.identity).unwrap_or(self.wanted_key.1);
            self.wanted_key = (revision, wanted);
        }
        self.wanted_key.1
    }

    /// Begins a segment. Nothing refers to it before its place is made ready.
    fn begin_segment(
        &mut self,
        first_record: RecordNumber,
        frame_bytes: u64,
        wanted_key: Option<KeyFingerprint>,
    ) -> Result<BegunSegment> {
        if let Some(key) = wanted_key {
            self.resources.keys.check(self.files.identity, key)?;
        }
        let sealed = wanted_key.map_or(0, |_| SEAL_BYTES as u64);
        self.write_deferred()?;
        // With everything before it synced, the new segment is evidence that damage there is real damage.
        perform(Step::SyncBeforeNextSegment, || self.sync())?;
        let resources = &self.resources;
        let previous = self.files.last();
        let used = previous
            .as_ref()
            .map_or(0, |segment| segment.entry.offset_of(self.end.position));
        let expected = match self.placement {
            // The writer of the previous segment was killed, perhaps again and again.
            Placement::New => used,
            Placement::Resume(_) | Placement::InPlace(_) => 2 * used,
        };
        let size = next_segment_size(expected, frame_bytes + sealed, resources.options.segment_bytes);
        let salt = resources
            .disk
            .entropy()
            .map_err(|error| Error::io("draw a salt for", &self.files.directory, error))?;
        let revision = resources.keys.revision();
        let drawn = wanted_key.map(|key| resources.keys.draw(self.files.identity, salt, key));
        let (encryption, data_key) = drawn.transpose()?.unzip();
        let pooled = loop {
            match resources.pool.take(size) {
                Err(Error::TooManyOpenFiles { .. }) if resources.open_segments.close_unused() => {}
                taken => break taken?,
            }
        };
        // A segment without a frame follows what was before it.
        let empty = previous
            .as_ref()
            .filter(|last| last.entry.base_position == self.end.position);
        let follows = match is_left_out(Step::SegmentFollows) {
            true => first_record,
            false => empty.map_or(self.end.next_record, |last| last.entry.follows),
        };
        let entry = SegmentEntry {
            first_record,
            follows: follows.min(first_record),
            base_position: self.end.position,
            base_arrival: self.end.last_arrival,
            salt,
            bytes: pooled.bytes,
            base_chain: self.end.chain,
            encryption,
        };
        let segment = Segment::new(self.files.identity, entry, &self.files.directory);
        let data_key = data_key.map(Arc::new);
        let sealing = Sealing::draw(data_key.clone(), resources, &self.files.directory)?;
        let segment = Arc::new(segment.with_data_key(revision, data_key));
        Ok(BegunSegment::new(segment, pooled, previous, sealing))
    }

    /// Makes a segment that is ready the log's last.
    fn append_segment(
        &mut self,
        begun: BegunSegment,
    ) -> Result<(Arc<Segment>, Arc<OpenSegment>, Option<Sealing>)> {
        let BegunSegment {
            segment,
            file,
            previous,
            sealing,
            ..
        } = begun;
        let resources = &self.resources;
        if let Some(interrupted) = previous
            .as_ref()
            .filter(|_| matches!(self.placement, Placement::New))
        {
            self.release_rest_of(interrupted);
        }
        *segment.live_index.write() = Some(SparseIndex::default());
        let open = resources.open_segments.insert(&segment, file)?;
        self.files.segments.write().push(segment.clone());
        if let Some(previous) = previous {
            save_index(&previous, self.end.position, resources.disk.as_ref());
            *previous.live_index.write() = None;
            // From now on readers map it, and use the index that was just saved.
            resources.open_segments.close(&previous);
        }
        self.zeroed_through = self.end.position;
        Ok((segment, open, sealing))
    }
}

impl Writer {
    /// Frees the blocks that an earlier opener reserved in a segment and did not use. The segment is not recycled,
    /// since the readers of that opener are not counted. It is not mapped yet, since it is the last one.
    fn release_rest_of(&self, interrupted: &Arc<Segment>) {
        let end = interrupted.entry.offset_of(self.end.position);
        let released = (self.resources.open_segments.get_writable(interrupted)).map(|open| open.release(end));
        // If that fails, the segment only takes more room than it needs.
        drop(released);
    }
}

impl Unsynced {
    pub(super) fn sync(&self, health: &Health) -> Result<()> {
        match &self.open {
            Some(open) => open.sync(health),
            None => health.check(),
        }
    }
}

/// A buffer with the same bytes and little unused capacity, to be kept for a while.
fn well_filled(buffer: Vec<u8>, spare: &SpareBuffers) -> Vec<u8> {
    if buffer.capacity() <= (MAX_SPARSENESS * buffer.len()).max(LEAST_SHRUNK_BYTES) {
        return buffer;
    }
    let copy = buffer.as_slice().to_vec();
    spare.give(buffer);
    copy
}

/// The size of a segment that is expected to take so many bytes, and takes at least a frame. There are few sizes, so
/// that files can be used again.
fn next_segment_size(expected: u64, frame_bytes: u64, largest: u64) -> SegmentSize {
    let needed = PAGE_BYTES + frame_bytes.next_multiple_of(PAGE_BYTES);
    let mut bytes = FIRST_SEGMENT_BYTES;
    while bytes < largest && bytes < expected.max(needed) {
        bytes = (bytes * GROWTH).min(largest);
    }
    SegmentSize {
        preferred: bytes.max(needed),
        least: FIRST_SEGMENT_BYTES.max(needed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_grow_step_by_step_to_the_largest() {
        let largest = 64 << 20;
        let mut sizes = Vec::new();
        let mut expected = 0;
        for _ in 0..6 {
            let bytes = next_segment_size(expected, 100, largest).preferred;
            sizes.push(bytes >> 10);
            // It is more than half full, and another group does not fit.
            expected = 2 * (bytes / 2 + 1);
        }
        assert_eq!(sizes, [64, 512, 4_096, 32_768, 65_536, 65_536]);
    }

    #[test]
    fn a_segment_is_no_larger_than_what_is_expected_takes() {
        let size = |expected| next_segment_size(expected, 100, 64 << 20).preferred >> 10;
        assert_eq!(
            [0, 5_000, 65_536, 65_537, 200 << 10].map(size),
            [64, 64, 64, 512, 512]
        );
    }

    #[test]
    fn a_group_that_fits_no_segment_gets_one_of_its_own() {
        assert_eq!(next_segment_size(0, 100 << 10, 64 << 20).preferred, 512 << 10);
        let bytes = (100 << 20) + PAGE_BYTES;
        let size = SegmentSize {
            preferred: bytes,
            least: bytes,
        };
        assert_eq!(next_segment_size(128 << 10, 100 << 20, 64 << 20), size);
    }
}
