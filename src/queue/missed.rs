//! Signals that a waiting consumer might miss: a record that becomes free at an unlikely moment, and a signal to a
//! consumer that does not look.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::entry::{Entry, RecordId};
use super::watch::Look;
use super::woken::{Bench, Woken, one, settle, woken, woken_before_others};
use super::{Queue, QueueRecord, ReceiveOptions};
use crate::disk::sim::{Operation, SimDisk};
use crate::error::Result;
use crate::model::{RecordNumber, ShardId};
use crate::store::QueueSettings;

fn receive(bench: &Bench, dead_letters: bool, seconds: u32) -> QueueRecord {
    let options = ReceiveOptions {
        visibility_seconds: Some(seconds),
        dead_letters,
        ..one()
    };
    bench.queue.receive(&options).unwrap().remove(0)
}

/// A record that was received once is a dead letter from now on.
fn bury_after_one(bench: &Bench) {
    let settings = QueueSettings {
        visibility_seconds: 30,
        max_receive_count: Some(1),
    };
    bench.queue.set_settings(&settings).unwrap();
}

fn outcome(received: &Result<Vec<QueueRecord>>) -> Look {
    match received {
        Ok(received) if received.is_empty() => Look::Nothing,
        Ok(_) => Look::Records,
        Err(_) => Look::Failure,
    }
}

/// The receive comes too early for the record. When its watch gets the signal, behind the receive, there is no timer
/// for the record any more.
#[test]
fn what_becomes_free_just_behind_a_receive_is_looked_for() {
    const MILLISECOND: Duration = Duration::from_millis(1);
    for dead_letters in [false, true] {
        let bench = Bench::new();
        bench.put(2);
        receive(&bench, false, 1);
        bench.clock.advance(MILLISECOND);
        receive(&bench, false, 1);
        if dead_letters {
            bury_after_one(&bench);
        }
        bench.clock.advance(Duration::from_millis(999));
        // The first one is free, and another consumer gets it.
        receive(&bench, dead_letters, 60);
        let mut watch = bench.queue.watch(dead_letters).unwrap();
        assert_eq!(watch.due(), Some(MILLISECOND));
        let options = ReceiveOptions {
            dead_letters,
            ..one()
        };
        let receive_early = |queue: &Queue| {
            let received = queue.receive(&options);
            bench.clock.advance(MILLISECOND);
            received
        };
        let received = watch.look(receive_early, outcome).unwrap().unwrap();
        assert_eq!(received.len(), 1);
    }
}

#[test]
fn the_time_until_something_is_free_counts_from_the_moment_of_asking() {
    let bench = Bench::new();
    bench.put(1);
    receive(&bench, false, 30);
    let mut watch = bench.queue.watch(false).unwrap();
    assert!(watch.receive(&one()).unwrap().is_empty());
    for left in [30, 20, 10, 0, 0] {
        assert_eq!(watch.due(), Some(Duration::from_secs(left)));
        bench.clock.advance(Duration::from_secs(10));
    }
}

#[test]
fn a_record_that_is_to_be_free_earlier_is_heard_of_where_a_dead_letter_is_first() {
    let bench = Bench::new();
    bury_after_one(&bench);
    bench.put(1);
    receive(&bench, false, 0);
    receive(&bench, true, 10);
    bench.put(1);
    let held = receive(&bench, false, 30);
    let mut consumers = bench.consumers(2);
    let changed = bench.queue.change_visibility(&[(held.receipt, 20)]);
    assert_eq!(changed.unwrap(), [Ok(())]);
    woken(&consumers, 1);
    assert_eq!(settle(&mut consumers).1, 0);
}

#[test]
fn one_whose_receive_fails_leaves_the_records_to_another() {
    let bench = Bench::new();
    let (mut first, mut consumers) = woken_before_others(&bench);
    first.look(|_| (), |()| Look::Failure).unwrap();
    woken(&consumers, 1);
    assert_eq!(settle(&mut consumers).1, 1);
}

#[test]
fn one_that_turns_to_something_else_passes_on_what_it_hears_of() {
    let bench = Bench::new();
    let (mut first, mut consumers) = woken_before_others(&bench);
    // It has looked, and does not wait.
    first.look(|_| (), |()| Look::Nothing).unwrap();
    bench.put(1);
    assert_eq!(settle(&mut consumers), (0, 0));
    first.pass_on();
    woken(&consumers, 1);
    assert_eq!(settle(&mut consumers).1, 2);
}

fn on_disk() -> (Bench, SimDisk) {
    let disk = SimDisk::new(11);
    let bench = Bench::opened_by(|options| {
        options
            .segment_bytes(64 << 10)
            .min_journaled_shards(usize::MAX)
            .flusher_threads(1)
            .disk(disk.clone())
            .open("store")
    });
    (bench, disk)
}

#[test]
fn what_a_receive_had_that_fails_is_for_those_who_wait() {
    let (bench, disk) = on_disk();
    let put = bench.stream.put("a", b"x").unwrap();
    // The log of the queue gets its first segment with the first change.
    let _ = disk
        .faults()
        .fail_from_nth(Operation::Rename, 1, ErrorKind::StorageFull);
    let (turn, now) = bench.queue.turn().unwrap();
    let number = put.sequence_number.record_number();
    let (from, _) = turn.state.first_unread(put.shard_id).unwrap();
    let received = Entry::Received {
        shard: put.shard_id,
        from,
        to: number.next(),
        first_delivery: turn.state.next_delivery,
        at: bench.stream.now(),
        records: vec![(number, bench.stream.now())],
    };
    let committing = turn.commit(&[received], now.after(30)).unwrap();
    // They look and find nothing, because the result of the commit is not known yet.
    let mut consumers = bench.consumers(2);
    assert!(committing.wait().is_err());
    disk.faults().clear();
    assert_eq!(settle(&mut consumers).1, 1);
}

/// Makes the next turn read the log of the queue, which has entries to read.
fn lose_a_commit(bench: &Bench, disk: &SimDisk) {
    bench.put(1);
    receive(bench, false, 30);
    let _ = disk
        .faults()
        .fail_from_nth(Operation::Rename, 1, ErrorKind::StorageFull);
    // Records that no stream has. Their entries take some kilobytes in the log, so it needs a segment soon.
    let shard = ShardId::new(0).unwrap();
    let records: Vec<RecordId> = (1_000_000..1_005_000)
        .map(|number| (shard, RecordNumber::new(number)))
        .collect();
    let died = [Entry::Died(records)];
    loop {
        let (turn, _) = bench.queue.turn().unwrap();
        if turn.commit(&died, 0).unwrap().wait().is_err() {
            break;
        }
    }
    disk.faults().clear();
}

#[test]
fn one_that_could_not_hear_does_not_sleep_before_it_hears() {
    let (bench, disk) = on_disk();
    let mut watch = bench.queue.watch(false).unwrap();
    // It gets no signals itself while another consumer is the lookout.
    let lookout = bench.consumers(1);
    assert!(watch.receive(&one()).unwrap().is_empty());
    drop(lookout);
    lose_a_commit(&bench, &disk);
    let reading = Operation::Open | Operation::Read | Operation::Map;
    let _ = disk.faults().fail_from_nth(reading, 1, ErrorKind::Other);
    assert!(watch.receive(&one()).is_err());
    disk.faults().clear();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut changed = pin!(watch.changed());
    let polled = changed.as_mut().poll(&mut Context::from_waker(&waker));
    bench.put(1);
    assert!(polled.is_ready() || woken.is_so());
}
