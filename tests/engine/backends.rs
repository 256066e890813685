//! The same tests on each backend.

use anabranch::{Memory, Result, Store, StoreOptions};
use anabranch_harness::files::quick_parent;
use tempfile::TempDir;

/// Where a test keeps its store, which it may close and open again.
pub enum Place {
    Directory(TempDir),
    Memory(Memory),
}

impl Place {
    pub fn directory() -> Self {
        Self::Directory(tempfile::tempdir_in(quick_parent()).unwrap())
    }

    pub fn memory() -> Self {
        Self::Memory(Memory::new())
    }

    /// Another one on the same backend.
    pub fn another(&self) -> Self {
        match self {
            Self::Directory(_) => Self::directory(),
            Self::Memory(_) => Self::memory(),
        }
    }

    /// The memory, if it is that.
    pub fn in_memory(&self) -> Option<Memory> {
        match self {
            Self::Directory(_) => None,
            Self::Memory(memory) => Some(memory.clone()),
        }
    }

    pub fn open(&self) -> Store {
        self.open_with(&StoreOptions::new())
    }

    pub fn open_with(&self, options: &StoreOptions) -> Store {
        self.try_open(options).unwrap()
    }

    /// In memory one of three reads of a shard has to wait.
    pub fn try_open(&self, options: &StoreOptions) -> Result<Store> {
        match self {
            Self::Directory(directory) => options.open(directory.path()),
            Self::Memory(memory) => options.clone().reads_for_each_wait(3).open_in_memory(memory),
        }
    }
}

/// Makes tests of functions that take a place: one for each backend.
macro_rules! on_each_backend {
    ($($test:ident),+ $(,)?) => {
        mod in_a_directory {
            $(#[test]
            fn $test() {
                super::$test(&crate::backends::Place::directory());
            })+
        }

        mod in_memory {
            $(#[test]
            fn $test() {
                super::$test(&crate::backends::Place::memory());
            })+
        }
    };
}
pub(crate) use on_each_backend;
