//! The partition keys of lines.

use anabranch::PartitionKey;
use clap::Args;
use serde_json::Value;

#[derive(Debug, Clone, Args)]
pub(super) struct KeyArguments {
    /// The partition key of all records [default: a random one for each]
    #[arg(long, value_name = "KEY", conflicts_with = "key_field", value_parser = whole)]
    key: Option<String>,

    /// The member that is the partition key of a line, which is a JSON object: a text, a number or a boolean
    #[arg(long, value_name = "FIELD")]
    key_field: Option<String>,
}

impl KeyArguments {
    /// The key of a line, or the error of the line.
    pub(super) fn of(&self, line: &[u8]) -> Result<String, String> {
        match (&self.key, &self.key_field) {
            (Some(key), _) => Ok(key.clone()),
            (None, Some(field)) => member(line, field).and_then(|key| whole(&key)),
            (None, None) => Ok(format!("{:032x}", fastrand::u128(..))),
        }
    }
}

fn member(line: &[u8], field: &str) -> Result<String, String> {
    let document = serde_json::from_slice::<Value>(line);
    let document = document.map_err(|error| format!("the line is not JSON: {error}"))?;
    let Value::Object(object) = document else {
        return Err("the line is not a JSON object".to_owned());
    };
    match object.get(field) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
        Some(_) => Err(format!(
            "the member {field:?} is not a text, a number or a boolean"
        )),
        None => Err(format!("there is no member {field:?}")),
    }
}

/// The key, if it is a valid one.
fn whole(key: &str) -> Result<String, String> {
    PartitionKey::check(key).map_err(|error| error.to_string())?;
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_the_key() {
        let by = |field: &str| KeyArguments {
            key: None,
            key_field: Some(field.to_owned()),
        };
        let line = br#"{"id":"u1","n":42,"b":true,"o":{},"e":"","z":null}"#;
        for (field, key) in [("id", "u1"), ("n", "42"), ("b", "true")] {
            assert_eq!(by(field).of(line).as_deref(), Ok(key));
        }
        for (field, part) in [
            ("o", "not a text"),
            ("z", "not a text"),
            ("e", "at least one character"),
            ("x", "no member \"x\""),
        ] {
            let error = by(field).of(line).unwrap_err();
            assert!(error.contains(part), "{field}: {error}");
        }
        assert!(by("id").of(b"[]").unwrap_err().contains("not a JSON object"));
        assert!(by("id").of(b"").unwrap_err().contains("not JSON"));
        let long = format!("{{\"id\":\"{}\"}}", "x".repeat(257));
        assert!(by("id").of(long.as_bytes()).is_err());
    }

    #[test]
    fn without_any_key_it_is_random() {
        let arguments = KeyArguments {
            key: None,
            key_field: None,
        };
        let keys = [arguments.of(b"").unwrap(), arguments.of(b"").unwrap()];
        assert_ne!(keys[0], keys[1]);
    }
}
