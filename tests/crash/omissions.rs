//! The proof of the proof: a step that the design calls necessary is left out, and a check of this suite fails.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anabranch::Durability;
use anabranch::sim::{FailedSync, Step, leave_out};

use crate::model::Violation;
use crate::op::Fault;
use crate::world::Settings;
use crate::{
    acknowledged, backups, faults, full_disk, interrupted, random, regressions, removal, repair_crashes, rot,
    scenario, targeted,
};

const THREADS: usize = 2;

/// A part of the suite that can be done on one thread, with a step left out.
#[derive(Clone, Copy)]
struct Check {
    name: &'static str,
    run: fn() -> Result<(), Violation>,
    /// Whether a test of the suite does the same, or more, with all steps.
    is_tested: bool,
}

/// A test, by its path.
macro_rules! test {
    ($test:path) => {
        Check {
            name: stringify!($test),
            run: || {
                $test();
                Ok(())
            },
            is_tested: true,
        }
    };
}

const FLIPS: Check = Check {
    name: "rot: flipped bytes",
    run: rot::flip_some_bytes,
    is_tested: true,
};

const FILES: Check = Check {
    name: "rot: whole files",
    run: rot::damage_files,
    is_tested: true,
};

const CRASHES: Check = Check {
    name: "scenario: a crash in every fifth call",
    run: || scenario::crash_in_every_call(Settings::default(), 5).map(drop),
    is_tested: true,
};

const JOURNALED_CRASHES: Check = Check {
    name: "scenario, journaled: a crash in every fifth call",
    run: || scenario::crash_in_every_call(Settings::journaled(), 5).map(drop),
    is_tested: false,
};

const FEW_FILES: Check = Check {
    name: "scenario, few files: a crash in every seventh call",
    run: || scenario::crash_in_every_call(Settings::with_few_files(), 7).map(drop),
    is_tested: false,
};

const FAULTS: Check = Check {
    name: "faults: every call",
    run: || faults::fail_every_call(Fault::Broken, FailedSync::MarksClean, Settings::default()).map(drop),
    is_tested: true,
};

const WRITTEN: Check = Check {
    name: "random programs, Written",
    run: || random::play_a_few(Durability::Written),
    is_tested: false,
};

const BUFFERED: Check = Check {
    name: "random programs, Buffered",
    run: || random::play_a_few(Durability::Buffered),
    is_tested: false,
};

/// Again and again: a flusher may write what is in memory before the crash.
const NUMBERS_FROM_MEMORY: Check = Check {
    name: "regressions::a_number_told_from_memory_is_not_told_again_after_a_crash",
    run: || {
        (0..20).for_each(|_| regressions::a_number_told_from_memory_is_not_told_again_after_a_crash());
        Ok(())
    },
    is_tested: false,
};

