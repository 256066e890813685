//! The entries of a queue's log. `docs/format.md` has their bytes.

use super::field::{Fields, put_number};
use crate::model::{RecordNumber, ShardId, Timestamp};

/// A record of the stream.
pub(super) type RecordId = (ShardId, RecordNumber);

/// An event of a queue's records. Kinds are only added at the end, and none changes its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Records were given out for the first time: all existing records of a shard in this range of numbers. Their
    /// deliveries are numbered in their order.
    Received {
        shard: ShardId,
        from: RecordNumber,
        to: RecordNumber,
        first_delivery: u64,
        at: Timestamp,
        /// With their arrival times.
        records: Vec<(RecordNumber, Timestamp)>,
    },
    /// Records or dead letters were given out again.
    ReceivedAgain {
        first_delivery: u64,
        at: Timestamp,
        records: Vec<RecordId>,
    },
    /// Records or dead letters are done with.
    Acknowledged(Vec<RecordId>),
    /// Records became dead letters.
    Died(Vec<RecordId>),
    /// Dead letters count as if they had never been given out.
    Restored(Vec<RecordId>),
    /// A part of the whole state. The state includes everything before its first part.
    Snapshot { part: u32, parts: u32, bytes: Vec<u8> },
    /// These deliveries are undone, because no consumer got the records or dead letters. Each was the last delivery of
    /// its record.
    GivenBack {
        are_dead_letters: bool,
        deliveries: Vec<(RecordId, u64)>,
    },
}

/// No queue reaches this number. A higher one was not written by a queue.
pub(super) const MOST_DELIVERIES: u64 = 1 << 62;

const RECEIVED: u8 = 1;
const RECEIVED_AGAIN: u8 = 2;
const ACKNOWLEDGED: u8 = 3;
const DIED: u8 = 4;
const RESTORED: u8 = 5;
const SNAPSHOT: u8 = 6;
const GIVEN_BACK: u8 = 7;

impl Entry {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        match self {
            Self::Received {
                shard,
                from,
                to,
                first_delivery,
                at,
                records,
            } => {
                out.push(RECEIVED);
                put_number(&mut out, shard.index().into());
                put_number(&mut out, from.value());
                put_number(&mut out, to.value());
                put_number(&mut out, *first_delivery);
                put_number(&mut out, at.as_millis());
                put_number(&mut out, records.len() as u64);
                for (number, arrival) in records {
                    put_number(&mut out, number.value());
                    put_number(&mut out, arrival.as_millis());
                }
            }
            Self::ReceivedAgain {
                first_delivery,
                at,
                records,
            } => {
                out.push(RECEIVED_AGAIN);
                put_number(&mut out, *first_delivery);
                put_number(&mut out, at.as_millis());
                put_ids(&mut out, records);
            }
            Self::Acknowledged(records) => {
                out.push(ACKNOWLEDGED);
                put_ids(&mut out, records);
            }
            Self::Died(records) => {
                out.push(DIED);
                put_ids(&mut out, records);
            }
            Self::Restored(records) => {
                out.push(RESTORED);
                put_ids(&mut out, records);
            }
            Self::Snapshot { part, parts, bytes } => {
                out.push(SNAPSHOT);
                put_number(&mut out, (*part).into());
                put_number(&mut out, (*parts).into());
                out.extend_from_slice(bytes);
            }
            Self::GivenBack {
                are_dead_letters,
                deliveries,
            } => {
                out.push(GIVEN_BACK);
                out.push((*are_dead_letters).into());
                put_number(&mut out, deliveries.len() as u64);
                for ((shard, number), delivery) in deliveries {
                    put_number(&mut out, shard.index().into());
                    put_number(&mut out, number.value());
                    put_number(&mut out, *delivery);
                }
            }
        }
        out
    }

    /// `None` if no writer of this version can have made these bytes.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        Self::decode_fields(bytes).filter(Self::can_be)
    }

    /// Whether a queue can have written these values.
    fn can_be(&self) -> bool {
        match self {
            Self::Received {
                from,
                to,
                first_delivery,
                records,
                ..
            } => {
                let is_in_order = records.is_sorted_by(|(before, _), (after, _)| before < after);
                let is_in_range = |(number, _): &(RecordNumber, Timestamp)| (*from..*to).contains(number);
                from <= to
                    && *to <= RecordNumber::END
                    && is_in_order
                    && records.iter().all(is_in_range)
                    && are_deliveries(*first_delivery, records.len())
            }
            Self::ReceivedAgain {
                first_delivery,
                records,
                ..
            } => are_deliveries(*first_delivery, records.len()),
            Self::GivenBack { deliveries, .. } => {
                let is_delivery = |(_, delivery): &(RecordId, u64)| (1..MOST_DELIVERIES).contains(delivery);
                deliveries.iter().all(is_delivery)
            }
            Self::Acknowledged(_) | Self::Died(_) | Self::Restored(_) | Self::Snapshot { .. } => true,
        }
    }

    fn decode_fields(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let entry = match fields.byte()? {
            RECEIVED => {
                let shard = fields.shard()?;
                let (from, to) = (fields.record()?, fields.record()?);
                let (first_delivery, at) = (fields.number()?, fields.time()?);
                let count = fields.count(2)?;
                let records = (0..count).map(|_| Some((fields.record()?, fields.time()?)));
                let records = records.collect::<Option<Vec<_>>>()?;
                Self::Received {
                    shard,
                    from,
                    to,
                    first_delivery,
                    at,
                    records,
                }
            }
            RECEIVED_AGAIN => Self::ReceivedAgain {
                first_delivery: fields.number()?,
                at: fields.time()?,
                records: ids(&mut fields)?,
            },
            ACKNOWLEDGED => Self::Acknowledged(ids(&mut fields)?),
            DIED => Self::Died(ids(&mut fields)?),
            RESTORED => Self::Restored(ids(&mut fields)?),
            SNAPSHOT => Self::Snapshot {
                part: fields.number_of_32_bits()?,
                parts: fields.number_of_32_bits()?,
                bytes: fields.rest().to_vec(),
            },
            GIVEN_BACK => Self::GivenBack {
                are_dead_letters: fields.flag()?,
                deliveries: deliveries(&mut fields)?,
            },
            _ => return None,
        };
        fields.end(entry)
    }
}

fn are_deliveries(first: u64, count: usize) -> bool {
    first
        .checked_add(count as u64)
        .is_some_and(|end| end <= MOST_DELIVERIES)
}

fn put_ids(out: &mut Vec<u8>, records: &[RecordId]) {
    put_number(out, records.len() as u64);
    for (shard, number) in records {
        put_number(out, shard.index().into());
        put_number(out, number.value());
    }
}

fn ids(fields: &mut Fields<'_>) -> Option<Vec<RecordId>> {
    let count = fields.count(2)?;
    (0..count)
        .map(|_| Some((fields.shard()?, fields.record()?)))
        .collect()
}

fn deliveries(fields: &mut Fields<'_>) -> Option<Vec<(RecordId, u64)>> {
    let count = fields.count(3)?;
    (0..count)
        .map(|_| Some(((fields.shard()?, fields.record()?), fields.number()?)))
        .collect()
}
