//! A work queue: three workers share the jobs of a stream. If a worker dies, another one does its job.
//!
//! `cargo run --example work_queue`

use std::collections::BTreeMap;
use std::error::Error;
use std::thread;
use std::time::Duration;

use anabranch::{Queue, QueueOptions, ReadLimit, ReceiveOptions, Store};

const JOBS: usize = 12;

/// The job at which a worker dies the first time.
const FATAL: &str = "job 5";

/// A worker ends after this long without a job: longer than a job is held back from the others.
const PATIENCE: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(directory.path())?;
    let jobs = store.create_stream("jobs", 2)?;
    let queue = jobs.create_queue("workers", &QueueOptions::default())?;
    for number in 0..JOBS {
        jobs.put(&format!("user-{number}"), format!("job {number}").as_bytes())?;
    }

    let workers: Vec<_> = (0..3)
        .map(|_| {
            let queue = queue.clone();
            thread::spawn(move || work(&queue))
        })
        .collect();
    let mut times_done: BTreeMap<String, u32> = BTreeMap::new();
    for worker in workers {
        let done = worker.join().map_err(|_| "a worker panicked")??;
        println!("a worker did {done:?}");
        for job in done {
            *times_done.entry(job).or_default() += 1;
        }
    }
    assert_eq!(times_done.len(), JOBS, "a job is not done");
    assert_eq!(queue.counts()?.in_flight, 0);
    store.close()?;
    Ok(())
}

/// Does one job after the other, and gives the jobs it has done.
fn work(queue: &Queue) -> anabranch::Result<Vec<String>> {
    let one_at_a_time = ReceiveOptions {
        limit: ReadLimit {
            records: 1,
            ..ReadLimit::default()
        },
        visibility_seconds: Some(1),
        ..ReceiveOptions::default()
    };
    let mut done = Vec::new();
    loop {
        let received = queue.receive_within(&one_at_a_time, PATIENCE)?;
        let Some(job) = received.into_iter().next() else {
            return Ok(done);
        };
        let name = String::from_utf8_lossy(&job.record.data).into_owned();
        if name == FATAL && job.receive_count == 1 {
            println!("a worker dies at {name}");
            return Ok(done);
        }
        queue.acknowledge(&[job.receipt])?;
        done.push(name);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().unwrap();
    }
}
