//! The lineage for readers, including shards that have expired.

use std::borrow::Cow;

use super::log_state::LogState;
use super::stream_state::StreamState;
use crate::model::{Descent, GoneShard, Timestamp};

impl StreamState {
    /// `None` before the stream has shards. Shards behind the horizon count as expired, whether they are still listed
    /// or not.
    pub(crate) fn descent(&self, horizon: Timestamp) -> Option<Descent<'_>> {
        let lineage = self.lineage.as_ref()?;
        let mut gone = Cow::Borrowed(&self.gone);
        for shard in lineage.expired(horizon) {
            let log = self.logs.get(&shard.id);
            let end = log.and_then(LogState::end_of_records);
            gone.to_mut().note(GoneShard::of(shard, end));
        }
        Some(Descent::new(lineage, gone, horizon))
    }
}
