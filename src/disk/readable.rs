//! A file with pages that cannot be read.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::overlaid::{Pieces, lay_over};
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
    /// The pieces laid over the file.
    overlaid: Option<Box<dyn Pieces>>,
}

impl ReadablePages {
    pub(crate) fn new(file: Arc<dyn DiskFile>) -> Self {
        Self::with_pieces(Some(file), None)
    }

    /// As if the pieces were written to the file, or were all of it.
    pub(crate) fn with_pieces(file: Option<Arc<dyn DiskFile>>, overlaid: Option<Box<dyn Pieces>>) -> Self {
        Self {
            file,
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
        let end = self.overlaid.as_ref().map_or(0, |pieces| pieces.end());
        Ok(self.file_length()?.max(end))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        // Read before the file: if a piece no longer exists, the file has its bytes by then.
        let end = offset + buffer.len() as u64;
        let overlaid = self.overlaid.as_ref();
        let overlaid = overlaid.map(|pieces| pieces.within(offset, end)).transpose()?;
        let in_file = match overlaid {
            None => buffer.len(),
            Some(_) => self
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
        let overlaid = overlaid.iter().flatten();
        lay_over(buffer, offset, overlaid.map(|(at, bytes)| (*at, bytes)));
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;

    use super::*;
    use crate::disk::sim::SimDisk;
    use crate::disk::{Disk, OpenMode};

    fn file() -> Arc<dyn DiskFile> {
        let disk = SimDisk::new(1);
        let file = disk.open(Path::new("file"), OpenMode::CreateNew).unwrap();
        file.write_all_at(b"in the file", 0).unwrap();
        file
    }

    #[derive(Debug)]
    struct OnePiece(u64, Bytes);

    impl Pieces for OnePiece {
        fn end(&self) -> u64 {
            self.0 + self.1.len() as u64
        }

        fn within(&self, from: u64, to: u64) -> io::Result<Vec<(u64, Bytes)>> {
            let is_within = self.0 < to && from < self.end();
            Ok(Vec::from_iter(is_within.then(|| (self.0, self.1.clone()))))
        }
    }

    #[test]
    fn pieces_are_read_as_if_they_were_written() {
        let piece = OnePiece(7, Bytes::from_static(b"journal"));
        let pages = ReadablePages::with_pieces(Some(file()), Some(Box::new(piece)));
        assert_eq!(pages.len().unwrap(), 14);
        let mut all = [0; 14];
        pages.read_exact_at(&mut all, 0).unwrap();
        assert_eq!(&all, b"in the journal");
        let mut some = [0; 5];
        pages.read_exact_at(&mut some, 5).unwrap();
        assert_eq!(&some, b"e jou");
    }

    /// When it is asked for its piece, it writes the piece to the file and gives none.
    #[derive(Debug)]
    struct JustDropped(Arc<dyn DiskFile>);

    impl Pieces for JustDropped {
        fn end(&self) -> u64 {
            14
        }

        fn within(&self, _: u64, _: u64) -> io::Result<Vec<(u64, Bytes)>> {
            self.0.write_all_at(b"journal", 7)?;
            Ok(Vec::new())
        }
    }

    #[derive(Debug)]
    struct Unreadable;

    impl Pieces for Unreadable {
        fn end(&self) -> u64 {
            14
        }

        fn within(&self, _: u64, _: u64) -> io::Result<Vec<(u64, Bytes)>> {
            Err(io::ErrorKind::Other.into())
        }
    }

    #[test]
    fn a_piece_that_cannot_be_read_is_not_taken_for_gone() {
        let pages = ReadablePages::with_pieces(Some(file()), Some(Box::new(Unreadable)));
        assert!(pages.read_exact_at(&mut [0; 14], 0).is_err());
    }

    #[test]
    fn a_piece_that_is_gone_is_read_from_the_file() {
        let file = file();
        let pieces = Box::new(JustDropped(file.clone()));
        let pages = ReadablePages::with_pieces(Some(file), Some(pieces));
        let mut all = [0; 14];
        pages.read_exact_at(&mut all, 0).unwrap();
        assert_eq!(&all, b"in the journal");
    }
}
