//! What the bytes of a log mean: names and places, header pages, frames, records and the sparse index.
//!
//! Nothing here knows an open log. Files are read in stretches, and never written.

pub(super) mod frame;
pub(super) mod frame_cursor;
pub(super) mod frame_home;
pub(super) mod frame_search;
pub(super) mod identity;
pub(super) mod index;
pub(super) mod log_end;
pub(super) mod read_buffers;
pub(super) mod record_codec;
pub(super) mod segment_header;
