//! `CURRENT`, which names the manifest in force.

use std::path::Path;

use crate::disk::{Disk, OpenMode, Step, passes, perform};
use crate::error::{Error, Result};

/// Writes a new `CURRENT` beside the one in force.
pub(super) fn prepare_current(disk: &dyn Disk, directory: &Path, number: u64) -> Result<()> {
    let temporary = directory.join("CURRENT.new");
    let cannot = |operation| move |error| Error::preparing(operation, &directory.join("CURRENT"), error);
    let file = disk
        .open(&temporary, OpenMode::Truncate)
        .map_err(cannot("create"))?;
    file.write_all_at(&encode_current(number), 0)
        .map_err(cannot("write"))?;
    perform(Step::CurrentSync, || file.sync_data()).map_err(cannot("sync"))
}

pub(super) fn replace_current(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let current = directory.join("CURRENT");
    disk.rename(&directory.join("CURRENT.new"), &current)
        .map_err(|error| Error::preparing("replace", &current, error))
}

pub(super) fn sync_current(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let cannot = |error| Error::preparing("sync the directory of", &directory.join("CURRENT"), error);
    perform(Step::CurrentNameSync, || disk.sync_dir(directory)).map_err(cannot)
}

/// The name of the manifest with this number.
pub(crate) fn manifest_name(number: u64) -> String {
    format!("MANIFEST-{number:06}")
}

/// The number in the name of a manifest.
pub(crate) fn parse_manifest_name(name: &str) -> Option<u64> {
    name.strip_prefix("MANIFEST-")?.parse().ok()
}

fn encode_current(number: u64) -> Vec<u8> {
    let name = manifest_name(number);
    format!("{name} {:08x}\n", crc32fast::hash(name.as_bytes())).into_bytes()
}

/// The number of the manifest that the content of `CURRENT` names.
pub(crate) fn parse_current(bytes: &[u8]) -> Option<u64> {
    let number = parse_manifest_name(std::str::from_utf8(bytes).ok()?.split(' ').next()?)?;
    passes(Step::CurrentChecksum, bytes == encode_current(number)).then_some(number)
}
