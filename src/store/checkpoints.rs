//! Checkpoints that a stream keeps under names. They only rise, except by an explicit reset.

use std::ops::Range;
use std::sync::Arc;

use super::open_groups::OpenGroup;
use super::stream::Stream;
use crate::catalog::{CatalogState, Edit};
use crate::error::{Error, InvalidArgument, Named, Result};
use crate::model::{Advance, Checkpoint, RecordNumber, ShardId, StreamStatus, check_stream_name, limits};

impl Stream {
    /// A checkpoint that was saved under a name.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// assert!(stream.checkpoint("billing")?.is_none());
    /// stream.reader(anabranch::StartingPosition::Latest)?.save_checkpoint("billing")?;
    /// assert!(stream.checkpoint("billing")?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`summary`](Self::summary).
    pub fn checkpoint(&self, name: &str) -> Result<Option<Checkpoint>> {
        self.read(|stream, _| Ok(stream.checkpoints.get(name).cloned()))
    }

    /// The names under which checkpoints are saved, in order.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// stream.reader(anabranch::StartingPosition::Latest)?.save_checkpoint("billing")?;
    /// assert_eq!(stream.checkpoint_names()?, ["billing"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`summary`](Self::summary).
    pub fn checkpoint_names(&self) -> Result<Vec<String>> {
        self.read(|stream, _| Ok(stream.checkpoints.keys().cloned().collect()))
    }

    /// Saves a checkpoint under a name of 1 to 128 characters of `a-z A-Z 0-9 _ . -`. It replaces an earlier one,
    /// unless that is further on in any shard. A checkpoint is further on only if there are records between the two:
    /// records that have expired, or were lost in a power cut, do not count. Durable on return.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::{Error, StartingPosition};
    ///
    /// stream.put("user-42", b"{}")?;
    /// let mut reader = stream.reader(StartingPosition::TrimHorizon)?;
    /// let at_first = reader.checkpoint();
    /// reader.next().transpose()?;
    /// stream.save_checkpoint("billing", &reader.checkpoint())?;
    ///
    /// // One that has read less sets nothing back.
    /// let refused = stream.save_checkpoint("billing", &at_first);
    /// assert!(matches!(refused, Err(Error::CheckpointBehind { .. })));
    /// assert_eq!(stream.checkpoint("billing")?, Some(reader.checkpoint()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::CheckpointBehind`], which [`reset_checkpoint`](Self::reset_checkpoint) never gives;
    /// [`Error::InvalidArgument`] for the name, and for a checkpoint of another stream; otherwise as for
    /// [`summary`](Self::summary), and errors of the disk.
    pub fn save_checkpoint(&self, name: &str, checkpoint: &Checkpoint) -> Result<()> {
        self.check_to_save(name, checkpoint)?;
        self.store_core().begin(Some(self.core.id))?;
        let mut level_with = None;
        while let Some(further) = self.save_unless_behind(name, checkpoint, level_with.as_ref())? {
            // Outside the edit, since this may read.
            self.check_nothing_between(name, checkpoint, &further)?;
            level_with = Some(further);
        }
        if let Some(group) = self.core.open_groups.get(name) {
            group.notify();
        }
        Ok(())
    }

    /// Saves a checkpoint, unless the stored one has a higher number somewhere: in that case gives the stored one. A
    /// stored checkpoint that equals `level_with` is known not to be further on, and is replaced.
    fn save_unless_behind(
        &self,
        name: &str,
        checkpoint: &Checkpoint,
        level_with: Option<&Checkpoint>,
    ) -> Result<Option<Checkpoint>> {
        let mut further = None;
        self.store_core().catalog.commit(|state| {
            let stream = self.core.state(state.stream(self.core.id))?;
            let saved = stream.checkpoints.get(name);
            if saved == Some(checkpoint) {
                return Ok(Vec::new());
            }
            let is_behind = |saved: &&Checkpoint| {
                let lineage = stream.lineage.as_ref();
                lineage.is_some_and(|lineage| !checkpoint.behind(saved, lineage).is_empty())
            };
            further = saved
                .filter(|saved| level_with != Some(*saved))
                .filter(is_behind)
                .cloned();
            Ok(match further {
                Some(_) => Vec::new(),
                None => vec![self.checkpoint_saved(name, checkpoint)],
            })
        })?;
        Ok(further)
    }

