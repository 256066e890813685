//! A client of HTTP/1.1 that sends exactly the given bytes, and the requests that every SDK sends for an operation.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::tls::{self, TlsStream};
use crate::wait::PATIENCE;

pub const JSON: &str = "application/x-amz-json-1.1";
pub const CBOR: &str = "application/x-amz-cbor-1.1";
pub const X_AMZ_DATE: &str = "20150122T012202Z";
pub const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=AKID/20150122/eu-west-1/kinesis/aws4_request, \
                                 SignedHeaders=host;x-amz-date;x-amz-target, Signature=80e8";

/// A connection that stays open between requests. Its methods panic if no answer comes, except those whose names begin
/// with `try`.
pub struct Client {
    stream: BufReader<Wire>,
}

/// The socket of a connection.
enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// A request without its body.
pub struct Head<'a> {
    pub method: &'a str,
    pub uri: &'a str,
    pub headers: Vec<(&'a str, &'a str)>,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Debug)]
pub enum CallError {
    /// The connection is lost. Whether the operation was carried out is unknown.
    Lost(io::Error),
    /// The server's answer is an error.
    Refused(Reply),
}

impl<'a> Head<'a> {
    /// The request that every SDK sends for an operation.
    pub fn of(target: &'a str) -> Head<'a> {
        Head {
            method: "POST",
            uri: "/",
            headers: vec![
                ("Content-Type", JSON),
                ("X-Amz-Target", target),
                ("X-Amz-Date", X_AMZ_DATE),
                ("Authorization", AUTHORIZATION),
            ],
        }
    }

    /// Replaces the headers of this name by this value, or removes them if it is empty.
    pub fn header(mut self, name: &'a str, value: &'a str) -> Head<'a> {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        if !value.is_empty() {
            self.headers.push((name, value));
        }
        self
    }

    pub fn method(mut self, method: &'a str) -> Head<'a> {
        self.method = method;
        self
    }

    pub fn uri(mut self, uri: &'a str) -> Head<'a> {
        self.uri = uri;
        self
    }

    pub fn to_text(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.uri);
        if !self
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            head += "Host: localhost\r\n";
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap_or_else(|error| panic!("no connection: {error}"))
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        // If a server never answers, the test fails instead of waiting for ever.
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Client {
            stream: BufReader::new(Wire::Plain(stream)),
        })
    }

    /// Connects with TLS to a server that proves to be `name` with this certificate.
    pub fn connect_tls(address: SocketAddr, name: &str, certificate: &str) -> Client {
        let stream = tls::connect(address, name, certificate, &[b"http/1.1"]);
        let stream = stream.unwrap_or_else(|error| panic!("no connection: {error}"));
        Client {
            stream: BufReader::new(Wire::Tls(Box::new(stream))),
        }
    }

    pub fn call(&mut self, operation: &str, input: &Value) -> Reply {
        let target = format!("Kinesis_20131202.{operation}");
        self.send(&Head::of(&target), input.to_string().as_bytes())
    }

    /// The output of an operation that succeeds; null if it has none.
    #[track_caller]
    pub fn ok(&mut self, operation: &str, input: &Value) -> Value {
        let output = self.try_call(operation, input);
        output.unwrap_or_else(|error| panic!("{operation}: {error}"))
    }

    /// The output of an operation; null if it has none.
    pub fn try_call(&mut self, operation: &str, input: &Value) -> Result<Value, CallError> {
        let target = format!("Kinesis_20131202.{operation}");
        let reply = self
            .try_send(&Head::of(&target), input.to_string().as_bytes())
            .map_err(CallError::Lost)?;
        match reply {
            Reply { status: 200, .. } => Ok(reply.ok()),
            refused => Err(CallError::Refused(refused)),
        }
    }

    pub fn send(&mut self, head: &Head<'_>, body: &[u8]) -> Reply {
        let reply = self.try_send(head, body);
        reply.unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    pub fn try_send(&mut self, head: &Head<'_>, body: &[u8]) -> io::Result<Reply> {
        let text = format!("{}Content-Length: {}\r\n\r\n", head.to_text(), body.len());
        self.stream
            .get_mut()
            .write_all(&[text.as_bytes(), body].concat())?;
        let reply = self.try_read_reply(head.method == "HEAD")?;
        reply.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Sends the request, and does not read the answer.
    pub fn begin(&mut self, operation: &str, input: &Value) {
        let target = format!("Kinesis_20131202.{operation}");
        let (head, body) = (Head::of(&target).to_text(), input.to_string());
        self.write(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    }

    /// The next answer, or `None` if the server has closed the connection.
    pub fn read_reply(&mut self, is_head: bool) -> Option<Reply> {
        let reply = self.try_read_reply(is_head);
        reply.unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    fn try_read_reply(&mut self, is_head: bool) -> io::Result<Option<Reply>> {
        let Some(status_line) = self.line()? else {
            return Ok(None);
        };
        let status = status_line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let mut reply = Reply {
            status: status.ok_or_else(|| io::Error::other(format!("status line {status_line:?}")))?,
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let line = self.line()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            reply.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let len = reply.header("content-length").map_or(Ok(0), str::parse);
        if !is_head {
            reply.body = vec![0; len.map_err(io::Error::other)?];
            self.stream.read_exact(&mut reply.body)?;
        }
        Ok(Some(reply))
    }

    /// Whether the server has closed the connection, after waiting for it.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Drops the bytes that have arrived.
    pub fn skip(&mut self) {
        let arrived = self.stream.buffer().len();
        self.stream.consume(arrived);
    }

    pub fn socket(&self) -> &TcpStream {
        match self.stream.get_ref() {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => &stream.sock,
        }
    }

    /// `None` at the end of the server's bytes.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(_) => Ok(line.strip_suffix("\r\n").map(str::to_owned)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(buffer),
            Wire::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// The output of a call that succeeded; null if it has none.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.header("content-type"), Some(JSON));
        if self.body.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// The exception and message of a call that failed with status 400.
    #[track_caller]
    pub fn refusal(&self) -> (String, String) {
        assert_eq!(self.status, 400, "{}", self.text());
        assert_eq!(self.header("content-type"), Some(JSON));
        let body = self.json();
        let kind = body["__type"].as_str().unwrap_or_default().to_owned();
        assert_eq!(self.header("x-amzn-errortype"), Some(kind.as_str()));
        let key = if kind == "SerializationException" {
            "Message"
        } else {
            "message"
        };
        assert!(
            body.as_object()
                .unwrap()
                .keys()
                .all(|name| name == "__type" || name == key),
            "{body}"
        );
        (kind, body[key].as_str().unwrap_or_default().to_owned())
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Lost(error) => write!(out, "the connection is lost: {error}"),
            CallError::Refused(Reply { status, body, .. }) => {
                write!(out, "status {status}: {}", String::from_utf8_lossy(body))
            }
        }
    }
}
