//! Checkpoints that outlive their readers.

use super::reader::StreamReader;
use crate::error::Result;
use crate::model::Checkpoint;
use crate::store::Stream;

impl Stream {
    /// A reader that goes on at the checkpoint under this name ([`save_checkpoint`](StreamReader::save_checkpoint)),
    /// or, if there is none, begins at `otherwise`.
    ///
    /// # Errors
    /// As for [`reader`](Self::reader).
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let store = anabranch::Store::open(directory.path())?;
    /// use anabranch::StartingPosition;
    ///
    /// let stream = store.create_stream("orders", 2)?;
    /// stream.put("customer-1", b"first")?;
    /// let mut reader = stream.resume_reader("billing", StartingPosition::TrimHorizon)?;
    /// assert_eq!(reader.by_ref().count(), 1);
    /// reader.save_checkpoint("billing")?;
    ///
    /// stream.put("customer-1", b"second")?;
    /// let mut after_a_restart = stream.resume_reader("billing", StartingPosition::TrimHorizon)?;
    /// let record = after_a_restart.next().unwrap()?;
    /// assert_eq!(&record.data[..], b"second");
    /// # Ok(())
    /// # }
    /// ```
    pub fn resume_reader(&self, name: &str, otherwise: crate::StartingPosition) -> Result<StreamReader> {
        match self.checkpoint(name)? {
            Some(checkpoint) => self.reader_from(checkpoint),
            None => self.reader(otherwise),
        }
    }

    /// A reader that goes on from a checkpoint of this stream.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::StartingPosition;
    ///
    /// let reader = stream.reader(StartingPosition::TrimHorizon)?;
    /// let checkpoint = reader.checkpoint();
    /// assert_eq!(stream.reader_from(checkpoint)?.count(), 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for a checkpoint of another stream, also of an earlier
    /// one of the same name.
    pub fn reader_from(&self, checkpoint: Checkpoint) -> Result<StreamReader> {
        self.check_checkpoint(&checkpoint)?;
        Ok(StreamReader::resume(self.clone(), checkpoint))
    }
}

impl StreamReader {
    /// Saves this reader's checkpoint under a name of 1 to 128 characters of `a-z A-Z 0-9 _ . -`: all records that it
    /// returned so far count as processed. Durable on return. A stored checkpoint only rises: a reader that is behind
    /// it changes nothing, and gets an error.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::StartingPosition;
    ///
    /// stream.put("user-42", b"{}")?;
    /// let mut reader = stream.reader(StartingPosition::TrimHorizon)?;
    /// reader.next().transpose()?;
    /// // What the record asked for is done.
    /// reader.save_checkpoint("billing")?;
    /// assert_eq!(stream.resume_reader("billing", StartingPosition::TrimHorizon)?.count(), 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::CheckpointBehind`](crate::Error::CheckpointBehind) if the stored checkpoint is further on in some
    /// shard; [`Stream::reset_checkpoint`] sets it back. [`Error::InvalidArgument`](crate::Error::InvalidArgument) for
    /// the name; errors of the disk.
    pub fn save_checkpoint(&self, name: &str) -> Result<()> {
        self.stream().save_checkpoint(name, &self.checkpoint())
    }
}