    /// Refuses a checkpoint if records exist between it and `saved`. Records that have expired, were lost in a power
    /// cut, or never existed, do not count.
    fn check_nothing_between(&self, name: &str, checkpoint: &Checkpoint, saved: &Checkpoint) -> Result<()> {
        let behind = self.read(|stream, _| {
            let lineage = stream.lineage.as_ref();
            Ok(lineage.map_or_else(Vec::new, |lineage| checkpoint.behind(saved, lineage)))
        })?;
        for (shard, numbers) in behind {
            if self.has_record_in(shard, &numbers)? {
                return Err(Error::CheckpointBehind {
                    stream: self.name().to_owned(),
                    checkpoint: name.to_owned(),
                    shard,
                    saved: numbers.end,
                });
            }
        }
        Ok(())
    }

    fn has_record_in(&self, shard: ShardId, numbers: &Range<RecordNumber>) -> Result<bool> {
        let has_record = self
            .readable(shard)
            .and_then(|(view, log)| view.has_record_in(&log, numbers));
        match has_record {
            Err(Error::ShardNotFound { .. }) => Ok(false),
            // There may be some.
            Err(Error::Corrupt { .. } | Error::Unreadable { .. } | Error::KeyNotFound { .. }) => Ok(true),
            has_record => has_record,
        }
    }

    /// Saves a checkpoint in place of the stored one, even if that is further on, so that records are read again.
    /// Durable on return. All members of a [group](Self::group) of this name lose their leases.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::StartingPosition;
    ///
    /// stream.put("user-42", b"{}")?;
    /// let mut reader = stream.reader(StartingPosition::TrimHorizon)?;
    /// let at_first = reader.checkpoint();
    /// assert_eq!(reader.by_ref().count(), 1);
    /// reader.save_checkpoint("billing")?;
    /// stream.reset_checkpoint("billing", &at_first)?;
    /// assert_eq!(stream.resume_reader("billing", StartingPosition::Latest)?.count(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`save_checkpoint`](Self::save_checkpoint), without [`Error::CheckpointBehind`].
    pub fn reset_checkpoint(&self, name: &str, checkpoint: &Checkpoint) -> Result<()> {
        self.set_checkpoint(name, checkpoint, |_| Ok(()))
    }

    /// As [`reset_checkpoint`](Self::reset_checkpoint), but only if the stored checkpoint is the expected one; `None`
    /// expects that there is none.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::{Error, StartingPosition};
    ///
    /// let latest = stream.reader(StartingPosition::Latest)?.checkpoint();
    /// stream.compare_and_set_checkpoint("billing", None, &latest)?;
    /// let again = stream.compare_and_set_checkpoint("billing", None, &latest);
    /// assert!(matches!(again, Err(Error::CheckpointChanged { .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::CheckpointChanged`]; otherwise as for [`reset_checkpoint`](Self::reset_checkpoint).
    pub fn compare_and_set_checkpoint(
        &self,
        name: &str,
        expected: Option<&Checkpoint>,
        checkpoint: &Checkpoint,
    ) -> Result<()> {
        self.set_checkpoint(name, checkpoint, |saved| match saved == expected {
            true => Ok(()),
            false => Err(Error::CheckpointChanged {
                stream: self.name().to_owned(),
                checkpoint: name.to_owned(),
            }),
        })
    }

    fn set_checkpoint(
        &self,
        name: &str,
        checkpoint: &Checkpoint,
        check: impl Fn(Option<&Checkpoint>) -> Result<()>,
    ) -> Result<()> {
        self.check_to_save(name, checkpoint)?;
        self.store_core().begin(Some(self.core.id))?;
        let plan = |state: &CatalogState| {
            let stream = self.core.state(state.stream(self.core.id))?;
            check(stream.checkpoints.get(name))?;
            Ok(vec![self.checkpoint_saved(name, checkpoint)])
        };
        let mut reset = None;
        // In the order of edits: a later commit of records that a member was given before is refused.
        let set = self
            .store_core()
            .catalog
            .commit_then(plan, || reset = self.core.open_groups.reset(name));
        if let Some(group) = reset {
            group.notify();
        }
        set
    }

