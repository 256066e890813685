//! `--keys` and `--credentials`: files with secrets. A running server follows their changes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anabranch::disk::FileVersion;
use anabranch::kinesis::{Credentials, CredentialsError};
use anabranch::{KeyRing, KeyRingError};
use tracing::{info, warn};

use super::Failure;

/// How often a server checks whether a file has changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// The contents of such a file. Clones share them.
pub(super) trait Secrets: Sized + Send + 'static {
    /// Reads them, or gives the reason why it cannot.
    fn read(path: &Path) -> Result<Self, String>;

    /// Replaces these contents by the changed ones.
    fn take_up(&self, changed: &Self);
}

/// A file with secrets, and the contents that were read last.
#[derive(Debug)]
pub(super) struct SecretFile<S> {
    path: PathBuf,
    pub(super) secrets: S,
    version: Option<FileVersion>,
}

impl<S: Secrets> SecretFile<S> {
    pub(super) fn read(path: &Path) -> Result<SecretFile<S>, Failure> {
        // Read before the contents, so that a change in between causes another read.
        let version = FileVersion::of(path);
        let secrets = S::read(path).map_err(Failure::Usage)?;
        Ok(SecretFile {
            path: path.to_owned(),
            secrets,
            version,
        })
    }

    /// Follows changes of the file as long as this is awaited. A file that cannot be used changes nothing.
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
        match S::read(&self.path) {
            Ok(changed) => self.secrets.take_up(&changed),
            Err(error) => warn!(error, "the keys that were read before stay in use"),
        }
    }
}

impl Secrets for KeyRing {
    fn read(path: &Path) -> Result<KeyRing, String> {
        KeyRing::read(path).map_err(|error| match error {
            KeyRingError::File(error) => format!("--keys: {error}"),
            error => format!("--keys: {}: {error}", path.display()),
        })
    }

    fn take_up(&self, changed: &KeyRing) {
        self.replace(changed);
        let keys = changed.ids().join(",");
        info!(keys, "the file of keys has changed");
    }
}

impl Secrets for Credentials {
    fn read(path: &Path) -> Result<Credentials, String> {
        Credentials::read(path).map_err(|error| match error {
            CredentialsError::File(error) => format!("--credentials: {error}"),
            error => format!("--credentials: {}: {error}", path.display()),
        })
    }

    fn take_up(&self, changed: &Credentials) {
        self.replace(changed);
        let keys = changed.key_count();
        info!(keys, "the file of credentials has changed");
    }
}
