//! When the oldest record of a stream arrived.

use std::collections::BTreeMap;

use super::read::first_visible;
use super::stream::Stream;
use crate::catalog::LogState;
use crate::error::{Error, Result};
use crate::model::{RecordNumber, ShardId, Timestamp};

impl Stream {
    /// When the oldest readable record arrived; `None` if there is none.
    ///
    /// Reads the first record of each shard that has any, and remembers it. A later call only reads a shard again if
    /// that record has expired. A shard that cannot be read there, because of damage or a missing key, does not count.
    /// May block.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// assert_eq!(stream.oldest_arrival()?, None);
    /// stream.put("user-42", b"{}")?;
    /// let age = store.now().since(stream.oldest_arrival()?.unwrap());
    /// # assert!(age.as_secs() < 3_600);
    /// println!("{} ms old", age.as_millis());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::StreamNotFound`] once the stream is deleted, [`Error::Io`], [`Error::Closed`].
    pub fn oldest_arrival(&self) -> Result<Option<Timestamp>> {
        self.store_core().begin(Some(self.id()))?;
        self.look_for_oldest(usize::MAX)?;
        self.oldest_arrival_at_once()
    }

    /// Brings the known oldest records up to date, but looks into at most `most` shards of which nothing was known: for
    /// each a log may have to be opened. Gives how many these were. Waits for the disk.
    pub(crate) fn look_for_oldest(&self, most: usize) -> Result<usize> {
        let (horizon, shards) = self.visible_shards()?;
        let known = self.core.oldest.lock().by_shard.clone();
        let mut found = BTreeMap::new();
        let mut new = 0;
        for (shard, visible_from) in shards {
            let is_visible = |(number, arrival): &(_, _)| *number >= visible_from && *arrival >= horizon;
            let oldest = match known.get(&shard) {
                Some(Some(oldest)) if is_visible(oldest) => Some(*oldest),
                Some(_) => self.oldest_record_of(shard)?,
                None if new == most => continue,
                None => {
                    new += 1;
                    self.oldest_record_of(shard)?
                }
            };
            found.insert(shard, oldest);
        }
        self.core.oldest.lock().by_shard = found;
        Ok(new)
    }

    /// The result of [`look_for_oldest`](Self::look_for_oldest). Until that has looked into all shards, the result of
    /// the last complete look. Waits for nothing.
    pub(crate) fn oldest_arrival_at_once(&self) -> Result<Option<Timestamp>> {
        let (_, shards) = self.visible_shards()?;
        let mut oldest = self.core.oldest.lock();
        let of_shards: Option<Vec<_>> = (shards.iter())
            .map(|(shard, _)| oldest.by_shard.get(shard).copied())
            .collect();
        if let Some(of_shards) = of_shards {
            oldest.of_all = of_shards.into_iter().flatten().map(|(_, arrival)| arrival).min();
        }
        Ok(oldest.of_all)
    }

    /// The shards that may have a visible record, each with the number from which on records are visible, and the time.
    fn visible_shards(&self) -> Result<(Timestamp, Vec<(ShardId, RecordNumber)>)> {
        self.store_core().read_stream(&self.core, |stream, moment| {
            let horizon = stream.horizon(moment);
            let logs = stream.logs.iter();
            let shards = logs.filter_map(|(shard, log)| Some((*shard, visible_from(log, horizon)?)));
            Ok((horizon, shards.collect()))
        })
    }

    fn oldest_record_of(&self, shard: ShardId) -> Result<Option<(RecordNumber, Timestamp)>> {
        let found = self
            .readable_as_it_is(shard)
            .and_then(|(view, log)| view.oldest_record(&log));
        match found {
            Err(
                Error::ShardNotFound { .. }
                | Error::Corrupt { .. }
                | Error::Unreadable { .. }
                | Error::KeyNotFound { .. },
            ) => Ok(None),
            found => found,
        }
    }
}

/// The number from which on records of a log are visible; `None` if it is known that there are none. Most logs of a
/// large stream may never have had any, and are not opened for this.
fn visible_from(log: &LogState, horizon: Timestamp) -> Option<RecordNumber> {
    let from = first_visible(log).unwrap_or(RecordNumber::FIRST);
    let has_any = log
        .end
        .is_none_or(|end| end.next_record > from && end.last_arrival >= horizon);
    has_any.then_some(from)
}
