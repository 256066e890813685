//! HTTP/1.1 for one caller at a time, on one connection, with as little work as possible between the load and the
//! server.
//!
//! It handles the answers of the Kinesis API: bodies with a length. It does not follow, retry or decode anything.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Outcome;

/// Longer than any request takes that is answered.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that is kept.
#[derive(Debug)]
pub struct HttpClient {
    host: String,
    connection: BufReader<TcpStream>,
    reply: Vec<u8>,
}

impl HttpClient {
    /// Connects to `http://host:port`.
    pub fn connect(url: &str) -> Outcome<Self> {
        let host = url
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'))
            .filter(|host| !host.is_empty() && !host.contains('/'))
            .ok_or_else(|| format!("expected an endpoint like http://127.0.0.1:4567, not {url}"))?;
        let address = match host.contains(':') {
            true => host.to_owned(),
            false => format!("{host}:80"),
        };
        let stream =
            TcpStream::connect(&address).map_err(|error| format!("cannot connect to {url}: {error}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            host: host.to_owned(),
            connection: BufReader::with_capacity(256 << 10, stream),
            reply: Vec::new(),
        })
    }

    /// The head of a request to an operation of Kinesis, with a body of this length. It has no valid signature: servers
    /// for tests do not verify it.
    pub fn head(&self, operation: &str, body_bytes: usize) -> String {
        format!(
            "POST / HTTP/1.1\r\n\
             host: {}\r\n\
             content-type: application/x-amz-json-1.1\r\n\
             x-amz-target: Kinesis_20131202.{operation}\r\n\
             x-amz-date: 20260101T000000Z\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/kinesis/aws4_request, \
             SignedHeaders=host;x-amz-date;x-amz-target, Signature=0\r\n\
             content-length: {body_bytes}\r\n\r\n",
            self.host
        )
    }

    /// Sends a request, head and body in one piece, and gives the body of the answer, which has to be a success.
    pub fn send(&mut self, request: &[u8]) -> Outcome<&[u8]> {
        self.connection.get_mut().write_all(request)?;
        let mut status = 0;
        let mut length = None;
        let mut line = String::new();
        loop {
            line.clear();
            if self.connection.read_line(&mut line)? == 0 {
                return Err("the server closed the connection".into());
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if status == 0 {
                status = line
                    .split(' ')
                    .nth(1)
                    .and_then(|status| status.parse::<u16>().ok())
                    .ok_or_else(|| format!("expected a status line, not {line:?}"))?;
            } else if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse::<usize>()?);
            }
        }
        let length = length.ok_or("the answer has no length")?;
        self.reply.resize(length, 0);
        self.connection.read_exact(&mut self.reply)?;
        match status {
            200 => Ok(&self.reply),
            _ => Err(format!("status {status}: {}", String::from_utf8_lossy(&self.reply)).into()),
        }
    }

    /// Sends a request that is made for this call.
    pub fn call(&mut self, operation: &str, body: &str) -> Outcome<&[u8]> {
        let request = self.head(operation, body.len()) + body;
        self.send(request.as_bytes())
    }
}
