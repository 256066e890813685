//! The language in which an operation says what its input looks like.
//!
//! One table per operation drives both checks that come before it: whether every member has the right type
//! ([`convert`](super::convert)), and whether its value is within its constraints ([`validate`](super::validate)).

/// One member of a structure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
}

/// A member named `name`, as operations list them.
pub(super) const fn member(name: &'static str, shape: Shape) -> Member {
    Member { name, shape }
}

/// The type of a value and its constraints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) required: bool,
    pub(super) pattern: Option<Pattern>,
    pub(super) one_of: &'static [&'static str],
    /// Least value of a number; least length of anything else, in characters, entries or bytes.
    pub(super) minimum: Option<i64>,
    /// Greatest value of a number; greatest length of anything else.
    pub(super) maximum: Option<i64>,
    pub(super) key_lengths: Option<Lengths>,
    pub(super) value_lengths: Option<Lengths>,
    /// AWS does not repeat the value in its message.
    pub(super) masked: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Boolean,
    /// 32 bits; larger numbers are clamped.
    Integer,
    String,
    Blob,
    Timestamp,
    List(&'static Shape),
    /// A map from strings.
    Map(&'static Shape),
    Structure(&'static [Member]),
}

/// Least and greatest number of characters of a map's keys, its values, or a list's entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    pub(super) minimum: usize,
    pub(super) maximum: usize,
}

/// A pattern of the API model, as it is printed and as it is matched: against the whole string.
#[derive(Clone, Copy)]
pub(super) struct Pattern {
    pub(super) printed: &'static str,
    pub(super) matches: fn(&str) -> bool,
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.printed)
    }
}

impl Shape {
    const fn of(kind: Kind) -> Shape {
        Shape {
            kind,
            required: false,
            pattern: None,
            one_of: &[],
            minimum: None,
            maximum: None,
            key_lengths: None,
            value_lengths: None,
            masked: false,
        }
    }

    pub(super) const BOOLEAN: Shape = Shape::of(Kind::Boolean);
    pub(super) const INTEGER: Shape = Shape::of(Kind::Integer);
    pub(super) const STRING: Shape = Shape::of(Kind::String);
    pub(super) const BLOB: Shape = Shape::of(Kind::Blob);
    pub(super) const TIMESTAMP: Shape = Shape::of(Kind::Timestamp);

    pub(super) const fn list(items: &'static Shape) -> Shape {
        Shape::of(Kind::List(items))
    }

    pub(super) const fn map(values: &'static Shape) -> Shape {
        Shape::of(Kind::Map(values))
    }

    pub(super) const fn structure(members: &'static [Member]) -> Shape {
        Shape::of(Kind::Structure(members))
    }

    pub(super) const fn required(mut self) -> Shape {
        self.required = true;
        self
    }

    pub(super) const fn pattern(mut self, pattern: Pattern) -> Shape {
        self.pattern = Some(pattern);
        self
    }

    pub(super) const fn one_of(mut self, values: &'static [&'static str]) -> Shape {
        self.one_of = values;
        self
    }

    pub(super) const fn at_least(mut self, minimum: i64) -> Shape {
        self.minimum = Some(minimum);
        self
    }

    pub(super) const fn at_most(mut self, maximum: i64) -> Shape {
        self.maximum = Some(maximum);
        self
    }

    pub(super) const fn key_lengths(mut self, minimum: usize, maximum: usize) -> Shape {
        self.key_lengths = Some(Lengths { minimum, maximum });
        self
    }

    pub(super) const fn value_lengths(mut self, minimum: usize, maximum: usize) -> Shape {
        self.value_lengths = Some(Lengths { minimum, maximum });
        self
    }

    pub(super) const fn masked(mut self) -> Shape {
        self.masked = true;
        self
    }
}

impl Pattern {
    /// Names of streams, shards and consumers.
    pub(super) const NAME: Pattern = Pattern {
        printed: "[a-zA-Z0-9_.-]+",
        matches: is_name,
    };
    /// A hash key: at most 39 digits, no leading zero.
    pub(super) const HASH_KEY: Pattern = Pattern {
        printed: r"0|([1-9]\d{0,38})",
        matches: |text| is_number(text, 39),
    };
    /// A sequence number: at most 129 digits, no leading zero.
    pub(super) const SEQUENCE_NUMBER: Pattern = Pattern {
        printed: r"0|([1-9]\d{0,128})",
        matches: |text| is_number(text, 129),
    };
    pub(super) const STREAM_ARN: Pattern = Pattern {
        printed: r"arn:aws.*:kinesis:.*:\d{12}:stream/\S+",
        matches: is_stream_arn,
    };
    pub(super) const STREAM_ID: Pattern = Pattern {
        printed: "[a-z0-9]{20}-[a-z0-9]{3}",
        matches: is_stream_id,
    };
}

pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn is_number(text: &str, most_digits: usize) -> bool {
    text == "0"
        || text.len() <= most_digits
            && !text.starts_with('0')
            && !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_stream_id(text: &str) -> bool {
    let alphanumeric = |part: &str| part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
    text.split_once('-').is_some_and(|(head, tail)| {
        head.len() == 20 && tail.len() == 3 && alphanumeric(head) && alphanumeric(tail)
    })
}

fn is_stream_arn(text: &str) -> bool {
    super::arn::stream_name(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching<'a>(pattern: Pattern, texts: &[&'a str]) -> Vec<&'a str> {
        texts
            .iter()
            .copied()
            .filter(|text| (pattern.matches)(text))
            .collect()
    }

    #[test]
    fn names_are_letters_digits_and_three_signs() {
        assert_eq!(
            matching(Pattern::NAME, &["a", "a_B.9-", "", "a b", "ä", "a/"]),
            ["a", "a_B.9-"]
        );
    }

    #[test]
    fn numbers_have_no_leading_zero_and_end_at_their_length() {
        let (just, over) = ("9".repeat(39), "9".repeat(40));
        assert_eq!(
            matching(
                Pattern::HASH_KEY,
                &[
                    "0",
                    "10",
                    &just,
                    &over,
                    "",
                    "01",
                    "-1",
                    "1e3",
                    "1.7014118346046923e+38"
                ]
            ),
            ["0", "10", &just]
        );
        let (just, over) = ("1".repeat(129), "1".repeat(130));
        assert_eq!(matching(Pattern::SEQUENCE_NUMBER, &[&just, &over, "00"]), [&just]);
    }

    #[test]
    fn stream_ids_have_twenty_and_three_places() {
        let id = "abcdefghij0123456789-xyz";
        assert_eq!(
            matching(Pattern::STREAM_ID, &[id, &id[1..], "A", &id.to_uppercase()]),
            [id]
        );
    }
}
