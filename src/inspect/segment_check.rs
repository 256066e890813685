//! Checking one segment, and how it joins the one behind it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::Inspection;
use super::contents::{FileIs, damage_of};
use super::finding::{Consequence, Damage, Finding, InspectedLog, LostRecords};
use super::named_log::NamedLog;
use crate::disk::DiskFile;
use crate::error::Error;
use crate::log::{
    DamagedStretch, LogEnd, LogPosition, SegmentEntry, SegmentSurvey, SparseIndex, SurveyedFrame,
    is_continued, survey_segment,
};
use crate::model::RecordNumber;

/// If numbers are left out between two segments, they are at least this many. Only a repair leaves out fewer.
const INTERRUPTION_GAP: u64 = 1 << 32;

/// The check of one segment of a log.
#[derive(Debug)]
pub(super) struct SegmentCheck {
    pub(super) entry: SegmentEntry,
    pub(super) path: PathBuf,
    /// Where its frames end, if that is known without reading them.
    pub(super) expected: Expected,
    /// What is wrong with the file as a whole, and at which byte.
    pub(super) file_damage: Option<(u64, Damage)>,
    pub(super) survey: SegmentSurvey,
    pub(super) is_index_damaged: bool,
    /// Records behind the end that the manifest gives.
    pub(super) forgotten: u64,
}

/// What follows a segment's frames.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// Another segment.
    Next(SegmentEntry),
    /// The end, as the manifest gives it.
    End(LogEnd),
    /// Unknown without reading.
    Unknown,
}

impl Expected {
    fn of(log: &NamedLog, at: usize) -> Self {
        match (log.segments.get(at + 1), log.end) {
            (Some(next), _) => Self::Next(*next),
            (None, Some(end)) => Self::End(end),
            (None, None) => Self::Unknown,
        }
    }

    pub(super) fn position(&self) -> Option<LogPosition> {
        match self {
            Self::Next(entry) => Some(entry.base_position),
            Self::End(end) => Some(end.position),
            Self::Unknown => None,
        }
    }

    fn next_record(&self) -> Option<RecordNumber> {
        match self {
            Self::Next(entry) => Some(entry.first_record),
            Self::End(end) => Some(end.next_record),
            Self::Unknown => None,
        }
    }
}

impl Inspection {
    /// Checks the segment at `at` of a log. If `on_frame` stops it, the rest of the result has no meaning.
    pub(super) fn check_segment(
        &self,
        log: &NamedLog,
        at: usize,
        is_held: bool,
        on_frame: &mut dyn FnMut(&SurveyedFrame) -> ControlFlow<()>,
    ) -> Option<SegmentCheck> {
        let entry = *log.segments.get(at)?;
        let path = log.directory.join(entry.file_name());
        let expected = Expected::of(log, at);
        let mut check = SegmentCheck {
            entry,
            expected,
            file_damage: None,
            survey: SegmentSurvey::of_nothing(&entry, expected.position()),
            is_index_damaged: self.is_index_damaged(log, &entry),
            forgotten: 0,
            path,
        };
        let journaled = log.journaled.get(&entry.first_record);
        let survey = self
            .open_with(&check.path, journaled)
            .and_then(|(file, file_is)| {
                if !is_held {
                    // The check is of the bytes on the device, not of those in the system's cache. If the cache cannot
                    // be dropped, its bytes are the best there are.
                    let _ = file.drop_cache();
                }
                let survey = survey_segment(&file, log.identity, &entry, expected.position(), |frame| {
                    on_frame(frame)
                })?;
                check.file_damage = match file_is {
                    FileIs::There => self.file_damage(log, &entry, file.as_ref(), &check.path),
                    FileIs::Missing => Some((0, Damage::Missing)),
                };
                if let Expected::End(end) = expected
                    && log.is_open()
                    && is_continued(&file, log.identity, &entry, &end)
                {
                    let all =
                        survey_segment(&file, log.identity, &entry, None, |_| ControlFlow::Continue(()))?;
                    check.forgotten = all.records.saturating_sub(survey.records);
                }
                Ok(survey)
            });
        match survey {
            Ok(survey) => check.survey = survey,
            Err(error) => check.file_damage = Some((0, damage_of(&error))),
        }
        Some(check)
    }

