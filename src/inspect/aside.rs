//! Copies of the files that a repair will change: `DIR/damaged/<seconds since 1970>/`, and below it the names in the
//! store.

use std::io;
use std::path::{Path, PathBuf};

use super::Inspection;
use crate::disk::{DiskFile, OpenMode, Step, perform};
use crate::error::{Error, Result};

/// The bytes copied at a time.
const COPY_BYTES: u64 = 1024 * 1024;

pub(super) struct Aside<'a> {
    inspection: &'a Inspection,
    directory: PathBuf,
    /// All directories that were made, parents first.
    directories: Vec<PathBuf>,
    copied: Vec<PathBuf>,
}

impl<'a> Aside<'a> {
    /// Makes a directory that no earlier repair has used.
    pub(super) fn begin(inspection: &'a Inspection, seconds: u64) -> Result<Self> {
        let all = inspection.directory.join("damaged");
        let cannot = |path: &Path, error| Error::preparing("make the directory", path, error);
        match inspection.disk.create_dir(&all) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(cannot(&all, error)),
            _ => {}
        }
        let mut seconds = seconds;
        let directory = loop {
            let directory = all.join(seconds.to_string());
            match inspection.disk.create_dir(&directory) {
                Ok(()) => break directory,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => seconds += 1,
                Err(error) => return Err(cannot(&directory, error)),
            }
        };
        Ok(Self {
            inspection,
            directories: vec![inspection.directory.clone(), all, directory.clone()],
            directory,
            copied: Vec::new(),
        })
    }

    /// Copies a file of the store, if it exists. Pages that cannot be read are zeros in the copy.
    pub(super) fn copy(&mut self, path: &Path) -> Result<()> {
        let file = match self.inspection.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("open", path, error)),
        };
        let name = path.strip_prefix(&self.inspection.directory).unwrap_or(path);
        let copy = self.directory.join(name);
        self.make_parents(name)?;
        self.copy_bytes(file.as_ref(), &copy)
            .map_err(|error| Error::preparing("copy aside to", &copy, error))?;
        self.copied.push(name.to_owned());
        Ok(())
    }

    /// Makes the copies' names durable.
    pub(super) fn finish(&self) -> Result<()> {
        for directory in &self.directories {
            perform(Step::AsideNamesSync, || self.inspection.disk.sync_dir(directory))
                .map_err(|error| Error::preparing("sync the directory", directory, error))?;
        }
        Ok(())
    }

    /// Where the copies are, and which files they are of.
    pub(super) fn into_copies(self) -> (PathBuf, Vec<PathBuf>) {
        (self.directory, self.copied)
    }

    fn make_parents(&mut self, name: &Path) -> Result<()> {
        let mut directory = self.directory.clone();
        for part in name.parent().into_iter().flat_map(Path::components) {
            directory.push(part);
            if self.directories.contains(&directory) {
                continue;
            }
            self.inspection
                .disk
                .create_dir(&directory)
                .map_err(|error| Error::preparing("make the directory", &directory, error))?;
            self.directories.push(directory.clone());
        }
        Ok(())
    }

    fn copy_bytes(&self, file: &dyn DiskFile, path: &Path) -> io::Result<()> {
        let copy = self.inspection.disk.open(path, OpenMode::CreateNew)?;
        let length = file.len()?;
        let mut done = 0;
        while done < length {
            let mut buffer = vec![0; COPY_BYTES.min(length - done) as usize];
            file.read_exact_at(&mut buffer, done)?;
            copy.write_all_at(&buffer, done)?;
            done += buffer.len() as u64;
        }
        perform(Step::AsideSync, || copy.sync_data())
    }
}
