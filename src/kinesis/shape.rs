//! The types and constraints of members as data, for the checks.
//!
//! One table per operation is used for both checks that come before the operation: whether every member has the right
//! type ([`convert`](super::convert)), and whether its value is within its constraints ([`validate`](super::validate)).
//! Operations write their tables with the typed keys of [`key`](super::key).

/// One member of a structure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) shape: AnyShape,
}

/// The type of a value and its constraints.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnyShape {
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
    /// Whether AWS leaves the value out of its message.
    pub(super) masked: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Boolean,
    /// 32 bits; larger numbers are clamped.
    Integer,
    /// 64 bits. No input has one.
    Long,
    String,
    Blob,
    Timestamp,
    List(&'static AnyShape),
    /// A map from strings.
    Map(&'static AnyShape),
    Structure(&'static [Member]),
    /// The events of a stream, each a structure. No input has one.
    Events(&'static [Member]),
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
    /// `None` for patterns of outputs only.
    pub(super) matches: Option<fn(&str) -> bool>,
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.printed)
    }
}

impl AnyShape {
    pub(super) const fn of(kind: Kind) -> AnyShape {
        AnyShape {
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
}

impl Pattern {
    /// Names of streams, shards and consumers.
    pub(super) const NAME: Pattern = Pattern {
        printed: "[a-zA-Z0-9_.-]+",
        matches: Some(is_name),
    };
    /// A hash key: at most 39 digits, no leading zero.
    pub(super) const HASH_KEY: Pattern = Pattern {
        printed: r"0|([1-9]\d{0,38})",
        matches: Some(|text| is_number(text, 39)),
    };
    /// A sequence number: at most 129 digits, no leading zero.
    pub(super) const SEQUENCE_NUMBER: Pattern = Pattern {
        printed: r"0|([1-9]\d{0,128})",
        matches: Some(|text| is_number(text, 129)),
    };
    pub(super) const STREAM_ARN: Pattern = Pattern {
        printed: r"arn:aws.*:kinesis:.*:\d{12}:stream/\S+",
        matches: Some(is_stream_arn),
    };
    /// ARNs of streams, their consumers, channels and queues.
    pub(super) const RESOURCE_ARN: Pattern = Pattern {
        printed: r"arn:aws.*:kinesis:.*:\d{12}:.*(stream|channel|queue)/\S+",
        matches: Some(super::arn::is_resource),
    };
    pub(super) const CONSUMER_ARN: Pattern = Pattern {
        printed: r"^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+",
        matches: Some(super::arn::is_consumer),
    };
    pub(super) const QUEUE_ARN: Pattern = Pattern {
        printed: r"arn:aws.*:kinesis:.*:\d{12}:queue/\S+",
        matches: Some(super::arn::is_queue),
    };
    /// The id that is the same in all deliveries of a record of a queue.
    pub(super) const RECORD_ID: Pattern = Pattern {
        printed: r"^[a-z0-9]+$",
        matches: None,
    };
    pub(super) const STREAM_ID: Pattern = Pattern {
        printed: "[a-z0-9]{20}-[a-z0-9]{3}",
        matches: Some(is_stream_id),
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
            .filter(|text| pattern.matches.unwrap()(text))
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
