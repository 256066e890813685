//! Changes of streams under load.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::calls::{Caller, Outcome};
use super::ledger::{Ledger, State};
use super::random::Random;
use super::record::STREAM_OF_LARGE_ONES;

/// Streams that are made and not deleted, and how many others there are at most.
const LASTING: [&str; 3] = [STREAM_OF_LARGE_ONES, "orders", "visits"];
const MOST_PASSING: usize = 3;

/// A stream has so many open shards at most.
const MOST_OPEN: usize = 6;

pub struct Changes {
    ledger: Arc<Ledger>,
    caller: Caller,
    random: Random,
    passing: u64,
}

impl Changes {
    pub fn of(ledger: Arc<Ledger>, caller: Caller, random: Random) -> Self {
        LASTING
            .iter()
            .for_each(|stream| ledger.set_state(stream, State::Wanted));
        Self {
            ledger,
            caller,
            random,
            passing: 0,
        }
    }

    /// What was begun and may not be done is asked for again before anything else is begun.
    pub fn make_one(&mut self) {
        if let Some(stream) = self.ledger.streams_in(State::Wanted).first() {
            return self.create(stream);
        }
        if let Some(stream) = self.ledger.streams_in(State::Unwanted).first() {
            return self.delete(stream);
        }
        let pause = self.random.between(50, 400);
        std::thread::sleep(Duration::from_millis(pause));
        match self.random.below(8) {
            0 => self.begin_or_end_a_passing_stream(),
            1 => self.change_retention(),
            _ => self.reshard(),
        }
    }

    fn begin_or_end_a_passing_stream(&mut self) {
        let mut streams = self.ledger.streams_in(State::There);
        streams.retain(|stream| !LASTING.contains(&stream.as_str()));
        if streams.len() < MOST_PASSING && self.random.below(3) > 0 {
            self.passing += 1;
            let name = format!("passing-{}", self.passing);
            return self.ledger.set_state(&name, State::Wanted);
        }
        if let Some(stream) = self.random.pick(&streams) {
            self.ledger.set_state(stream, State::Unwanted);
        }
    }

    fn create(&mut self, stream: &str) {
        let input = json!({ "StreamName": stream, "ShardCount": self.random.between(1, 3) });
        match self.call("CreateStream", &input) {
            Outcome::Done(_) => self.ledger.set_state(stream, State::There),
            Outcome::Refused(reason) if reason == "ResourceInUseException" => {
                self.ledger.set_state(stream, State::There);
            }
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }

    fn delete(&mut self, stream: &str) {
        match self.call("DeleteStream", &json!({ "StreamName": stream })) {
            Outcome::Done(_) => self.ledger.set_state(stream, State::Gone),
            Outcome::Refused(reason) if reason == "ResourceNotFoundException" => {
                self.ledger.set_state(stream, State::Gone);
            }
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }

    /// Never so short that a record expires.
    fn change_retention(&mut self) {
        let Some(stream) = self.random.pick(&self.ledger.streams_in(State::There)).cloned() else {
            return;
        };
        let hours = self.random.between(24, 200);
        let input = json!({ "StreamName": stream, "RetentionPeriodHours": hours });
        let (first, second) = ("IncreaseStreamRetentionPeriod", "DecreaseStreamRetentionPeriod");
        if matches!(self.call(first, &input), Outcome::Refused(_)) {
            self.call(second, &input);
        }
    }

    fn reshard(&mut self) {
        let Some(stream) = self.random.pick(&self.ledger.streams_in(State::There)).cloned() else {
            return;
        };
        let input = json!({ "StreamName": stream, "ShardFilter": { "Type": "AT_LATEST" } });
        let Outcome::Done(output) = self.call("ListShards", &input) else {
            return;
        };
        let mut open = open_shards(&output);
        open.sort();
        let place = self.random.below(open.len() as u64) as usize;
        let is_split = open.len() < 2 || open.len() < MOST_OPEN && self.random.below(2) == 0;
        match (&open.get(place), &open.get(place + 1)) {
            (Some((first, last, shard)), _) if is_split => {
                let middle = first + (last - first) / 2 + 1;
                let input = json!({
                    "StreamName": stream, "ShardToSplit": shard, "NewStartingHashKey": middle.to_string(),
                });
                self.call("SplitShard", &input);
            }
            (Some((_, _, shard)), Some((_, _, next))) => {
                let input = json!({
                    "StreamName": stream, "ShardToMerge": shard, "AdjacentShardToMerge": next,
                });
                self.call("MergeShards", &input);
            }
            _ => {}
        }
    }

    fn call(&mut self, operation: &str, input: &Value) -> Outcome {
        let outcome = self.caller.call(operation, input);
        self.ledger.count(match &outcome {
            Outcome::Done(_) => operation.to_owned(),
            Outcome::Refused(reason) | Outcome::Unknown(reason) => {
                format!("{operation} answered with {reason}")
            }
        });
        outcome
    }
}

/// The first and last hash key of each, and its name.
fn open_shards(output: &Value) -> Vec<(u128, u128, String)> {
    let shards = output["Shards"].as_array().cloned().unwrap_or_default();
    let key = |shard: &Value, name: &str| shard["HashKeyRange"][name].as_str()?.parse::<u128>().ok();
    let shard = |shard: &Value| {
        let name = shard["ShardId"].as_str()?.to_owned();
        Some((key(shard, "StartingHashKey")?, key(shard, "EndingHashKey")?, name))
    };
    shards.iter().filter_map(shard).collect()
}
