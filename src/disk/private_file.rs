//! Files with secrets, which are used only if other users cannot read them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

#[cfg(feature = "server")]
use rustix::fs::FlockOperation;
#[cfg(feature = "server")]
use rustix::process::geteuid;
use thiserror::Error;

/// Why a file with a secret is not used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PrivateFileError {
    /// There is no such file.
    #[error("{path} does not exist")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It is a directory, or something else without contents.
    #[error("{path} is not a file")]
    NoFile {
        /// The file.
        path: PathBuf,
    },
    /// Its mode lets other users read it.
    #[error("{path} has mode {mode:04o}, which gives its secrets to other users; type: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It belongs to another user, who may have put the file there.
    #[error(
        "{path} belongs to the user {owner}, who is not the owner of its directory; remove it if it is not yours"
    )]
    OfAnother {
        /// The file.
        path: PathBuf,
        /// The user's number.
        owner: u32,
    },
    /// It is far larger than such a file can be.
    #[error("{path} has {bytes} bytes; the most is {most}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The longest that is read.
        most: u64,
    },
    /// It is not text.
    #[error("{path} is not text in UTF-8")]
    NoText {
        /// The file.
        path: PathBuf,
    },
    /// The system does not allow reading or writing it.
    #[error("cannot {operation} {path}: {source}")]
    Io {
        /// The operation that failed.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Tells whether a file, with its contents, is still the same.
///
/// ```
/// use anabranch::disk::FileVersion;
///
/// let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("keys");
/// assert_eq!(FileVersion::of(&path), None);
/// std::fs::write(&path, "one").unwrap();
/// let version = FileVersion::of(&path);
/// assert_eq!(FileVersion::of(&path), version);
/// std::fs::write(&path, "another").unwrap();
/// assert_ne!(FileVersion::of(&path), version);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion {
    device: u64,
    inode: u64,
    mode: u32,
    bytes: u64,
    changed: (i64, i64),
}

impl FileVersion {
    /// The present state of the file; `None` if it does not exist, or cannot be looked at.
    pub fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::by(&metadata))
    }

    /// The same for an open file.
    pub fn of_file(file: &File) -> Option<Self> {
        file.metadata().ok().map(|metadata| Self::by(&metadata))
    }

    fn by(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            mode: metadata.mode(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

const MOST_BYTES: u64 = 1 << 20;
const ROOT: u32 = 0;

/// Of `open(2)`.
const O_NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// The text of a file that only its owner may read. A file of root may also be readable by its group, which is how
/// secrets come into containers.
pub(crate) fn read_private(path: &Path) -> Result<String, PrivateFileError> {
    read(path, is_private)
}

/// The text of a file that anyone may read.
#[cfg(feature = "server")]
pub(crate) fn read_public(path: &Path) -> Result<String, PrivateFileError> {
    read(path, |_, _| true)
}

/// Makes a file that its owner alone may read.
#[cfg(feature = "server")]
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), PrivateFileError> {
    write(path, text, 0o600)
}

/// Makes a file that anyone may read.
#[cfg(feature = "server")]
pub(crate) fn write_public(path: &Path, text: &str) -> Result<(), PrivateFileError> {
    write(path, text, 0o644)
}

/// The same for a file that a program keeps for itself in a directory. It has to belong to the directory's owner, to
/// root or to this program's user: others could have put it there.
#[cfg(feature = "server")]
pub(crate) fn read_kept_private(path: &Path) -> Result<String, PrivateFileError> {
    let owner = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.uid());
    if let (Ok(of_file), Ok(of_directory)) = (owner(path), owner(directory_of(path)))
        && ![of_directory, ROOT, geteuid().as_raw()].contains(&of_file)
    {
        return Err(PrivateFileError::OfAnother {
            path: path.into(),
            owner: of_file,
        });
    }
    read_private(path)
}

/// Makes a directory, and those above it, unless it is there.
#[cfg(feature = "server")]
pub(crate) fn create_directory(path: &Path) -> Result<(), PrivateFileError> {
    if path.is_dir() {
        return Ok(());
    }
    let created = std::fs::create_dir_all(path).and_then(|()| sync_directory(directory_of(path)));
    created.map_err(failed("create", path))
}

/// Not all file systems can do that, and a directory that may be written to need not be readable.
#[cfg(feature = "server")]
fn sync_directory(path: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied};
    match File::open(path).and_then(|directory| directory.sync_all()) {
        Err(error) if matches!(error.kind(), PermissionDenied | InvalidInput) => Ok(()),
        synced => synced,
    }
}

/// Keeps other processes from doing the same as long as the result lives. Waits for them for at most ten seconds.
#[cfg(feature = "server")]
pub(crate) fn lock_by(path: &Path) -> Result<impl Sized + use<>, PrivateFileError> {
    use std::time::{Duration, Instant};
    const PATIENCE: Duration = Duration::from_secs(10);
    let mut options = File::options();
    // Only the owner can open it, and so make this wait.
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    let locked = options.open(path).and_then(|file| {
        let began = Instant::now();
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(error) if began.elapsed() >= PATIENCE => return Err(error.into()),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => return Err(error.into()),
            }
        }
    });
    locked.map_err(failed("lock", path))
}

