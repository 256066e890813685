//! The JSON of PutRecord and PutRecords as ordinary clients write it, read in one pass.
//!
//! No byte is read twice. The base64 of data, nearly all of the body, is only searched for its end: a character that is
//! invalid in a string of JSON is invalid in base64 too, so decoding finds it. Anything unusual ends the reading with
//! `None`, without a reason; then the checks of all operations find the error, if there is one.

use std::borrow::Cow;

/// The members of an ordinary request. The checks handle a request with others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PutBody<'a> {
    pub(super) stream_name: Option<Cow<'a, str>>,
    pub(super) stream_arn: Option<Cow<'a, str>>,
    pub(super) entries: Vec<Entry<'a>>,
}

/// One record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) partition_key: Cow<'a, str>,
    pub(super) explicit_hash_key: Option<Cow<'a, str>>,
    /// In base64, unchecked.
    pub(super) data: Cow<'a, [u8]>,
}

impl<'a> PutBody<'a> {
    /// Reads a PutRecord.
    pub(super) fn of_one(json: &'a [u8]) -> Option<Self> {
        let mut target = Target::default();
        let mut entry = EntryMembers::default();
        let mut scanner = Scanner { rest: json };
        scanner.object(|scanner, name| match target.member(scanner, name) {
            Some(()) => Some(()),
            None => entry.member(scanner, name),
        })?;
        scanner.end()?;
        Some(target.with(vec![entry.whole()?]))
    }

    /// Reads a PutRecords of at most so many records.
    pub(super) fn of_many(json: &'a [u8], most_records: usize) -> Option<Self> {
        let mut target = Target::default();
        let mut entries = None;
        let mut scanner = Scanner { rest: json };
        scanner.object(|scanner, name| {
            if name != b"Records" {
                return target.member(scanner, name);
            }
            let mut list = Vec::new();
            scanner.list(|scanner| {
                let mut entry = EntryMembers::default();
                scanner.object(|scanner, name| entry.member(scanner, name))?;
                list.push(entry.whole()?);
                (list.len() <= most_records).then_some(())
            })?;
            once(&mut entries, list)
        })?;
        scanner.end()?;
        Some(target.with(entries?))
    }
}

/// The members that name the stream.
#[derive(Default)]
struct Target<'a> {
    stream_name: Option<Cow<'a, str>>,
    stream_arn: Option<Cow<'a, str>>,
}

impl<'a> Target<'a> {
    /// Reads a member's value, if it is one of these.
    fn member(&mut self, scanner: &mut Scanner<'a>, name: &[u8]) -> Option<()> {
        match name {
            b"StreamName" => once(&mut self.stream_name, scanner.text()?),
            b"StreamARN" => once(&mut self.stream_arn, scanner.text()?),
            _ => None,
        }
    }

    fn with(self, entries: Vec<Entry<'a>>) -> PutBody<'a> {
        PutBody {
            stream_name: self.stream_name,
            stream_arn: self.stream_arn,
            entries,
        }
    }
}

#[derive(Default)]
struct EntryMembers<'a> {
    partition_key: Option<Cow<'a, str>>,
    explicit_hash_key: Option<Cow<'a, str>>,
    data: Option<Cow<'a, [u8]>>,
}

impl<'a> EntryMembers<'a> {
    fn member(&mut self, scanner: &mut Scanner<'a>, name: &[u8]) -> Option<()> {
        match name {
            b"Data" => once(&mut self.data, scanner.string()?),
            b"PartitionKey" => once(&mut self.partition_key, scanner.text()?),
            b"ExplicitHashKey" => once(&mut self.explicit_hash_key, scanner.text()?),
            _ => None,
        }
    }

    fn whole(self) -> Option<Entry<'a>> {
        Some(Entry {
            partition_key: self.partition_key?,
            explicit_hash_key: self.explicit_hash_key,
            data: self.data?,
        })
    }
}

/// With two members of the same name, one would have to be chosen.
fn once<T>(member: &mut Option<T>, value: T) -> Option<()> {
    member.replace(value).is_none().then_some(())
}

