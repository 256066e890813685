//! The contents of a file of an overlay disk: the bytes of the file below, and the pages that were written since.

use std::collections::BTreeMap;
use std::io;

use crate::disk::DiskFile;

const PAGE_BYTES: u64 = 4096;

type Page = [u8; PAGE_BYTES as usize];

/// The bytes of one file. Only written pages take memory.
#[derive(Debug)]
pub(super) struct Contents {
    length: u64,
    /// How many leading bytes of the file below are still visible; behind them are zeros. Never more than `length`.
    shown: u64,
    /// By their numbers in the file. They have zeros behind `length`.
    pages: BTreeMap<u64, Box<Page>>,
    is_changed: bool,
}

impl Contents {
    /// A file with the contents of the one below.
    pub(super) fn as_below(length: u64) -> Self {
        Self {
            length,
            shown: length,
            pages: BTreeMap::new(),
            is_changed: false,
        }
    }

    /// A new file.
    pub(super) fn empty() -> Self {
        Self {
            is_changed: true,
            ..Self::as_below(0)
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Whether the file differs from the one below under its name there.
    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    pub(super) fn note_change(&mut self) {
        self.is_changed = true;
    }

    /// Whether the first `length` bytes are those of the file below.
    pub(super) fn are_below(&self, length: u64) -> bool {
        length <= self.shown && self.pages.range(..length.div_ceil(PAGE_BYTES)).next().is_none()
    }

    pub(super) fn read(
        &self,
        below: Option<&dyn DiskFile>,
        buffer: &mut [u8],
        offset: u64,
    ) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        let end = end
            .filter(|end| *end <= self.length)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut at = offset;
        while at < end {
            let rest = &mut buffer[(at - offset) as usize..];
            let number = at / PAGE_BYTES;
            match self.pages.get(&number) {
                Some(page) => {
                    let page = &page[(at % PAGE_BYTES) as usize..];
                    let bytes = page.len().min(rest.len());
                    rest[..bytes].copy_from_slice(&page[..bytes]);
                    at += bytes as u64;
                }
                None => {
                    let next = self.pages.range(number..).next();
                    let until = next.map_or(end, |(next, _)| end.min(next * PAGE_BYTES));
                    self.read_below(below, &mut rest[..(until - at) as usize], at)?;
                    at = until;
                }
            }
        }
        Ok(())
    }

    /// Writes all of the bytes; or none, if a page that they partly cover cannot be read.
    pub(super) fn write(
        &mut self,
        below: Option<&dyn DiskFile>,
        bytes: &[u8],
        offset: u64,
    ) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        let end = end.ok_or(io::ErrorKind::FileTooLarge)?;
        let mut written = Vec::new();
        let mut at = offset;
        while at < end {
            let (number, within) = (at / PAGE_BYTES, (at % PAGE_BYTES) as usize);
            let rest = &bytes[(at - offset) as usize..];
            let count = (PAGE_BYTES as usize - within).min(rest.len());
            let mut page = match self.pages.get(&number) {
                Some(page) => page.clone(),
                None => Box::new([0; PAGE_BYTES as usize]),
            };
            if count < page.len() && !self.pages.contains_key(&number) {
                self.read_below(below, &mut page[..], number * PAGE_BYTES)?;
            }
            page[within..within + count].copy_from_slice(&rest[..count]);
            written.push((number, page));
            at += count as u64;
        }
        if !written.is_empty() {
            self.is_changed = true;
            self.length = self.length.max(end);
            self.pages.extend(written);
        }
        Ok(())
    }

    pub(super) fn set_len(&mut self, length: u64) {
        self.is_changed = true;
        self.length = length;
        self.shown = self.shown.min(length);
        let mut cut = self.pages.split_off(&(length / PAGE_BYTES));
        let within = (length % PAGE_BYTES) as usize;
        if let Some(mut last) = cut.remove(&(length / PAGE_BYTES)).filter(|_| within > 0) {
            last[within..].fill(0);
            self.pages.insert(length / PAGE_BYTES, last);
        }
    }

    /// Makes whole pages from `from` on read as zeros.
    pub(super) fn release(&mut self, from: u64) {
        self.is_changed = true;
        let first = from.div_ceil(PAGE_BYTES);
        self.shown = self.shown.min(first.saturating_mul(PAGE_BYTES));
        self.pages.split_off(&first);
    }

    /// Makes the file at least this long.
    pub(super) fn extend(&mut self, length: u64) {
        self.is_changed = true;
        self.length = self.length.max(length);
    }

    /// Reads without the written pages.
    fn read_below(&self, below: Option<&dyn DiskFile>, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let shown = self.shown.saturating_sub(offset).min(buffer.len() as u64);
        let (shown, hidden) = buffer.split_at_mut(shown as usize);
        hidden.fill(0);
        match below {
            _ if shown.is_empty() => Ok(()),
            Some(below) => below.read_exact_at(shown, offset),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
