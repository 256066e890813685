//! A server of anabranch on a cluster, as a process.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};

use anabranch_harness::http1::{Client, Head};
use anabranch_harness::wait::wait_until;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Cluster, PROGRAM};

pub struct Served {
    child: Child,
    pub address: SocketAddr,
    /// Of its log.
    directory: TempDir,
}

impl Served {
    /// Begins one on any free port, and waits until it serves, in whatever role.
    pub fn begin(cluster: &Cluster, arguments: &[&str]) -> Served {
        Served::begin_at(cluster, "127.0.0.1:0", arguments)
    }

    /// As [`begin`](Served::begin), at this address.
    pub fn begin_at(cluster: &Cluster, listen: &str, arguments: &[&str]) -> Served {
        let directory = tempfile::tempdir().unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let mut child = PROGRAM
            .command()
            .args(["serve", "--listen", listen])
            .args(cluster.options())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains("Ctrl-C") {
            if out.read_line(&mut said).unwrap() == 0 {
                let log = fs::read_to_string(directory.path().join("log")).unwrap();
                panic!("it does not serve: {said}\n{log}");
            }
        }
        let (_, url) = said.split_once("serves Kinesis at http").unwrap();
        let address = url.trim_start_matches('s').trim_start_matches("://");
        let address = address.split(['"', ' ', '\n', '/']).next().unwrap();
        Served {
            child,
            address: address.parse().unwrap(),
            directory,
        }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the server says of itself.
    pub fn health(&self) -> Value {
        self.page("/health")
    }

    pub fn page(&self, path: &str) -> Value {
        let head = Head::of("").header("X-Amz-Target", "").method("GET").uri(path);
        self.client().send(&head, b"").json()
    }

    pub fn is_owner(&self) -> bool {
        self.health()["role"] == "owner"
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal: `STOP`, `CONT`, `TERM`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -{signal} {}", self.child.id()))
            .status()
            .unwrap();
        assert!(sent.success(), "kill -{signal}");
    }

    /// Stops it in order.
    pub fn stop(mut self) {
        self.signal("TERM");
        let mut status: Option<ExitStatus> = None;
        wait_until("the server ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.unwrap().success(), "{status:?}\n{}", self.log());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the log of {}:\n{}", self.address, self.log());
        }
    }
}
