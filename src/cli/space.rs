//! The space that a server takes on its disk, and how it reads.

use anabranch::StoreOptions;
use clap::Args;

use super::size::size;

#[derive(Debug, Clone, Args)]
pub(super) struct SpaceArguments {
    /// The size of a segment, a file with records: 64KiB to 1GiB
    ///
    /// A shard's first segments are smaller. Space is freed a whole segment at a time, so use small segments on a small
    /// disk.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "64MiB",
        value_parser = segment_bytes,
        env = "ANABRANCH_SEGMENT_BYTES"
    )]
    segment_bytes: u64,

    /// How many bytes of segment files that are no longer needed are kept for reuse; 0 for none
    ///
    /// The server never keeps more than the disk has free besides. So if space is short, deleting a stream frees space
    /// on the disk.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "256MiB",
        value_parser = size,
        env = "ANABRANCH_POOL_BYTES"
    )]
    pool_bytes: u64,

    /// Map segments into memory, instead of reading them into buffers
    ///
    /// This makes large reads a little faster. But if the disk cannot read a mapped page, the server ends with SIGBUS,
    /// and does so again each time that a consumer reaches that page. Without this option, it is an error of that shard
    /// alone.
    #[arg(long, env = "ANABRANCH_MAP_SEGMENTS")]
    map_segments: bool,

    /// How many bytes of segments are kept mapped with --map-segments
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "256MiB",
        value_parser = size,
        env = "ANABRANCH_MAPPED_BYTES"
    )]
    mapped_bytes: u64,
}

impl SpaceArguments {
    pub(super) fn given_to(&self, options: StoreOptions) -> StoreOptions {
        options
            .segment_bytes(self.segment_bytes)
            .max_recycled_bytes(self.pool_bytes)
            .map_sealed_segments(self.map_segments)
            .max_mapped_bytes(self.mapped_bytes)
    }
}

fn segment_bytes(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    match (64 << 10..=1 << 30).contains(&bytes) {
        true => Ok(bytes),
        false => Err("expected 64KiB to 1GiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_have_a_least_and_a_most_size() {
        for (text, bytes) in [
            ("64KiB", Ok(64 << 10)),
            ("1GiB", Ok(1 << 30)),
            ("65536", Ok(64 << 10)),
        ] {
            assert_eq!(segment_bytes(text), bytes);
        }
        for wrong in ["65535", "1025MiB", "0", "x"] {
            assert!(segment_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
