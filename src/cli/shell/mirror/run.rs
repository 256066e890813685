//! Runs a mirror in rounds: each puts a page of each shard to the target, and then writes the checkpoint.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::super::Failure;
use super::super::super::interruption::Interruption;
use super::super::connection::Connection;
use super::super::target::{NewRecord, PutAnswer, Target};
use super::super::until::Until;
use super::arguments::{LineageKind, MirrorArguments};
use super::checkpoint::{Checkpoint, CheckpointFile};
use super::delivery::{Already, Delivery, note_last};
use super::pace::Pace;
use super::prepare::{Prepared, prepare};
use super::reading::{MOST_PAGE_RECORDS, Reading};
use super::report::{Ended, Report};
use super::shaping::shape;
use super::tails::read_tails;

/// A mirror of one stream.
pub(super) struct Run<'a, S: Target, T: Target> {
    arguments: &'a MirrorArguments,
    source: &'a mut S,
    target: &'a mut T,
    file: CheckpointFile,
    /// The next contents of the file.
    checkpoint: Checkpoint,
    reading: Reading<S::Cursor>,
    /// The last number that each shard of the target has given, also since the checkpoint.
    target_shards: BTreeMap<String, String>,
    /// The records that an earlier run has put after its checkpoint.
    already: Already,
    /// The target has something that the file does not tell yet.
    has_news: bool,
    connection: Connection,
    pace: Pace,
    interruption: Interruption,
    report: Report,
}

