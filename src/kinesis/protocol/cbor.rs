//! CBOR (RFC 8949) of the Java SDK: a plain map with the same member names as in JSON.

use std::borrow::Cow;

use super::{Document, MOST_VALUES, NotADocument, milliseconds};

/// As deep as JSON may nest; no operation's shape goes beyond a handful of levels.
const MAX_DEPTH: usize = 128;

/// Major types, the upper three bits of an item's first byte.
mod major {
    pub(super) const UNSIGNED: u8 = 0;
    pub(super) const NEGATIVE: u8 = 1;
    pub(super) const BYTES: u8 = 2;
    pub(super) const TEXT: u8 = 3;
    pub(super) const LIST: u8 = 4;
    pub(super) const MAP: u8 = 5;
    pub(super) const TAG: u8 = 6;
    pub(super) const SIMPLE: u8 = 7;
}

const INDEFINITE: u8 = 31;
const BREAK: u8 = 0xff;
/// The tag of a point in time. Kinesis uses it for milliseconds, where the RFC has seconds.
const TAG_TIME: u64 = 1;

pub(super) fn parse(body: &[u8]) -> Result<Document<'_>, NotADocument> {
    let mut reader = Reader {
        rest: body,
        values_left: MOST_VALUES,
    };
    let document = reader.item(MAX_DEPTH)?;
    if reader.rest.is_empty() {
        Ok(document)
    } else {
        Err(NotADocument)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    values_left: u32,
}

impl<'a> Reader<'a> {
    fn item(&mut self, depth: usize) -> Result<Document<'a>, NotADocument> {
        let depth = depth.checked_sub(1).ok_or(NotADocument)?;
        self.values_left = self.values_left.checked_sub(1).ok_or(NotADocument)?;
        let first = self.byte()?;
        let (major, info) = (first >> 5, first & 0x1f);
        match major {
            major::UNSIGNED => Ok(Document::Integer(
                i64::try_from(self.argument(info)?).unwrap_or(i64::MAX),
            )),
            major::NEGATIVE => Ok(Document::Integer(
                i64::try_from(self.argument(info)?).map_or(i64::MIN, |n| -1 - n),
            )),
            major::BYTES => self.string(info, major::BYTES).map(Document::Bytes),
            major::TEXT => self
                .string(info, major::TEXT)
                .and_then(text)
                .map(Document::String),
            major::LIST => {
                let mut list = Vec::new();
                self.repeat(info, |reader| {
                    list.push(reader.item(depth)?);
                    Ok(())
                })?;
                Ok(Document::List(list))
            }
            major::MAP => {
                let mut map = Vec::new();
                self.repeat(info, |reader| {
                    let Document::String(name) = reader.item(depth)? else {
                        return Err(NotADocument);
                    };
                    map.push((name, reader.item(depth)?));
                    Ok(())
                })?;
                Ok(Document::Map(map))
            }
            major::TAG => {
                let tag = self.argument(info)?;
                let value = self.item(depth)?;
                Ok(if tag == TAG_TIME { time(value) } else { value })
            }
            _ => self.simple(info),
        }
    }

    fn simple(&mut self, info: u8) -> Result<Document<'a>, NotADocument> {
        match info {
            20 => Ok(Document::Boolean(false)),
            21 => Ok(Document::Boolean(true)),
            22 | 23 => Ok(Document::Null),
            25 => Ok(Document::Float(half(u16::from_be_bytes(self.array()?)))),
            26 => Ok(Document::Float(f32::from_be_bytes(self.array()?).into())),
            27 => Ok(Document::Float(f64::from_be_bytes(self.array()?))),
            _ => Err(NotADocument),
        }
    }

    /// A byte or text string. An indefinite one comes in chunks, which have to be joined.
    fn string(&mut self, info: u8, major: u8) -> Result<Cow<'a, [u8]>, NotADocument> {
        if info != INDEFINITE {
            let len = self.argument(info)?;
            return self.take(len).map(Cow::Borrowed);
        }
        let mut whole = Vec::new();
        while !self.at_break()? {
            let chunk = self.byte()?;
            if chunk >> 5 != major || chunk & 0x1f == INDEFINITE {
                return Err(NotADocument);
            }
            let len = self.argument(chunk & 0x1f)?;
            whole.extend_from_slice(self.take(len)?);
        }
        Ok(Cow::Owned(whole))
    }

    fn repeat(
        &mut self,
        info: u8,
        mut each: impl FnMut(&mut Self) -> Result<(), NotADocument>,
    ) -> Result<(), NotADocument> {
        if info == INDEFINITE {
            while !self.at_break()? {
                each(self)?;
            }
            return Ok(());
        }
        // The announced count is limited by the bytes: every item takes at least one.
        for _ in 0..self.argument(info)? {
            each(self)?;
        }
        Ok(())
    }

    fn at_break(&mut self) -> Result<bool, NotADocument> {
        match self.rest.first() {
            Some(&BREAK) => {
                self.rest = &self.rest[1..];
                Ok(true)
            }
            Some(_) => Ok(false),
            None => Err(NotADocument),
        }
    }

    fn argument(&mut self, info: u8) -> Result<u64, NotADocument> {
        match info {
            0..=23 => Ok(info.into()),
            24 => self.byte().map(u64::from),
            25 => self.array().map(u16::from_be_bytes).map(u64::from),
            26 => self.array().map(u32::from_be_bytes).map(u64::from),
            27 => self.array().map(u64::from_be_bytes),
            _ => Err(NotADocument),
        }
    }

    fn byte(&mut self) -> Result<u8, NotADocument> {
        self.array().map(|[byte]: [u8; 1]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NotADocument> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(NotADocument)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], NotADocument> {
        let len = usize::try_from(len).map_err(|_| NotADocument)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(NotADocument)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn text(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, NotADocument> {
    match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes)
            .map(Cow::Borrowed)
            .map_err(|_| NotADocument),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| NotADocument),
    }
}

