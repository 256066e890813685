//! The reader that follows the lineage.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use std::vec;

use crate::error::{Error, InvalidArgument, Result};
use crate::model::{Checkpoint, Record, RecordNumber, Shard, ShardFilter, ShardId, StartingPosition};
use crate::seam::ReadLimit;
use crate::store::{RecordBatch, ShardIterator, ShardWatch, Stream};

/// How much is read from one shard before it is the next one's turn.
const TURN: ReadLimit = ReadLimit {
    records: 4_000,
    bytes: 1024 * 1024,
};

/// Reads every record of a stream from a position on: each shard in order, and a child only after all of its parents
/// are drained. So the records of a partition key come in the order in which they were put, whatever was split and
/// merged in between.
///
/// As an iterator it ends when there is no further record *now*, and goes on when it is called again later;
/// [`next_within`](Self::next_within) waits. An error of a shard is returned in the shard's turn, and again in its next
/// turn; the records of other shards go on.
///
/// A reader that comes back to records which have expired meanwhile gets [`Error::Trimmed`] once, and then goes on with
/// the first record that is kept. With [`skip_trimmed`](Self::skip_trimmed) it goes on silently.
///
/// ```
/// # fn main() -> anabranch::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let store = anabranch::Store::open(directory.path())?;
/// use anabranch::{HashKey, StartingPosition};
///
/// let stream = store.create_stream("clicks", 1)?;
/// let put = stream.put("user-3", b"before")?;
/// stream.split_shard(put.shard_id, HashKey::MAX / 8)?;
/// stream.put("user-3", b"after")?;
///
/// let mut data = Vec::new();
/// for record in stream.reader(StartingPosition::TrimHorizon)? {
///     data.push(record?.data);
/// }
/// assert_eq!(data, ["before", "after"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StreamReader {
    stream: Stream,
    /// By shard, the number of the next record to return; [`RecordNumber::END`] for a drained shard with a child that
    /// waits for another parent. The reader has finished a shard that is not listed, or, if the shard descends from a
    /// listed one, has not begun it.
    next: BTreeMap<ShardId, RecordNumber>,
    /// The shards in which the reader still is at the trim horizon, where it began: there was nothing to read, and it
    /// did not reach their heads.
    unread: BTreeSet<ShardId>,
    /// The shards that can be read now, in turn.
    turns: VecDeque<ShardId>,
    /// Records of the shard in turn that were read and not returned yet. While there are any, the first of them is the
    /// position in that shard; `next` has it only after all are returned.
    batch: vec::IntoIter<Record>,
    /// What happens after the batch is returned.
    afterwards: Option<Afterwards>,
    /// Turns in a row without a record or a step down the lineage.
    idle_turns: usize,
    skips_trimmed: bool,
    /// Made by the first wait: over the shards that can be read now.
    watch: Option<ShardWatch>,
}

#[derive(Debug)]
enum Afterwards {
    GoOn {
        shard: ShardId,
        next: RecordNumber,
        is_unread: bool,
    },
    Drained {
        shard: ShardId,
        children: Vec<Child>,
        is_unread: bool,
    },
}

#[derive(Debug)]
struct Child {
    shard: ShardId,
    parents: Vec<ShardId>,
}

impl Stream {
    /// A reader of the whole stream, from the oldest record, from now on, or from a time on.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::StartingPosition;
    ///
    /// let mut reader = stream.reader(StartingPosition::Latest)?;
    /// stream.put("user-42", b"new")?;
    /// assert_eq!(reader.next().transpose()?.unwrap().data, "new");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a sequence number, which is a position in one shard only; otherwise as for
    /// [`shard_iterator`](Self::shard_iterator).
    pub fn reader(&self, position: StartingPosition) -> Result<StreamReader> {
        let first = match position {
            StartingPosition::TrimHorizon => self.roots()?,
            StartingPosition::Latest => self.shards(&ShardFilter::AtLatest)?,
            StartingPosition::AtTimestamp(time) => self.shards(&ShardFilter::AtTimestamp(time))?,
            StartingPosition::AtSequenceNumber(_) | StartingPosition::AfterSequenceNumber(_) => {
                return Err(InvalidArgument::PositionInOneShard.into());
            }
        };
        let mut next = BTreeMap::new();
        for shard in first {
            let begin = self.shard_iterator(shard.id, position)?.next;
            next.insert(shard.id, begin);
        }
        let checkpoint = Checkpoint {
            store: self.store_id(),
            stream: self.id(),
            next,
        };
        Ok(StreamReader::resume(self.clone(), checkpoint))
    }

