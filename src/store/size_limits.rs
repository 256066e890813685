//! Limits of a stream's size, and trimming on request.
//!
//! Both only hide records, as their age does. The logs' own house-keeping then frees what is no longer visible.

use super::core::StoreCore;
use super::read::ShardIterator;
use super::stream::Stream;
use crate::catalog::{Edit, LogState, StreamState};
use crate::error::{InvalidArgument, Result};
use crate::model::{Checkpoint, LogName, RecordNumber, ShardId, SizeLimits, StreamId, Timestamp};
use crate::seam::LogPiece;

impl Stream {
    /// Frees the records that a reader has read: records in front of a checkpoint are hidden from now on, whatever the
    /// [`Retention`](crate::Retention) is. Durable on return. The space is freed by the next round of house-keeping.
    ///
    /// Records behind the checkpoint stay, and so do all records of shards that the checkpoint has not come to. A
    /// reader that is further back gets [`Error::Trimmed`](crate::Error::Trimmed).
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("outbox", 1)?;
    /// use anabranch::StartingPosition;
    ///
    /// stream.put("order-7", b"sent")?;
    /// stream.put("order-8", b"not yet")?;
    /// let mut reader = stream.reader(StartingPosition::TrimHorizon)?;
    /// reader.next().transpose()?;
    /// stream.trim_to(&reader.checkpoint())?;
    /// let left = stream.reader(StartingPosition::TrimHorizon)?.next().transpose()?;
    /// assert_eq!(left.unwrap().data, "not yet");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for a checkpoint of another stream; otherwise as for
    /// [`summary`](Self::summary), and errors of the disk.
    pub fn trim_to(&self, checkpoint: &Checkpoint) -> Result<()> {
        self.check_checkpoint(checkpoint)?;
        let store = self.store_core();
        let id = self.id();
        store.begin(Some(id))?;
        let mut read = Vec::new();
        for (shard, next) in checkpoint.positions() {
            let is_known = self.read(|stream, _| Ok(stream.logs.contains_key(&shard)))?;
            if is_known {
                // A checkpoint that survived a crash can be ahead of the records that survived it.
                let end = store.logs.open(LogName::Shard(id, shard))?.end()?;
                read.push((shard, next.min(end.next_record)));
            }
        }
        store.catalog.commit(|state| {
            let Some(stream) = state.stream(id) else {
                return Ok(Vec::new());
            };
            Ok(hidden(id, stream, stream.before_checkpoint(&read)))
        })
    }

    /// As [`trim_to`](Self::trim_to), for one shard: hides its records in front of a position, and all records of the
    /// shards that it descends from.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("outbox", 1)?;
    /// use anabranch::StartingPosition;
    ///
    /// stream.put("order-7", b"sent")?;
    /// let put = stream.put("order-8", b"not yet")?;
    /// let at = StartingPosition::AtSequenceNumber(put.sequence_number);
    /// stream.trim_shard_to(&stream.shard_iterator(put.shard_id, at)?)?;
    /// let left = stream.reader(StartingPosition::TrimHorizon)?.next().transpose()?;
    /// assert_eq!(left.unwrap().data, "not yet");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for a position in another stream, or one behind the
    /// end of its shard, which may belong to another shard; otherwise as for [`trim_to`](Self::trim_to).
    pub fn trim_shard_to(&self, position: &ShardIterator) -> Result<()> {
        let checkpoint = Checkpoint {
            store: self.store_id(),
            stream: position.stream,
            next: [(position.shard, position.next)].into(),
        };
        self.check_checkpoint(&checkpoint)?;
        self.check_not_behind_end(position)?;
        self.trim_to(&checkpoint)
    }

