//! Buckets that are directories.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bucket::{Bucket, BucketError, Object};
use crate::disk::{Disk, EntryKind, OpenMode, OsDisk};
use crate::model::Destination;

/// Buckets that are directories in one directory. Each object is a file whose name is its key. An object appears as a
/// whole, and is durable then. Only their owner can read the files and directories that are made.
#[derive(Debug)]
pub struct DirectoryBuckets {
    root: PathBuf,
    disk: Arc<dyn Disk>,
}

impl DirectoryBuckets {
    /// The directories in this one. They have to exist: none is made, and symbolic links are not accepted.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::on_disk(root, OsDisk)
    }

    /// The same, on a disk that the caller passes.
    pub fn on_disk(root: impl Into<PathBuf>, disk: impl Disk) -> Self {
        Self {
            root: root.into(),
            disk: Arc::new(disk),
        }
    }

    /// The directory of a bucket.
    fn bucket(&self, name: &str) -> Result<PathBuf, BucketError> {
        let not_found = || BucketError::NotFound {
            bucket: name.to_owned(),
        };
        if !is_file_name(name) {
            return Err(not_found());
        }
        let directory = self.root.join(name);
        match self.disk.kind(&directory) {
            Ok(EntryKind::Directory) => Ok(directory),
            Ok(EntryKind::File | EntryKind::Other) => Err(not_found()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(not_found()),
            Err(error) => Err(BucketError::failed("look for objects", name, &error)),
        }
    }

    /// Writes a file that did not exist and has no readers, first under another name.
    fn write(&self, bucket: &Path, key: &str, body: &[u8]) -> io::Result<()> {
        let mut directories = vec![bucket.to_owned()];
        let mut parts: Vec<&str> = key.split('/').collect();
        let name = parts.pop().unwrap_or_default();
        let mut directory = bucket.to_owned();
        for part in parts {
            directory.push(part);
            match self.disk.create_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => directories.push(directory.clone()),
            }
        }
        // No other file ever has this name, so no other delivery writes into it.
        let partial = directory.join(format!(".{:016x}.partial", self.disk.entropy()?));
        let written = self.write_partial(&partial, body);
        let renamed = written.and_then(|()| self.disk.rename(&partial, &directory.join(name)));
        if let Err(error) = renamed {
            // The next attempt uses another name. A failure here can be ignored.
            let _ = self.disk.remove_file(&partial);
            return Err(error);
        }
        // An existing directory may not be durable: an earlier attempt may have failed before this.
        directories
            .iter()
            .rev()
            .try_for_each(|directory| self.disk.sync_dir(directory))
    }

    fn write_partial(&self, path: &Path, body: &[u8]) -> io::Result<()> {
        let file = self.disk.open(path, OpenMode::CreateNew)?;
        file.write_all_at(body, 0)?;
        file.sync_data()
    }
}

impl Bucket for DirectoryBuckets {
    fn check(&self, destination: &Destination) -> Result<(), BucketError> {
        for bucket in destination.buckets() {
            self.bucket(bucket)?;
        }
        refuse_encryption(&destination.bucket, destination.encryption_key.as_deref())
    }

    fn put(&self, object: Object) -> Result<(), BucketError> {
        let bucket = self.bucket(&object.bucket)?;
        refuse_encryption(&object.bucket, object.encryption_key.as_deref())?;
        if !object.key.split('/').all(is_file_name) {
            return Err(BucketError::Refused {
                reason: format!("{:?} is not the name of a file", object.key),
                bucket: object.bucket,
            });
        }
        let written = self.write(&bucket, &object.key, &object.body);
        written.map_err(|error| {
            let reason = format!("{}: {error}", object.key);
            BucketError::failed("put an object", &object.bucket, &reason)
        })
    }
}

/// An object that has to be encrypted is not written plain.
fn refuse_encryption(bucket: &str, key: Option<&str>) -> Result<(), BucketError> {
    match key {
        None => Ok(()),
        Some(_) => Err(BucketError::Refused {
            bucket: bucket.to_owned(),
            reason: "it is a directory, which does not encrypt objects".to_owned(),
        }),
    }
}

fn is_file_name(part: &str) -> bool {
    !matches!(part, "" | "." | "..") && !part.contains(['/', '\0'])
}
