//! The keys of a channel's objects.

use super::object::extension;
use crate::error::{Error, InvalidArgument};
use crate::model::{CalendarTime, Destination, RecordNumber, ShardId, Timestamp};

/// Kinesis' default for a channel without a template.
pub(super) const DEFAULT: &str = "kinesis-channel/!{channel-name}/!{channel-id}/!{yyyy}/!{MM}/!{dd}/!{HH}/\
                       !{channel-name}-!{channel-id}-!{yyyy}-!{MM}-!{dd}-!{HH}-!{mm}!{extension}";

/// The longest key of an object, in bytes, as in S3.
const MAX_KEY_BYTES: usize = 1024;

/// The longest part of a key, as for names of files.
const MAX_PART_BYTES: usize = 255;

/// A template whose variables are known: `!{NAME}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyTemplate {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    ChannelName,
    ChannelId,
    StreamName,
    /// Four digits.
    Year,
    /// Its last two digits.
    ShortYear,
    Month,
    Day,
    Hour,
    Minute,
    /// The extension of the format and the compression, or the text behind the colon.
    Extension(Option<String>),
}

/// The values for an object's key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) channel_name: &'a str,
    pub(super) channel_id: &'a str,
    pub(super) stream_name: &'a str,
    pub(super) extension: &'a str,
    /// The arrival of the first record.
    pub(super) arrival: Timestamp,
    pub(super) shard: ShardId,
    pub(super) first: RecordNumber,
    pub(super) last: RecordNumber,
}

impl KeyTemplate {
    /// The template, or the default one.
    pub(super) fn parse(template: Option<&str>) -> Result<Self, Error> {
        let template = template.unwrap_or(DEFAULT);
        let wrong = |reason| {
            let template = template.to_owned();
            Error::from(InvalidArgument::KeyTemplate { template, reason })
        };
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((literal, behind)) = rest.split_once("!{") {
            parts.push(Part::Literal(literal.to_owned()));
            let (name, behind) = behind
                .split_once('}')
                .ok_or_else(|| wrong("has a !{ without a }"))?;
            parts.push(Part::named(name).ok_or_else(|| wrong("has a variable that there is not"))?);
            rest = behind;
        }
        parts.push(Part::Literal(rest.to_owned()));
        parts.retain(|part| !matches!(part, Part::Literal(text) if text.is_empty()));
        Ok(Self { parts })
    }

    /// The key of an object. Kinesis says that it appends a unique suffix: here that is the shard and the numbers of
    /// the first and the last record. In front of it is the channel, if the template does not have that, and behind it
    /// the extension, if the template ends with that. So no object ever replaces one with other records, and the names
    /// of a shard's objects are in the order of its records if the rest is the same.
    pub(super) fn key(&self, named: &Named<'_>) -> String {
        let (parts, extension) = match self.parts.split_last() {
            Some((last @ Part::Extension(_), parts)) => (parts, last.text(named)),
            _ => (&*self.parts, String::new()),
        };
        let mut key: String = parts.iter().map(|part| part.text(named)).collect();
        if !parts.contains(&Part::ChannelId) {
            key = key + "-" + named.channel_id;
        }
        key + &named.unique_suffix() + &extension
    }
}

/// The key of an object with malformed records.
pub(super) fn error_key(prefix: Option<&str>, named: &Named<'_>) -> String {
    let Named {
        channel_name,
        channel_id,
        ..
    } = named;
    let prefix = match prefix {
        Some(prefix) => prefix.to_owned(),
        None => default_error_prefix(channel_name, channel_id),
    };
    let time = CalendarTime::of(named.arrival);
    let suffix = named.unique_suffix();
    format!(
        "{prefix}{:04}/{:02}/{:02}/{:02}/{channel_name}-{channel_id}{suffix}.json",
        time.year, time.month, time.day, time.hour
    )
}

/// The default prefix of the keys of such objects.
pub(super) fn default_error_prefix(channel_name: &str, channel_id: &str) -> String {
    format!("kinesis-channel/errors/{channel_name}/{channel_id}/")
}

/// Refuses a destination if some objects of a channel of this name could not be kept.
pub(super) fn check_keys(
    destination: &Destination,
    channel_name: &str,
    stream_name: &str,
) -> Result<(), Error> {
    let keys = KeyTemplate::parse(destination.key_template.as_deref())?;
    // The names of all shards have the same length.
    let Ok(shard) = ShardId::new(0) else {
        return Ok(());
    };
    let named = Named {
        channel_name,
        // As long as the longest.
        channel_id: &"f".repeat(16 + 1 + 8 + 1 + 8),
        stream_name,
        extension: extension(destination.format, destination.compression),
        arrival: Timestamp::EPOCH,
        shard,
        first: RecordNumber::END,
        last: RecordNumber::END,
    };
    let prefix = destination.error_prefix.as_deref();
    for (template, key) in [
        (destination.key_template.as_deref(), keys.key(&named)),
        (prefix, error_key(prefix, &named)),
    ] {
        let reason = match key.split('/').map(str::len).max() {
            _ if key.len() > MAX_KEY_BYTES => "makes keys of more than 1024 bytes",
            Some(longest) if longest > MAX_PART_BYTES => "makes keys with a part of more than 255 bytes",
            _ if key.split('/').any(|part| matches!(part, "" | "." | "..")) => {
                "makes keys with an empty part, or a part that is . or .."
            }
            _ => continue,
        };
        let template = template.unwrap_or(DEFAULT).to_owned();
        return Err(Error::from(InvalidArgument::KeyTemplate { template, reason }));
    }
    Ok(())
}

