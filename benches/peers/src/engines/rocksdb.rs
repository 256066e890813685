use std::ffi::{CStr, CString, c_char, c_int, c_uchar, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use measure::Outcome;

use crate::engine::{Each, Engine, Level, Peer};

pub const ENGINE: Engine = Engine {
    name: "rocksdb",
    synced: "write, WriteOptions.sync: write and fdatasync of the WAL, one for all that waited",
    written: "write, WriteOptions.sync=false: write",
    reading: "iterator; checksum of every block checked",
    verifies: true,
    can_be_read_twice: true,
    open,
    read,
};

/// A handle of the library.
type Handle = *mut c_void;

#[link(name = "rocksdb")]
unsafe extern "C" {
    fn rocksdb_options_create() -> Handle;
    fn rocksdb_options_set_create_if_missing(options: Handle, yes: c_uchar);
    fn rocksdb_options_set_max_background_jobs(options: Handle, jobs: c_int);
    fn rocksdb_open(options: Handle, name: *const c_char, error: *mut *mut c_char) -> Handle;
    fn rocksdb_close(db: Handle);
    fn rocksdb_writeoptions_create() -> Handle;
    fn rocksdb_writeoptions_set_sync(options: Handle, yes: c_uchar);
    fn rocksdb_writebatch_create() -> Handle;
    fn rocksdb_writebatch_put(
        batch: Handle,
        key: *const c_char,
        key_len: usize,
        value: *const c_char,
        value_len: usize,
    );
    fn rocksdb_writebatch_destroy(batch: Handle);
    fn rocksdb_write(db: Handle, options: Handle, batch: Handle, error: *mut *mut c_char);
    fn rocksdb_readoptions_create() -> Handle;
    fn rocksdb_create_iterator(db: Handle, options: Handle) -> Handle;
    fn rocksdb_iter_seek_to_first(iterator: Handle);
    fn rocksdb_iter_valid(iterator: Handle) -> c_uchar;
    fn rocksdb_iter_next(iterator: Handle);
    fn rocksdb_iter_value(iterator: Handle, len: *mut usize) -> *const c_char;
    fn rocksdb_iter_destroy(iterator: Handle);
    fn rocksdb_free(pointer: *mut c_void);
}

struct RocksDb {
    db: Handle,
    write_options: Handle,
    next: AtomicU64,
}

// SAFETY: the library's handles may be used by several threads at once; the write options are not changed any more.
unsafe impl Sync for RocksDb {}

fn open_db(directory: &Path) -> Outcome<Handle> {
    let name = CString::new(directory.as_os_str().as_bytes())?;
    let mut error = ptr::null_mut();
    // SAFETY: the name ends with a zero, and the options live as long as the process.
    let db = unsafe {
        let options = rocksdb_options_create();
        rocksdb_options_set_create_if_missing(options, 1);
        rocksdb_options_set_max_background_jobs(options, 2);
        rocksdb_open(options, name.as_ptr(), &mut error)
    };
    check(error)?;
    Ok(db)
}

fn check(error: *mut c_char) -> Outcome<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: an error is a string that ends with a zero and is ours to free.
    unsafe {
        let message = CStr::from_ptr(error).to_string_lossy().into_owned();
        rocksdb_free(error.cast());
        Err(message.into())
    }
}

fn open(directory: &Path, level: Level) -> Outcome<Box<dyn Peer>> {
    let db = open_db(directory)?;
    // SAFETY: plain calls of a constructor and a setter.
    let write_options = unsafe {
        let options = rocksdb_writeoptions_create();
        rocksdb_writeoptions_set_sync(options, c_uchar::from(level == Level::Synced));
        options
    };
    Ok(Box::new(RocksDb {
        db,
        write_options,
        next: AtomicU64::new(0),
    }))
}

impl Peer for RocksDb {
    fn append(&self, records: &[&[u8]], _: Level) -> Outcome<()> {
        let first = self.next.fetch_add(records.len() as u64, Ordering::Relaxed);
        let mut error = ptr::null_mut();
        // SAFETY: the library copies keys and values; the batch is destroyed once.
        unsafe {
            let batch = rocksdb_writebatch_create();
            for (number, record) in (first..).zip(records) {
                let key = number.to_be_bytes();
                rocksdb_writebatch_put(
                    batch,
                    key.as_ptr().cast(),
                    key.len(),
                    record.as_ptr().cast(),
                    record.len(),
                );
            }
            rocksdb_write(self.db, self.write_options, batch, &mut error);
            rocksdb_writebatch_destroy(batch);
        }
        check(error)
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        // SAFETY: the handle is not used any more.
        unsafe { rocksdb_close(self.db) };
        Ok(())
    }
}

fn read(directory: &Path, each: Each<'_>) -> Outcome<Duration> {
    let db = open_db(directory)?;
    let begun = Instant::now();
    // SAFETY: a value is valid until the iterator moves on.
    let took = unsafe {
        let iterator = rocksdb_create_iterator(db, rocksdb_readoptions_create());
        rocksdb_iter_seek_to_first(iterator);
        while rocksdb_iter_valid(iterator) != 0 {
            let mut length = 0;
            let value = rocksdb_iter_value(iterator, &mut length);
            each(std::slice::from_raw_parts(value.cast(), length))?;
            rocksdb_iter_next(iterator);
        }
        let took = begun.elapsed();
        rocksdb_iter_destroy(iterator);
        rocksdb_close(db);
        took
    };
    Ok(took)
}
