//! Several members of one group, under every schedule that the explorer draws (`sync::explore`).
//!
//! Each scenario is a small store on a simulated disk. Its clock stands still unless the scenario moves it, so no lease
//! runs out. The checks: no thread waits for ever, every record is given out once, those of a key in order, and
//! committed records are not given out again after a power cut.

use std::sync::Arc;
use std::time::Duration;

use super::{Member, MemberOptions};
use crate::disk::sim::{LossMode, SimDisk};
use crate::error::Error;
use crate::model::{Checkpoint, ManualClock, ShardId, StartingPosition, Timestamp};
use crate::seam::ReadLimit;
use crate::store::{Store, StoreOptions, Stream};
use crate::sync::{Mutex, explore};

const DIRECTORY: &str = "store";
const GROUP: &str = "work";

type Thread = shuttle::thread::JoinHandle<()>;

#[derive(Clone)]
struct World {
    disk: SimDisk,
    clock: ManualClock,
    store: Store,
    stream: Stream,
    /// Keys and numbers, in the order in which they were given out.
    given: Arc<Mutex<Vec<(String, usize)>>>,
}

impl World {
    fn new(shards: u32) -> Self {
        let disk = SimDisk::new(11);
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
        let store = open(&disk, &clock);
        let stream = store.create_stream("jobs", shards).unwrap();
        stream.group(GROUP, StartingPosition::TrimHorizon).unwrap();
        Self {
            disk,
            clock,
            store,
            stream,
            given: Arc::default(),
        }
    }

    fn thread(&self, run: impl FnOnce(&Self) + Send + 'static) -> Thread {
        let world = self.clone();
        shuttle::thread::spawn(move || run(&world))
    }

    fn join(&self, name: &str) -> Member {
        let group = self.stream.group(GROUP, StartingPosition::TrimHorizon).unwrap();
        group.join(name, &MemberOptions::default()).unwrap()
    }

    fn put(&self, key: &str, number: usize) {
        self.stream.put(key, number.to_string().as_bytes()).unwrap();
    }

    fn putter(&self, key: &'static str, records: usize) -> Thread {
        self.thread(move |world| (0..records).for_each(|number| world.put(key, number)))
    }

    /// Forgets the state that the members share, and saves the checkpoint of a reader that has read this many records.
    fn save_from_a_reader(&self, records: usize) {
        self.stream.remove_checkpoint(GROUP).unwrap();
        let mut reader = self.stream.reader(StartingPosition::TrimHorizon).unwrap();
        assert_eq!(reader.by_ref().take(records).count(), records);
        reader.save_checkpoint(GROUP).unwrap();
    }

    fn beginning(&self) -> Checkpoint {
        let reader = self.stream.reader(StartingPosition::TrimHorizon);
        reader.unwrap().checkpoint()
    }

