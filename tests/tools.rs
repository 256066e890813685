//! Looking into a store that may be damaged, and repairing it.
#![allow(clippy::unwrap_used)]

mod inspected_store;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anabranch::inspect::{
    Consequence, Damage, DumpItem, DumpOptions, DumpWhat, Finding, Inspection, Loss, RepairAction, verify,
};
use anabranch::{Error, HashKey, Store};

use inspected_store::{InspectedStore, RECORD_BYTES, flip, frames, options, sequence_numbers};

fn damage(directory: &Path) -> Vec<Finding> {
    verify(directory).unwrap().damage().cloned().collect()
}

/// The numbers of the records that are said to be lost: from, and behind the last.
fn lost(findings: &[Finding]) -> Vec<(u64, Option<u64>)> {
    let losses = findings.iter().filter_map(|finding| match &finding.consequence {
        Consequence::Lost(lost) => Some((lost.from.value(), lost.to.map(|to| to.value()))),
        _ => None,
    });
    losses.collect()
}

fn all_files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.append(&mut all_files(&path));
        } else if !path.ends_with("LOCK") {
            files.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn a_store_that_was_closed_is_sound() {
    let store = InspectedStore::closed(8);
    let verification = verify(store.path()).unwrap();
    assert_eq!(verification.findings, []);
    assert_eq!(verification.holder, None);
    let checked = verification.checked;
    assert_eq!(
        (checked.streams, checked.shards, checked.segments, checked.records),
        (1, 1, 3, 8)
    );
}

#[test]
fn a_store_that_is_open_is_sound_and_its_holder_is_named() {
    let store = InspectedStore::closed(8);
    let opened = options().open(store.path()).unwrap();
    let stream = opened.stream("clicks").unwrap();
    for _ in 0..20 {
        stream.put("key", &[7; RECORD_BYTES]).unwrap();
        let verification = verify(store.path()).unwrap();
        assert!(verification.is_sound(), "{:?}", verification.findings);
        assert_eq!(verification.holder.unwrap().process, Some(std::process::id()));
    }
    let records = verify(store.path()).unwrap().checked.records;
    assert_eq!(records, 28);
}

#[test]
fn a_store_that_is_written_to_while_it_is_verified_is_sound() {
    let store = InspectedStore::closed(1);
    let opened = options().open(store.path()).unwrap();
    let stream = opened.stream("clicks").unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for size in 0..300 {
                stream.put("key", &vec![7; size * 37 % 9_000]).unwrap();
            }
        });
        while !writer.is_finished() {
            let verification = verify(store.path()).unwrap();
            assert!(verification.is_sound(), "{:?}", verification.findings);
        }
    });
}

#[test]
fn a_store_whose_program_was_killed_is_sound() {
    let store = InspectedStore::killed(8);
    assert_eq!(damage(store.path()), []);
    assert_eq!(verify(store.path()).unwrap().holder, None);
}

#[test]
fn verifying_changes_nothing() {
    let store = InspectedStore::killed(8);
    flip(&store.segment(0), 5_000);
    let before = all_files(store.path());
    verify(store.path()).unwrap();
    assert!(all_files(store.path()) == before);
}

#[test]
fn a_flipped_byte_of_a_header_page_leaves_the_records_whole() {
    let store = InspectedStore::closed(8);
    for offset in (0..4096).step_by(89) {
        flip(&store.segment(1), offset);
        let findings = damage(store.path());
        let [finding] = &findings[..] else {
            panic!("byte {offset}: {findings:?}")
        };
        assert_eq!((&finding.path, finding.offset), (&store.segment(1), 0));
        assert!(matches!(finding.damage, Damage::Header { .. }));
        let Consequence::Unavailable { from, to } = finding.consequence else {
            panic!("{finding}")
        };
        assert_eq!((from.value(), to.value()), (4, 7), "byte {offset}");
        flip(&store.segment(1), offset);
    }
}

