//! Steps that make a stream keep less.

use anabranch::{Checkpoint, SizeLimits, StartingPosition, Stream};

use crate::step::READER;
use crate::world::{Failure, Stop, World};

impl World {
    pub fn trim(&mut self, at: usize, records: usize) -> Result<Option<Failure>, Stop> {
        let stream = self.stream(&self.model.streams[at].name.clone())?;
        let read = stream.reader(StartingPosition::TrimHorizon).and_then(|reader| {
            // A limit of size can hide the first records of a child while its parent still shows its last.
            let mut reader = reader.skip_trimmed();
            reader
                .by_ref()
                .take(records)
                .try_for_each(|record| record.map(drop))?;
            Ok(reader.checkpoint())
        });
        match read {
            Ok(checkpoint) => self.trim_to(at, &stream, &checkpoint),
            Err(error) => Ok(Some(self.judge("read what is to be trimmed", &error)?)),
        }
    }

    pub fn trim_to_saved(&mut self, at: usize) -> Result<Option<Failure>, Stop> {
        let stream = self.stream(&self.model.streams[at].name.clone())?;
        let saved = self.model.streams[at].checkpoints.get(READER);
        match saved.and_then(|saved| saved.is.clone()) {
            Some(checkpoint) => self.trim_to(at, &stream, &checkpoint),
            None => Ok(None),
        }
    }

    fn trim_to(
        &mut self,
        at: usize,
        stream: &Stream,
        checkpoint: &Checkpoint,
    ) -> Result<Option<Failure>, Stop> {
        // The model learns the numbers of all records.
        self.look()?;
        let trim = self.model.streams[at].hidden_by_trim(checkpoint);
        let known = self.model.streams[at].may_hide(&trim);
        match stream.trim_to(checkpoint) {
            Ok(()) => {
                self.model.streams[at].hide(&trim);
                Ok(None)
            }
            Err(error) => self.failed("trim", &error, |world| {
                world.model.streams[at].take_back(known);
            }),
        }
    }

    pub fn limit(&mut self, at: usize, limits: SizeLimits) -> Result<Option<Failure>, Stop> {
        if !self.settings.transition_delay.is_zero() {
            return Ok(None);
        }
        let stream = self.stream(&self.model.streams[at].name.clone())?;
        if self.model.streams[at].pending.is_some() {
            return self.be_refused_while_updating("keep less", &stream.set_size_limits(limits));
        }
        self.model.streams[at].limits.maybe = Some(limits);
        match stream.set_size_limits(limits) {
            Ok(()) => {
                self.model.streams[at].limits.settle();
                Ok(None)
            }
            Err(error) => self.failed("limit the size", &error, |world| {
                world.model.streams[at].limits.maybe = None;
            }),
        }
    }
}