/// Reads JSON from front to back.
struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    /// An object with at least one member. The caller reads each member's value.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &[u8]) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        loop {
            let name = self.string()?;
            self.expect(b':')?;
            member(self, &name)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// A list with at least one item. The caller reads each item.
    fn list(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'[')?;
        loop {
            item(self)?;
            match self.next()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    /// A valid string.
    fn text(&mut self) -> Option<Cow<'a, str>> {
        match self.string()? {
            Cow::Borrowed(text) if text.iter().any(|byte| *byte < 0x20) => None,
            Cow::Borrowed(text) => std::str::from_utf8(text).ok().map(Cow::Borrowed),
            Cow::Owned(text) => String::from_utf8(text).ok().map(Cow::Owned),
        }
    }

    /// A string, with any bytes except quotes and backslashes.
    fn string(&mut self) -> Option<Cow<'a, [u8]>> {
        self.expect(b'"')?;
        let at = memchr::memchr2(b'"', b'\\', self.rest)?;
        if self.rest[at] == b'\\' {
            return self.escaped_string().map(Cow::Owned);
        }
        let text = &self.rest[..at];
        self.rest = &self.rest[at + 1..];
        Some(Cow::Borrowed(text))
    }

    /// The rest of a string whose first quote was read.
    fn escaped_string(&mut self) -> Option<Vec<u8>> {
        // Every quote inside has a backslash in front, and so has every backslash that does not belong to another.
        let mut len = 0;
        loop {
            len += memchr::memchr2(b'"', b'\\', &self.rest[len..])?;
            if self.rest[len] == b'"' {
                break;
            }
            len += 2;
            self.rest.get(len)?;
        }
        let mut quoted = Vec::with_capacity(len + 2);
        quoted.push(b'"');
        quoted.extend_from_slice(&self.rest[..=len]);
        self.rest = &self.rest[len + 1..];
        serde_json::from_slice(&quoted).ok().map(String::into_bytes)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// The next byte that is not a space between values.
    fn next(&mut self) -> Option<u8> {
        loop {
            let (first, rest) = self.rest.split_first()?;
            self.rest = rest;
            if !is_space(*first) {
                return Some(*first);
            }
        }
    }

    /// Checks that nothing follows.
    fn end(&self) -> Option<()> {
        self.rest.iter().all(|byte| is_space(*byte)).then_some(())
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn of_one(json: &str) -> Option<PutBody<'_>> {
        PutBody::of_one(json.as_bytes())
    }

    fn of_many(json: &str) -> Option<PutBody<'_>> {
        PutBody::of_many(json.as_bytes(), 2)
    }

    fn entry(body: &PutBody<'_>) -> Value {
        let entry = &body.entries[0];
        json!({
            "PartitionKey": entry.partition_key,
            "ExplicitHashKey": entry.explicit_hash_key,
            "Data": String::from_utf8(entry.data.to_vec()).unwrap(),
        })
    }

    #[test]
    fn members_come_in_any_order_and_with_spaces_between_them() {
        let body = " {\"Data\" : \"aGk=\",\n\"StreamName\":\"s\"\t,\r\"PartitionKey\":\"k\"} \n";
        let body = of_one(body).unwrap();
        assert_eq!(body.stream_name.as_deref(), Some("s"));
        assert_eq!(body.stream_arn, None);
        assert_eq!(
            entry(&body),
            json!({"PartitionKey": "k", "ExplicitHashKey": null, "Data": "aGk="})
        );
        let records = r#"{"Records" :[ {"PartitionKey":"a","Data":""} , {"Data":"x","PartitionKey":"b"}],"StreamARN":"t"}"#;
        let body = of_many(records).unwrap();
        assert_eq!((body.entries.len(), body.stream_arn.as_deref()), (2, Some("t")));
        assert_eq!(
            of_one(records),
            None,
            "a list of records is not a member of PutRecord"
        );
    }

    #[test]
    fn what_is_not_ordinary_is_left_to_the_checks() {
        for body in [
            "",
            "{}",
            "{",
            "null",
            r#"{"PartitionKey":"k"}"#,
            r#"{"PartitionKey":"k","Data":null}"#,
            r#"{"PartitionKey":"k","Data":"","Data":""}"#,
            r#"{"PartitionKey":"k","Data":"","DryRun":true}"#,
            r#"{"PartitionKey":"k","Data":"",}"#,
            r#"{"PartitionKey":"k","Data":""}}"#,
            r#"{"PartitionKey":"k","Data":""} x"#,
            r#"{"PartitionKey":"k" "Data":""}"#,
            r#"{"PartitionKey":"k","Data":"}"#,
            r#"{"PartitionKey":"k","Data":"\"}"#,
            r#"{"PartitionKey":"k","Data":"\"#,
            r#"{"PartitionKey":"\ud800","Data":""}"#,
            r#"{"PartitionKey":"\x","Data":""}"#,
            "{\"PartitionKey\":\"a\nb\",\"Data\":\"\"}",
        ] {
            assert_eq!(of_one(body), None, "{body}");
        }
        let entry = r#"{"PartitionKey":"k","Data":""}"#;
        assert!(of_many(&format!(r#"{{"Records":[{entry},{entry}]}}"#)).is_some());
        for records in ["", &format!("{entry},"), &format!("{entry},{entry},{entry}"), "1"] {
            assert_eq!(
                of_many(&format!(r#"{{"Records":[{records}]}}"#)),
                None,
                "{records}"
            );
        }
        assert_eq!(
            PutBody::of_one(b"{\"PartitionKey\":\"\xff\",\"Data\":\"\"}"),
            None
        );
    }

    proptest! {
        #[test]
        fn texts_are_what_serde_reads(key: String, data in "[\"\\\\/a\u{e4}\\n]{0,9}", hash: Option<String>) {
            let mut members = json!({"PartitionKey": key, "Data": data, "StreamName": data});
            if let Some(hash) = &hash {
                members["ExplicitHashKey"] = json!(hash);
            }
            let escaped = members.to_string().replace('/', "\\/").replace('\u{e4}', "\\u00e4");
            for json in [members.to_string(), escaped] {
                let body = of_one(&json).unwrap();
                prop_assert_eq!(body.stream_name.as_deref(), Some(data.as_str()));
                let expected = json!({"PartitionKey": key, "ExplicitHashKey": hash, "Data": data});
                prop_assert_eq!(entry(&body), expected);
            }
        }

        #[test]
        fn what_is_read_is_json(body in r#"[{}\[\]":, ]{0,3}(\{"(Data|PartitionKey)":"[a\\"]{0,3}",? ?){0,3}[{}"\\:,\]]{0,4}"#) {
            if of_one(&body).is_some() {
                prop_assert!(serde_json::from_str::<Value>(&body).is_ok(), "{}", body);
            }
        }
    }
}
