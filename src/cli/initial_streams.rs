//! The streams that are created before the server serves: `--create-stream clicks:2@eu-west-1`.

use std::collections::BTreeMap;

use anabranch::kinesis::ServerOptions;
use anabranch::{Error, Namespace, Retention, Store, StreamOptions};
use tracing::info;

use super::Failure;

/// A stream to make: `NAME`, `NAME:SHARDS`, and either with `@REGION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InitialStream {
    name: String,
    shard_count: u32,
    /// `None` is the region of the server.
    region: Option<String>,
}

/// Parses one of the arguments.
pub(super) fn parse(text: &str) -> Result<InitialStream, String> {
    let (text, region) = match text.split_once('@') {
        Some((text, region)) => (text, Some(region)),
        None => (text, None),
    };
    let (name, shards) = match text.split_once(':') {
        Some((name, shards)) => (name, Some(shards)),
        None => (text, None),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(is_plain) {
        return Err(format!(
            "expected the name of a stream, 1 to 128 characters of a-z A-Z 0-9 _ . -, not {name:?}"
        ));
    }
    let shard_count = match shards {
        None => ServerOptions::DEFAULT_SHARD_COUNT,
        Some(shards) => match shards.parse() {
            Ok(count @ 1..) => count,
            _ => {
                return Err(format!(
                    "expected a number of shards after {name}:, as in {name}:2, not {shards:?}"
                ));
            }
        },
    };
    if let Some(region) = region {
        let options = ServerOptions::new("").region(region);
        options.namespace().map_err(|error| error.to_string())?;
    }
    Ok(InitialStream {
        name: name.to_owned(),
        shard_count,
        region: region.map(str::to_owned),
    })
}

/// Makes the streams that do not exist, and leaves the others unchanged. Makes none if not all can be made within
/// `shard_limit`.
pub(super) fn create(
    store: &Store,
    streams: &[InitialStream],
    options: &ServerOptions,
    shard_limit: u64,
    retention: Retention,
) -> Result<(), Failure> {
    let mut missing: BTreeMap<(String, &str), u32> = BTreeMap::new();
    for stream in streams {
        let (name, shard_count) = (stream.name.as_str(), stream.shard_count);
        if let Some(other) = missing.insert((stream.namespace(options)?, name), shard_count)
            && other != shard_count
        {
            return Err(Failure::Usage(format!(
                "--create-stream {name}:{shard_count}: the stream is given with {other} shards too; give it once"
            )));
        }
    }
    let mut wanted: Vec<(Namespace, &str, u32)> = Vec::new();
    for ((namespace, name), shard_count) in missing {
        let streams = store.namespace(&namespace).map_err(Failure::Store)?;
        match streams.stream(name) {
            Ok(_) => info!(
                stream = name,
                namespace, "the stream is there already, and is not changed"
            ),
            Err(Error::StreamNotFound { .. }) => wanted.push((streams, name, shard_count)),
            Err(error) => return Err(Failure::Store(error)),
        }
    }
    let open = store.open_shard_count().map_err(Failure::Store)?;
    let more: u64 = wanted
        .iter()
        .map(|(.., shard_count)| u64::from(*shard_count))
        .sum();
    if more > 0 && open.saturating_add(more) > shard_limit {
        return Err(Failure::Usage(format!(
            "--create-stream: {more} more shards beside the {open} that are open would exceed --shard-limit \
             {shard_limit}; ask for fewer, or raise the limit"
        )));
    }
    for (streams, name, shard_count) in wanted {
        let stream = StreamOptions {
            shard_count,
            retention,
            ..StreamOptions::default()
        };
        streams.create_stream_with(name, stream).map_err(Failure::Store)?;
        let namespace = streams.name();
        info!(stream = name, namespace, shard_count, "the stream is created");
    }
    Ok(())
}

impl InitialStream {
    fn namespace(&self, options: &ServerOptions) -> Result<String, Failure> {
        let options = options.clone();
        let options = match &self.region {
            Some(region) => options.region(region),
            None => options,
        };
        options.namespace().map_err(Failure::Bind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_a_name_and_may_have_a_number_of_shards_and_a_region() {
        for (text, name, shard_count, region) in [
            ("clicks", "clicks", 4, None),
            ("a.b-c_D:1", "a.b-c_D", 1, None),
            ("x:300", "x", 300, None),
            ("x:2@eu-west-1", "x", 2, Some("eu-west-1")),
            ("x@us-gov-east-1", "x", 4, Some("us-gov-east-1")),
        ] {
            let stream = InitialStream {
                name: name.to_owned(),
                shard_count,
                region: region.map(str::to_owned),
            };
            assert_eq!(parse(text), Ok(stream));
        }
        let too_long = "x".repeat(129);
        for wrong in [
            "",
            ":1",
            "a:",
            "a:0",
            "a:-1",
            "a:x",
            "a:1:2",
            "a:99999999999",
            "a b",
            "é",
            "a/b",
            "a@",
            "a@here",
            "a@eu-west-1:2",
            "@eu-west-1",
            &too_long,
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
