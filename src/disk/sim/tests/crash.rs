//! What survives a crash, and in which combinations.

use std::collections::BTreeSet;

use super::*;

#[test]
fn synced_bytes_under_a_synced_name_survive_every_crash() {
    for mode in LossMode::ALL {
        let disk = SimDisk::new(1);
        durable(&disk, "a", b"bytes");
        assert_eq!(
            outcomes(&disk, mode, |disk| bytes(disk, "a")),
            BTreeSet::from([Some(b"bytes".to_vec())])
        );
    }
}

#[test]
fn a_reader_sees_unsynced_bytes_and_a_power_loss_takes_them() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"old");
    file.write_all_at(b"newer", 0).unwrap();
    assert_eq!(bytes(&disk, "a").unwrap(), b"newer");
    assert_eq!(bytes(&disk.crash(LossMode::LoseAll), "a").unwrap(), b"old");
}

#[test]
fn a_killed_process_loses_nothing_but_a_later_power_loss_may() {
    let disk = SimDisk::new(1);
    durable(&disk, "a", b"old").write_all_at(b"new", 0).unwrap();
    create(&disk, "b");
    let restarted = disk.crash(LossMode::KeepAll);
    assert_eq!(bytes(&restarted, "a").unwrap(), b"new");
    assert_eq!(paths(&restarted), ["a", "b"]);
    let lost = restarted.crash(LossMode::LoseAll);
    assert_eq!(bytes(&lost, "a").unwrap(), b"old");
    assert_eq!(paths(&lost), ["a"]);
}

#[test]
fn a_name_without_a_directory_sync_is_lost_whatever_its_file_synced() {
    let disk = SimDisk::new(1);
    create(&disk, "a").sync_data().unwrap();
    assert!(paths(&disk.crash(LossMode::LoseAll)).is_empty());
}

#[test]
fn a_removed_name_comes_back_unless_its_directory_was_synced() {
    let disk = SimDisk::new(1);
    durable(&disk, "a", b"bytes");
    disk.remove_file(at("a")).unwrap();
    assert_eq!(bytes(&disk.image(LossMode::LoseAll), "a").unwrap(), b"bytes");
    disk.sync_dir(at("")).unwrap();
    assert!(paths(&disk.crash(LossMode::LoseAll)).is_empty());
}

#[test]
fn a_file_is_lost_with_the_directory_whose_parent_was_not_synced() {
    let disk = SimDisk::new(1);
    disk.create_dir(at("d")).unwrap();
    durable(&disk, "d/a", b"bytes");
    assert!(disk.image(LossMode::LoseAll).list(at("")).unwrap().is_empty());
    disk.sync_dir(at("")).unwrap();
    assert_eq!(bytes(&disk.crash(LossMode::LoseAll), "d/a").unwrap(), b"bytes");
}

#[test]
fn syncing_the_parent_does_not_make_the_names_in_a_new_directory_durable() {
    let disk = SimDisk::new(1);
    disk.create_dir(at("d")).unwrap();
    create(&disk, "d/a");
    disk.sync_dir(at("")).unwrap();
    let after = disk.crash(LossMode::LoseAll);
    assert_eq!(after.list(at("")).unwrap(), ["d"]);
    assert!(after.list(at("d")).unwrap().is_empty());
}

#[test]
fn an_unsynced_write_is_torn_at_sectors_in_any_order() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", &[b'o'; 2 * SECTOR_BYTES]);
    file.write_all_at(&[b'n'; 2 * SECTOR_BYTES], 0).unwrap();
    let seen = outcomes(&disk, LossMode::Random, |disk| {
        let bytes = bytes(disk, "a").unwrap();
        for sector in bytes.chunks(SECTOR_BYTES) {
            assert!(
                sector.iter().all(|byte| *byte == sector[0]),
                "a sector is old or new as a whole"
            );
        }
        (bytes[0], bytes[SECTOR_BYTES])
    });
    assert_eq!(
        seen,
        BTreeSet::from([(b'o', b'o'), (b'o', b'n'), (b'n', b'o'), (b'n', b'n')])
    );
}

#[test]
fn a_sector_never_has_a_later_write_without_the_earlier_one() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"..");
    file.write_all_at(b"1", 0).unwrap();
    file.write_all_at(b"2", 1).unwrap();
    let seen = outcomes(&disk, LossMode::Random, |disk| bytes(disk, "a").unwrap());
    assert_eq!(
        seen,
        BTreeSet::from([b"..".to_vec(), b"1.".to_vec(), b"12".to_vec()])
    );
}

#[test]
fn rewriting_a_sector_with_the_same_leading_bytes_keeps_them() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"acknowledged");
    file.write_all_at(b"acknowledged, and more", 0).unwrap();
    for mode in POWER_LOSS {
        let seen = outcomes(&disk, mode, |disk| {
            bytes(disk, "a").unwrap().starts_with(b"acknowledged")
        });
        assert_eq!(seen, BTreeSet::from([true]));
    }
}

