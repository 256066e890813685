//! What a stream is called, how it is run, and which state it is in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::limits::MAX_STREAM_NAME_CHARS;

/// A stream's identity: unique in its store for ever. A stream that is created again under its old name has another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct StreamId(u64);

impl StreamId {
    /// The stream with this number.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The id as an integer.
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who decides how many shards a stream has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum StreamMode {
    /// The owner, by splitting and merging.
    #[default]
    Provisioned,
    /// The service.
    OnDemand,
}

/// A text is not the name of a [`StreamMode`].
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("not a stream mode: expected PROVISIONED or ON_DEMAND")]
pub struct StreamModeError;

impl fmt::Display for StreamMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Provisioned => "PROVISIONED",
            Self::OnDemand => "ON_DEMAND",
        })
    }
}

impl FromStr for StreamMode {
    type Err = StreamModeError;

    fn from_str(text: &str) -> Result<Self, StreamModeError> {
        match text {
            "PROVISIONED" => Ok(Self::Provisioned),
            "ON_DEMAND" => Ok(Self::OnDemand),
            _ => Err(StreamModeError),
        }
    }
}

/// The state of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum StreamStatus {
    /// It has a name, but no shards yet.
    Creating,
    /// It can be written, read and changed.
    Active,
    /// It can be written and read while a change is on its way.
    Updating,
    /// It is being removed.
    Deleting,
}

impl fmt::Display for StreamStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Updating => "UPDATING",
            Self::Deleting => "DELETING",
        })
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
/// A [`StreamNameError`] that says what is wrong.
pub fn check_stream_name(name: &str) -> Result<(), StreamNameError> {
    let allowed = |character: &char| character.is_ascii_alphanumeric() || "_.-".contains(*character);
    if name.is_empty() {
        return Err(StreamNameError::Empty);
    }
    if let Some(character) = name.chars().find(|character| !allowed(character)) {
        return Err(StreamNameError::InvalidCharacter { character });
    }
    if name.len() > MAX_STREAM_NAME_CHARS {
        return Err(StreamNameError::TooLong { chars: name.len() });
    }
    Ok(())
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
    fn modes_and_states_have_the_names_of_the_api() {
        for mode in [StreamMode::Provisioned, StreamMode::OnDemand] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!("on_demand".parse::<StreamMode>(), Err(StreamModeError));
        let states = [
            StreamStatus::Creating,
            StreamStatus::Active,
            StreamStatus::Updating,
            StreamStatus::Deleting,
        ];
        assert_eq!(
            states.map(|state| state.to_string()),
            ["CREATING", "ACTIVE", "UPDATING", "DELETING"]
        );
    }
}
