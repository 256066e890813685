//! The directory of one run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// It is removed with its contents when this is dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(super) fn new(parent: &Path) -> io::Result<Self> {
        let path = parent.join(format!("anabranch-bench-{}", std::process::id()));
        let naming = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot make {}: {error}", path.display()))
        };
        fs::create_dir(&path).map_err(naming)?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the directory is in memory and on no disk.
    pub(super) fn is_in_memory(&self) -> io::Result<bool> {
        const TMPFS: i64 = 0x0102_1994;
        const RAMFS: i64 = 0x8584_58f6;
        let kind = rustix::fs::statfs(&self.path)?.f_type as i64;
        Ok(kind == TMPFS || kind == RAMFS)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("anabranch bench: cannot remove {}: {error}", self.path.display());
        }
    }
}
