//! Putting records.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use super::stream::Stream;
use super::stream_core::{Route, ShardIdentity, route_of};
use crate::backend::{Batch, ShardLog};
use crate::error::{Error, InvalidArgument, Result};
use crate::model::{PartitionKey, PutRecord, SequenceNumber, ShardId, Timestamp};
use crate::seam::{Appended, Placed, Ticket, Waiting, check_batch_bytes};

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutResult {
    /// The shard that took it.
    pub shard_id: ShardId,
    /// The record's number: greater than that of every record that the shard, or its parents, took before.
    pub sequence_number: SequenceNumber,
}

/// Records that have their places and wait to be committed. Await it in any async runtime, or call
/// [`wait`](Self::wait). The records are committed even if it is dropped.
///
/// One shard may fail while others do not: [`each`](Self::each) gives the outcome of each record.
#[derive(Debug)]
#[must_use = "records are acknowledged only when this is done"]
pub struct Append {
    parts: Vec<Part>,
    /// For each record of the call: its part, and its place in the part. Empty if all are in one part.
    places: Vec<(u32, u32)>,
    records: usize,
    /// Parts that have their outcome.
    done: usize,
}

/// An [`Append`] that gives the outcome of each record, in the order of the call. Await it, or call
/// [`wait`](Self::wait).
#[derive(Debug)]
#[must_use = "records are acknowledged only when this is done"]
pub struct AppendEach {
    append: Append,
}

/// What one shard took, or the error.
#[derive(Debug)]
struct Part {
    ticket: Result<Ticket>,
    shard: ShardIdentity,
}

impl Stream {
    /// Puts one record, and returns when it is as durable as the store's [`Durability`](crate::Durability) says.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// let put = stream.put("user-42", b"{\"page\":\"/\"}")?;
    /// println!("{} {}", put.shard_id, put.sequence_number);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a partition key of more than 256 characters, or for an empty one unless the
    /// stream [distributes records automatically](crate::RecordDistribution::Auto), [`Error::RecordTooLarge`],
    /// [`Error::BatchTooLarge`], [`Error::StreamNotFound`], [`Error::StreamNotActive`], [`Error::StorageFull`],
    /// [`Error::Corrupt`] if the shard is damaged, [`Error::Poisoned`], [`Error::ReadOnly`], [`Error::Closed`].
    pub fn put(&self, partition_key: &str, data: &[u8]) -> Result<PutResult> {
        self.put_record(&PutRecord::new(partition_key, data))
    }

