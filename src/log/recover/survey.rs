//! Going over a segment without trusting it, and on behind damage: for the tools.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{DiskFile, ReadablePages, Step, is_left_out};
use crate::encryption::DataKey;
use crate::log::format::frame::{ALIGNMENT, FrameDefect, FrameHeader, FrameSeed, HEADER_BYTES};
use crate::log::format::frame_cursor::{Frame, FrameCursor, SegmentBytes, WalkError};
use crate::log::format::frame_search::search_headers;
use crate::log::format::identity::LogIdentity;
use crate::log::format::log_end::{LogEnd, LogPosition};
use crate::log::format::record_codec::{RECORD_HEADER_BYTES, Records};
use crate::log::format::segment_header::{PAGE_BYTES, SegmentEntry};
use crate::model::{RecordNumber, Timestamp};
use crate::seam::ReadRecord;

/// The state of a segment's frames.
#[derive(Debug)]
pub(crate) struct SegmentSurvey {
    pub(crate) frames: u64,
    pub(crate) records: u64,
    /// Behind the last valid frame, or at the segment's base.
    pub(crate) end: LogEnd,
    /// Whether the last frame holds no records: it stands for bytes that a repair gave up.
    pub(crate) ends_in_gap: bool,
    /// Stretches that should be frames and are not, in the order of the file.
    pub(crate) damage: Vec<DamagedStretch>,
    /// Where bytes follow the end that were never acknowledged.
    pub(crate) torn_at: Option<u64>,
}

/// Bytes of a segment that were durable frames once, and are damaged.
#[derive(Clone, Debug)]
pub(crate) struct DamagedStretch {
    pub(crate) offset: u64,
    /// Zero if only frames are missing between two others.
    pub(crate) bytes: u64,
    pub(crate) reason: String,
    /// Where the log ended before it.
    pub(crate) before: LogEnd,
    /// The frame at which the log goes on in this segment, if it does.
    pub(crate) resumes: Option<FrameHeader>,
    /// The number behind the last record of the stretch, if this segment tells it.
    pub(crate) lost_to: Option<RecordNumber>,
}

impl SegmentSurvey {
    /// The survey of a segment whose file cannot be read at all.
    pub(crate) fn of_nothing(entry: &SegmentEntry, through: Option<LogPosition>) -> Self {
        let bytes = through.map_or(0, |through| through.0.saturating_sub(entry.base_position.0));
        let stretch = DamagedStretch {
            offset: PAGE_BYTES,
            bytes,
            reason: "nothing can be read".to_owned(),
            before: entry.base(),
            resumes: None,
            lost_to: None,
        };
        Self {
            frames: 0,
            records: 0,
            end: entry.base(),
            ends_in_gap: false,
            damage: Vec::from_iter((bytes > 0).then_some(stretch)),
            torn_at: None,
        }
    }
}

/// A valid frame with valid records.
#[derive(Debug)]
pub(crate) struct SurveyedFrame {
    pub(crate) offset: u64,
    pub(crate) header: FrameHeader,
    pub(crate) checksum: u32,
    body: Bytes,
    is_encrypted: bool,
}

impl SurveyedFrame {
    pub(crate) fn bytes(&self) -> u64 {
        self.header.frame_bytes()
    }

    /// The records, unless they are encrypted.
    pub(crate) fn records(&self) -> impl Iterator<Item = ReadRecord> {
        let body = (!self.is_encrypted).then(|| self.body.clone());
        self.records_in(body)
    }

    /// The records, unless they are encrypted, each with the place of its data in the file.
    pub(crate) fn placed_records(&self) -> impl Iterator<Item = (u64, ReadRecord)> {
        let mut end = self.offset + HEADER_BYTES as u64;
        self.records().map(move |record| {
            let data = end + (RECORD_HEADER_BYTES + record.partition_key.as_str().len()) as u64;
            end = data + record.data.len() as u64;
            (data, record)
        })
    }

    /// The records of an encrypted frame; `None` if this is not its key.
    pub(crate) fn decrypted(&self, key: &DataKey) -> Option<impl Iterator<Item = ReadRecord>> {
        let body = match self.header.count {
            0 => Vec::new(),
            _ => key.open(&self.body, &self.header.associated())?,
        };
        Some(self.records_in(Some(body.into())))
    }

    fn records_in(&self, body: Option<Bytes>) -> impl Iterator<Item = ReadRecord> + use<> {
        let count = body.as_ref().map_or(0, |_| self.header.count);
        let mut records = Records::new(body.unwrap_or_default(), count);
        let numbers = self.header.first_record.value()..;
        // They decode: the survey passes on no frame with a record that does not.
        let decoded = std::iter::from_fn(move || records.next().ok().flatten());
        numbers.zip(decoded).map(|(number, record)| ReadRecord {
            number: RecordNumber::new(number),
            arrival: record.arrival,
            partition_key: record.partition_key,
            data: record.data,
        })
    }
}

