//! Directories that hold a benchmark's data while it runs.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::Outcome;

/// A directory that is removed with its contents.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// An empty directory. Refuses memory file systems, where a sync costs nothing and every ratio is wrong.
    pub fn new(parent: &Path, name: &str) -> Outcome<Self> {
        let path = parent.join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(parent)?;
        if is_in_memory(parent)? {
            return Err(format!(
                "{} is a file system in memory: set ANABRANCH_BENCH_DIR to a directory on a disk",
                parent.display()
            )
            .into());
        }
        remove_if_there(&path)?;
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in this directory. Removes an earlier file or directory there.
    pub fn fresh(&self, name: &str) -> Outcome<PathBuf> {
        let path = self.path.join(name);
        remove_if_there(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = remove_if_there(&self.path);
    }
}

pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies a directory while others may write to it: the copy is what a crash of the process would leave.
pub fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_directory(&entry.path(), &target)?,
            false => drop(fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}

/// Bytes that a directory takes on the disk.
pub fn bytes_on_disk(path: &Path) -> io::Result<u64> {
    let mut bytes = fs::symlink_metadata(path)?.blocks() * 512;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            bytes += bytes_on_disk(&entry?.path())?;
        }
    }
    Ok(bytes)
}

/// All files below a directory whose names have this ending, in the order of their paths.
pub fn files_ending(path: &Path, ending: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?.path();
        if entry.is_dir() {
            files.extend(files_ending(&entry, ending)?);
        } else if entry.to_string_lossy().ends_with(ending) {
            files.push(entry);
        }
    }
    files.sort();
    Ok(files)
}

fn is_in_memory(path: &Path) -> Outcome<bool> {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    let kind = rustix::fs::statfs(path)?.f_type as i64;
    Ok(kind == TMPFS || kind == RAMFS)
}