#[cfg(feature = "server")]
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn read(path: &Path, may_be_used: fn(u32, u32) -> bool) -> Result<String, PrivateFileError> {
    // A pipe of this name would wait for its writer.
    let opened = File::options().read(true).custom_flags(O_NONBLOCK).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(PrivateFileError::Missing { path: path.into() });
        }
        Err(error) => return Err(failed("open", path)(error)),
    };
    // From the open file, since the name may stand for another one by now.
    let metadata = file.metadata().map_err(failed("read", path))?;
    if !metadata.is_file() {
        return Err(PrivateFileError::NoFile { path: path.into() });
    }
    let mode = metadata.mode() & 0o7777;
    if !may_be_used(mode, metadata.uid()) {
        return Err(PrivateFileError::Exposed {
            path: path.into(),
            mode,
        });
    }
    if metadata.len() > MOST_BYTES {
        return Err(PrivateFileError::TooLarge {
            path: path.into(),
            bytes: metadata.len(),
            most: MOST_BYTES,
        });
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed("read", path))?;
    String::from_utf8(bytes).map_err(|_| PrivateFileError::NoText { path: path.into() })
}

fn is_private(mode: u32, owner: u32) -> bool {
    const OTHERS: u32 = 0o077;
    const ALL_BUT_READING_BY_GROUP: u32 = 0o037;
    match owner == ROOT {
        true => mode & ALL_BUT_READING_BY_GROUP == 0,
        false => mode & OTHERS == 0,
    }
}

/// Written under another name first, so that a crash leaves no half of it.
#[cfg(feature = "server")]
fn write(path: &Path, text: &str, mode: u32) -> Result<(), PrivateFileError> {
    use std::fs::OpenOptions;
    use std::io::Write;
    let new = path.with_extension("new");
    let written = (|| {
        let _ = std::fs::remove_file(&new);
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        sync_directory(directory_of(path))
    })();
    written.map_err(failed("write", path))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PrivateFileError {
    let path = path.to_owned();
    move |source| PrivateFileError::Io {
        operation,
        path,
        source,
    }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_way_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credentials");
        write_private(&path, "secret").unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        for mode in [0o600, 0o400] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_private(&path).unwrap(), "secret");
        }
        for mode in [0o604, 0o620, 0o644, 0o602] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let refused = read_private(&path).expect_err("a refusal").to_string();
            let path = path.display();
            assert_eq!(
                refused,
                format!(
                    "{path} has mode {mode:04o}, which gives its secrets to other users; type: chmod 600 {path}"
                )
            );
        }
        assert_eq!(read_public(&path).unwrap(), "secret");
    }

    #[test]
    fn a_secret_that_root_gives_to_a_group_is_taken() {
        let (root, other) = (0, geteuid().as_raw() + 1);
        for (mode, owner, is_taken) in [
            (0o440, root, true),
            (0o640, root, true),
            (0o644, root, false),
            (0o660, root, false),
            (0o400, root, true),
            (0o440, other, false),
            (0o400, other, true),
        ] {
            assert_eq!(is_private(mode, owner), is_taken, "{mode:o} {owner}");
        }
    }

    #[test]
    fn what_is_no_file_with_a_text_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let refused = |path: &Path| read_private(path).expect_err("a refusal").to_string();
        let path = directory.path().join("a");
        assert_eq!(refused(&path), format!("{} does not exist", path.display()));
        let within = directory.path();
        assert_eq!(refused(within), format!("{} is not a file", within.display()));
        write_private(&path, &"x".repeat(MOST_BYTES as usize + 1)).unwrap();
        assert_eq!(
            refused(&path),
            format!("{} has 1048577 bytes; the most is 1048576", path.display())
        );
        write_private(&path, "").unwrap();
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(refused(&path), format!("{} is not text in UTF-8", path.display()));
    }

    #[test]
    fn a_pipe_is_refused_without_waiting_for_its_writer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credentials");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        assert!(matches!(
            read_private(&path),
            Err(PrivateFileError::NoFile { .. })
        ));
        assert!(matches!(read_public(&path), Err(PrivateFileError::NoFile { .. })));
    }

    #[test]
    fn a_kept_file_of_another_user_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credentials");
        write_private(&path, "secret").unwrap();
        // Only root can give a file away.
        if geteuid().as_raw() == ROOT {
            std::os::unix::fs::chown(&path, Some(4711), None).unwrap();
            let refused = read_kept_private(&path);
            assert!(matches!(
                refused,
                Err(PrivateFileError::OfAnother { owner: 4711, .. })
            ));
            // If its directory is that user's too, or the file was named explicitly, it is accepted.
            assert!(read_private(&path).is_ok());
            std::os::unix::fs::chown(directory.path(), Some(4711), None).unwrap();
            assert!(read_kept_private(&path).is_ok());
        }
    }
}
