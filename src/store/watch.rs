//! Waiting for changes in shards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::stream::Stream;
use crate::backend::ShardLog;
use crate::error::Result;
use crate::model::ShardId;
use crate::seam::Signal;

/// Waits for something new to read in some shards of a stream: records, the end of a shard, the end of the stream or of
/// the store.
///
/// Begin to watch, then read; if there is nothing, wait and read again. Any change after a shard was added ends the
/// next wait, so nothing is missed in between. A wait may also end without anything new to read.
///
/// A watch costs writers next to nothing, and a wait costs no processor time.
///
/// ```
/// # fn main() -> anabranch::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let store = anabranch::Store::open(directory.path())?;
/// use std::time::Duration;
///
/// let stream = store.create_stream("clicks", 1)?;
/// let shard = stream.put("user-3", b"first")?.shard_id;
/// let mut watch = stream.watch(&[shard])?;
/// assert!(!watch.wait(Duration::from_millis(1)));
/// stream.put("user-3", b"second")?;
/// assert!(watch.wait(Duration::from_secs(1)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ShardWatch {
    stream: Stream,
    signal: Arc<Signal>,
    logs: BTreeMap<ShardId, Arc<dyn ShardLog>>,
}

impl Stream {
    /// Watches some shards, from now on.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use std::time::Duration;
    ///
    /// let shard = stream.describe()?.shards[0].id;
    /// let mut watch = stream.watch(&[shard])?;
    /// stream.put("user-42", b"{}")?;
    /// assert!(watch.wait(Duration::from_secs(1)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`ShardWatch::add`].
    pub fn watch(&self, shards: &[ShardId]) -> Result<ShardWatch> {
        let mut watch = ShardWatch {
            stream: self.clone(),
            signal: Arc::default(),
            logs: BTreeMap::new(),
        };
        for shard in shards {
            watch.add(*shard)?;
        }
        Ok(watch)
    }
}

impl ShardWatch {
    /// Also watches another shard, from now on. False if it is watched already.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 2)?;
    /// # let shards: Vec<_> = stream.describe()?.shards.iter().map(|shard| shard.id).collect();
    /// let mut watch = stream.watch(&shards[..1])?;
    /// assert!(watch.add(shards[1])?);
    /// assert!(!watch.add(shards[1])?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ShardNotFound`](crate::Error::ShardNotFound),
    /// [`Error::StreamNotFound`](crate::Error::StreamNotFound), [`Error::Unreadable`](crate::Error::Unreadable),
    /// [`Error::Io`](crate::Error::Io), [`Error::Closed`](crate::Error::Closed).
    pub fn add(&mut self, shard: ShardId) -> Result<bool> {
        if self.logs.contains_key(&shard) {
            return Ok(false);
        }
        let log = self.stream.log_to_watch(shard)?;
        log.changes().raise_at_each(&self.signal);
        self.logs.insert(shard, log);
        Ok(true)
    }

    /// The signal, which other changes may raise too.
    pub(crate) fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }

    /// Keeps watching only the shards for which the function returns true.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 2)?;
    /// # let shards: Vec<_> = stream.describe()?.shards.iter().map(|shard| shard.id).collect();
    /// let mut watch = stream.watch(&shards)?;
    /// watch.retain(|shard| shard == shards[0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn retain(&mut self, is_watched: impl Fn(ShardId) -> bool) {
        self.logs.retain(|shard, log| {
            let stays = is_watched(*shard);
            if !stays {
                log.changes().forget(&self.signal);
            }
            stays
        });
    }

    /// Blocks until something has changed in a shard since the last wait, or since the shard was added. False if
    /// nothing has within `limit`.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 2)?;
    /// # let shards: Vec<_> = stream.describe()?.shards.iter().map(|shard| shard.id).collect();
    /// use std::time::Duration;
    ///
    /// let mut watch = stream.watch(&shards)?;
    /// assert!(!watch.wait(Duration::ZERO));
    /// stream.put("user-42", b"{}")?;
    /// assert!(watch.wait(Duration::from_secs(1)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(&mut self, limit: Duration) -> bool {
        self.signal.wait(limit)
    }

    /// The same for a task of any runtime, without a limit. Dropping the future loses no change.
    pub async fn changed(&mut self) {
        std::future::poll_fn(|context| self.signal.poll(context)).await;
    }
}

impl Drop for ShardWatch {
    fn drop(&mut self) {
        self.retain(|_| false);
    }
}
