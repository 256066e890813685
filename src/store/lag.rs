//! How much of a stream is behind a checkpoint. Nothing is read for it but the next record of each shard.

use std::time::Duration;

use super::read::arrival_from;
use super::stream::Stream;
use crate::error::{Error, Result};
use crate::model::{Checkpoint, LogName, RecordNumber, ShardId};

/// How much of a shard a reader has not dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardLag {
    /// The shard.
    pub shard: ShardId,
    /// How many records there are. Numbers that were left out are not counted, and neither are records that have
    /// expired. In a directory some of those may be counted that a damaged place has made unreadable.
    pub records: u64,
    /// How many bytes these records take in the store, with what is stored around them. Where the reader is in the
    /// middle of what a directory keeps as one piece, of up to 64 MiB, it is as large a part of its bytes as of its
    /// records: exact where the records are equally long.
    pub bytes: u64,
    /// How long ago the next of these records arrived, by the wall clock. `None` if there is none, or if it cannot be
    /// read for damage.
    pub time: Option<Duration>,
}

impl Stream {
    /// How much of each shard is behind a checkpoint, in the order of their ids: of the shards that it has come to, and
    /// of those that descend from them. Shards that are dealt with are left out. Reads one record of each shard at
    /// most, however much there is.
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
    /// what happens on the disk.
    pub fn lag(&self, checkpoint: &Checkpoint) -> Result<Vec<ShardLag>> {
        self.check_checkpoint(checkpoint)?;
        let unread = self.read(|stream, moment| {
            let lineage = stream.lineage.as_ref();
            let horizon = stream.horizon(moment);
            Ok(lineage.map_or_else(Vec::new, |lineage| checkpoint.unread(lineage, horizon)))
        })?;
        let mut lags = Vec::new();
        for (shard, from) in unread {
            match self.lag_of(shard, from) {
                Ok(lag) => lags.push(lag),
                // It has expired meanwhile.
                Err(Error::ShardNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(lags)
    }

    fn lag_of(&self, shard: ShardId, from: RecordNumber) -> Result<ShardLag> {
        let name = LogName::Shard(self.id(), shard);
        let count = |from| {
            let pieces = self.store_core().logs.pieces(name, from)?;
            let records: u64 = pieces.iter().map(|piece| piece.records).sum();
            let bytes = pieces.iter().map(|piece| piece.bytes).sum();
            Ok::<_, Error>((records, bytes))
        };
        let none = ShardLag {
            shard,
            records: 0,
            bytes: 0,
            time: None,
        };
        if count(from)?.0 == 0 {
            // A log that has nothing more need not be opened.
            return Ok(none);
        }
        let (view, log) = self.readable(shard)?;
        let from = from.max(view.oldest(&log)?);
        let (records, bytes) = count(from)?;
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