/// What misses which step.
const TABLE: &[(Step, Check)] = &[
    (Step::SegmentHeaderSync, CRASHES),
    (Step::GroupSync, CRASHES),
    (Step::SyncBeforeNextSegment, WRITTEN),
    (Step::SyncBeforeRest, BUFFERED),
    (Step::SyncBeforeReshard, WRITTEN),
    (Step::BackgroundSync, WRITTEN),
    (Step::RecoveredTailSync, CRASHES),
    (Step::ManifestEditSync, CRASHES),
    (
        Step::ManifestRoomSync,
        test!(targeted::a_crash_in_an_edit_larger_than_what_is_reserved_is_no_damage),
    ),
    (
        Step::ManifestSnapshotSync,
        test!(targeted::a_crash_while_a_store_is_made_leaves_one_that_can_be_used),
    ),
    (
        Step::ManifestSyncAtOpen,
        test!(targeted::an_edit_that_was_seen_by_an_opener_who_only_read_is_durable),
    ),
    (
        Step::CurrentSync,
        test!(targeted::a_crash_while_a_store_is_made_leaves_one_that_can_be_used),
    ),
    (
        Step::StoreDirectorySyncAtOpen,
        test!(regressions::a_manifest_that_a_killed_process_named_is_named_durably_before_it_is_built_on),
    ),
    (
        Step::AncestorsSync,
        test!(targeted::a_crash_while_a_store_is_made_leaves_one_that_can_be_used),
    ),
    (
        Step::ManifestNameSync,
        test!(targeted::a_crash_while_a_torn_manifest_is_written_anew_leaves_a_whole_one),
    ),
    (
        Step::CurrentNameSync,
        test!(targeted::a_crash_while_a_torn_manifest_is_written_anew_leaves_a_whole_one),
    ),
    (Step::StreamDirectorySync, CRASHES),
    (Step::ShardDirectorySync, CRASHES),
    (Step::JournalDirectorySync, JOURNALED_CRASHES),
    (Step::SegmentNameSync, CRASHES),
    (
        Step::DeferredBeforeSync,
        test!(targeted::the_journal_lets_go_only_what_is_durably_in_the_segments),
    ),
    (Step::SyncBeforeClose, FEW_FILES),
    (
        Step::JournaledSegmentsSync,
        test!(targeted::the_journal_lets_go_only_what_is_durably_in_the_segments),
    ),
    (
        Step::PutBackSync,
        test!(targeted::what_is_put_back_from_the_journal_stays_although_the_log_is_damaged),
    ),
    (Step::FrameHeaderChecksum, FLIPS),
    (Step::FrameBodyChecksum, FLIPS),
    (
        Step::FramePosition,
        test!(targeted::a_frame_within_a_record_is_no_frame),
    ),
    (
        Step::FrameChain,
        test!(targeted::a_frame_of_a_copy_that_went_another_way_is_noticed),
    ),
    (
        Step::Salt,
        test!(targeted::a_frame_of_a_copy_that_went_another_way_is_noticed),
    ),
    (Step::SegmentHeaderChecksum, FLIPS),
    (Step::SegmentHeaderIdentity, FILES),
    (Step::SegmentLength, FILES),
    (Step::DurabilityEvidence, FLIPS),
    (Step::ManifestHeader, FLIPS),
    (Step::ManifestFrameHeaderChecksum, FLIPS),
    (Step::ManifestFrameBodyChecksum, FLIPS),
    (
        Step::ManifestSequence,
        test!(targeted::an_edit_that_rots_is_missed_by_the_edits_behind_it),
    ),
    (
        Step::ManifestFramesBehind,
        test!(targeted::an_edit_that_rots_is_missed_by_the_edits_behind_it),
    ),
    (
        Step::ManifestCut,
        test!(regressions::a_manifest_that_is_cut_within_its_edits_does_not_open),
    ),
    (
        Step::LaterFrames,
        test!(regressions::an_edit_that_rots_is_missed_by_what_was_built_on_it),
    ),
    (Step::CurrentChecksum, FLIPS),
    (Step::MissingCurrent, FILES),
    (
        Step::NamedBeforeFrame,
        test!(targeted::a_crash_while_a_used_file_becomes_a_segment_is_no_damage),
    ),
    (Step::ResumedBeforeFrame, CRASHES),
    (Step::AnnouncedBeforeNumber, NUMBERS_FROM_MEMORY),
    (Step::PublishedAfterSync, FAULTS),
    (Step::FailureLatch, FAULTS),
    (Step::NumberGap, WRITTEN),
    (Step::NewSegmentAfterInterruption, WRITTEN),
    (
        Step::EditBeforeRemoval,
        test!(removal::a_crash_in_any_call_of_a_deletion_leaves_all_of_a_stream_or_nothing),
    ),
    (
        Step::HeldIsKept,
        test!(targeted::what_a_reader_holds_is_not_written_over),
    ),
    (Step::SharedIsKept, test!(backups::what_a_backup_shares_is_not_written_again)),
    (Step::ConfirmedTime, WRITTEN),
    (Step::SegmentCacheDrop, FAULTS),
    (Step::ManifestCacheDrop, FAULTS),
    (Step::Lock, test!(targeted::a_second_opener_is_refused)),
    (Step::PutBack, JOURNALED_CRASHES),
    (
        Step::JournalDoubts,
        test!(targeted::every_flipped_byte_of_a_journal_that_is_needed_is_noticed),
    ),
    (
        Step::NotedBeforeJournaled,
        test!(targeted::the_journal_lets_go_only_what_is_durably_in_the_segments),
    ),
    (
        Step::DamageSeenTwice,
        test!(rot::in_use::a_sound_store_that_changes_between_any_two_reads_is_not_said_to_be_damaged),
    ),
    (
        Step::PlannedWithJournal,
        test!(acknowledged::a_repair_puts_back_what_only_the_journal_has_of_a_log_that_lost_its_last_edit),
    ),
    (Step::ManifestSecondCopy, FLIPS),
    (
        Step::RecoveredEndRecorded,
        test!(acknowledged::rot_of_the_last_commit_is_noticed_once_a_recovered_log_has_rested),
    ),
    (
        Step::JournaledInLedger,
        test!(targeted::every_flipped_byte_of_a_journal_that_is_needed_is_noticed),
    ),
    (
        Step::HeaderBeforeName,
        test!(targeted::a_crash_while_a_used_file_becomes_a_segment_is_no_damage),
    ),
    (
        Step::DamagedIsKept,
        test!(acknowledged::a_record_that_was_set_aside_keeps_its_number),
    ),
    (
        Step::SetAsideKeepsNumbers,
        test!(acknowledged::a_record_that_was_set_aside_keeps_its_number),
    ),
    (
        Step::SetAsideKeepsNumbers,
        test!(acknowledged::a_shard_that_was_set_aside_is_not_made_again),
    ),
    (
        Step::AsideSync,
        test!(repair_crashes::a_repair_that_sets_aside_and_that_a_crash_interrupts_loses_nothing),
    ),
    (
        Step::AsideNamesSync,
        test!(repair_crashes::a_repair_that_sets_aside_and_that_a_crash_interrupts_loses_nothing),
    ),
    (
        Step::RepairPutBackSync,
        test!(repair_crashes::a_repair_that_puts_back_what_the_journal_has_and_that_a_crash_interrupts_loses_nothing),
    ),
    (
        Step::MendedPieceSync,
        test!(repair_crashes::a_repair_of_damaged_frames_that_a_crash_interrupts_loses_nothing),
    ),
    (
        Step::MendedPieceNameSync,
        test!(repair_crashes::a_repair_of_damaged_frames_and_lost_edits_that_a_crash_interrupts_loses_nothing),
    ),
    (
        Step::MendedBehindManifest,
        test!(repair_crashes::a_repair_of_the_frame_before_the_last_that_a_crash_interrupts_loses_nothing),
    ),
    (
        Step::MendedSync,
        test!(repair_crashes::a_repair_of_damaged_frames_that_a_crash_interrupts_loses_nothing),
    ),
    (
        Step::MendedNameSync,
        test!(repair_crashes::a_repair_of_missing_directories_that_a_crash_interrupts_loses_nothing),
    ),
    (
        Step::StreamDirectorySync,
        test!(repair_crashes::a_repair_of_missing_directories_that_a_crash_interrupts_loses_nothing),
    ),
    (
        Step::ShardDirectorySync,
        test!(repair_crashes::a_repair_of_missing_directories_that_a_crash_interrupts_loses_nothing),
    ),
    (
        Step::SetAsideRemovalSync,
        test!(acknowledged::what_a_repair_sets_aside_stays_aside_when_power_is_lost),
    ),
    (
        Step::AnyWholeFrame,
        test!(acknowledged::a_lost_edit_is_missed_by_the_later_frames_of_a_segment_whose_first_is_damaged),
    ),
    (
        Step::SegmentFollows,
        test!(targeted::a_reader_that_had_read_all_before_a_kill_misses_nothing),
    ),
    (
        Step::RoomForFreeing,
        test!(full_disk::small_changes_on_a_full_disk_leave_room_for_deletions),
    ),
    (
        Step::RoomFromPool,
        test!(full_disk::a_torn_manifest_is_written_anew_on_a_disk_that_is_full_of_files_in_the_pool),
    ),
    (
        Step::QuietBeforeRemoval,
        test!(removal::a_stream_that_is_deleted_while_its_first_segment_is_begun_stops_no_other),
    ),
    (
        Step::NoEndOfGone,
        test!(removal::a_queue_that_is_deleted_beside_a_close_leaves_a_manifest_that_opens),
    ),
    (
        Step::ManifestSnapshotSync,
        test!(repair_crashes::a_repair_of_damaged_frames_that_a_crash_interrupts_loses_nothing),
    ),
    (
        Step::CurrentSync,
        test!(repair_crashes::a_repair_of_damaged_frames_that_a_crash_interrupts_loses_nothing),
    ),
    (
        Step::CurrentNameSync,
        test!(repair_crashes::a_repair_of_damaged_frames_that_a_crash_interrupts_loses_nothing),
    ),
    (
        Step::UnfinishedSync,
        test!(backups::a_backup_that_a_crash_interrupts_leaves_the_store_and_no_half_of_a_copy),
    ),
    (
        Step::BackupFileSync,
        test!(backups::a_snapshot_that_a_crash_interrupts_leaves_the_store_and_no_half_of_a_copy),
    ),
    (
        Step::BackupNamesSync,
        test!(backups::a_snapshot_that_a_crash_interrupts_leaves_the_store_and_no_half_of_a_copy),
    ),
];

