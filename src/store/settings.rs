//! Changing a stream's settings.

use std::sync::atomic::Ordering::Relaxed;

use super::core::StoreCore;
use super::stream_core::StreamCore;
use crate::catalog::{Edit, Lifecycle, Resource, Setting, StreamState};
use crate::error::Result;
use crate::model::RecordDistribution;

impl StoreCore {
    /// Changes settings of an active stream at once, unless a check in the same step refuses it.
    pub(super) fn set_at_once(
        &self,
        stream: &StreamCore,
        settings: &[Setting],
        check: impl Fn(&StreamState) -> Result<()>,
    ) -> Result<()> {
        // Checked first, so that a refusal does not wait for another thread's change.
        stream.active_state(&self.catalog.read())?;
        let _one_at_a_time = stream.lock_to_change();
        self.catalog.commit(|state| {
            check(stream.active_state(state)?)?;
            Ok(stream.edits_of(settings))
        })?;
        stream.note(settings);
        Ok(())
    }

    /// Ends a due change of settings. The caller holds `changing`.
    pub(super) fn finish_settings(
        &self,
        stream: &StreamCore,
        settings: &[Setting],
        expected: &Lifecycle,
    ) -> Result<()> {
        self.end_change(stream, expected, stream.edits_of(settings))?;
        stream.note(settings);
        Ok(())
    }
}

impl StreamCore {
    fn edits_of(&self, settings: &[Setting]) -> Vec<Edit> {
        let edit = |setting: &Setting| Edit::SettingChanged {
            resource: Resource::Stream(self.id),
            setting: setting.clone(),
        };
        settings.iter().map(edit).collect()
    }

    /// Copies the settings that puts read without the catalog.
    fn note(&self, settings: &[Setting]) {
        for setting in settings {
            match setting {
                Setting::MaxRecordBytes(bytes) => self.max_record_bytes.store((*bytes).into(), Relaxed),
                Setting::Distribution(distribution) => {
                    let is_distributed = *distribution == RecordDistribution::Auto;
                    self.is_distributed.store(is_distributed, Relaxed);
                }
                // The records that were put before do not count for the scaling of a stream on demand.
                Setting::Mode(_) => drop(self.take_counts()),
                Setting::Encryption(key) => self.is_encrypted.store(key.is_some(), Relaxed),
                Setting::Retention { .. }
                | Setting::SizeLimits(_)
                | Setting::WarmThroughput(_)
                | Setting::VisibilityTimeout { .. }
                | Setting::MaxReceiveCount(_)
                | Setting::Freshness { .. } => {}
            }
        }
    }
}
