//! Reads the source: a page of each shard at a time, and children once their parents are at the target.

use std::collections::{BTreeMap, BTreeSet};

use anabranch::{Clock, HashKeyRange, ShardFilter, ShardId, StartingPosition, SystemClock, Timestamp};

use super::super::super::Failure;
use super::super::lineage::{ready, roots};
use super::super::target::{Page, ReadRecord, ShardRow, Target};
use super::super::until::Until;
use super::arguments::Begin;
use super::checkpoint::{Checkpoint, Reached};

/// The most records of a page. After a kill, no more records of a shard can be at the target twice.
pub(super) const MOST_PAGE_RECORDS: usize = 1_000;

/// The shards of the source that are being read.
pub(super) struct Reading<C> {
    stream: String,
    begun: BTreeMap<ShardId, Begun<C>>,
    drained: BTreeSet<ShardId>,
    /// Where each shard ends, unless it is read for ever.
    until: Option<Until>,
}

struct Begun<C> {
    range: HashKeyRange,
    cursor: C,
    reached: Reached,
    millis_behind: u64,
    is_at_head: bool,
    /// It was read to where it ends.
    is_over: bool,
    /// How many records were read of it.
    read: usize,
}

/// What was read of a shard.
pub(super) struct ShardPage {
    pub(super) shard: ShardId,
    pub(super) range: HashKeyRange,
    pub(super) records: Vec<ReadRecord>,
    pub(super) is_drained: bool,
}

/// How far behind the source a mirror is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lag {
    pub(super) millis: u64,
    /// `None` if the source does not tell it.
    pub(super) records: Option<u64>,
}

impl<C> Reading<C> {
    /// The shards that a mirror begins with. Reads no records.
    pub(super) fn first_shards<S: Target<Cursor = C>>(
        source: &mut S,
        stream: &str,
        begin: Begin,
    ) -> Result<Vec<ShardRow>, Failure> {
        Ok(match begin {
            Begin::Horizon => roots(source.shards(stream, ShardFilter::FromTrimHorizon)?),
            Begin::Latest => source.shards(stream, ShardFilter::AtLatest)?,
            Begin::Time(time) => source.shards(stream, ShardFilter::AtTimestamp(time))?,
        })
    }

    /// Begins with these shards.
    pub(super) fn begin<S: Target<Cursor = C>>(
        source: &mut S,
        stream: &str,
        shards: &[ShardRow],
        begin: Begin,
    ) -> Result<Self, Failure> {
        let (from, reached) = match begin {
            Begin::Horizon => (StartingPosition::TrimHorizon, Reached::Horizon),
            // A later run must get the records that came meanwhile.
            Begin::Latest => (
                StartingPosition::Latest,
                Reached::Time(SystemClock.now().as_millis()),
            ),
            Begin::Time(time) => (
                StartingPosition::AtTimestamp(time),
                Reached::Time(time.as_millis()),
            ),
        };
        let mut reading = Self::of_nothing(stream);
        for shard in shards {
            let cursor = source.cursor(stream, shard.id, from)?;
            reading.add(shard, cursor, reached.clone());
        }
        Ok(reading)
    }

    /// Goes on from a checkpoint. Also gives the shards that expired before they were read to their ends.
    pub(super) fn resume<S: Target<Cursor = C>>(
        source: &mut S,
        stream: &str,
        checkpoint: &Checkpoint,
    ) -> Result<(Self, Vec<ShardId>), Failure> {
        let listed = source.shards(stream, ShardFilter::FromTrimHorizon)?;
        let mut reading = Self::of_nothing(stream);
        let mut lost = Vec::new();
        for (name, reached) in &checkpoint.shards {
            let id = name.parse().map_err(|error| {
                Failure::Refused(format!("the checkpoint names a shard {name:?}: {error}"))
            })?;
            let row = listed.iter().find(|shard| shard.id == id);
            let (Some(row), false) = (row, *reached == Reached::Drained) else {
                if *reached != Reached::Drained {
                    lost.push(id);
                }
                reading.drained.insert(id);
                continue;
            };
            let cursor = match reached {
                Reached::After(number) => source.cursor_behind(stream, id, number)?,
                Reached::Time(time) => {
                    let time = Timestamp::from_millis(*time);
                    source.cursor(stream, id, StartingPosition::AtTimestamp(time))?
                }
                Reached::Horizon | Reached::Drained => {
                    source.cursor(stream, id, StartingPosition::TrimHorizon)?
                }
            };
            reading.add(row, cursor, reached.clone());
        }
        Ok((reading, lost))
    }

    fn of_nothing(stream: &str) -> Self {
        Self {
            stream: stream.to_owned(),
            begun: BTreeMap::new(),
            drained: BTreeSet::new(),
            until: None,
        }
    }