/// Goes over a segment's frames, up to `through` if the end is known. Otherwise the log ends at the first place that no
/// valid header further on attests, as it does when the log is opened (`log::recover::recovery`).
///
/// `on_frame` gets every valid frame, and may stop the survey.
///
/// # Errors
/// The file's length cannot be read. Pages that cannot be read are damage.
pub(crate) fn survey_segment(
    file: &Arc<ReadablePages>,
    log: LogIdentity,
    entry: &SegmentEntry,
    through: Option<LogPosition>,
    mut on_frame: impl FnMut(&SurveyedFrame) -> ControlFlow<()>,
) -> std::io::Result<SegmentSurvey> {
    let limit = through.map_or(entry.bytes, |through| entry.offset_of(through).min(entry.bytes));
    let there = limit.min(file.len()?).max(PAGE_BYTES.min(limit));
    let readable: Arc<dyn DiskFile> = file.clone();
    let mut surveyor = Surveyor {
        file,
        bytes: SegmentBytes::of_file(readable, there),
        seed: FrameSeed::new(log, entry.salt),
        entry,
        limit,
        is_limit_known: through.is_some(),
        attested: None,
        survey: SegmentSurvey {
            frames: 0,
            records: 0,
            end: entry.base(),
            ends_in_gap: false,
            damage: Vec::new(),
            torn_at: None,
        },
    };
    surveyor.run(&mut on_frame)?;
    Ok(surveyor.survey)
}

/// Whether a whole frame follows the end that is recorded of a log. Part of a torn frame may lie behind the end of an
/// interrupted log that was closed.
pub(crate) fn is_continued(
    file: &Arc<ReadablePages>,
    log: LogIdentity,
    entry: &SegmentEntry,
    end: &LogEnd,
) -> bool {
    let seed = FrameSeed::new(log, entry.salt);
    let readable: Arc<dyn DiskFile> = file.clone();
    let bytes = SegmentBytes::of_file(readable, file.len().map_or(0, |length| length.min(entry.bytes)));
    let mut cursor = FrameCursor::behind_damage(bytes, &seed, entry, entry.offset_of(end.position));
    cursor.next().is_ok_and(|frame| {
        let follows = frame.header.chain == end.chain && frame.header.first_record >= end.next_record;
        follows && cursor.body(&frame).is_ok()
    })
}

/// Whether any whole frame is in a segment that no edit accounts for. The first frame of it may be the damaged one.
pub(crate) fn holds_frame(
    file: &Arc<ReadablePages>,
    log: LogIdentity,
    entry: &SegmentEntry,
) -> std::io::Result<bool> {
    if is_left_out(Step::AnyWholeFrame) {
        return Ok(is_continued(file, log, entry, &entry.base()));
    }
    let seed = FrameSeed::new(log, entry.salt);
    let length = file.len().map_or(0, |length| length.min(entry.bytes));
    let bytes = || SegmentBytes::of_file(file.clone() as Arc<dyn DiskFile>, length);
    let mut holds_one = false;
    search_headers(&mut bytes(), &seed, entry, PAGE_BYTES, |offset, _| {
        let mut cursor = FrameCursor::behind_damage(bytes(), &seed, entry, offset);
        holds_one = cursor.next().is_ok_and(|frame| cursor.body(&frame).is_ok());
        match holds_one {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })?;
    Ok(holds_one)
}

struct Surveyor<'a> {
    file: &'a ReadablePages,
    bytes: SegmentBytes,
    seed: FrameSeed,
    entry: &'a SegmentEntry,
    /// The offset behind the last frame, or the greatest possible one.
    limit: u64,
    is_limit_known: bool,
    /// The durable position that all headers from the first defect on attest, after the search for it.
    attested: Option<LogPosition>,
    survey: SegmentSurvey,
}

/// Why the next frame is not at an offset.
struct Defect {
    defect: FrameDefect,
    /// The number behind the records of the missing frame, if its header is valid.
    next_record: Option<RecordNumber>,
}

