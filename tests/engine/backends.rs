//! The same tests on each backend.

#[cfg(feature = "nats")]
use std::path::Path;

#[cfg(feature = "nats")]
use anabranch::JetStream;
use anabranch::{Memory, Result, Store, StoreOptions};
use anabranch_harness::files::quick_parent;
#[cfg(feature = "nats")]
use anabranch_harness::nats;
use tempfile::TempDir;

/// The place of a test's store, which the test may close and open again.
pub enum Place {
    Directory(TempDir),
    Memory(Memory),
    #[cfg(feature = "nats")]
    Cluster(JetStream),
}

impl Place {
    pub fn directory() -> Self {
        Self::Directory(tempfile::tempdir_in(quick_parent()).unwrap())
    }

    pub fn memory() -> Self {
        Self::Memory(Memory::new())
    }

    /// A new store on the one server that all tests of this process share. There is no server on machines for which
    /// none can be installed. Tests that need more than a cluster promises are left out.
    #[cfg(feature = "nats")]
    pub fn cluster(test: &str) -> Option<Self> {
        if let Some((_, reason)) = NOT_ON_A_CLUSTER.iter().find(|(name, _)| *name == test) {
            eprintln!("not on a cluster: {reason}");
            return None;
        }
        let server = match nats::shared(Path::new(env!("CARGO_TARGET_TMPDIR")), 1) {
            Ok(server) => server,
            Err(reason) => {
                eprintln!("not on a cluster: nats-server cannot be installed: {reason}");
                return None;
            }
        };
        let cluster = JetStream::at(&server.url()).unwrap();
        let cluster = cluster.store_name(&nats::new_store_name()).unwrap();
        let cluster = cluster.replicas(1).unwrap();
        Some(Self::Cluster(cluster.monitors(&server.monitors()).unwrap()))
    }

    /// Another place on the same backend.
    pub fn another(&self) -> Self {
        match self {
            Self::Directory(_) => Self::directory(),
            Self::Memory(_) => Self::memory(),
            #[cfg(feature = "nats")]
            Self::Cluster(_) => Self::cluster("").expect("it was there a moment ago"),
        }
    }

    /// The memory, if the place is in memory.
    pub fn in_memory(&self) -> Option<Memory> {
        match self {
            Self::Memory(memory) => Some(memory.clone()),
            _ => None,
        }
    }

    pub fn open(&self) -> Store {
        self.open_with(&StoreOptions::new())
    }

    pub fn open_with(&self, options: &StoreOptions) -> Store {
        self.try_open(options).unwrap()
    }

    /// In memory, one of three reads of a shard has to wait.
    pub fn try_open(&self, options: &StoreOptions) -> Result<Store> {
        match self {
            Self::Directory(directory) => options.open(directory.path()),
            Self::Memory(memory) => options.clone().reads_for_each_wait(3).open_in_memory(memory),
            #[cfg(feature = "nats")]
            Self::Cluster(cluster) => options.open_jetstream(cluster),
        }
    }
}

/// The tests that run on one backend only, by their requirements.
#[cfg(feature = "nats")]
const NOT_ON_A_CLUSTER: [(&str, &str); 4] = [
    (
        "a_batch_up_to_the_limit_is_read_back_and_a_larger_one_is_refused_whole",
        "what one call puts into a shard is a message, and that is smaller",
    ),
    (
        "a_second_opener_is_told_who_has_the_store",
        "the error is another one; tests/cluster/owners.rs has it",
    ),
    (
        "shards_are_counted_as_they_open_and_close",
        "how much room the servers have is not known",
    ),
    (
        "what_was_counted_ends_with_the_store",
        "how much is stored is asked when the store is opened, and once a minute",
    ),
];

/// Makes tests of functions with a place as parameter: one for each backend.
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

        #[cfg(feature = "nats")]
        mod on_a_cluster {
            $(#[test]
            fn $test() {
                if let Some(place) = crate::backends::Place::cluster(stringify!($test)) {
                    super::$test(&place);
                }
            })+
        }
    };
}
pub(crate) use on_each_backend;
