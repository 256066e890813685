//! A client of HTTP/2 that sends exactly the given frames, and keeps all frames that come back: replies, resets, and
//! GOAWAYs.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::http1::{AUTHORIZATION, JSON, X_AMZ_DATE};
use crate::wait::PATIENCE;

pub mod frame {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

const HEADER_TABLE_SIZE: u8 = 1;
const INITIAL_WINDOW_SIZE: u8 = 4;
const MOST_FRAME_BYTES: usize = 16_384;

pub struct Http2Client {
    socket: TcpStream,
    unsent: Vec<u8>,
    next_stream: u32,
    replies: HashMap<u32, Http2Reply>,
    goaways: Vec<u32>,
    pings_answered: u32,
    /// How many bytes may be sent: on the connection, on a new stream, and on streams that have begun.
    connection_window: i64,
    initial_window: i64,
    windows: HashMap<u32, i64>,
    is_closed: bool,
}

/// The frames that have come back on a stream.
#[derive(Debug, Default, Clone)]
pub struct Http2Reply {
    pub status: u16,
    pub body: Vec<u8>,
    pub has_ended: bool,
    /// The error code of a RST_STREAM.
    pub reset: Option<u32>,
}

impl Http2Client {
    /// Replies of any length may be sent without waiting for this client.
    pub fn connect(address: SocketAddr) -> Http2Client {
        let mut client = Http2Client::with_window(address, 1 << 30);
        client.widen(0, 1 << 30);
        client.exchange_settings();
        client
    }

    /// The server may send this many bytes of each reply before this client widens the stream's window.
    pub fn with_window(address: SocketAddr, window: u32) -> Http2Client {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut client = Http2Client {
            socket,
            unsent: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            next_stream: 1,
            replies: HashMap::new(),
            goaways: Vec::new(),
            pings_answered: 0,
            connection_window: 65_535,
            initial_window: 65_535,
            windows: HashMap::new(),
            is_closed: false,
        };
        // Without a header table, a status is the same bytes each time.
        let mut settings = vec![0, HEADER_TABLE_SIZE, 0, 0, 0, 0];
        settings.extend([0, INITIAL_WINDOW_SIZE]);
        settings.extend(window.to_be_bytes());
        client.write(frame::SETTINGS, 0, 0, &settings);
        client.flush();
        client
    }

    /// Waits until both sides know the other's windows.
    fn exchange_settings(&mut self) {
        while self.initial_window == 65_535 || self.connection_window == 65_535 {
            self.take();
        }
    }

    /// Buffers a frame. Frames are sent together when this client waits for an answer, or by a call.
    pub fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.unsent.extend(&(payload.len() as u32).to_be_bytes()[1..]);
        self.unsent.extend([kind, flags]);
        self.unsent.extend(stream.to_be_bytes());
        self.unsent.extend(payload);
    }

    pub fn flush(&mut self) {
        let unsent = std::mem::take(&mut self.unsent);
        // If the server refuses the bytes, its frames show it.
        let _ = self.socket.write_all(&unsent);
    }

