//! Opening a store.

use std::path::Path;
use std::sync::Arc;

use super::core::StoreCore;
use super::event::StoreEvent;
use super::keeper_signal::KeeperSignal;
use super::load_windows::LoadWindows;
use super::open_queues::OpenQueues;
use super::options::StoreOptions;
use super::timekeeper::TimeKeeper;
use super::transitions::Transitions;
#[cfg(feature = "nats")]
use crate::backend::jetstream::{self, JetStream};
use crate::backend::memory::Memory;
use crate::backend::{Opened, local, memory};
use crate::error::{InvalidArgument, Result};
use crate::seam::ReadCounters;
use crate::sync::{AtomicBool, Mutex};
use crate::trace::{self, Happening};

impl StoreCore {
    pub(super) fn open(options: &StoreOptions, directory: &Path) -> Result<Arc<Self>> {
        let keeper = Arc::new(KeeperSignal::default());
        let on_want = {
            let keeper = keeper.clone();
            move || keeper.wake()
        };
        trace::while_opening(directory, || {
            let opened = local::open(&options.local, directory, options.clock.0.clone(), on_want)?;
            Self::begin_with(opened, keeper, options)
        })
    }

    pub(super) fn open_in_memory(options: &StoreOptions, memory: &Memory) -> Result<Arc<Self>> {
        if options.local.read_only {
            return Err(InvalidArgument::ReadOnlyInMemory.into());
        }
        let opened = memory::open(options.memory, memory, || options.local.new_identity())?;
        Self::begin_with(opened, Arc::default(), options)
    }

    #[cfg(feature = "nats")]
    pub(super) fn open_jetstream(options: &StoreOptions, cluster: &JetStream) -> Result<Arc<Self>> {
        let refused = |reason: &str| InvalidArgument::ClusterOption {
            reason: reason.to_owned(),
        };
        if options.local.read_only {
            return Err(refused("a store on a cluster is not only read").into());
        }
        if options.key_ring().is_some() {
            return Err(refused("a store on a cluster does not encrypt records: its servers can").into());
        }
        let opened = jetstream::open(cluster, options.local.max_group_bytes, || {
            options.local.new_identity()
        })?;
        Self::begin_with(opened, Arc::default(), options)
    }

    fn begin_with(opened: Opened, keeper: Arc<KeeperSignal>, options: &StoreOptions) -> Result<Arc<Self>> {
        let Opened {
            catalog,
            logs,
            damage,
        } = opened;
        let is_read_only = options.local.is_read_only();
        let is_following = options.local.is_following;
        let (time, clock_step) = TimeKeeper::begin(options.clock.clone(), catalog.read().clock);
        let load_windows = LoadWindows::new(time.monotonic());
        let core = Arc::new(Self {
            catalog,
            logs,
            keeper,
            options: options.clone(),
            is_read_only,
            is_following,
            streams: Mutex::default(),
            open_queues: OpenQueues::default(),
            time,
            transitions: Transitions::new(),
            load_windows,
            maintaining: Mutex::default(),
            taking_snapshot: Mutex::default(),
            is_closed: AtomicBool::new(false),
            reads: ReadCounters::default(),
        });
        for error in damage {
            core.tell(&StoreEvent::DamageFound { error });
        }
        if let Some(step) = clock_step {
            core.tell(&StoreEvent::ClockStepped(step));
            if !is_read_only {
                core.correct_clock_note(step)?;
            }
        }
        if !is_read_only {
            core.note_next_due();
        }
        trace::tell(&Happening::Opened {
            streams: core.catalog.read().streams().len(),
            is_read_only,
        });
        Ok(core)
    }
}
