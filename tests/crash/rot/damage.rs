//! Every way in which the tests damage a small store.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anabranch::sim::SimDisk;

use super::outcome::Expected;
use super::sound::{Copied, Piece, SoundStore};

const PAGE_BYTES: u64 = 4096;

#[derive(Clone, Debug)]
pub enum Damage {
    /// One bit of this byte.
    Flip(PathBuf, u64),
    /// The file has these bytes instead of its own; the text describes how they were made.
    #[allow(dead_code, reason = "the text is for whoever reads a failure")]
    Replace(PathBuf, &'static str, Content),
    Remove(PathBuf),
}

#[derive(Clone)]
pub struct Content(Vec<u8>);

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Damage {
    pub fn path(&self) -> &Path {
        match self {
            Self::Flip(path, _) | Self::Replace(path, _, _) | Self::Remove(path) => path,
        }
    }

    /// Where the damage begins.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Flip(_, offset) => *offset,
            Self::Replace(..) | Self::Remove(_) => 0,
        }
    }

    pub fn apply(&self, disk: &SimDisk) {
        let rot = disk.rot();
        match self {
            Self::Flip(path, offset) => rot.flip_bit(path, *offset, (offset * 5 % 8) as u32),
            Self::Replace(path, _, content) => rot.put(path, &content.0),
            Self::Remove(path) => rot.remove(path),
        }
        .unwrap();
    }

    /// Restores the bytes before the damage. A file that was written to since stays as it is.
    pub fn heal(&self, sound: &SoundStore, disk: &SimDisk) {
        match self {
            Self::Flip(..) => self.apply(disk),
            Self::Replace(path, ..) | Self::Remove(path) => {
                disk.rot().put(path, &sound.files[path]).unwrap();
            }
        }
    }

    /// Whether it changes a piece of its file.
    fn hits(&self, sound: &SoundStore, piece: &Piece) -> bool {
        let range = piece.bytes.start as usize..piece.bytes.end as usize;
        match self {
            Self::Flip(_, offset) => piece.bytes.contains(offset),
            Self::Replace(path, _, content) => content.0.get(range.clone()) != sound.files[path].get(range),
            Self::Remove(_) => true,
        }
    }

    fn changes_length(&self, sound: &SoundStore) -> bool {
        match self {
            Self::Flip(..) => false,
            Self::Replace(path, _, content) => content.0.len() != sound.files[path].len(),
            Self::Remove(_) => true,
        }
    }
}

impl<'a> Expected<'a> {
    pub fn of(sound: &'a SoundStore, damages: &[Damage]) -> Self {
        let mut expected = Self {
            sound,
            paths: damages.iter().map(|damage| damage.path().to_owned()).collect(),
            places: Vec::new(),
            logs: BTreeMap::new(),
            may_not_open: false,
            to_be_noticed: Vec::new(),
            is_undecidable: true,
            is_last_edit_of_one_copy: false,
        };
        for damage in damages {
            let Some(pieces) = sound.meaning.get(damage.path()) else {
                continue;
            };
            let hit: Vec<_> = pieces.iter().filter(|piece| damage.hits(sound, piece)).collect();
            if !hit.is_empty() {
                expected.to_be_noticed.push(damage.path().to_owned());
            }
            expected.is_undecidable &= hit.iter().all(|piece| piece.is_undecidable);
            if let (
                Damage::Flip(..),
                [
                    Piece {
                        copied: Some(copied), ..
                    },
                ],
            ) = (damage, &hit[..])
            {
                expected.is_last_edit_of_one_copy = *copied == Copied::Last;
                continue;
            }
            // A file of another length is refused as a whole.
            let suspect = match damage.changes_length(sound) {
                true => pieces.first(),
                false => {
                    let places = hit
                        .iter()
                        .map(|piece| (damage.path().to_owned(), piece.bytes.clone()));
                    expected.places.extend(places);
                    hit.first().copied()
                }
            };
            match suspect.map(|piece| &piece.log) {
                Some(Some((name, first))) => {
                    let known = expected.logs.entry(name.clone()).or_insert(*first);
                    *known = (*known).min(*first);
                }
                Some(None) => expected.may_not_open = true,
                None => {}
            }
        }
        expected.is_undecidable &= !expected.to_be_noticed.is_empty();
        expected
    }
}

/// The zeros that fill up a segment's header page.
const RESERVED: Range<u64> = 84..4092;