    /// The oldest shards: those without a parent that can still be read.
    fn roots(&self) -> Result<Vec<Shard>> {
        let shards = self.shards(&ShardFilter::FromTrimHorizon)?;
        let is_listed = |id| shards.binary_search_by_key(&id, |shard: &Shard| shard.id).is_ok();
        Ok(shards
            .iter()
            .filter(|shard| !shard.parents().any(is_listed))
            .cloned()
            .collect())
    }
}

impl StreamReader {
    pub(super) fn resume(stream: Stream, checkpoint: Checkpoint) -> Self {
        let is_at_horizon = |(shard, next): (&ShardId, &RecordNumber)| {
            (*next == RecordNumber::BEFORE_FIRST).then_some(*shard)
        };
        let is_readable =
            |(shard, next): (&ShardId, &RecordNumber)| (*next != RecordNumber::END).then_some(*shard);
        Self {
            unread: checkpoint.next.iter().filter_map(is_at_horizon).collect(),
            turns: checkpoint.next.iter().filter_map(is_readable).collect(),
            next: checkpoint.next,
            stream,
            batch: Vec::new().into_iter(),
            afterwards: None,
            idle_turns: 0,
            skips_trimmed: false,
            watch: None,
        }
    }

    /// The stream that is read.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// let reader = stream.reader(anabranch::StartingPosition::TrimHorizon)?;
    /// assert_eq!(reader.stream().name(), "clicks");
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Makes the reader skip records silently that expired before it came to them.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # use std::time::Duration;
    /// # use anabranch::{ManualClock, Memory, StoreOptions, Timestamp};
    /// # let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
    /// # let store = StoreOptions::new().clock(clock.clone()).keeper(false).open_in_memory(&Memory::new())?;
    /// use anabranch::{Error, StartingPosition};
    ///
    /// let stream = store.create_stream("clicks", 1)?;
    /// stream.reader(StartingPosition::Latest)?.save_checkpoint("daily")?;
    /// stream.put("user-42", b"expires")?;
    /// # for _ in 0..30 { clock.advance(Duration::from_secs(3_600)); store.maintain()?; }
    /// // More than a day later.
    /// stream.put("user-42", b"later")?;
    /// let mut told = stream.resume_reader("daily", StartingPosition::Latest)?;
    /// assert!(matches!(told.next(), Some(Err(Error::Trimmed { .. }))));
    /// assert_eq!(told.next().transpose()?.map(|record| record.data), Some("later".into()));
    ///
    /// let mut silent = stream.resume_reader("daily", StartingPosition::Latest)?.skip_trimmed();
    /// assert_eq!(silent.next().transpose()?.map(|record| record.data), Some("later".into()));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn skip_trimmed(self) -> Self {
        Self {
            skips_trimmed: true,
            ..self
        }
    }

    /// The position of this reader: behind the records that it has returned so far.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::StartingPosition;
    ///
    /// stream.put("user-42", b"first")?;
    /// stream.put("user-42", b"second")?;
    /// let mut reader = stream.reader(StartingPosition::TrimHorizon)?;
    /// reader.next().transpose()?;
    /// let mut again = stream.reader_from(reader.checkpoint())?;
    /// assert_eq!(again.next().transpose()?.unwrap().data, "second");
    /// # Ok(())
    /// # }
    /// ```
    pub fn checkpoint(&self) -> Checkpoint {
        let mut next = self.next.clone();
        let in_hand = self.batch.as_slice().first().map(|record| record.sequence_number);
        next.extend(in_hand.map(|number| (number.shard_id(), number.record_number())));
        Checkpoint {
            store: self.stream.store_id(),
            stream: self.stream.id(),
            next,
        }
    }

    /// The next record. Waits up to `limit` for one to be put; `None` if there is none by then.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use std::time::Duration;
    /// use anabranch::StartingPosition;
    ///
    /// let mut reader = stream.reader(StartingPosition::TrimHorizon)?;
    /// assert!(reader.next_within(Duration::from_millis(1))?.is_none());
    /// stream.put("user-42", b"{}")?;
    /// assert!(reader.next_within(Duration::from_secs(1))?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`get_records`](Stream::get_records).
    pub fn next_within(&mut self, limit: Duration) -> Result<Option<Record>> {
        let deadline = Instant::now().checked_add(limit);
        loop {
            if let Some(record) = self.next() {
                return record.map(Some);
            }
            let left = deadline.map_or(limit, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return Ok(None);
            }
            // Another look finds records from before the watch began.
            if !self.watch_turns()?
                && let Some(watch) = &mut self.watch
            {
                watch.wait(left);
            }
        }
    }

    /// The next record, as soon as there is one, for a task of any runtime.
    ///
    /// The calling thread does the reading itself, as in [`get_records`](Stream::get_records), which can take as long
    /// as the disk does. Dropping the future loses no record.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::{Result, StartingPosition, StreamReader};
    ///
    /// async fn print_all(mut reader: StreamReader) -> Result<()> {
    ///     loop {
    ///         println!("{:?}", reader.next_record().await?.data);
    ///     }
    /// }
    /// let task = print_all(stream.reader(StartingPosition::Latest)?);
    /// # drop(task);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`get_records`](Stream::get_records).
    pub async fn next_record(&mut self) -> Result<Record> {
        loop {
            if let Some(record) = self.next() {
                return record;
            }
            if !self.watch_turns()?
                && let Some(watch) = &mut self.watch
            {
                watch.changed().await;
            }
        }
    }

    /// Watches the shards that can be read now; true if some of them were not watched before.
    fn watch_turns(&mut self) -> Result<bool> {
        let watch = match &mut self.watch {
            Some(watch) => watch,
            None => self.watch.insert(self.stream.watch(&[])?),
        };
        watch.retain(|shard| self.next.contains_key(&shard));
        let mut is_any_new = false;
        for shard in &self.turns {
            // A shard that cannot be watched cannot be read either. Its turn gives the error.
            is_any_new |= watch.add(*shard).unwrap_or(false);
        }
        Ok(is_any_new)
    }

    /// Gives the next shard its turn that may have a record; `None` when none of them had anything.
    fn read_on(&mut self) -> Option<Result<()>> {
        if self.idle_turns >= self.turns.len() {
            self.idle_turns = 0;
            return None;
        }
        let shard = self.turns.pop_front()?;
        self.turns.push_back(shard);
        match self.take_turn(shard) {
            Ok(true) => self.idle_turns = 0,
            Ok(false) => self.idle_turns += 1,
            Err(error) => {
                // There may be records right behind the trimmed ones.
                match error {
                    Error::Trimmed { .. } => self.idle_turns = 0,
                    _ => self.idle_turns += 1,
                }
                return Some(Err(error));
            }
        }
        Some(Ok(()))
    }

    /// Takes a shard's turn. True if it brought records, or a step down the lineage.
    fn take_turn(&mut self, shard: ShardId) -> Result<bool> {
        let next = self.next.get(&shard).copied().unwrap_or(RecordNumber::FIRST);
        let from = ShardIterator {
            stream: self.stream.id(),
            shard,
            next,
        };
        let read = match self.stream.get_records(&from, &TURN) {
            Ok(read) => read,
            // It has expired, so nothing of it remains to be read.
            Err(Error::ShardNotFound { .. }) => return self.skip_expired(shard, next),
            Err(Error::Trimmed { first_kept, .. }) => {
                self.next.extend(first_kept.map(|first| (shard, first)));
                return self.tell_trimmed(shard, next, first_kept);
            }
            Err(error) => return Err(error),
        };
        let is_progress = !read.records.is_empty() || read.next.is_none();
        self.afterwards = Some(self.afterwards(shard, &read)?);
        self.batch = read.records.into_iter();
        if self.batch.as_slice().is_empty() {
            self.finish_batch();
        }
        Ok(is_progress)
    }

    /// Reports once that records are missed, unless the reader skips silently.
    fn tell_trimmed(
        &self,
        shard: ShardId,
        from: RecordNumber,
        first_kept: Option<RecordNumber>,
    ) -> Result<bool> {
        match self.skips_trimmed {
            true => Ok(true),
            false => Err(Error::Trimmed {
                shard,
                from,
                first_kept,
            }),
        }
    }

    /// What happens after the records that were read are returned.
    fn afterwards(&self, shard: ShardId, read: &RecordBatch) -> Result<Afterwards> {
        let is_unread = self.unread.contains(&shard) && read.records.is_empty();
        if let Some(next) = read.next {
            return Ok(Afterwards::GoOn {
                shard,
                next: next.next,
                is_unread: is_unread && read.millis_behind_latest > 0,
            });
        }
        let is_awaited = |parent: &ShardId| self.next.get(parent) != Some(&RecordNumber::END);
        let mut children = Vec::new();
        for child in &read.child_shards {
            let mut parents = child.parent_shards.clone();
            if parents
                .iter()
                .any(|parent| *parent != shard && is_awaited(parent))
            {
                // One of two parents can expire before the other does. Nothing of it will ever be read.
                let shards = self.stream.shards(&ShardFilter::FromTrimHorizon)?;
                parents.retain(|parent| {
                    *parent == shard || !is_awaited(parent) || shards.iter().any(|other| other.id == *parent)
                });
            }
            children.push(Child {
                shard: child.shard_id,
                parents,
            });
        }
        Ok(Afterwards::Drained {
            shard,
            children,
            is_unread,
        })
    }

    fn finish_batch(&mut self) {
        match self.afterwards.take() {
            Some(Afterwards::GoOn {
                shard,
                next,
                is_unread,
            }) => {
                self.next.insert(shard, next);
                if !is_unread {
                    self.unread.remove(&shard);
                }
            }
            Some(Afterwards::Drained {
                shard,
                children,
                is_unread,
            }) => {
                self.turns.retain(|turn| *turn != shard);
                self.next.insert(shard, RecordNumber::END);
                if !is_unread {
                    self.unread.remove(&shard);
                }
                self.begin_children(shard, &children);
            }
            None => {}
        }
    }

    /// Begins the children whose parents are all drained, and forgets parents that no child waits for.
    fn begin_children(&mut self, drained: ShardId, children: &[Child]) {
        let mut is_waited_for = false;
        for child in children {
            // A parent that is not listed in `next` has not been begun: a drained one is forgotten only when its
            // children have begun, and this child has not.
            if child
                .parents
                .iter()
                .all(|parent| self.next.get(parent) == Some(&RecordNumber::END))
            {
                // If there was nothing to read in the parents, expired records of the child are not missed either.
                let is_at_horizon = child.parents.iter().all(|parent| self.unread.contains(parent));
                self.begin(child.shard, is_at_horizon);
                for parent in child.parents.iter().filter(|parent| **parent != drained) {
                    self.next.remove(parent);
                }
            } else {
                is_waited_for = true;
            }
        }
        if !is_waited_for {
            self.next.remove(&drained);
        }
        let next = &self.next;
        self.unread.retain(|shard| next.contains_key(shard));
    }

    fn begin(&mut self, shard: ShardId, is_at_horizon: bool) {
        let first = match is_at_horizon {
            true => RecordNumber::BEFORE_FIRST,
            false => RecordNumber::FIRST,
        };
        self.next.insert(shard, first);
        if is_at_horizon {
            self.unread.insert(shard);
        }
        self.turns.push_back(shard);
    }

    /// Goes on behind a shard that has expired. Returns whether records of it are missed.
    fn skip_expired(&mut self, expired: ShardId, from: RecordNumber) -> Result<bool> {
        let was_at_horizon = from == RecordNumber::BEFORE_FIRST || self.unread.contains(&expired);
        let is_missed = !was_at_horizon && self.stream.may_have_lost(expired, from)?;
        let reached = self.checkpoint();
        let is_at_horizon = was_at_horizon || is_missed;
        let changes = self.stream.positions_behind(&reached, expired, is_at_horizon)?;
        for (shard, next) in changes {
            self.turns.retain(|turn| *turn != shard);
            match next {
                None => {
                    self.next.remove(&shard);
                }
                Some(RecordNumber::END) => {
                    self.next.insert(shard, RecordNumber::END);
                }
                Some(next) => self.begin(shard, next == RecordNumber::BEFORE_FIRST),
            }
        }
        let next = &self.next;
        self.unread.retain(|shard| next.contains_key(shard));
        match is_missed {
            true => self.tell_trimmed(expired, from, None),
            false => Ok(true),
        }
    }
}

impl Iterator for StreamReader {
    type Item = Result<Record>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.batch.next() {
                if self.batch.as_slice().is_empty() {
                    self.finish_batch();
                }
                return Some(Ok(record));
            }
            match self.read_on() {
                Some(Ok(())) => {}
                Some(Err(error)) => return Some(Err(error)),
                None => return None,
            }
        }
    }
}
