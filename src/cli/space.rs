//! The space that a server takes on its disk, and how it reads.

use anabranch::StoreOptions;
use clap::Args;

use super::size::size;

#[derive(Debug, Clone, Args)]
pub(super) struct SpaceArguments {
    /// How large the files become that records are in: 64KiB to 1GiB
    ///
    /// A shard's first files are smaller. Space is given back a file at a time, so smaller ones suit a small disk.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "64MiB",
        value_parser = segment_bytes,
        env = "ANABRANCH_SEGMENT_BYTES"
    )]
    segment_bytes: u64,

    /// How much of the files that are not needed any more is kept, to be written again; 0 for none
    ///
    /// Never more than the disk has free beside: where space is short, deleting a stream gives it back to the disk.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "256MiB",
        value_parser = size,
        env = "ANABRANCH_POOL_BYTES"
    )]
    pool_bytes: u64,

    /// Map the files that are read, instead of reading them into buffers
    ///
    /// Reading much at a time is a little faster then; but a disk that cannot read a mapped page ends the server with
    /// SIGBUS, and again each time that a consumer comes to it. Without this it is an error of the one shard.
    #[arg(long, env = "ANABRANCH_MAP_SEGMENTS")]
    map_segments: bool,

    /// How much of the files is kept mapped with --map-segments
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
