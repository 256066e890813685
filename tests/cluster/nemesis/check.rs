//! All streams are read through a server, and compared with what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::calls::{Caller, Outcome};
use super::ledger::{Ledger, Noted, Number, Place, State};
use super::record::Name;

/// What was found wrong, in words, and how many records were read.
#[derive(Default)]
pub struct Found {
    pub problems: Vec<String>,
    pub records: usize,
}

/// A record that was read.
#[derive(Clone)]
struct Read {
    /// Nothing if its bytes are not those of any record of the stream.
    name: Option<Name>,
    key: String,
    place: Place,
}

/// Compares what each server has with what was acknowledged until now. A server may take so long until it answers.
pub fn check(ledger: &Ledger, servers: &[SocketAddr], patience: Duration) -> Found {
    let mut found = Found::default();
    for server in servers {
        let mut reader = Reader {
            caller: Caller::of(&[*server], 0),
            until: Instant::now() + patience,
        };
        for (stream, noted) in ledger.streams() {
            let problems = reader.problems_of(&stream, &noted, &mut found.records);
            // It may have been deleted meanwhile.
            let is_as_before = ledger
                .streams()
                .get(&stream)
                .is_some_and(|now| now.state == noted.state);
            if is_as_before {
                found.problems.extend(problems);
            }
        }
    }
    found
}

struct Reader {
    caller: Caller,
    until: Instant,
}

impl Reader {
    fn problems_of(&mut self, stream: &str, noted: &Noted, records: &mut usize) -> Vec<String> {
        let read = match self.read(stream) {
            Ok(read) => read,
            Err(reason) => return vec![format!("{stream} cannot be read: {reason}")],
        };
        match (noted.state, read) {
            (State::Gone, Some(_)) => vec![format!("{stream} was deleted, and is there")],
            (State::There, None) => vec![format!(
                "{stream} is not there; {} of its records were acknowledged",
                noted.acknowledged.len()
            )],
            (State::There | State::Unwanted, Some(read)) => {
                *records += read.len();
                let problems = problems_in(stream, noted, &read);
                if problems.is_empty() {
                    return problems;
                }
                // What is there later was overlooked, and what is not is lost: both are wrong.
                std::thread::sleep(Duration::from_secs(5));
                let again = self.read(stream).ok().flatten().unwrap_or_default();
                match problems_in(stream, noted, &again) {
                    lost if !lost.is_empty() => lost,
                    _ => problems
                        .into_iter()
                        .map(|problem| format!("at first, and not 5 s later: {problem}"))
                        .collect(),
                }
            }
            _ => Vec::new(),
        }
    }

    /// All records, parents' before their children's, each shard's in order. Nothing if there is no such stream.
    fn read(&mut self, stream: &str) -> Result<Option<Vec<Read>>, String> {
        let Some(output) = self.call("ListShards", &json!({ "StreamName": stream }))? else {
            return Ok(None);
        };
        let shards = output["Shards"].as_array().cloned().unwrap_or_default();
        let shards = shards.iter().filter_map(|shard| shard["ShardId"].as_str());
        // A child has a higher number than its parents.
        let shards: BTreeSet<_> = shards.map(str::to_owned).collect();
        let mut all = Vec::new();
        for shard in shards {
            match self.read_shard(stream, &shard)? {
                Some(read) => all.extend(read),
                None => return Ok(None),
            }
        }
        Ok(Some(all))
    }

