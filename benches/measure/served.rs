//! Servers in processes of their own, and callers that put records to them.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anabranch::bench::batch::Batch;
use anabranch::bench::http_client::HttpClient;
use anabranch::bench::put_request::PutRequest;
use anabranch::bench::run::Writer;

use crate::Outcome;
use crate::load::keys;
use crate::process::count_as_own;

/// A process of this program that serves until it is stopped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    /// Where it serves.
    pub url: String,
}

impl ServerProcess {
    /// Starts this program again with these variables, which tell it to serve. It prints its URL as the first line, and
    /// ends when its standard input does.
    pub fn start(variables: &[(&str, &OsStr)]) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        count_as_own(child.id());
        let mut url = String::new();
        if let Some(out) = child.stdout.as_mut() {
            BufReader::new(out).read_line(&mut url)?;
        }
        let url = url.trim_end().to_owned();
        match url.is_empty() {
            true => Err(format!("the server of {variables:?} did not start").into()),
            false => Ok(Self { child, url }),
        }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has ended in order.
    pub fn stop(mut self) -> Outcome<()> {
        drop(self.child.stdin.take());
        match self.child.wait()?.success() {
            true => Ok(()),
            false => Err("a server failed".into()),
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tells the process that started this one where it serves.
pub fn announce(address: SocketAddr) -> std::io::Result<()> {
    println!("http://{address}");
    std::io::stdout().flush()
}

/// Calls this, in another thread, once the process that started this one wants it to end.
pub fn when_told_to_end(end: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        end();
    });
}

/// Puts records of 1 KiB through a connection: PutRecord, or PutRecords of several.
#[derive(Debug)]
pub struct PutCaller {
    client: HttpClient,
    request: PutRequest,
}

impl PutCaller {
    /// Connects to a server.
    pub fn connect(url: &str, stream: &str, caller: usize, records: usize) -> Outcome<Self> {
        let client = HttpClient::connect(url)?;
        let batch = Batch::new(caller as u64, records, 1 << 10);
        let request = PutRequest::new(&client, stream, batch, keys(caller, records));
        Ok(Self { client, request })
    }

    /// How many records it has put.
    pub fn records(&self) -> u64 {
        self.request.records()
    }
}

impl Writer for PutCaller {
    fn write(&mut self) -> Outcome<()> {
        let reply = self.client.send(self.request.next_bytes())?;
        // A request may succeed although records of it were refused.
        match reply.starts_with(b"{\"FailedRecordCount\":0") || reply.starts_with(b"{\"ShardId\"") {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(reply).into()),
        }
    }
}
