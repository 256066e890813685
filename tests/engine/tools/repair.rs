//! A repair loses only damaged records, and reports them first.

use std::path::PathBuf;

use anabranch::inspect::{DumpItem, DumpWhat, Inspection, Loss, RepairAction, verify};
use anabranch::{Error, HashKey, Store};

use super::inspected_store::{
    InspectedStore, RECORD_BYTES, all_files, damage, dump, flip, flip_in_both_copies, frames, options,
    record_at, sequence_numbers,
};

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

/// Damages a store, repairs it, and checks three facts: exactly these records are lost, given by their places from 0;
/// nothing was changed before it was reported and copied; the repaired store works like a new one.
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
    // Reading single records passes the damaged places, as reading all at once does.
    for number in &expected {
        assert_eq!(record_at(&stream, *number), *number, "{what}");
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
            // In an interrupted log, damage to the last commit is not recognized.
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
        let harm = |store: &InspectedStore| flip_in_both_copies(&store.manifest(), offset + 30);
        check_repair(&InspectedStore::killed(8), "edit", harm, &[]);
    }
}

#[test]
fn a_flipped_byte_in_one_copy_of_the_manifest_costs_nothing() {
    let sound = InspectedStore::killed(8);
    let bytes = std::fs::read(sound.manifest()).unwrap();
    let end = bytes[..64 << 10].iter().rposition(|byte| *byte != 0).unwrap();
    for offset in (0..=end).step_by(37) {
        for copy in [0, 64 << 10] {
            let store = sound.copy();
            flip(&store.manifest(), (copy + offset) as u64);
            let what = format!("byte {}", copy + offset);
            let opened = options().open(store.path()).unwrap();
            assert_eq!(
                sequence_numbers(&opened.stream("clicks").unwrap()),
                sound.put,
                "{what}"
            );
            opened.close().unwrap();
            assert_eq!(damage(store.path()), [], "{what}");
        }
    }
    let harm = |store: &InspectedStore| flip(&store.manifest(), 100);
    check_repair(&InspectedStore::killed(8), "one copy, killed", harm, &[]);
    check_repair(&InspectedStore::closed(8), "one copy, closed", harm, &[]);
}

#[test]
fn a_repair_says_what_a_damaged_manifest_costs() {
    let store = InspectedStore::killed(8);
    flip_in_both_copies(&store.manifest(), 500);
    let plan = Inspection::of(store.path()).plan_repair(&mut |_| {}).unwrap();
    match plan.steps.first() {
        Some(step) => {
            assert_eq!(step.action, RepairAction::RewriteManifest);
            assert!(matches!(step.loses[..], [Loss::Edits { misfits: Some(_) }]));
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
    stream.split_shard(shard, HashKey::MAX / 2).unwrap();
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
fn a_split_that_the_manifest_has_forgotten_is_undone_only_if_a_person_says_so() {
    let store = InspectedStore::closed(8);
    let opened = options().open(store.path()).unwrap();
    let stream = opened.stream("clicks").unwrap();
    let shard = stream.describe().unwrap().shards[0].id;
    stream.split_shard(shard, HashKey::MAX / 2).unwrap();
    stream.put("key", b"a child's").unwrap();
    opened
        .create_stream("young", 1)
        .unwrap()
        .put("key", b"young")
        .unwrap();
    let killed = store.copy();
    opened.close().unwrap();

    let mut resharded = 0;
    dump(killed.path(), DumpWhat::Manifest, |item| match item {
        DumpItem::Edit(edit) if edit.kind == "Resharded" => resharded = edit.offset,
        _ => {}
    });
    flip_in_both_copies(&killed.manifest(), resharded + 30);
    let before = all_files(killed.path());
    let plan = || Inspection::of(killed.path()).plan_repair(&mut |_| {}).unwrap();
    assert!(matches!(
        plan().steps[0].loses[..],
        [Loss::Edits { misfits: Some(1..) }]
    ));
    assert!(plan().sets_aside());
    assert!(matches!(plan().apply(), Err(Error::InvalidArgument { .. })));
    assert!(all_files(killed.path()) == before);
    assert!(matches!(
        options().open(killed.path()),
        Err(Error::Corrupt { .. })
    ));

    let repaired = plan().apply_and_set_aside().unwrap().unwrap();
    assert!(repaired.verification.is_sound());
    let is_of_a_child = |name: &PathBuf| !name.to_string_lossy().contains("shardId-000000000000/");
    let put_aside = repaired
        .copied
        .iter()
        .filter(|name| is_of_a_child(name) && name.starts_with("streams/1"));
    assert_eq!(put_aside.count(), 1, "{:?}", repaired.copied);
    assert_eq!(damage(killed.path()), []);

    let opened = options().open(killed.path()).unwrap();
    // Whole edits behind the damage that do not depend on it are kept.
    let young = opened.stream("young").unwrap();
    assert_eq!(sequence_numbers(&young).len(), 1);
    let stream = opened.stream("clicks").unwrap();
    let put = stream.put("key", b"the parent's").unwrap();
    let expected = [&store.put[..], &[put.sequence_number]].concat();
    assert_eq!(sequence_numbers(&stream), expected);
    // Numbers of earlier streams are not given out again.
    let summary = opened.create_stream("younger", 1).unwrap().summary().unwrap();
    assert_eq!(summary.id.value(), 3);
}

#[test]
fn an_older_manifest_does_not_make_a_younger_streams_records_nobodys() {
    let store = InspectedStore::closed(8);
    let older = std::fs::read(store.manifest()).unwrap();
    let opened = options().open(store.path()).unwrap();
    opened
        .create_stream("young", 1)
        .unwrap()
        .put("key", b"young")
        .unwrap();
    opened.close().unwrap();
    std::fs::write(store.manifest(), older).unwrap();
    let before = all_files(store.path());
    assert!(matches!(options().open(store.path()), Err(Error::Corrupt { .. })));
    assert_eq!(damage(store.path()).len(), 1);
    let plan = Inspection::of(store.path()).plan_repair(&mut |_| {}).unwrap();
    assert!(matches!(plan.apply(), Err(Error::InvalidArgument { .. })));
    assert!(all_files(store.path()) == before);
    let plan = Inspection::of(store.path()).plan_repair(&mut |_| {}).unwrap();
    let repaired = plan.apply_and_set_aside().unwrap().unwrap();
    let young = repaired.copied.iter().find(|name| name.starts_with("streams/2"));
    let kept = std::fs::read(repaired.aside.join(young.unwrap())).unwrap();
    assert!(kept == before[&store.path().join(young.unwrap())]);
    assert!(repaired.verification.is_sound());
    let opened = options().open(store.path()).unwrap();
    assert_eq!(sequence_numbers(&opened.stream("clicks").unwrap()), store.put);
    opened.close().unwrap();
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
