//! Encrypting a group's records.

use std::path::Path;
use std::sync::Arc;

use super::resources::LogResources;
use crate::encryption::{DataKey, NONCE_BYTES};
use crate::error::{Error, Result};
use crate::log::format::frame::{FrameHeader, HEADER_BYTES};

/// The key and the random part of the nonce of one frame. They are obtained before the frame's place is made ready:
/// once the ledger knows of a new segment, nothing may prevent the frame.
#[derive(Debug)]
pub(super) struct Sealing {
    key: Arc<DataKey>,
    random: u64,
}

impl Sealing {
    /// Draws them for the next frame of a segment, if the segment has a key.
    pub(super) fn draw(
        key: Option<Arc<DataKey>>,
        resources: &LogResources,
        directory: &Path,
    ) -> Result<Option<Self>> {
        let Some(key) = key else { return Ok(None) };
        let random = resources.disk.entropy();
        let random = random.map_err(|error| Error::io("draw a nonce for", directory, error))?;
        Ok(Some(Self { key, random }))
    }

    /// Encrypts the records, which follow the header.
    pub(super) fn seal(self, header: &FrameHeader, buffer: &mut Vec<u8>) {
        // Within one store the position would be enough, since each frame is written at its own position. But a copy of
        // the store, for example a restored backup, goes on at the same positions with the same key.
        let mut nonce = [0; NONCE_BYTES];
        nonce[..8].copy_from_slice(&self.random.to_le_bytes());
        nonce[8..].copy_from_slice(&(header.position.0 as u32).to_le_bytes());
        let sealed = self.key.seal(buffer, HEADER_BYTES, nonce, &header.associated());
        sealed.expect("a group is far shorter than what the cipher takes");
    }
}
