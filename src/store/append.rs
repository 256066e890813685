//! Putting records.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::stream::Stream;
use super::stream_core::{Route, ShardIdentity, StreamCore, route_of};
use crate::error::{Error, Result};
use crate::log::{
    Appended, Reservation, Ticket, announce_all, check_batch_bytes, encoded_bytes, wait_for_all,
};
use crate::model::{PartitionKey, PutRecord, RecordNumber, SequenceNumber, ShardId, Timestamp};

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put {
    /// The shard that took it.
    pub shard_id: ShardId,
    /// Its number: greater than that of every record that the shard, or its parents, took before.
    pub sequence_number: SequenceNumber,
}

/// Records that have their places and wait to be committed. Await it in any async runtime, or call
/// [`wait`](Self::wait). They will be committed even if it is dropped.
///
/// One shard may fail while others do not: [`each`](Self::each) tells it record by record.
#[derive(Debug)]
#[must_use = "records are acknowledged only when this is done"]
pub struct Append {
    parts: Vec<Part>,
    /// For each record of the call: its part, and its place in it. Empty when all are in one part.
    places: Vec<(u32, u32)>,
    records: usize,
    /// Parts that have their outcome.
    done: usize,
}

/// An [`Append`] that tells what became of each record, in the order of the call. Await it, or call
/// [`wait`](Self::wait).
#[derive(Debug)]
#[must_use = "records are acknowledged only when this is done"]
pub struct AppendEach {
    append: Append,
}

/// What one shard took, or why it did not.
#[derive(Debug)]
struct Part {
    ticket: Result<Ticket>,
    shard: ShardIdentity,
}

impl Stream {
    /// Puts one record, and returns when it is as durable as the store's [`Durability`](crate::Durability) says.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a partition key that is empty or longer than 256 characters,
    /// [`Error::RecordTooLarge`], [`Error::BatchTooLarge`], [`Error::StreamNotFound`], [`Error::StreamNotActive`], [`Error::StorageFull`],
    /// [`Error::Corrupt`] if the shard is damaged, [`Error::Poisoned`], [`Error::ReadOnly`], [`Error::Closed`].
    pub fn put(&self, partition_key: &str, data: &[u8]) -> Result<Put> {
        self.put_record(&PutRecord::new(partition_key, data))
    }