    fn check_not_behind_end(&self, position: &ShardIterator) -> Result<()> {
        let log = LogName::Shard(self.id(), position.shard);
        let is_known = self.read(|stream, _| Ok(stream.logs.contains_key(&position.shard)))?;
        if !is_known {
            return Ok(());
        }
        let end = self.store_core().logs.open(log)?.end()?.next_record;
        match position.next > end {
            true => Err(InvalidArgument::PositionBehindEnd {
                shard: position.shard,
                position: position.next,
                end,
            }
            .into()),
            false => Ok(()),
        }
    }
}

impl StoreCore {
    /// Hides the oldest records of streams that exceed their limits.
    pub(super) fn hide_beyond_size_limits(&self) -> Result<()> {
        let limited: Vec<_> = {
            let state = self.catalog.read();
            let streams = state.streams();
            let limited = streams.filter(|(_, stream)| stream.size_limits != SizeLimits::NONE);
            limited
                .map(|(id, stream)| (id, stream.shards_to_measure()))
                .collect()
        };
        let mut results = Vec::new();
        for (id, shards) in limited {
            // A log that cannot be measured does not prevent others from being freed.
            results.push(self.hide_beyond_limits_of(id, shards));
        }
        results.into_iter().collect()
    }

    fn hide_beyond_limits_of(&self, id: StreamId, shards: Vec<ToMeasure>) -> Result<()> {
        let mut kept = Vec::new();
        let mut failed = Ok(());
        for shard in shards {
            let log = LogName::Shard(id, shard.id);
            match self.logs.pieces(log, RecordNumber::BEFORE_FIRST) {
                Ok(pieces) => kept.push(KeptPieces::of(shard, pieces)),
                Err(error) => failed = Err(error),
            }
        }
        let limits = match self.catalog.read().stream(id) {
            Some(stream) => stream.size_limits,
            None => return Ok(()),
        };
        let before = beyond_limits(limits, kept);
        if !before.is_empty() {
            self.catalog.commit(|state| match state.stream(id) {
                Some(stream) => Ok(hidden(id, stream, before.clone())),
                None => Ok(Vec::new()),
            })?;
        }
        failed
    }
}

/// The edit for those numbers whose shards exist and that are not hidden yet.
fn hidden(id: StreamId, stream: &StreamState, before: Vec<(ShardId, RecordNumber)>) -> Vec<Edit> {
    let is_news = |(shard, number): &(ShardId, RecordNumber)| {
        let log = stream.logs.get(shard);
        log.is_some_and(|log| log.hidden_before.is_none_or(|hidden| hidden < *number))
    };
    let before: Vec<_> = before
        .into_iter()
        .filter(is_news)
        .map(|(shard, number)| (LogName::Shard(id, shard), number))
        .collect();
    match before.is_empty() {
        true => Vec::new(),
        false => vec![Edit::RecordsHidden { before }],
    }
}

impl StreamState {
    /// The records in front of a checkpoint: the read part of its shards, and all of their ancestors.
    fn before_checkpoint(&self, read: &[(ShardId, RecordNumber)]) -> Vec<(ShardId, RecordNumber)> {
        let mut before = read.to_vec();
        let Some(lineage) = &self.lineage else {
            return before;
        };
        let mut to_look_at: Vec<_> = read.iter().map(|(shard, _)| *shard).collect();
        while let Some(shard) = to_look_at.pop() {
            for parent in lineage.parents_of(shard) {
                let is_known = before.iter().any(|(known, _)| *known == parent.id);
                let closing = self.logs.get(&parent.id).and_then(behind_closing);
                if let (false, Some(number)) = (is_known, closing) {
                    before.push((parent.id, number));
                    to_look_at.push(parent.id);
                }
            }
        }
        before
    }

    /// The shards, with what is known of them before they are measured. Later records, and a later closing, stay.
    fn shards_to_measure(&self) -> Vec<ToMeasure> {
        let lineage = self.lineage.as_ref();
        let shards = self.logs.iter().map(|(shard, log)| ToMeasure {
            id: *shard,
            behind_closing: behind_closing(log).filter(|_| !self.is_open(*shard)),
            has_parents: lineage.is_some_and(|lineage| lineage.parents_of(*shard).next().is_some()),
            hidden_before: log.hidden_before.unwrap_or(RecordNumber::BEFORE_FIRST),
        });
        shards.collect()
    }
}

