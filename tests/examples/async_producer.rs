//! A producer of many tasks: each puts without blocking a thread, and the number of puts in flight is bounded.
//!
//! Four tasks put a thousand readings each. Puts at about the same time share one sync of the disk. Another task reads
//! the records when they arrive. The engine has no runtime of its own: its futures run in any runtime; here it is
//! Tokio's.
//!
//! `cargo run --example async_producer --features server`

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;

use anabranch::{Append, PutRecord, StartingPosition, Store, Stream, StreamReader};

const PRODUCERS: usize = 4;
const READINGS: usize = 1_000;

/// With this many puts in flight, a producer waits for the oldest of them.
const UNDER_WAY: usize = 64;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(directory.path())?;
    let readings = store.create_stream("readings", 2)?;
    let reader = readings.reader(StartingPosition::TrimHorizon)?;
    let reading = tokio::spawn(read(reader, PRODUCERS * READINGS));

    let producers: Vec<_> = (0..PRODUCERS)
        .map(|sensor| tokio::spawn(produce(readings.clone(), format!("sensor-{sensor}"))))
        .collect();
    for producer in producers {
        producer.await??;
    }
    for (sensor, values) in reading.await?? {
        // The records of a partition key come in the order in which they were put.
        assert!(values.is_sorted(), "{sensor} is out of order");
        println!("{sensor}: {} readings", values.len());
    }
    store.close()?;
    Ok(())
}

/// Puts the readings of one sensor. Each is durable when its future is ready.
async fn produce(readings: Stream, sensor: String) -> anabranch::Result<()> {
    let mut under_way: VecDeque<Append> = VecDeque::new();
    for value in 0..READINGS {
        if under_way.len() == UNDER_WAY
            && let Some(oldest) = under_way.pop_front()
        {
            oldest.await?;
        }
        let data = format!("{value:06}");
        under_way.push_back(readings.append(&[PutRecord::new(&sensor, data.as_bytes())])?);
    }
    for put in under_way {
        put.await?;
    }
    Ok(())
}

/// Reads this many readings, and waits for those that have not been put yet.
async fn read(mut reader: StreamReader, count: usize) -> anabranch::Result<BTreeMap<String, Vec<String>>> {
    let mut by_sensor: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for _ in 0..count {
        let record = reader.next_record().await?;
        let values = by_sensor.entry(record.partition_key.to_string()).or_default();
        values.push(String::from_utf8_lossy(&record.data).into_owned());
    }
    Ok(by_sensor)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().unwrap();
    }
}
