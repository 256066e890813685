//! Amazon resource names, account ids, and the names of regions.

use std::fmt;

use crate::StreamId;

/// `arn:aws:kinesis:REGION:ACCOUNT:stream/NAME`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamArn<'a> {
    pub(super) region: &'a str,
    pub(super) account_id: &'a str,
    pub(super) stream_name: &'a str,
}

impl fmt::Display for StreamArn<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StreamArn {
            region,
            account_id,
            stream_name,
        } = self;
        let partition = partition(region);
        write!(
            formatter,
            "arn:{partition}:kinesis:{region}:{account_id}:stream/{stream_name}"
        )
    }
}

fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// `arn:aws:kinesis:REGION:ACCOUNT:queue/ID` and `…:channel/ID`, where the id stands for a queue or a channel of a
/// stream, and for the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReaderArn<'a> {
    pub(super) region: &'a str,
    pub(super) account_id: &'a str,
    pub(super) kind: ReaderKind,
    pub(super) reader: ReaderName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReaderKind {
    Queue,
    Channel,
}

/// A queue or a channel as in its ARN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReaderName {
    pub(super) stream: StreamId,
    /// Its number among the stream's queues, or among its channels.
    pub(super) number: u32,
    /// Some bits of the store's number, so that an ARN of another store matches nothing here.
    pub(super) store: u32,
}

impl ReaderKind {
    /// The part between the account and the id.
    fn text(self) -> &'static str {
        match self {
            ReaderKind::Queue => ":queue/",
            ReaderKind::Channel => ":channel/",
        }
    }
}

impl fmt::Display for ReaderArn<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReaderArn {
            region,
            account_id,
            kind,
            reader,
        } = self;
        let (partition, kind) = (partition(region), kind.text());
        write!(
            formatter,
            "arn:{partition}:kinesis:{region}:{account_id}{kind}{reader}"
        )
    }
}

impl fmt::Display for ReaderName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReaderName {
            stream,
            number,
            store,
        } = self;
        write!(formatter, "{:x}-{number:x}-{store:08x}", stream.value())
    }
}

impl ReaderName {
    fn parse(text: &str) -> Option<ReaderName> {
        let mut parts = text.split('-');
        let name = ReaderName {
            stream: StreamId::new(u64::from_str_radix(parts.next()?, 16).ok()?),
            number: u32::from_str_radix(parts.next()?, 16).ok()?,
            store: u32::from_str_radix(parts.next()?, 16).ok()?,
        };
        // Only this spelling is accepted.
        (name.to_string() == text).then_some(name)
    }
}

/// `arn:aws:kinesis:REGION:ACCOUNT:stream/NAME/consumer/CONSUMER:CREATED`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConsumerArn<'a> {
    pub(super) stream: StreamArn<'a>,
    pub(super) consumer_name: &'a str,
    pub(super) created_seconds: u64,
}

impl fmt::Display for ConsumerArn<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConsumerArn {
            stream,
            consumer_name,
            created_seconds,
        } = self;
        write!(formatter, "{stream}{CONSUMER}{consumer_name}:{created_seconds}")
    }
}

/// Whether `arn` begins like the API model's
/// `^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+`, and names a consumer.
pub(super) fn is_consumer(arn: &str) -> bool {
    let is_name = |name: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        !name.is_empty() && name.bytes().all(is_plain)
    };
    match resource(arn) {
        ResourceName::Consumer { stream, name, .. } => is_name(stream) && is_name(name),
        ResourceName::Stream(_)
        | ResourceName::Queue(_)
        | ResourceName::Channel(_)
        | ResourceName::Unknown => false,
    }
}

const CONSUMER: &str = "/consumer/";

/// The stream that an ARN names, if `arn` matches the API model's `arn:aws.*:kinesis:.*:\d{12}:stream/\S+`.
///
/// The [scope](super::scope::Scope) decides whose stream that is.
pub(super) fn stream_name(arn: &str) -> Option<&str> {
    behind(":stream/", arn)
}

/// Whether `arn` matches the API model's `arn:aws.*:kinesis:.*:\d{12}:queue/\S+`.
pub(super) fn is_queue(arn: &str) -> bool {
    behind(ReaderKind::Queue.text(), arn).is_some()
}

