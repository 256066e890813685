//! Three workers share the shards of a stream, while a producer puts orders and the stream is split.
//!
//! `cargo run --example consumer_group`

use std::thread;
use std::time::Duration;

use anabranch::{ConsumerGroup, MemberOptions, ReadLimit, Result, StartingPosition, Store};

const ORDERS: u64 = 100;

fn main() -> Result<()> {
    let store = Store::in_memory()?;
    let orders = store.create_stream("orders", 2)?;
    let group = orders.group("billing", StartingPosition::TrimHorizon)?;

    let workers: Vec<_> = (1..=3)
        .map(|number| {
            let group = group.clone();
            thread::spawn(move || work(&group, &format!("worker-{number}")))
        })
        .collect();

    for number in 0..ORDERS {
        let put = orders.put(&format!("customer-{}", number % 10), b"one book")?;
        if number == ORDERS / 2 {
            orders.split_in_half(put.shard_id)?;
        }
    }

    let mut billed = 0;
    for worker in workers {
        billed += worker.join().expect("a worker does not panic")?;
    }
    println!("{billed} of {ORDERS} orders are billed");
    for lag in group.lag()? {
        println!("{}: {} records are left", lag.shard, lag.records);
    }
    Ok(())
}

/// Bills orders until none has come for a while.
fn work(group: &ConsumerGroup, name: &str) -> Result<usize> {
    let mut member = group.join(name, &MemberOptions::default())?;
    let mut billed = 0;
    while let Some(batch) = member.next_batch(&ReadLimit::default(), Duration::from_millis(200))? {
        println!("{name} bills {} orders of {}", batch.records.len(), batch.shard);
        billed += batch.records.len();
        // If a worker dies, another one gets the records that it has not committed.
        member.commit(&batch)?;
    }
    Ok(billed)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().unwrap();
    }
}
