//! An outbox: a service writes down the messages it has to send, and a relay sends them later, even if the process dies
//! in between.
//!
//! Ten orders are taken. A relay in a separate process sends them, and dies half way. The next relay goes on from the
//! last checkpoint: every order arrives, some of them twice, and the sequence number tells the receiver which ones it
//! has seen.
//!
//! `cargo run --example outbox`

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anabranch::{Record, StartingPosition, Store, Stream, StreamOptions};

const ORDERS: u32 = 10;

/// The relay saves its checkpoint after this many orders.
const SENT_PER_CHECKPOINT: u32 = 3;

/// The first relay dies when it has sent this many.
const SENT_BEFORE_DEATH: u32 = 5;

/// Set for the process that is the first relay.
const RELAY_OF: &str = "OUTBOX_RELAY_OF";

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(directory) = std::env::var_os(RELAY_OF) {
        return relay(&PathBuf::from(directory), Some(SENT_BEFORE_DEATH));
    }
    let directory = tempfile::tempdir()?;
    take_orders(directory.path())?;

    let mut first = Command::new(std::env::current_exe()?);
    first
        .args(std::env::args().skip(1))
        .env(RELAY_OF, directory.path());
    let ended = first.status()?;
    println!("the first relay: {ended}");
    relay(directory.path(), None)?;

    let received = fs::read_to_string(receiver(directory.path()))?;
    let seen: BTreeSet<_> = received.lines().collect();
    println!("{} deliveries of {} orders", received.lines().count(), seen.len());
    assert!(!ended.success(), "the first relay was to die");
    assert_eq!(seen.len(), ORDERS as usize, "an order is lost");
    Ok(())
}

/// The service: an order that it has confirmed is in the outbox, whatever happens next.
fn take_orders(directory: &Path) -> anabranch::Result<()> {
    let store = Store::open(directory.join("store"))?;
    let outbox = outbox(&store)?;
    for number in 1..=ORDERS {
        let order = format!("{{\"order\": {number}}}");
        outbox.put(&format!("customer-{}", number % 3), order.as_bytes())?; // durable on return
    }
    store.close()
}

/// Sends the messages of the outbox, from the last checkpoint on. `dies_after` shows the effect of a crash.
fn relay(directory: &Path, dies_after: Option<u32>) -> Result<(), Box<dyn Error>> {
    let store = Store::open(directory.join("store"))?;
    let outbox = outbox(&store)?;
    let mut reader = outbox.resume_reader("relay", StartingPosition::TrimHorizon)?;
    let mut sent = 0;
    while let Some(record) = reader.next() {
        send(directory, &record?)?;
        sent += 1;
        if Some(sent) == dies_after {
            // As in a crash: nothing is closed, and no destructor runs.
            std::process::abort();
        }
        if sent % SENT_PER_CHECKPOINT == 0 {
            reader.save_checkpoint("relay")?;
        }
    }
    reader.save_checkpoint("relay")?;
    // Sent messages take no room any more.
    outbox.trim_to(&reader.checkpoint())?;
    println!("a relay sent {sent} orders");
    store.close()?;
    Ok(())
}

fn outbox(store: &Store) -> anabranch::Result<Stream> {
    store.open_or_create_stream("outbox", StreamOptions::default())
}

/// Stands for a call to another service, which has the order when this returns.
fn send(directory: &Path, order: &Record) -> std::io::Result<()> {
    let mut receiver = OpenOptions::new()
        .create(true)
        .append(true)
        .open(receiver(directory))?;
    writeln!(
        receiver,
        "{} {}",
        order.sequence_number,
        String::from_utf8_lossy(&order.data)
    )
}

fn receiver(directory: &Path) -> PathBuf {
    directory.join("received")
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().unwrap();
    }
}
