//! The whole state as entries of the log.

use super::entry::{Entry, MOST_DELIVERIES};
use super::field::{Fields, put_number};
use super::given::Given;
use super::state::State;
use super::unread::Unread;
use crate::model::{ReaderStart, Timestamp};

/// The most bytes of a part.
const PART_BYTES: usize = 512 * 1024;

impl State {
    /// The entries that lead to this state, without how long records are held back.
    pub(super) fn snapshot(&self) -> Vec<Entry> {
        let bytes = self.encode();
        let parts = bytes.chunks(PART_BYTES);
        let count = parts.len() as u32;
        (0..)
            .zip(parts)
            .map(|(part, bytes)| Entry::Snapshot {
                part,
                parts: count,
                bytes: bytes.to_vec(),
            })
            .collect()
    }

    fn encode(&self) -> Vec<u8> {
        let Self {
            // The catalog has it.
            start: _,
            next_delivery,
            shards,
            done,
            // They follow from the shards.
            records: _,
            dead_letters: _,
            unlogged_deaths: _,
        } = self;
        let mut out = Vec::new();
        put_number(&mut out, *next_delivery);
        put_number(&mut out, done.ranges().len() as u64);
        for (first, last) in done.ranges() {
            put_number(&mut out, first.into());
            put_number(&mut out, last.into());
        }
        put_number(&mut out, shards.len() as u64);
        for (shard, state) in shards {
            put_number(&mut out, shard.index().into());
            put_number(&mut out, state.unread.ranges().len() as u64);
            for (from, to) in state.unread.ranges() {
                put_number(&mut out, from.value());
                put_number(&mut out, to.value());
            }
            put_number(&mut out, state.given.len() as u64);
            for (number, given) in &state.given {
                let Given {
                    arrival,
                    first_received,
                    receive_count,
                    delivery,
                    is_dead,
                    moment: _,
                    is_held: _,
                } = given;
                put_number(&mut out, number.value());
                put_number(&mut out, arrival.as_millis());
                put_number(&mut out, first_received.map_or(0, Timestamp::as_millis));
                put_number(&mut out, (*receive_count).into());
                put_number(&mut out, *delivery);
                out.push((*is_dead).into());
            }
        }
        out
    }

    /// `None` if these are not the bytes of all parts of a state that a queue can have had. It holds no record back.
    pub(super) fn of_snapshot(start: ReaderStart, bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let mut state = Self::new(start);
        state.next_delivery = Some(fields.number()?).filter(|next| *next <= MOST_DELIVERIES)?;
        for _ in 0..fields.count(2)? {
            state.done.insert_range(fields.shard()?, fields.shard()?);
        }
        let mut last_shard = None;
        for _ in 0..fields.count(3)? {
            let shard = fields.shard()?;
            let ranges = fields.count(2)?;
            let ranges = (0..ranges).map(|_| Some((fields.record()?, fields.record()?)));
            let unread = Unread::of_stored(ranges.collect::<Option<_>>()?)?;
            if last_shard.replace(shard) >= Some(shard) || state.done.contains(shard) {
                return None;
            }
            let mut last_number = None;
            for _ in 0..fields.count(6)? {
                let number = fields.record()?;
                if unread.contains(number) || last_number.replace(number) >= Some(number) {
                    return None;
                }
                let arrival = fields.time()?;
                let first_received = Some(fields.time()?).filter(|time| time.as_millis() > 0);
                let given = Given {
                    arrival,
                    first_received,
                    receive_count: fields.number_of_32_bits()?,
                    delivery: fields.number()?,
                    is_dead: fields.flag()?,
                    // Free at once, and a dead letter if it was given out often enough: the caller passes the time
                    // before any other use.
                    moment: 0,
                    is_held: true,
                };
                state.put((shard, number), given);
            }
            state.set_unread(shard, unread);
        }
        fields.end(state)
    }
}
