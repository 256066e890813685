//! A segment: one file of an open log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::hold::{Holds, SegmentHold};
use super::pool::{SegmentPool, remove_if_there};
use super::segment_keys::SegmentKeys;
use super::write_back::WriteBack;
use crate::disk::Disk;
use crate::encryption::{DataKey, KeyFingerprint};
use crate::error::{Error, Result};
use crate::log::format::frame::FrameSeed;
use crate::log::format::identity::LogIdentity;
use crate::log::format::index::SparseIndex;
use crate::log::format::segment_header::SegmentEntry;
use crate::model::LogName;
use crate::sync::{Mutex, OnceLock, RwLock};

/// A segment of an open log.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Distinguishes this open segment from all others of the process.
    pub(crate) handle: u64,
    pub(crate) entry: SegmentEntry,
    pub(crate) log: LogIdentity,
    pub(crate) seed: FrameSeed,
    pub(crate) path: PathBuf,
    pub(crate) index_path: PathBuf,
    /// Whether the file was a segment before the store was opened. Records that an earlier opener handed out, in
    /// this process or another, may still share its mapping.
    is_inherited: bool,
    /// The index while the segment is the last one. Sealed segments have theirs in a file.
    pub(crate) live_index: RwLock<Option<SparseIndex>>,
    /// The segment's name in the commit journal, after its first use there.
    pub(crate) frame_home: OnceLock<String>,
    holds: Holds,
    pub(crate) write_back: Arc<WriteBack>,
    /// The key of its frames, and the revision of the keys at which it was usable.
    data_key: Mutex<Option<(u64, Arc<DataKey>)>>,
}

impl Segment {
    /// A segment that existed before the store was opened.
    pub(crate) fn inherited(log: LogIdentity, entry: SegmentEntry, directory: &Path) -> Self {
        Self {
            is_inherited: true,
            ..Self::new(log, entry, directory)
        }
    }

    pub(crate) fn new(log: LogIdentity, entry: SegmentEntry, directory: &Path) -> Self {
        static NEXT_HANDLE: AtomicU64 = AtomicU64::new(0);
        Self {
            handle: NEXT_HANDLE.fetch_add(1, Ordering::Relaxed),
            entry,
            log,
            seed: FrameSeed::new(log, entry.salt),
            path: directory.join(entry.file_name()),
            index_path: directory.join(entry.index_name()),
            is_inherited: false,
            live_index: RwLock::new(None),
            frame_home: OnceLock::new(),
            holds: Holds::default(),
            write_back: Arc::default(),
            data_key: Mutex::default(),
        }
    }

    /// A new segment whose key was just drawn.
    pub(crate) fn with_data_key(self, revision: u64, key: Option<Arc<DataKey>>) -> Self {
        Self {
            data_key: Mutex::new(key.map(|key| (revision, key))),
            ..self
        }
    }

    /// Whether frames with this key, or without a key, can be in it.
    pub(crate) fn is_encrypted_with(&self, wanted: Option<KeyFingerprint>) -> bool {
        self.entry.encryption.map(|key| key.wrapped_with) == wanted
    }

    /// The key of its frames, if they are encrypted.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`]; [`Error::Corrupt`] if the header page has a key that was not made for this segment.
    pub(crate) fn data_key(&self, keys: &dyn SegmentKeys) -> Result<Option<Arc<DataKey>>> {
        let Some(encryption) = &self.entry.encryption else {
            return Ok(None);
        };
        // Read before the key: a key that is removed meanwhile is not kept for long.
        let revision = keys.revision();
        let mut known = self.data_key.lock();
        if let Some((_, key)) = known.as_ref().filter(|(known, _)| *known == revision) {
            return Ok(Some(key.clone()));
        }
        *known = None;
        let key = keys.unwrap(self.log, self.entry.salt, encryption)?;
        let key = key.map(Arc::new).ok_or_else(|| {
            Error::corrupt(
                &self.path,
                0,
                "the key in the header page is not the one of this segment",
            )
        })?;
        *known = Some((revision, key.clone()));
        Ok(Some(key))
    }

    /// Keeps the file from being recycled or removed; `None` once the log no longer names the segment.
    pub(crate) fn hold(&self) -> Option<SegmentHold> {
        self.holds.begin()
    }

    /// Notes that the log no longer names this segment. No new hold begins after this.
    pub(crate) fn forget(&self) {
        self.holds.forget();
    }

    /// The error for a segment that the log has forgotten, for callers that did not take it from the log's list.
    pub(crate) fn is_no_more(&self) -> Error {
        Error::StreamNotFound {
            name: match self.log.name {
                LogName::Shard(stream, _) | LogName::Queue(stream, _) => format!("number {stream}"),
                LogName::CommitJournal => "of the commit journal".to_owned(),
            },
        }
    }

    pub(crate) fn is_forgotten(&self) -> bool {
        self.holds.are_forgotten()
    }

    /// Recycles or removes the file of a forgotten segment, unless something still has it or bytes of its mapping.
    /// Returns whether it did. Can be repeated after an error.
    ///
    /// The file is written again only if every mapping of it was made in this process, and is known to be gone. An
    /// inherited file is removed instead, which leaves mappings unchanged.
    pub(crate) fn retire(&self, pool: &SegmentPool, disk: &dyn Disk) -> Result<bool> {
        if !self.holds.are_over() {
            return Ok(false);
        }
        remove_if_there(disk, &self.index_path)?;
        match self.is_inherited {
            true => remove_if_there(disk, &self.path)?,
            false => pool.recycle(&self.path, self.entry.bytes)?,
        }
        Ok(true)
    }
}
