//! Amazon resource names of streams, and the names of regions.

use std::fmt;

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
        let partition = match region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        write!(
            formatter,
            "arn:{partition}:kinesis:{region}:{account_id}:stream/{stream_name}"
        )
    }
}

/// The stream that an ARN names, if `arn` matches the API model's `arn:aws.*:kinesis:.*:\d{12}:stream/\S+`.
///
/// A server holds the streams of one account and one region, so the ARN's own are not compared with anything.
pub(super) fn stream_name(arn: &str) -> Option<&str> {
    const RESOURCE: &str = ":stream/";
    arn.match_indices(RESOURCE).find_map(|(at, _)| {
        let name = &arn[at + RESOURCE.len()..];
        let (head, account_id) = arn[..at].rsplit_once(':')?;
        let is_account = account_id.len() == 12 && account_id.bytes().all(|byte| byte.is_ascii_digit());
        let is_kinesis = head.strip_prefix("arn:aws")?.contains(":kinesis:") && !head.contains('\n');
        let is_word = !name.is_empty() && !name.contains(char::is_whitespace);
        (is_account && is_kinesis && is_word).then_some(name)
    })
}

/// Whether `text` looks like a region's name: `eu-west-1`, `us-gov-east-1`. Clients that derive the region from a
/// host name sign for regions such as `0` or `localhost`.
pub(super) fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [area, middle @ .., number] = parts.as_slice() else {
        return false;
    };
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    area.len() >= 2
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