/// How long to try again if the target takes no record at all.
const PATIENCE: Duration = Duration::from_secs(300);
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl<'a, S: Target, T: Target> Run<'a, S, T> {
    /// Looks at both streams, and makes the target's if it does not exist.
    pub(super) fn begin(
        arguments: &'a MirrorArguments,
        source: &'a mut S,
        target: &'a mut T,
    ) -> Result<Self, Failure> {
        let interruption = Interruption::watch(|| {}).map_err(|source| Failure::System {
            doing: "wait for signals",
            source,
        })?;
        let file = CheckpointFile::open(&arguments.checkpoint())?;
        let mut report = Report::new(&arguments.output);
        let Prepared {
            checkpoint,
            reading,
            is_resumed,
        } = prepare(arguments, &file, source, target, &report)?;
        report.begun(&checkpoint, &file.path().display().to_string(), is_resumed)?;
        let mut run = Self {
            arguments,
            source,
            target,
            file,
            target_shards: checkpoint.target_shards.clone(),
            checkpoint,
            reading,
            already: Already::default(),
            has_news: false,
            connection: Connection::default(),
            pace: Pace::of(arguments.rate),
            interruption,
            report,
        };
        if is_resumed {
            run.already = run.patiently(Self::unknown)?.unwrap_or_default();
        }
        if !arguments.follow && !arguments.until_drained {
            run.reading.end_at(Until::now());
        }
        Ok(run)
    }

    /// Runs until everything that was requested is done, or until it is interrupted.
    pub(super) fn run(&mut self) -> Result<(), Failure> {
        let done = self.rounds();
        let ended = match done {
            Ok(ended) => ended,
            Err(failure @ Failure::Output(_)) => return Err(failure),
            Err(failure) => {
                self.report.hide();
                return Err(Failure::After {
                    done: format!(
                        "The checkpoint {} says how far the mirror is: the same command goes on from there.",
                        self.file.path().display()
                    ),
                    failure: Box::new(failure),
                });
            }
        };
        let lag = self.reading.lag(self.source)?;
        self.report.ended(&self.checkpoint, lag, ended)
    }

    fn rounds(&mut self) -> Result<Ended, Failure> {
        let mut quiet_since = Instant::now();
        let mut has_drained = true;
        loop {
            if std::mem::take(&mut has_drained) && self.patiently(Self::begin_children)?.is_none() {
                return Ok(Ended::Incomplete);
            }
            if self.reading.shards().is_empty() {
                return Ok(Ended::Complete);
            }
            let Some(round) = self.round()? else {
                return Ok(Ended::Incomplete);
            };
            has_drained = round.has_drained;
            if round.records > 0 || round.has_drained {
                quiet_since = Instant::now();
            }
            let is_at_head = !has_drained && self.reading.is_at_head();
            self.tell(is_at_head)?;
            let quiet = self.arguments.quiet;
            if self.arguments.until_drained && is_at_head && quiet_since.elapsed() >= quiet {
                return Ok(Ended::Drained(quiet));
            }
            if round.records == 0 && !has_drained {
                self.interruption.wait(S::BETWEEN_READS);
            }
            if self.interruption.is_raised() {
                return Ok(match is_at_head {
                    true => Ended::Complete,
                    false => Ended::Incomplete,
                });
            }
        }
    }

    /// Puts a page of each shard, and writes the checkpoint after it. `None` if it was interrupted in the middle.
    fn round(&mut self) -> Result<Option<Round>, Failure> {
        let mut pages = Vec::new();
        for shard in self.reading.shards() {
            let Some(page) = self.patiently(|run| run.reading.read(run.source, shard))? else {
                return Ok(None);
            };
            pages.extend(page);
        }
        let mut delivery = Delivery::of(pages, self.arguments.lineage);
        delivery.leave_out(&mut self.already);
        self.deliver(&mut delivery)?;
        let progress = delivery.progress();
        for (shard, number) in &progress.reached {
            self.reading.note_reached(*shard, number);
        }
        let (records, bytes) = (progress.records, progress.bytes);
        self.checkpoint
            .note_records(records, bytes, progress.last_arrival);
        self.report.add(records, bytes, self.reading.millis_behind());
        if !delivery.is_done() {
            // It was interrupted. The next run finds the records at the target that are after a gap.
            return Ok(None);
        }
        let drained = delivery.drained();
        for shard in &drained {
            self.reading.note_drained(*shard);
        }
        self.has_news |= records > 0 || !drained.is_empty();
        self.note_checkpoint()?;
        Ok(Some(Round {
            records,
            has_drained: !drained.is_empty(),
        }))
    }

    /// Writes the checkpoint if it has changed. As long as it is not known which of the next records are at the target
    /// already, the file keeps the earlier checkpoint, which tells from where on to look for them.
    fn note_checkpoint(&mut self) -> Result<(), Failure> {
        if !self.already.is_empty() && self.reading.is_behind_first_page() {
            self.already = Already::default();
            self.note_others();
        }
        if !self.has_news || !self.already.is_empty() {
            return Ok(());
        }
        self.checkpoint.shards = self.reading.reached();
        self.checkpoint.target_shards.clone_from(&self.target_shards);
        self.file.write(&self.checkpoint)?;
        self.has_news = false;
        Ok(())
    }

    /// Puts all records, and tries again if records are refused or throttled, or a call is not answered. Does not wait
    /// any more once it is interrupted.
    fn deliver(&mut self, delivery: &mut Delivery) -> Result<(), Failure> {
        let mut wait = FIRST_WAIT;
        let mut taken_last = Instant::now();
        while !delivery.is_done() {
            let batch = delivery.batch(T::KEEPS_ORDER, self.pace.most());
            let (answer, taken) = self.put(batch, delivery)?;
            if taken > 0 {
                (wait, taken_last) = (FIRST_WAIT, Instant::now());
            }
            if !self.interruption.is_raised() {
                self.interruption.wait(self.pace.wait_after(taken));
            }
            match answer.failure {
                Some(failure) => {
                    let Some(wait) = self.connection.wait_after(&failure) else {
                        return Err(failure);
                    };
                    if self.interruption.wait(wait) || !self.leave_out_what_came(delivery)? {
                        return Ok(());
                    }
                }
                None if answer.untaken.is_empty() => self.connection.note_answer(),
                None => {
                    self.connection.note_answer();
                    if taken_last.elapsed() > PATIENCE {
                        return Err(Failure::Refused(format!(
                            "the target refuses all records for {} s: {}",
                            PATIENCE.as_secs(),
                            answer.reason
                        )));
                    }
                    if self.interruption.wait(wait) && taken == 0 {
                        return Ok(());
                    }
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
        Ok(())
    }

    /// Also gives how many records were taken.
    fn put(&mut self, batch: Vec<NewRecord>, delivery: &mut Delivery) -> Result<(PutAnswer, usize), Failure> {
        let mut answer = self.target.put(self.arguments.to(), &batch)?;
        note_last(&mut self.target_shards, std::mem::take(&mut answer.last));
        let taken = batch.len().saturating_sub(answer.untaken.len());
        delivery.note_put(batch, &answer.untaken);
        Ok((answer, taken))
    }

    /// Leaves out records that a call without an answer has put nevertheless. False if this was interrupted.
    fn leave_out_what_came(&mut self, delivery: &mut Delivery) -> Result<bool, Failure> {
        let Some(mut came) = self.patiently(Self::unknown)? else {
            return Ok(false);
        };
        delivery.leave_out(&mut came);
        if !came.is_empty() {
            self.note_others();
        }
        Ok(true)
    }

    /// The records at the target after the known ones. Empty if something else puts records there.
    fn unknown(&mut self) -> Result<Already, Failure> {
        let mut already = Already::default();
        if !self.checkpoint.is_own_target {
            return Ok(already);
        }
        let most = MOST_PAGE_RECORDS * self.reading.ranges().len().max(1);
        match read_tails(self.target, self.arguments.to(), &mut self.target_shards, most)? {
            Some(records) => already.add(records),
            None => self.note_others(),
        }
        Ok(already)
    }

    fn note_others(&mut self) {
        if std::mem::take(&mut self.checkpoint.is_own_target) {
            self.report.warn(
                "the target has records that did not come from here: after a kill, and after a call without an answer, \
                 records can be there twice from now on",
            );
        }
    }

    /// Begins the shards whose parents are completely at the target, and splits and merges the target's shards to
    /// match.
    fn begin_children(&mut self) -> Result<(), Failure> {
        loop {
            let ready = self.reading.ready(self.source)?;
            if ready.is_empty() {
                return Ok(());
            }
            if self.arguments.lineage == LineageKind::Mirror {
                let ranges = ready.iter().map(|shard| shard.range);
                match shape(self.target, self.arguments.to(), ranges)? {
                    0 => {}
                    changes => self.report.resharded(changes)?,
                }
            }
            self.reading.begin_ready(self.source, &ready)?;
            self.has_news = true;
            self.note_checkpoint()?;
        }
    }

    fn tell(&mut self, is_at_head: bool) -> Result<(), Failure> {
        if is_at_head {
            let and = match self.arguments.until_drained {
                true => " Stop the writers now.",
                false => "",
            };
            self.report.caught_up(&self.checkpoint, and)?;
        }
        if self.report.is_line_due() {
            let lag = self.reading.lag(self.source)?;
            self.report.progress(&self.checkpoint, lag)?;
        }
        Ok(())
    }

    /// Repeats something as long as the place does not answer. `None` if it was interrupted meanwhile.
    fn patiently<R>(
        &mut self,
        mut what: impl FnMut(&mut Self) -> Result<R, Failure>,
    ) -> Result<Option<R>, Failure> {
        loop {
            match what(self) {
                Ok(done) => {
                    self.connection.note_answer();
                    return Ok(Some(done));
                }
                Err(failure) => {
                    self.report.hide();
                    let Some(wait) = self.connection.wait_after(&failure) else {
                        return Err(failure);
                    };
                    if self.interruption.wait(wait) {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

struct Round {
    records: u64,
    has_drained: bool,
}