/// Whether `arn` matches the API model's `arn:aws.*:kinesis:.*:\d{12}:channel/\S+`.
pub(super) fn is_channel(arn: &str) -> bool {
    behind(ReaderKind::Channel.text(), arn).is_some()
}

/// The part of an ARN behind the account and this kind of resource.
fn behind<'a>(kind: &str, arn: &'a str) -> Option<&'a str> {
    let parts = Parts::of(arn)?;
    arn.match_indices(kind).find_map(|(at, _)| {
        let account = at.checked_sub(ACCOUNT_BYTES)?;
        let is_named = account >= parts.service_end && is_account(arn.get(account..at)?);
        (is_named && parts.ends_in_a_word(at + kind.len())).then(|| &arn[at + kind.len()..])
    })
}

/// The region and the account of an ARN, both unchecked.
pub(super) fn region_and_account(arn: &str) -> Option<(&str, &str)> {
    let mut parts = arn.get(Parts::of(arn)?.service_end..)?.split(':');
    Some((parts.next()?, parts.next()?))
}

/// A colon and an account id.
const ACCOUNT_BYTES: usize = 1 + ACCOUNT_ID_BYTES;

fn is_account(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(is_account_id)
}

/// Where the parts of an ARN may begin and end. Each is searched for once, since a too long ARN has not been refused
/// yet.
struct Parts {
    /// Behind `:kinesis:`.
    service_end: usize,
    /// The end of the first line.
    line_end: usize,
    /// The start of the last word.
    word_start: usize,
    len: usize,
}

impl Parts {
    fn of(arn: &str) -> Option<Parts> {
        const ARN: &str = "arn:aws";
        const SERVICE: &str = ":kinesis:";
        let service = arn.strip_prefix(ARN)?.find(SERVICE)?;
        let last_word = arn.rsplit(char::is_whitespace).next()?;
        Some(Parts {
            service_end: ARN.len() + service + SERVICE.len(),
            line_end: arn.find('\n').unwrap_or(arn.len()),
            word_start: arn.len() - last_word.len(),
            len: arn.len(),
        })
    }

    /// Whether the text from here to the end is one word, and the text before it one line.
    fn ends_in_a_word(&self, from: usize) -> bool {
        from <= self.line_end && from >= self.word_start && from < self.len
    }
}

/// The resource that an ARN names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResourceName<'a> {
    Stream(&'a str),
    /// `…:stream/STREAM/consumer/NAME:CREATED`
    Consumer {
        stream: &'a str,
        name: &'a str,
        created_seconds: u64,
    },
    /// `…:queue/ID`
    Queue(ReaderName),
    /// `…:channel/ID`
    Channel(ReaderName),
    /// No resource that can exist.
    Unknown,
}

/// Whether `arn` matches the API model's `arn:aws.*:kinesis:.*:\d{12}:.*(stream|channel|queue)/\S+`.
pub(super) fn is_resource(arn: &str) -> bool {
    let Some(parts) = Parts::of(arn) else {
        return false;
    };
    // The colon in front of the account may not be the one behind the service, since the region's end is between them.
    let mut colons = arn.match_indices(':').map(|(at, _)| at);
    let account = colons.find(|at| {
        let end = at + ACCOUNT_BYTES;
        *at >= parts.service_end && arn.get(*at..end).is_some_and(is_account) && arn[end..].starts_with(':')
    });
    let Some(account) = account else {
        return false;
    };
    ["stream/", "channel/", "queue/"].into_iter().any(|kind| {
        let mut ends = arn.match_indices(kind).map(|(at, _)| (at, at + kind.len()));
        ends.any(|(at, end)| at > account + ACCOUNT_BYTES && parts.ends_in_a_word(end))
    })
}

/// The resource that an ARN names.
pub(super) fn resource(arn: &str) -> ResourceName<'_> {
    let Some(name) = stream_name(arn) else {
        let reader = |kind: ReaderKind| behind(kind.text(), arn).and_then(ReaderName::parse);
        let queue = reader(ReaderKind::Queue).map(ResourceName::Queue);
        let channel = || reader(ReaderKind::Channel).map(ResourceName::Channel);
        return queue.or_else(channel).unwrap_or(ResourceName::Unknown);
    };
    let Some((stream, consumer)) = name.split_once(CONSUMER) else {
        return ResourceName::Stream(name);
    };
    let consumer = consumer
        .rsplit_once(':')
        .filter(|(_, created)| created.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|(name, created)| Some((name, created.parse().ok()?)));
    match consumer {
        Some((name, created_seconds)) => ResourceName::Consumer {
            stream,
            name,
            created_seconds,
        },
        None => ResourceName::Unknown,
    }
}

