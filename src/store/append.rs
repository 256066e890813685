//! Putting records.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::stream::Stream;
use super::stream_core::{Route, ShardIdentity, route_of};
use crate::error::{Error, Result};
use crate::log::{Appended, Ticket, wait_for_all};
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
#[derive(Debug)]
#[must_use = "records are acknowledged only when this is done"]
pub struct Append {
    parts: Vec<Part>,
    /// For each record of the call: its part, and its place in it. Empty when all are in one part.
    places: Vec<(u32, u32)>,
    records: usize,
    /// Parts that are committed.
    done: usize,
}

/// What one shard took.
#[derive(Debug)]
struct Part {
    ticket: Ticket,
    shard: ShardIdentity,
}

impl Stream {
    /// Puts one record, and returns when it is as durable as the store's [`Durability`](crate::Durability) says.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a partition key that is empty or longer than 256 characters,
    /// [`Error::RecordTooLarge`], [`Error::StreamNotFound`], [`Error::StreamNotActive`], [`Error::StorageFull`],
    /// [`Error::Corrupt`] if the shard is damaged, [`Error::Poisoned`], [`Error::Closed`].
    pub fn put(&self, partition_key: &str, data: &[u8]) -> Result<Put> {
        self.put_record(&PutRecord::new(partition_key, data))
    }

    /// Puts one record, with a hash key of the caller's choice if it has one.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub fn put_record(&self, record: &PutRecord<'_>) -> Result<Put> {
        let append = self.append(std::slice::from_ref(record))?;
        append.wait_for_parts()?;
        Ok(append.put(0))
    }

    /// Puts a batch, in the order of the list within each shard. All records are checked before any is stored.
    ///
    /// # Errors
    /// As for [`put`](Self::put). After an error of a check nothing was stored; after one of the disk, some shards
    /// may have theirs.
    pub fn put_records(&self, records: &[PutRecord<'_>]) -> Result<Vec<Put>> {
        self.append(records)?.wait()
    }

    /// Takes records in, without waiting for them to be committed. They get their places in the order of the calls.
    ///
    /// Blocks only while a shard has more to commit than
    /// [`max_group_bytes`](crate::StoreOptions::max_group_bytes).
    ///
    /// # Errors
    /// As for [`put`](Self::put), but for what happens on the disk.
    pub fn append(&self, records: &[PutRecord<'_>]) -> Result<Append> {
        let now = self.store_core().begin()?;
        self.check_records(records)?;
        self.core.with_routes(|routes| match records {
            [record] => self.append_to_one(routes, route_of(routes, record), records, now),
            [_, ..] if routes.len() == 1 => self.append_to_one(routes, 0, records, now),
            _ => self.append_to_many(routes, records, now),
        })
    }

    fn check_records(&self, records: &[PutRecord<'_>]) -> Result<()> {
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

    fn append_to_one(
        &self,
        routes: &[Route],
        route: usize,
        records: &[PutRecord<'_>],
        now: Timestamp,
    ) -> Result<Append> {
        let part = self.append_part(&routes[route], records, now)?;
        Ok(Append {
            parts: vec![part],
            places: Vec::new(),
            records: records.len(),
            done: 0,
        })
    }

    fn append_to_many(&self, routes: &[Route], records: &[PutRecord<'_>], now: Timestamp) -> Result<Append> {
        // Sorted by route; the sort is stable, so each shard's records keep the order of the list.
        let mut order: Vec<(u32, u32)> = records
            .iter()
            .zip(0..)
            .map(|(record, place)| (route_of(routes, record) as u32, place))
            .collect();
        order.sort_by_key(|(route, _)| *route);
        if let (Some(first), Some(last)) = (order.first(), order.last())
            && first.0 == last.0
        {
            return self.append_to_one(routes, first.0 as usize, records, now);
        }
        let groups: Vec<_> = order.chunk_by(|a, b| a.0 == b.0).collect();
        // Known damage is reported before any shard has taken its part.
        for group in &groups {
            routes[group[0].0 as usize].log.check_undamaged()?;
        }
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
            append
                .parts
                .push(self.append_part(&routes[group[0].0 as usize], &of_shard, now)?);
        }
        Ok(append)
    }

    fn append_part(&self, route: &Route, records: &[PutRecord<'_>], now: Timestamp) -> Result<Part> {
        match route.log.append(records, now)? {
            Appended::Ticket(ticket) => Ok(Part {
                ticket,
                shard: route.identity(),
            }),
            // Routes change before a log is sealed and nobody has them meanwhile (`StreamCore::routing`), so this
            // is a shard whose split came to nothing half way.
            Appended::Sealed => Err(Error::ShardClosed {
                stream: self.name().to_owned(),
                shard: route.shard,
            }),
        }
    }
}

impl Append {
    /// Blocks until all records are committed, and gives their places in the order of the call.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Poisoned`], [`Error::Corrupt`]; other shards' records may be stored then.
    pub fn wait(self) -> Result<Vec<Put>> {
        self.wait_for_parts()?;
        Ok(self.puts())
    }

    fn wait_for_parts(&self) -> Result<()> {
        match self.parts.as_slice() {
            [part] => part.ticket.wait(),
            parts => wait_for_all(parts.iter().map(|part| &part.ticket)),
        }
    }

    fn puts(&self) -> Vec<Put> {
        (0..self.records).map(|record| self.put(record)).collect()
    }

    fn put(&self, record: usize) -> Put {
        let (part, place) = self.places.get(record).copied().unwrap_or((0, record as u32));
        let Part { ticket, shard } = &self.parts[part as usize];
        let number = RecordNumber::new(ticket.first_record.value() + u64::from(place));
        Put {
            shard_id: shard.shard,
            sequence_number: shard.sequence_number(number, ticket.arrival),
        }
    }
}

impl Future for Append {
    type Output = Result<Vec<Put>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.done == 0 && this.parts.len() > 1 {
            Ticket::start_all(this.parts.iter().map(|part| &part.ticket));
        }
        // Every part is polled at least once before this waits, so all of them are being committed.
        let mut is_waiting = false;
        for part in &mut this.parts[this.done..] {
            match Pin::new(&mut part.ticket).poll(context) {
                Poll::Ready(Ok(())) if !is_waiting => this.done += 1,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => is_waiting = true,
            }
        }
        match is_waiting {
            true => Poll::Pending,
            false => Poll::Ready(Ok(this.puts())),
        }
    }
}
