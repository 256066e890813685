//! `--keys`: the file of keys that streams are encrypted with. A running server takes up what changes in it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anabranch::{KeyRing, KeyRingError};
use tracing::{info, warn};

use super::Failure;

/// How often a server looks whether the file has changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// A file of keys, and what was read from it last.
pub(super) struct KeyFile {
    path: PathBuf,
    pub(super) keys: KeyRing,
    state: Option<FileState>,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileState {
    device: u64,
    inode: u64,
    mode: u32,
    bytes: u64,
    changed: (i64, i64),
}

impl KeyFile {
    pub(super) fn read(path: &Path) -> Result<KeyFile, Failure> {
        let state = FileState::of(path);
        let keys = KeyRing::read(path).map_err(|error| Failure::Usage(shown(path, &error)))?;
        Ok(KeyFile {
            path: path.to_owned(),
            keys,
            state,
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
        let state = FileState::of(&self.path);
        if state == self.state {
            return;
        }
        self.state = state;
        match KeyRing::read(&self.path) {
            Ok(keys) => {
                self.keys.replace(&keys);
                let ids = keys.ids();
                info!(?ids, "the file of keys has changed");
            }
            Err(error) => {
                let error = shown(&self.path, &error);
                warn!(error, "the keys that were read before stay in use");
            }
        }
    }
}

impl FileState {
    fn of(path: &Path) -> Option<FileState> {
        let metadata: Metadata = std::fs::metadata(path).ok()?;
        Some(FileState {
            device: metadata.dev(),
            inode: metadata.ino(),
            mode: metadata.mode(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

fn shown(path: &Path, error: &KeyRingError) -> String {
    match error {
        KeyRingError::File(error) => format!("--keys: {error}"),
        error => format!("--keys: {}: {error}", path.display()),
    }
}