/// Integers under the tag are milliseconds, as the Java SDK sends them; a fraction can only mean seconds.
fn time(value: Document<'_>) -> Document<'_> {
    match value {
        Document::Integer(milliseconds) => Document::Milliseconds(milliseconds),
        Document::Float(seconds) => {
            milliseconds(seconds).map_or(Document::Float(seconds), Document::Milliseconds)
        }
        other => other,
    }
}

fn half(bits: u16) -> f64 {
    let exponent = i32::from(bits >> 10 & 0x1f);
    let mantissa = f64::from(bits & 0x3ff);
    let magnitude = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

/// Begins a text of `len` bytes, which follow.
pub(super) fn begin_text(out: &mut Vec<u8>, len: usize) {
    write_head(out, major::TEXT, len as u64);
}

/// Begins a byte string of `len` bytes, which follow.
pub(super) fn begin_bytes(out: &mut Vec<u8>, len: usize) {
    write_head(out, major::BYTES, len as u64);
}

pub(super) fn write_unsigned(out: &mut Vec<u8>, value: u64) {
    write_head(out, major::UNSIGNED, value);
}

pub(super) fn write_boolean(out: &mut Vec<u8>, value: bool) {
    write_head(out, major::SIMPLE, if value { 21 } else { 20 });
}

pub(super) fn write_time(out: &mut Vec<u8>, milliseconds: u64) {
    write_head(out, major::TAG, TAG_TIME);
    write_unsigned(out, milliseconds);
}

/// Lists and maps go out with indefinite lengths, as AWS sends them: their sizes need not be known beforehand.
pub(super) fn begin_map(out: &mut Vec<u8>) {
    out.push(major::MAP << 5 | INDEFINITE);
}

pub(super) fn begin_list(out: &mut Vec<u8>) {
    out.push(major::LIST << 5 | INDEFINITE);
}

pub(super) fn end(out: &mut Vec<u8>) {
    out.push(BREAK);
}

/// How many bytes are in front of so many bytes of a string.
pub(super) fn head_len(argument: u64) -> usize {
    match argument {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

fn write_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    match argument {
        0..=23 => out.push(major | argument as u8),
        24..=0xff => out.extend_from_slice(&[major | 24, argument as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&(argument as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&(argument as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&argument.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    fn parsed(text: &str) -> Result<Document<'static>, NotADocument> {
        let bytes: &'static [u8] = hex(text).leak();
        parse(bytes)
    }

    #[test]
    fn a_put_record_of_the_java_sdk_is_understood() {
        let document = parsed(
            "bf6a53747265616d4e616d6563666f6f64446174614568656c6c6f6c506172746974696f6e4b657962706bff",
        );
        assert_eq!(
            document,
            Ok(Document::Map(vec![
                ("StreamName".into(), Document::String("foo".into())),
                ("Data".into(), Document::Bytes(b"hello".as_slice().into())),
                ("PartitionKey".into(), Document::String("pk".into())),
            ]))
        );
    }

    #[test]
    fn tagged_times_are_milliseconds() {
        assert_eq!(
            parsed("c11b0000018bcfe5687b"),
            Ok(Document::Milliseconds(1_700_000_000_123))
        );
        assert_eq!(
            parsed("c1fb41d954fc4007df3b"),
            Ok(Document::Milliseconds(1_700_000_000_123))
        );
    }

    #[test]
    fn examples_of_the_rfc_are_understood() {
        assert_eq!(parsed("20"), Ok(Document::Integer(-1)));
        assert_eq!(parsed("3903e7"), Ok(Document::Integer(-1000)));
        assert_eq!(parsed("1bffffffffffffffff"), Ok(Document::Integer(i64::MAX)));
        assert_eq!(parsed("3bffffffffffffffff"), Ok(Document::Integer(i64::MIN)));
        assert_eq!(parsed("f97bff"), Ok(Document::Float(65504.0)));
        assert_eq!(parsed("f90001"), Ok(Document::Float(5.960464477539063e-8)));
        assert_eq!(parsed("f9c400"), Ok(Document::Float(-4.0)));
        assert_eq!(parsed("fa47c35000"), Ok(Document::Float(100_000.0)));
        assert_eq!(parsed("fb3ff199999999999a"), Ok(Document::Float(1.1)));
        assert_eq!(parsed("f6"), Ok(Document::Null));
        assert_eq!(parsed("f5"), Ok(Document::Boolean(true)));
        assert_eq!(
            parsed("7f657374726561646d696e67ff"),
            Ok(Document::String("streaming".into()))
        );
        assert_eq!(
            parsed("8301820203820405").map(|document| format!("{document:?}").matches("Integer").count()),
            Ok(5)
        );
    }

    #[test]
    fn cut_or_wild_bytes_are_refused_without_trusting_their_lengths() {
        let whole = hex("bf6a53747265616d4e616d6563666f6fff");
        for len in 0..whole.len() {
            assert_eq!(parse(&whole[..len]), Err(NotADocument), "{len} bytes");
        }
        let deep = "81".repeat(100_000) + "00";
        let wide = "9f".to_owned() + &"f6".repeat(MOST_VALUES as usize) + "ff";
        for wild in [
            "5bffffffffffffffff00",
            "9bffffffffffffffff00",
            "ff",
            "1c",
            "bf0102ff",
            "0000",
            "61ff",
            &deep,
            &wide,
        ] {
            assert_eq!(parsed(wild), Err(NotADocument), "{wild:.20}");
        }
    }

    #[test]
    fn heads_are_as_short_as_can_be() {
        for (value, bytes) in [
            (23, "17"),
            (24, "1818"),
            (255, "18ff"),
            (256, "190100"),
            (65_535, "19ffff"),
            (65_536, "1a00010000"),
            (u64::from(u32::MAX) + 1, "1b0000000100000000"),
        ] {
            let mut out = Vec::new();
            write_unsigned(&mut out, value);
            assert_eq!(out, hex(bytes));
        }
    }
}
