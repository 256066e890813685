//! `--keys`: the file of keys that streams are encrypted with. A running server takes up what changes in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anabranch::disk::FileVersion;
use anabranch::{KeyRing, KeyRingError};
use tracing::{info, warn};

use super::Failure;

/// How often a server looks whether the file has changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// A file of keys, and what was read from it last.
pub(super) struct KeyFile {
    path: PathBuf,
    pub(super) keys: KeyRing,
    version: Option<FileVersion>,
}

impl KeyFile {
    pub(super) fn read(path: &Path) -> Result<KeyFile, Failure> {
        let version = FileVersion::of(path);
        let keys = KeyRing::read(path).map_err(|error| Failure::Usage(shown(path, &error)))?;
        Ok(KeyFile {
            path: path.to_owned(),
            keys,
            version,
        })
    }

    /// Takes up what changes in the file, for as long as this is awaited. A file that cannot be used changes nothing.
    pub(super) async fn follow(mut self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let followed = tokio::task::spawn_blocking(move || {
                self.take_up_changes();
                self
            });
            let Ok(followed) = followed.await else { return };
            self = followed;
        }
    }

    fn take_up_changes(&mut self) {
        let version = FileVersion::of(&self.path);
        if version == self.version {
            return;
        }
        self.version = version;
        match KeyRing::read(&self.path) {
            Ok(keys) => {
                self.keys.replace(&keys);
                let keys = keys.ids().join(",");
                info!(keys, "the file of keys has changed");
            }
            Err(error) => {
                let error = shown(&self.path, &error);
                warn!(error, "the keys that were read before stay in use");
            }
        }
    }
}

fn shown(path: &Path, error: &KeyRingError) -> String {
    match error {
        KeyRingError::File(error) => format!("--keys: {error}"),
        error => format!("--keys: {}: {error}", path.display()),
    }
}
