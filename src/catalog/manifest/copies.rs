//! The two copies of a manifest's bytes, in one file.
//!
//! Stripes of 64 KiB alternate: the first stripe of the first copy, the first of the second, the second of the first,
//! and so on. Both copies are written before the file is synced, so the second costs no sync. A flipped bit or an
//! unreadable page damages one copy; the other is whole there.

use std::convert::Infallible;
use std::io;

use crate::disk::{DiskFile, ReadablePages, Step, is_left_out};

/// A copy has whole stripes only, so the length of a manifest is a multiple of twice this.
pub(super) const STRIPE_BYTES: u64 = 64 * 1024;

/// The smallest unit that reading reports and repairs.
const PAGE_BYTES: u64 = 4096;

/// One of the copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhichCopy {
    First,
    Second,
}

/// Both copies, as they were read.
#[derive(Debug)]
pub(super) struct Copies {
    first: Vec<u8>,
    /// `None` if the second copy has the same bytes, as it nearly always does.
    other: Option<Vec<u8>>,
    pub(super) file_bytes: u64,
}

impl Copies {
    pub(super) fn of(file: &[u8]) -> Self {
        let Ok(copies) = Self::of_stripes::<Infallible>(file.len(), |stripe, place| {
            stripe.copy_from_slice(&file[place..][..stripe.len()]);
            Ok(())
        });
        copies
    }

    /// Reads a manifest. Unreadable pages are zeros in their copy.
    ///
    /// # Errors
    /// The length cannot be read, or the same page is unreadable in both copies.
    pub(super) fn read(file: std::sync::Arc<dyn DiskFile>) -> io::Result<Self> {
        let file = ReadablePages::new(file);
        let length = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let copies = Self::of_stripes(length, |stripe, place| file.read_exact_at(stripe, place as u64))?;
        for page in (0..length as u64).step_by(PAGE_BYTES as usize) {
            let Some((_, error)) = file.unreadable_within(page, page + PAGE_BYTES) else {
                continue;
            };
            let same_in_other_copy = page ^ STRIPE_BYTES;
            let is_lost = same_in_other_copy >= length as u64
                || file
                    .unreadable_within(same_in_other_copy, same_in_other_copy + PAGE_BYTES)
                    .is_some();
            if is_lost {
                return Err(io::Error::other(format!("the page at byte {page}: {error}")));
            }
        }
        Ok(copies)
    }

    pub(super) fn first(&self) -> &[u8] {
        &self.first
    }

    pub(super) fn second(&self) -> &[u8] {
        self.other.as_ref().unwrap_or(&self.first)
    }

    /// Reads the stripes in the order of the file. The second number given to `read` is a stripe's place in the file.
    fn of_stripes<E>(
        file_bytes: usize,
        mut read: impl FnMut(&mut [u8], usize) -> Result<(), E>,
    ) -> Result<Self, E> {
        const STRIPE: usize = STRIPE_BYTES as usize;
        let (pairs, rest) = (file_bytes / (2 * STRIPE), file_bytes % (2 * STRIPE));
        let mut first = vec![0; pairs * STRIPE + rest.min(STRIPE)];
        let second_bytes = pairs * STRIPE + rest.saturating_sub(STRIPE);
        let mut stripe_of_second = vec![0; STRIPE.min(second_bytes)];
        let mut other: Option<Vec<u8>> = None;
        for begin in (0..first.len()).step_by(STRIPE) {
            let end = first.len().min(begin + STRIPE);
            read(&mut first[begin..end], 2 * begin)?;
            let end_in_second = second_bytes.clamp(begin, end);
            let stripe = &mut stripe_of_second[..end_in_second - begin];
            if !stripe.is_empty() {
                read(stripe, 2 * begin + STRIPE)?;
            }
            if other.is_none() && first[begin..end] != *stripe {
                other = Some(first[..begin].to_vec());
            }
            if let Some(other) = &mut other {
                other.extend_from_slice(stripe);
            }
        }
        Ok(Self {
            first,
            other,
            file_bytes: file_bytes as u64,
        })
    }
}