#[test]
fn length_and_bytes_survive_apart() {
    let disk = SimDisk::new(1);
    durable(&disk, "a", b"").write_all_at(b"x", 0).unwrap();
    let seen = outcomes(&disk, LossMode::Random, |disk| bytes(disk, "a").unwrap());
    assert_eq!(
        seen,
        BTreeSet::from([b"".to_vec(), b"\0".to_vec(), b"x".to_vec()])
    );
}

#[test]
fn writes_to_two_files_survive_in_any_order() {
    let disk = SimDisk::new(1);
    let (a, b) = (durable(&disk, "a", b"-"), durable(&disk, "b", b"-"));
    a.write_all_at(b"1", 0).unwrap();
    b.write_all_at(b"2", 0).unwrap();
    let look = |disk: &SimDisk| (bytes(disk, "a").unwrap()[0], bytes(disk, "b").unwrap()[0]);
    let ordered = BTreeSet::from([(b'-', b'-'), (b'1', b'-'), (b'1', b'2')]);
    assert_eq!(outcomes(&disk, LossMode::Prefix, look), ordered);
    let any = ordered.into_iter().chain([(b'-', b'2')]).collect();
    assert_eq!(outcomes(&disk, LossMode::Random, look), any);
}

#[test]
fn a_prefix_spans_bytes_lengths_and_names() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"");
    file.write_all_at(b"x", 0).unwrap();
    create(&disk, "b");
    let look = |disk: &SimDisk| (bytes(disk, "a").unwrap(), paths(disk).len());
    let expected = [(b"".to_vec(), 1), (b"x".to_vec(), 1), (b"x".to_vec(), 2)];
    assert_eq!(outcomes(&disk, LossMode::Prefix, look), BTreeSet::from(expected));
}

#[test]
fn a_cut_takes_bytes_that_a_later_length_does_not_bring_back() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"secret");
    file.set_len(0).unwrap();
    file.set_len(6).unwrap();
    let seen = outcomes(&disk, LossMode::Random, |disk| bytes(disk, "a").unwrap());
    assert_eq!(
        seen,
        BTreeSet::from([b"secret".to_vec(), b"".to_vec(), b"\0\0\0\0\0\0".to_vec()])
    );
    file.sync_data().unwrap();
    assert_eq!(bytes(&disk.crash(LossMode::LoseAll), "a").unwrap(), [0; 6]);
}

#[test]
fn a_cut_undoes_unsynced_writes_behind_it() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"");
    file.write_all_at(&[7; 1000], 0).unwrap();
    file.set_len(600).unwrap();
    file.set_len(1000).unwrap();
    file.sync_data().unwrap();
    let expected: Vec<u8> = [[7; 600].as_slice(), &[0; 400]].concat();
    assert_eq!(bytes(&disk.image(LossMode::LoseAll), "a").unwrap(), expected);
    assert_eq!(bytes(&disk, "a").unwrap(), expected);
}

#[test]
fn opening_to_truncate_is_an_unsynced_cut() {
    let disk = SimDisk::new(1);
    durable(&disk, "a", b"old");
    disk.open(at("a"), OpenMode::Truncate).unwrap();
    assert_eq!(bytes(&disk, "a").unwrap(), b"");
    assert_eq!(bytes(&disk.crash(LossMode::LoseAll), "a").unwrap(), b"old");
}

#[test]
fn a_replaced_file_is_the_old_one_or_the_new_one() {
    let disk = SimDisk::new(1);
    durable(&disk, "CURRENT", b"old");
    durable(&disk, "CURRENT.new", b"new");
    disk.rename(at("CURRENT.new"), at("CURRENT")).unwrap();
    let seen = outcomes(&disk, LossMode::Random, |disk| {
        (bytes(disk, "CURRENT").unwrap(), paths(disk).len())
    });
    assert_eq!(seen, BTreeSet::from([(b"old".to_vec(), 2), (b"new".to_vec(), 1)]));
    disk.sync_dir(at("")).unwrap();
    assert_eq!(bytes(&disk.crash(LossMode::LoseAll), "CURRENT").unwrap(), b"new");
}

#[test]
fn a_file_renamed_before_its_bytes_were_synced_may_be_empty() {
    let disk = SimDisk::new(1);
    durable(&disk, "CURRENT", b"old");
    create(&disk, "CURRENT.new").write_all_at(b"new", 0).unwrap();
    disk.rename(at("CURRENT.new"), at("CURRENT")).unwrap();
    disk.sync_dir(at("")).unwrap();
    assert_eq!(bytes(&disk.crash(LossMode::LoseAll), "CURRENT").unwrap(), b"");
}

