//! All shards of a stream, read in the order of their lineage: a shard begins once all its parents have been read to
//! their ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anabranch::{ShardFilter, ShardId, StartingPosition, Timestamp};

use super::super::Failure;
use super::target::{Page, ReadRecord, ShardRow, Target};
use super::until::Until;

/// Reads a stream from a position on. Each shard is read in order; shards take turns.
pub(super) struct LineageReader<'t, T: Target> {
    target: &'t mut T,
    stream: String,
    /// The shards still to be read in this round, and those that were read.
    left: VecDeque<(ShardId, T::Cursor)>,
    done: VecDeque<(ShardId, T::Cursor)>,
    /// All shards that were begun, and those of them that were read to their ends.
    begun: BTreeSet<ShardId>,
    drained: BTreeSet<ShardId>,
    /// Whether records were found in this round.
    has_news: bool,
    /// Whether shards may be ready to begin.
    is_any_drained: bool,
    /// Where each shard ends, unless reading continues for ever.
    until: Option<Until>,
    /// The last sequence number that was read of each shard.
    last: BTreeMap<ShardId, String>,
}

impl<'t, T: Target> LineageReader<'t, T> {
    /// Begins with the shards that contain the position.
    pub(super) fn open(target: &'t mut T, stream: &str, from: StartingPosition) -> Result<Self, Failure> {
        let shards = match from {
            StartingPosition::Latest => target.shards(stream, ShardFilter::AtLatest)?,
            StartingPosition::AtTimestamp(time) => target.shards(stream, ShardFilter::AtTimestamp(time))?,
            _ => roots(target.shards(stream, ShardFilter::FromTrimHorizon)?),
        };
        let mut reader = Self {
            target,
            stream: stream.to_owned(),
            left: VecDeque::new(),
            done: VecDeque::new(),
            begun: BTreeSet::new(),
            drained: BTreeSet::new(),
            has_news: false,
            is_any_drained: false,
            until: None,
            last: BTreeMap::new(),
        };
        for shard in shards {
            reader.begin(shard.id, from)?;
        }
        Ok(reader)
    }

    /// Some records of one shard, in order, and at most `limit`; `None` if there are none now.
    pub(super) fn next(&mut self, limit: usize) -> Result<Option<Vec<ReadRecord>>, Failure> {
        loop {
            let Some((shard, mut cursor)) = self.left.pop_front() else {
                if !self.begin_round()? {
                    return Ok(None);
                }
                continue;
            };
            let mut page = match self.target.read(&mut cursor, limit) {
                Ok(page) => page,
                Err(failure) => {
                    // It can be tried again.
                    self.left.push_front((shard, cursor));
                    return Err(failure);
                }
            };
            let is_over = self.until.is_some_and(|until| until.ends(&mut page));
            let Page {
                records,
                is_at_head,
                is_drained,
                ..
            } = page;
            self.has_news |= !records.is_empty() || !is_at_head || is_drained;
            if is_drained {
                self.note_drained(shard);
            } else if !is_over {
                self.done.push_back((shard, cursor));
            }
            if let Some(last) = records.last() {
                self.last.insert(shard, last.sequence_number.clone());
                return Ok(Some(records));
            }
        }
    }

    /// Ends each shard there, also shards that are begun later.
    pub(super) fn end_at(&mut self, until: Until) {
        self.until = Some(until);
    }

    /// The position up to which each shard was read, for people who continue.
    pub(super) fn last_read(&self) -> String {
        if self.last.is_empty() {
            return "No record was read before.".to_owned();
        }
        let lines = self
            .last
            .iter()
            .map(|(shard, number)| format!("\n  {shard} {number}"));
        format!(
            "The last record of each shard that was read before:{}",
            lines.collect::<String>()
        )
    }

    /// The arrival of the oldest record. The first record of a shard is older than all records of its descendants.
    pub(super) fn oldest_arrival(mut self) -> Result<Option<Timestamp>, Failure> {
        let mut oldest = None;
        loop {
            let Some((shard, mut cursor)) = self.left.pop_front() else {
                if !std::mem::take(&mut self.is_any_drained) {
                    return Ok(oldest);
                }
                self.begin_ready()?;
                continue;
            };
            loop {
                let page = self.target.read(&mut cursor, 1)?;
                let first = page.records.first().map(|record| record.arrival);
                oldest = oldest.into_iter().chain(first).min();
                if first.is_none() && page.is_drained {
                    self.note_drained(shard);
                }
                if first.is_some() || page.is_at_head || page.is_drained {
                    break;
                }
            }
        }
    }

    /// Begins a round with all shards; false if the last round had no new records.
    fn begin_round(&mut self) -> Result<bool, Failure> {
        self.left.append(&mut self.done);
        // A shard that has expired meanwhile is drained at once.
        while self.is_any_drained {
            self.is_any_drained = false;
            if let Err(failure) = self.begin_ready() {
                self.is_any_drained = true;
                return Err(failure);
            }
        }
        let has_news = std::mem::take(&mut self.has_news);
        Ok(has_news && !self.left.is_empty())
    }

    /// Begins the shards whose parents are all drained, or do not exist any more.
    fn begin_ready(&mut self) -> Result<(), Failure> {
        let listed = self.target.shards(&self.stream, ShardFilter::FromTrimHorizon)?;
        for shard in ready(listed, &self.begun, &self.drained) {
            self.begin(shard.id, StartingPosition::TrimHorizon)?;
        }
        Ok(())
    }

    fn begin(&mut self, shard: ShardId, from: StartingPosition) -> Result<(), Failure> {
        let cursor = self.target.cursor(&self.stream, shard, from)?;
        self.begun.insert(shard);
        match cursor {
            Some(cursor) => self.left.push_back((shard, cursor)),
            // It has expired since it was listed.
            None => self.note_drained(shard),
        }
        Ok(())
    }

    fn note_drained(&mut self, shard: ShardId) {
        self.drained.insert(shard);
        self.is_any_drained = true;
        self.has_news = true;
    }
}

/// The listed shards that can be begun: all their parents are drained, or do not exist any more.
pub(super) fn ready(
    listed: Vec<ShardRow>,
    begun: &BTreeSet<ShardId>,
    drained: &BTreeSet<ShardId>,
) -> Vec<ShardRow> {
    let listed: BTreeMap<_, _> = listed.into_iter().map(|shard| (shard.id, shard)).collect();
    let behind = ancestors(&listed, begun);
    let is_over = |parent: &ShardId| drained.contains(parent) || !listed.contains_key(parent);
    let is_ready = |shard: &&ShardRow| {
        !begun.contains(&shard.id) && !behind.contains(&shard.id) && shard.parents.iter().all(is_over)
    };
    listed.values().filter(is_ready).cloned().collect()
}

/// The shards without a parent that still exists.
pub(super) fn roots(shards: Vec<ShardRow>) -> Vec<ShardRow> {
    let ids: BTreeSet<_> = shards.iter().map(|shard| shard.id).collect();
    let is_root = |shard: &ShardRow| !shard.parents.iter().any(|parent| ids.contains(parent));
    shards.into_iter().filter(is_root).collect()
}

/// The ancestors of these shards.
fn ancestors(listed: &BTreeMap<ShardId, ShardRow>, of: &BTreeSet<ShardId>) -> BTreeSet<ShardId> {
    let mut found = BTreeSet::new();
    let mut unvisited: Vec<_> = of.iter().copied().collect();
    while let Some(id) = unvisited.pop() {
        for parent in listed.get(&id).into_iter().flat_map(|shard| &shard.parents) {
            if found.insert(*parent) {
                unvisited.push(*parent);
            }
        }
    }
    found
}
