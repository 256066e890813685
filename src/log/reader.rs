//! Reading a log: by record number, by time, sequentially.

use std::sync::Arc;

use bytes::Bytes;

use super::frame::FrameDefect;
use super::frame_cursor::{FrameCursor, SegmentBytes, WalkError};
use super::index::{IndexEntry, SparseIndex};
use super::open_segments::OpenSegment;
use super::record_codec::Records;
use super::segment::Segment;
use super::shard_log::ShardLog;
use super::{LogEnd, LogPosition, writer};
use crate::error::{Error, Result};
use crate::model::{PartitionKey, RecordNumber, Timestamp};

/// How much one read may return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// At most this many records.
    pub records: usize,
    /// At most this many bytes of data and partition keys; but one record, however large, is always returned.
    pub bytes: usize,
}

/// A record with its place in the log. Its bytes are shared with the mapping or buffer they were read from.
#[derive(Clone, Debug)]
pub(crate) struct ReadRecord {
    pub(crate) number: RecordNumber,
    pub(crate) arrival: Timestamp,
    pub(crate) partition_key: PartitionKey,
    pub(crate) data: Bytes,
}

#[derive(Debug)]
pub(crate) struct LogRead {
    pub(crate) records: Vec<ReadRecord>,
    /// Where the next read goes on.
    pub(crate) next: RecordNumber,
    /// Where the log ended when this was read.
    pub(crate) end: LogEnd,
    /// When the record behind the last one returned arrived, if that is at hand.
    pub(crate) next_arrival: Option<Timestamp>,
}

/// A segment and where its frames end.
struct Stretch {
    segment: Arc<Segment>,
    end: LogPosition,
    /// First number of the segment behind, or of nothing yet.
    next_first: RecordNumber,
    is_last: bool,
}

