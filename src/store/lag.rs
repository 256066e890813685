//! How much of a stream is behind a checkpoint. Only the next record of each shard is read for it.

use std::time::Duration;

use super::read::{ShardIterator, arrival_from};
use super::stream::Stream;
use crate::error::{Error, Result};
use crate::model::{Checkpoint, LogName, RecordNumber, ShardId};

/// The part of a shard that a reader has not read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardLag {
    /// The shard.
    pub shard: ShardId,
    /// How many records there are. Numbers that were left out and expired records are not counted. In a directory some
    /// records may be counted that cannot be read because of damage.
    pub records: u64,
    /// How many bytes these records take in the store, including what is stored around them. If the reader is in the
    /// middle of what a directory keeps as one piece, of up to 64 MiB, the bytes of that piece are counted in
    /// proportion to its records: exact if the records are equally long.
    pub bytes: u64,
    /// How long ago the next of these records arrived, by the wall clock. `None` if there is none, or if damage makes
    /// it unreadable.
    pub time: Option<Duration>,
}

impl Stream {
    /// How much of each shard is behind a checkpoint, in the order of their ids, for the listed shards and those that
    /// descend from them. Shards that are read to their ends are left out. Reads at most one record of each shard,
    /// however many there are.
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
    /// let lag = stream.lag(&reader.checkpoint())?;
    /// assert_eq!((lag.len(), lag[0].records), (1, 1));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a checkpoint of another stream; otherwise as for [`summary`](Self::summary), and
    /// errors of the disk.
    pub fn lag(&self, checkpoint: &Checkpoint) -> Result<Vec<ShardLag>> {
        self.lag_from(self.unread_shards(checkpoint)?)
    }

    /// How much of one shard there is from a position on. Reads one record at most.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::StartingPosition;
    ///
    /// let first = stream.put("user-42", b"first")?;
    /// stream.put("user-42", b"second")?;
    /// let behind = StartingPosition::AfterSequenceNumber(first.sequence_number);
    /// let from = stream.shard_iterator(first.shard_id, behind)?;
    /// assert_eq!(stream.shard_lag(&from)?.records, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ShardNotFound`] once the shard has expired, [`Error::StreamNotFound`] also for an iterator of another
    /// stream; otherwise as for [`summary`](Self::summary), and errors of the disk.
    pub fn shard_lag(&self, from: &ShardIterator) -> Result<ShardLag> {
        self.check_iterator(from)?;
        self.lag_of(from.shard, from.next)
    }

    /// The shards that are not read to their ends, and the next record of each.
    pub(crate) fn unread_shards(&self, checkpoint: &Checkpoint) -> Result<Vec<(ShardId, RecordNumber)>> {
        self.check_checkpoint(checkpoint)?;
        self.read(|stream, moment| {
            let lineage = stream.lineage.as_ref();
            let horizon = stream.horizon(moment);
            Ok(lineage.map_or_else(Vec::new, |lineage| checkpoint.unread(lineage, horizon)))
        })
    }

    /// The lag from these records on. Shards that have expired are left out.
    pub(crate) fn lag_from(
        &self,
        positions: impl IntoIterator<Item = (ShardId, RecordNumber)>,
    ) -> Result<Vec<ShardLag>> {
        let mut lags = Vec::new();
        for (shard, from) in positions {
            match self.lag_of(shard, from) {
                Ok(lag) => lags.push(lag),
                // The shard has expired meanwhile.
                Err(Error::ShardNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(lags)
    }

    /// How many records of a shard have these numbers. Reads no record, so expired ones may be counted.
    pub(crate) fn count_between(&self, shard: ShardId, from: RecordNumber, to: RecordNumber) -> Result<u64> {
        let (all, _) = self.count_from(shard, from)?;
        let (behind, _) = match to {
            RecordNumber::END => (0, 0),
            to => self.count_from(shard, to)?,
        };
        Ok(all.saturating_sub(behind))
    }

    /// How many records, and bytes of them, a shard has from a number on.
    fn count_from(&self, shard: ShardId, from: RecordNumber) -> Result<(u64, u64)> {
        let name = LogName::Shard(self.id(), shard);
        let pieces = self.store_core().logs.pieces(name, from)?;
        let records = pieces.iter().map(|piece| piece.records).sum();
        let bytes = pieces.iter().map(|piece| piece.bytes).sum();
        Ok((records, bytes))
    }

    fn lag_of(&self, shard: ShardId, from: RecordNumber) -> Result<ShardLag> {
        let none = ShardLag {
            shard,
            records: 0,
            bytes: 0,
            time: None,
        };
        if self.count_from(shard, from)?.0 == 0 {
            // A log without further records need not be opened.
            return Ok(none);
        }
        let (view, log) = self.readable(shard)?;
        let from = from.max(view.oldest(&log)?);
        let (records, bytes) = self.count_from(shard, from)?;
        if records == 0 {
            return Ok(none);
        }
        let arrival = match arrival_from(&log, from) {
            Err(Error::Corrupt { .. } | Error::Unreadable { .. }) => None,
            arrival => arrival?,
        };
        Ok(ShardLag {
            shard,
            records,
            bytes,
            time: arrival.map(|arrival| view.now.since(arrival)),
        })
    }
}