/// How many digits an account id has.
pub(super) const ACCOUNT_ID_BYTES: usize = 12;

/// Whether `text` is an account id.
pub(super) fn is_account_id(text: &str) -> bool {
    text.len() == ACCOUNT_ID_BYTES && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The longest accepted name of a region. AWS' longest has 14 bytes.
pub(super) const MOST_REGION_BYTES: usize = 32;

/// Whether `text` has the form of a region's name: `eu-west-1`, `us-gov-east-1`. Clients that derive the region from a
/// host name sign for regions such as `0` or `localhost`.
pub(super) fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [area, middle @ .., number] = parts.as_slice() else {
        return false;
    };
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    text.len() <= MOST_REGION_BYTES
        && area.len() >= 2
        && is_word(area)
        && !middle.is_empty()
        && middle.iter().all(is_word)
        && (1..=2).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_names_its_stream() {
        let arn = StreamArn {
            region: "eu-west-1",
            account_id: "000000000000",
            stream_name: "a.b-c_D",
        };
        assert_eq!(
            arn.to_string(),
            "arn:aws:kinesis:eu-west-1:000000000000:stream/a.b-c_D"
        );
        assert_eq!(stream_name(&arn.to_string()), Some("a.b-c_D"));
        let china = StreamArn {
            region: "cn-north-1",
            ..arn
        };
        assert_eq!(
            china.to_string(),
            "arn:aws-cn:kinesis:cn-north-1:000000000000:stream/a.b-c_D"
        );
        assert_eq!(stream_name(&china.to_string()), Some("a.b-c_D"));
    }

    #[test]
    fn what_is_not_a_stream_arn_names_nothing() {
        for text in [
            "",
            "foo",
            "arn:aws:kinesis:eu-west-1:000000000000:stream/",
            "arn:aws:kinesis:eu-west-1:000000000000:stream/a b",
            "arn:aws:kinesis:eu-west-1:00000000000:stream/a",
            "arn:aws:kinesis:eu-west-1:00000000000x:stream/a",
            "arn:aws:kinesis:eu-west-1:000000000000:queue/a",
            "arn:aws:sqs:eu-west-1:000000000000:stream/a",
            "arn:gcp:kinesis:eu-west-1:000000000000:stream/a",
            "arn:aws:kinesis:000000000000:stream/a",
            " arn:aws:kinesis:eu-west-1:000000000000:stream/a",
        ] {
            assert_eq!(stream_name(text), None, "{text}");
        }
    }

    #[test]
    fn the_arn_of_a_resource_names_a_stream_or_a_consumer_or_nothing_that_is_here() {
        const HEAD: &str = "arn:aws:kinesis:eu-west-1:000000000000:";
        for (rest, named) in [
            ("stream/a", ResourceName::Stream("a")),
            (
                "stream/a/consumer/b:1421889722",
                ResourceName::Consumer {
                    stream: "a",
                    name: "b",
                    created_seconds: 1_421_889_722,
                },
            ),
            ("stream/a/consumer/b", ResourceName::Unknown),
            ("stream/a/consumer/b:-1", ResourceName::Unknown),
            ("queue/a", ResourceName::Unknown),
            ("channel/a", ResourceName::Unknown),
            ("my stream/a", ResourceName::Unknown),
            ("stream/stream/", ResourceName::Stream("stream/")),
        ] {
            let arn = format!("{HEAD}{rest}");
            assert!(is_resource(&arn), "{arn}");
            assert_eq!(resource(&arn), named, "{arn}");
        }
        for rest in ["", "stream/", "stream/a b", "topic/a", "a\nstream/b", "stream"] {
            assert!(!is_resource(&format!("{HEAD}{rest}")), "{rest}");
        }
        for text in [
            "",
            "arn:aws:kinesis:000000000000:stream/a",
            "arn:aws:kinesis:eu-west-1:00000000000:stream/a",
            "arn:aws:kinesis:eu-west-1:000000000000stream/a",
            "arn:aws:sqs:eu-west-1:000000000000:queue/a",
            "x:arn:aws:kinesis:eu-west-1:000000000000:stream/a",
        ] {
            assert!(!is_resource(text), "{text}");
        }
    }

    #[test]
    fn the_arn_of_a_queue_or_a_channel_says_which_it_is() {
        let reader = ReaderName {
            stream: StreamId::new(26),
            number: 3,
            store: 0xbeef,
        };
        let arn = ReaderArn {
            region: "eu-west-1",
            account_id: "000000000000",
            kind: ReaderKind::Queue,
            reader,
        };
        let text = "arn:aws:kinesis:eu-west-1:000000000000:queue/1a-3-0000beef";
        assert_eq!(arn.to_string(), text);
        assert!(is_queue(text) && is_resource(text));
        assert_eq!(resource(text), ResourceName::Queue(reader));
        let arn = ReaderArn {
            kind: ReaderKind::Channel,
            ..arn
        };
        let text = "arn:aws:kinesis:eu-west-1:000000000000:channel/1a-3-0000beef";
        assert_eq!(arn.to_string(), text);
        assert!(is_channel(text) && is_resource(text) && !is_queue(text));
        assert_eq!(resource(text), ResourceName::Channel(reader));
        for other in [
            "1A-3-0000beef",
            "01a-3-0000beef",
            "1a-3-beef",
            "1a-3",
            "1a-3-0000beef-",
            "+1a-3-0000beef",
            "jobs",
        ] {
            let text = format!("arn:aws:kinesis:eu-west-1:000000000000:queue/{other}");
            assert!(is_queue(&text));
            assert_eq!(resource(&text), ResourceName::Unknown, "{text}");
        }
        assert!(!is_queue("arn:aws:kinesis:eu-west-1:000000000000:stream/a"));
    }

    #[test]
    fn the_arn_of_a_consumer_has_its_stream_its_name_and_when_it_was_registered() {
        let arn = ConsumerArn {
            stream: StreamArn {
                region: "eu-west-1",
                account_id: "000000000000",
                stream_name: "a.b",
            },
            consumer_name: "c-d",
            created_seconds: 1_421_889_722,
        };
        let text = "arn:aws:kinesis:eu-west-1:000000000000:stream/a.b/consumer/c-d:1421889722";
        assert_eq!(arn.to_string(), text);
        assert!(is_consumer(text));
        for other in [
            "arn:aws:kinesis:eu-west-1:000000000000:stream/a.b",
            "arn:aws:kinesis:eu-west-1:000000000000:stream/a.b/consumer/c",
            "arn:aws:kinesis:eu-west-1:000000000000:stream/a.b/consumer/:1",
            "arn:aws:kinesis:eu-west-1:000000000000:stream/a.b/consumer/c d:1",
            "arn:aws:kinesis:eu-west-1:000000000000:stream/a.b/consumer/c:x",
            "arn:aws:kinesis:eu-west-1:000000000000:stream/a.b/consumer/c:+1",
            "arn:aws:kinesis:eu-west-1:000000000000:queue/a/consumer/c:1",
            "",
        ] {
            assert!(!is_consumer(other), "{other}");
        }
    }

    #[test]
    fn megabytes_in_place_of_an_arn_are_looked_at_once() {
        let many = |part: &str| format!("arn:aws:kinesis:{} ", part.repeat((8 << 20) / part.len()));
        for part in [":stream/", ":000000000000:stream/a", ":kinesis:", ":", "queue/"] {
            let text = many(part);
            assert_eq!((stream_name(&text), is_resource(&text)), (None, false), "{part}");
        }
    }

    #[test]
    fn regions_are_told_from_hosts() {
        for region in [
            "us-east-1",
            "eu-west-1",
            "us-gov-east-1",
            "ap-southeast-5",
            "us-isob-east-1",
        ] {
            assert!(is_region(region), "{region}");
        }
        for other in [
            "",
            "0",
            "127",
            "localhost",
            "us-east-",
            "us-1",
            "-east-1",
            "US-EAST-1",
            "a-b-1",
            "us-east-1a",
        ] {
            assert!(!is_region(other), "{other}");
        }
    }
}
