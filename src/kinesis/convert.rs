//! Converts the members of a request to the types of the operation's shape, or names the member that cannot be
//! converted.

use std::borrow::Cow;

use base64_simd::STANDARD as BASE64;

use super::error::ApiError;
use super::protocol::{Document, milliseconds};
use super::shape::{AnyShape, Kind, Member};

/// A structure whose members have the types of its shape, without absent and null members. Operations get members by
/// their [keys](super::key).
#[derive(Debug)]
pub(super) struct Input<'a> {
    pub(super) declared: &'static [Member],
    members: Vec<(&'static str, Value<'a>)>,
}

#[derive(Debug)]
pub(super) enum Value<'a> {
    Boolean(bool),
    Integer(i64),
    String(Cow<'a, str>),
    Blob(Cow<'a, [u8]>),
    /// Milliseconds since 1970.
    Timestamp(i64),
    List(Vec<Value<'a>>),
    Map(Vec<(Cow<'a, str>, Value<'a>)>),
    Structure(Input<'a>),
}

impl<'a> Input<'a> {
    /// Converts every member of `document` that is in `members`, in the order of `members`. The first that cannot be
    /// converted is a SerializationException. Members that are not in the shape are ignored.
    pub(super) fn from_document(
        document: Document<'a>,
        members: &'static [Member],
    ) -> Result<Self, ApiError> {
        let Document::Map(document) = document else {
            return Err(ApiError::not_parsable());
        };
        structure(document, members)
    }

    pub(super) fn value(&self, name: &str) -> Option<&Value<'a>> {
        self.members
            .iter()
            .find(|(member, _)| *member == name)
            .map(|(_, value)| value)
    }
}

fn structure<'a>(
    mut document: Vec<(Cow<'a, str>, Document<'a>)>,
    members: &'static [Member],
) -> Result<Input<'a>, ApiError> {
    let mut input = Input {
        declared: members,
        members: Vec::with_capacity(document.len().min(members.len())),
    };
    for member in members {
        let Some(at) = document.iter().rposition(|(name, _)| name == member.name) else {
            continue;
        };
        let value = std::mem::replace(&mut document[at].1, Document::Null);
        if let Some(value) = typed(value, &member.shape)? {
            input.members.push((member.name, value));
        }
    }
    Ok(input)
}

/// The value with the type of `shape`; `None` for null.
fn typed<'a>(value: Document<'a>, shape: &'static AnyShape) -> Result<Option<Value<'a>>, ApiError> {
    if value == Document::Null {
        return Ok(None);
    }
    let value = match shape.kind {
        Kind::Boolean => Value::Boolean(boolean(&value)?),
        Kind::Integer | Kind::Long => Value::Integer(integer(&value)?),
        Kind::String => Value::String(string(value)?),
        Kind::Blob => Value::Blob(blob(value)?),
        Kind::Timestamp => Value::Timestamp(timestamp(&value)?),
        Kind::List(items) => Value::List(list(value, items)?),
        Kind::Map(values) => Value::Map(map(value, values)?),
        Kind::Structure(members) | Kind::Events(members) => match value {
            Document::Map(document) => Value::Structure(structure(document, members)?),
            Document::List(_) => return Err(unexpected_list()),
            _ => return Err(ApiError::serialization("Expected null")),
        },
    };
    Ok(Some(value))
}

fn boolean(value: &Document<'_>) -> Result<bool, ApiError> {
    match value {
        Document::Boolean(value) => Ok(*value),
        Document::String(text) => {
            let shown = shown(text).to_uppercase();
            Err(ApiError::serialization(format!(
                "'{shown}' can not be converted to an Boolean"
            )))
        }
        other => Err(not_convertible(other, "an Boolean")),
    }
}

fn integer(value: &Document<'_>) -> Result<i64, ApiError> {
    let number = match value {
        Document::Integer(number) | Document::Milliseconds(number) => *number,
        // A number that is too large becomes the largest, as on AWS.
        Document::Float(number) if !number.is_nan() => number.floor() as i64,
        other => return Err(not_convertible(other, "an Integer")),
    };
    Ok(number.clamp(i32::MIN.into(), i32::MAX.into()))
}

fn string<'a>(value: Document<'a>) -> Result<Cow<'a, str>, ApiError> {
    match value {
        Document::String(text) => Ok(text),
        other => Err(not_convertible(&other, "an String")),
    }
}