#[test]
fn a_flipped_byte_of_a_frame_loses_its_records_and_no_other() {
    let store = InspectedStore::closed(8);
    let frames = frames(store.path());
    assert_eq!(frames.len(), 8);
    for (frame, number) in frames.iter().zip(1..) {
        for offset in (0..frame.bytes).step_by(1_993).chain(0..64) {
            flip(&frame.path, frame.offset + offset);
            let findings = damage(store.path());
            assert_eq!(
                lost(&findings),
                [(number, Some(number + 1))],
                "byte {offset}: {findings:?}"
            );
            assert_eq!(
                (&findings[0].path, findings[0].offset),
                (&frame.path, frame.offset)
            );
            flip(&frame.path, frame.offset + offset);
        }
    }
}

#[test]
fn damage_in_the_middle_of_an_interrupted_log_is_told_from_its_torn_end() {
    // The last segment has two frames; the second attests the first.
    let store = InspectedStore::killed(8);
    let frames = frames(store.path());
    flip(&store.segment(2), frames[6].offset + 100);
    assert_eq!(lost(&damage(store.path())), [(7, Some(8))]);

    // Nothing attests the second, so it looks like a write that a crash cut short.
    let store = InspectedStore::killed(8);
    flip(&store.segment(2), frames[7].offset + 100);
    let verification = verify(store.path()).unwrap();
    assert!(verification.is_sound());
    let [finding] = &verification.findings[..] else {
        panic!("{:?}", verification.findings)
    };
    assert_eq!(finding.damage, Damage::TornTail);
    assert_eq!(finding.consequence, Consequence::NeverAcknowledged);
    assert_eq!(finding.offset, frames[7].offset);
}

#[test]
fn the_last_commit_of_a_log_that_rested_is_not_taken_for_a_torn_one() {
    let store = InspectedStore::closed(8);
    let last = frames(store.path()).pop().unwrap();
    flip(&last.path, last.offset + 100);
    assert_eq!(lost(&damage(store.path())), [(8, Some(9))]);
}

#[test]
fn a_missing_segment_is_reported_with_its_records() {
    for (segment, records) in [(0, (1, Some(4))), (1, (4, Some(7))), (2, (7, Some(9)))] {
        let store = InspectedStore::closed(8);
        std::fs::remove_file(store.segment(segment)).unwrap();
        let findings = damage(store.path());
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].damage, Damage::Missing);
        assert_eq!(findings[0].path, store.segment(segment));
        assert_eq!(lost(&findings), [records]);
    }
    let store = InspectedStore::killed(8);
    std::fs::remove_file(store.segment(2)).unwrap();
    assert_eq!(lost(&damage(store.path())), [(7, None)]);
}

#[test]
fn a_file_that_was_cut_is_reported_with_the_records_behind_the_cut() {
    let store = InspectedStore::closed(8);
    let frame = &frames(store.path())[4];
    let file = std::fs::File::options()
        .write(true)
        .open(store.segment(1))
        .unwrap();
    file.set_len(frame.offset + 100).unwrap();
    let findings = damage(store.path());
    assert_eq!(lost(&findings), [(5, Some(7))], "{findings:?}");
    assert_eq!(findings[0].damage, Damage::Cut { expected: 65_536 });
    assert_eq!(findings[0].offset, frame.offset + 100);
}

#[test]
fn segments_in_each_others_place_are_reported_with_what_they_are() {
    let store = InspectedStore::closed(8);
    let (one, other) = (store.segment(0), store.segment(1));
    let bytes = std::fs::read(&one).unwrap();
    std::fs::rename(&other, &one).unwrap();
    std::fs::write(&other, bytes).unwrap();
    let findings = damage(store.path());
    assert_eq!(lost(&findings), [(1, Some(4)), (4, Some(7))]);
    let told: Vec<_> = findings
        .iter()
        .map(|finding| finding.damage.to_string())
        .collect();
    assert!(
        told.iter().any(|text| text.contains("00000000000000000004.log")),
        "{told:?}"
    );
}

#[test]
fn a_flipped_byte_of_current_keeps_the_store_from_opening_but_not_from_being_verified() {
    let store = InspectedStore::closed(8);
    let current = store.path().join("CURRENT");
    for offset in 0..std::fs::read(&current).unwrap().len() as u64 {
        flip(&current, offset);
        assert!(options().open(store.path()).is_err());
        let verification = verify(store.path()).unwrap();
        let findings: Vec<_> = verification.damage().collect();
        assert_eq!(findings[0].path, current, "byte {offset}");
        assert_eq!(findings[0].consequence, Consequence::DoesNotOpen);
        assert_eq!(verification.checked.records, 8);
        flip(&current, offset);
    }
}

