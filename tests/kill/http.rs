//! The smallest client that the server takes for one: a connection that is kept, JSON, and a signature's shape.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

pub struct KinesisConnection {
    stream: BufReader<TcpStream>,
}

#[derive(Debug)]
pub enum CallError {
    /// The connection is gone; whether the operation was carried out is not known.
    Lost(io::Error),
    /// The server's answer is an error.
    Refused { status: u16, body: String },
}

impl KinesisConnection {
    pub fn open(address: SocketAddr) -> io::Result<KinesisConnection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(300)))?;
        Ok(KinesisConnection {
            stream: BufReader::new(stream),
        })
    }

    /// The members of the answer; null if it has none.
    pub fn call(&mut self, operation: &str, members: &Value) -> Result<Value, CallError> {
        let (status, body) = self.exchange(operation, members).map_err(CallError::Lost)?;
        if status != 200 {
            return Err(CallError::Refused { status, body });
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&body).map_err(|_| CallError::Refused { status, body })
    }

    fn exchange(&mut self, operation: &str, members: &Value) -> io::Result<(u16, String)> {
        let body = members.to_string();
        let request = format!(
            "POST / HTTP/1.1\r\n\
             Host: localhost\r\n\
             Content-Type: application/x-amz-json-1.1\r\n\
             X-Amz-Target: Kinesis_20131202.{operation}\r\n\
             X-Amz-Date: 20261122T050233Z\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=AKID/20261122/eu-west-1/kinesis/aws4_request, \
             SignedHeaders=host;x-amz-date;x-amz-target, Signature={:064x}\r\n\
             Content-Length: {}\r\n\
             \r\n\
             {body}",
            0,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status_line = self.line()?;
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("status line {status_line:?}")))?;
        let mut length = 0;
        loop {
            let header = self.line()?;
            if header.is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((status, String::from_utf8(body).map_err(io::Error::other)?))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Lost(error) => write!(out, "the connection is lost: {error}"),
            CallError::Refused { status, body } => write!(out, "status {status}: {body}"),
        }
    }
}
