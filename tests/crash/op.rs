//! Everything that a program does with a store, as values that a scenario lists and a random test makes up.

use std::io;
use std::time::Duration;

use anabranch::SizeLimits;
use anabranch::sim::{Calls, LossMode, Operation, SimDisk};

/// One step. Streams are named by a small number; shards by their place among the open ones, whatever they are then.
#[derive(Clone, Debug)]
pub enum Op {
    Create {
        stream: u8,
        shards: u32,
    },
    Delete {
        stream: u8,
    },
    Put {
        stream: u8,
        key: u8,
        bytes: usize,
    },
    /// One call with many records, which may go to many shards.
    Batch {
        stream: u8,
        records: Vec<(u8, usize)>,
    },
    /// Several calls that are waited for only after the last, so that a group forms.
    Appends {
        stream: u8,
        records: Vec<(u8, usize)>,
    },
    /// Splits the nth open shard in its middle.
    Split {
        stream: u8,
        nth: usize,
    },
    /// Merges the nth open shard with the one above it.
    Merge {
        stream: u8,
        nth: usize,
    },
    /// Gives the stream another number of open shards, by many steps.
    ShardCount {
        stream: u8,
        target: u32,
    },
    /// Has what is put from now on encrypted with another key, or not at all. Done only where changes take no time.
    Encrypt {
        stream: u8,
        key: Option<u8>,
    },
    Retain {
        stream: u8,
        hours: u32,
    },
    /// Reads some records of every shard and saves how far that came.
    Checkpoint {
        stream: u8,
        records: usize,
    },
    /// Reads some records of every shard and trims the stream to how far that came.
    Trim {
        stream: u8,
        records: usize,
    },
    /// Trims the stream to the checkpoint that was saved last, which a crash can have left ahead of the records.
    TrimToSaved {
        stream: u8,
    },
    /// Has the stream keep no more than so much. Done only where changes take no time.
    Limit {
        stream: u8,
        limits: SizeLimits,
    },
    /// Reads some records of every shard and keeps them, and a reader that has read as many.
    Hold {
        stream: u8,
        records: usize,
    },
    /// Looks at what is kept, has the readers go on, and lets go of all of it.
    LetGo,
    /// Compares everything with the model.
    Look,
    /// Somebody puts names into the store's directories that no store makes.
    Litter,
    /// One round of house-keeping.
    Maintain,
    Advance(Duration),
    /// A day and an hour pass, with two rounds of house-keeping: what was put before and expires by default is trimmed.
    Expire,
    /// The clock is set wrong, the keeper comes by, and the clock is set right again.
    Glitch {
        by: Duration,
        forward: bool,
        reopened: bool,
    },
    /// A clean close, and the next opener.
    Reopen,
    /// The process, or the machine, ends here.
    Crash(LossMode),
    /// Some later call does not come back: the machine has stopped in it, and this is what it leaves.
    CrashIn {
        calls: u64,
        mode: LossMode,
    },
    /// Some later call fails.
    Fail {
        calls: u64,
        fault: Fault,
    },
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk answers with an error (EIO).
    Broken,
    /// The disk is full.
    Full,
    /// A write writes a part, and the disk answers with an error.
    Short,
    /// A write writes a part, and the disk is full.
    ShortAndFull,
    /// The process has as many files open as it may.
    OutOfFiles,
}

impl Fault {
    pub const ALL: [Self; 5] = [
        Self::Broken,
        Self::Full,
        Self::Short,
        Self::ShortAndFull,
        Self::OutOfFiles,
    ];

    /// Has the nth call from now on that can fail so do it.
    pub fn arm(self, disk: &SimDisk, call: u64) {
        let faults = disk.faults();
        let making_room = Operation::Write
            | Operation::Allocate
            | Operation::SetLength
            | Operation::CreateDir
            | Operation::Open
            | Operation::Rename
            | Operation::SyncData
            | Operation::SyncDir;
        match self {
            Self::Broken => faults.fail_nth(Calls::ALL, call, io::ErrorKind::Other),
            Self::Full => faults.fail_nth(making_room, call, io::ErrorKind::StorageFull),
            Self::Short => faults.short_write_nth(call, io::ErrorKind::Other),
            Self::ShortAndFull => faults.short_write_nth(call, io::ErrorKind::StorageFull),
            Self::OutOfFiles => faults.run_out_of_files_nth(call),
        };
    }
}

pub fn stream_name(stream: u8) -> String {
    format!("stream-{stream}")
}
