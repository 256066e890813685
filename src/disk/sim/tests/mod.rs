mod crash;
mod faults;
mod plain;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::contents::SECTOR_BYTES;
use super::{LossMode, SimDisk};
use crate::disk::{Disk, DiskFile, LockError, OpenMode};

const POWER_LOSS: [LossMode; 3] = [LossMode::Prefix, LossMode::Random, LossMode::LoseAll];
const SECTOR: u64 = SECTOR_BYTES as u64;

fn at(path: &str) -> &Path {
    Path::new(path)
}

fn create(disk: &SimDisk, path: &str) -> Arc<dyn DiskFile> {
    disk.open(at(path), OpenMode::CreateNew).unwrap()
}

/// A file whose name and bytes are durable.
fn durable(disk: &SimDisk, path: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
    let file = create(disk, path);
    file.write_all_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(at(path).parent().unwrap()).unwrap();
    file
}

fn durable_dir(disk: &SimDisk, path: &str) {
    disk.create_dir(at(path)).unwrap();
    disk.sync_dir(at(path).parent().unwrap()).unwrap();
}

fn bytes(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    disk.rot().read(path).ok()
}

fn paths(disk: &SimDisk) -> Vec<String> {
    disk.rot()
        .files()
        .into_iter()
        .map(|(path, _)| path.to_str().unwrap().to_owned())
        .collect()
}

/// What `look` sees after many crashes of this one moment.
fn outcomes<T: Ord>(disk: &SimDisk, mode: LossMode, look: impl Fn(&SimDisk) -> T) -> BTreeSet<T> {
    (0..400).map(|_| look(&disk.image(mode))).collect()
}
