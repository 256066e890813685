//! The names of streams, and the rules for them.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::limits::{MAX_NAMESPACE_CHARS, MAX_STREAM_NAME_CHARS};

/// A stream's name, with the namespace in which it is unique.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub(crate) struct StreamName {
    /// Empty for programs that need only one.
    pub(crate) namespace: String,
    /// The name in the namespace.
    pub(crate) local: String,
}

impl StreamName {
    pub(crate) fn new(namespace: &str, local: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            local: local.to_owned(),
        }
    }

    /// Parses the form that `Display` writes. No local name has a slash.
    pub(crate) fn parse(text: &str) -> Self {
        let (namespace, local) = text.rsplit_once('/').unwrap_or(("", text));
        Self::new(namespace, local)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => f.write_str(&self.local),
            namespace => write!(f, "{namespace}/{}", self.local),
        }
    }
}

/// Why a text cannot name a stream.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum StreamNameError {
    /// It has no characters.
    #[error("a stream's name has at least one character")]
    Empty,
    /// It has more than [`MAX_STREAM_NAME_CHARS`] characters.
    #[error("a stream's name has at most {MAX_STREAM_NAME_CHARS} characters, this one has {chars}")]
    TooLong {
        /// How many it has.
        chars: usize,
    },
    /// It has a character other than ASCII letters, digits, `_`, `.` and `-`.
    #[error("a stream's name is made of a-z, A-Z, 0-9, `_`, `.` and `-`, not {character:?}")]
    InvalidCharacter {
        /// The first such character.
        character: char,
    },
}

/// Checks that a stream can have this name: 1 to 128 characters of `[a-zA-Z0-9_.-]`.
///
/// # Errors
/// A [`StreamNameError`] with the reason.
pub fn check_stream_name(name: &str) -> Result<(), StreamNameError> {
    if name.is_empty() {
        return Err(StreamNameError::Empty);
    }
    if let Some(character) = name.chars().find(|character| !is_plain(*character)) {
        return Err(StreamNameError::InvalidCharacter { character });
    }
    if name.len() > MAX_STREAM_NAME_CHARS {
        return Err(StreamNameError::TooLong { chars: name.len() });
    }
    Ok(())
}

/// Whether a namespace can have this name: up to 128 characters of `[a-zA-Z0-9_.-]` and slashes between them.
pub(crate) fn is_namespace(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.chars().all(is_plain);
    name.is_empty() || name.len() <= MAX_NAMESPACE_CHARS && name.split('/').all(is_part)
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_.-".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_1_to_128_plain_characters() {
        for name in ["a", "Clicks_2.eu-west", "..", &"x".repeat(128)] {
            assert_eq!(check_stream_name(name), Ok(()), "{name}");
        }
        assert_eq!(check_stream_name(""), Err(StreamNameError::Empty));
        assert_eq!(
            check_stream_name(&"x".repeat(129)),
            Err(StreamNameError::TooLong { chars: 129 })
        );
        for (name, character) in [("a b", ' '), ("a/b", '/'), ("caf\u{e9}", '\u{e9}')] {
            assert_eq!(
                check_stream_name(name),
                Err(StreamNameError::InvalidCharacter { character })
            );
        }
    }

    #[test]
    fn a_namespace_is_made_of_plain_parts() {
        for name in ["", "a", "123456789012/us-east-1", "a/b/c", &"x".repeat(128)] {
            assert!(is_namespace(name), "{name}");
        }
        for name in ["/", "/a", "a/", "a//b", "a b", &"x".repeat(129)] {
            assert!(!is_namespace(name), "{name}");
        }
    }

    #[test]
    fn a_name_in_a_namespace_reads_back() {
        for name in [
            StreamName::new("", "clicks"),
            StreamName::new("123456789012/us-east-1", "clicks"),
        ] {
            assert_eq!(StreamName::parse(&name.to_string()), name);
        }
    }
}