fn timestamp(value: &Document<'_>) -> Result<i64, ApiError> {
    match value {
        Document::Milliseconds(milliseconds) => Ok(*milliseconds),
        Document::Integer(seconds) => Ok(seconds.saturating_mul(1000)),
        Document::Float(seconds) => match milliseconds(*seconds) {
            Some(milliseconds) => Ok(milliseconds),
            None => Err(not_convertible(value, "milliseconds since epoch")),
        },
        other => Err(not_convertible(other, "milliseconds since epoch")),
    }
}

fn blob<'a>(value: Document<'a>) -> Result<Cow<'a, [u8]>, ApiError> {
    match value {
        Document::Bytes(bytes) => Ok(bytes),
        Document::String(text) => match BASE64.decode_to_vec(text.as_bytes()) {
            Ok(bytes) => Ok(Cow::Owned(bytes)),
            Err(_) => Err(not_base64(&text)),
        },
        other => Err(not_convertible(&other, "a Blob")),
    }
}

fn not_base64(text: &str) -> ApiError {
    let len = text.encode_utf16().count();
    let reason = if !len.is_multiple_of(4) {
        format!("Base64 encoded length is expected a multiple of 4 bytes but found: {len}")
    } else if let Some(character) = first_outside_base64(text) {
        format!("Invalid Base64 character: '{character}'")
    } else {
        "Invalid last non-pad Base64 character dectected".to_owned()
    };
    ApiError::serialization(format!(
        "'{}' can not be converted to a Blob: {reason}",
        shown(text)
    ))
}

/// The first character that is not in the alphabet, or is a padding sign followed by something else.
fn first_outside_base64(text: &str) -> Option<char> {
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let fits = match character {
            '=' => characters.peek().is_none_or(|next| *next == '='),
            other => other.is_ascii_alphanumeric() || other == '+' || other == '/',
        };
        if !fits {
            return Some(character);
        }
    }
    None
}

fn list<'a>(value: Document<'a>, items: &'static AnyShape) -> Result<Vec<Value<'a>>, ApiError> {
    let Document::List(list) = value else {
        return Err(match value {
            Document::Map(_) => unexpected_structure(),
            _ => ApiError::serialization("Expected list or null"),
        });
    };
    let mut typed_items = Vec::with_capacity(list.len());
    for item in list {
        match typed(item, items)? {
            Some(value) => typed_items.push(value),
            // A null among structures keeps its place, so that its missing members are reported under it.
            None => {
                if let Kind::Structure(declared) = items.kind {
                    typed_items.push(Value::Structure(Input {
                        declared,
                        members: Vec::new(),
                    }));
                }
            }
        }
    }
    Ok(typed_items)
}

type TypedMap<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

fn map<'a>(value: Document<'a>, values: &'static AnyShape) -> Result<TypedMap<'a>, ApiError> {
    let Document::Map(map) = value else {
        return Err(match value {
            Document::List(_) => unexpected_list(),
            _ => ApiError::serialization("Expected map or null"),
        });
    };
    let mut typed_entries: TypedMap<'a> = Vec::with_capacity(map.len());
    for (key, value) in map {
        if let Some(value) = typed(value, values)? {
            typed_entries.push((key, value));
        }
    }
    Ok(typed_entries)
}

fn unexpected_list() -> ApiError {
    ApiError::serialization("Start of list found where not expected")
}

fn unexpected_structure() -> ApiError {
    ApiError::serialization("Start of structure or map found where not expected.")
}

fn not_convertible(value: &Document<'_>, wanted: &str) -> ApiError {
    let found = match value {
        Document::List(_) => return unexpected_list(),
        Document::Map(_) => return unexpected_structure(),
        Document::Boolean(_) => "java.lang.Boolean",
        Document::String(_) => "java.lang.String",
        Document::Bytes(_) => "java.nio.HeapByteBuffer",
        Document::Null | Document::Integer(_) | Document::Float(_) | Document::Milliseconds(_) => {
            "com.amazon.coral.value.json.numbers.TruncatingBigNumber"
        }
    };
    ApiError::serialization(format!("class {found} can not be converted to {wanted}"))
}

