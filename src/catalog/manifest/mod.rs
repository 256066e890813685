//! The manifest: the file of edits that makes the catalog of a directory durable.
//!
//! ```text
//! DIR/CURRENT              names the manifest in force: its name, a blank, the CRC-32 of the name in hex, a line feed
//! DIR/MANIFEST-000007      a header, a frame with a snapshot, and frames with the edits since ([`format`])
//! ```
//! Each frame is synced before the next is written, so a whole frame behind a damaged one shows that the damaged one
//! had been durable; only a damaged last frame can be a torn one.
//!
//! All of this is in the file twice ([`copies`]). A frame is taken from the copy in which it is whole, and opening a
//! manifest with a damaged frame rewrites it. So an edit is lost only if both copies are damaged at the same place.
//!
//! Room for further frames is reserved ahead, as zeros, so that a full disk is noticed before a frame is begun.

mod copies;
mod copy;
mod current;
mod file;
mod followed;
mod format;
mod new_store;
mod survey;
mod walk;

pub(crate) use copy::{name_manifest_of_copy, write_manifest_of_copy};
pub(crate) use current::{manifest_name, parse_current, parse_manifest_name};
pub(crate) use file::{COMPACTION_BYTES, Home, Manifest};
pub(crate) use followed::FollowedManifest;
pub(crate) use new_store::{MANIFEST_OF_COPY, UNFINISHED, is_of_the_file_system, is_unfinished_copy};
pub(crate) use survey::{ManifestSurvey, survey_manifest, write_manifest};
