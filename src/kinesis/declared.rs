//! The server's declarations of the API, in the terms of the API model.

use serde_json::{Map, Value, json};

use super::operation::{Class, Operation, Resource};
use super::operations::ALL;
use super::shape::{AnyShape, Kind, Lengths, Member};

/// The server's declarations of all operations of Kinesis, as JSON: their inputs and outputs, their exceptions, and
/// whether the server offers them.
///
/// A shape has the same keys as in the model of an AWS SDK (`type`, `required`, `members`, `member`, `key`, `value`,
/// `min`, `max`, `pattern`, `enum`), in place of the name that the model has. It is for comparing the two.
pub fn declared_api() -> String {
    let operations: Map<String, Value> = ALL
        .iter()
        .map(|operation| (operation.name.to_owned(), declared(operation)))
        .collect();
    Value::Object(operations).to_string()
}

fn declared(operation: &Operation) -> Value {
    let class = match operation.class {
        Class::Control => "control",
        Class::Data | Class::Read | Class::Receive | Class::Write => "data",
    };
    let resource = match operation.resource {
        Resource::Account => "account",
        Resource::Stream => "stream",
        Resource::Consumer => "consumer",
        Resource::Queue => "queue",
        Resource::Channel => "channel",
        Resource::Any => "any",
    };
    json!({
        "class": class,
        "resource": resource,
        "input": structure(operation.input),
        "output": structure(operation.output),
        "errors": operation.errors,
    })
}

fn structure(members: &[Member]) -> Value {
    let required: Vec<&str> = members
        .iter()
        .filter(|member| member.shape.required)
        .map(|member| member.name)
        .collect();
    let members: Map<String, Value> = members
        .iter()
        .map(|member| (member.name.to_owned(), shape(&member.shape)))
        .collect();
    json!({ "type": "structure", "required": required, "members": members })
}

fn shape(shape: &AnyShape) -> Value {
    let mut declared = match shape.kind {
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Integer => json!({ "type": "integer" }),
        Kind::Long => json!({ "type": "long" }),
        Kind::String => json!({ "type": "string" }),
        Kind::Blob => json!({ "type": "blob" }),
        Kind::Timestamp => json!({ "type": "timestamp" }),
        Kind::Structure(members) => structure(members),
        Kind::Events(members) => {
            let mut events = structure(members);
            events["type"] = json!("events");
            events
        }
        Kind::List(items) => json!({ "type": "list", "member": with_lengths(items, shape.value_lengths) }),
        Kind::Map(values) => {
            let key = with_lengths(&AnyShape::of(Kind::String), shape.key_lengths);
            json!({ "type": "map", "key": key, "value": with_lengths(values, shape.value_lengths) })
        }
    };
    if let Some(minimum) = shape.minimum {
        declared["min"] = json!(minimum);
    }
    if let Some(maximum) = shape.maximum {
        declared["max"] = json!(maximum);
    }
    if let Some(pattern) = shape.pattern {
        declared["pattern"] = json!(pattern.printed);
    }
    if !shape.one_of.is_empty() {
        declared["enum"] = json!(shape.one_of);
    }
    declared
}

/// The shape of items whose lengths are checked with the list or map that they are in.
fn with_lengths(items: &AnyShape, lengths: Option<Lengths>) -> Value {
    let mut declared = shape(items);
    if let Some(Lengths { minimum, maximum }) = lengths {
        declared["min"] = json!(minimum);
        declared["max"] = json!(maximum);
    }
    declared
}
