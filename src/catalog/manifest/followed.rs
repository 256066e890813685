//! Reading a manifest that another program appends to and replaces.
//!
//! Frames are only ever added behind the last one, and a manifest that replaces another is whole before `CURRENT` names
//! it. So it is enough to look at `CURRENT` and behind the last known frame. An incomplete frame there may be half
//! written, or left by a killed program. It is left alone until it is whole, or until another manifest is in force. If
//! frames follow it, it is damage.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc32fast::Hasher;

use super::copies::{Copies, STRIPE_BYTES, WhichCopy, file_offset};
use super::current::{manifest_name, parse_current};
use super::format::{
    FRAME_HEADER_BYTES, HEADER_BYTES, decode_frame, decode_headers, frame_length, sequence_of,
};
use super::new_store::check_nothing_is_stored;
use super::walk::replay;
use crate::catalog::codec;
use crate::catalog::edit::Edit;
use crate::catalog::followed::CatalogNews;
use crate::catalog::state::CatalogState;
use crate::disk::{Disk, DiskFile, OpenMode, read_whole};
use crate::error::{Error, Result};

/// How often a manifest that is replaced while it is opened is looked for again.
const TRIES: usize = 100;

#[derive(Debug)]
pub(crate) struct FollowedManifest {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    store: u128,
    number: u64,
    seed: Hasher,
    next_sequence: u64,
    /// The offset of the next frame, in each copy.
    length: u64,
    /// The first copy's bytes at its beginning, and at the beginning of its last frame. If the file has other bytes, it
    /// is another file of that name, or a failed disk lost its last frame.
    marks: [(u64, Vec<u8>); 2],
    unwhole: Option<Unwhole>,
}

/// Bytes behind the last frame that are no whole frame, and that other frames may follow. The whole file was read once
/// to find out.
#[derive(Debug)]
struct Unwhole {
    /// The checksum of all bytes behind the last frame, in both copies. While it is unchanged, another reading finds
    /// the same.
    checksum: u32,
    /// The result: the frame is damaged, or no frame follows it.
    damage: Option<Error>,
}

impl FollowedManifest {
    /// The manifest in force, and the state that it leads to.
    ///
    /// # Errors
    /// [`Error::NotAStore`], [`Error::UnfinishedCopy`]; [`Error::Io`] if nothing was stored yet; [`Error::Corrupt`].
    pub(crate) fn open(disk: &Arc<dyn Disk>, directory: &Path) -> Result<(Self, CatalogState)> {
        let mut seen = None;
        let mut tries = 0;
        loop {
            tries += 1;
            let current = directory.join("CURRENT");
            let number = match read_current(disk.as_ref(), directory) {
                Err(error) if is_missing(&error) => {
                    // Or give the error for the file that is there instead.
                    check_nothing_is_stored(disk.as_ref(), directory, || true)?;
                    return Err(error);
                }
                number => number?,
            };
            match Self::load(disk, directory, number) {
                Ok(loaded) => return Ok(loaded),
                // It may have been replaced or written to while it was read.
                Err(error) => {
                    let found = (number, error.to_string());
                    if seen.as_ref() == Some(&found) || tries == TRIES {
                        return Err(match is_missing(&error) {
                            true => Error::bad_manifest(&current, 0, "the manifest that it names is missing"),
                            false => error,
                        });
                    }
                    seen = Some(found);
                }
            }
        }
    }

    /// What has changed since the last call.
    ///
    /// # Errors
    /// [`Error::Io`], also if the directory no longer exists or has another store; [`Error::Corrupt`].
    pub(crate) fn look(&mut self) -> Result<CatalogNews> {
        for _ in 0..TRIES {
            if read_current(self.disk.as_ref(), &self.directory)? != self.number {
                return self.look_again();
            }
            match self.disk.open(&self.path(), OpenMode::Read) {
                Ok(file) => return self.look_behind(file.as_ref()),
                // It was replaced just now.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("open", &self.path(), error)),
            }
        }
        self.look_again()
    }

    /// Reads the manifest in force from its beginning.
    ///
    /// # Errors
    /// As for [`look`](Self::look).
    pub(crate) fn look_again(&mut self) -> Result<CatalogNews> {
        let (manifest, state) = Self::open(&self.disk, &self.directory)?;
        if manifest.store != self.store {
            let another = std::io::Error::other("it has another store than the one that was opened");
            return Err(Error::io("follow", &self.directory, another));
        }
        *self = manifest;
        Ok(CatalogNews::State(Box::new(state)))
    }