    /// Puts one record, with a hash key of the caller's choice if it has one.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub fn put_record(&self, record: &PutRecord<'_>) -> Result<Put> {
        let records = std::slice::from_ref(record);
        let now = self.store_core().begin_change(Some(self.core.id))?;
        self.check_records(records)?;
        let part = self.core.with_routes(|routes| {
            let route = &routes[route_of(routes, record)];
            self.append_to(route, records, now)
        })?;
        part.outcome()?;
        part.put(0)
    }

    /// Puts a batch, in the order of the list within each shard. All records are checked before any is stored.
    ///
    /// # Errors
    /// As for [`put`](Self::put). After an error of a check nothing was stored; after one of a shard or the disk, other
    /// shards may have theirs. [`append`](Self::append) tells which ([`Append::each`]).
    pub fn put_records(&self, records: &[PutRecord<'_>]) -> Result<Vec<Put>> {
        self.append(records)?.wait()
    }

    /// Takes records in, without waiting for them to be committed. They get their places in the order of the calls.
    ///
    /// Blocks while a shard has more to commit than [`max_group_bytes`](crate::StoreOptions::max_group_bytes), while
    /// the stream's shards are split, merged or opened, and for what has to be done first. A thread that must not block
    /// calls [`try_append`](Self::try_append).
    ///
    /// # Errors
    /// As for [`put`](Self::put), but for what happens in a shard or on the disk: that comes with the outcome, unless
    /// all records belong to that shard.
    pub fn append(&self, records: &[PutRecord<'_>]) -> Result<Append> {
        let now = self.store_core().begin_change(Some(self.core.id))?;
        self.check_records(records)?;
        self.core
            .with_routes(|routes| match Destination::of(routes, records) {
                Destination::One(route) => {
                    let part = self.append_to(&routes[route], records, now)?;
                    Ok(Append::of_one(part, records.len()))
                }
                Destination::Many(order) => {
                    self.core.announce(routes, records, &order);
                    Ok(self.append_of_many(routes, records, &order, |route, of_shard| {
                        self.core.log_behind(route)?.append(of_shard, now)
                    }))
                }
            })
    }

    /// Takes records in if that needs no waiting at all: not for the disk, and not for a lock that is held while the
    /// disk is waited for. Otherwise gives `None` and has taken none of them: call [`append`](Self::append) on a thread
    /// that may block. So an async runtime's worker can begin every put, and awaits the [`Append`] like any other.
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
            .try_with_routes(|routes| match Destination::of(routes, records) {
                Destination::One(route) => {
                    let route = &routes[route];
                    let Some(log) = route.opened_log() else {
                        return Ok(None);
                    };
                    match log.try_append(records, now)? {
                        Some(taken) => {
                            let part = self.part(route, taken)?;
                            Ok(Some(Append::of_one(part, records.len())))
                        }
                        None => Ok(None),
                    }
                }
                Destination::Many(order) => {
                    let Some(reservations) = reserve(routes, records, &order) else {
                        return Ok(None);
                    };
                    let mut reservations = reservations.into_iter();
                    let take = |_: &Route, of_shard: &[PutRecord<'_>]| {
                        let reservation = reservations.next().expect("there is one for each group");
                        reservation.append(of_shard, now)
                    };
                    Ok(Some(self.append_of_many(routes, records, &order, take)))
                }
            });
        appended.unwrap_or(Ok(None))
    }

    fn check_records(&self, records: &[PutRecord<'_>]) -> Result<()> {
        check_batch_bytes(records)?;
        let limit = self.core.max_record_bytes as usize;
        for (index, record) in records.iter().enumerate() {
            PartitionKey::check(record.partition_key).map_err(|error| Error::invalid(error.to_string()))?;
            let bytes = record.size_bytes();
            if bytes > limit {
                return Err(Error::RecordTooLarge { index, bytes, limit });
            }
        }
        Ok(())
    }

    fn append_to(&self, route: &Route, records: &[PutRecord<'_>], now: Timestamp) -> Result<Part> {
        let taken = self.core.log_behind(route)?.append(records, now)?;
        self.part(route, taken)
    }

    fn part(&self, route: &Route, taken: Appended) -> Result<Part> {
        Ok(Part {
            ticket: Ok(self.ticket(route, taken)?),
            shard: route.identity(),
        })
    }

    /// `take` takes in one shard's records.
    fn append_of_many(
        &self,
        routes: &[Route],
        records: &[PutRecord<'_>],
        order: &Order,
        mut take: impl FnMut(&Route, &[PutRecord<'_>]) -> Result<Appended>,
    ) -> Append {
        let groups = order.groups();
        let mut append = Append {
            parts: Vec::with_capacity(groups.len()),
            places: vec![(0, 0); records.len()],
            records: records.len(),
            done: 0,
        };
        let mut of_shard = Vec::new();
        for (group, part) in groups.iter().zip(0..) {
            of_shard.clear();
            for ((_, place), place_in_part) in group.iter().zip(0..) {
                of_shard.push(records[*place as usize]);
                append.places[*place as usize] = (part, place_in_part);
            }
            let route = &routes[group[0].0 as usize];
            let taken = take(route, &of_shard);
            append.parts.push(Part {
                ticket: taken.and_then(|taken| self.ticket(route, taken)),
                shard: route.identity(),
            });
        }
        append
    }

    fn ticket(&self, route: &Route, taken: Appended) -> Result<Ticket> {
        match taken {
            Appended::Ticket(ticket) => Ok(ticket),
            // Routes change before a log is sealed and are not read meanwhile (`StreamCore::routing`), so this
            // is a shard whose split came to nothing half way.
            Appended::Sealed => Err(Error::ShardClosed {
                stream: self.name().to_owned(),
                shard: route.shard,
            }),
        }
    }
}

/// Where the records of a call go.
enum Destination {
    /// All to this route.
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

impl Order {
    /// What each shard gets.
    fn groups(&self) -> Vec<&[(u32, u32)]> {
        self.0.chunk_by(|a, b| a.0 == b.0).collect()
    }

    /// Those that take records, once for each record.
    fn routes(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|(route, _)| *route as usize)
    }
}

impl StreamCore {
    /// Has shards that acknowledge from memory say together that they are about to be written to.
    fn announce(&self, routes: &[Route], records: &[PutRecord<'_>], order: &Order) {
        let lacks_place = |route: &Route| route.opened_log().is_none_or(|log| log.lacks_place());
        if !self.logs.acknowledges_from_memory() || !order.routes().any(|route| lacks_place(&routes[route])) {
            return;
        }
        let groups = order.groups();
        // A log that cannot be opened says so when it is to take its records.
        announce_all(groups.iter().filter_map(|group| {
            let log = self.log_behind(&routes[group[0].0 as usize]).ok()?;
            let of_shard = group.iter().map(|(_, place)| &records[*place as usize]);
            Some((log, of_shard.map(encoded_bytes).sum()))
        }));
    }
}

/// Room for each shard's records, in the order of the groups; `None` if one of them would have to wait for it.
fn reserve<'a>(
    routes: &'a [Route],
    records: &'a [PutRecord<'a>],
    order: &Order,
) -> Option<Vec<Reservation<'a>>> {
    let reserve_one = |group: &&[(u32, u32)]| {
        let of_shard = group.iter().map(|(_, place)| &records[*place as usize]);
        let log = routes[group[0].0 as usize].opened_log()?;
        log.try_reserve(of_shard)
    };
    order.groups().iter().map(reserve_one).collect()
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
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Poisoned`], [`Error::Corrupt`]; other shards' records may be stored then.
    pub fn wait(self) -> Result<Vec<Put>> {
        self.wait_for_parts();
        self.puts()
    }

    /// The outcome of each record instead of all of them.
    pub fn each(self) -> AppendEach {
        AppendEach { append: self }
    }

    fn wait_for_parts(&self) {
        match self.parts.as_slice() {
            [
                Part {
                    ticket: Ok(ticket), ..
                },
            ] => drop(ticket.wait()),
            _ => wait_for_all(self.tickets()),
        }
    }

    fn tickets(&self) -> impl Iterator<Item = &Ticket> + Clone {
        self.parts.iter().filter_map(|part| part.ticket.as_ref().ok())
    }

    /// Whether all parts have their outcome; if not, the task is woken when one more has.
    fn poll_parts(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.done == 0 && self.parts.len() > 1 {
            Ticket::start_all(self.tickets());
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

    fn puts(&self) -> Result<Vec<Put>> {
        for part in &self.parts {
            part.outcome()?;
        }
        (0..self.records).map(|record| self.put(record)).collect()
    }

    fn put(&self, record: usize) -> Result<Put> {
        // A batch has fewer records than a `u32` counts: it is limited, and each has 16 bytes and more.
        let (part, place) = self.places.get(record).copied().unwrap_or((0, record as u32));
        self.parts[part as usize].put(place)
    }
}

impl AppendEach {
    /// Blocks until all records have their outcome, and gives it in the order of the call.
    pub fn wait(self) -> Vec<Result<Put>> {
        self.append.wait_for_parts();
        self.outcomes()
    }

    fn outcomes(&self) -> Vec<Result<Put>> {
        let outcome = |record| {
            let (part, _) = self.append.places.get(record).copied().unwrap_or((0, 0));
            self.append.parts[part as usize].outcome()?;
            self.append.put(record)
        };
        (0..self.append.records).map(outcome).collect()
    }
}

impl Part {
    /// What became of the part, once its ticket is done.
    fn outcome(&self) -> Result<()> {
        match &self.ticket {
            Ok(ticket) => ticket.wait(),
            Err(error) => Err(error.clone()),
        }
    }

    fn put(&self, place: u32) -> Result<Put> {
        let ticket = self.ticket.as_ref().map_err(Error::clone)?;
        let number = RecordNumber::new(ticket.first_record.value() + u64::from(place));
        Ok(Put {
            shard_id: self.shard.shard,
            sequence_number: self.shard.sequence_number(number, ticket.arrival),
        })
    }
}

impl Future for Append {
    type Output = Result<Vec<Put>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_parts(context).map(|()| self.puts())
    }
}

impl Future for AppendEach {
    type Output = Vec<Result<Put>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.append.poll_parts(context).map(|()| self.outcomes())
    }
}