    fn file_damage(
        &self,
        log: &NamedLog,
        entry: &SegmentEntry,
        file: &dyn DiskFile,
        path: &Path,
    ) -> Option<(u64, Damage)> {
        match entry.verify_file(log.identity, file, path).err()? {
            Error::Corrupt {
                offset: 0, reason, ..
            } if file.len().is_ok_and(|length| length > 0) => {
                let reason = match self.read_header(path) {
                    // A person may know what to do with a file in the wrong place.
                    Ok((of, found)) => format!(
                        "{reason}: it says that it is {} of {}",
                        found.file_name(),
                        InspectedLog::unnamed(of.name)
                    ),
                    Err(_) => reason,
                };
                Some((0, Damage::Header { reason }))
            }
            Error::Corrupt { offset, .. } => Some((
                offset,
                Damage::Cut {
                    expected: entry.bytes,
                },
            )),
            Error::UnknownEncoding { codec, key, .. } => Some((0, Damage::UnknownEncoding { codec, key })),
            error => Some((
                0,
                Damage::Unreadable {
                    error: error.to_string(),
                },
            )),
        }
    }

    fn is_index_damaged(&self, log: &NamedLog, entry: &SegmentEntry) -> bool {
        let path = log.directory.join(entry.index_name());
        match self.read_whole(&path) {
            Ok(bytes) => !SparseIndex::is_whole(&bytes),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        }
    }
}

impl SegmentCheck {
    pub(super) fn findings(&self, log: &NamedLog, is_held: bool) -> Vec<Finding> {
        let findings = self.findings_of_log(log, is_held);
        match log.identity.is_commit_journal() {
            true => findings
                .into_iter()
                .map(|finding| of_journal(finding, log))
                .collect(),
            false => findings,
        }
    }

