//! Every kind of damage is found, and reported as its kind.

use std::sync::{Arc, Mutex};

use anabranch::inspect::{Consequence, Damage, DumpItem, DumpWhat, Inspection, verify};
use anabranch::{Error, HashKey, PutRecord, StoreEvent};
use anabranch_harness::files::copy_tree;

use super::inspected_store::{
    InspectedStore, RECORD_BYTES, all_files, damage, dump, flip, flip_in_both_copies, frames, lost, options,
};

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
fn a_flipped_byte_of_both_copies_of_the_manifest_is_found() {
    let store = InspectedStore::killed(8);
    let manifest = store.manifest();
    let bytes = std::fs::read(&manifest).unwrap();
    let first_copy = &bytes[..64 << 10];
    let used = first_copy.iter().rposition(|byte| *byte != 0).unwrap() as u64;
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
        flip_in_both_copies(&manifest, offset);
        let findings = damage(store.path());
        let is_refused = options().open(store.copy().path()).is_err();
        // Only the zeros that pad a frame have no meaning.
        assert_eq!(is_refused, !findings.is_empty(), "byte {offset}: {findings:?}");
        let told = findings
            .first()
            .map(|finding| (&finding.path, &finding.consequence));
        assert!(told.is_none_or(|told| told == (&manifest, &Consequence::DoesNotOpen)));
        flip_in_both_copies(&manifest, offset);
    }
    // Damage to the last frame looks like a torn write, but the segment that it added shows that it was not.
    for offset in last_frame..=used {
        flip_in_both_copies(&manifest, offset);
        let findings = damage(store.path());
        assert_eq!(findings.len(), 2, "byte {offset}: {findings:?}");
        assert_eq!(
            (&findings[0].path, &findings[0].consequence),
            (&manifest, &Consequence::DoesNotOpen)
        );
        assert_eq!(findings[1].path, store.segment(2));
        assert_eq!(findings[1].damage, Damage::Forgotten { records: 2 });
        assert!(options().open(store.copy().path()).is_err());
        flip_in_both_copies(&manifest, offset);
    }
}

#[test]
fn a_flipped_byte_of_one_copy_of_the_manifest_is_told_and_harms_nobody() {
    let store = InspectedStore::killed(8);
    let manifest = store.manifest();
    let mut frames = Vec::new();
    dump(store.path(), DumpWhat::Manifest, |item| {
        if let DumpItem::Edit(edit) = item {
            frames.push(edit.offset);
        }
    });
    for (frame, copy) in frames.iter().flat_map(|frame| [(*frame, 0), (*frame, 64 << 10)]) {
        flip(&manifest, copy + frame + 30);
        let damage = damage(store.path());
        // A crash may have kept the last change from one copy.
        if Some(&frame) == frames.last() {
            assert_eq!(damage, []);
        } else {
            assert_eq!(damage.len(), 1, "{damage:?}");
            assert_eq!((&damage[0].path, damage[0].offset), (&manifest, copy + frame));
            assert_eq!(damage[0].consequence, Consequence::HeldByOtherCopy);
        }
        assert_eq!(verify(store.path()).unwrap().checked.records, 8);
        options().open(store.copy().path()).unwrap();
        flip(&manifest, copy + frame + 30);
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

#[test]
fn what_the_commit_journal_has_is_not_counted_again() {
    const SHARDS: u32 = 6;
    let directory = tempfile::tempdir().unwrap();
    let (original, copy) = (directory.path().join("original"), directory.path().join("copy"));
    let opened = options().open(&original).unwrap();
    let stream = opened.create_stream("wide", SHARDS).unwrap();
    let step = HashKey::MAX.value() / u128::from(SHARDS);
    let records: Vec<_> = (0..u128::from(SHARDS))
        .map(|shard| PutRecord::new("key", b"data").explicit_hash_key(HashKey::new(step * shard + 7)))
        .collect();
    for put in stream.append(&records).unwrap().each().wait() {
        put.unwrap();
    }
    copy_tree(&original, &copy);
    let journal = std::fs::read_dir(copy.join("journal")).unwrap();
    assert!(journal.count() > 0, "the puts did not go through the journal");
    let checked = verify(&copy).unwrap().checked;
    assert_eq!(
        (
            checked.streams,
            checked.shards,
            checked.segments,
            checked.frames,
            checked.records
        ),
        (1, 6, 6, 6, 6)
    );
    opened.close().unwrap();
}

#[test]
fn damage_that_opening_finds_is_an_event_of_the_store() {
    let store = InspectedStore::killed(8);
    let events: Arc<Mutex<Vec<StoreEvent>>> = Arc::default();
    let told = events.clone();
    let watched = options().on_event(move |event| told.lock().unwrap().push(event.clone()));
    watched.open(store.copy().path()).unwrap().close().unwrap();
    assert!(events.lock().unwrap().is_empty());

    flip(&store.segment(2), frames(store.path())[6].offset + 100);
    let opened = watched.open(store.path()).unwrap();
    let events = events.lock().unwrap().clone();
    let [event @ StoreEvent::DamageFound { error }] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(
        matches!(error, Error::Corrupt { path, .. } if *path == store.segment(2)),
        "{error}"
    );
    assert!(event.to_string().contains(&error.to_string()), "{event}");
    drop(opened);
}