impl Named<'_> {
    fn unique_suffix(&self) -> String {
        let (first, last) = (self.first.value(), self.last.value());
        format!("-{}-{first:020}-{last:020}", self.shard)
    }
}

impl Part {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "channel-name" => Self::ChannelName,
            "channel-id" => Self::ChannelId,
            "stream-name" => Self::StreamName,
            "yyyy" => Self::Year,
            "yy" => Self::ShortYear,
            "MM" => Self::Month,
            "dd" => Self::Day,
            "HH" => Self::Hour,
            "mm" => Self::Minute,
            "extension" => Self::Extension(None),
            name => {
                let literal = name.strip_prefix("extension:")?;
                let is_plain = !literal.is_empty() && !literal.contains(['/', '!', '{']);
                is_plain.then(|| Self::Extension(Some(literal.to_owned())))?
            }
        })
    }

    fn text(&self, named: &Named<'_>) -> String {
        let time = CalendarTime::of(named.arrival);
        match self {
            Self::Literal(text) => text.clone(),
            Self::ChannelName => named.channel_name.to_owned(),
            Self::ChannelId => named.channel_id.to_owned(),
            Self::StreamName => named.stream_name.to_owned(),
            Self::Year => format!("{:04}", time.year),
            Self::ShortYear => format!("{:02}", time.year % 100),
            Self::Month => format!("{:02}", time.month),
            Self::Day => format!("{:02}", time.day),
            Self::Hour => format!("{:02}", time.hour),
            Self::Minute => format!("{:02}", time.minute),
            Self::Extension(None) => named.extension.to_owned(),
            Self::Extension(Some(text)) => text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn key(template: Option<&str>) -> String {
        let named = Named {
            channel_name: "archive",
            channel_id: "1-2-beef",
            stream_name: "clicks",
            extension: ".json.gz",
            // 2024-02-29 03:04:05
            arrival: Timestamp::from_seconds(1_709_175_845),
            shard: ShardId::new(3).unwrap(),
            first: RecordNumber::new(7),
            last: RecordNumber::new(12),
        };
        let key = KeyTemplate::parse(template).unwrap().key(&named);
        key.replace(
            "-shardId-000000000003-00000000000000000007-00000000000000000012",
            "-SUFFIX",
        )
    }

    #[test]
    fn keys_are_those_of_kinesis_with_the_unique_suffix_in_front_of_the_extension() {
        assert_eq!(
            key(None),
            "kinesis-channel/archive/1-2-beef/2024/02/29/03/archive-1-2-beef-2024-02-29-03-04-SUFFIX.json.gz"
        );
        assert_eq!(
            key(Some("raw/!{stream-name}/!{yy}!{extension:.ndjson}")),
            "raw/clicks/24-1-2-beef-SUFFIX.ndjson"
        );
        assert_eq!(
            key(Some("!{extension}/!{channel-id}/x")),
            ".json.gz/1-2-beef/x-SUFFIX"
        );
    }

    fn check(template: &str, channel_name: &str, error_prefix: Option<&str>) -> Result<(), Error> {
        let destination = Destination {
            key_template: Some(template.to_owned()),
            error_prefix: error_prefix.map(str::to_owned),
            ..Destination::new("bucket")
        };
        check_keys(&destination, channel_name, "clicks")
    }

    #[test]
    fn a_template_that_makes_keys_which_cannot_be_kept_is_refused() {
        for template in [
            "/a",
            "a//b",
            "a/../b",
            "./a",
            "!{yyyy",
            "!{year}",
            "!{extension:}",
            "!{extension:a/b}",
            "!{extension:..}/a",
            &"a".repeat(200),
            &"a/".repeat(500),
        ] {
            assert!(check(template, "archive", None).is_err(), "{template}");
        }
        for template in ["a..b/!x", "a/", "!{channel-name}/x", "!{extension:.ndjson}"] {
            check(template, "archive", None).unwrap();
        }
        assert!(check("!{channel-name}/x", "..", None).is_err());
        assert!(check_keys(&Destination::new("bucket"), "..", "clicks").is_err());
        check_keys(&Destination::new("bucket"), &"c".repeat(60), "clicks").unwrap();
    }

    #[test]
    fn the_prefix_of_errors_ends_where_it_likes() {
        for prefix in ["errors/", "errors/failed-", "e"] {
            check("x", "archive", Some(prefix)).unwrap();
        }
        for prefix in ["/errors", "a//", "../", "a/../"] {
            assert!(check("x", "archive", Some(prefix)).is_err(), "{prefix}");
        }
    }
}
