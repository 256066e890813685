//! Compares typed members with the constraints of their shape, and reports failures as AWS does: up to ten in one
//! ValidationException.

use std::fmt::Write as _;

use super::convert::{Input, Value, shown};
use super::error::ApiError;
use super::shape::{AnyShape, Kind, Lengths, Member};

const MOST_FAILURES: usize = 10;

/// Checks every member of `input`, in the order of `members`.
pub(super) fn validate(input: &Input<'_>, members: &'static [Member]) -> Result<(), ApiError> {
    let mut failures = Failures { texts: Vec::new() };
    failures.members(input, members, "");
    if failures.texts.is_empty() {
        Ok(())
    } else {
        Err(exception(&failures.texts))
    }
}

/// The exception for one failure whose value AWS does not repeat, found outside the table: a stream's own limit.
pub(super) fn failed_at(path: &str, constraint: &str) -> ApiError {
    exception(&[format!(
        "Value at '{path}' failed to satisfy constraint: {constraint}"
    )])
}

/// The exception for one member that is required only in some cases.
pub(super) fn missing(path: &str) -> ApiError {
    exception(&[format!(
        "Value null at '{path}' failed to satisfy constraint: Member must not be null"
    )])
}

fn exception(failures: &[String]) -> ApiError {
    let (count, plural) = (failures.len(), if failures.len() == 1 { "" } else { "s" });
    ApiError::validation(format!(
        "{count} validation error{plural} detected: {}",
        failures.join("; ")
    ))
}

struct Failures {
    texts: Vec<String>,
}

impl Failures {
    fn members(&mut self, input: &Input<'_>, members: &'static [Member], parent: &str) {
        for member in members {
            let path = join(parent, &lower_first(member.name));
            self.value(input.value(member.name), &member.shape, &path);
        }
    }

    fn value(&mut self, value: Option<&Value<'_>>, shape: &'static AnyShape, path: &str) {
        let Some(value) = value else {
            if shape.required {
                self.push(None, path, "Member must not be null");
            }
            return;
        };
        let mut fail = |constraint: &str| self.push(Some((value, shape)), path, constraint);
        if let (Some(pattern), Value::String(text)) = (shape.pattern, value)
            && pattern.matches.is_some_and(|matches| !matches(text))
        {
            fail(&format!(
                "Member must satisfy regular expression pattern: {}",
                pattern.printed
            ));
        }
        if let Value::String(text) = value
            && !shape.one_of.is_empty()
            && !shape.one_of.contains(&text.as_ref())
        {
            fail(&format!(
                "Member must satisfy enum value set: [{}]",
                shape.one_of.join(", ")
            ));
        }
        let (measure, size) = match value {
            Value::Integer(number) => ("value", *number),
            other => ("length", length(other)),
        };
        if let Some(minimum) = shape.minimum.filter(|minimum| size < *minimum) {
            fail(&format!(
                "Member must have {measure} greater than or equal to {minimum}"
            ));
        }
        if let Some(maximum) = shape.maximum.filter(|maximum| size > *maximum) {
            fail(&format!(
                "Member must have {measure} less than or equal to {maximum}"
            ));
        }
        if let Value::Map(map) = value {
            let keys = || map.iter().map(|(key, _)| characters(key));
            let values = || map.iter().map(|(_, value)| length(value) as usize);
            if let Some(range) = shape
                .key_lengths
                .filter(|range| keys().any(|len| outside(len, *range)))
            {
                fail(&format!(
                    "Map keys must satisfy constraint: {}",
                    length_constraint(range)
                ));
            }
            if let Some(range) = shape
                .value_lengths
                .filter(|range| values().any(|len| outside(len, *range)))
            {
                fail(&format!(
                    "Map value must satisfy constraint: {}",
                    length_constraint(range)
                ));
            }
        }
        if let Value::List(list) = value {
            let entries = || list.iter().map(|value| length(value) as usize);
            if let Some(range) = shape
                .value_lengths
                .filter(|range| entries().any(|len| outside(len, *range)))
            {
                fail(&format!(
                    "Member must satisfy constraint: {}",
                    length_constraint(range)
                ));
            }
        }
        self.children(value, shape, path);
    }

