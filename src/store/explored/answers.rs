//! A group is answered when it is durable, and does not wait for others that are committed beside it.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::*;
use crate::disk::{Disk, DiskFile, EntryKind, LockError, LockGuard, Mapping, OpenMode};
use crate::model::Space;
use crate::sync::{AtomicBool, Condvar, explore, explore_often};

/// Makes a file's sync wait, once these bytes are written to the file.
const STUCK: &[u8] = b"stuck";

/// A disk on which the sync of a file waits for the gate if one of its records asks for it.
#[derive(Debug)]
struct GatedDisk {
    disk: SimDisk,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn DiskFile>,
    gate: Arc<Gate>,
    is_stuck: AtomicBool,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let mut is_open = self.is_open.lock();
        while !*is_open {
            is_open = self.opened.wait(is_open);
        }
    }
}

impl Disk for GatedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(GatedFile {
            file: self.disk.open(path, mode)?,
            gate: self.gate.clone(),
            is_stuck: AtomicBool::new(false),
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn kind(&self, path: &Path) -> io::Result<EntryKind> {
        self.disk.kind(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn count_names(&self, path: &Path) -> io::Result<u64> {
        self.disk.count_names(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.disk.sync_dir(directory)
    }

    fn space(&self, directory: &Path) -> io::Result<Option<Space>> {
        self.disk.space(directory)
    }

    fn entropy(&self) -> io::Result<u64> {
        self.disk.entropy()
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn LockGuard>, LockError> {
        self.disk.lock(path)
    }

    fn lock_shared(&self, path: &Path) -> Result<Option<Box<dyn LockGuard>>, LockError> {
        self.disk.lock_shared(path)
    }

    fn probe_lock(&self, path: &Path) -> Result<(), LockError> {
        self.disk.probe_lock(path)
    }
}

impl DiskFile for GatedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if bytes.windows(STUCK.len()).any(|part| part == STUCK) {
            self.is_stuck.store(true, Ordering::Relaxed);
        }
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.is_stuck.load(Ordering::Relaxed) {
            self.gate.pass();
        }
        self.file.sync_data()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn release(&self, from: u64) -> io::Result<()> {
        self.file.release(from)
    }

    fn map(&self, length: u64) -> io::Result<Box<dyn Mapping>> {
        self.file.map(length)
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.file.drop_cache()
    }
}

/// A world of two shards, the second of which is stuck while the gate is closed and one of its records asks for it.
fn world() -> (World, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let gated = gate.clone();
    let world = World::with(2, move |options| {
        let disk = SimDisk::new(7);
        options.flusher_threads(2).disk(GatedDisk {
            disk,
            gate: gated.clone(),
        })
    });
    (world, gate)
}

fn records() -> [PutRecord<'static>; 2] {
    [
        PutRecord::new("free", b"free").explicit_hash_key(HashKey::MIN),
        PutRecord::new("stuck", STUCK).explicit_hash_key(HashKey::MAX),
    ]
}

#[test]
fn a_reader_is_woken_for_one_shard_while_another_of_the_round_is_being_synced() {
    explore(|| {
        let (world, gate) = world();
        let reading = world.thread(move |world| {
            let mut reader = world.stream.reader(StartingPosition::TrimHorizon).unwrap();
            let record = reader.next_within(Duration::MAX).unwrap().unwrap();
            assert_eq!(&record.data[..], b"free");
            gate.open();
        });
        let putting = world.thread(|world| drop(world.stream.put_records(&records()).unwrap()));
        join([reading, putting]);
        world.store.close().unwrap();
    });
}

#[test]
fn a_task_is_woken_for_one_shard_while_another_of_the_round_is_being_synced() {
    explore_often(3, || {
        let (world, gate) = world();
        let [free, _] = records();
        let put_into_both = world.thread(move |world| {
            let append = world.stream.append(&records()).unwrap();
            drop(shuttle::future::block_on(append).unwrap());
        });
        // The second record may gather while the first one is being committed.
        let put_into_the_free = world.thread(move |world| {
            let first = world.stream.append(&[free]).unwrap();
            let second = world.stream.append(&[free]).unwrap();
            drop(shuttle::future::block_on(first).unwrap());
            drop(shuttle::future::block_on(second).unwrap());
            gate.open();
        });
        join([put_into_both, put_into_the_free]);
        world.store.close().unwrap();
    });
}