    fn read_shard(&mut self, stream: &str, shard: &str) -> Result<Option<Vec<Read>>, String> {
        let input = json!({ "StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
        let Some(output) = self.call("GetShardIterator", &input)? else {
            return Ok(None);
        };
        let mut next = output["ShardIterator"].clone();
        let mut all = Vec::new();
        while next.is_string() {
            let Some(output) = self.call("GetRecords", &json!({ "ShardIterator": next }))? else {
                return Ok(None);
            };
            let records = output["Records"].as_array().cloned().unwrap_or_default();
            all.extend(records.iter().map(|record| read_of(stream, shard, record)));
            if records.is_empty() && output["MillisBehindLatest"] == 0 {
                break;
            }
            next = output["NextShardIterator"].clone();
        }
        Ok(Some(all))
    }

    /// Calls until there is an answer. Nothing if the stream is not there.
    fn call(&mut self, operation: &str, input: &Value) -> Result<Option<Value>, String> {
        loop {
            match self.caller.call(operation, input) {
                Outcome::Done(output) => return Ok(Some(output)),
                Outcome::Refused(reason) if reason == "ResourceNotFoundException" => return Ok(None),
                Outcome::Refused(reason) | Outcome::Unknown(reason) if Instant::now() > self.until => {
                    return Err(format!("{operation}: {reason}"));
                }
                Outcome::Refused(_) | Outcome::Unknown(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

fn read_of(stream: &str, shard: &str, record: &Value) -> Read {
    let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let data = base64_simd::STANDARD.decode_to_vec(text("Data"));
    Read {
        name: data.ok().and_then(|data| Name::of(stream, &data)),
        key: text("PartitionKey"),
        place: Place {
            shard: shard.to_owned(),
            number: Number(text("SequenceNumber")),
        },
    }
}

/// Each acknowledged record is there, where it was said to be; each record is there once, with its own bytes; numbers
/// rise in a shard, and the acknowledged records of a key are in the order of their puts.
fn problems_in(stream: &str, noted: &Noted, read: &[Read]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut places: BTreeMap<&Name, &Place> = BTreeMap::new();
    let mut last_of_shard: BTreeMap<&str, &Number> = BTreeMap::new();
    let mut last_of_key: BTreeMap<&str, u64> = BTreeMap::new();
    for Read { name, key, place } in read {
        let Some(name) = name.as_ref().filter(|name| name.key == *key) else {
            problems.push(format!("{stream}: foreign bytes at {place:?}, key {key}"));
            continue;
        };
        if let Some(first) = places.insert(name, place) {
            problems.push(format!(
                "{stream}: {name:?} is there twice: {first:?} and {place:?}"
            ));
        }
        if let Some(last) = last_of_shard.insert(&place.shard, &place.number)
            && last >= &place.number
        {
            problems.push(format!("{stream}: {place:?} comes behind {last:?}"));
        }
        if noted.acknowledged.contains_key(name)
            && let Some(last) = last_of_key.insert(&name.key, name.count)
            && last > name.count
        {
            problems.push(format!("{stream}: {name:?} comes behind its successor {last}"));
        }
    }
    for (name, place) in &noted.acknowledged {
        match places.get(name) {
            None => problems.push(format!(
                "{stream}: acknowledged, and not there: {name:?} at {place:?}"
            )),
            Some(found) if *found != place => {
                problems.push(format!(
                    "{stream}: {name:?} is at {found:?}, and was said to be at {place:?}"
                ));
            }
            Some(_) => {}
        }
    }
    problems
}

/// The check notices each of these.
#[test]
fn records_that_are_missing_moved_twice_foreign_or_disordered_are_told() {
    let name = |count| Name {
        key: "writer-0-0".to_owned(),
        count,
    };
    let place = |number: u64| Place {
        shard: "shardId-000000000000".to_owned(),
        number: Number(number.to_string()),
    };
    let read = |count: u64, number: u64| Read {
        name: Some(name(count)),
        key: "writer-0-0".to_owned(),
        place: place(number),
    };
    let noted = Noted {
        state: State::There,
        acknowledged: (0..3).map(|count| (name(count), place(count + 10))).collect(),
    };
    let told = |read: &[Read]| problems_in("clicks", &noted, read).join("\n");
    // One that was not acknowledged may be there, or not.
    let sound = [read(0, 10), read(7, 8), read(1, 11), read(2, 12)];
    assert_eq!(told(&[&sound[..1], &sound[2..]].concat()), "");
    assert_eq!(
        told(&[sound[0].clone(), sound[2].clone(), sound[3].clone(), read(7, 13)]),
        ""
    );
    for (read, problem) in [
        (vec![read(0, 10), read(2, 12)], "acknowledged, and not there"),
        (
            vec![read(0, 10), read(1, 11), read(2, 13)],
            "and was said to be at",
        ),
        (
            vec![read(0, 10), read(1, 11), read(2, 12), read(1, 13)],
            "is there twice",
        ),
        (
            vec![read(0, 10), read(1, 11), read(2, 12), read(7, 12)],
            "comes behind",
        ),
        (
            vec![read(1, 11), read(0, 10), read(2, 12)],
            "comes behind its successor",
        ),
        (
            vec![
                read(0, 10),
                read(1, 11),
                Read {
                    name: None,
                    ..read(2, 12)
                },
            ],
            "foreign bytes",
        ),
    ] {
        let told = told(&read);
        assert!(told.contains(problem), "{problem}: {told}");
    }
}
