//! Buffers that files are read into, and that are used again once nothing shares them.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::DiskFile;
use crate::sync::Mutex;

/// The most that is read at a time, unless a frame is larger. It stays in the cache of a processor core until its
/// checksum is computed.
pub(crate) const BUFFER_BYTES: usize = 256 * 1024;

/// The most buffers that are kept while unused: as many as a reply of 10 MiB takes, whatever its frames.
const MAX_IDLE: usize = 56;

/// Smaller buffers are allocated each time, which costs little.
const MIN_LENT_BYTES: usize = 32 * 1024;

/// Lends buffers. A fresh buffer costs a page fault for every 4 KiB, which is more than reading into it.
#[derive(Debug, Default)]
pub(crate) struct ReadBuffers {
    idle: Mutex<Vec<Vec<u8>>>,
}

impl ReadBuffers {
    /// Reads bytes of a file. Their buffer returns when the last slice of it is dropped.
    pub(crate) fn read(
        self: &Arc<Self>,
        file: &dyn DiskFile,
        offset: u64,
        bytes: usize,
    ) -> io::Result<Bytes> {
        if !(MIN_LENT_BYTES..=BUFFER_BYTES).contains(&bytes) {
            return read_once(file, offset, bytes);
        }
        self.fill(bytes, |buffer| file.read_exact_at(buffer, offset))
    }

    /// Copies bytes, for a caller that must not keep the memory that they are in.
    pub(crate) fn copy(self: &Arc<Self>, bytes: &[u8]) -> Bytes {
        if !(MIN_LENT_BYTES..=BUFFER_BYTES).contains(&bytes.len()) {
            return Bytes::copy_from_slice(bytes);
        }
        match self.fill::<Infallible>(bytes.len(), |buffer| {
            buffer.copy_from_slice(bytes);
            Ok(())
        }) {
            Ok(copy) => copy,
        }
    }

    fn fill<E>(
        self: &Arc<Self>,
        bytes: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Bytes, E> {
        let idle = self.idle.lock().pop();
        let mut buffer = idle.unwrap_or_else(|| vec![0; BUFFER_BYTES]);
        fill(&mut buffer[..bytes])?;
        Ok(Bytes::from_owner(LentBuffer {
            buffer,
            bytes,
            lender: self.clone(),
        }))
    }
}

/// Reads bytes of a file into a new buffer.
pub(crate) fn read_once(file: &dyn DiskFile, offset: u64, bytes: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; bytes];
    file.read_exact_at(&mut buffer, offset)?;
    Ok(buffer.into())
}

struct LentBuffer {
    buffer: Vec<u8>,
    /// How many bytes of the buffer were read.
    bytes: usize,
    lender: Arc<ReadBuffers>,
}

impl AsRef<[u8]> for LentBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.bytes]
    }
}

impl Drop for LentBuffer {
    fn drop(&mut self) {
        let mut idle = self.lender.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;
    use crate::disk::{Disk, OpenMode};

    #[test]
    fn a_buffer_is_used_again_only_when_nothing_shares_it() {
        let disk = SimDisk::new(1);
        let file = disk.open("file".as_ref(), OpenMode::CreateNew).unwrap();
        file.write_all_at(&[1; BUFFER_BYTES], 0).unwrap();
        file.write_all_at(&[2; BUFFER_BYTES], BUFFER_BYTES as u64)
            .unwrap();
        let buffers = Arc::new(ReadBuffers::default());
        let read = |offset| buffers.read(file.as_ref(), offset, BUFFER_BYTES).unwrap();

        let first = read(0);
        let place = first.as_ptr();
        let kept = first.slice(10..20);
        drop(first);
        let second = read(BUFFER_BYTES as u64);
        assert_ne!(second.as_ptr(), place);
        assert_eq!(&kept[..], [1; 10]);
        drop(kept);
        let third = read(BUFFER_BYTES as u64);
        assert_eq!(third.as_ptr(), place);
        assert!(third.iter().all(|byte| *byte == 2));
    }
}
