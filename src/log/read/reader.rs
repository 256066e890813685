//! Reading a log: by record number, by time, sequentially.

use std::sync::Arc;

use crate::disk::{DiskFile, Overlaid};
use crate::error::{Error, Result};
use crate::log::commit::local_log::LocalLog;
use crate::log::commit::readable_end::{ReadableEnd, Withheld};
use crate::log::format::frame::{FrameDefect, FrameHeader};
use crate::log::format::frame_cursor::{Frame, FrameCursor, SegmentBytes, WalkError, Wanted};
use crate::log::format::index::{IndexEntry, SparseIndex};
use crate::log::format::log_end::{LogEnd, LogPosition};
use crate::log::format::record_codec::{RECORD_HEADER_BYTES, Records};
use crate::log::segments::index_file::index_of;
use crate::log::segments::log_files::LaidOver;
use crate::log::segments::segment::Segment;
use crate::model::{RecordNumber, Timestamp};
use crate::seam::{LogRead, ReadLimit, ReadRecord, RecordSink};

/// A segment and where its frames end.
struct Stretch {
    segment: Arc<Segment>,
    end: LogPosition,
    /// First record number of the next segment, or of nothing yet.
    next_first: RecordNumber,
    is_last: bool,
    /// Whether a segment before it was freed that can have had the wanted record.
    is_behind_freed: bool,
}

impl LocalLog {
    /// Records from a number on, without those that arrived before `horizon`.
    ///
    /// Stops early, without an error, in front of damage and of durable records that cannot be read now: the next read
    /// reports it.
    pub(crate) fn read(
        &self,
        from: RecordNumber,
        horizon: Timestamp,
        limit: &ReadLimit,
        sink: &mut dyn RecordSink,
    ) -> Result<LogRead> {
        let ReadableEnd { end, withheld } = self.readable_end();
        let mut next = from;
        let mut reading = Reading {
            limit,
            horizon,
            taken: 0,
            bytes: 0,
            is_full: limit.records == 0,
            first: None,
            sink,
        };
        let mut is_behind = false;
        while !reading.is_full && next < end.next_record {
            let Some(stretch) = self.stretch_from(next, end) else {
                break;
            };
            if stretch.is_behind_freed {
                // The next read reports it.
                if reading.taken > 0 {
                    break;
                }
                is_behind = true;
            }
            match self.read_stretch(&stretch, end, &mut reading, &mut next) {
                Ok(StretchEnd::Reached) => {}
                // At least this record is skipped, even if the arrivals are not in order.
                Ok(StretchEnd::BehindHorizon) => {
                    is_behind |= reading.taken == 0;
                    let since = self
                        .first_readable_since(horizon, end)?
                        .unwrap_or(end.next_record);
                    next = since.max(next.next());
                }
                // The segment fell behind the trim horizon meanwhile: look up the next one.
                Err(_) if stretch.segment.is_forgotten() => {}
                Err(_) if reading.taken > 0 => break,
                Err(error) => return Err(error),
            }
        }
        if reading.taken == 0 && next >= end.next_record {
            self.check_is_all(next, withheld.as_ref())?;
        }
        Ok(LogRead {
            next,
            end: withheld.map_or(end, |withheld| withheld.end).next_record,
            began_behind_trimmed: is_behind.then_some(reading.first.unwrap_or(next)),
        })
    }

