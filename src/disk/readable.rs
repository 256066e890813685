//! A file with pages that cannot be read.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::overlaid::lay_over;
use super::{DiskFile, Mapping};
use crate::sync::Mutex;

const PAGE_BYTES: usize = 4096;

/// Reads the readable pages of a file, and gives zeros in place of the others, which it remembers. Zeros are never
/// valid in any of our files, so a check of the contents finds them. Read-only.
#[derive(Debug)]
pub(crate) struct ReadablePages {
    /// `None` without a file: only the bytes that are laid over it can be read.
    file: Option<Arc<dyn DiskFile>>,
    unreadable: Mutex<BTreeMap<u64, io::Error>>,
    /// Bytes that replace those of the file, each with their offset. They do not overlap.
    overlaid: Vec<(u64, Bytes)>,
}

impl ReadablePages {
    pub(crate) fn new(file: Arc<dyn DiskFile>, overlaid: Vec<(u64, Bytes)>) -> Self {
        Self {
            file: Some(file),
            ..Self::of_missing_file(overlaid)
        }
    }

    pub(crate) fn of_missing_file(overlaid: Vec<(u64, Bytes)>) -> Self {
        Self {
            file: None,
            unreadable: Mutex::default(),
            overlaid,
        }
    }

    fn file_length(&self) -> io::Result<u64> {
        self.file.as_ref().map_or(Ok(0), |file| file.len())
    }

    /// The first unreadable page among those that were tried and overlap the range, and the error.
    pub(crate) fn unreadable_within(&self, from: u64, to: u64) -> Option<(u64, String)> {
        let first = from - from % PAGE_BYTES as u64;
        let unreadable = self.unreadable.lock();
        let (page, error) = unreadable.range(first..to.max(first + 1)).next()?;
        Some((*page, error.to_string()))
    }

    fn read_page_by_page(&self, file: &dyn DiskFile, buffer: &mut [u8], offset: u64) {
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let left_of_page = PAGE_BYTES - (at % PAGE_BYTES as u64) as usize;
            let end = (done + left_of_page).min(buffer.len());
            if let Err(error) = file.read_exact_at(&mut buffer[done..end], at) {
                buffer[done..end].fill(0);
                let page = at - at % PAGE_BYTES as u64;
                self.unreadable.lock().entry(page).or_insert(error);
            }
            done = end;
        }
    }
}

impl DiskFile for ReadablePages {
    /// As if the bytes that are laid over it were written.
    fn len(&self) -> io::Result<u64> {
        let overlaid = self.overlaid.iter();
        let end = overlaid.map(|(at, bytes)| at + bytes.len() as u64).max();
        Ok(self.file_length()?.max(end.unwrap_or(0)))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let in_file = match self.overlaid.is_empty() {
            true => buffer.len(),
            false => self
                .file_length()?
                .saturating_sub(offset)
                .min(buffer.len() as u64) as usize,
        };
        let (of_file, behind) = buffer.split_at_mut(in_file);
        behind.fill(0);
        match &self.file {
            Some(file) if !of_file.is_empty() => {
                if file.read_exact_at(of_file, offset).is_err() {
                    self.read_page_by_page(file.as_ref(), of_file, offset);
                }
            }
            _ => of_file.fill(0),
        }
        let overlaid = self.overlaid.iter().map(|(at, bytes)| (*at, bytes));
        lay_over(buffer, offset, overlaid);
        Ok(())
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn release(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn map(&self, _: u64) -> io::Result<Box<dyn Mapping>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.drop_cache())
    }
}