/// The part of a value that a message repeats: a refused body of megabytes is not sent back.
pub(super) fn shown(text: &str) -> &str {
    const MOST_BYTES: usize = 2048;
    let mut end = text.len().min(MOST_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinesis::key::{self, BLOB, BOOLEAN, INTEGER, Key, TEXT, TIME, members, optional};
    use crate::kinesis::protocol::Protocol;

    const BOOLEAN_KEY: Key<Option<key::Boolean>> = optional("Boolean", BOOLEAN);
    const INTEGER_KEY: Key<Option<key::Integer>> = optional("Integer", INTEGER);
    const STRING_KEY: Key<Option<key::Text>> = optional("String", TEXT);
    const BLOB_KEY: Key<Option<key::Blob>> = optional("Blob", BLOB);
    const TIME_KEY: Key<Option<key::Time>> = optional("Time", TIME);
    const DATA_KEY: Key<Option<key::Blob>> = optional("Data", BLOB);
    const ENTRY: key::Shape<key::Structure> = key::structure(members![DATA_KEY]);
    const LIST_KEY: Key<Option<key::List<key::Structure>>> = optional("List", key::list(&ENTRY));
    const MAP_KEY: Key<Option<key::Map<key::Text>>> = optional("Map", key::map(&TEXT));
    const STRUCTURE_KEY: Key<Option<key::Structure>> = optional("Structure", ENTRY);
    const MEMBERS: &[Member] = members![
        BOOLEAN_KEY,
        INTEGER_KEY,
        STRING_KEY,
        BLOB_KEY,
        TIME_KEY,
        LIST_KEY,
        MAP_KEY,
        STRUCTURE_KEY
    ];

    fn convert(body: &str) -> Result<Input<'_>, ApiError> {
        Input::from_document(Protocol::Json.parse(body.as_bytes()).unwrap(), MEMBERS)
    }

    fn refusal(body: &str) -> String {
        let error = convert(body).expect_err(body);
        assert_eq!((error.status, error.kind), (400, "SerializationException"));
        error.message.expect("a text").into_owned()
    }

    #[test]
    fn members_of_the_right_type_are_taken() {
        let input = convert(
            r#"{"Boolean":true,"Integer":7,"String":"s","Blob":"aGVsbG8=","Time":1577836800.123,
                "List":[{"Data":""},null],"Map":{"b":"2","a":"1"},"Structure":{"Data":"AA=="},"Other":1}"#,
        )
        .unwrap();
        assert_eq!(input.get(BOOLEAN_KEY), Some(true));
        assert_eq!(input.get(INTEGER_KEY), Some(7));
        assert_eq!(input.get(STRING_KEY), Some("s"));
        assert_eq!(input.get(BLOB_KEY), Some(b"hello".as_slice()));
        assert_eq!(input.get(TIME_KEY), Some(1_577_836_800_123));
        assert_eq!(
            input
                .get(LIST_KEY)
                .unwrap()
                .map(|entry| entry.get(DATA_KEY))
                .collect::<Vec<_>>(),
            [Some(b"".as_slice()), None]
        );
        assert_eq!(input.get(MAP_KEY).unwrap(), [("b", "2"), ("a", "1")]);
        assert_eq!(
            input.get(STRUCTURE_KEY).unwrap().get(DATA_KEY),
            Some([0].as_slice())
        );
        assert!(input.value("Other").is_none());
    }

    #[test]
    fn null_is_absent_and_the_last_of_two_members_counts() {
        assert!(
            convert(r#"{"String":null,"Map":null}"#)
                .unwrap()
                .members
                .is_empty()
        );
        assert_eq!(
            convert(r#"{"String":1,"String":"s"}"#).unwrap().get(STRING_KEY),
            Some("s")
        );
    }

    #[test]
    fn fractions_are_floored_and_large_numbers_clamped() {
        for (number, integer) in [
            ("1.9", 1),
            ("-1.5", -2),
            ("3000000000", 2_147_483_647),
            ("1e300", 2_147_483_647),
        ] {
            assert_eq!(
                convert(&format!("{{\"Integer\":{number}}}"))
                    .unwrap()
                    .get(INTEGER_KEY),
                Some(integer)
            );
        }
    }

    #[test]
    fn wrong_types_are_refused_in_the_words_of_aws() {
        const NUMBER: &str = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber";
        const LIST: &str = "Start of list found where not expected";
        const STRUCTURE: &str = "Start of structure or map found where not expected.";
        for (member, values) in [
            (
                "Boolean",
                [
                    ("23", format!("{NUMBER} can not be converted to an Boolean")),
                    ("\"abc\"", "'ABC' can not be converted to an Boolean".to_owned()),
                    ("[]", LIST.to_owned()),
                    ("{}", STRUCTURE.to_owned()),
                ],
            ),
            (
                "Integer",
                [
                    (
                        "true",
                        "class java.lang.Boolean can not be converted to an Integer".to_owned(),
                    ),
                    (
                        "\"1\"",
                        "class java.lang.String can not be converted to an Integer".to_owned(),
                    ),
                    ("[]", LIST.to_owned()),
                    ("{}", STRUCTURE.to_owned()),
                ],
            ),
            (
                "String",
                [
                    (
                        "true",
                        "class java.lang.Boolean can not be converted to an String".to_owned(),
                    ),
                    ("23", format!("{NUMBER} can not be converted to an String")),
                    ("[]", LIST.to_owned()),
                    ("{}", STRUCTURE.to_owned()),
                ],
            ),
            (
                "Time",
                [
                    (
                        "true",
                        "class java.lang.Boolean can not be converted to milliseconds since epoch".to_owned(),
                    ),
                    (
                        "\"1\"",
                        "class java.lang.String can not be converted to milliseconds since epoch".to_owned(),
                    ),
                    ("[]", LIST.to_owned()),
                    ("{}", STRUCTURE.to_owned()),
                ],
            ),
            (
                "Blob",
                [
                    (
                        "true",
                        "class java.lang.Boolean can not be converted to a Blob".to_owned(),
                    ),
                    ("23", format!("{NUMBER} can not be converted to a Blob")),
                    ("[]", LIST.to_owned()),
                    ("{}", STRUCTURE.to_owned()),
                ],
            ),
            (
                "List",
                [
                    ("true", "Expected list or null".to_owned()),
                    ("23", "Expected list or null".to_owned()),
                    ("\"s\"", "Expected list or null".to_owned()),
                    ("{}", STRUCTURE.to_owned()),
                ],
            ),
            (
                "Map",
                [
                    ("true", "Expected map or null".to_owned()),
                    ("23", "Expected map or null".to_owned()),
                    ("\"s\"", "Expected map or null".to_owned()),
                    ("[]", LIST.to_owned()),
                ],
            ),
            (
                "Structure",
                [
                    ("true", "Expected null".to_owned()),
                    ("23", "Expected null".to_owned()),
                    ("\"s\"", "Expected null".to_owned()),
                    ("[]", LIST.to_owned()),
                ],
            ),
        ] {
            for (value, text) in values {
                assert_eq!(
                    refusal(&format!("{{\"{member}\":{value}}}")),
                    text,
                    "{member} {value}"
                );
            }
        }
        assert_eq!(refusal(r#"{"List":[{"Data":[]}]}"#), LIST);
        assert_eq!(
            refusal(r#"{"Map":{"a":true}}"#),
            "class java.lang.Boolean can not be converted to an String"
        );
    }

    #[test]
    fn blobs_that_are_not_base64_say_why() {
        for (text, reason) in [
            (
                "23456",
                "Base64 encoded length is expected a multiple of 4 bytes but found: 5",
            ),
            ("=abc", "Invalid Base64 character: '='"),
            ("ab=c", "Invalid Base64 character: '='"),
            ("ab-_", "Invalid Base64 character: '-'"),
            ("AAA AAA=", "Invalid Base64 character: ' '"),
            ("+/+=", "Invalid last non-pad Base64 character dectected"),
            ("AB==", "Invalid last non-pad Base64 character dectected"),
            ("====", "Invalid last non-pad Base64 character dectected"),
        ] {
            assert_eq!(
                refusal(&format!("{{\"Blob\":\"{text}\"}}")),
                format!("'{text}' can not be converted to a Blob: {reason}")
            );
        }
    }

    #[test]
    fn a_refused_value_is_not_repeated_at_length() {
        let text = "é".repeat(1 << 20);
        assert!(refusal(&format!("{{\"Blob\":\"{text}\"}}")).len() < 3000);
    }
}