    fn children(&mut self, value: &Value<'_>, shape: &'static AnyShape, path: &str) {
        match (value, shape.kind) {
            (Value::Structure(structure), Kind::Structure(members)) => self.members(structure, members, path),
            (Value::List(list), Kind::List(items)) => {
                for (at, item) in list.iter().enumerate() {
                    if self.texts.len() >= MOST_FAILURES {
                        return;
                    }
                    self.value(Some(item), items, &format!("{path}.{}.member", at + 1));
                }
            }
            (Value::Map(map), Kind::Map(values)) => {
                for (key, value) in map {
                    if self.texts.len() >= MOST_FAILURES {
                        return;
                    }
                    self.value(Some(value), values, &format!("{path}.{}.member", shown(key)));
                }
            }
            _ => {}
        }
    }

    fn push(&mut self, value: Option<(&Value<'_>, &AnyShape)>, path: &str, constraint: &str) {
        if self.texts.len() >= MOST_FAILURES {
            return;
        }
        let printed = match value {
            None => " null".to_owned(),
            Some((_, shape)) if shape.masked => String::new(),
            Some((value, _)) => format!(" '{}'", shown(&printed(value))),
        };
        self.texts.push(format!(
            "Value{printed} at '{path}' failed to satisfy constraint: {constraint}"
        ));
    }
}

fn outside(len: usize, range: Lengths) -> bool {
    len < range.minimum || len > range.maximum
}

fn length_constraint(Lengths { minimum, maximum }: Lengths) -> String {
    format!(
        "[Member must have length less than or equal to {maximum}, \
         Member must have length greater than or equal to {minimum}]"
    )
}

fn length(value: &Value<'_>) -> i64 {
    let len = match value {
        Value::String(text) => characters(text),
        Value::Blob(bytes) => bytes.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        Value::Boolean(_) | Value::Integer(_) | Value::Timestamp(_) | Value::Structure(_) => 0,
    };
    i64::try_from(len).unwrap_or(i64::MAX)
}

fn characters(text: &str) -> usize {
    text.chars().count()
}

/// A value in the form that Java prints.
fn printed(value: &Value<'_>) -> String {
    match value {
        Value::Boolean(value) => value.to_string(),
        Value::Integer(number) | Value::Timestamp(number) => number.to_string(),
        Value::String(text) => text.clone().into_owned(),
        Value::Blob(bytes) => format!("java.nio.HeapByteBuffer[pos=0 lim={0} cap={0}]", bytes.len()),
        Value::List(list) => {
            format!("[{}]", list.iter().map(printed).collect::<Vec<_>>().join(", "))
        }
        Value::Map(map) => {
            let mut entries = String::new();
            for (at, (key, value)) in map.iter().enumerate() {
                let separator = if at == 0 { "" } else { ", " };
                let _ = write!(entries, "{separator}{key}={}", printed(value));
            }
            format!("{{{entries}}}")
        }
        // AWS prints the class and a hash of the object; the class depends on the place of the structure.
        Value::Structure(_) => "com.amazonaws.kinesis.v20131202.PutRecordsRequestEntry@c965e310".to_owned(),
    }
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

/// AWS writes paths with a small first letter: `streamName`, and `streamARN`.
fn lower_first(name: &str) -> String {
    let mut characters = name.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinesis::key::{
        BLOB, INTEGER, Shape, Structure, TEXT, Text, list, map, members, optional, required, structure,
    };
    use crate::kinesis::protocol::Protocol;
    use crate::kinesis::shape::Pattern;

    const TAG_VALUE: Shape<Text> = TEXT.at_most(3);
    const ENTRY: Shape<Structure> = structure(members![
        required("PartitionKey", TEXT.at_least(1).at_most(4)),
        optional("ExplicitHashKey", TEXT.pattern(Pattern::HASH_KEY)),
        required("Data", BLOB.at_most(5).masked()),
    ]);
    const MEMBERS: &[Member] = members![
        optional("Limit", INTEGER.at_least(1).at_most(10_000)),
        optional("Type", TEXT.one_of(&["LATEST", "TRIM_HORIZON"])),
        optional(
            "Tags",
            map(&TAG_VALUE).at_most(2).key_lengths(1, 3).value_lengths(0, 2)
        ),
        optional("Keys", list(&TEXT).at_least(1).entry_lengths(1, 3)),
        optional("Blob", BLOB.at_most(2)),
        optional("Records", list(&ENTRY).at_most(4).masked()),
        optional("StreamName", TEXT.pattern(Pattern::NAME).at_least(1).at_most(8)),
    ];

    fn check(body: &str) -> Result<(), ApiError> {
        let document = Protocol::Json.parse(body.as_bytes()).unwrap();
        validate(&Input::from_document(document, MEMBERS).unwrap(), MEMBERS)
    }

    #[track_caller]
    fn assert_failures(body: &str, failures: &[&str]) {
        let error = check(body).expect_err(body);
        assert_eq!((error.status, error.kind), (400, "ValidationException"));
        let count = failures.len();
        let errors = if count == 1 { "error" } else { "errors" };
        assert_eq!(
            error.message.unwrap(),
            format!("{count} validation {errors} detected: {}", failures.join("; "))
        );
    }

    #[test]
    fn values_within_their_constraints_pass() {
        assert_eq!(check("{}"), Ok(()));
        assert_eq!(
            check(
                r#"{"Limit":1,"Type":"LATEST","Tags":{"abc":"12"},"Keys":["a"],"StreamName":"a.b",
                    "Records":[{"PartitionKey":"äöüß","Data":"aGVsbG8="}]}"#
            ),
            Ok(())
        );
    }

    #[test]
    fn numbers_are_held_against_their_bounds() {
        assert_failures(
            r#"{"Limit":0}"#,
            &["Value '0' at 'limit' failed to satisfy constraint: \
               Member must have value greater than or equal to 1"],
        );
        assert_failures(
            r#"{"Limit":10001}"#,
            &["Value '10001' at 'limit' failed to satisfy constraint: \
               Member must have value less than or equal to 10000"],
        );
    }

    #[test]
    fn an_empty_name_fails_twice() {
        assert_failures(
            r#"{"StreamName":""}"#,
            &[
                "Value '' at 'streamName' failed to satisfy constraint: \
                 Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+",
                "Value '' at 'streamName' failed to satisfy constraint: \
                 Member must have length greater than or equal to 1",
            ],
        );
    }

    #[test]
    fn values_outside_an_enumeration_are_refused() {
        assert_failures(
            r#"{"Type":"latest"}"#,
            &["Value 'latest' at 'type' failed to satisfy constraint: \
               Member must satisfy enum value set: [LATEST, TRIM_HORIZON]"],
        );
    }

    #[test]
    fn maps_lists_and_blobs_print_as_java_prints_them() {
        assert_failures(
            r#"{"Tags":{"abcd":"1","b":"123","c":"1234"},"Keys":["a","","b"],"Blob":"aGVsbG8="}"#,
            &[
                "Value '{abcd=1, b=123, c=1234}' at 'tags' failed to satisfy constraint: \
                 Member must have length less than or equal to 2",
                "Value '{abcd=1, b=123, c=1234}' at 'tags' failed to satisfy constraint: \
                 Map keys must satisfy constraint: [Member must have length less than or equal to 3, \
                 Member must have length greater than or equal to 1]",
                "Value '{abcd=1, b=123, c=1234}' at 'tags' failed to satisfy constraint: \
                 Map value must satisfy constraint: [Member must have length less than or equal to 2, \
                 Member must have length greater than or equal to 0]",
                "Value '1234' at 'tags.c.member' failed to satisfy constraint: \
                 Member must have length less than or equal to 3",
                "Value '[a, , b]' at 'keys' failed to satisfy constraint: \
                 Member must satisfy constraint: [Member must have length less than or equal to 3, \
                 Member must have length greater than or equal to 1]",
                "Value 'java.nio.HeapByteBuffer[pos=0 lim=5 cap=5]' at 'blob' failed to satisfy constraint: \
                 Member must have length less than or equal to 2",
            ],
        );
    }

    #[test]
    fn members_of_records_are_counted_from_one_and_data_is_never_repeated() {
        assert_failures(
            r#"{"Records":[{"PartitionKey":"a","Data":""},{"ExplicitHashKey":"01","Data":"aGVsbG9v"}]}"#,
            &[
                "Value null at 'records.2.member.partitionKey' failed to satisfy constraint: \
                 Member must not be null",
                "Value '01' at 'records.2.member.explicitHashKey' failed to satisfy constraint: \
                 Member must satisfy regular expression pattern: 0|([1-9]\\d{0,38})",
                "Value at 'records.2.member.data' failed to satisfy constraint: \
                 Member must have length less than or equal to 5",
            ],
        );
    }

    #[test]
    fn at_most_ten_failures_are_reported() {
        let body = format!(r#"{{"Records":[{}{{}}],"StreamName":""}}"#, "{},".repeat(10));
        let message = check(&body).unwrap_err().message.unwrap();
        assert!(message.starts_with(
            "10 validation errors detected: Value at 'records' failed to satisfy constraint: \
             Member must have length less than or equal to 4; Value null at 'records.1.member.partitionKey'"
        ));
        assert_eq!(message.matches("failed to satisfy").count(), 10);
        assert!(!message.contains("streamName"));
    }
}
