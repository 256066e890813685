//! A file of which some pages cannot be read.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::overlaid::lay_over;
use super::{DiskFile, Mapping};
use crate::sync::Mutex;

const PAGE_BYTES: usize = 4096;

/// Reads what can be read of a file, and zeros in place of the rest, which it remembers. Zeros are never valid in any
/// of our files, so whoever checks what was read comes upon them. Read-only.
#[derive(Debug)]
pub(crate) struct ReadablePages {
    file: Arc<dyn DiskFile>,
    unreadable: Mutex<BTreeMap<u64, io::Error>>,
    /// Bytes that are taken instead of what the file has, each with their offset. They do not overlap.
    overlaid: Vec<(u64, Bytes)>,
}

impl ReadablePages {
    pub(crate) fn new(file: Arc<dyn DiskFile>, overlaid: Vec<(u64, Bytes)>) -> Self {
        Self {
            file,
            unreadable: Mutex::default(),
            overlaid,
        }
    }

    /// The first page that could not be read of those that were tried and overlap the range, and why.
    pub(crate) fn unreadable_within(&self, from: u64, to: u64) -> Option<(u64, String)> {
        let first = from - from % PAGE_BYTES as u64;
        let unreadable = self.unreadable.lock();
        let (page, error) = unreadable.range(first..to.max(first + 1)).next()?;
        Some((*page, error.to_string()))
    }

    fn read_page_by_page(&self, buffer: &mut [u8], offset: u64) {
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let left_of_page = PAGE_BYTES - (at % PAGE_BYTES as u64) as usize;
            let end = (done + left_of_page).min(buffer.len());
            if let Err(error) = self.file.read_exact_at(&mut buffer[done..end], at) {
                buffer[done..end].fill(0);
                let page = at - at % PAGE_BYTES as u64;
                self.unreadable.lock().entry(page).or_insert(error);
            }
            done = end;
        }
    }
}

impl DiskFile for ReadablePages {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if self.file.read_exact_at(buffer, offset).is_err() {
            self.read_page_by_page(buffer, offset);
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

    fn map(&self, _: u64) -> io::Result<Box<dyn Mapping>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.file.drop_cache()
    }
}