    /// A member that polls once, and may get the error that the group or its lease has ended. Gives the record that it
    /// has committed.
    fn try_one(&self) -> Option<usize> {
        let group = self.stream.group(GROUP, StartingPosition::TrimHorizon).unwrap();
        let one = ReadLimit {
            records: 1,
            ..ReadLimit::default()
        };
        let committed = group
            .join("beside", &MemberOptions::default())
            .and_then(|mut member| {
                let batch = member.next_batch(&one, Duration::ZERO)?;
                batch.as_ref().map_or(Ok(()), |batch| member.commit(batch))?;
                Ok(batch)
            });
        match committed {
            Ok(batch) => batch.map(|batch| {
                std::str::from_utf8(&batch.records[0].data)
                    .unwrap()
                    .parse()
                    .unwrap()
            }),
            Err(Error::LeaseLost { .. } | Error::GroupNotFound { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// A commit beside a change that set the group back to its beginning counts as before the change, unless it is of
    /// the first record.
    fn check_set_back(self, committed: Option<usize>) {
        let is_at_beginning = self.stream.checkpoint(GROUP).unwrap() == Some(self.beginning());
        assert_eq!(is_at_beginning, committed != Some(0), "{committed:?}");
        let left = self
            .stream
            .resume_reader(GROUP, StartingPosition::TrimHorizon)
            .unwrap();
        assert_eq!(left.count(), if is_at_beginning { 2 } else { 1 });
        self.store.close().unwrap();
    }

    /// A member that polls this many times, commits the records it gets, and leaves.
    fn member(&self, name: &'static str, times: usize) -> Thread {
        self.thread(move |world| {
            let mut member = world.join(name);
            for _ in 0..times {
                world.take(&mut member);
            }
        })
    }

    /// Whether there was a record.
    fn take(&self, member: &mut Member) -> bool {
        let one = ReadLimit {
            records: 1,
            ..ReadLimit::default()
        };
        let Some(batch) = member.next_batch(&one, Duration::ZERO).unwrap() else {
            return false;
        };
        let records = batch.records.iter().map(|record| {
            let number = std::str::from_utf8(&record.data).unwrap();
            (record.partition_key.as_str().to_owned(), number.parse().unwrap())
        });
        self.given.lock().extend(records);
        member.commit(&batch).unwrap();
        true
    }

    /// Checks that all remaining records are given out, and that every record was given out once.
    fn drain_and_check(self, keys: &[(&str, usize)]) {
        let mut member = self.join("last");
        while self.take(&mut member) {}
        let given = self.given.lock().clone();
        for (key, records) in keys {
            let of_key = given.iter().filter(|(given, _)| given == key);
            let numbers: Vec<_> = of_key.map(|(_, number)| *number).collect();
            assert_eq!(numbers, (0..*records).collect::<Vec<_>>(), "{key}: {given:?}");
        }
        let cut = self.disk.image(LossMode::LoseAll);
        drop(member);
        self.store.close().unwrap();
        let store = open(&cut, &self.clock);
        let stream = store.stream("jobs").unwrap();
        let rest = stream
            .resume_reader(GROUP, StartingPosition::TrimHorizon)
            .unwrap();
        assert_eq!(rest.count(), 0);
        store.close().unwrap();
    }
}

fn open(disk: &SimDisk, clock: &ManualClock) -> Store {
    StoreOptions::new()
        .segment_bytes(64 << 10)
        .min_journaled_shards(usize::MAX)
        .flusher_threads(1)
        .keeper(false)
        .clock(clock.clone())
        .disk(disk.clone())
        .open(DIRECTORY)
        .unwrap()
}

fn join(threads: impl IntoIterator<Item = Thread>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn members_that_come_and_go_share_what_is_put() {
    explore(|| {
        let world = World::new(2);
        join([
            world.member("one", 3),
            world.member("two", 3),
            world.putter("a", 2),
            world.putter("b", 2),
        ]);
        world.drain_and_check(&[("a", 2), ("b", 2)]);
    });
}

#[test]
fn members_come_to_the_children_of_a_split_in_order() {
    explore(|| {
        let world = World::new(1);
        let splitting = world.thread(|world| {
            world.stream.split_in_half(ShardId::new(0).unwrap()).unwrap();
        });
        join([
            world.member("one", 3),
            world.member("two", 3),
            splitting,
            world.putter("a", 3),
        ]);
        world.drain_and_check(&[("a", 3)]);
    });
}

#[test]
fn a_commit_beside_a_reset_is_before_it_or_refused() {
    explore(|| {
        let world = World::new(1);
        world.put("a", 0);
        let beginning = world.stream.checkpoint(GROUP).unwrap().unwrap();
        let mut member = world.join("one");
        let batch = member.next_batch(&ReadLimit::default(), Duration::ZERO).unwrap();
        let committing = world.thread(move |_| match member.commit(&batch.unwrap()) {
            Ok(()) | Err(Error::LeaseLost { .. }) => {}
            Err(error) => panic!("{error}"),
        });
        let resetting = {
            let beginning = beginning.clone();
            world.thread(move |world| world.stream.reset_checkpoint(GROUP, &beginning).unwrap())
        };
        join([committing, resetting]);
        assert_eq!(world.stream.checkpoint(GROUP).unwrap(), Some(beginning));
        world.drain_and_check(&[("a", 1)]);
    });
}

#[test]
fn a_group_that_is_first_opened_beside_a_reset_undoes_nothing() {
    explore(|| {
        let world = World::new(1);
        (0..2).for_each(|number| world.put("a", number));
        world.save_from_a_reader(1);
        let resetting = world.thread(|world| {
            world.stream.reset_checkpoint(GROUP, &world.beginning()).unwrap();
        });
        let committed = world.try_one();
        join([resetting]);
        world.check_set_back(committed);
    });
}

#[test]
fn a_group_that_is_first_opened_beside_its_deletion_is_not_the_one_that_follows() {
    explore(|| {
        let world = World::new(1);
        (0..2).for_each(|number| world.put("a", number));
        world.save_from_a_reader(1);
        let replacing = world.thread(|world| {
            world.stream.remove_checkpoint(GROUP).unwrap();
            world.stream.group(GROUP, StartingPosition::TrimHorizon).unwrap();
        });
        let committed = world.try_one();
        join([replacing]);
        world.check_set_back(committed);
    });
}

/// Time passes while the commit waits, and while it is being written.
#[test]
fn what_is_committed_while_the_lease_runs_out_is_given_to_no_other() {
    explore(|| {
        let world = World::new(1);
        world.put("a", 0);
        let lease_time = MemberOptions::default().lease_time;
        let mut member = world.join("one");
        let batch = member.next_batch(&ReadLimit::default(), Duration::ZERO).unwrap();
        let committing = shuttle::thread::spawn(move || match member.commit(&batch.unwrap()) {
            Ok(()) => Some(member),
            Err(Error::LeaseLost { .. } | Error::MemberNotFound { .. }) => None,
            Err(error) => panic!("{error}"),
        });
        let passing = world.thread(move |world| world.clock.advance(lease_time));
        let replacing = world.thread(|world| {
            let group = world.stream.group(GROUP, StartingPosition::TrimHorizon).unwrap();
            match group.join("one", &MemberOptions::default()) {
                Ok(mut member) => {
                    world.take(&mut member);
                }
                Err(Error::MemberExists { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        });
        let committed = committing.join().unwrap();
        join([passing, replacing]);
        let was_given_again = !world.given.lock().is_empty();
        assert!(committed.is_none() || !was_given_again);
        drop(committed);
        world.store.close().unwrap();
    });
}
