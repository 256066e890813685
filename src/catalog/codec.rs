//! Edits as bytes: the only place that knows bincode.
//!
//! bincode is pinned to its last working version and set to fixed-size little-endian integers. The golden store pins
//! the bytes of the edits, so that another codec could produce the same bytes.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};

use super::edit::Edit;

/// The longest list of edits. Its length fits a `u32`, and it can be decoded again.
pub(super) const MAX_BYTES: usize = 1 << 30;

const fn configuration<const LIMIT: usize>() -> Configuration<LittleEndian, Fixint, Limit<LIMIT>> {
    bincode::config::standard()
        .with_little_endian()
        .with_fixed_int_encoding()
        .with_limit::<LIMIT>()
}

pub(crate) fn encode(edits: &[Edit]) -> Result<Vec<u8>, String> {
    encode_within(edits, MAX_BYTES)
}

/// bincode checks the limit only when it decodes.
fn encode_within(edits: &[Edit], limit: usize) -> Result<Vec<u8>, String> {
    let bytes = bincode::serde::encode_to_vec(edits, configuration::<MAX_BYTES>())
        .map_err(|error| error.to_string())?;
    match bytes.len() <= limit {
        true => Ok(bytes),
        false => Err(format!("it has {} bytes, and {limit} can be read", bytes.len())),
    }
}

/// bincode allocates the length that it finds inside the edits before it checks whether there are as many bytes, up to
/// a limit that is fixed at compile time. So there are several limits, and a list is decoded with the next larger one.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Edit>, String> {
    const SMALL: usize = 64 << 10;
    const MEDIUM: usize = 1 << 20;
    const LARGE: usize = 32 << 20;
    match bytes.len() {
        length if length <= SMALL => decode_within::<SMALL>(bytes),
        length if length <= MEDIUM => decode_within::<MEDIUM>(bytes),
        length if length <= LARGE => decode_within::<LARGE>(bytes),
        _ => decode_within::<MAX_BYTES>(bytes),
    }
}

fn decode_within<const LIMIT: usize>(bytes: &[u8]) -> Result<Vec<Edit>, String> {
    let (edits, read): (Vec<Edit>, usize) =
        bincode::serde::decode_from_slice(bytes, configuration::<LIMIT>())
            .map_err(|error| error.to_string())?;
    if read != bytes.len() {
        return Err(format!("{} bytes follow the edits", bytes.len() - read));
    }
    Ok(edits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Checkpoint, StreamId};

    /// Edits of exactly this length, for tests of a limit.
    fn edits_of(bytes: usize) -> Vec<Edit> {
        let with_name = |name: String| {
            vec![Edit::CheckpointSaved {
                stream: StreamId::new(1),
                name,
                checkpoint: Checkpoint {
                    store: 1,
                    stream: StreamId::new(1),
                    next: std::collections::BTreeMap::new(),
                },
            }]
        };
        let around = encode(&with_name(String::new())).unwrap().len();
        with_name("n".repeat(bytes - around))
    }

    #[test]
    fn a_list_is_decoded_however_its_length_lies_to_the_limits() {
        for limit in [64 << 10, 1 << 20, 32 << 20] {
            for bytes in [limit - 1, limit, limit + 1] {
                let edits = edits_of(bytes);
                let encoded = encode(&edits).unwrap();
                assert_eq!(encoded.len(), bytes);
                assert!(decode(&encoded).unwrap() == edits, "{bytes} bytes");
            }
        }
    }

    #[test]
    fn what_is_too_long_to_be_read_is_not_written() {
        let edits = edits_of(1_000);
        assert_eq!(encode_within(&edits, 1_000).unwrap().len(), 1_000);
        let refused = encode_within(&edits, 999).unwrap_err();
        assert!(refused.contains("1000 bytes"), "{refused}");
        // What `encode` accepts, `decode` accepts, and its length fits a frame.
        assert!(u32::try_from(MAX_BYTES).is_ok());
    }

    #[test]
    fn a_name_that_is_longer_than_the_list_is_refused_by_its_length() {
        let mut encoded = encode(&edits_of(100)).unwrap();
        // The name's length is behind the number of edits, the variant and the stream.
        encoded[20..28].copy_from_slice(&(1_u64 << 28).to_le_bytes());
        assert_eq!(decode(&encoded).unwrap_err(), "LimitExceeded");
    }
}
