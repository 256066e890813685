//! All operations of a program on a store, as values that a scenario lists and a random test generates.

use std::io;
use std::time::Duration;

use anabranch::SizeLimits;
use anabranch::sim::{Calls, LossMode, Operation, SimDisk};

/// One operation. Streams are named by a small number; shards by their place among the shards that are open at that
/// time.
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
    /// Encrypts records put from now on with another key, or not at all. Done only where changes take no time.
    Encrypt {
        stream: u8,
        key: Option<u8>,
    },
    Retain {
        stream: u8,
        hours: u32,
    },
    /// Reads some records of every shard and saves the checkpoint.
    Checkpoint {
        stream: u8,
        records: usize,
    },
    /// Reads some records of every shard and trims the stream to that checkpoint.
    Trim {
        stream: u8,
        records: usize,
    },
    /// Trims the stream to the checkpoint that was saved last. After a crash it may be ahead of the records.
    TrimToSaved {
        stream: u8,
    },
    /// Limits the size of the stream. Done only where changes take no time.
    Limit {
        stream: u8,
        limits: SizeLimits,
    },
    /// Reads some records of every shard and keeps them, and also keeps a reader that has read as many.
    Hold {
        stream: u8,
        records: usize,
    },
    /// Checks everything that is kept, lets the readers go on, and drops all of it.
    LetGo,
    /// Compares everything with the model.
    Look,
    /// Puts files into the store's directories whose names no store makes.
    Litter,
    /// One round of house-keeping.
    Maintain,
    Advance(Duration),
    /// A day and an hour pass, with two rounds of house-keeping: earlier records that expire by default are trimmed.
    Expire,
    /// The clock is set wrong, house-keeping runs, and the clock is set right again.
    Glitch {
        by: Duration,
        forward: bool,
        reopened: bool,
    },
    /// A clean close, and the next opener.
    Reopen,
    /// The process, or the machine, ends here.
    Crash(LossMode),
    /// A later call does not return: the machine stops in it, and this decides what the crash leaves.
    CrashIn {
        calls: u64,
        mode: LossMode,
    },
    /// A later call fails.
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

    /// Lets the nth call from now on that can fail in this way do so.
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
