//! What a server says of itself, over HTTP.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::Value;

/// How long a monitor may take to answer.
const LIMIT: Duration = Duration::from_secs(3);

/// What a monitor says is not longer.
const MOST_BYTES: u64 = 1024 * 1024;

/// Asks the monitor at HOST:PORT for one of its pages.
pub(super) fn ask(address: &str, page: &str) -> Result<Value> {
    let no_address = || Error::new(ErrorKind::NotFound, "there is no such host");
    let socket = address.to_socket_addrs()?.next().ok_or_else(no_address)?;
    let mut connection = TcpStream::connect_timeout(&socket, LIMIT)?;
    connection.set_read_timeout(Some(LIMIT))?;
    connection.set_write_timeout(Some(LIMIT))?;
    let request = format!("GET {page} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    connection.take(MOST_BYTES).read_to_end(&mut answer)?;
    let is_ok = answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200");
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n");
    let body = body.filter(|_| is_ok).and_then(|end| answer.get(end + 4..));
    let unreadable = || Error::new(ErrorKind::InvalidData, "it is no monitor of nats-server");
    serde_json::from_slice(body.ok_or_else(unreadable)?).map_err(|_| unreadable())
}
