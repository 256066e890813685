//! The streams that are there when the server begins to serve: `--create-stream clicks:2`.

use std::collections::BTreeMap;

use anabranch::kinesis::ServerOptions;
use anabranch::{Error, Store};
use tracing::info;

use super::Failure;

/// One stream to be there: `NAME` or `NAME:SHARDS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InitialStream {
    name: String,
    shard_count: u32,
}

/// Reads one of the arguments.
pub(super) fn parse(text: &str) -> Result<InitialStream, String> {
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
    Ok(InitialStream {
        name: name.to_owned(),
        shard_count,
    })
}

/// Makes those of the streams that are not there, and leaves those that are as they are. None is made if not all can be
/// within `shard_limit`.
pub(super) fn create(store: &Store, streams: &[InitialStream], shard_limit: u64) -> Result<(), Failure> {
    let mut missing: BTreeMap<&str, u32> = BTreeMap::new();
    for InitialStream { name, shard_count } in streams {
        if let Some(other) = missing.insert(name, *shard_count)
            && other != *shard_count
        {
            return Err(Failure::Usage(format!(
                "--create-stream {name}:{shard_count}: the stream is given with {other} shards too; give it once"
            )));
        }
    }
    for name in missing.keys().copied().collect::<Vec<_>>() {
        match store.stream(name) {
            Ok(_) => {
                info!(stream = name, "the stream is there already, and stays as it is");
                missing.remove(name);
            }
            Err(Error::StreamNotFound { .. }) => {}
            Err(error) => return Err(Failure::Store(error)),
        }
    }
    let open = store.open_shard_count().map_err(Failure::Store)?;
    let wanted: u64 = missing.values().copied().map(u64::from).sum();
    if wanted > 0 && open.saturating_add(wanted) > shard_limit {
        return Err(Failure::Usage(format!(
            "--create-stream: {wanted} more shards beside the {open} that are open would exceed --shard-limit \
             {shard_limit}; ask for fewer, or raise the limit"
        )));
    }
    for (name, shard_count) in missing {
        store.create_stream(name, shard_count).map_err(Failure::Store)?;
        info!(stream = name, shard_count, "the stream is created");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_a_name_and_may_have_a_number_of_shards() {
        for (text, name, shard_count) in [
            ("clicks", "clicks", 4),
            ("a.b-c_D:1", "a.b-c_D", 1),
            ("x:300", "x", 300),
        ] {
            let name = name.to_owned();
            assert_eq!(parse(text), Ok(InitialStream { name, shard_count }));
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
            &too_long,
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