/// Flips of single bytes. In the zeros of the header pages, the same byte of all segments is flipped at once, unless
/// `ANABRANCH_ROT=each` is set.
pub fn every_meaningful_byte(sound: &SoundStore) -> Vec<Vec<Damage>> {
    let flips = sound.meaning.iter().flat_map(|(path, pieces)| {
        let offsets = pieces.iter().flat_map(|piece| piece.bytes.clone());
        offsets.map(|offset| Damage::Flip(path.clone(), offset))
    });
    grouped(flips, |path, offset| {
        (kind(path) == "log" && RESERVED.contains(&offset)).then_some(offset)
    })
}

/// Flips of all bytes without a meaning: one byte of every page at a time, unless `ANABRANCH_ROT=each` is set.
pub fn every_meaningless_byte(sound: &SoundStore) -> Vec<Vec<Damage>> {
    let files = sound.files.iter();
    let flips = files.flat_map(|(path, bytes)| {
        let offsets = 0..bytes.len() as u64;
        let says_nothing = |offset: &u64| sound.piece_at(path, *offset).is_none();
        offsets
            .filter(says_nothing)
            .map(|offset| Damage::Flip(path.clone(), offset))
    });
    grouped(flips, |_, offset| Some(offset % PAGE_BYTES))
}

/// Groups the damages that are to be done at once. Those without a group are done alone.
fn grouped(
    damages: impl Iterator<Item = Damage>,
    group_of: impl Fn(&Path, u64) -> Option<u64>,
) -> Vec<Vec<Damage>> {
    let is_each_alone = std::env::var("ANABRANCH_ROT").is_ok_and(|how| how == "each");
    let mut alone = Vec::new();
    let mut together: BTreeMap<u64, Vec<Damage>> = BTreeMap::new();
    for damage in damages {
        match damage {
            Damage::Flip(ref path, offset) if !is_each_alone => match group_of(path, offset) {
                Some(group) => together.entry(group).or_default().push(damage),
                None => alone.push(vec![damage]),
            },
            _ => alone.push(vec![damage]),
        }
    }
    alone.extend(together.into_values());
    alone
}

/// Every file cut, extended, exchanged, removed and replaced, by the kind of the damage.
pub fn of_whole_files(sound: &SoundStore) -> Vec<(&'static str, Vec<Vec<Damage>>)> {
    let replaced = |path: &PathBuf, how, bytes: Vec<u8>| Damage::Replace(path.clone(), how, Content(bytes));
    let recycled = sound.files.iter().find(|(path, _)| is_recycled(path)).unwrap().1;
    let mut cut = Vec::new();
    let mut extended = Vec::new();
    let mut swapped = Vec::new();
    let mut duplicated = Vec::new();
    let mut removed = Vec::new();
    let mut recycled_over = Vec::new();
    for (path, bytes) in &sound.files {
        let length = bytes.len() as u64;
        let mut lengths: Vec<_> = (0..length).step_by(PAGE_BYTES as usize).collect();
        lengths.extend([length / 2, length.saturating_sub(1)]);
        lengths.sort_unstable();
        lengths.dedup();
        for length in lengths.into_iter().filter(|length| *length < bytes.len() as u64) {
            cut.push(vec![replaced(path, "cut", bytes[..length as usize].to_vec())]);
        }
        for more in [1, 4095, 4096, 65_536] {
            let zeros = std::iter::repeat_n(0, more);
            let longer = bytes.iter().copied().chain(zeros).collect();
            extended.push(vec![replaced(path, "extended", longer)]);
        }
        removed.push(vec![Damage::Remove(path.clone())]);
        recycled_over.push(vec![replaced(path, "recycled", recycled.clone())]);
        let others = sound
            .files
            .iter()
            .filter(|(other, _)| *other != path && kind(other) == kind(path));
        for (other, content) in others {
            duplicated.push(vec![replaced(path, "overwritten", content.clone())]);
            if other > path {
                swapped.push(vec![
                    replaced(path, "swapped", content.clone()),
                    replaced(other, "swapped", bytes.clone()),
                ]);
            }
        }
    }
    vec![
        ("cut", cut),
        ("extended", extended),
        ("swapped", swapped),
        ("overwritten by another", duplicated),
        ("removed", removed),
        ("overwritten by one of an earlier life", recycled_over),
    ]
}

/// The kind of a file. Files of a kind have the same place in the layout.
fn kind(path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    match path.extension() {
        Some(extension) => extension.to_str().unwrap().to_owned(),
        None => name.split('-').next().unwrap().to_owned(),
    }
}

fn is_recycled(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "ready")
}