    fn load(disk: &Arc<dyn Disk>, directory: &Path, number: u64) -> Result<(Self, CatalogState)> {
        let path = directory.join(manifest_name(number));
        let file = (disk.open(&path, OpenMode::Read)).map_err(|error| Error::io("open", &path, error))?;
        let copies = Copies::read(file).map_err(|error| Error::io("read", &path, error))?;
        let header = decode_headers(&copies, number, &path)?;
        let (walk, state) = replay(&copies, &header, &path)?;
        let mark = |offset: u64, bytes: usize| {
            let begin = usize::try_from(offset).unwrap_or(usize::MAX);
            let known = copies.first().iter().skip(begin).take(bytes);
            (offset, known.copied().collect())
        };
        let manifest = Self {
            disk: disk.clone(),
            directory: directory.to_owned(),
            store: header.store,
            number,
            seed: header.seed,
            next_sequence: walk.frames,
            length: walk.end,
            marks: [mark(0, HEADER_BYTES), mark(walk.last, FRAME_HEADER_BYTES)],
            unwhole: None,
        };
        Ok((manifest, state))
    }

    fn path(&self) -> PathBuf {
        self.directory.join(manifest_name(self.number))
    }

    /// Reads the frames behind the last known one.
    fn look_behind(&mut self, file: &dyn DiskFile) -> Result<CatalogNews> {
        let is_marked = |(offset, bytes): &(u64, Vec<u8>)| {
            read_copy(file, WhichCopy::First, *offset, bytes.len() as u64).as_ref() == Some(bytes)
        };
        if !self.marks.iter().all(is_marked) {
            return self.look_again();
        }
        let mut lists = Vec::new();
        while let Some(edits) = self.next_frame(file)? {
            lists.push(edits);
        }
        match lists.is_empty() {
            true => self.examine(file),
            // Bytes behind these frames are examined next time, because an error now would lose the frames.
            false => Ok(CatalogNews::Edits(lists)),
        }
    }

    /// Finds out whether the bytes behind the last frame, which are no whole frame, are damage. They are if frames
    /// follow them. Only reading the whole file shows that, so it is read once for the same bytes.
    fn examine(&mut self, file: &dyn DiskFile) -> Result<CatalogNews> {
        let Some(checksum) = self.checksum_behind(file) else {
            self.unwhole = None;
            return Ok(CatalogNews::Nothing);
        };
        if let Some(known) = self.unwhole.as_ref().filter(|known| known.checksum == checksum) {
            return known.damage.clone().map_or(Ok(CatalogNews::Nothing), Err);
        }
        let (number, known) = (self.number, self.length);
        let examined = self.look_again();
        // Another manifest is usually shorter, and has all edits of this one and more.
        if examined.is_ok() && (self.number != number || self.length > known) {
            return examined;
        }
        let damage = examined.err();
        if damage
            .as_ref()
            .is_none_or(|error| matches!(error, Error::Corrupt { .. }))
        {
            let damage = damage.clone();
            self.unwhole = Some(Unwhole { checksum, damage });
        }
        damage.map_or(Ok(CatalogNews::Nothing), Err)
    }

    /// The next frame, in the copy in which it is whole.
    fn next_frame(&mut self, file: &dyn DiskFile) -> Result<Option<Vec<Edit>>> {
        for copy in [WhichCopy::First, WhichCopy::Second] {
            let header = read_copy(file, copy, self.length, FRAME_HEADER_BYTES as u64);
            let length = header.as_deref().and_then(<[u8]>::first_chunk);
            let Some(length) = length.and_then(|header| frame_length(header, &self.seed)) else {
                continue;
            };
            let Some(frame) = read_copy(file, copy, self.length, length) else {
                continue;
            };
            let decoded = decode_frame(&frame, 0, &self.seed);
            let Some((_, body, end)) = decoded.filter(|(sequence, ..)| *sequence == self.next_sequence)
            else {
                continue;
            };
            let offset = file_offset(copy, self.length);
            let edits =
                codec::decode(body).map_err(|reason| Error::bad_manifest(&self.path(), offset, reason))?;
            let mark = read_copy(file, WhichCopy::First, self.length, FRAME_HEADER_BYTES as u64);
            self.marks[1] = (self.length, mark.unwrap_or_default());
            self.length += end as u64;
            self.next_sequence += 1;
            self.unwhole = None;
            return Ok(Some(edits));
        }
        Ok(None)
    }

