//! 128-bit integers in stored form: 16 bytes, or decimal digits in a text for people, since programs that read JSON
//! lose digits of numbers with more than 53 bits.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub(crate) fn serialize<S: Serializer>(value: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    match serializer.is_human_readable() {
        true => serializer.collect_str(value),
        false => value.serialize(serializer),
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
    match deserializer.is_human_readable() {
        true => String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom),
        false => u128::deserialize(deserializer),
    }
}
