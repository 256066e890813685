//! The raw limit: the same bytes through `pwrite` and `fdatasync` alone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use super::Outcome;
use super::batch::Batch;
use super::run::Writer;

const PAGE_BYTES: usize = 4096;

/// A file whose blocks were all written before. Writes start again at its beginning when they reach its end.
#[derive(Debug)]
pub struct RawFile {
    file: File,
    bytes: u64,
    next: AtomicU64,
}

impl RawFile {
    /// A file of at least this many bytes, all of them zero and synced.
    pub fn fill(path: &Path, bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        let zeros = vec![0; 256 * 1024];
        let mut offset = 0;
        while offset < bytes {
            file.write_all_at(&zeros, offset)?;
            offset += zeros.len() as u64;
        }
        file.sync_all()?;
        Ok(Self {
            file,
            bytes,
            next: AtomicU64::new(0),
        })
    }

    /// One `pwrite`, behind the one before.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        let mut offset = self.next.fetch_add(length, Ordering::Relaxed) % self.bytes;
        if offset + length > self.bytes {
            offset = 0;
        }
        self.file.write_all_at(bytes, offset)
    }

    /// One `pwrite` of whole pages, then one `fdatasync`. `bytes` is filled up to a whole page.
    pub fn write_durably(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.resize(bytes.len().next_multiple_of(PAGE_BYTES), 0);
        self.write(bytes)?;
        self.file.sync_data()
    }

    /// One `fdatasync`.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// The next write begins on a page again.
    pub fn realign(&self) {
        self.next.store(0, Ordering::Relaxed);
    }
}

/// Where bytes become durable.
pub trait Sink: Sync {
    /// Makes bytes durable, and may add to them.
    fn write_durably(&self, bytes: &mut Vec<u8>) -> io::Result<()>;
}

impl Sink for RawFile {
    fn write_durably(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        RawFile::write_durably(self, bytes)
    }
}

/// A queue in front of a file, or of another sink. If no other thread is writing, a thread takes all bytes that have
/// gathered and makes them durable together; the others wait.
///
/// No thread is woken under the lock or without a reason, and the next writer is woken before the threads whose bytes
/// are written. With many writers on few processors this matters, and a limit has to include it.
#[derive(Debug)]
pub struct RawQueue<'a, S = RawFile> {
    sink: &'a S,
    state: Mutex<QueueState>,
    /// By the parity of the group that a thread waits for.
    written: [Condvar; 2],
}

#[derive(Debug, Default)]
struct QueueState {
    pending: Vec<u8>,
    spare: Vec<u8>,
    group: u64,
    groups_done: u64,
    is_writing: bool,
    /// By parity.
    waiting: [usize; 2],
}

impl<'a, S: Sink> RawQueue<'a, S> {
    /// A queue in which nothing waits.
    pub fn new(sink: &'a S) -> Self {
        Self {
            sink,
            state: Mutex::default(),
            written: Default::default(),
        }
    }

    /// Gives back control when the bytes are written and synced.
    pub fn write_durably(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pending.extend_from_slice(bytes);
        let mine = state.group;
        let (parity, other) = ((mine % 2) as usize, (1 - mine % 2) as usize);
        while state.groups_done <= mine && state.is_writing {
            state.waiting[parity] += 1;
            state = self.written[parity]
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.waiting[parity] -= 1;
        }
        if state.groups_done > mine {
            return Ok(());
        }
        state.is_writing = true;
        state.group += 1;
        let spare = std::mem::take(&mut state.spare);
        let mut group = std::mem::replace(&mut state.pending, spare);
        drop(state);
        let result = self.sink.write_durably(&mut group);
        group.clear();
        state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.spare = group;
        state.groups_done = mine + 1;
        state.is_writing = false;
        let waiting = state.waiting;
        drop(state);
        if waiting[other] > 0 {
            self.written[other].notify_one();
        }
        if waiting[parity] > 0 {
            self.written[parity].notify_all();
        }
        result
    }
}

/// Writes the same bytes to a raw file, durably or not, alone or through a queue.
#[derive(Debug)]
pub struct RawWriter<'a> {
    batch: Batch,
    path: RawPath<'a>,
}

/// How a writer writes.
#[derive(Clone, Copy, Debug)]
pub enum RawPath<'a> {
    /// `pwrite`.
    Written(&'a RawFile),
    /// `pwrite` of whole pages and `fdatasync`.
    Synced(&'a RawFile),
    /// The same, for all bytes that have gathered meanwhile.
    Queued(&'a RawQueue<'a>),
}

impl<'a> RawWriter<'a> {
    /// Writes batches of this many records.
    pub fn new(path: RawPath<'a>, writer: usize, records: usize, record_bytes: usize) -> Self {
        Self {
            batch: Batch::new(writer as u64, records, record_bytes),
            path,
        }
    }
}

impl Writer for RawWriter<'_> {
    fn write(&mut self) -> Outcome<()> {
        self.batch.advance();
        match self.path {
            RawPath::Written(file) => file.write(&self.batch.bytes)?,
            RawPath::Synced(file) => {
                let length = self.batch.bytes.len();
                file.write_durably(&mut self.batch.bytes)?;
                self.batch.bytes.truncate(length);
            }
            RawPath::Queued(queue) => queue.write_durably(&self.batch.bytes)?,
        }
        Ok(())
    }
}
