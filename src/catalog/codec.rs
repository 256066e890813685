//! Edits as bytes: the only place that knows bincode.
//!
//! bincode is pinned to its last working version and set to fixed-size little-endian integers; what it makes of each
//! edit is pinned by the golden tests below, so that another codec could take over byte for byte.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};

use super::edit::Edit;

/// A list of edits is never longer, so that a damaged length cannot ask for all memory.
pub(super) const MAX_BYTES: usize = 1 << 30;

const CONFIGURATION: Configuration<LittleEndian, Fixint, Limit<MAX_BYTES>> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding()
    .with_limit::<MAX_BYTES>();

pub(super) fn encode(edits: &[Edit]) -> Result<Vec<u8>, String> {
    bincode::serde::encode_to_vec(edits, CONFIGURATION).map_err(|error| error.to_string())
}

pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Edit>, String> {
    let (edits, read): (Vec<Edit>, usize) =
        bincode::serde::decode_from_slice(bytes, CONFIGURATION).map_err(|error| error.to_string())?;
    if read != bytes.len() {
        return Err(format!("{} bytes follow the edits", bytes.len() - read));
    }
    Ok(edits)
}