    /// Puts one record, by its explicit hash key if it has one.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::{HashKey, PutRecord};
    ///
    /// let record = PutRecord::new("user-42", b"{}").explicit_hash_key(HashKey::MAX);
    /// stream.put_record(&record)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub fn put_record(&self, record: &PutRecord<'_>) -> Result<PutResult> {
        let records = std::slice::from_ref(record);
        let now = self.store_core().begin_change(Some(self.core.id))?;
        self.check_records(records)?;
        let part = self.core.with_routes(|routes| {
            let in_turn = self.core.route_in_turn(routes);
            let route = in_turn.unwrap_or_else(|| route_of(routes, record));
            self.append_to(&routes[route], records, now)
        })?;
        part.put(0)
    }

    /// Puts a batch, in the order of the list within each shard. All records are checked before any is stored.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::PutRecord;
    ///
    /// let records = [PutRecord::new("user-42", b"first"), PutRecord::new("user-43", b"second")];
    /// let put = stream.put_records(&records)?;
    /// assert!(put[0].sequence_number < put[1].sequence_number);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`put`](Self::put). If a check fails, nothing was stored. If a shard or the disk fails, other shards may
    /// have stored theirs; [`append`](Self::append) gives the outcome of each record ([`Append::each`]).
    pub fn put_records(&self, records: &[PutRecord<'_>]) -> Result<Vec<PutResult>> {
        self.append(records)?.wait()
    }

    /// Takes records in, without waiting for their commit. They get their places in the order of the calls.
    ///
    /// Blocks while a shard has more to commit than [`max_group_bytes`](crate::StoreOptions::max_group_bytes), while
    /// the stream's shards are split, merged or opened, and while a due change is finished. A thread that must not
    /// block calls [`try_append`](Self::try_append).
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::PutRecord;
    ///
    /// let first = stream.append(&[PutRecord::new("user-42", b"first")])?;
    /// let second = stream.append(&[PutRecord::new("user-42", b"second")])?;
    /// // Both can be in one commit.
    /// assert!(first.wait()?[0].sequence_number < second.wait()?[0].sequence_number);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`put`](Self::put). A failure of a shard or the disk comes with the outcome, unless all records belong to
    /// that shard.
    pub fn append(&self, records: &[PutRecord<'_>]) -> Result<Append> {
        let now = self.store_core().begin_change(Some(self.core.id))?;
        self.check_records(records)?;
        self.core
            .with_routes(|routes| match self.destination(routes, records) {
                Destination::One(route) => {
                    let part = self.append_to(&routes[route], records, now)?;
                    Ok(Append::of_one(part, records.len()))
                }
                Destination::Many(order) => {
                    let routes_taken = order.groups().map(|group| &routes[group.route()]);
                    let logs: Vec<_> = routes_taken.map(|route| self.core.log_behind(route)).collect();
                    let appended = self.append_of_many(routes, records, &order, &logs, now, Waiting::Allowed);
                    Ok(appended.unwrap_or_else(would_wait))
                }
            })
    }

    /// Takes records in if that needs no waiting at all: not for the disk, and not for a lock that another thread holds
    /// while it waits for the disk. Otherwise takes none of them and gives `None`: call [`append`](Self::append) on a
    /// thread that may block. So a worker of an async runtime can begin every put, and await the [`Append`] like any
    /// other.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::PutRecord;
    ///
    /// let records = [PutRecord::new("user-42", b"{}")];
    /// let append = match stream.try_append(&records)? {
    ///     Some(append) => append,
    ///     None => stream.append(&records)?,
    /// };
    /// append.wait()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`append`](Self::append).
    pub fn try_append(&self, records: &[PutRecord<'_>]) -> Result<Option<Append>> {
        let Some(now) = self.store_core().try_begin_change(self.core.id)? else {
            return Ok(None);
        };
        self.check_records(records)?;
        let appended = self
            .core
            .try_with_routes(|routes| match self.destination(routes, records) {
                Destination::One(route) => {
                    let route = &routes[route];
                    let Some(log) = route.opened_log() else {
                        return Ok(None);
                    };
                    self.note_earliest(log.as_ref(), now);
                    let appended = log.append(records, now, Waiting::Refused)?;
                    let ticket = self.ticket(route, appended)?;
                    if ticket.is_some() {
                        route.count(records.iter());
                        self.core.end_turn();
                    }
                    Ok(ticket.map(|ticket| Append::of_one(Part::of(route, Ok(ticket)), records.len())))
                }
                Destination::Many(order) => {
                    let routes_taken = order.groups().map(|group| &routes[group.route()]);
                    let logs = routes_taken.map(|route| route.opened_log().map(Ok));
                    let Some(logs) = logs.collect::<Option<Vec<_>>>() else {
                        return Ok(None);
                    };
                    Ok(self.append_of_many(routes, records, &order, &logs, now, Waiting::Refused))
                }
            });
        appended.unwrap_or(Ok(None))
    }

    fn check_records(&self, records: &[PutRecord<'_>]) -> Result<()> {
        check_batch_bytes(records)?;
        let is_distributed = self.core.is_distributed.load(Ordering::Relaxed);
        let limit = self.core.max_record_bytes.load(Ordering::Relaxed) as usize;
        for (index, record) in records.iter().enumerate() {
            // A record without a key goes to any shard.
            if !(is_distributed && record.partition_key.is_empty()) {
                PartitionKey::check(record.partition_key).map_err(InvalidArgument::PartitionKey)?;
            }
            let bytes = record.size_bytes();
            if bytes > limit {
                return Err(Error::RecordTooLarge { index, bytes, limit });
            }
        }
        Ok(())
    }

    fn destination(&self, routes: &[Route], records: &[PutRecord<'_>]) -> Destination {
        match self.core.route_in_turn(routes) {
            Some(route) if !records.is_empty() => Destination::One(route),
            _ => Destination::of(routes, records),
        }
    }

    fn append_to(&self, route: &Route, records: &[PutRecord<'_>], now: Timestamp) -> Result<Part> {
        let log = self.core.log_behind(route)?;
        self.note_earliest(log.as_ref(), now);
        let appended = log.append(records, now, Waiting::Allowed)?;
        let ticket = self.ticket(route, appended)?.unwrap_or_else(would_wait);
        route.count(records.iter());
        self.core.end_turn();
        Ok(Part::of(route, Ok(ticket)))
    }

    /// `logs` has one for each group of `order`. `None` if one of them would have to wait and may not.
    fn append_of_many(
        &self,
        routes: &[Route],
        records: &[PutRecord<'_>],
        order: &Order,
        logs: &[Result<&Arc<dyn ShardLog>>],
        now: Timestamp,
        waiting: Waiting,
    ) -> Option<Append> {
        let sorted: Vec<_> = order.places().map(|place| records[place]).collect();
        let mut left = sorted.as_slice();
        let mut batches = Vec::with_capacity(logs.len());
        for (group, log) in order.groups().zip(logs) {
            let (records, behind) = left.split_at(group.0.len());
            left = behind;
            // A log that cannot be opened fails only its own records.
            if let Ok(log) = log {
                let log = log.as_ref();
                self.note_earliest(log, now);
                batches.push(Batch { log, records });
            }
        }
        let mut appended = self.core.logs.append(&batches, now, waiting)?.into_iter();
        let mut append = Append {
            parts: Vec::with_capacity(logs.len()),
            places: vec![(0, 0); records.len()],
            records: records.len(),
            done: 0,
        };
        for ((group, log), part) in order.groups().zip(logs).zip(0..) {
            for ((_, place), place_in_part) in group.0.iter().zip(0..) {
                append.places[*place as usize] = (part, place_in_part);
            }
            let route = &routes[group.route()];
            let ticket = match log {
                Ok(_) => {
                    route.count(group.0.iter().map(|(_, place)| &records[*place as usize]));
                    let answer = appended.next().expect("there is one for each batch");
                    let ticket = answer.and_then(|appended| self.ticket(route, appended));
                    ticket.map(|ticket| ticket.unwrap_or_else(would_wait))
                }
                Err(error) => Err(error.clone()),
            };
            append.parts.push(Part::of(route, ticket));
        }
        Some(append)
    }

    /// While the clock is behind, tells the timekeeper the earliest arrival time that the records can have.
    fn note_earliest(&self, log: &dyn ShardLog, now: Timestamp) {
        let time = &self.store_core().time;
        if time.is_behind()
            && let Ok(end) = log.end()
        {
            time.note_earliest(now.max(end.last_arrival));
        }
    }

    /// `None` if the append would have had to wait.
    fn ticket(&self, route: &Route, appended: Appended) -> Result<Option<Ticket>> {
        match appended {
            Appended::Taken(ticket) => Ok(Some(ticket)),
            Appended::WouldWait => Ok(None),
            // No put has the routes while a log is sealed and the routes are replaced (`StreamCore::routing`). So this
            // is a shard whose split failed half way.
            Appended::Sealed => Err(Error::ShardClosed {
                stream: self.name().to_owned(),
                shard: route.shard,
            }),
        }
    }
}

/// An append that may wait never returns `WouldWait`, and one to several logs is refused as a whole.
fn would_wait<T>() -> T {
    unreachable!("an append that may wait has not waited")
}

/// The destination of the records of a call.
enum Destination {
    /// All go to this route.
    One(usize),
    Many(Order),
}

/// Routes and places of records, sorted by route; each shard's records keep the order of the call.
struct Order(Vec<(u32, u32)>);

impl Destination {
    fn of(routes: &[Route], records: &[PutRecord<'_>]) -> Self {
        match records {
            [record] => return Self::One(route_of(routes, record)),
            [_, ..] if routes.len() == 1 => return Self::One(0),
            _ => {}
        }
        let mut order: Vec<(u32, u32)> = records
            .iter()
            .zip(0..)
            // A stream has at most as many open shards as there are shard ids, which are `u32`.
            .map(|(record, place)| (route_of(routes, record) as u32, place))
            .collect();
        order.sort_by_key(|(route, _)| *route);
        match (order.first(), order.last()) {
            (Some(first), Some(last)) if first.0 == last.0 => Self::One(first.0 as usize),
            _ => Self::Many(Order(order)),
        }
    }
}

/// Routes and places of one route's records.
struct Group<'a>(&'a [(u32, u32)]);

impl Order {
    /// The part of each shard.
    fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        self.0.chunk_by(|a, b| a.0 == b.0).map(Group)
    }

    fn places(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|(_, place)| *place as usize)
    }
}

impl Group<'_> {
    fn route(&self) -> usize {
        self.0[0].0 as usize
    }
}

impl Append {
    fn of_one(part: Part, records: usize) -> Self {
        Self {
            parts: vec![part],
            places: Vec::new(),
            records,
            done: 0,
        }
    }

    /// Blocks until all records have their outcome, and gives their places in the order of the call.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::PutRecord;
    ///
    /// let append = stream.append(&[PutRecord::new("user-42", b"{}")])?;
    /// // Something else, while it is committed.
    /// let put = append.wait()?;
    /// println!("{}", put[0].sequence_number);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Poisoned`], [`Error::Corrupt`]. The records of other shards may be stored then.
    pub fn wait(self) -> Result<Vec<PutResult>> {
        self.wait_for_parts();
        self.puts()
    }

    /// Gives the outcome of each record instead of one for all.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::PutRecord;
    ///
    /// let records = [PutRecord::new("user-42", b"{}"), PutRecord::new("user-43", b"{}")];
    /// for (record, outcome) in records.iter().zip(stream.append(&records)?.each().wait()) {
    ///     match outcome {
    ///         Ok(put) => println!("{} is in {}", record.partition_key, put.shard_id),
    ///         Err(error) => println!("{} is not stored: {error}", record.partition_key),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn each(self) -> AppendEach {
        AppendEach { append: self }
    }

    fn wait_for_parts(&self) {
        match self.parts.as_slice() {
            // Its ticket is waited for when its outcome is read.
            [_] => {}
            _ => Ticket::wait_for_all(&self.tickets()),
        }
    }

    fn tickets(&self) -> Vec<&Ticket> {
        let tickets = self.parts.iter().map(|part| part.ticket.as_ref());
        tickets.filter_map(Result::ok).collect()
    }

    /// Whether all parts have their outcome. If not, the task is woken when one more has.
    fn poll_parts(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.done == 0 && self.parts.len() > 1 {
            Ticket::start_all(&self.tickets());
        }
        for part in &mut self.parts[self.done..] {
            if let Ok(ticket) = &mut part.ticket
                && Pin::new(ticket).poll(context).is_pending()
            {
                return Poll::Pending;
            }
            self.done += 1;
        }
        Poll::Ready(())
    }

    fn puts(&self) -> Result<Vec<PutResult>> {
        if let [part] = self.parts.as_slice() {
            let placed = part.placed()?;
            // A `u32` can count the records of a batch: its bytes are limited, and each record has at least 16.
            return Ok((0..self.records as u32)
                .map(|place| part.put_at(placed, place))
                .collect());
        }
        let placed = self.parts.iter().map(Part::placed);
        let placed: Vec<_> = placed.collect::<Result<_>>()?;
        let puts = self.places.iter().map(|(part, place)| {
            let part = *part as usize;
            self.parts[part].put_at(placed[part], *place)
        });
        Ok(puts.collect())
    }

    fn put(&self, record: usize) -> Result<PutResult> {
        // A `u32` can count the records of a batch: its bytes are limited, and each record has at least 16.
        let (part, place) = self.places.get(record).copied().unwrap_or((0, record as u32));
        self.parts[part as usize].put(place)
    }
}

impl AppendEach {
    /// Blocks until all records have their outcome, and gives it in the order of the call.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::PutRecord;
    ///
    /// let outcomes = stream.append(&[PutRecord::new("user-42", b"{}")])?.each().wait();
    /// assert!(outcomes[0].is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(self) -> Vec<Result<PutResult>> {
        self.append.wait_for_parts();
        self.outcomes()
    }

    fn outcomes(&self) -> Vec<Result<PutResult>> {
        (0..self.append.records)
            .map(|record| self.append.put(record))
            .collect()
    }
}

impl Part {
    fn of(route: &Route, ticket: Result<Ticket>) -> Self {
        Self {
            ticket,
            shard: route.identity(),
        }
    }

    /// The places of the records. Blocks until they are stored.
    fn placed(&self) -> Result<Placed> {
        match &self.ticket {
            Ok(ticket) => ticket.wait(),
            Err(error) => Err(error.clone()),
        }
    }

    fn put(&self, place: u32) -> Result<PutResult> {
        let placed = self.placed()?;
        Ok(self.put_at(placed, place))
    }

    fn put_at(&self, placed: Placed, place: u32) -> PutResult {
        let number = placed.number(place);
        PutResult {
            shard_id: self.shard.shard,
            sequence_number: self.shard.sequence_number(number, placed.arrival),
        }
    }
}

impl Future for Append {
    type Output = Result<Vec<PutResult>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_parts(context).map(|()| self.puts())
    }
}

impl Future for AppendEach {
    type Output = Vec<Result<PutResult>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.append.poll_parts(context).map(|()| self.outcomes())
    }
}