#[test]
fn a_rename_between_directories_leaves_one_of_the_names() {
    let disk = SimDisk::new(1);
    durable_dir(&disk, "from");
    durable_dir(&disk, "to");
    durable(&disk, "from/a", b"");
    disk.rename(at("from/a"), at("to/b")).unwrap();
    for mode in [LossMode::Random, LossMode::Prefix] {
        let either = BTreeSet::from([vec!["from/a".to_owned()], vec!["to/b".to_owned()]]);
        assert_eq!(outcomes(&disk, mode, paths), either);
    }
    disk.sync_dir(at("from")).unwrap();
    assert_eq!(paths(&disk.image(LossMode::LoseAll)), ["from/a"]);
    disk.sync_dir(at("to")).unwrap();
    assert_eq!(paths(&disk.crash(LossMode::LoseAll)), ["to/b"]);
}

#[test]
fn a_file_moved_into_a_new_directory_is_never_lost_and_moves_when_that_directory_has_its_name() {
    let disk = SimDisk::new(1);
    durable_dir(&disk, "pool");
    durable(&disk, "pool/1", b"");
    disk.create_dir(at("shard")).unwrap();
    disk.rename(at("pool/1"), at("shard/1")).unwrap();
    let either = BTreeSet::from([vec!["pool/1".to_owned()], vec!["shard/1".to_owned()]]);
    assert_eq!(outcomes(&disk, LossMode::Random, paths), either);
    disk.sync_dir(at("shard")).unwrap();
    assert_eq!(paths(&disk.image(LossMode::LoseAll)), ["pool/1"]);
    assert_eq!(outcomes(&disk, LossMode::Random, paths), either);
    disk.sync_dir(at("")).unwrap();
    assert_eq!(paths(&disk.crash(LossMode::LoseAll)), ["shard/1"]);
}

#[test]
fn a_file_moved_out_of_a_removed_directory_is_never_lost() {
    let disk = SimDisk::new(1);
    durable_dir(&disk, "d");
    durable(&disk, "d/a", b"");
    disk.rename(at("d/a"), at("a")).unwrap();
    disk.remove_dir(at("d")).unwrap();
    let either = BTreeSet::from([vec!["a".to_owned()], vec!["d/a".to_owned()]]);
    assert_eq!(outcomes(&disk, LossMode::Random, paths), either);
}

#[test]
fn changes_of_different_names_survive_independently() {
    let disk = SimDisk::new(1);
    create(&disk, "a");
    create(&disk, "b");
    assert_eq!(outcomes(&disk, LossMode::Random, paths).len(), 4);
}

#[test]
fn a_crash_can_be_had_again_with_another_outcome() {
    let disk = SimDisk::new(1);
    durable(&disk, "a", b"old").write_all_at(b"new", 0).unwrap();
    assert_eq!(bytes(&disk.crash(LossMode::LoseAll), "a").unwrap(), b"old");
    assert_eq!(bytes(&disk.crash(LossMode::KeepAll), "a").unwrap(), b"new");
}

#[test]
fn an_image_goes_its_own_way() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"x");
    let image = disk.image(LossMode::KeepAll);
    image.remove_file(at("a")).unwrap();
    file.write_all_at(b"y", 0).unwrap();
    assert_eq!(bytes(&disk, "a").unwrap(), b"y");
}

#[test]
fn the_same_seed_and_calls_find_the_same_disk() {
    let run = |seed| {
        let disk = SimDisk::new(seed);
        let file = durable(&disk, "a", &[0; 64 * SECTOR_BYTES]);
        file.write_all_at(&[1; 64 * SECTOR_BYTES], 0).unwrap();
        let after: Vec<_> = (0..20)
            .map(|_| bytes(&disk.image(LossMode::Random), "a"))
            .collect();
        after
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn a_second_name_survives_by_itself_once_its_directory_was_synced() {
    let disk = SimDisk::new(1);
    durable_dir(&disk, "d");
    durable(&disk, "a", b"bytes");
    disk.share(at("a"), at("d/b")).unwrap();
    for mode in POWER_LOSS {
        let seen = outcomes(&disk, mode, |disk| {
            [bytes(disk, "a").is_some(), bytes(disk, "d/b").is_some()]
        });
        assert!(seen.iter().all(|[first, _]| *first), "{mode:?}");
        assert_eq!(
            seen.len(),
            if mode == LossMode::LoseAll { 1 } else { 2 },
            "{mode:?}"
        );
    }
    disk.sync_dir(at("d")).unwrap();
    disk.remove_file(at("a")).unwrap();
    disk.sync_dir(at("")).unwrap();
    let after = disk.crash(LossMode::LoseAll);
    assert_eq!(paths(&after), ["d/b"]);
    assert_eq!(bytes(&after, "d/b").unwrap(), b"bytes");
}
