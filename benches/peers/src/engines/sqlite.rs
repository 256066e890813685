use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use measure::Outcome;
use rusqlite::Connection;

use crate::engine::{Each, Engine, Level, Peer};

pub const ENGINE: Engine = Engine {
    name: "sqlite",
    synced: "commit, WAL, synchronous=FULL: pwrite and fsync of the WAL, one connection behind our mutex",
    written: "commit, WAL, synchronous=OFF: pwrite",
    reading: "SELECT in the order of the key; no checksum checked",
    verifies: false,
    can_be_read_twice: true,
    open,
    read,
};

struct Shared(Mutex<Connection>);

fn open(directory: &Path, level: Level) -> Outcome<Box<dyn Peer>> {
    std::fs::create_dir_all(directory)?;
    let connection = Connection::open(directory.join("sqlite"))?;
    let synchronous = match level {
        Level::Synced => "FULL",
        Level::Written => "OFF",
    };
    connection.execute_batch(&format!(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous};
         CREATE TABLE records (number INTEGER PRIMARY KEY, data BLOB NOT NULL);"
    ))?;
    Ok(Box::new(Shared(Mutex::new(connection))))
}

impl Peer for Shared {
    fn append(&self, records: &[&[u8]], _: Level) -> Outcome<()> {
        let mut connection = self.0.lock().map_err(|_| "a writer panicked")?;
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO records (data) VALUES (?1)")?;
            for record in records {
                insert.execute([record])?;
            }
        }
        Ok(transaction.commit()?)
    }
}

fn read(directory: &Path, each: Each<'_>) -> Outcome<Duration> {
    let connection = Connection::open(directory.join("sqlite"))?;
    let begun = Instant::now();
    let mut select = connection.prepare("SELECT data FROM records ORDER BY number")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        each(row.get_ref(0)?.as_blob()?)?;
    }
    Ok(begun.elapsed())
}
