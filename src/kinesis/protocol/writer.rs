use std::fmt::Display;
use std::io::Write as _;

use super::{Protocol, cbor};
use crate::model::Timestamp;

/// Writes one reply, directly into the bytes that are sent.
///
/// Values are written in order; the writer adds the commas. A value can be written at the top, as an item inside
/// [`list`](Writer::list), or after [`member`](Writer::member) inside [`structure`](Writer::structure).
pub(in crate::kinesis) struct Writer {
    protocol: Protocol,
    out: Vec<u8>,
}

impl Writer {
    pub(in crate::kinesis) fn new(protocol: Protocol) -> Writer {
        Writer::with_capacity(protocol, 256)
    }

    pub(in crate::kinesis) fn with_capacity(protocol: Protocol, bytes: usize) -> Writer {
        Writer {
            protocol,
            out: Vec::with_capacity(bytes),
        }
    }

    pub(in crate::kinesis) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(in crate::kinesis) fn structure(&mut self, members: impl FnOnce(&mut Writer)) {
        self.value();
        match self.protocol {
            Protocol::Json => {
                self.out.push(b'{');
                members(self);
                self.out.push(b'}');
            }
            Protocol::Cbor => {
                cbor::begin_map(&mut self.out);
                members(self);
                cbor::end(&mut self.out);
            }
        }
    }

    pub(in crate::kinesis) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Writer, T),
    ) {
        self.value();
        match self.protocol {
            Protocol::Json => self.out.push(b'['),
            Protocol::Cbor => cbor::begin_list(&mut self.out),
        }
        for item in items {
            each(self, item);
        }
        match self.protocol {
            Protocol::Json => self.out.push(b']'),
            Protocol::Cbor => cbor::end(&mut self.out),
        }
    }

    /// A list that the caller fills later. Gives the number of bytes in front of the place of its items.
    pub(in crate::kinesis) fn empty_list(&mut self) -> usize {
        self.list([(); 0], |_, ()| {});
        // The end of the list takes one byte.
        self.out.len() - 1
    }

    /// Begins a member of a structure; its value is written next. The name must need no escaping.
    pub(in crate::kinesis) fn member(&mut self, name: &str) -> &mut Writer {
        match self.protocol {
            Protocol::Json => {
                self.value();
                self.out.push(b'"');
                self.out.extend_from_slice(name.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
            Protocol::Cbor => self.protocol.write_text(&mut self.out, name.as_bytes()),
        }
        self
    }

    pub(in crate::kinesis) fn string(&mut self, text: &str) {
        self.value();
        self.protocol.write_text(&mut self.out, text.as_bytes());
    }

    /// A string of these digits.
    pub(in crate::kinesis) fn digits(&mut self, digits: &[u8]) {
        self.value();
        self.protocol.write_text(&mut self.out, digits);
    }

    /// A string of the printed form of `value`: numbers and ids, whose text needs no escaping.
    pub(in crate::kinesis) fn display(&mut self, value: impl Display) {
        self.value();
        match self.protocol {
            Protocol::Json => {
                write!(self.out, "\"{value}\"").expect("writing to a Vec does not fail");
            }
            Protocol::Cbor => self
                .protocol
                .write_text(&mut self.out, value.to_string().as_bytes()),
        }
    }

    pub(in crate::kinesis) fn blob(&mut self, bytes: &[u8]) {
        self.value();
        self.protocol.begin_blob(&mut self.out, bytes.len());
        self.protocol.write_part_of_blob(&mut self.out, bytes);
        self.protocol.end_blob(&mut self.out);
    }

    pub(in crate::kinesis) fn unsigned(&mut self, value: u64) {
        self.value();
        self.protocol.write_unsigned(&mut self.out, value);
    }

    pub(in crate::kinesis) fn boolean(&mut self, value: bool) {
        self.value();
        match self.protocol {
            Protocol::Json => self.out.extend_from_slice(if value { b"true" } else { b"false" }),
            Protocol::Cbor => cbor::write_boolean(&mut self.out, value),
        }
    }

    pub(in crate::kinesis) fn timestamp(&mut self, timestamp: Timestamp) {
        self.value();
        self.protocol.write_timestamp(&mut self.out, timestamp);
    }

    /// Adds the comma that JSON requires before a value that is not the first of its list or structure. The last byte
    /// decides: a string that ends in a bracket or a colon still ends in a quote.
    fn value(&mut self) {
        if self.protocol == Protocol::Json && !matches!(self.out.last(), None | Some(b'{' | b'[' | b':')) {
            self.out.push(b',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(protocol: Protocol) -> Vec<u8> {
        let mut writer = Writer::new(protocol);
        writer.structure(|reply| {
            reply.member("Name").string("say \"[\"\n");
            reply.member("Shards").list([1u64, 2], |item, id| {
                item.structure(|shard| shard.member("Id").display(id));
            });
            reply.member("Tags").list(["{", "x"], Writer::string);
            reply.member("None").list([(); 0], |_, ()| {});
            reply.member("More").boolean(false);
            reply.member("Count").unsigned(500);
            reply
                .member("At")
                .timestamp(Timestamp::from_millis(1_421_279_230_020));
        });
        writer.into_bytes()
    }

    #[test]
    fn json_puts_commas_exactly_between_values() {
        assert_eq!(
            String::from_utf8(written(Protocol::Json)).unwrap(),
            concat!(
                r#"{"Name":"say \"[\"\n","Shards":[{"Id":"1"},{"Id":"2"}],"Tags":["{","x"],"None":[],"#,
                r#""More":false,"Count":500,"At":1421279230.020}"#
            )
        );
    }

    #[test]
    fn cbor_says_the_same_with_times_in_milliseconds() {
        let bytes = written(Protocol::Cbor);
        let Ok(Map(members)) = Protocol::Cbor.parse(&bytes) else {
            panic!("a map")
        };
        use crate::kinesis::protocol::Document::*;
        let id = |text: &'static str| Map(vec![("Id".into(), String(text.into()))]);
        assert_eq!(
            members,
            [
                ("Name".into(), String("say \"[\"\n".into())),
                ("Shards".into(), List(vec![id("1"), id("2")])),
                ("Tags".into(), List(vec![String("{".into()), String("x".into())])),
                ("None".into(), List(vec![])),
                ("More".into(), Boolean(false)),
                ("Count".into(), Integer(500)),
                ("At".into(), Milliseconds(1_421_279_230_020)),
            ]
        );
    }
}
