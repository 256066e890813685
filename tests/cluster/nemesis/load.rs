//! Threads that put records and change streams, until they are told to end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::calls::{Caller, Outcome};
use super::changes::Changes;
use super::ledger::{Ledger, Number, Place, State};
use super::random::Random;
use super::record::Name;

const WRITERS: usize = 10;
const KEYS_OF_A_WRITER: u64 = 3;

/// What is more than any election and any recovery takes.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Load {
    ledger: Arc<Ledger>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn begin(servers: &[SocketAddr], seed: u64) -> Self {
        let ledger = Arc::<Ledger>::default();
        let is_over = Arc::<AtomicBool>::default();
        let mut threads = Vec::new();
        for place in 0..WRITERS {
            let mut writer = Writer {
                ledger: ledger.clone(),
                caller: Caller::of(servers, place),
                random: Random::of(seed).fork(100 + place as u64),
                place,
                counts: HashMap::new(),
            };
            let is_over = is_over.clone();
            threads.push(std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    writer.put();
                    let pause = writer.random.below(5_000);
                    std::thread::sleep(Duration::from_micros(pause));
                }
            }));
        }
        let mut changes = Changes::of(ledger.clone(), Caller::of(servers, 0), Random::of(seed).fork(200));
        let over = is_over.clone();
        threads.push(std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                changes.make_one();
            }
        }));
        Self {
            ledger,
            is_over,
            threads,
        }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Waits until a good many more records are acknowledged, or says that they are not.
    pub fn wait_for_progress(&self) -> Result<(), String> {
        let before = self.ledger.acknowledged();
        let started = Instant::now();
        while self.ledger.acknowledged() < before + 200 {
            if started.elapsed() > PATIENCE {
                return Err(format!(
                    "puts do not go on {} s after all faults are over; {} were acknowledged",
                    PATIENCE.as_secs(),
                    self.ledger.acknowledged() - before
                ));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    pub fn end(self) -> Arc<Ledger> {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a thread of the load does not panic");
        }
        self.ledger
    }
}

struct Writer {
    ledger: Arc<Ledger>,
    caller: Caller,
    random: Random,
    place: usize,
    /// The next count of each stream and key.
    counts: HashMap<(String, String), u64>,
}

impl Writer {
    /// One call, with one record or several.
    fn put(&mut self) {
        let streams = self.ledger.streams_in(State::There);
        let Some(stream) = self.random.pick(&streams).cloned() else {
            std::thread::sleep(Duration::from_millis(5));
            return;
        };
        let names: Vec<_> = match self.random.below(3) {
            0 => (0..KEYS_OF_A_WRITER)
                .map(|key| self.next_name(&stream, key))
                .collect(),
            _ => {
                let key = self.random.below(KEYS_OF_A_WRITER);
                vec![self.next_name(&stream, key)]
            }
        };
        let records: Vec<_> = names.iter().map(|name| record(name, &stream)).collect();
        // How many may be stored or not.
        let mut open = names.len();
        let outcome = match &records[..] {
            [one] => {
                let mut input = one.clone();
                input["StreamName"] = json!(stream);
                self.caller.call("PutRecord", &input)
            }
            _ => {
                let input = json!({ "StreamName": stream, "Records": records });
                self.caller.call("PutRecords", &input)
            }
        };
        match outcome {
            Outcome::Done(output) => {
                let answers = output["Records"]
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![output]);
                let puts: Vec<_> = names
                    .into_iter()
                    .zip(&answers)
                    .filter_map(|(name, answer)| Some((name, place_of(answer)?)))
                    .collect();
                open -= puts.len();
                self.ledger.acknowledge(&stream, puts);
            }
            Outcome::Refused(reason) => {
                self.ledger.count(format!("puts refused: {reason}"));
                open = 0;
            }
            Outcome::Unknown(reason) => self.ledger.count(format!("puts unanswered: {reason}")),
        }
        self.ledger.leave_open(open as u64);
    }

    fn next_name(&mut self, stream: &str, key: u64) -> Name {
        let key = format!("writer-{}-{key}", self.place);
        let next = self.counts.entry((stream.to_owned(), key.clone())).or_default();
        *next += 1;
        Name {
            key,
            count: *next - 1,
        }
    }
}

fn record(name: &Name, stream: &str) -> Value {
    let data = base64_simd::STANDARD.encode_to_string(name.data(stream));
    json!({ "PartitionKey": name.key, "Data": data })
}

/// Nothing for a record that was not put.
fn place_of(answer: &Value) -> Option<Place> {
    Some(Place {
        shard: answer["ShardId"].as_str()?.to_owned(),
        number: Number(answer["SequenceNumber"].as_str()?.to_owned()),
    })
}
