//! The size of a request's head.

use hyper::http::request::Parts;

use super::options::{MAX_HEAD_BYTES, MAX_HEADERS};

/// A head of up to this size does not count as memory that its request holds.
pub(crate) const USUAL_HEAD_BYTES: usize = 4 << 10;

/// How large a head is, as HTTP/2 counts (RFC 9113, 6.5.2): 32 bytes for each field besides its name and value.
pub(crate) fn head_bytes(parts: &Parts) -> usize {
    const BESIDES: usize = 32;
    let uri = parts.uri.path_and_query().map_or(1, |uri| uri.as_str().len());
    let fields = parts.headers.iter();
    uri + fields
        .map(|(name, value)| name.as_str().len() + value.len() + BESIDES)
        .sum::<usize>()
}

/// Whether a request is to be answered with status 431.
pub(crate) fn is_head_too_large(parts: &Parts) -> bool {
    head_bytes(parts) > MAX_HEAD_BYTES || parts.headers.len() > MAX_HEADERS
}