/// The number before which the records of each shard are hidden. The remaining ones still reach the limits.
fn beyond_limits(limits: SizeLimits, mut kept: Vec<KeptPieces>) -> Vec<(ShardId, RecordNumber)> {
    if let Some(limit) = limits.shard_bytes {
        for shard in &mut kept {
            // A closed shard keeps its newest piece too, so that a split hides nothing.
            while shard.pieces.len() > 1 && shard.bytes_without_oldest() >= limit && shard.drop_oldest() {}
        }
    }
    if let Some(limit) = limits.stream_bytes {
        let mut bytes: u64 = kept.iter().map(|shard| shard.bytes).sum();
        loop {
            let droppable = kept.iter_mut().filter(|shard| shard.can_drop());
            let Some(oldest) = droppable.min_by_key(|shard| shard.oldest_arrival()) else {
                break;
            };
            let left = bytes - (oldest.bytes - oldest.bytes_without_oldest());
            if left < limit || !oldest.drop_oldest() {
                break;
            }
            bytes = left;
        }
        kept.iter_mut().for_each(KeptPieces::drop_if_empty);
    }
    let changed = kept.into_iter();
    changed
        .filter_map(|shard| Some((shard.shard.id, shard.before?)))
        .collect()
}

/// The number behind all records of a closed shard and behind its closing, which counts as one more.
fn behind_closing(log: &LogState) -> Option<RecordNumber> {
    log.end.map(|end| end.next_record.next())
}

/// The state of a shard before it is measured.
struct ToMeasure {
    id: ShardId,
    /// For a closed shard, which can be hidden as a whole.
    behind_closing: Option<RecordNumber>,
    has_parents: bool,
    hidden_before: RecordNumber,
}

/// The pieces of a shard that are kept so far.
struct KeptPieces {
    shard: ToMeasure,
    /// Oldest last.
    pieces: Vec<LogPiece>,
    bytes: u64,
    before: Option<RecordNumber>,
}

impl KeptPieces {
    fn of(shard: ToMeasure, mut pieces: Vec<LogPiece>) -> KeptPieces {
        // Hidden pieces are dropped without being counted.
        let hidden = pieces
            .iter()
            .skip(1)
            .take_while(|next| next.follows <= shard.hidden_before)
            .count();
        pieces.drain(..hidden);
        pieces.reverse();
        if shard
            .behind_closing
            .is_some_and(|closing| closing <= shard.hidden_before)
        {
            pieces.clear();
        }
        KeptPieces {
            bytes: pieces.iter().map(|piece| piece.bytes).sum(),
            shard,
            pieces,
            before: None,
        }
    }

    fn bytes_without_oldest(&self) -> u64 {
        self.bytes - self.pieces.last().map_or(0, |piece| piece.bytes)
    }

    fn oldest_arrival(&self) -> Option<Timestamp> {
        self.pieces.last().map(|piece| piece.last_arrival)
    }

    /// An open shard keeps its newest piece, since records will follow in it.
    fn can_drop(&self) -> bool {
        match self.shard.behind_closing {
            Some(_) => !self.pieces.is_empty(),
            None => self.pieces.len() > 1,
        }
    }

    /// False if there is no piece to drop.
    fn drop_oldest(&mut self) -> bool {
        if !self.can_drop() {
            return false;
        }
        self.bytes = self.bytes_without_oldest();
        self.pieces.pop();
        self.before = match self.pieces.last() {
            Some(next) => Some(next.follows),
            None => self.shard.behind_closing,
        };
        true
    }

    /// A closed shard without a record is dropped once its parents are.
    fn drop_if_empty(&mut self) {
        if self.pieces.is_empty() && !self.shard.has_parents {
            self.before = self.before.max(self.shard.behind_closing);
        }
    }
}