#[test]
fn a_flipped_byte_of_the_manifest_is_found() {
    let store = InspectedStore::killed(8);
    let manifest = store.manifest();
    let used = std::fs::read(&manifest)
        .unwrap()
        .iter()
        .rposition(|byte| *byte != 0)
        .unwrap() as u64;
    let last_frame = {
        let mut last = 0;
        dump(store.path(), DumpWhat::Manifest, |item| {
            if let DumpItem::Edit(edit) = item {
                last = edit.offset;
            }
        });
        last
    };
    for offset in (0..last_frame).step_by(5) {
        flip(&manifest, offset);
        let findings = damage(store.path());
        let is_refused = options().open(store.copy().path()).is_err();
        // Only the zeros that fill up a frame mean nothing.
        assert_eq!(is_refused, !findings.is_empty(), "byte {offset}: {findings:?}");
        let told = findings
            .first()
            .map(|finding| (&finding.path, &finding.consequence));
        assert!(told.is_none_or(|told| told == (&manifest, &Consequence::DoesNotOpen)));
        flip(&manifest, offset);
    }
    // Damage to the last frame looks like a torn write, but the segment that it added shows that it was not.
    for offset in last_frame..=used {
        flip(&manifest, offset);
        let findings = damage(store.path());
        assert_eq!(findings.len(), 1, "byte {offset}: {findings:?}");
        assert_eq!(findings[0].path, store.segment(2));
        assert_eq!(findings[0].damage, Damage::Forgotten { records: 2 });
        flip(&manifest, offset);
    }
}

#[test]
fn without_a_manifest_the_segments_are_found_by_their_header_pages() {
    let store = InspectedStore::closed(8);
    std::fs::remove_file(store.manifest()).unwrap();
    let verification = verify(store.path()).unwrap();
    assert!(!verification.is_sound());
    assert_eq!(verification.checked.records, 8);
    let mut records = 0;
    dump(store.path(), DumpWhat::Records, |item| {
        records += u64::from(matches!(item, DumpItem::Record(_)));
    });
    assert_eq!(records, 8);
}

#[test]
fn what_nobody_needs_is_harmless() {
    let store = InspectedStore::closed(8);
    let index = store.segment(0).with_extension("index");
    flip(&index, 20);
    std::fs::write(store.segment(0).with_extension("tmp"), "?").unwrap();
    std::fs::write(store.path().join("MANIFEST-000099"), "?").unwrap();
    let verification = verify(store.path()).unwrap();
    assert!(verification.is_sound(), "{:?}", verification.findings);
    assert_eq!(verification.findings.len(), 3, "{:?}", verification.findings);
    assert!(verification.findings.iter().any(|finding| finding.path == index));
}

#[test]
fn a_directory_that_is_no_store_cannot_be_verified() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("letter"), "dear").unwrap();
    assert!(matches!(verify(directory.path()), Err(Error::NotAStore { .. })));
    assert!(matches!(
        verify(directory.path().join("missing")),
        Err(Error::Io { .. })
    ));
    let repair = Inspection::of(directory.path()).plan_repair(&mut |_| {});
    assert!(matches!(repair, Err(Error::NotAStore { .. })));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_verification_tells_how_far_it_is() {
    let store = InspectedStore::closed(8);
    let mut told = Vec::new();
    Inspection::of(store.path())
        .verify(&mut |progress| told.push(progress.clone()))
        .unwrap();
    assert!(told.is_sorted_by_key(|progress| progress.bytes_done));
    assert!(
        told.iter()
            .all(|progress| progress.bytes_done <= progress.bytes_total)
    );
    assert_eq!(told.last().unwrap().path, store.segment(2));
}

fn dump(directory: &Path, what: DumpWhat, mut on_item: impl FnMut(DumpItem)) {
    Inspection::of(directory)
        .dump(&DumpOptions::of(what), &mut |item| {
            on_item(item);
            ControlFlow::Continue(())
        })
        .unwrap();
}

