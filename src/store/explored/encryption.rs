//! Encryption that begins, changes and ends during puts.

use super::*;
use crate::encryption::KeyRing;
use crate::sync::explore;

fn keys() -> KeyRing {
    let keys = KeyRing::new();
    keys.insert("one", [1; 32]);
    keys.insert("two", [2; 32]);
    keys
}

/// Checks the records on the disk, and those after a power cut, with the keys.
fn check(world: &World) {
    let cut = world.disk.image(LossMode::LoseAll);
    world.store.close().unwrap();
    for disk in [&cut, &world.disk] {
        let options = World::options(disk).clock(world.clock.clone()).keys(keys());
        let store = options.open(DIRECTORY).unwrap();
        world.check(&store.stream("clicks").unwrap(), Unacknowledged::May);
        store.close().unwrap();
    }
}

/// Whether a file has these bytes.
fn is_on_disk(disk: &SimDisk, bytes: &[u8]) -> bool {
    let files = disk.rot().files();
    files.iter().any(|(path, _)| {
        let content = disk.rot().read(path).unwrap();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn what_is_put_between_its_begin_and_its_end_is_encrypted_and_all_is_there() {
    explore(|| {
        let world = World::with(1, |options| options.keys(keys()));
        let changing = world.thread(|world| {
            world.stream.start_encryption("one").unwrap();
            world.put_one("secret", 0).unwrap();
            world.stream.start_encryption("two").unwrap();
            world.put_one("secret", 1).unwrap();
            world.stream.stop_encryption().unwrap();
            world.put_one("plain", 0).unwrap();
        });
        join([changing, world.putter("a", 2), world.putter("b", 2)]);
        assert!(!is_on_disk(&world.disk, b"secret"));
        assert!(is_on_disk(&world.disk, b"plain 0"));
        check(&world);
    });
}

#[test]
fn a_split_beside_it_loses_nothing_and_shows_nothing() {
    explore(|| {
        let world = World::with(1, |options| options.keys(keys()));
        let changing = world.thread(|world| {
            world.stream.start_encryption("one").unwrap();
            world.put_one("secret", 0).unwrap();
            world.stream.stop_encryption().unwrap();
        });
        let splitting = world.thread(|world| {
            let shard = ShardId::new(0).unwrap();
            world.stream.split_shard(shard, HashKey::new(1 << 127)).unwrap();
        });
        join([changing, splitting, world.putter("a", 3)]);
        assert!(!is_on_disk(&world.disk, b"secret"));
        check(&world);
    });
}

#[test]
fn through_the_journal_and_to_rest_it_is_the_same() {
    explore(|| {
        let world = World::with(2, |options| options.keys(keys()).min_journaled_shards(1));
        let changing = world.thread(|world| {
            world.stream.start_encryption("one").unwrap();
            world.put_into_all("secret", 0, 2).unwrap();
            world.stream.stop_encryption().unwrap();
        });
        let keeper = world.thread(|world| {
            world.clock.advance(Duration::from_secs(10));
            world.store.maintain().unwrap();
        });
        let putting = world.thread(|world| {
            for number in 0..2 {
                world.put_into_all("a", number, 2).unwrap();
            }
        });
        join([changing, keeper, putting]);
        assert!(!is_on_disk(&world.disk, b"secret"));
        check(&world);
    });
}