    /// Removes a checkpoint, and with it the [group](Self::group) of this name. Does nothing if there is none.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// stream.reader(anabranch::StartingPosition::Latest)?.save_checkpoint("billing")?;
    /// stream.remove_checkpoint("billing")?;
    /// assert!(stream.checkpoint_names()?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`save_checkpoint`](Self::save_checkpoint).
    pub fn remove_checkpoint(&self, name: &str) -> Result<()> {
        self.store_core().begin(Some(self.core.id))?;
        let plan = |state: &CatalogState| {
            let stream = self.core.state(state.stream(self.core.id))?;
            if !stream.checkpoints.contains_key(name) {
                return Ok(Vec::new());
            }
            Ok(vec![Edit::CheckpointRemoved {
                stream: self.core.id,
                name: name.to_owned(),
            }])
        };
        let mut ended = None;
        let removed = self
            .store_core()
            .catalog
            .commit_then(plan, || ended = self.core.open_groups.end(name));
        if let Some(group) = ended {
            group.notify();
        }
        removed
    }

    /// Saves a group's first checkpoint, unless it has one.
    pub(crate) fn begin_group(&self, name: &str, checkpoint: &Checkpoint) -> Result<()> {
        self.check_checkpoint(checkpoint)?;
        if checkpoint.next.is_empty() {
            // The stream had no shards yet, and the group would never get any.
            return Err(self.core.not_active(StreamStatus::Creating));
        }
        self.store_core().begin(Some(self.core.id))?;
        self.store_core().catalog.commit(|state| {
            let stream = self.core.state(state.stream(self.core.id))?;
            if stream.checkpoints.contains_key(name) {
                return Ok(Vec::new());
            }
            let limit = limits::MAX_GROUPS_PER_STREAM;
            match stream.checkpoints.len() < limit {
                true => Ok(vec![self.checkpoint_saved(name, checkpoint)]),
                false => Err(Error::TooManyGroups {
                    stream: self.name().to_owned(),
                    limit,
                }),
            }
        })
    }

    /// The state that the members of a group share, which is made if there is none yet.
    pub(crate) fn open_group(
        &self,
        name: &str,
        make: impl FnOnce() -> Arc<dyn OpenGroup>,
    ) -> Arc<dyn OpenGroup> {
        self.core.open_groups.get_or_make(name, make)
    }

    /// Notes a group's new position in a shard, unless the position is noted already. `permit` decides, in the order of
    /// edits, whether it may; it must not call the store except for the time. Durable on return.
    pub(crate) fn advance_group(
        &self,
        name: &str,
        shard: ShardId,
        advance: Advance,
        permit: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let store = self.store_core();
        store.check_takes_changes()?;
        store.catalog.commit(|state| {
            let moment = store.time.moment();
            let stream = self.core.state(state.stream(self.core.id))?;
            let checkpoint = stream.checkpoints.get(name);
            let checkpoint = checkpoint.ok_or_else(|| self.group_not_found(name))?;
            permit()?;
            let descent = || stream.descent(stream.horizon(moment));
            let next = checkpoint.changes(shard, advance, descent);
            let edit = (!next.is_empty()).then(|| Edit::CheckpointAdvanced {
                stream: self.core.id,
                name: name.to_owned(),
                next,
            });
            Ok(edit.into_iter().collect())
        })
    }

    /// Refuses if no checkpoint can be saved, because the store is only read, or closed.
    pub(crate) fn check_takes_checkpoints(&self) -> Result<()> {
        self.store_core().check_takes_changes()
    }

    pub(crate) fn group_not_found(&self, name: &str) -> Error {
        Error::GroupNotFound {
            stream: self.name().to_owned(),
            group: name.to_owned(),
        }
    }

    /// Refuses a checkpoint of another stream.
    pub(crate) fn check_checkpoint(&self, checkpoint: &Checkpoint) -> Result<()> {
        if (checkpoint.store, checkpoint.stream) == (self.store_id(), self.id()) {
            return Ok(());
        }
        Err(Error::InvalidArgument(InvalidArgument::ForeignCheckpoint {
            name: self.name().to_owned(),
            of: (checkpoint.store, checkpoint.stream),
            used_with: (self.store_id(), self.id()),
        }))
    }

    fn check_to_save(&self, name: &str, checkpoint: &Checkpoint) -> Result<()> {
        self.check_checkpoint(checkpoint)?;
        check_stream_name(name).map_err(|error| Error::bad_name(Named::Checkpoint, name, error))
    }

    fn checkpoint_saved(&self, name: &str, checkpoint: &Checkpoint) -> Edit {
        Edit::CheckpointSaved {
            stream: self.core.id,
            name: name.to_owned(),
            checkpoint: checkpoint.clone(),
        }
    }
}