#[test]
fn a_dump_shows_every_layer() {
    let store = InspectedStore::closed(8);
    let opened = options().open(store.path()).unwrap();
    let stream = opened.stream("clicks").unwrap();
    let put = stream.put("user-42", b"hello").unwrap();
    stream.split_shard(&put.shard_id, HashKey::MAX / 8).unwrap();
    opened.close().unwrap();

    let mut kinds = Vec::new();
    dump(store.path(), DumpWhat::Manifest, |item| match item {
        DumpItem::Edit(edit) => {
            assert!(!format!("{:?}", edit.edit).contains(&format!("{:?}", store.token_key())));
            kinds.push(edit.kind);
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(kinds[..3], ["Snapshot", "StreamCreated", "StreamActivated"]);
    assert!(kinds.contains(&"Resharded"));

    let mut shards = Vec::new();
    dump(store.path(), DumpWhat::Lineage, |item| match item {
        DumpItem::Shard(shard) => shards.push(shard),
        other => panic!("{other:?}"),
    });
    assert_eq!(shards.len(), 3);
    assert!(!shards[0].shard.as_ref().unwrap().is_open());
    assert_eq!(shards[0].next_record.unwrap().value(), 10);

    let mut records = Vec::new();
    dump(store.path(), DumpWhat::Records, |item| match item {
        DumpItem::Record(record) => records.push(record),
        other => panic!("{other:?}"),
    });
    assert_eq!(records.len(), 9);
    let last = records.last().unwrap();
    assert_eq!(last.partition_key.as_str(), "user-42");
    assert_eq!(&last.data[..], b"hello");
    assert_eq!(last.sequence_number, Some(put.sequence_number));
    assert_eq!(frames(store.path()).len(), 9);
}

#[test]
fn a_dump_stops_where_it_is_told() {
    let store = InspectedStore::closed(8);
    let mut options = DumpOptions::of(DumpWhat::Records);
    options.limit = Some(4);
    options.stream = Some("clicks".to_owned());
    let mut shown = 0;
    let count = &mut |_| {
        shown += 1;
        ControlFlow::Continue(())
    };
    Inspection::of(store.path()).dump(&options, count).unwrap();
    assert_eq!(shown, 4);
    options.stream = Some("nobody's".to_owned());
    let missing = Inspection::of(store.path()).dump(&options, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(missing, Err(Error::StreamNotFound { .. })));
}

#[test]
fn a_sound_store_is_not_repaired() {
    let store = InspectedStore::killed(8);
    let before = all_files(store.path());
    let plan = Inspection::of(store.path()).plan_repair(&mut |_| {}).unwrap();
    assert!(plan.steps.is_empty() && plan.hopeless.is_empty());
    assert!(plan.apply().unwrap().is_none());
    assert!(all_files(store.path()) == before);
}

#[test]
fn a_store_that_is_open_is_not_repaired() {
    let store = InspectedStore::closed(8);
    let opened = Store::open(store.path()).unwrap();
    let plan = Inspection::of(store.path()).plan_repair(&mut |_| {});
    assert!(matches!(plan, Err(Error::Locked { .. })));
    opened.close().unwrap();
    let _plan = Inspection::of(store.path()).plan_repair(&mut |_| {}).unwrap();
    assert!(matches!(Store::open(store.path()), Err(Error::Locked { .. })));
}

/// Damages a store, repairs it, and checks that just these records are lost, by their places from 0, that nothing was
/// changed before it was said and copied, and that the store is as good as new.
fn check_repair(store: &InspectedStore, what: &str, harm: impl Fn(&InspectedStore), lost: &[usize]) {
    harm(store);
    let before = all_files(store.path());
    let plan = Inspection::of(store.path()).plan_repair(&mut |_| {}).unwrap();
    assert!(!plan.steps.is_empty(), "{what}");
    assert!(plan.hopeless.is_empty(), "{what}: {:?}", plan.hopeless);
    assert!(all_files(store.path()) == before, "{what}: changed by the plan");
    let repaired = plan.apply().unwrap().unwrap();
    for name in &repaired.copied {
        let copy = std::fs::read(repaired.aside.join(name)).unwrap();
        assert!(
            copy == before[&store.path().join(name)],
            "{what}: {}",
            name.display()
        );
    }
    let changed = all_files(store.path());
    for (path, bytes) in &before {
        let name = path.strip_prefix(store.path()).unwrap().to_owned();
        let is_same = changed.get(path) == Some(bytes);
        assert!(
            is_same || repaired.copied.contains(&name),
            "{what}: {} has no copy",
            path.display()
        );
    }
    let verification = verify(store.path()).unwrap();
    assert!(verification.is_sound(), "{what}: {:?}", verification.findings);

    let mut expected = store.put.clone();
    for place in lost.iter().rev() {
        expected.remove(*place);
    }
    let opened = options().open(store.path()).unwrap();
    let stream = opened.stream("clicks").unwrap();
    assert_eq!(sequence_numbers(&stream), expected, "{what}");
    // Reading one by one gets past the places as well as reading all at once.
    for number in &expected {
        assert_eq!(inspected_store::record_at(&stream, *number), *number, "{what}");
    }
    for _ in 0..5 {
        let put = stream.put("key", &[9; RECORD_BYTES]).unwrap();
        assert!(
            put.sequence_number > *store.put.last().unwrap(),
            "{what}: a number was used twice"
        );
        expected.push(put.sequence_number);
    }
    opened.close().unwrap();
    let opened = options().open(store.path()).unwrap();
    assert_eq!(
        sequence_numbers(&opened.stream("clicks").unwrap()),
        expected,
        "{what}"
    );
    opened.close().unwrap();
    assert_eq!(damage(store.path()), [], "{what}");
}

#[test]
fn a_repair_gives_up_the_damaged_frames_and_keeps_all_others() {
    let places = frames(InspectedStore::closed(8).path());
    for (place, frame) in places.iter().enumerate() {
        for offset in [10, 100] {
            let harm = |store: &InspectedStore| flip(&store.segment(place / 3), frame.offset + offset);
            check_repair(&InspectedStore::closed(8), "closed", harm, &[place]);
            // Of an interrupted log, damage to the last commit is not seen.
            if place < 7 {
                check_repair(&InspectedStore::killed(8), "killed", harm, &[place]);
            }
        }
    }
    let harm = |store: &InspectedStore| {
        for place in [0, 2, 4, 6] {
            flip(&store.segment(place / 3), places[place].offset + 10);
        }
    };
    check_repair(&InspectedStore::closed(8), "several", harm, &[0, 2, 4, 6]);
    let harm = |store: &InspectedStore| {
        for place in [3, 4, 5] {
            flip(&store.segment(1), places[place].offset + 100);
        }
    };
    check_repair(&InspectedStore::killed(8), "a whole segment", harm, &[3, 4, 5]);
}

#[test]
fn a_repair_puts_header_pages_right_without_a_loss() {
    for segment in 0..3 {
        let harm = |store: &InspectedStore| flip(&store.segment(segment), 50);
        check_repair(&InspectedStore::closed(8), "closed", harm, &[]);
        check_repair(&InspectedStore::killed(8), "killed", harm, &[]);
    }
}

#[test]
fn a_repair_replaces_what_is_missing_or_cut() {
    let records = [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]];
    for (segment, lost) in records.iter().enumerate() {
        let remove = |store: &InspectedStore| std::fs::remove_file(store.segment(segment)).unwrap();
        check_repair(&InspectedStore::closed(8), "removed, closed", remove, lost);
        check_repair(&InspectedStore::killed(8), "removed, killed", remove, lost);
        let cut_to = |store: &InspectedStore, length| {
            let file = std::fs::File::options()
                .write(true)
                .open(store.segment(segment))
                .unwrap();
            file.set_len(length).unwrap();
        };
        check_repair(
            &InspectedStore::closed(8),
            "cut to nothing",
            |store| cut_to(store, 0),
            lost,
        );
        let harm = |store: &InspectedStore| cut_to(store, 30_000);
        check_repair(&InspectedStore::closed(8), "cut, closed", harm, &lost[1..]);
        check_repair(&InspectedStore::killed(8), "cut, killed", harm, &lost[1..]);
    }
}

#[test]
fn a_repair_brings_back_a_store_that_current_does_not_name() {
    check_repair(
        &InspectedStore::closed(8),
        "flipped",
        |store| flip(&store.path().join("CURRENT"), 3),
        &[],
    );
    check_repair(
        &InspectedStore::killed(8),
        "removed",
        |store| std::fs::remove_file(store.path().join("CURRENT")).unwrap(),
        &[],
    );
}

#[test]
fn a_repair_takes_in_again_what_a_damaged_manifest_has_forgotten() {
    let mut frames = Vec::new();
    dump(InspectedStore::killed(8).path(), DumpWhat::Manifest, |item| {
        if let DumpItem::Edit(edit) = item {
            frames.push((edit.kind, edit.offset));
        }
    });
    let added: Vec<_> = frames
        .iter()
        .filter(|(kind, _)| *kind == "SegmentAdded")
        .collect();
    assert_eq!(added.len(), 3);
    for (_, offset) in added {
        let harm = |store: &InspectedStore| flip(&store.manifest(), offset + 30);
        check_repair(&InspectedStore::killed(8), "edit", harm, &[]);
    }
}

#[test]
fn a_repair_says_what_a_damaged_manifest_costs() {
    let store = InspectedStore::killed(8);
    flip(&store.manifest(), 500);
    let plan = Inspection::of(store.path()).plan_repair(&mut |_| {}).unwrap();
    match plan.steps.first() {
        Some(step) => {
            assert_eq!(step.action, RepairAction::RewriteManifest);
            assert!(matches!(step.loses[..], [Loss::Edits { frames: Some(_) }]));
        }
        None => assert!(!plan.hopeless.is_empty()),
    }
}

#[test]
fn a_store_without_a_usable_manifest_is_hopeless() {
    let store = InspectedStore::closed(8);
    std::fs::remove_file(store.manifest()).unwrap();
    let before = all_files(store.path());
    let plan = Inspection::of(store.path()).plan_repair(&mut |_| {}).unwrap();
    assert!(plan.steps.is_empty());
    assert!(!plan.hopeless.is_empty());
    assert!(plan.apply().unwrap().is_none());
    assert!(all_files(store.path()) == before);
}

#[test]
fn a_shard_that_was_closed_is_repaired_and_stays_closed() {
    let store = InspectedStore::closed(8);
    let opened = options().open(store.path()).unwrap();
    let stream = opened.stream("clicks").unwrap();
    let shard = stream.describe().unwrap().shards[0].id;
    stream.split_shard(&shard, HashKey::MAX / 2).unwrap();
    opened.close().unwrap();
    let frames = frames(store.path());
    check_repair(
        &store,
        "the last frame of a parent",
        |store| flip(&store.segment(2), frames[7].offset + 100),
        &[7],
    );
}

#[test]
fn a_repaired_store_can_be_damaged_and_repaired_again() {
    let store = InspectedStore::closed(8);
    let places = frames(store.path());
    flip(&store.segment(1), places[4].offset + 100);
    let repair = || {
        let plan = Inspection::of(store.path()).plan_repair(&mut |_| {}).unwrap();
        plan.apply().unwrap().unwrap().aside
    };
    let first = repair();
    // In the frame that stands for the lost one, and in the one that was copied.
    flip(&store.segment(1), places[4].offset + 100);
    check_repair_again(&store, &repair, &[4]);
    let copied = store.segment(1).with_file_name("00000000000000000006.log");
    flip(&copied, 4096 + 100);
    check_repair_again(&store, &repair, &[4, 5]);
    assert!(first.exists());
}

fn check_repair_again(store: &InspectedStore, repair: &dyn Fn() -> PathBuf, lost: &[usize]) {
    assert!(!damage(store.path()).is_empty());
    repair();
    assert_eq!(damage(store.path()), []);
    let mut expected = store.put.clone();
    for place in lost.iter().rev() {
        expected.remove(*place);
    }
    let copy = store.copy();
    let opened = options().open(copy.path()).unwrap();
    assert_eq!(sequence_numbers(&opened.stream("clicks").unwrap()), expected);
}

/// A repair that is interrupted can be done again, with the same outcome.
#[cfg(feature = "sim")]
mod interrupted {
    use anabranch::inspect::Inspection;
    use anabranch::sim::{Calls, LossMode, SimDisk};
    use anabranch::{SequenceNumber, StartingPosition};

    use super::inspected_store::{RECORD_BYTES, options};

    /// A killed store of eight records in three segments, of which the first of the first, the second of the second and
    /// the first of the last are damaged; and the numbers of the others.
    fn damaged() -> (SimDisk, Vec<SequenceNumber>) {
        let disk = SimDisk::new(1);
        let store = options().disk(disk.clone()).open("store").unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        let data = [1; RECORD_BYTES];
        let mut put: Vec<_> = (0..8)
            .map(|_| stream.put("key", &data).unwrap().sequence_number)
            .collect();
        let killed = disk.image(LossMode::KeepAll);
        let frame_bytes = (RECORD_BYTES as u64 + 64 + 16 + 3).next_multiple_of(8);
        let shard = "store/streams/1/shardId-000000000000";
        for (first, place) in [(1, 0), (4, 1), (7, 0)] {
            let path = format!("{shard}/{first:020}.log");
            killed
                .rot()
                .flip_bit(path, 4096 + place * frame_bytes + 100, 0)
                .unwrap();
        }
        for lost in [6, 4, 0] {
            put.remove(lost);
        }
        (killed, put)
    }

    /// Whether all could be repaired.
    fn repair(disk: &SimDisk) -> anabranch::Result<bool> {
        let plan = Inspection::of("store")
            .disk(disk.clone())
            .plan_repair(&mut |_| {})?;
        // A file that cannot be opened is left alone, and the others are repaired.
        let is_all = plan.hopeless.is_empty();
        plan.apply().map(|_| is_all)
    }

    fn check(disk: &SimDisk, expected: &[SequenceNumber], what: &str) {
        let verification = Inspection::of("store")
            .disk(disk.clone())
            .verify(&mut |_| {})
            .unwrap();
        assert!(verification.is_sound(), "{what}: {:?}", verification.findings);
        let store = options().disk(disk.clone()).open("store").unwrap();
        let stream = store.stream("clicks").unwrap();
        let put = stream.put("key", b"more").unwrap();
        let read: Vec<_> = stream
            .reader(StartingPosition::TrimHorizon)
            .unwrap()
            .map(|record| record.unwrap().sequence_number)
            .collect();
        assert_eq!(read, [expected, &[put.sequence_number]].concat(), "{what}");
    }

    #[test]
    fn a_repair_that_a_crash_interrupts_anywhere_can_be_done_again() {
        let (disk, expected) = damaged();
        for mode in [LossMode::LoseAll, LossMode::KeepAll, LossMode::Random] {
            for n in 1.. {
                let disk = disk.image(LossMode::KeepAll);
                disk.faults().freeze_nth(Calls::CHANGING, n);
                let done = repair(&disk);
                let what = format!("{mode:?}, call {n}");
                let found = disk.crash(mode);
                if disk.faults().struck() == 0 {
                    assert!(done.unwrap());
                    check(&found, &expected, &what);
                    assert!(n > 20, "{what}");
                    break;
                }
                assert!(repair(&found).unwrap(), "{what}");
                check(&found, &expected, &what);
            }
        }
    }

    #[test]
    fn a_repair_that_fails_anywhere_can_be_done_again() {
        let (disk, expected) = damaged();
        for n in 1.. {
            let disk = disk.image(LossMode::KeepAll);
            disk.faults()
                .fail_nth(Calls::CHANGING, n, std::io::ErrorKind::Other);
            let done = repair(&disk);
            let has_struck = disk.faults().struck() > 0;
            disk.faults().clear();
            if !done.unwrap_or(false) {
                assert!(repair(&disk).unwrap());
            }
            check(&disk, &expected, &format!("call {n}"));
            if !has_struck {
                assert!(n > 20);
                break;
            }
        }
    }
}

/// The program's three tools.
#[cfg(feature = "server")]
mod program {
    use std::path::Path;
    use std::process::{Command, Output};

    use super::inspected_store::{InspectedStore, flip, frames, options};

    fn run(arguments: &[&str], directory: &Path) -> (i32, String, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(arguments)
            .arg(directory)
            .env_clear()
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    #[test]
    fn the_exit_status_of_verify_tells_sound_damaged_and_impossible_apart() {
        let store = InspectedStore::closed(8);
        let (status, out, _) = run(&["verify"], store.path());
        assert_eq!(status, 0, "{out}");
        assert!(
            out.contains("8 records") && out.contains("The store is sound."),
            "{out}"
        );

        flip(&store.segment(1), 4096 + 100);
        let (status, out, error) = run(&["verify"], store.path());
        assert_eq!(status, 1, "{out}");
        assert!(out.contains("00000000000000000004.log, byte 4096"), "{out}");
        assert!(
            out.contains("stream clicks, shardId-000000000000: record 4 is lost"),
            "{out}"
        );
        // No progress where nobody looks at it.
        assert_eq!(error, "");

        let (status, _, error) = run(&["verify"], &store.path().join("missing"));
        assert_eq!(status, 2);
        assert!(error.contains("missing"), "{error}");
    }

    #[test]
    fn verify_speaks_json() {
        let store = InspectedStore::closed(8);
        flip(&store.segment(1), 4096 + 100);
        let (status, out, _) = run(&["verify", "--json"], store.path());
        assert_eq!(status, 1);
        let told: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(told["sound"], false);
        assert_eq!(told["checked"]["records"], 7);
        let finding = &told["findings"][0];
        assert_eq!(finding["meaning"], "lost");
        assert_eq!(
            (&finding["from_record"], &finding["to_record_exclusive"]),
            (&4.into(), &5.into())
        );
        assert_eq!(finding["shard"], "shardId-000000000000");
    }

    #[test]
    fn dump_speaks_text_and_json_lines() {
        let store = InspectedStore::closed(3);
        let opened = options().open(store.path()).unwrap();
        opened.stream("clicks").unwrap().put("user-42", b"hello").unwrap();
        // With the store still open.
        let (status, out, _) = run(&["dump", "--what", "records"], store.path());
        assert_eq!(status, 0);
        assert_eq!(out.lines().count(), 4);
        let last = out.lines().last().unwrap();
        assert!(last.contains("key \"user-42\", data \"hello\""), "{last}");
        opened.close().unwrap();

        for (what, kind) in [
            ("manifest", "edit"),
            ("lineage", "shard"),
            ("segments", "segment"),
            ("frames", "frame"),
            ("records", "record"),
        ] {
            let (status, out, error) = run(&["dump", "--json", "--what", what], store.path());
            assert_eq!((status, error.as_str()), (0, ""));
            assert!(out.lines().count() > 0, "{what}");
            for line in out.lines() {
                let told: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(told["type"], kind);
            }
        }
        let (_, out, _) = run(
            &["dump", "--json", "--what", "records", "--limit", "1"],
            store.path(),
        );
        assert_eq!(out.lines().count(), 1);
        let (status, _, _) = run(&["dump", "--stream", "nobody's"], store.path());
        assert_eq!(status, 2);
    }

    #[test]
    fn repair_changes_nothing_without_yes() {
        let store = InspectedStore::closed(8);
        assert_eq!(run(&["repair"], store.path()).0, 0);
        flip(&store.segment(1), frames(store.path())[4].offset + 100);
        let (status, out, _) = run(&["repair"], store.path());
        assert_eq!(status, 1);
        assert!(out.contains("record 5 is lost") && out.contains("--yes"), "{out}");
        assert_eq!(run(&["verify"], store.path()).0, 1);

        let opened = options().open(store.path()).unwrap();
        let (status, _, error) = run(&["repair", "--yes"], store.path());
        assert_eq!(status, 2);
        assert!(error.contains("Stop that program first"), "{error}");
        drop(opened);

        let (status, out, _) = run(&["repair", "--yes"], store.path());
        assert_eq!(status, 0);
        assert!(out.contains("damaged/"), "{out}");
        assert_eq!(run(&["verify"], store.path()).0, 0);
    }
}
