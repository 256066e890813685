//! The keys that segments of this store are encrypted with.

use std::path::PathBuf;
use std::sync::Arc;

use crate::catalog::{Catalog, StreamKey};
use crate::disk::Disk;
use crate::encryption::{DataKey, KeyFingerprint, KeyRing, NONCE_BYTES};
use crate::error::{Error, Result};
use crate::log::{LogIdentity, SegmentKey, SegmentKeys};

/// The catalog's settings of encryption, with the program's keys.
#[derive(Debug)]
pub(super) struct LocalKeys {
    pub(super) catalog: Arc<Catalog>,
    pub(super) ring: KeyRing,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) directory: PathBuf,
}

impl LocalKeys {
    /// The error for a missing key: has its id, if that is known.
    fn not_found(&self, log: LogIdentity, fingerprint: KeyFingerprint) -> Error {
        let state = self.catalog.read();
        let stream = log.name.stream().and_then(|stream| state.stream(stream));
        let key = stream.and_then(|stream| stream.encryption.as_ref());
        let id = key.filter(|key| key.fingerprint == Some(fingerprint));
        Error::KeyNotFound {
            id: id.map(|key| key.id.clone()),
            fingerprint: Some(fingerprint.number()),
        }
    }

    fn random<const BYTES: usize>(&self) -> Result<[u8; BYTES]> {
        let mut random = [0; BYTES];
        for bytes in random.chunks_mut(8) {
            let drawn = self.disk.entropy();
            let drawn = drawn.map_err(|error| Error::io("draw a key for", &self.directory, error))?;
            bytes.copy_from_slice(&drawn.to_le_bytes()[..bytes.len()]);
        }
        Ok(random)
    }
}

impl SegmentKeys for LocalKeys {
    fn revision(&self) -> u64 {
        // Neither ever falls, so the sum changes with each of them.
        self.catalog
            .encryption_revision()
            .wrapping_add(self.ring.changes())
    }

    fn wanted(&self, log: LogIdentity) -> Option<Option<KeyFingerprint>> {
        // Frames in the commit journal are encrypted already.
        let Some(stream) = log.name.stream() else {
            return Some(None);
        };
        let state = self.catalog.read();
        let key: Option<&StreamKey> = state.stream(stream)?.encryption.as_ref();
        Some(key.and_then(|key| key.fingerprint))
    }

    fn check(&self, log: LogIdentity, key: KeyFingerprint) -> Result<()> {
        match self.ring.has(key) {
            true => Ok(()),
            false => Err(self.not_found(log, key)),
        }
    }

    fn draw(
        &self,
        log: LogIdentity,
        salt: u64,
        wrapped_with: KeyFingerprint,
    ) -> Result<(SegmentKey, DataKey)> {
        let (key, nonce): (_, [u8; NONCE_BYTES]) = (self.random()?, self.random()?);
        let made = self.ring.wrap(wrapped_with, key, nonce, &log.associated(salt));
        let (data_key, wrapped) = made.ok_or_else(|| self.not_found(log, wrapped_with))?;
        Ok((
            SegmentKey {
                wrapped_with,
                wrapped,
            },
            data_key,
        ))
    }

    fn unwrap(&self, log: LogIdentity, salt: u64, key: &SegmentKey) -> Result<Option<DataKey>> {
        let unwrapped = self
            .ring
            .unwrap(key.wrapped_with, &key.wrapped, &log.associated(salt));
        unwrapped.ok_or_else(|| self.not_found(log, key.wrapped_with))
    }
}
