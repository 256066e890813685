use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use measure::Outcome;
use okaywal::{Configuration, Entry, EntryId, LogManager, SegmentReader, WriteAheadLog};

use crate::engine::{Each, Engine, Level, Peer};

pub const ENGINE: Engine = Engine {
    name: "okaywal",
    synced: "EntryWriter::commit: write and fdatasync of a zero-filled file, one for all that waited",
    written: "",
    reading: "replay at opening",
    verifies: true,
    can_be_read_twice: false,
    open,
    read,
};

/// Prefilled for a whole turn, and without checkpoints, which would drop the entries.
fn configuration(directory: &Path) -> Configuration {
    Configuration::default_for(directory)
        .preallocate_bytes(384 << 20)
        .checkpoint_after_bytes(1 << 40)
}

fn open(directory: &Path, _: Level) -> Outcome<Box<dyn Peer>> {
    Ok(Box::new(configuration(directory).open(Replayed::default())?))
}

impl Peer for WriteAheadLog {
    fn append(&self, records: &[&[u8]], _: Level) -> Outcome<()> {
        let mut entry = self.begin_entry()?;
        for record in records {
            entry.write_chunk(record)?;
        }
        entry.commit()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(self.shutdown()?)
    }
}

#[derive(Clone, Debug, Default)]
struct Replayed(Arc<Mutex<Vec<Vec<u8>>>>);

impl LogManager for Replayed {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        if let Some(chunks) = entry.read_all_chunks()? {
            self.0.lock().expect("nobody panics here").extend(chunks);
        }
        Ok(())
    }

    fn checkpoint_to(&mut self, _: EntryId, _: &mut SegmentReader, _: &WriteAheadLog) -> io::Result<()> {
        Ok(())
    }
}

fn read(directory: &Path, each: Each<'_>) -> Outcome<Duration> {
    let replayed = Replayed::default();
    let begun = Instant::now();
    let log = configuration(directory).open(replayed.clone())?;
    let took = begun.elapsed();
    for record in replayed.0.lock().expect("nobody panics here").iter() {
        each(record)?;
    }
    log.shutdown()?;
    Ok(took)
}
