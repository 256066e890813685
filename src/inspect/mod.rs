//! Inspecting a store without opening it: verifying every byte, showing the contents, repairing damage, and copying all
//! of it.
//!
//! This floor stands beside `store`. It uses the catalog and the logs, and nothing above them, except the code that
//! tells a torn manifest from a damaged one, which it shares with the store. It reads by `pread` alone and never
//! through a mapping, so that a failing disk causes an error and not a signal. It opens no file for writing unless a
//! repair is applied, and it works on stores that no longer open. While a program has the store, an inspection goes on
//! reading and expects files to change; only a repair needs exclusive use of the store.
//!
//! ```
//! # fn main() -> anabranch::Result<()> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("data");
//! # let store = anabranch::Store::open(&path)?;
//! # store.create_stream("clicks", 1)?.put("user-42", b"{}")?;
//! # store.close()?;
//! let verification = anabranch::inspect::verify(&path)?;
//! assert!(verification.is_sound());
//! for finding in &verification.findings {
//!     println!("{finding}");
//! }
//! # Ok(())
//! # }
//! ```

mod aside;
mod backup;
mod contents;
mod dump;
#[cfg(feature = "nats")]
mod dump_cluster;
mod finding;
mod journal;
mod named_log;
mod repair;
mod segment_check;
mod unnamed;
mod verify;

pub use crate::backup::Sharing;
pub use crate::model::LogName;
pub use dump::{
    DumpItem, DumpOptions, DumpWhat, DumpedEdit, DumpedFrame, DumpedRecord, DumpedSegment, DumpedShard,
    EditDetails,
};
pub use finding::{Consequence, Damage, Finding, InspectedLog, LostRecords};
pub use repair::{Loss, RepairAction, RepairPlan, RepairStep, Repaired};
pub use verify::{Checked, Holder, Progress, Verification};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, OsDisk};
use crate::error::Result;

/// Checks every byte of the store in a directory, without changing anything.
///
/// # Errors
/// As for [`Inspection::verify`].
pub fn verify(directory: impl AsRef<Path>) -> Result<Verification> {
    Inspection::of(directory).verify(&mut |_| {})
}

/// A look into the store in a directory.
#[derive(Clone, Debug)]
pub struct Inspection {
    directory: PathBuf,
    disk: Arc<dyn Disk>,
    /// The manifest that is in force, where `CURRENT` does not name it yet.
    manifest: Option<u64>,
}

impl Inspection {
    /// An inspection of the store in this directory. The store need not be one that opens. Nothing is read yet.
    pub fn of(directory: impl AsRef<Path>) -> Self {
        Self {
            directory: directory.as_ref().to_owned(),
            disk: Arc::new(OsDisk),
            manifest: None,
        }
    }

    /// The disk that holds the store. Default: the operating system's files.
    #[must_use]
    pub fn disk(mut self, disk: impl Disk) -> Self {
        self.disk = Arc::new(disk);
        self
    }

    /// Checks every byte: which manifest is in force, each of its frames, each segment's header page, frames and
    /// records, how segments join and where they end, the index files, and whether there are files that the manifest
    /// does not name.
    ///
    /// Works while a program has the store: bytes that it is just writing are reported as being written.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("data");
    /// # let store = anabranch::Store::open(&path)?;
    /// # store.create_stream("clicks", 1)?.put("user-42", b"{}")?;
    /// # store.close()?;
    /// # use anabranch::inspect::Inspection;
    /// let verification = Inspection::of(&path).verify(&mut |progress| {
    ///     println!("{} of {} bytes", progress.bytes_done, progress.bytes_total);
    /// })?;
    /// assert!(verification.is_sound());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotAStore`](crate::Error::NotAStore), [`Error::UnsupportedFormat`](crate::Error::UnsupportedFormat),
    /// and [`Error::Io`](crate::Error::Io) where not even the directories can be read. Damage is not an error but a
    /// [`Finding`].
    pub fn verify(&self, on_progress: &mut dyn FnMut(&Progress)) -> Result<Verification> {
        verify::verify(self, on_progress)
    }
}
