//! Consumers that wait for records of a queue cost no processor time.

use std::time::Duration;

use anabranch_harness::http1::Client;
use serde_json::json;

use crate::PROGRAM;

/// The processor time that the process has used so far.
fn processor_time(process: u32) -> Duration {
    const TICKS_A_SECOND: u64 = 100;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // Behind the name of the program, which is in parentheses: fields 3 and on.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let mut times = fields
        .split_whitespace()
        .skip(11)
        .map(|field| field.parse::<u64>().unwrap());
    let ticks = times.next().unwrap() + times.next().unwrap();
    Duration::from_millis(ticks * 1000 / TICKS_A_SECOND)
}

#[test]
fn consumers_that_wait_take_no_processor_time() {
    const CONSUMERS: usize = 64;
    const WAIT: u64 = 6;
    let directory = tempfile::tempdir().unwrap();
    let server = PROGRAM.serve(directory.path(), &[]);
    let address = server.address();
    let on_demand = json!({"StreamName": "jobs", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    let mut client = Client::connect(address);
    client.call("CreateStream", &on_demand);
    let described = client.ok("DescribeStreamSummary", &json!({"StreamName": "jobs"}));
    let stream = &described["StreamDescriptionSummary"]["StreamARN"];
    let create = json!({"QueueName": "work", "StreamConfigurationList": [{"StreamARN": stream}]});
    let created = client.ok("CreateQueue", &create);
    let wait = json!({"QueueARN": created["QueueDescription"]["QueueARN"], "WaitTimeSeconds": WAIT});
    std::thread::scope(|scope| {
        for _ in 0..CONSUMERS {
            scope.spawn(|| Client::connect(address).ok("ReceiveQueueRecords", &wait));
        }
        // Until all of them wait, and while they wait.
        std::thread::sleep(Duration::from_secs(WAIT / 3));
        let before = processor_time(server.id());
        std::thread::sleep(Duration::from_secs(WAIT / 2));
        let used = processor_time(server.id()).saturating_sub(before);
        println!("{used:?} of processor time in {} s", WAIT / 2);
        assert!(used <= Duration::from_millis(150), "{used:?}");
    });
}
