//! The manifest's two copies, for tests that damage them.

use std::path::Path;

use anabranch::sim::SimDisk;

/// The first copy's first bytes come before this, the second's behind it.
pub const MANIFEST_STRIPE: usize = 64 * 1024;

/// The position of the last byte in the first copy that is not zero.
pub fn manifest_end(bytes: &[u8]) -> u64 {
    let first = &bytes[..MANIFEST_STRIPE];
    first.iter().rposition(|byte| *byte != 0).unwrap() as u64
}

/// Leaves bytes that could be part of a frame behind the last one, in both copies.
pub fn tear(disk: &SimDisk, manifest: &str) {
    let bytes = disk.rot().read(manifest).unwrap();
    let behind = manifest_end(&bytes).next_multiple_of(8) + 8;
    for copy in [0, MANIFEST_STRIPE as u64] {
        disk.rot().overwrite(manifest, copy + behind, b"torn").unwrap();
    }
}

/// Damages the same byte of both copies, so that neither has it.
pub fn flip_in_both_copies(disk: &SimDisk, manifest: impl AsRef<Path>, offset: u64) {
    for copy in [0, MANIFEST_STRIPE as u64] {
        disk.rot().flip_bit(manifest.as_ref(), copy + offset, 0).unwrap();
    }
}
