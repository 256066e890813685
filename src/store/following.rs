//! Takes over changes of another program that writes to the store, and changes whose outcome was unknown.

use std::sync::atomic::Ordering::Relaxed;

use super::core::StoreCore;
use super::stream_core::{PutSettings, Routing, StreamCore};
use crate::error::Result;
use crate::model::RecordDistribution;

impl StoreCore {
    /// Takes over the changes of another program, if the store follows one, and changes whose durability was unknown
    /// and is known now.
    ///
    /// # Errors
    /// The store can no longer be read.
    pub(super) fn catch_up(&self) -> Result<()> {
        if self.logs.catch_up()? {
            self.take_over_settings();
        }
        Ok(())
    }

    /// Drops the streams that were removed, and copies the settings of the others that handles use without the catalog.
    fn take_over_settings(&self) {
        for stream in self.open_streams() {
            let settings = self.catalog.read().stream(stream.id).map(PutSettings::of);
            match settings {
                Some(settings) => stream.take_over(settings),
                None => self.forget_stream(stream.id),
            }
        }
    }
}

impl StreamCore {
    fn take_over(&self, settings: PutSettings) {
        self.max_record_bytes
            .store(settings.max_record_bytes.into(), Relaxed);
        self.is_distributed
            .store(settings.distribution == RecordDistribution::Auto, Relaxed);
        self.is_encrypted.store(settings.is_encrypted, Relaxed);
        let mut routing = self.routing.write();
        if matches!(*routing, Routing::Open(_)) {
            self.carry_counts(&routing);
            *routing = Routing::Unknown;
        }
    }
}