impl ShardLog {
    /// Records from a number on, without those that arrived before `horizon`.
    ///
    /// Stops early, without an error, in front of damage: the next read reports it.
    pub(crate) fn read(&self, from: RecordNumber, horizon: Timestamp, limit: &ReadLimit) -> Result<LogRead> {
        let end = self.end();
        let mut read = LogRead {
            records: Vec::new(),
            next: from,
            end,
            next_arrival: None,
        };
        let mut reading = Reading {
            limit,
            horizon,
            taken: 0,
            bytes: 0,
            is_full: limit.records == 0,
        };
        while !reading.is_full && read.next < end.next_record {
            let Some(stretch) = self.stretch_from(read.next, end) else {
                break;
            };
            match self.read_stretch(&stretch, &mut reading, &mut read) {
                Ok(StretchEnd::Reached) => {}
                // At least this record is left out, also where the arrivals are not in order.
                Ok(StretchEnd::BehindHorizon) => {
                    read.next = self.seek_time(horizon)?.max(read.next.next());
                }
                Err(_) if self.is_gone(&stretch.segment) => {}
                Err(_) if !read.records.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        match &self.lost_tail {
            Some(damage) if read.records.is_empty() && read.next >= end.next_record => Err(damage.clone()),
            _ => Ok(read),
        }
    }

    /// The first record that arrived at `time` or later, or the number behind the last record.
    pub(crate) fn seek_time(&self, time: Timestamp) -> Result<RecordNumber> {
        let end = self.end();
        let mut from = self.first_segment_reaching(time);
        while time <= end.last_arrival && from < end.next_record {
            let Some(stretch) = self.stretch_from(from, end) else {
                break;
            };
            match self.find_time(&stretch, time) {
                Ok(Some(number)) => return Ok(number),
                Ok(None) => from = stretch.next_first,
                Err(_) if self.is_gone(&stretch.segment) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(end.next_record)
    }

    /// When a record arrived, or the one behind it if there is none of that number.
    pub(crate) fn arrival_from(&self, from: RecordNumber) -> Result<Option<Timestamp>> {
        let one = self.read(
            from,
            Timestamp::from_millis(0),
            &ReadLimit { records: 1, bytes: 0 },
        )?;
        Ok(one.records.first().map(|record| record.arrival))
    }

    fn read_stretch(
        &self,
        stretch: &Stretch,
        reading: &mut Reading<'_>,
        read: &mut LogRead,
    ) -> Result<StretchEnd> {
        let segment = &stretch.segment;
        let report = |error| self.report(segment, error);
        let (bytes, noted) = self.open_at(stretch, |index| index.entry_before_record(read.next))?;
        let mut cursor = FrameCursor::at_entry(bytes, &segment.seed, &segment.entry, noted)
            .numbered_before(stretch.next_first);
        while let Some(frame) = cursor.find_record(read.next).map_err(report)? {
            let body = cursor.body(&frame).map_err(report)?;
            let mut records = Records::new(body, frame.header.count);
            let defect = |defect| {
                self.report(
                    segment,
                    WalkError::Defect {
                        offset: frame.offset,
                        defect,
                    },
                )
            };
            for _ in frame.header.first_record.value()..read.next.value() {
                records.skip().map_err(defect)?;
            }
            read.next = read.next.max(frame.header.first_record);
            while let Some(arrival) = records.peek_arrival().map_err(defect)? {
                if arrival < reading.horizon {
                    return Ok(StretchEnd::BehindHorizon);
                }
                let Some(record) = reading.take(&mut records, read.next).map_err(defect)? else {
                    read.next_arrival = Some(arrival);
                    return Ok(StretchEnd::Reached);
                };
                read.records.push(record);
                read.next = read.next.next();
            }
            if reading.is_full {
                return Ok(StretchEnd::Reached);
            }
        }
        read.next = stretch.next_first;
        Ok(StretchEnd::Reached)
    }

    fn find_time(&self, stretch: &Stretch, time: Timestamp) -> Result<Option<RecordNumber>> {
        let segment = &stretch.segment;
        let report = |error| self.report(segment, error);
        let (bytes, noted) = self.open_at(stretch, |index| index.entry_before_time(time))?;
        let mut cursor = FrameCursor::at_entry(bytes, &segment.seed, &segment.entry, noted)
            .numbered_before(stretch.next_first);
        while !cursor.is_at_end() {
            let frame = cursor.next().map_err(report)?;
            if frame.header.last_arrival < time {
                continue;
            }
            let body = cursor.body(&frame).map_err(report)?;
            let mut records = Records::new(body, frame.header.count);
            let mut number = frame.header.first_record;
            let defect = |defect| {
                self.report(
                    segment,
                    WalkError::Defect {
                        offset: frame.offset,
                        defect,
                    },
                )
            };
            while let Some(arrival) = records.peek_arrival().map_err(defect)? {
                if arrival >= time {
                    return Ok(Some(number));
                }
                records.skip().map_err(defect)?;
                number = number.next();
            }
        }
        Ok(None)
    }

    /// The segment that holds a record, or else the next one that may.
    fn stretch_from(&self, from: RecordNumber, end: LogEnd) -> Option<Stretch> {
        let segments = self.segments.read();
        let at = segments
            .partition_point(|segment| segment.entry.first_record <= from)
            .saturating_sub(1);
        let segment = segments.get(at)?.clone();
        // A segment that was begun after the end was taken is not looked into.
        let behind = segments
            .get(at + 1)
            .filter(|next| next.entry.base_position <= end.position);
        Some(match behind {
            Some(next) => Stretch {
                segment,
                end: next.entry.base_position,
                next_first: next.entry.first_record.min(end.next_record),
                is_last: false,
            },
            None => Stretch {
                segment,
                end: end.position,
                next_first: end.next_record,
                is_last: true,
            },
        })
    }

    /// First number of the last segment before which everything arrived earlier than `time`.
    fn first_segment_reaching(&self, time: Timestamp) -> RecordNumber {
        let segments = self.segments.read();
        let before = segments
            .windows(2)
            .take_while(|pair| pair[1].entry.base_arrival < time)
            .count();
        segments
            .get(before)
            .map_or(RecordNumber::FIRST, |segment| segment.entry.first_record)
    }

    /// The bytes of a stretch, and the frame that its index gives.
    fn open_at(
        &self,
        stretch: &Stretch,
        entry_from: impl Fn(&SparseIndex) -> Option<IndexEntry>,
    ) -> Result<(SegmentBytes, Option<IndexEntry>)> {
        let segment = &stretch.segment;
        let open = self.open_segment(segment)?;
        let length = segment.entry.offset_of(stretch.end);
        let is_mapped = !stretch.is_last && self.context.options.map_sealed_segments;
        let bytes = if is_mapped {
            let mapped = self
                .context
                .open_segments
                .map(segment, &open, length)
                .map_err(|error| self.report(segment, WalkError::Io(error)))?;
            SegmentBytes::Mapped(mapped)
        } else {
            let stranded = self.stranded.read().clone().filter(|_| stretch.is_last);
            SegmentBytes::of_file(stranded.unwrap_or_else(|| open.file.clone()), length)
        };
        if let Some(index) = segment.live_index.read().as_ref() {
            return Ok((bytes, entry_from(index)));
        }
        let index = self.index_of(segment, &open, stretch.end)?;
        Ok((bytes, entry_from(index)))
    }

    fn open_segment(&self, segment: &Segment) -> Result<Arc<OpenSegment>> {
        self.context
            .open_segments
            .get(segment)
            .map_err(|error| match error {
                Error::Corrupt { .. } if !self.is_gone(segment) => self.note_damage(error),
                error => error,
            })
    }

    /// The index of a segment that is not being written, from its file or from its frames.
    fn index_of<'a>(
        &self,
        segment: &Segment,
        open: &'a OpenSegment,
        end: LogPosition,
    ) -> Result<&'a SparseIndex> {
        if let Some(index) = open.index.get() {
            return Ok(index);
        }
        let index = match self.load_index(segment, end) {
            Some(index) => index,
            None => self.build_index(segment, open, end)?,
        };
        Ok(open.index.get_or_init(|| index))
    }

    /// Goes on with the index of a segment that is written to again.
    pub(super) fn make_index_live(&self, segment: &Segment, end: LogPosition) -> Result<()> {
        let open = self.open_segment(segment)?;
        let index = self.index_of(segment, &open, end)?.clone();
        *segment.live_index.write() = Some(index);
        Ok(())
    }

    fn load_index(&self, segment: &Segment, end: LogPosition) -> Option<SparseIndex> {
        let bytes = crate::disk::read_whole(self.context.disk.as_ref(), &segment.index_path).ok()?;
        SparseIndex::decode(&bytes, segment.entry.salt, end)
    }

    fn build_index(&self, segment: &Segment, open: &OpenSegment, end: LogPosition) -> Result<SparseIndex> {
        let bytes = SegmentBytes::of_file(open.file.clone(), segment.entry.offset_of(end));
        let mut cursor = FrameCursor::at_start(bytes, &segment.seed, &segment.entry);
        let mut index = SparseIndex::default();
        while !cursor.is_at_end() {
            let frame = match cursor.next() {
                Ok(frame) => frame,
                // What lies before the damage can be found; whoever comes to it gets the error.
                Err(WalkError::Defect { .. }) => return Ok(index),
                Err(error) => return Err(self.report(segment, error)),
            };
            index.note(IndexEntry {
                first_record: frame.header.first_record,
                first_arrival: frame.header.first_arrival,
                offset: frame.offset,
            });
        }
        writer::write_index_file(segment, &index, end, self.context.disk.as_ref());
        Ok(index)
    }

    fn report(&self, segment: &Segment, error: WalkError) -> Error {
        match error {
            WalkError::Io(error) => Error::io("read", &segment.path, error),
            WalkError::Defect { offset, defect } => {
                self.note_damage(Error::corrupt(&segment.path, offset, defect.to_string()))
            }
        }
    }

    /// Whether a segment fell behind the trim horizon while it was being read.
    fn is_gone(&self, segment: &Segment) -> bool {
        !self
            .segments
            .read()
            .iter()
            .any(|known| known.handle == segment.handle)
    }
}

/// How far a read has come towards its limit.
struct Reading<'a> {
    limit: &'a ReadLimit,
    horizon: Timestamp,
    taken: usize,
    bytes: usize,
    is_full: bool,
}

enum StretchEnd {
    Reached,
    BehindHorizon,
}

impl Reading<'_> {
    /// The next record, or `None` if it does not fit within the limit.
    fn take(
        &mut self,
        records: &mut Records,
        number: RecordNumber,
    ) -> std::result::Result<Option<ReadRecord>, FrameDefect> {
        if self.is_full {
            return Ok(None);
        }
        let bytes = records.peek_bytes()?;
        if self.taken > 0 && self.bytes + bytes > self.limit.bytes {
            self.is_full = true;
            return Ok(None);
        }
        let Some(record) = records.next()? else {
            return Ok(None);
        };
        self.bytes += bytes;
        self.taken += 1;
        self.is_full = self.taken >= self.limit.records;
        Ok(Some(ReadRecord {
            number,
            arrival: record.arrival,
            partition_key: record.partition_key,
            data: record.data,
        }))
    }
}
