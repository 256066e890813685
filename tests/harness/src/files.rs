//! Directories: their contents, copies of them, and their modes.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// The bytes of a file, none for a directory, and when it was last changed.
pub type Entry = (Option<Vec<u8>>, SystemTime);

/// Where tests that are not about the disk make their directories. That is in memory, where a sync costs nothing, if
/// the system has enough of it and no other place was set for the tests.
pub fn quick_parent() -> PathBuf {
    const ENOUGH_BYTES: u64 = 2 << 30;
    let memory = Path::new("/dev/shm");
    let has_room = || rustix::fs::statvfs(memory).is_ok_and(|is| is.f_bavail * is.f_frsize >= ENOUGH_BYTES);
    match std::env::var_os("TMPDIR").is_none() && has_room() {
        true => memory.to_owned(),
        false => std::env::temp_dir(),
    }
}

/// An empty directory in [`quick_parent`] for files that are used until this process ends. A shell then removes it,
/// however the process ends.
pub fn directory_of_process() -> PathBuf {
    let directory = tempfile::tempdir_in(quick_parent()).unwrap().keep();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "cat >/dev/null; sleep 1; rm -rf \"$0\""])
        .arg(&directory);
    let shell = shell
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // The shell's input ends with this process, since it is never closed.
    std::mem::forget(shell.spawn().unwrap().stdin);
    directory
}

/// The entries of a directory, with the directory itself.
pub fn tree(directory: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut tree = BTreeMap::new();
    let mut paths = vec![directory.to_owned()];
    while let Some(path) = paths.pop() {
        let modified = path.metadata().unwrap().modified().unwrap();
        let bytes = if path.is_dir() {
            paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            None
        } else {
            Some(fs::read(&path).unwrap())
        };
        tree.insert(path, (bytes, modified));
    }
    tree
}

/// The files below a directory, and their bytes.
pub fn all_files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    tree(directory)
        .into_iter()
        .filter_map(|(path, (bytes, _))| Some((path, bytes?)))
        .collect()
}

pub fn set_modes(directory: &Path, of_directories: u32, of_files: u32) {
    for path in tree(directory).keys() {
        let mode = if path.is_dir() { of_directories } else { of_files };
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
}

/// Copies a directory. The copy of an open store is the directory that a kill would leave.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_tree(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}