/// Steps that only another order of threads misses: tests of the library's own leave them out under the explorer.
const EXPLORED: &[(Step, &str)] = &[(
    Step::NoHoldOfForgotten,
    "log::segments::hold::tests::a_hold_that_begins_after_the_check_is_found",
)];

/// Steps that nothing misses, because others imply them.
const IMPLIED: &[(Step, &str)] = &[
    (
        Step::FrameNumbers,
        "the chain binds a frame to the one before, and so to its numbers",
    ),
    (Step::Identity, "no two segments have the same salt"),
    (
        Step::IndexChecksum,
        "an entry of an index is compared with its frame",
    ),
    (
        Step::IndexIdentity,
        "an entry of an index is compared with its frame",
    ),
    (
        Step::PreparedSegmentSync,
        "a file leaves the pool before it is next synced, so none stays there whose sync failed",
    ),
    (
        Step::TornManifestRewrite,
        "the rest of a torn frame has no whole one, and is overwritten",
    ),
];

impl Check {
    fn make(self) -> Result<(), Violation> {
        catch_unwind(AssertUnwindSafe(self.run)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied());
            Err(text.unwrap_or("it panics").to_owned())
        })
    }
}

/// Does something for each item, on a few threads.
fn for_each<T: Sync>(items: &[T], run: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            run(item);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..THREADS {
            scope.spawn(work);
        }
        work();
    });
}

