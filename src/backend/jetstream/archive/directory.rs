//! The directory of a backup.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::disk::{Disk, DiskFile, OpenMode, OsDisk, list_if_there, make_directory, read_whole};
use crate::error::{Error, Result};
use crate::log::remove_if_there;

const DESCRIPTION: &str = "backup.json";
const MESSAGES: &str = "stream.tar.s2";
const WHOLE: &str = "anabranch.json";

/// A backup that is being made. Dropped before it is finished, all of it is removed.
pub(super) struct BackupDirectory {
    disk: OsDisk,
    directory: PathBuf,
    streams: Vec<PathBuf>,
    is_finished: bool,
}

/// A backup that is there.
pub(super) struct WholeBackup {
    disk: OsDisk,
    directory: PathBuf,
    /// What says that it is whole.
    pub(super) description: Value,
}

impl BackupDirectory {
    /// # Errors
    /// [`Error::NotEmpty`].
    pub(super) fn begin(directory: &Path) -> Result<Self> {
        let disk = OsDisk;
        make_directory(&disk, directory)?;
        match list_if_there(&disk, directory)?.is_empty() {
            true => Ok(Self {
                disk,
                directory: directory.to_owned(),
                streams: Vec::new(),
                is_finished: false,
            }),
            false => Err(Error::NotEmpty {
                path: directory.to_owned(),
            }),
        }
    }

    /// The file for the messages of a stream.
    pub(super) fn begin_messages(&mut self, stream: &str) -> Result<(Arc<dyn DiskFile>, PathBuf)> {
        let directory = self.directory.join(stream);
        self.streams.push(directory.clone());
        make_directory(&self.disk, &directory)?;
        let path = directory.join(MESSAGES);
        let file = self.disk.open(&path, OpenMode::CreateNew);
        let file = file.map_err(|error| Error::preparing("create", &path, error))?;
        Ok((file, path))
    }

    pub(super) fn write_description(&self, stream: &str, description: &Value) -> Result<()> {
        let directory = self.directory.join(stream);
        self.write(&directory.join(DESCRIPTION), description)?;
        self.sync(&directory)
    }

    /// Says, durably, that all is there.
    pub(super) fn finish(&mut self, description: &Value) -> Result<()> {
        self.sync(&self.directory)?;
        let (new, path) = (
            self.directory.join("anabranch.json.new"),
            self.directory.join(WHOLE),
        );
        self.write(&new, description)?;
        self.disk
            .rename(&new, &path)
            .map_err(|error| Error::preparing("rename", &new, error))?;
        self.is_finished = true;
        self.sync(&self.directory)
    }

    /// Removes all that was written.
    pub(super) fn clear(&mut self) -> Result<()> {
        for directory in std::mem::take(&mut self.streams) {
            for name in [DESCRIPTION, MESSAGES] {
                remove_if_there(&self.disk, &directory.join(name))?;
            }
            match self.disk.remove_dir(&directory) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &directory, error));
                }
                _ => {}
            }
        }
        remove_if_there(&self.disk, &self.directory.join("anabranch.json.new"))
    }

    fn write(&self, path: &Path, content: &Value) -> Result<()> {
        let write = || {
            let file = self.disk.open(path, OpenMode::CreateNew)?;
            file.write_all_at(format!("{content:#}\n").as_bytes(), 0)?;
            file.sync_data()
        };
        write().map_err(|error| Error::preparing("write", path, error))
    }

    fn sync(&self, directory: &Path) -> Result<()> {
        self.disk
            .sync_dir(directory)
            .map_err(|error| Error::preparing("sync the directory", directory, error))
    }
}

impl Drop for BackupDirectory {
    fn drop(&mut self) {
        if !self.is_finished {
            // What cannot be removed has no file that says that it is whole.
            let _ = self.clear();
        }
    }
}

impl WholeBackup {
    /// # Errors
    /// [`Error::NotAStore`] if the directory has no whole backup of a cluster.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let mut backup = Self {
            disk: OsDisk,
            directory: directory.to_owned(),
            description: Value::Null,
        };
        let not_a_backup = || Error::NotAStore {
            path: directory.to_owned(),
        };
        let path = directory.join(WHOLE);
        backup.description = match backup.disk.kind(&path) {
            Ok(_) => backup.read(&path)?,
            Err(_) => return Err(not_a_backup()),
        };
        match backup.description["format"].as_u64() {
            Some(1) => Ok(backup),
            _ => Err(not_a_backup()),
        }
    }

    /// The streams' names, in the order in which they were copied.
    pub(super) fn streams(&self) -> Vec<String> {
        let streams = self.description["streams"].as_array();
        let names = streams.into_iter().flatten().filter_map(Value::as_str);
        names.map(str::to_owned).collect()
    }

    pub(super) fn description_of(&self, stream: &str) -> Result<Value> {
        self.read(&self.directory.join(stream).join(DESCRIPTION))
    }

    /// The messages of a stream, and how many bytes they have.
    pub(super) fn messages_of(&self, stream: &str) -> Result<(Arc<dyn DiskFile>, PathBuf, u64)> {
        let path = self.directory.join(stream).join(MESSAGES);
        let file = self.disk.open(&path, OpenMode::Read);
        let file = file.map_err(|error| Error::io("open", &path, error))?;
        let length = file.len().map_err(|error| Error::io("measure", &path, error))?;
        Ok((file, path, length))
    }

    fn read(&self, path: &Path) -> Result<Value> {
        let content = read_whole(&self.disk, path).map_err(|error| Error::io("read", path, error))?;
        serde_json::from_slice(&content).map_err(|error| Error::corrupt(path, 0, error.to_string()))
    }
}