    /// Refuses if there are durable records behind the readable end that the reader has not had.
    fn check_is_all(&self, next: RecordNumber, withheld: Option<&Withheld>) -> Result<()> {
        let withheld = withheld.filter(|withheld| next < withheld.end.next_record);
        match withheld
            .map(|withheld| &withheld.error)
            .or(self.lost_tail.as_ref())
        {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// The first record that arrived at `time` or later, or the number behind the last record.
    pub(crate) fn first_since(&self, time: Timestamp) -> Result<RecordNumber> {
        let ReadableEnd { end, withheld } = self.readable_end();
        match (self.first_readable_since(time, end)?, withheld) {
            (Some(number), _) => Ok(number),
            (None, Some(withheld)) if time <= withheld.end.last_arrival => Err(withheld.error),
            (None, Some(withheld)) => Ok(withheld.end.next_record),
            (None, None) => Ok(end.next_record),
        }
    }

    /// The first record in front of `end` that arrived at `time` or later.
    fn first_readable_since(&self, time: Timestamp, end: LogEnd) -> Result<Option<RecordNumber>> {
        let mut from = self.first_segment_reaching(time);
        while time <= end.last_arrival && from < end.next_record {
            let Some(stretch) = self.stretch_from(from, end) else {
                break;
            };
            match self.find_time(&stretch, time) {
                Ok(Some(number)) => return Ok(Some(number)),
                Ok(None) => from = stretch.next_first,
                Err(_) if stretch.segment.is_forgotten() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Reads from `next` on, and moves it forward.
    fn read_stretch(
        &self,
        stretch: &Stretch,
        end: LogEnd,
        reading: &mut Reading<'_>,
        next: &mut RecordNumber,
    ) -> Result<StretchEnd> {
        let segment = &stretch.segment;
        let report = |error| self.report(segment, error);
        let (bytes, noted) = self.open_at(stretch, reading.wanted(), |index| {
            index.entry_before_record(*next)
        })?;
        let left_off = self
            .files
            .left_off
            .lock()
            .before(*next, segment.entry.base_position, stretch.end);
        let begun =
            left_off.filter(|place| noted.is_none_or(|noted| noted.first_record <= place.next_record));
        let mut cursor = match begun {
            Some(place) => FrameCursor::behind(bytes, &segment.seed, &segment.entry, place),
            None => FrameCursor::at_entry(bytes, &segment.seed, &segment.entry, noted),
        }
        .numbered_before(stretch.next_first);
        while let Some(frame) = cursor.find_record(*next).map_err(report)? {
            let mut records = self.records_of(segment, &mut cursor, &frame)?;
            let defect = |defect| self.report_defect(segment, &frame, defect);
            for _ in frame.header.first_record.value()..next.value() {
                if let Some(peeked) = records.peek().map_err(defect)? {
                    records.skip(&peeked);
                }
            }
            *next = (*next).max(frame.header.first_record);
            if reading.taken == 0 {
                let expected = reading.expected_records(&frame.header, end);
                reading.sink.expect(expected);
            }
            while let Some(peeked) = records.peek().map_err(defect)? {
                if peeked.arrival < reading.horizon {
                    return Ok(StretchEnd::BehindHorizon);
                }
                if !reading.admit(peeked.content_bytes()) {
                    self.leave_off(begun, cursor.end_before_last());
                    return Ok(StretchEnd::Reached);
                }
                records.check_key(&peeked).map_err(defect)?;
                let record = records.record(&peeked);
                reading.first.get_or_insert(*next);
                reading.sink.take(ReadRecord {
                    number: *next,
                    arrival: record.arrival,
                    partition_key: record.partition_key,
                    data: record.data,
                });
                records.skip(&peeked);
                *next = next.next();
            }
            if reading.is_full {
                break;
            }
        }
        self.leave_off(begun, cursor.end());
        if !reading.is_full {
            *next = stretch.next_first;
        }
        Ok(StretchEnd::Reached)
    }

    /// Notes where the next read may begin, if the end before that place is known.
    fn leave_off(&self, begun: Option<LogEnd>, place: Option<LogEnd>) {
        if let Some(place) = place {
            self.files.left_off.lock().note(begun, place);
        }
    }

    fn find_time(&self, stretch: &Stretch, time: Timestamp) -> Result<Option<RecordNumber>> {
        let segment = &stretch.segment;
        let report = |error| self.report(segment, error);
        let (bytes, noted) = self.open_at(stretch, Wanted::Little, |index| index.entry_before_time(time))?;
        let mut cursor = FrameCursor::at_entry(bytes, &segment.seed, &segment.entry, noted)
            .numbered_before(stretch.next_first);
        while !cursor.is_at_end() {
            let frame = cursor.next().map_err(report)?;
            if frame.header.last_arrival < time {
                continue;
            }
            let mut records = self.records_of(segment, &mut cursor, &frame)?;
            let mut number = frame.header.first_record;
            let defect = |defect| self.report_defect(segment, &frame, defect);
            while let Some(peeked) = records.peek().map_err(defect)? {
                if peeked.arrival >= time {
                    // A read usually follows a search by time.
                    self.leave_off(None, cursor.end_before_last());
                    return Ok(Some(number));
                }
                records.skip(&peeked);
                number = number.next();
            }
        }
        Ok(None)
    }

    /// The segment that has a record, or else the next one that may have it.
    fn stretch_from(&self, from: RecordNumber, end: LogEnd) -> Option<Stretch> {
        let segments = self.files.segments.read();
        let at = segments
            .partition_point(|segment| segment.entry.first_record <= from)
            .saturating_sub(1);
        let segment = segments.get(at)?.clone();
        // From `follows` on, the numbers in front of this segment were left out, so no freed segment had them.
        let is_behind_freed = segment.entry.follows > from && segment.entry.base_position > LogPosition(0);
        // A segment that was begun after the end was taken is skipped.
        let behind = segments
            .get(at + 1)
            .filter(|next| next.entry.base_position <= end.position);
        Some(match behind {
            Some(next) => Stretch {
                segment,
                end: next.entry.base_position,
                next_first: next.entry.first_record.min(end.next_record),
                is_last: false,
                is_behind_freed,
            },
            None => Stretch {
                segment,
                end: end.position,
                next_first: end.next_record,
                is_last: true,
                is_behind_freed,
            },
        })
    }

    /// First number of the first segment that can have a record which arrived at `time` or later: everything before it
    /// arrived earlier.
    fn first_segment_reaching(&self, time: Timestamp) -> RecordNumber {
        let segments = self.files.segments.read();
        // Nothing before a segment arrived later than its base.
        let before = segments
            .partition_point(|segment| segment.entry.base_arrival < time)
            .saturating_sub(1);
        segments
            .get(before)
            .map_or(RecordNumber::FIRST, |segment| segment.entry.first_record)
    }

    /// The bytes of a stretch, and the entry that `entry_from` finds in its index.
    fn open_at(
        &self,
        stretch: &Stretch,
        wanted: Wanted,
        entry_from: impl Fn(&SparseIndex) -> Option<IndexEntry>,
    ) -> Result<(SegmentBytes, Option<IndexEntry>)> {
        let segment = &stretch.segment;
        let resources = &self.context.resources;
        let open_segments = &resources.open_segments;
        let open = self.files.open(segment, open_segments)?;
        let length = segment.entry.offset_of(stretch.end);
        let may_map = !stretch.is_last && resources.options.map_sealed_segments;
        // Mapping a segment and touching its first page costs more than reading a few records.
        let mapped = match wanted {
            _ if !may_map => None,
            Wanted::Little => open.mapped(),
            // If mapping fails the file is read instead: the process may have reached its limit of mappings.
            Wanted::Much => open_segments.map(segment, &open, length).ok(),
        };
        let bytes = match mapped {
            Some(mapped) => SegmentBytes::Mapped(mapped),
            None => {
                let stranded = self.files.stranded.read().clone();
                let stranded = stranded.filter(|stranded| stranded.segment == segment.handle);
                let file = open.file.clone();
                let file: Arc<dyn DiskFile> = match stranded {
                    Some(LaidOver { offset, bytes, .. }) => Arc::new(Overlaid::new(file, offset, bytes)),
                    None => file,
                };
                let buffers = open_segments.buffers.clone();
                SegmentBytes::of_lent_buffers(file, length, wanted, buffers)
            }
        };
        if let Some(index) = segment.live_index.read().as_ref() {
            return Ok((bytes, entry_from(index)));
        }
        let index = index_of(segment, &open, stretch.end, resources.disk.as_ref());
        Ok((bytes, entry_from(index)))
    }

    /// The records of a frame. A missing key is not damage.
    fn records_of(&self, segment: &Segment, cursor: &mut FrameCursor<'_>, frame: &Frame) -> Result<Records> {
        let resources = &self.context.resources;
        let key = match frame.header.count {
            // A frame that stands for lost ones has no records.
            0 => None,
            _ => segment
                .data_key(resources.keys.as_ref())
                .map_err(|error| match error {
                    Error::Corrupt { .. } => self.files.note_damage_of(segment, error),
                    error => error,
                })?,
        };
        let records = match key {
            Some(key) => cursor.decrypted(frame, &key, &resources.open_segments.buffers),
            None => cursor.records(frame),
        };
        records.map_err(|error| self.report(segment, error))
    }

    fn report_defect(&self, segment: &Segment, frame: &Frame, defect: FrameDefect) -> Error {
        let offset = frame.offset;
        self.report(segment, WalkError::Defect { offset, defect })
    }

    fn report(&self, segment: &Segment, error: WalkError) -> Error {
        match error {
            WalkError::Unreadable { offset, error } => Error::unreadable(&segment.path, offset, error),
            WalkError::Defect { offset, defect } => {
                let damage = Error::corrupt(&segment.path, offset, defect.to_string());
                self.files.note_damage_of(segment, damage)
            }
        }
    }
}

/// How far a read has come towards its limit.
struct Reading<'a> {
    limit: &'a ReadLimit,
    horizon: Timestamp,
    taken: usize,
    bytes: usize,
    is_full: bool,
    /// The first record that was taken, if any.
    first: Option<RecordNumber>,
    sink: &'a mut dyn RecordSink,
}

enum StretchEnd {
    Reached,
    BehindHorizon,
}

/// A read of at most this many records, or bytes, wants little.
const FEW_RECORDS: usize = 16;
const FEW_BYTES: usize = 64 * 1024;

/// The most records for which room is allocated before they are read.
const MAX_EXPECTED_RECORDS: usize = 16_384;

impl Reading<'_> {
    fn wanted(&self) -> Wanted {
        match self.limit.records <= FEW_RECORDS || self.limit.bytes <= FEW_BYTES {
            true => Wanted::Little,
            false => Wanted::Much,
        }
    }

    /// How many records the read will probably return, by the mean size in this frame.
    fn expected_records(&self, frame: &FrameHeader, end: LogEnd) -> usize {
        let bytes_each = (frame.body_length / frame.count.max(1)) as usize;
        let there = end.next_record.value().saturating_sub(frame.first_record.value());
        (self.limit.bytes / bytes_each.saturating_sub(RECORD_HEADER_BYTES).max(1))
            .saturating_add(1)
            .min(self.limit.records)
            .min(usize::try_from(there).unwrap_or(usize::MAX))
            .min(MAX_EXPECTED_RECORDS)
    }

    /// Whether a record of this size fits within the limit. If so, counts it.
    fn admit(&mut self, bytes: usize) -> bool {
        let is_too_much = self.taken > 0 && self.bytes.saturating_add(bytes) > self.limit.bytes;
        if self.is_full || is_too_much {
            self.is_full = true;
            return false;
        }
        self.bytes += bytes;
        self.taken += 1;
        self.is_full = self.taken >= self.limit.records;
        true
    }
}
