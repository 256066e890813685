//! Files with other bytes laid over some places.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::{DiskFile, Mapping};

/// Reads a file as if `bytes` had been written at `offset`. Read-only.
#[derive(Debug)]
pub(crate) struct Overlaid {
    file: Arc<dyn DiskFile>,
    offset: u64,
    bytes: Bytes,
}

impl Overlaid {
    pub(crate) fn new(file: Arc<dyn DiskFile>, offset: u64, bytes: Bytes) -> Self {
        Self { file, offset, bytes }
    }
}

/// Pieces that are read instead of a file's bytes. They do not overlap.
pub(crate) trait Pieces: fmt::Debug + Send + Sync {
    /// The offset behind the last one.
    fn end(&self) -> u64;

    /// The pieces that reach into a stretch, each with its offset. A piece that no longer exists is left out.
    ///
    /// # Errors
    /// A piece cannot be read. It may exist.
    fn within(&self, from: u64, to: u64) -> io::Result<Vec<(u64, Bytes)>>;
}

/// Copies the pieces laid over a file, each with its offset, over the bytes that were read of the file from `offset`.
pub(super) fn lay_over<'a>(
    buffer: &mut [u8],
    offset: u64,
    overlaid: impl IntoIterator<Item = (u64, &'a Bytes)>,
) {
    let end = offset + buffer.len() as u64;
    for (at, bytes) in overlaid {
        let (from, to) = (offset.max(at), end.min(at + bytes.len() as u64));
        if from < to {
            let overlaid = &bytes[(from - at) as usize..(to - at) as usize];
            buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(overlaid);
        }
    }
}

impl DiskFile for Overlaid {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)?;
        lay_over(buffer, offset, [(self.offset, &self.bytes)]);
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
        self.file.drop_cache()
    }
}