    pub fn widen(&mut self, stream: u32, by: u32) {
        self.write(frame::WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
    }

    /// The head of a request, which does not end the stream.
    pub fn begin_head(&mut self, operation: &str, content_length: Option<usize>) -> u32 {
        self.begin_with("POST", operation, content_length, &[])
    }

    pub fn begin_with(
        &mut self,
        method: &str,
        operation: &str,
        content_length: Option<usize>,
        more: &[(&str, &str)],
    ) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        let target = format!("Kinesis_20131202.{operation}");
        let mut headers = vec![
            (":method", method),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "localhost"),
            ("content-type", JSON),
            ("x-amz-target", &target),
            ("x-amz-date", X_AMZ_DATE),
            ("authorization", AUTHORIZATION),
        ];
        let content_length = content_length.map(|len| len.to_string());
        if let Some(len) = &content_length {
            headers.push(("content-length", len));
        }
        for (name, value) in more {
            // Fields that begin with a colon must come first, and only once.
            match headers
                .iter_mut()
                .find(|(known, _)| known == name && name.starts_with(':'))
            {
                Some((_, known)) => *known = value,
                None => headers.push((name, value)),
            }
        }
        self.write_headers(stream, 0, &headers);
        stream
    }

    fn write_headers(&mut self, stream: u32, flags: u8, headers: &[(&str, &str)]) {
        let mut block = Vec::new();
        for (name, value) in headers {
            block.push(0);
            for text in [name, value] {
                push_length(&mut block, text.len());
                block.extend(text.as_bytes());
            }
        }
        let mut parts = block.chunks(MOST_FRAME_BYTES).peekable();
        let mut kind = frame::HEADERS;
        while let Some(part) = parts.next() {
            let end = if parts.peek().is_none() {
                frame::END_HEADERS
            } else {
                0
            };
            let flags = if kind == frame::HEADERS { flags } else { 0 };
            self.write(kind, flags | end, stream, part);
            kind = frame::CONTINUATION;
        }
    }

    /// Sends all bytes of a body as the windows allow, and does not end the stream.
    pub fn send_data(&mut self, stream: u32, mut data: &[u8]) {
        while !data.is_empty() {
            match self.send_what_fits(stream, data) {
                0 if self.take().is_none() || self.reply(stream).reset.is_some() => return,
                sent => data = &data[sent..],
            }
        }
    }

    /// Sends as many bytes of a body as the windows allow at once. Gives their number.
    pub fn send_what_fits(&mut self, stream: u32, data: &[u8]) -> usize {
        let of_stream = self.windows.entry(stream).or_insert(self.initial_window);
        let room = self.connection_window.min(*of_stream).max(0) as usize;
        let now = &data[..data.len().min(room)];
        *of_stream -= now.len() as i64;
        self.connection_window -= now.len() as i64;
        for part in now.chunks(MOST_FRAME_BYTES) {
            self.write(frame::DATA, 0, stream, part);
        }
        now.len()
    }

    /// An empty DATA frame that ends the stream, as Netty sends it.
    pub fn end(&mut self, stream: u32) {
        self.write(frame::DATA, frame::END_STREAM, stream, b"");
    }

    pub fn end_with_trailers(&mut self, stream: u32) {
        self.write_headers(stream, frame::END_STREAM, &[("x-amz-checksum", "none")]);
    }

    pub fn begin(&mut self, operation: &str, input: &Value) -> u32 {
        let body = input.to_string();
        let stream = self.begin_head(operation, Some(body.len()));
        self.send_data(stream, body.as_bytes());
        self.end(stream);
        stream
    }

    pub fn call(&mut self, operation: &str, input: &Value) -> (u16, Value) {
        let stream = self.begin(operation, input);
        self.finish(stream)
    }

    /// The reply on this stream, once it is whole.
    #[track_caller]
    pub fn finish(&mut self, stream: u32) -> (u16, Value) {
        while !self.reply(stream).has_ended {
            let reset = self.reply(stream).reset;
            assert_eq!(reset, None, "stream {stream} was reset");
            self.take().expect("a reply before the connection ends");
        }
        let reply = self.replies[&stream].clone();
        let body = if reply.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&reply.body).unwrap()
        };
        (reply.status, body)
    }

    /// Cancels a stream.
    pub fn cancel(&mut self, stream: u32) {
        const CANCEL: u32 = 8;
        self.write(frame::RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
        self.flush();
    }

    /// Waits until the server has read all that was sent before.
    pub fn ping(&mut self) {
        let wanted = self.pings_answered + 1;
        self.write(frame::PING, 0, 0, &[0; 8]);
        while self.pings_answered < wanted {
            self.take().expect("an answer to the ping");
        }
    }

    pub fn reply(&self, stream: u32) -> Http2Reply {
        self.replies.get(&stream).cloned().unwrap_or_default()
    }

    /// How many streams have got at least the head of a reply with this status.
    pub fn count_of_status(&self, status: u16) -> usize {
        let replies = self.replies.values();
        replies.filter(|reply| reply.status == status).count()
    }

    pub fn resets(&self) -> Vec<u32> {
        self.replies.values().filter_map(|reply| reply.reset).collect()
    }

    pub fn goaways(&self) -> &[u32] {
        &self.goaways
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Takes one frame, and gives its kind and stream; `None` if the connection has ended.
    pub fn take(&mut self) -> Option<(u8, u32)> {
        self.flush();
        let mut head = [0; 9];
        if let Err(error) = self.socket.read_exact(&mut head) {
            assert!(
                !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "nothing comes from the server"
            );
            self.is_closed = true;
            return None;
        }
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; len];
        self.socket.read_exact(&mut payload).unwrap();
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        self.take_in(head[3], head[4], stream, payload);
        Some((head[3], stream))
    }

    fn take_in(&mut self, kind: u8, flags: u8, stream: u32, payload: Vec<u8>) {
        let is_answer = flags & frame::ACK != 0;
        match kind {
            frame::HEADERS => self.replies.entry(stream).or_default().status = status(&payload),
            frame::DATA => self.replies.entry(stream).or_default().body.extend(payload),
            frame::RST_STREAM => {
                self.replies.entry(stream).or_default().reset = Some(number(&payload));
                return;
            }
            frame::SETTINGS if is_answer => return,
            frame::SETTINGS => {
                for setting in payload.chunks_exact(6) {
                    if setting[..2] == [0, INITIAL_WINDOW_SIZE] {
                        self.initial_window = i64::from(number(&setting[2..]));
                    }
                }
                self.write(frame::SETTINGS, frame::ACK, 0, b"");
                return;
            }
            frame::PING if is_answer => {
                self.pings_answered += 1;
                return;
            }
            frame::PING => return self.write(frame::PING, frame::ACK, 0, &payload),
            frame::GOAWAY => return self.goaways.push(number(&payload[4..])),
            frame::WINDOW_UPDATE => {
                let by = i64::from(number(&payload));
                match stream {
                    0 => self.connection_window += by,
                    _ => *self.windows.entry(stream).or_insert(self.initial_window) += by,
                }
                return;
            }
            other => panic!("a frame that no test expects: {other}"),
        }
        if flags & frame::END_STREAM != 0 {
            self.replies.entry(stream).or_default().has_ended = true;
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// An integer with a prefix of seven bits (RFC 7541, 5.1).
fn push_length(out: &mut Vec<u8>, len: usize) {
    match len.checked_sub(127) {
        None => out.push(len as u8),
        Some(mut rest) => {
            out.push(127);
            while rest >= 128 {
                out.push(rest as u8 | 128);
                rest >>= 7;
            }
            out.push(rest as u8);
        }
    }
}

/// The status is the first field of a reply's head (RFC 7541, appendices A and B).
fn status(block: &[u8]) -> u16 {
    // An update of the header table's size may come first.
    let block = &block[block.iter().take_while(|byte| **byte & 0xe0 == 0x20).count()..];
    match block[0] {
        0x88 => 200,
        0x89 => 204,
        0x8a => 206,
        0x8b => 304,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        0x08 | 0x18 | 0x48 => digits(block[1] & 0x80 != 0, &block[2..][..usize::from(block[1] & 0x7f)]),
        other => panic!("no status: {other:x}"),
    }
}

fn digits(is_huffman: bool, text: &[u8]) -> u16 {
    if !is_huffman {
        return std::str::from_utf8(text).unwrap().parse().unwrap();
    }
    let bits: Vec<u8> = text
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
        .collect();
    let value = |bits: &[u8]| bits.iter().fold(0u16, |value, bit| value << 1 | u16::from(*bit));
    let (mut rest, mut number) = (&bits[..], 0);
    for _ in 0..3 {
        // 0, 1 and 2 have five bits, the other digits six.
        let (len, digit) = match value(&rest[..5]) {
            digit @ 0..=2 => (5, digit),
            _ => (6, value(&rest[..6]) - 0x19 + 3),
        };
        number = number * 10 + digit;
        rest = &rest[len..];
    }
    number
}