impl Surveyor<'_> {
    fn run(&mut self, on_frame: &mut dyn FnMut(&SurveyedFrame) -> ControlFlow<()>) -> std::io::Result<()> {
        let seed = self.seed.clone();
        let mut cursor = FrameCursor::at_start(self.bytes.clone(), &seed, self.entry);
        let mut offset = PAGE_BYTES;
        while offset < self.limit {
            match self.step(&mut cursor)? {
                Ok(frame) => {
                    offset = frame.offset + frame.bytes();
                    self.survey.frames += 1;
                    self.survey.records += u64::from(frame.header.count);
                    self.survey.ends_in_gap = frame.header.count == 0;
                    self.survey.end = frame.header.end(frame.checksum);
                    if on_frame(&frame).is_break() {
                        return Ok(());
                    }
                }
                Err(defect) => match self.go_on_behind(offset, &defect)? {
                    Some(next) => {
                        offset = next;
                        cursor = FrameCursor::behind_damage(self.bytes.clone(), &seed, self.entry, offset);
                    }
                    None => return Ok(()),
                },
            }
        }
        Ok(())
    }

    fn step(&self, cursor: &mut FrameCursor<'_>) -> std::io::Result<Result<SurveyedFrame, Defect>> {
        let defect = |error, header: Option<&FrameHeader>| match error {
            WalkError::Unreadable { error, .. } => Err(error),
            WalkError::Defect { defect, .. } => Ok(Err(Defect {
                defect,
                next_record: header.map(FrameHeader::next_record),
            })),
        };
        let Frame {
            header,
            checksum,
            offset,
        } = match cursor.next() {
            Ok(frame) => frame,
            Err(error) => return defect(error, None),
        };
        let frame = Frame {
            header,
            checksum,
            offset,
        };
        let body = match cursor.body(&frame) {
            Ok(body) => body,
            Err(error) => return defect(error, Some(&header)),
        };
        // Encrypted records cannot be decoded here. The frame's checksum is valid.
        let is_encrypted = self.entry.encryption.is_some();
        let mut records = Records::new(body.clone(), header.count);
        for _ in 0..if is_encrypted { 0 } else { header.count } {
            if let Err(reason) = records.next() {
                let error = WalkError::Defect {
                    offset,
                    defect: reason,
                };
                return defect(error, Some(&header));
            }
        }
        Ok(Ok(SurveyedFrame {
            offset,
            header,
            checksum,
            body,
            is_encrypted,
        }))
    }

    /// Where the log goes on behind a place without a frame, which is damage; `None` if the log ends there, or nothing
    /// further on is whole.
    fn go_on_behind(&mut self, offset: u64, defect: &Defect) -> std::io::Result<Option<u64>> {
        let is_frame_itself_whole = matches!(defect.defect, FrameDefect::Chain | FrameDefect::RecordNumber);
        let from = match is_frame_itself_whole {
            true => offset,
            false => offset + ALIGNMENT as u64,
        };
        let next = self.next_header(from)?;
        if !self.is_limit_known {
            let position = LogPosition(self.entry.base_position.0 + (offset - PAGE_BYTES));
            if self.attested_from(from)? <= position {
                let is_torn = next.is_some() || defect.next_record.is_some() || self.is_page_begun(offset)?;
                self.survey.torn_at = is_torn.then_some(offset);
                return Ok(None);
            }
        }
        self.note_damage(offset, next, defect);
        Ok(next.map(|(offset, _)| offset))
    }

    fn note_damage(&mut self, offset: u64, next: Option<(u64, FrameHeader)>, defect: &Defect) {
        let end = next.map_or(self.limit, |(offset, _)| offset);
        let resumes = next.map(|(_, header)| header);
        let lost_to = resumes.map(|header| header.first_record).or(defect.next_record);
        // A frame with a valid header and a damaged body lengthens the stretch that seemed to end there.
        let begun = self.survey.damage.last_mut();
        if let Some(begun) = begun.filter(|begun| begun.offset + begun.bytes == offset) {
            begun.bytes = end - begun.offset;
            begun.resumes = resumes;
            begun.lost_to = lost_to;
            return;
        }
        let unreadable = self.file.unreadable_within(offset, end.min(self.bytes.length()));
        let reason = match unreadable {
            Some((page, error)) => format!("the page at byte {page} cannot be read ({error})"),
            None if offset >= self.bytes.length() => "the file ends here".to_owned(),
            None => defect.defect.to_string(),
        };
        self.survey.damage.push(DamagedStretch {
            offset,
            bytes: end - offset,
            reason,
            before: self.survey.end,
            resumes,
            lost_to,
        });
    }

    fn next_header(&mut self, from: u64) -> std::io::Result<Option<(u64, FrameHeader)>> {
        let mut found = None;
        search_headers(&mut self.bytes, &self.seed, self.entry, from, |offset, header| {
            found = Some((offset, *header));
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// The highest durable position that a valid header behind the first defect attests. A header attests nothing
    /// behind its own position, so headers before a later defect do no harm there.
    fn attested_from(&mut self, from: u64) -> std::io::Result<LogPosition> {
        if let Some(attested) = self.attested {
            return Ok(attested);
        }
        let mut attested = LogPosition(0);
        search_headers(&mut self.bytes, &self.seed, self.entry, from, |_, header| {
            attested = attested.max(header.durable_through);
            ControlFlow::Continue(())
        })?;
        self.attested = Some(attested);
        Ok(attested)
    }

    /// Whether the page in which the last frame ends has anything but zeros behind it. Commits fill it up with zeros.
    fn is_page_begun(&mut self, offset: u64) -> std::io::Result<bool> {
        let end = offset.next_multiple_of(PAGE_BYTES).min(self.bytes.length());
        let rest = self.bytes.slice(offset, end.saturating_sub(offset))?;
        Ok(rest.is_some_and(|rest| rest.iter().any(|byte| *byte != 0)))
    }
}

impl DamagedStretch {
    /// The first record that is lost with the stretch.
    pub(crate) fn lost_from(&self) -> RecordNumber {
        self.before.next_record
    }

    /// The latest possible arrival of a record that is lost with it, as far as this segment tells.
    pub(crate) fn lost_until(&self) -> Option<Timestamp> {
        self.resumes.map(|header| header.first_arrival)
    }
}
