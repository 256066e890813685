//! When the oldest record of a stream arrived.

use std::collections::BTreeMap;

use super::read::first_visible;
use super::stream::Stream;
use crate::catalog::LogState;
use crate::error::{Error, Result};
use crate::model::{RecordNumber, ShardId, Timestamp};

impl Stream {
    /// When the oldest record arrived that can be read; `None` if there is none.
    ///
    /// Reads the first record of each shard that has any, and remembers it: asked again, it only reads where that record has
    /// expired. A shard that cannot be read there, since it is damaged or its key is missing, does not count. May block.
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
        let (horizon, shards) = self.read(|stream, moment| {
            let horizon = stream.horizon(moment);
            let logs = stream.logs.iter();
            let shards = logs.filter_map(|(shard, log)| Some((*shard, visible_from(log, horizon)?)));
            Ok((horizon, shards.collect::<Vec<_>>()))
        })?;
        let known = self.core.oldest.lock().clone();
        let mut found = BTreeMap::new();
        for (shard, visible_from) in shards {
            let known = known.get(&shard).copied();
            let is_visible = |(number, arrival): &(_, _)| *number >= visible_from && *arrival >= horizon;
            let oldest = match known.filter(is_visible) {
                Some(known) => Some(known),
                None => self.oldest_record_of(shard)?,
            };
            found.extend(oldest.map(|oldest| (shard, oldest)));
        }
        let oldest = found.values().map(|(_, arrival)| *arrival).min();
        *self.core.oldest.lock() = found;
        Ok(oldest)
    }

    fn oldest_record_of(&self, shard: ShardId) -> Result<Option<(RecordNumber, Timestamp)>> {
        let found = self
            .readable(shard)
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

/// The number from which on records of a log can be seen, unless it is known that there are none. Most logs of a large
/// stream may never have had any, and are not opened for this.
fn visible_from(log: &LogState, horizon: Timestamp) -> Option<RecordNumber> {
    let from = first_visible(log).unwrap_or(RecordNumber::FIRST);
    let has_any = log
        .end
        .is_none_or(|end| end.next_record > from && end.last_arrival >= horizon);
    has_any.then_some(from)
}
