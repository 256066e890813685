//! Leaving out one step that durability needs, to see that a test notices it.
//!
//! Without the feature `sim` every step is done, and the check costs nothing. With it a test leaves a step out on its
//! own thread; the threads that a store starts leave out the same steps as the thread that opened it.

use std::fmt;

macro_rules! steps {
    ($($(#[doc = $text:literal])+ $name:ident,)+) => {
        /// A sync, a check or an order of steps without which a crash or a damaged bit could lose or invent records, or
        /// a store could stop for ever.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Step {
            $($(#[doc = $text])+ $name,)+
        }

        impl Step {
            /// Every step, in the order of declaration.
            #[cfg(any(test, feature = "sim"))]
            pub const ALL: &[Self] = &[$(Self::$name,)+];
        }
    };
}

steps! {
    /// A segment's header page is synced before the manifest names it.
    SegmentHeaderSync,
    /// A group is synced before it is acknowledged, where no journal has it.
    GroupSync,
    /// A segment is synced before the next one is begun.
    SyncBeforeNextSegment,
    /// A log is synced before its end is recorded.
    SyncBeforeRest,
    /// Parents are synced before the edit that closes them.
    SyncBeforeReshard,
    /// Writes that no put waits for are synced in the background.
    BackgroundSync,
    /// The frames that recovery finds at the end of a log are synced before anyone sees them.
    RecoveredTailSync,
    /// An edit is synced before anything is built on it.
    ManifestEditSync,
    /// Room in the manifest is synced before a frame is begun there.
    ManifestRoomSync,
    /// A new manifest is synced before `CURRENT` names it.
    ManifestSnapshotSync,
    /// The bytes that an earlier opener wrote to the manifest are synced before they are used.
    ManifestSyncAtOpen,
    /// The new `CURRENT` is synced before it replaces the old one.
    CurrentSync,
    /// A file that was filled with zeros is synced before it waits in the pool.
    PreparedSegmentSync,
    /// The store's directory is synced before the manifest is looked for.
    StoreDirectorySyncAtOpen,
    /// The directories above a new store are synced.
    AncestorsSync,
    /// A new manifest's name is synced before `CURRENT` names it.
    ManifestNameSync,
    /// The new `CURRENT`'s name is synced before the manifest is written to.
    CurrentNameSync,
    /// The name of a stream's directory is synced.
    StreamDirectorySync,
    /// The name of a shard's directory is synced.
    ShardDirectorySync,
    /// The name of the journal's directory is synced.
    JournalDirectorySync,
    /// A segment's name is synced before the manifest names it.
    SegmentNameSync,
    /// Frames that are only in the journal are written to their segment before that is synced.
    DeferredBeforeSync,
    /// A file with bytes that are not synced is synced before it is closed to make place for others.
    SyncBeforeClose,
    /// Segments are synced before the journal forgets their frames.
    JournaledSegmentsSync,
    /// Frames that were put back from the journal are synced before the journal is dropped.
    PutBackSync,
    /// A frame header's checksum is checked.
    FrameHeaderChecksum,
    /// A frame body's checksum is checked.
    FrameBodyChecksum,
    /// A frame's position is checked.
    FramePosition,
    /// A frame's link to the one before is checked.
    FrameChain,
    /// A frame's record numbers are checked to follow.
    FrameNumbers,
    /// A segment's salt is part of its checksums.
    Salt,
    /// Store, stream and shard are part of a segment's checksums.
    Identity,
    /// A segment's header page is checked by its own checksum.
    SegmentHeaderChecksum,
    /// A segment's header page is compared with the manifest.
    SegmentHeaderIdentity,
    /// A segment's length is compared with the manifest.
    SegmentLength,
    /// Later frames are searched for how far the log was durable.
    DurabilityEvidence,
    /// The manifest's header is checked, and compared with its name.
    ManifestHeader,
    /// The checksum of a manifest frame's header is checked.
    ManifestFrameHeaderChecksum,
    /// The checksum of a manifest frame's body is checked.
    ManifestFrameBodyChecksum,
    /// The sequence of the manifest's frames is checked.
    ManifestSequence,
    /// Whole frames of the manifest are looked for behind one that is not.
    ManifestFramesBehind,
    /// A frame of the manifest that does not fit in the file shows that the file was cut.
    ManifestCut,
    /// Frames in segments are looked for that were written after the manifest's last edit.
    LaterFrames,
    /// The checksum of `CURRENT` is checked.
    CurrentChecksum,
    /// A directory without `CURRENT` is a new store only if nothing in it could be missed.
    MissingCurrent,
    /// The checksum of an index is checked.
    IndexChecksum,
    /// An index is compared with its segment.
    IndexIdentity,
    /// The manifest names a segment before a frame is written to it.
    NamedBeforeFrame,
    /// The manifest has that a log is written to again before the first frame is written.
    ResumedBeforeFrame,
    /// The manifest has that a log is written to before callers see numbers of records in memory.
    AnnouncedBeforeNumber,
    /// Readers see a commit only after it is durable.
    PublishedAfterSync,
    /// After the first failed write or sync nothing more is written.
    FailureLatch,
    /// An interrupted log leaves out numbers that may have been seen.
    NumberGap,
    /// An interrupted log goes on in a new segment.
    NewSegmentAfterInterruption,
    /// A manifest that ends in a torn frame is rewritten before anything is appended.
    TornManifestRewrite,
    /// Files are removed after the edit that stops naming them.
    EditBeforeRemoval,
    /// A segment's file is kept while a handle, a mapping or bytes of a mapping hold it.
    HeldIsKept,
    /// A segment's file that a backup shares is not written again.
    SharedIsKept,
    /// No hold begins on a segment that its log has forgotten.
    NoHoldOfForgotten,
    /// Records expire by a time that the monotonic clock confirms, not by the wall clock alone.
    ConfirmedTime,
    /// A segment is recovered from the device, not from the cache.
    SegmentCacheDrop,
    /// The manifest is loaded from the device, not from the cache.
    ManifestCacheDrop,
    /// The store is locked while it is open.
    Lock,
    /// The journal's frames are put back before logs are recovered.
    PutBack,
    /// A log whose journaled frames cannot be read is damaged.
    JournalDoubts,
    /// The journal notes a log before it takes its frame.
    NotedBeforeJournaled,
    /// Apparent damage of a store that a program has open is believed only if it is found twice.
    DamageSeenTwice,
    /// A repair is planned with the frames that the journal puts back.
    PlannedWithJournal,
    /// The manifest's second copy is written.
    ManifestSecondCopy,
    /// The end of a log that was recovered is recorded, although nothing was written to it since.
    RecoveredEndRecorded,
    /// The manifest has that the journal may have frames of a log before it has one.
    JournaledInLedger,
    /// A file that had bytes before gets a durable header page before it gets a segment's name.
    HeaderBeforeName,
    /// A file with a segment's name that no edit accounts for is kept and reported although its header page is damaged.
    DamagedIsKept,
    /// Records and shards that a repair sets aside keep their numbers.
    SetAsideKeepsNumbers,
    /// Files that a repair will change are first copied aside durably.
    AsideSync,
    /// The names of the files that a repair copies aside are synced.
    AsideNamesSync,
    /// Frames that a repair puts back from the journal are synced before the journal is dropped.
    RepairPutBackSync,
    /// The segment that a repair makes of the frames behind damage is synced before it gets its name.
    MendedPieceSync,
    /// The name of that segment is synced before the manifest has it.
    MendedPieceNameSync,
    /// A damaged segment is repaired only after the manifest has the segments behind it, and no earlier end.
    MendedBehindManifest,
    /// A segment that a repair has repaired is synced before the repair goes on.
    MendedSync,
    /// The name of a segment that a repair makes again is synced before the manifest relies on it.
    MendedNameSync,
    /// Moving a segment aside is synced, so that no crash brings the segment back.
    SetAsideRemovalSync,
    /// The mark of an unfinished backup is durable before the backup has any other file.
    UnfinishedSync,
    /// Each file of a backup is synced before the backup is finished.
    BackupFileSync,
    /// The names in a backup are synced before it is finished.
    BackupNamesSync,
    /// In a segment that no edit accounts for, any whole frame counts, not only the first.
    AnyWholeFrame,
    /// A segment says where the log ended before it, in front of the numbers that a kill left out.
    SegmentFollows,
    /// On a full disk the last of the manifest's room is kept for edits that free some.
    RoomForFreeing,
    /// If there is no room to write a torn manifest again, files of the pool are removed.
    RoomFromPool,
    /// A log's files are given up only when no thread writes to it any more.
    QuietBeforeRemoval,
    /// A log that was deleted during a close gets no end.
    NoEndOfGone,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Does a step, unless a test leaves it out.
pub(crate) fn perform<T: Default, E>(step: Step, run: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    match is_left_out(step) {
        true => Ok(T::default()),
        false => run(),
    }
}

/// Whether a check holds, or a test leaves it out.
pub(crate) fn passes(step: Step, holds: bool) -> bool {
    holds || is_left_out(step)
}

#[cfg(not(any(test, feature = "sim")))]
mod left_out {
    use super::Step;

    pub(crate) const fn is_left_out(_: Step) -> bool {
        false
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Inherited;

    impl Inherited {
        pub(crate) const fn of_this_thread() -> Self {
            Self
        }

        pub(crate) fn apply(self) {}
    }
}

#[cfg(any(test, feature = "sim"))]
mod left_out {
    use std::cell::Cell;

    use super::Step;

    thread_local! {
        static LEFT_OUT: Cell<Option<Step>> = const { Cell::new(None) };
    }

    pub(crate) fn is_left_out(step: Step) -> bool {
        LEFT_OUT.get() == Some(step)
    }

    /// Leaves out a step in the stores that this thread opens, and in its calls on them, while `run` runs. A store that
    /// is opened in `run` must be closed in it.
    pub fn leave_out<T>(step: Step, run: impl FnOnce() -> T) -> T {
        struct Restore(Option<Step>);
        impl Drop for Restore {
            fn drop(&mut self) {
                LEFT_OUT.set(self.0);
            }
        }
        let _restore = Restore(LEFT_OUT.replace(Some(step)));
        run()
    }

    /// The steps that a thread leaves out, for the threads that it starts.
    #[derive(Clone, Copy)]
    pub(crate) struct Inherited(Option<Step>);

    impl Inherited {
        pub(crate) fn of_this_thread() -> Self {
            Self(LEFT_OUT.get())
        }

        pub(crate) fn apply(self) {
            LEFT_OUT.set(self.0);
        }
    }
}

#[cfg(any(test, feature = "sim"))]
pub use left_out::leave_out;
pub(crate) use left_out::{Inherited, is_left_out};
