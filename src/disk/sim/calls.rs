//! The kinds of I/O calls, sets of them, and the record of one.

use std::fmt;
use std::io;
use std::ops::BitOr;
use std::path::PathBuf;

/// A kind of I/O call, one for each verb of [`Disk`](crate::disk::Disk) and [`DiskFile`](crate::disk::DiskFile) but
/// [`Disk::space`](crate::disk::Disk::space) and [`Disk::resolve`](crate::disk::Disk::resolve), which change and read
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is the verb of the same name")]
pub enum Operation {
    Open,
    CreateDir,
    List,
    Kind,
    Rename,
    Share,
    CountNames,
    RemoveFile,
    RemoveDir,
    SyncDir,
    Entropy,
    Lock,
    Length,
    Read,
    Write,
    SyncData,
    Allocate,
    SetLength,
    Release,
    Map,
    DropCache,
}

impl Operation {
    pub(super) const COUNT: usize = Self::ALL.len();

    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 21] = [
        Self::Open,
        Self::CreateDir,
        Self::List,
        Self::Kind,
        Self::Rename,
        Self::Share,
        Self::CountNames,
        Self::RemoveFile,
        Self::RemoveDir,
        Self::SyncDir,
        Self::Entropy,
        Self::Lock,
        Self::Length,
        Self::Read,
        Self::Write,
        Self::SyncData,
        Self::Allocate,
        Self::SetLength,
        Self::Release,
        Self::Map,
        Self::DropCache,
    ];
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::CreateDir => "create_dir",
            Self::List => "list",
            Self::Kind => "kind",
            Self::Rename => "rename",
            Self::Share => "share",
            Self::CountNames => "count_names",
            Self::RemoveFile => "remove_file",
            Self::RemoveDir => "remove_dir",
            Self::SyncDir => "sync_dir",
            Self::Entropy => "entropy",
            Self::Lock => "lock",
            Self::Length => "len",
            Self::Read => "read",
            Self::Write => "write",
            Self::SyncData => "sync_data",
            Self::Allocate => "allocate",
            Self::SetLength => "set_len",
            Self::Release => "release",
            Self::Map => "map",
            Self::DropCache => "drop_cache",
        })
    }
}

/// A set of kinds of calls: one [`Operation`], several joined with `|`, or one of the constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls(u32);

impl Calls {
    /// Every call.
    pub const ALL: Self = Self((1 << Operation::COUNT) - 1);

    /// The calls that may change what a crash leaves. Opening and locking may create a file, so they are among them.
    pub const CHANGING: Self = Self(Self::ALL.0 & !Self::READING.0);

    /// The calls that only read.
    pub const READING: Self = Self(
        1 << Operation::List as u32
            | 1 << Operation::Kind as u32
            | 1 << Operation::CountNames as u32
            | 1 << Operation::Entropy as u32
            | 1 << Operation::Length as u32
            | 1 << Operation::Read as u32
            | 1 << Operation::Map as u32
            | 1 << Operation::DropCache as u32,
    );

    /// The calls that a file system mounted read-only refuses. It also refuses to open files for writing.
    pub(super) const WRITING: Self = Self(
        1 << Operation::CreateDir as u32
            | 1 << Operation::Rename as u32
            | 1 << Operation::Share as u32
            | 1 << Operation::RemoveFile as u32
            | 1 << Operation::RemoveDir as u32
            | 1 << Operation::Write as u32
            | 1 << Operation::Allocate as u32
            | 1 << Operation::SetLength as u32
            | 1 << Operation::Release as u32,
    );

    pub(super) fn contains(self, operation: Operation) -> bool {
        self.0 & 1 << operation as u32 != 0
    }
}

impl From<Operation> for Calls {
    fn from(operation: Operation) -> Self {
        Self(1 << operation as u32)
    }
}

impl<C: Into<Calls>> BitOr<C> for Calls {
    type Output = Calls;

    fn bitor(self, other: C) -> Calls {
        Calls(self.0 | other.into().0)
    }
}

impl<C: Into<Calls>> BitOr<C> for Operation {
    type Output = Calls;

    fn bitor(self, other: C) -> Calls {
        Calls::from(self) | other
    }
}

/// One I/O call, as [`SimDisk::trace`](super::SimDisk::trace) lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its place among all calls of the disk, from 1.
    pub number: u64,
    /// Its kind.
    pub operation: Operation,
    /// The path it was made on. For an open file, the name that the file has now.
    pub path: PathBuf,
    /// The offset, length, mode or new name, as far as the operation has them, for people to read.
    pub detail: String,
    /// How it failed, if it did.
    pub failed: Option<io::ErrorKind>,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>5} {:<11} {}",
            self.number,
            self.operation,
            self.path.display()
        )?;
        if !self.detail.is_empty() {
            write!(f, " {}", self.detail)?;
        }
        match self.failed {
            None => Ok(()),
            Some(kind) => write!(f, " -> {kind}"),
        }
    }
}