/// The length of a file with two copies of this length, which consists of whole stripes.
pub(super) const fn file_length(copy_length: u64) -> u64 {
    2 * copy_length
}

/// The offset in the file of a byte of a copy.
pub(super) const fn file_offset(copy: WhichCopy, offset: u64) -> u64 {
    let first = offset / STRIPE_BYTES * 2 * STRIPE_BYTES + offset % STRIPE_BYTES;
    match copy {
        WhichCopy::First => first,
        WhichCopy::Second => first + STRIPE_BYTES,
    }
}

/// Writes bytes at the same offset of both copies.
pub(super) fn write_both(file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    for copy in [WhichCopy::First, WhichCopy::Second] {
        if copy == WhichCopy::Second && is_left_out(Step::ManifestSecondCopy) {
            continue;
        }
        let (mut rest, mut at) = (bytes, offset);
        while !rest.is_empty() {
            let left_of_stripe = (STRIPE_BYTES - at % STRIPE_BYTES) as usize;
            let (piece, behind) = rest.split_at(rest.len().min(left_of_stripe));
            file.write_all_at(piece, file_offset(copy, at))?;
            at += piece.len() as u64;
            rest = behind;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::sim::SimDisk;
    use crate::disk::{Disk, OpenMode};

    #[test]
    fn what_is_written_across_stripes_is_in_both_copies() {
        let disk = SimDisk::new(1);
        let file = disk.open(Path::new("copies"), OpenMode::CreateNew).unwrap();
        let length = 3 * STRIPE_BYTES;
        file.allocate(file_length(length)).unwrap();
        let bytes: Vec<_> = (0..2 * STRIPE_BYTES + 100).map(|at| (at % 251) as u8).collect();
        write_both(file.as_ref(), &bytes, 50).unwrap();
        let copies = Copies::read(file.clone()).unwrap();
        assert!(copies.first() == copies.second() && copies.first().len() as u64 == length);
        assert!(copies.first()[50..][..bytes.len()] == bytes);
        for (copy, at) in [(WhichCopy::First, 70_000), (WhichCopy::Second, 70_000)] {
            let mut byte = [0];
            file.read_exact_at(&mut byte, file_offset(copy, at)).unwrap();
            assert_eq!(byte[0], bytes[at as usize - 50]);
        }
    }

    #[test]
    fn a_cut_file_has_what_is_left_of_both_copies() {
        let stripes: Vec<u8> = (0..3_u8)
            .flat_map(|stripe| vec![stripe; STRIPE_BYTES as usize])
            .collect();
        let copies = Copies::of(&stripes[..2 * STRIPE_BYTES as usize + 10]);
        assert_eq!((copies.first().len(), copies.second().len()), (65_546, 65_536));
        assert_eq!((copies.first()[65_545], copies.second()[65_535]), (2, 1));
    }

    #[test]
    fn copies_that_differ_anywhere_are_both_kept() {
        const STRIPE: usize = STRIPE_BYTES as usize;
        for length in [1, STRIPE, STRIPE + 1, 2 * STRIPE, 3 * STRIPE + 7, 4 * STRIPE] {
            for differs_at in (0..length).step_by(STRIPE - 1).chain([length - 1]) {
                let mut file: Vec<u8> = (0..length).map(|at| (at % STRIPE % 251) as u8).collect();
                file[differs_at] ^= 1;
                let copies = Copies::of(&file);
                let stripes = |of: usize| file.chunks(STRIPE).skip(of).step_by(2).flatten().copied();
                assert!(
                    stripes(0).eq(copies.first().iter().copied()),
                    "{length}, {differs_at}"
                );
                assert!(
                    stripes(1).eq(copies.second().iter().copied()),
                    "{length}, {differs_at}"
                );
            }
        }
    }
}
