//! The rules for tags, and the messages for invalid ones.

use std::collections::BTreeMap;

use crate::kinesis::error::ApiError;
use crate::kinesis::service::Context;

/// The most tags of one resource.
pub(super) const MOST_TAGS: usize = 50;

/// The change of tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Add,
    Remove,
}

/// The resource of a change of tags, in the form for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tagged<'a> {
    pub(super) context: Context<'a>,
    /// `stream`, `consumer`, `queue` or `channel`.
    pub(super) kind: &'static str,
    pub(super) name: &'a str,
}

impl Tagged<'_> {
    /// Checks the characters of tags to be added.
    pub(super) fn check_added(&self, tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
        let texts = tags.iter().flat_map(|(key, value)| [key, value]);
        self.check(Action::Add, texts, tags.keys())
    }

    /// Checks the characters of the keys of tags to be removed.
    pub(super) fn check_removed(&self, keys: &[String]) -> Result<(), ApiError> {
        self.check(Action::Remove, keys.iter(), keys.iter())
    }

    fn check<'t>(
        &self,
        action: Action,
        mut texts: impl Iterator<Item = &'t String> + Clone,
        mut keys: impl Iterator<Item = &'t String>,
    ) -> Result<(), ApiError> {
        let mut characters = texts.clone().flat_map(|text| text.chars());
        if characters.any(|character| !is_allowed(character) && character != '%') {
            return Err(ApiError::invalid_argument(
                "Some tags contain invalid characters. Valid characters: \
                 Unicode letters, digits, white space, _ . / = + - % @.",
            ));
        }
        if texts.any(|text| text.contains('%')) {
            return Err(self.failed(
                action,
                "some tags contained illegal characters. The allowed characters are Unicode letters, white-spaces, \
                 '_',',','/','=','+','-','@'.",
            ));
        }
        if keys.any(|key| is_reserved(key)) {
            return Err(self.failed(
                action,
                "some tags have a key that starts with the reserved prefix aws:.",
            ));
        }
        Ok(())
    }

    /// The refusal of more tags than a resource can have.
    pub(super) fn too_many(&self) -> ApiError {
        let because = format!(
            "a given {} cannot have more than {MOST_TAGS} tags associated with it.",
            self.kind
        );
        self.failed(Action::Add, &because)
    }

    fn failed(&self, action: Action, because: &str) -> ApiError {
        let Tagged { context, kind, name } = self;
        let account = context.account_id();
        let doing = match action {
            Action::Add => "add tags to",
            Action::Remove => "remove tags from",
        };
        ApiError::invalid_argument(format!(
            "Failed to {doing} {kind} {name} under account {account} because {because}"
        ))
    }
}

/// Unicode's letters, digits and spaces and a few signs; and two ranges that AWS accepts, with marks that words of many
/// scripts need.
fn is_allowed(character: char) -> bool {
    character.is_alphanumeric()
        || (character.is_whitespace() && !character.is_control())
        || "_.:/=+-@".contains(character)
        || matches!(character, '\u{c0}'..='\u{1fff}' | '\u{2c00}'..='\u{d7ff}')
}

/// AWS reserves the prefix for its own tags, in capitals too.
fn is_reserved(key: &str) -> bool {
    let prefix = key.as_bytes().first_chunk();
    prefix.is_some_and(|prefix: &[u8; 4]| prefix.eq_ignore_ascii_case(b"aws:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_digits_spaces_and_a_few_signs_are_allowed() {
        let allowed = "abcXYZ019 äßЖ中हिन्दी\u{e9}e\u{301}ＡＢ𝒜½٣_./-=+@:\u{a0}\u{2003}\u{3000}";
        for character in allowed.chars() {
            assert!(is_allowed(character), "{character:?}");
        }
        for character in "%!*;,#&<>\"'\\\t\n\0\u{85}\u{bf}\u{200b}☃😀".chars() {
            assert!(!is_allowed(character), "{character:?}");
        }
    }

    #[test]
    fn keys_of_aws_itself_are_reserved() {
        for key in ["aws:", "aws:cloudformation:stack-name", "AWS:a", "aWs:é"] {
            assert!(is_reserved(key), "{key}");
        }
        for key in ["aws", "awsé", "aws-a", "a", "é", "my:aws:key", " aws:"] {
            assert!(!is_reserved(key), "{key}");
        }
    }
}