#[test]
fn every_step_that_is_left_out_is_missed() {
    let wrong = Mutex::new(Vec::new());
    let wanted = std::env::var("ANABRANCH_STEPS").unwrap_or_default();
    let is_wanted = |(step, _): &&(Step, Check)| {
        wanted.is_empty() || wanted.split(',').any(|name| name == step.to_string())
    };
    let rows: Vec<_> = TABLE.iter().filter(is_wanted).copied().collect();
    let untested = rows.iter().filter(|(_, check)| !check.is_tested);
    let untested: BTreeMap<_, _> = untested.map(|(_, check)| (check.name, *check)).collect();
    let untested: Vec<_> = untested.into_values().collect();
    for_each(&untested, |check| {
        if let Err(what) = check.make() {
            wrong
                .lock()
                .unwrap()
                .push(format!("{} fails with all steps: {what}", check.name));
        }
    });
    for_each(&rows, |(step, check)| match leave_out(*step, || check.make()) {
        Err(what) => println!(
            "{step}: {}: {}",
            check.name,
            what.lines().next().unwrap_or_default()
        ),
        Ok(()) => wrong
            .lock()
            .unwrap()
            .push(format!("{} does not miss {step}", check.name)),
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Reading beside recycling was what no test did.
#[test]
fn a_file_that_is_recycled_while_it_is_held_is_missed_by_random_programs_and_by_interrupted_reads() {
    let checks = [
        Check {
            name: "random programs that hold",
            run: random::hold_a_few,
            is_tested: true,
        },
        test!(interrupted::reads_that_are_interrupted_by_recycling_get_all_that_has_not_expired),
        test!(interrupted::seeks_that_are_interrupted_by_recycling_find_what_has_not_expired),
        test!(interrupted::a_reader_of_a_stream_that_is_interrupted_by_recycling_goes_on),
    ];
    let misses = |check: &Check| leave_out(Step::HeldIsKept, || check.make()).is_err();
    let blind: Vec<_> = checks
        .iter()
        .filter(|check| !misses(check))
        .map(|check| check.name)
        .collect();
    assert_eq!(blind, [""; 0]);
}

#[test]
fn every_step_is_missed_by_something_or_implied_by_others() {
    let missed = TABLE.iter().map(|(step, _)| *step);
    let implied = IMPLIED.iter().map(|(step, _)| *step);
    let explored = EXPLORED.iter().map(|(step, _)| *step);
    let listed: BTreeSet<_> = missed.chain(implied).chain(explored).collect();
    let all: BTreeSet<_> = Step::ALL.iter().copied().collect();
    assert_eq!(listed, all);
}

#[test]
fn the_documentation_has_this_table() {
    let rows: Vec<_> = include_str!("../../docs/testing.md").lines().collect();
    let reasons = IMPLIED.iter().chain(EXPLORED).copied();
    let names = TABLE.iter().map(|(step, check)| (*step, check.name));
    for (step, what) in names.chain(reasons) {
        let begin = format!("| `{step}` |");
        let is_there = rows
            .iter()
            .any(|row| row.starts_with(&begin) && row.contains(what));
        assert!(is_there, "{begin} {what}");
    }
}
