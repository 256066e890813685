//! A store on a cluster of NATS JetStream: three servers on this machine, which are killed under load, and clusters
//! that are not fit to keep records. Where the server cannot be installed the tests say so and pass.
#![allow(clippy::unwrap_used)]

mod backups;
mod checks;
mod damage;
mod failures;
mod forwarding;
mod full;
mod http_load;
mod load;
mod mirrored;
mod misled;
mod nemesis;
mod operated;
mod outages;
mod owners;
mod process;
mod refusals;
mod restarts;
mod served;
mod succession;
mod verified;
mod watched;

use std::path::Path;

use anabranch::{JetStream, Store, StoreOptions};
use anabranch_harness::nats::{self, Nodes, Setup};
use anabranch_harness::program::Program;
use tempfile::TempDir;

const PROGRAM: Program = Program(env!("CARGO_BIN_EXE_anabranch"));

/// Runs the program to its end: its status, and what it said.
fn run(arguments: &[&str], options: &[String]) -> (Option<i32>, String, String) {
    let output = PROGRAM.command().args(arguments).args(options).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Servers of a test's own.
struct Cluster {
    nodes: Nodes,
    directory: TempDir,
}

impl Cluster {
    /// Nothing where the server cannot be installed.
    fn of(count: usize, setup: Setup) -> Option<Cluster> {
        let program = match nats::install(Path::new(env!("CARGO_TARGET_TMPDIR"))) {
            Ok(program) => program,
            Err(reason) => {
                eprintln!("not tested: nats-server cannot be installed: {reason}");
                return None;
            }
        };
        let directory = tempfile::tempdir().unwrap();
        Some(Cluster {
            nodes: Nodes::start(&program, directory.path(), count, setup),
            directory,
        })
    }

    fn of_three() -> Option<Cluster> {
        Cluster::of(3, Setup::default())
    }

    fn of_one() -> Option<Cluster> {
        Cluster::of(1, Setup::default())
    }

    /// Starts one more server.
    fn join(&mut self) {
        self.nodes.join(self.directory.path());
    }

    /// A store with as many replicas as there are servers.
    fn at(&self) -> JetStream {
        let at = JetStream::at(&self.nodes.url()).unwrap();
        let at = at.monitors(&self.nodes.monitors()).unwrap();
        at.replicas(self.nodes.len()).unwrap()
    }

    /// A store with three replicas, reached through these servers.
    fn at_servers(&self, places: &[usize]) -> JetStream {
        let url = self.nodes.url();
        let hosts: Vec<_> = url.trim_start_matches("nats://").split(',').collect();
        let hosts: Vec<_> = places.iter().map(|place| hosts[*place]).collect();
        let monitors = self.nodes.monitors();
        let monitors: Vec<_> = places.iter().map(|place| &monitors[*place]).collect();
        let at = JetStream::at(&format!("nats://{}", hosts.join(","))).unwrap();
        at.monitors(&monitors).unwrap()
    }

    fn open(&self) -> Store {
        StoreOptions::new().open_jetstream(&self.at()).unwrap()
    }

    /// The options of the program for this.
    fn options(&self) -> Vec<String> {
        vec![
            "--engine".to_owned(),
            self.nodes.url(),
            "--engine-monitor".to_owned(),
            self.nodes.monitors().join(","),
            "--replicas".to_owned(),
            self.nodes.len().to_string(),
        ]
    }

    /// Kills all servers, and starts them again.
    fn restart(&mut self) {
        (0..self.nodes.len()).for_each(|place| self.nodes.kill(place));
        (0..self.nodes.len()).for_each(|place| self.nodes.begin(place));
        self.nodes.wait_until_ready();
    }
}