    fn add(&mut self, shard: &ShardRow, cursor: Option<C>, reached: Reached) {
        let Some(cursor) = cursor else {
            // It has expired since it was listed.
            self.drained.insert(shard.id);
            return;
        };
        let begun = Begun {
            range: shard.range,
            cursor,
            reached,
            millis_behind: 0,
            is_at_head: false,
            is_over: false,
            read: 0,
        };
        self.begun.insert(shard.id, begun);
    }

    /// Ends each shard there, also shards that are begun later.
    pub(super) fn end_at(&mut self, until: Until) {
        self.until = Some(until);
    }

    /// The ranges of the shards that are begun and not drained.
    pub(super) fn ranges(&self) -> Vec<HashKeyRange> {
        self.begun.values().map(|begun| begun.range).collect()
    }

    /// The shards that are not read to where they end.
    pub(super) fn shards(&self) -> Vec<ShardId> {
        let open = self.begun.iter().filter(|(_, begun)| !begun.is_over);
        open.map(|(shard, _)| *shard).collect()
    }

    /// The next records of a shard that was begun.
    pub(super) fn read<S: Target<Cursor = C>>(
        &mut self,
        source: &mut S,
        shard: ShardId,
    ) -> Result<Option<ShardPage>, Failure> {
        let Some(begun) = self.begun.get_mut(&shard) else {
            return Ok(None);
        };
        let mut page = source.read(&mut begun.cursor, MOST_PAGE_RECORDS)?;
        begun.is_over = self.until.is_some_and(|until| until.ends(&mut page));
        let Page {
            records,
            millis_behind,
            is_at_head,
            is_drained,
        } = page;
        (begun.millis_behind, begun.is_at_head) = (millis_behind, is_at_head || is_drained);
        begun.read += records.len();
        Ok(Some(ShardPage {
            shard,
            range: begun.range,
            records,
            is_drained,
        }))
    }

    /// Notes that all records of a shard up to this one are at the target.
    pub(super) fn note_reached(&mut self, shard: ShardId, number: &str) {
        if let Some(begun) = self.begun.get_mut(&shard) {
            begun.reached = Reached::After(number.to_owned());
        }
    }

    /// Notes that all records of a shard are at the target.
    pub(super) fn note_drained(&mut self, shard: ShardId) {
        self.begun.remove(&shard);
        self.drained.insert(shard);
    }

    /// The shards that can be begun now, because all records of their parents are at the target.
    pub(super) fn ready<S: Target<Cursor = C>>(&mut self, source: &mut S) -> Result<Vec<ShardRow>, Failure> {
        let listed = source.shards(&self.stream, ShardFilter::FromTrimHorizon)?;
        let is_listed: BTreeSet<_> = listed.iter().map(|shard| shard.id).collect();
        let begun = self.begun.keys().chain(&self.drained).copied().collect();
        let ready = ready(listed, &begun, &self.drained);
        // Shards that have expired are no longer needed.
        self.drained.retain(|shard| is_listed.contains(shard));
        Ok(ready)
    }

    /// Begins shards that are ready.
    pub(super) fn begin_ready<S: Target<Cursor = C>>(
        &mut self,
        source: &mut S,
        shards: &[ShardRow],
    ) -> Result<(), Failure> {
        for shard in shards {
            let cursor = source.cursor(&self.stream, shard.id, StartingPosition::TrimHorizon)?;
            self.add(shard, cursor, Reached::Horizon);
        }
        Ok(())
    }

    /// Where it is in all shards.
    pub(super) fn reached(&self) -> BTreeMap<String, Reached> {
        let begun = self
            .begun
            .iter()
            .map(|(shard, begun)| (shard, begun.reached.clone()));
        let drained = self.drained.iter().map(|shard| (shard, Reached::Drained));
        begun
            .chain(drained)
            .map(|(shard, reached)| (shard.to_string(), reached))
            .collect()
    }

    /// Whether no shard had more records when it was last read.
    pub(super) fn is_at_head(&self) -> bool {
        self.begun.values().all(|begun| begun.is_at_head || begun.is_over)
    }

    /// Whether each shard that was begun is read beyond the records that an earlier run can have put.
    pub(super) fn is_behind_first_page(&self) -> bool {
        let is_behind =
            |begun: &Begun<C>| begun.read >= MOST_PAGE_RECORDS || begun.is_at_head || begun.is_over;
        self.begun.values().all(is_behind)
    }

    pub(super) fn millis_behind(&self) -> u64 {
        self.begun
            .values()
            .map(|begun| begun.millis_behind)
            .max()
            .unwrap_or(0)
    }

    /// How far behind it is. Shards that are not begun are not counted.
    pub(super) fn lag<S: Target<Cursor = C>>(&self, source: &mut S) -> Result<Lag, Failure> {
        let mut records = Some(0);
        for begun in self.begun.values() {
            let of_shard = source.count_from(&begun.cursor)?;
            records = records.zip(of_shard).map(|(all, of_shard)| all + of_shard);
        }
        Ok(Lag {
            millis: self.millis_behind(),
            records,
        })
    }
}
