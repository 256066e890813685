//! Calls to whichever server answers.

use std::net::SocketAddr;
use std::time::Duration;

use anabranch_harness::http1::{CallError, Client};
use serde_json::Value;

/// What came of a call.
pub enum Outcome {
    Done(Value),
    /// It was not carried out, and this is the exception.
    Refused(String),
    /// It may have been carried out.
    Unknown(String),
}

/// A client of several servers. It stays with one until that one fails.
pub struct Caller {
    servers: Vec<SocketAddr>,
    at: usize,
    client: Option<Client>,
}

impl Caller {
    /// Begins with the server at this place.
    pub fn of(servers: &[SocketAddr], first: usize) -> Self {
        Self {
            servers: servers.to_vec(),
            at: first,
            client: None,
        }
    }

    pub fn call(&mut self, operation: &str, input: &Value) -> Outcome {
        let server = self.servers[self.at % self.servers.len()];
        let client = match &mut self.client {
            Some(client) => client,
            None => match Client::try_connect(server) {
                Ok(client) => self.client.insert(client),
                Err(error) => {
                    self.turn_to_the_next();
                    return Outcome::Refused(format!("not reached: {}", error.kind()));
                }
            },
        };
        match client.try_call(operation, input) {
            Ok(output) => Outcome::Done(output),
            Err(CallError::Lost(error)) => {
                self.turn_to_the_next();
                Outcome::Unknown(format!("lost: {}", error.kind()))
            }
            Err(CallError::Refused(reply)) => {
                let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
                let kind = body["__type"].as_str().unwrap_or("no exception").to_owned();
                if reply.status >= 500 {
                    self.turn_to_the_next();
                    return Outcome::Unknown(format!("{} {kind}", reply.status));
                }
                Outcome::Refused(kind)
            }
        }
    }

    fn turn_to_the_next(&mut self) {
        self.client = None;
        self.at += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
}
