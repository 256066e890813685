//! What a crash does to a program, tried in every call that it makes to the disk.
//!
//! The program moves money: it puts a transfer, and then reports it as done. The machine stops in the first call to the
//! disk, then in the second, and so on, and each time the disk is one that a power cut could have left. Every transfer
//! that was reported as done must be there.
//!
//! `cargo run --example crash_recovery --features sim`

use anabranch::sim::{Calls, LossMode, SimDisk};
use anabranch::{Error, StartingPosition, Store, StoreOptions};

const TRANSFERS: u32 = 3;

fn main() -> anabranch::Result<()> {
    let mut crashes = 0;
    for call in 1.. {
        let disk = SimDisk::new(call);
        disk.faults().freeze_nth(Calls::ALL, call);
        let mut done = Vec::new();
        // Errors are expected: the machine is about to stop.
        if let Ok(store) = options(&disk).open("store") {
            let _ = transfer(&store, &mut done);
        }
        if !disk.is_frozen() {
            break;
        }
        crashes += 1;

        let store = options(&disk.crash(LossMode::Random)).open("store")?;
        let found = transfers(&store)?;
        assert!(
            found.starts_with(&done),
            "call {call}: {done:?} are done, and {found:?} are there"
        );
    }
    println!("{crashes} crashes, and no transfer is lost");
    Ok(())
}

/// The program under test.
fn transfer(store: &Store, done: &mut Vec<String>) -> anabranch::Result<()> {
    let ledger = store.create_stream("ledger", 1)?;
    for number in 1..=TRANSFERS {
        let transfer = format!("transfer {number}");
        ledger.put("account-7", transfer.as_bytes())?;
        done.push(transfer);
    }
    store.close()
}

fn transfers(store: &Store) -> anabranch::Result<Vec<String>> {
    let ledger = match store.stream("ledger") {
        // The machine stopped before there was one.
        Err(Error::StreamNotFound { .. }) => return Ok(Vec::new()),
        ledger => ledger?,
    };
    ledger
        .reader(StartingPosition::TrimHorizon)?
        .map(|record| Ok(String::from_utf8_lossy(&record?.data).into_owned()))
        .collect()
}

/// Without background threads, the calls come in the same order each time.
fn options(disk: &SimDisk) -> StoreOptions {
    StoreOptions::new()
        .keeper(false)
        .flusher_threads(1)
        .disk(disk.clone())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().unwrap();
    }
}
