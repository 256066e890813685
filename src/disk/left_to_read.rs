//! How many bytes of a file remain to be read.

use std::os::fd::AsFd;

use rustix::fs::{FileType, fstat, tell};

/// How many bytes of a regular file are behind its current offset; `None` for a pipe, a terminal and the like, where
/// that is not known.
pub fn left_to_read(file: impl AsFd) -> Option<u64> {
    let file = file.as_fd();
    let about = fstat(file).ok()?;
    if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
        return None;
    }
    let length = u64::try_from(about.st_size).ok()?;
    Some(length.saturating_sub(tell(file).ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn of_a_file_it_is_what_lies_behind_and_of_others_it_is_not_known() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        File::create(&path).unwrap().write_all(b"12345").unwrap();
        let mut file = File::open(&path).unwrap();
        assert_eq!(left_to_read(&file), Some(5));
        file.read_exact(&mut [0; 3]).unwrap();
        assert_eq!(left_to_read(&file), Some(2));
        let (one, _other) = UnixStream::pair().unwrap();
        assert_eq!(left_to_read(&one), None);
        assert_eq!(left_to_read(File::open(directory.path()).unwrap()), None);
    }
}
