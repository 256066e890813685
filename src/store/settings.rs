//! Ending a change of a stream's settings.

use std::sync::atomic::Ordering::Relaxed;

use super::core::StoreCore;
use super::stream_core::StreamCore;
use crate::catalog::{Edit, Lifecycle, Resource, Setting};
use crate::error::Result;
use crate::model::RecordDistribution;

impl StoreCore {
    pub(super) fn finish_setting(
        &self,
        stream: &StreamCore,
        setting: Setting,
        expected: &Lifecycle,
    ) -> Result<()> {
        self.end_change(stream, expected, vec![stream.has(setting)])?;
        stream.note(setting);
        Ok(())
    }
}

impl StreamCore {
    pub(super) fn has(&self, setting: Setting) -> Edit {
        Edit::SettingChanged {
            resource: Resource::Stream(self.id),
            setting,
        }
    }

    /// Puts read some settings without the catalog.
    pub(super) fn note(&self, setting: Setting) {
        match setting {
            Setting::MaxRecordBytes(bytes) => self.max_record_bytes.store(bytes.into(), Relaxed),
            Setting::Distribution(distribution) => {
                let is_distributed = distribution == RecordDistribution::Auto;
                self.is_distributed.store(is_distributed, Relaxed);
            }
            // What was put before is none of the load that a stream on demand is scaled by.
            Setting::Mode(_) => drop(self.take_counts()),
            Setting::Retention { .. } | Setting::WarmThroughput(_) => {}
        }
    }
}
