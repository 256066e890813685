use std::path::Path;
use std::time::{Duration, Instant};

use measure::Outcome;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use crate::engine::{Each, Engine, Level, Peer};

pub const ENGINE: Engine = Engine {
    name: "redb",
    synced: "commit with Durability::Immediate: pwrite of pages and fdatasync, one writer at a time",
    // Durability::None keeps the records in the process: nothing reaches the file before the next durable commit.
    written: "",
    reading: "Table::iter; no checksum checked",
    verifies: false,
    can_be_read_twice: true,
    open,
    read,
};

const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");

fn open(directory: &Path, _: Level) -> Outcome<Box<dyn Peer>> {
    std::fs::create_dir_all(directory)?;
    Ok(Box::new(Database::create(directory.join("redb"))?))
}

impl Peer for Database {
    fn append(&self, records: &[&[u8]], _: Level) -> Outcome<()> {
        let mut transaction = self.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut table = transaction.open_table(RECORDS)?;
            let first = table.last()?.map_or(0, |(number, _)| number.value() + 1);
            for (number, record) in (first..).zip(records) {
                table.insert(number, *record)?;
            }
        }
        Ok(transaction.commit()?)
    }
}

fn read(directory: &Path, each: Each<'_>) -> Outcome<Duration> {
    let database = Database::open(directory.join("redb"))?;
    let begun = Instant::now();
    let transaction = database.begin_read()?;
    for record in transaction.open_table(RECORDS)?.iter()? {
        each(record?.1.value())?;
    }
    Ok(begun.elapsed())
}
