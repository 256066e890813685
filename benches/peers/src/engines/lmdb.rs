use std::path::Path;
use std::time::{Duration, Instant};

use heed::byteorder::BigEndian;
use heed::types::{Bytes, U64};
use heed::{Database, Env, EnvFlags, EnvOpenOptions, PutFlags};
use measure::Outcome;

use crate::engine::{Each, Engine, Level, Peer};

pub const ENGINE: Engine = Engine {
    name: "lmdb",
    synced: "commit: pwrite of pages, fdatasync, and the meta page by O_DSYNC: two flushes, one writer at a time",
    written: "commit with NO_SYNC: pwrite of pages",
    reading: "cursor over the mapping; there are no checksums",
    verifies: false,
    can_be_read_twice: true,
    open,
    read,
};

type Records = Database<U64<BigEndian>, Bytes>;

struct Lmdb {
    env: Env,
    records: Records,
}

fn env(directory: &Path, level: Level) -> Outcome<Env> {
    std::fs::create_dir_all(directory)?;
    let mut options = EnvOpenOptions::new();
    options.map_size(4 << 30);
    // SAFETY: the directory is this program's own, it is opened once at a time, and without a sync it is only read by
    // this program, which does not crash meanwhile.
    unsafe {
        if level == Level::Written {
            options.flags(EnvFlags::NO_SYNC);
        }
        Ok(options.open(directory)?)
    }
}

fn open(directory: &Path, level: Level) -> Outcome<Box<dyn Peer>> {
    let env = env(directory, level)?;
    let mut transaction = env.write_txn()?;
    let records = env.create_database(&mut transaction, None)?;
    transaction.commit()?;
    Ok(Box::new(Lmdb { env, records }))
}

impl Peer for Lmdb {
    fn append(&self, records: &[&[u8]], _: Level) -> Outcome<()> {
        let mut transaction = self.env.write_txn()?;
        let first = self
            .records
            .last(&transaction)?
            .map_or(0, |(number, _)| number + 1);
        for (number, record) in (first..).zip(records) {
            self.records
                .put_with_flags(&mut transaction, PutFlags::APPEND, &number, record)?;
        }
        Ok(transaction.commit()?)
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}

fn read(directory: &Path, each: Each<'_>) -> Outcome<Duration> {
    let env = env(directory, Level::Synced)?;
    let transaction = env.read_txn()?;
    let records: Records = env
        .open_database(&transaction, None)?
        .ok_or("LOST: the database")?;
    let begun = Instant::now();
    for record in records.iter(&transaction)? {
        each(record?.1)?;
    }
    let took = begun.elapsed();
    drop(transaction);
    env.prepare_for_closing().wait();
    Ok(took)
}
