//! The input of an operation, made from its declaration by a program.
//!
//! Each member takes a byte: 0 makes it valid if it is required and leaves it out otherwise, a few more values make it
//! valid, and the others make it missing, null, of another type, or at the edge of its range. Then come the bytes of
//! its value.

use serde_json::Value;

use super::served::Known;
use crate::api::Operation;
use crate::base::NOW;
use crate::program::Program;

/// A value before it is encoded.
#[derive(Clone, Debug)]
pub(super) enum Made {
    Null,
    Boolean(bool),
    Number(i64),
    Text(String),
    Blob(Vec<u8>),
    /// Milliseconds.
    Time(i64),
    List(Vec<Made>),
    Map(Vec<(String, Made)>),
}

/// Structures within structures end at this depth, whatever the declaration says.
const DEEPEST: usize = 8;

pub(super) fn made_input(operation: &Operation, program: &mut Program<'_>, known: &Known) -> Made {
    let mut maker = Maker {
        operation: &operation.name,
        known,
        program,
    };
    maker.structure(&operation.declared["input"], 0)
}

struct Maker<'a, 'p> {
    operation: &'a str,
    known: &'a Known,
    program: &'a mut Program<'p>,
}

impl Maker<'_, '_> {
    fn structure(&mut self, shape: &Value, depth: usize) -> Made {
        let Some(members) = shape["members"].as_object().filter(|_| depth < DEEPEST) else {
            return Made::Map(Vec::new());
        };
        let mut names: Vec<&String> = members.keys().collect();
        names.sort();
        let required = shape["required"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let mut made = Vec::new();
        for name in names {
            let is_needed =
                required.iter().any(|required| required == name) || is_wanted(self.operation, name, shape);
            if let Some(value) = self.member(name, &members[name], is_needed, depth) {
                made.push((name.clone(), value));
            }
        }
        Made::Map(made)
    }

    fn member(&mut self, name: &str, shape: &Value, is_needed: bool, depth: usize) -> Option<Made> {
        match self.program.byte() % 16 {
            0 if !is_needed => None,
            0..=9 => Some(self.valid(name, shape, depth)),
            10 => None,
            11 => Some(Made::Null),
            12 => Some(self.of_another_type()),
            _ => Some(self.at_an_edge(name, shape, depth)),
        }
    }

    /// Bytes of zero make a value that a client would send.
    fn valid(&mut self, name: &str, shape: &Value, depth: usize) -> Made {
        if let Some(usual) = self.usual(name) {
            return usual;
        }
        match kind(shape) {
            "boolean" => Made::Boolean(self.program.byte() % 2 == 1),
            "integer" | "long" => {
                let (least, most) = limits(shape);
                let span = u64::try_from(most.saturating_sub(least)).unwrap_or(0).min(255) + 1;
                let above = u64::from(self.program.byte()) % span;
                Made::Number(least.saturating_add_unsigned(above))
            }
            "blob" => {
                let length = usize::from(self.program.byte());
                Made::Blob(self.program.bytes(length).to_vec())
            }
            "timestamp" => {
                let seconds = i64::from(self.program.u16());
                Made::Time(now_millis() - 1_000 * seconds)
            }
            "list" => {
                let least = usize::try_from(limits(shape).0).unwrap_or(1).max(1);
                let entries = least + usize::from(self.program.byte() % 3);
                Made::List(self.entries(name, &shape["member"], entries, depth))
            }
            "map" => {
                let entries = 1 + self.program.byte() % 3;
                let entry = |number| (format!("key-{number}"), Made::Text("value".to_owned()));
                Made::Map((0..entries).map(entry).collect())
            }
            "structure" => self.structure(shape, depth + 1),
            _ => Made::Text(self.valid_text(shape)),
        }
    }

    fn entries(&mut self, name: &str, shape: &Value, entries: usize, depth: usize) -> Vec<Made> {
        (0..entries).map(|_| self.valid(name, shape, depth + 1)).collect()
    }

    fn valid_text(&mut self, shape: &Value) -> String {
        if let Some(names) = shape["enum"].as_array().filter(|names| !names.is_empty()) {
            let name = &names[usize::from(self.program.byte()) % names.len()];
            return name.as_str().unwrap_or_default().to_owned();
        }
        let least = usize::try_from(limits(shape).0).unwrap_or(1).clamp(1, 64);
        format!("{}{}", "a".repeat(least), self.program.byte() % 4)
    }

    /// The usual value of a member of this name.
    fn usual(&mut self, name: &str) -> Option<Made> {
        let usual = self.known.usual(self.operation, name)?;
        Some(match self.program.byte() {
            0..=199 => usual,
            _ => Made::Text(self.known_text()),
        })
    }

    /// A text that has a meaning somewhere, if not here.
    fn known_text(&mut self) -> String {
        let texts = self.known.texts();
        texts[usize::from(self.program.byte()) % texts.len()].clone()
    }

    fn of_another_type(&mut self) -> Made {
        match self.program.byte() % 8 {
            0 => Made::Boolean(true),
            1 => Made::Number(1),
            2 => Made::Text("text".to_owned()),
            3 => Made::Blob(vec![0xff; 5]),
            4 => Made::Time(-1),
            5 => Made::List(vec![Made::Null, Made::List(Vec::new())]),
            6 => Made::Map(vec![("a".to_owned(), Made::Map(Vec::new()))]),
            _ => Made::Map(Vec::new()),
        }
    }

    fn at_an_edge(&mut self, name: &str, shape: &Value, depth: usize) -> Made {
        const MOST_ENTRIES: i64 = 70;
        const LONGEST_TEXT: i64 = 3_000;
        let (least, most) = limits(shape);
        let (below, above) = (least.saturating_sub(1), most.saturating_add(1));
        match kind(shape) {
            "integer" | "long" => {
                let edges = [
                    below,
                    least,
                    most,
                    above,
                    0,
                    -1,
                    i64::from(i32::MAX) + 1,
                    i64::MAX,
                    i64::MIN,
                ];
                Made::Number(edges[usize::from(self.program.byte()) % edges.len()])
            }
            "timestamp" => {
                let edges = [
                    0,
                    -1,
                    i64::MAX,
                    i64::MIN,
                    now_millis(),
                    now_millis() + 1,
                    253_402_300_800_000,
                ];
                Made::Time(edges[usize::from(self.program.byte()) % edges.len()])
            }
            "blob" => {
                let length = [0, 1, 2, 4_096][usize::from(self.program.byte()) % 4];
                Made::Blob(vec![b'x'; length])
            }
            "list" => {
                let entries = [0, below, most, above][usize::from(self.program.byte()) % 4];
                let entries = usize::try_from(entries.clamp(0, MOST_ENTRIES)).unwrap_or(0);
                Made::List(self.entries(name, &shape["member"], entries, depth))
            }
            "map" => {
                let entries = [0, 1, most, above][usize::from(self.program.byte()) % 4];
                let key = ["", "aws:", "\u{e4}", "%"][usize::from(self.program.byte()) % 4];
                let length = usize::from(self.program.byte()) * 2;
                let entry = |number| (format!("{key}{number}"), Made::Text("v".repeat(length)));
                Made::Map((0..entries.clamp(0, MOST_ENTRIES)).map(entry).collect())
            }
            "structure" => Made::Map(Vec::new()),
            "boolean" => Made::Boolean(true),
            _ => match self.program.byte() % 4 {
                0 => Made::Text(self.known_text()),
                1 => {
                    let length = [0, below, most, above][usize::from(self.program.byte()) % 4];
                    let length = usize::try_from(length.clamp(0, LONGEST_TEXT)).unwrap_or(0);
                    Made::Text("9".repeat(length))
                }
                2 => {
                    let length = usize::from(self.program.byte());
                    Made::Text(String::from_utf8_lossy(self.program.bytes(length)).into_owned())
                }
                _ => Made::Text(self.valid_text(shape)),
            },
        }
    }
}

/// Members that the API does not require, but without which the operation cannot succeed.
fn is_wanted(operation: &str, name: &str, shape: &Value) -> bool {
    let has = |member: &str| shape["members"].get(member).is_some();
    match name {
        "StreamName" | "PartitionKey" | "ConsumerARN" => true,
        // An operation that takes an iterator, or a consumer's ARN, needs no stream.
        "StreamARN" => !has("StreamName") && !has("ShardIterator") && !has("ConsumerARN"),
        "S3DestinationConfiguration" => matches!(operation, "CreateChannel" | "UpdateChannel"),
        "StorageConfiguration" => operation == "CreateChannel",
        "DataFreshnessInSeconds" => operation == "UpdateChannel",
        _ => false,
    }
}

fn kind(shape: &Value) -> &str {
    shape["type"].as_str().unwrap_or("string")
}

/// The least and the greatest value, or length.
fn limits(shape: &Value) -> (i64, i64) {
    (
        shape["min"].as_i64().unwrap_or(1),
        shape["max"].as_i64().unwrap_or(i64::from(i32::MAX)),
    )
}

fn now_millis() -> i64 {
    i64::try_from(NOW.as_millis()).unwrap_or(i64::MAX)
}