    /// The checksum of the bytes behind the last frame, in both copies, if frames may be among them. They may if the
    /// bytes begin with something other than zeros, and do not end where the frame at their beginning should end. So a
    /// frame that is being written, and one that a killed program has left, are not examined.
    fn checksum_behind(&self, file: &dyn DiskFile) -> Option<u32> {
        let copies = [WhichCopy::First, WhichCopy::Second];
        let header = |copy| read_copy(file, copy, self.length, FRAME_HEADER_BYTES as u64);
        let headers = copies.map(|copy| header(copy).unwrap_or_default());
        if headers.iter().flatten().all(|byte| *byte == 0) {
            return None;
        }
        let sound = headers.iter().filter_map(|header| header.first_chunk());
        let sound = sound.filter_map(|header| Some((header, frame_length(header, &self.seed)?)));
        let (mut frame_bytes, mut is_another) = (0, false);
        for (header, length) in sound {
            frame_bytes = length.max(frame_bytes);
            is_another |= sequence_of(header) != self.next_sequence;
        }
        let bytes = (file.len().ok()? / 2).saturating_sub(self.length);
        let behind = copies.map(|copy| read_copy(file, copy, self.length, bytes).unwrap_or_default());
        let goes_on = |copy: &Vec<u8>| {
            let frame_bytes = usize::try_from(frame_bytes).unwrap_or(usize::MAX);
            copy.iter().skip(frame_bytes).any(|byte| *byte != 0)
        };
        let may_be_followed = is_another || frame_bytes > bytes || behind.iter().any(goes_on);
        may_be_followed.then(|| {
            let mut checksum = Hasher::new();
            behind.iter().for_each(|copy| checksum.update(copy));
            checksum.finalize()
        })
    }
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

/// The number of the manifest in force.
fn read_current(disk: &dyn Disk, directory: &Path) -> Result<u64> {
    let path = directory.join("CURRENT");
    let bytes = read_whole(disk, &path).map_err(|error| Error::io("open", &path, error))?;
    parse_current(&bytes).ok_or_else(|| Error::bad_manifest(&path, 0, "it does not name a manifest"))
}

/// Bytes of one copy; `None` if the file is shorter, or cannot be read there.
fn read_copy(file: &dyn DiskFile, copy: WhichCopy, offset: u64, bytes: u64) -> Option<Vec<u8>> {
    let end = offset.checked_add(bytes)?;
    if file.len().ok()? < file_offset(copy, end.checked_sub(1)?) {
        return None;
    }
    let mut read = vec![0; usize::try_from(bytes).ok()?];
    let (mut rest, mut at) = (read.as_mut_slice(), offset);
    while !rest.is_empty() {
        let left_of_stripe = (STRIPE_BYTES - at % STRIPE_BYTES) as usize;
        let (piece, behind) = rest.split_at_mut(left_of_stripe.min(rest.len()));
        file.read_exact_at(piece, file_offset(copy, at)).ok()?;
        at += piece.len() as u64;
        rest = behind;
    }
    Some(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::manifest::file::{Home, Manifest};
    use crate::catalog::{Catalog, Resource};
    use crate::disk::Health;
    use crate::disk::sim::SimDisk;

    const DIRECTORY: &str = "store";

    fn written(disk: &SimDisk, compaction_bytes: u64) -> Catalog {
        let _ = disk.create_dir(Path::new(DIRECTORY));
        let home = Home {
            disk: Arc::new(disk.clone()),
            directory: DIRECTORY.into(),
            health: Health::default(),
            compaction_bytes,
        };
        let manifest = Manifest::open(&home, || Ok(()), || Ok(()), |_, _| Ok(None)).unwrap();
        Catalog::new(Box::new(manifest)).unwrap()
    }

    fn change(catalog: &Catalog, number: usize) {
        let edit = Edit::AttributeChanged {
            resource: Resource::Account("tests".into()),
            name: format!("name {}", number % 7),
            value: Some(vec![number as u8; 3_000]),
        };
        catalog.commit(|_| Ok(vec![edit])).unwrap();
    }

    /// A follower, and its catalog.
    fn followed(disk: &SimDisk) -> (FollowedManifest, Catalog) {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let (manifest, state) = FollowedManifest::open(&disk, Path::new(DIRECTORY)).unwrap();
        (manifest, Catalog::of_followed(state))
    }

    #[test]
    fn edits_are_seen_one_by_one_across_stripes_and_replacements() {
        for compaction_bytes in [64 * 1024, u64::MAX] {
            let disk = SimDisk::new(1);
            let catalog = written(&disk, compaction_bytes);
            let (mut manifest, seen) = followed(&disk);
            let mut numbers = vec![manifest.number];
            for number in 0..200 {
                change(&catalog, number);
                // Some are made durable together.
                if number % 3 > 0 {
                    assert!(seen.take_over(manifest.look().unwrap(), || ()).unwrap());
                    assert!(*seen.read() == *catalog.read(), "{number}");
                    assert!(!seen.take_over(manifest.look().unwrap(), || ()).unwrap());
                    numbers.push(manifest.number);
                }
            }
            numbers.dedup();
            assert_eq!(numbers.len() > 1, compaction_bytes < u64::MAX);
        }
    }

    #[test]
    fn what_is_not_whole_is_waited_for_and_what_others_follow_is_damage() {
        let disk = SimDisk::new(1);
        let catalog = written(&disk, u64::MAX);
        change(&catalog, 1);
        let (mut manifest, seen) = followed(&disk);
        let (path, at) = (manifest.path(), manifest.length);
        change(&catalog, 2);
        // First in neither copy, and then in the second one.
        for copy in [WhichCopy::First, WhichCopy::Second] {
            disk.rot()
                .flip_bit(&path, file_offset(copy, at + 100), 1)
                .unwrap();
        }
        for _ in 0..9 {
            assert!(matches!(manifest.look().unwrap(), CatalogNews::Nothing));
            assert!(manifest.unwhole.is_none(), "nothing follows, and all was read");
        }
        change(&catalog, 3);
        // At each look, including the first.
        for look in 0..9 {
            let damage = manifest.look().err().map(|error| error.to_string());
            let damage = damage.unwrap_or_default();
            assert!(
                damage.contains("a frame is damaged that others follow"),
                "look {look}: {damage:?}"
            );
        }
        disk.rot()
            .flip_bit(&path, file_offset(WhichCopy::Second, at + 100), 1)
            .unwrap();
        assert!(seen.take_over(manifest.look().unwrap(), || ()).unwrap());
        assert!(*seen.read() == *catalog.read());
    }

    #[test]
    fn damage_of_the_header_of_a_frame_is_told_once_frames_follow_and_at_no_look_before() {
        let disk = SimDisk::new(1);
        let catalog = written(&disk, u64::MAX);
        change(&catalog, 1);
        let (mut manifest, _) = followed(&disk);
        let (path, at) = (manifest.path(), manifest.length);
        change(&catalog, 2);
        for copy in [WhichCopy::First, WhichCopy::Second] {
            disk.rot().flip_bit(&path, file_offset(copy, at), 1).unwrap();
        }
        // As a killed program leaves them.
        for _ in 0..9 {
            assert!(matches!(manifest.look().unwrap(), CatalogNews::Nothing));
        }
        for number in 3..6 {
            change(&catalog, number);
            for _ in 0..3 {
                let damage = manifest.look().unwrap_err().to_string();
                assert!(
                    damage.contains("a frame is damaged that others follow"),
                    "{damage}"
                );
            }
        }
    }

    #[test]
    fn another_store_in_the_directory_is_told_and_one_that_is_gone() {
        let disk = SimDisk::new(1);
        drop(written(&disk, u64::MAX));
        let (mut manifest, _) = followed(&disk);
        let files = ["CURRENT", "MANIFEST-000001"];
        for file in files {
            disk.remove_file(&Path::new(DIRECTORY).join(file)).unwrap();
        }
        let gone = manifest.look().unwrap_err();
        assert!(is_missing(&gone), "{gone}");
        let catalog = written(&disk, u64::MAX);
        change(&catalog, 1);
        let another = manifest.look().unwrap_err().to_string();
        assert_eq!(
            another,
            "cannot follow store: it has another store than the one that was opened"
        );
    }
}
