//! The inputs that are checked in: one of each kind to begin with, and whatever once failed.

use std::path::PathBuf;

fn directory(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}

/// All inputs with their names, in the order of those.
pub(crate) fn read(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut inputs: Vec<_> = std::fs::read_dir(directory(target))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    inputs.sort();
    inputs
}

pub(crate) fn write(target: &str, seeds: Vec<(String, Vec<u8>)>) {
    std::fs::create_dir_all(directory(target)).unwrap();
    for (name, bytes) in seeds {
        std::fs::write(directory(target).join(name), bytes).unwrap();
    }
}