    fn findings_of_log(&self, log: &NamedLog, is_held: bool) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |offset, damage, consequence| {
            findings.push(Finding::new(&self.path, offset, damage, consequence).of_log(&log.name));
        };
        if let Some((offset, damage)) = &self.file_damage {
            add(*offset, damage.clone(), self.consequence_of_file_damage(damage));
        }
        for stretch in &self.survey.damage {
            // A file that is missing or cut was reported already, with the records it costs.
            if self.is_told_by_file_damage(stretch) {
                continue;
            }
            let damage = Damage::Frames {
                bytes: stretch.bytes,
                reason: stretch.reason.clone(),
            };
            add(stretch.offset, damage, Consequence::Lost(self.lost_in(stretch)));
        }
        if self.file_damage.is_none()
            && self.survey.damage.is_empty()
            && let Some(reason) = self.wrong_end()
        {
            let offset = self.entry.offset_of(self.survey.end.position);
            add(offset, Damage::End { reason }, self.consequence_of_wrong_end());
        }
        if self.forgotten > 0 {
            let from = self.survey.end.next_record;
            let consequence = match is_held {
                true => Consequence::BeingWritten,
                false => Consequence::Unavailable {
                    from,
                    to: from.saturating_add(self.forgotten),
                },
            };
            let offset = self.entry.offset_of(self.survey.end.position);
            let records = self.forgotten;
            add(offset, Damage::Forgotten { records }, consequence);
        }
        if let Some(offset) = self.survey.torn_at {
            let consequence = match is_held {
                true => Consequence::BeingWritten,
                false => Consequence::NeverAcknowledged,
            };
            add(offset, Damage::TornTail, consequence);
        }
        if self.is_index_damaged {
            let path = log.directory.join(self.entry.index_name());
            let consequence = Consequence::Harmless {
                reason: "it is made again from the segment",
            };
            findings.push(Finding::new(path, 0, Damage::Index, consequence).of_log(&log.name));
        }
        findings
    }

    fn is_told_by_file_damage(&self, stretch: &DamagedStretch) -> bool {
        match self.file_damage {
            Some((_, Damage::Missing | Damage::Unreadable { .. } | Damage::UnknownEncoding { .. })) => true,
            Some((cut, Damage::Cut { .. })) => stretch.offset + stretch.bytes > cut,
            _ => false,
        }
    }

    fn consequence_of_file_damage(&self, damage: &Damage) -> Consequence {
        let whole = Consequence::Unavailable {
            from: self.entry.first_record,
            to: self.survey.end.next_record,
        };
        if matches!(damage, Damage::Header { .. }) {
            return whole;
        }
        match (self.survey.damage.last(), self.expected) {
            (Some(stretch), _) if self.is_told_by_file_damage(stretch) => {
                Consequence::Lost(self.lost_in(stretch))
            }
            (_, Expected::Unknown) => Consequence::Lost(self.lost_from_the_end()),
            _ => whole,
        }
    }

    /// All records of this segment that are lost.
    pub(super) fn losses(&self) -> Vec<LostRecords> {
        let mut losses: Vec<_> = self
            .survey
            .damage
            .iter()
            .map(|stretch| self.lost_in(stretch))
            .collect();
        let is_end_lost = matches!(self.expected, Expected::Unknown)
            && self
                .file_damage
                .as_ref()
                .is_some_and(|(_, damage)| !matches!(damage, Damage::Header { .. }));
        if is_end_lost {
            losses.push(self.lost_from_the_end());
        }
        if losses.is_empty() && self.is_followed_by_a_gap() {
            losses.push(LostRecords {
                to: self.expected.next_record(),
                ..self.lost_from_the_end()
            });
        }
        losses
    }

    /// Whether the log goes on, or ends, behind the last frame of this segment and behind all damage in it: then the
    /// segment between is lost, and the edit that named it.
    pub(super) fn is_followed_by_a_gap(&self) -> bool {
        let damaged = self.survey.damage.last();
        let damaged_through = damaged.map_or(0, |damaged| damaged.offset + damaged.bytes);
        let end = damaged_through.max(self.entry.offset_of(self.survey.end.position));
        let expected = self.expected.position();
        expected.is_some_and(|expected| self.entry.offset_of(expected) > end)
    }

    /// The records lost behind the surviving part of a file. Their number is unknown unless the manifest gives an end.
    fn lost_from_the_end(&self) -> LostRecords {
        LostRecords {
            from: self.survey.end.next_record,
            to: None,
            arrived_from: self.survey.end.last_arrival,
            arrived_until: None,
        }
    }

    /// The records that were in a stretch.
    fn lost_in(&self, stretch: &DamagedStretch) -> LostRecords {
        let from = stretch.lost_from();
        // Numbers may have been left out behind a segment, so its last numbers are known only if none were.
        let by_next = self
            .expected
            .next_record()
            .filter(|next| next.value().saturating_sub(from.value()) < INTERRUPTION_GAP);
        let until_next = match self.expected {
            Expected::Next(next) => Some(next.base_arrival),
            Expected::End(end) => Some(end.last_arrival),
            Expected::Unknown => None,
        };
        LostRecords {
            from,
            to: stretch.lost_to.or(by_next),
            arrived_from: stretch.before.last_arrival,
            arrived_until: stretch.lost_until().or(until_next),
        }
    }

    /// The difference between the end of the frames and the end that the manifest gives.
    fn wrong_end(&self) -> Option<String> {
        let end = &self.survey.end;
        let is_given_up = self.survey.ends_in_gap;
        let (expected, left_out) = match self.expected {
            Expected::Unknown => return None,
            Expected::End(expected) => (
                expected,
                expected.next_record.value().checked_sub(end.next_record.value()),
            ),
            Expected::Next(next) => {
                let expected = next.base();
                (
                    expected,
                    expected.next_record.value().checked_sub(end.next_record.value()),
                )
            }
        };
        if end.position != expected.position {
            return Some(format!(
                "its frames end at position {}, and the manifest says {}",
                end.position.0, expected.position.0
            ));
        }
        let is_numbered = match (left_out, self.expected) {
            (Some(0), _) => true,
            // The log rested before the first record of the segment came.
            (None, Expected::End(_)) => self.survey.frames == 0,
            // A segment that was begun for a record that never came reserves a number.
            (Some(left_out), Expected::Next(_)) => {
                is_given_up || left_out >= INTERRUPTION_GAP || self.survey.frames == 0
            }
            (Some(_), _) => is_given_up,
            (None, _) => false,
        };
        if !is_numbered {
            return Some(format!(
                "the next record is {}, and the manifest says {}",
                end.next_record, expected.next_record
            ));
        }
        if end.chain != expected.chain && !is_given_up {
            return Some("its last frame is not the one that the manifest says".to_owned());
        }
        None
    }

    fn consequence_of_wrong_end(&self) -> Consequence {
        Consequence::Lost(LostRecords {
            from: self.survey.end.next_record,
            to: self
                .expected
                .next_record()
                .map(|next| next.max(self.survey.end.next_record)),
            arrived_from: self.survey.end.last_arrival,
            arrived_until: None,
        })
    }
}

/// The consequence of damage of the journal: records of other logs may be lost.
fn of_journal(mut finding: Finding, journal: &NamedLog) -> Finding {
    if finding.is_damage() {
        finding.consequence = match journal.is_needed {
            false => Consequence::Harmless {
                reason: "all that the journal has is in its segments",
            },
            true => Consequence::LastMayBeMissing,
        };
    }
    finding
}
