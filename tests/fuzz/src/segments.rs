//! Any bytes as a segment or as an index.
//!
//! ```text
//! byte 0   bit 0: the store that was closed, or the one that crashed; bit 1: its first segment or its second;
//!          the rest: what is done, see `Change`
//! ```

use std::path::Path;

use anabranch::sim::SimDisk;
use anabranch::{Error, StartingPosition, Stream};

use super::base::{self, Base, NOW};
use super::program::Program;

const PAGE_BYTES: usize = 4096;
const HEADER_BYTES: usize = 64;

/// The change of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// All behind the header page is the rest of the input.
    Replace,
    /// Pieces are overwritten.
    Overwrite,
    /// The file is cut or extended.
    Resize,
    /// Behind the header page are frames whose checksums hold, whatever they say.
    Frames,
    /// The index file is the rest of the input, with a checksum that holds.
    Index,
    /// The header page begins with the rest of the input, with a checksum that holds.
    HeaderPage,
}

const CHANGES: [Change; 6] = [
    Change::Replace,
    Change::Overwrite,
    Change::Resize,
    Change::Frames,
    Change::Index,
    Change::HeaderPage,
];

/// A store with a file that was changed.
pub(crate) struct Changed {
    pub(crate) disk: SimDisk,
    pub(crate) base: &'static Base,
    pub(crate) change: Change,
    /// Whether the changed file is the last segment of the crashed store, where a write may be torn.
    may_be_torn: bool,
}

impl Changed {
    pub(crate) fn by(input: &[u8]) -> Self {
        let mut program = Program(input);
        let first = program.byte();
        let base = Base::of(first & 1);
        let segment = &base.segments[usize::from(first >> 1 & 1)];
        let change = Change::of(first >> 2);
        let disk = base.copy();
        apply(change, &disk, segment, &mut program);
        Self {
            disk,
            base,
            change,
            may_be_torn: first & 1 == 1 && segment == &base.segments[1],
        }
    }
}

impl Change {
    pub(crate) fn of(byte: u8) -> Self {
        CHANGES[usize::from(byte) % CHANGES.len()]
    }

    /// The lowest byte that stands for it.
    pub(crate) fn byte(self) -> u8 {
        CHANGES.iter().position(|known| *known == self).unwrap_or(0) as u8
    }
}

pub fn run(input: &[u8]) {
    let Changed {
        disk,
        base,
        change,
        may_be_torn,
    } = Changed::by(input);
    let Ok(store) = base::open(&disk) else { return };
    let stream = store.stream("clicks").expect("the manifest names the stream");
    let (records, end) = base::read(&stream);
    // Only frames whose checksums hold are accepted; an index is never relied on.
    if change != Change::Frames {
        assert!(records.len() <= base.records.len() && records == base.records[..records.len()]);
        assert!(
            end.is_err() || may_be_torn || records.len() == base.records.len(),
            "{} of {} records are there, and nothing is said",
            records.len(),
            base.records.len()
        );
    }
    if let Err(error) = end {
        assert_is_about_the_file(&error);
    }
    read_from_everywhere(&stream, base);
    let put = match stream.put("key", b"behind it all") {
        Ok(put) => put,
        Err(error) => return assert_is_about_the_file(&error),
    };
    let _ = store.close();
    drop((stream, store));
    let store = base::open(&disk).expect("what was closed opens");
    let (records, end) = base::read(&store.stream("clicks").expect("the stream is there"));
    assert!(
        end.is_err()
            || records
                .last()
                .is_some_and(|(number, _)| *number == put.sequence_number),
        "what was put last is not the last"
    );
}

pub(crate) fn apply(change: Change, disk: &SimDisk, segment: &Path, program: &mut Program<'_>) {
    let rot = disk.rot();
    let mut file = rot.read(segment).expect("the segment is there");
    match change {
        Change::Replace => {
            let length = file.len();
            file.truncate(PAGE_BYTES);
            file.extend_from_slice(program.rest());
            file.resize(length, 0);
        }
        Change::Overwrite => program.overwrite(&mut file),
        Change::Resize => file.resize(program.u24() % (4 * file.len()), 0),
        Change::Frames => write_frames(&mut file, program),
        Change::Index => {
            let mut index = program.rest().to_vec();
            index.extend_from_slice(&crc32fast::hash(&index).to_le_bytes());
            rot.put(segment.with_extension("index"), &index)
                .expect("the directory is there");
        }
        Change::HeaderPage => {
            let start = program.bytes(PAGE_BYTES - 4);
            file[..start.len()].copy_from_slice(start);
            let checksum = crc32fast::hash(&file[..PAGE_BYTES - 4]);
            file[PAGE_BYTES - 4..PAGE_BYTES].copy_from_slice(&checksum.to_le_bytes());
        }
    }
    rot.put(segment, &file).expect("the directory is there");
}

/// Puts frames behind the header page. Each is 64 bytes of a header and a body, whose length is in two bytes before it.
/// The first byte at the place of the header's checksum chooses the fields that are set right, by its low bits: the
/// body's length, the position, and the chain.
fn write_frames(file: &mut Vec<u8>, program: &mut Program<'_>) {
    let mut seed = crc32fast::Hasher::new();
    // The store, the kind of log, the stream, the shard, the salt.
    for field in [16..32, 10..12, 32..40, 12..16, 40..48] {
        seed.update(&file[field]);
    }
    let base_position = u64::from_le_bytes(std::array::from_fn(|at| file[56 + at]));
    let mut chain: [u8; 4] = std::array::from_fn(|at| file[80 + at]);
    let length = file.len();
    file.truncate(PAGE_BYTES);
    while !program.is_over() && file.len() < length {
        let mut header = program.array::<HEADER_BYTES>();
        let body_length = usize::from(program.u16());
        let body = program.bytes(body_length);
        let position = base_position + (file.len() - PAGE_BYTES) as u64;
        let keep = header[8];
        header[0..4].copy_from_slice(&0x4D52_4641_u32.to_le_bytes());
        if keep & 1 == 0 {
            header[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
        }
        if keep & 2 == 0 {
            header[16..24].copy_from_slice(&position.to_le_bytes());
        }
        if keep & 4 == 0 {
            header[36..40].copy_from_slice(&chain);
        }
        let checksum = |parts: &[&[u8]]| {
            let mut hasher = seed.clone();
            parts.iter().for_each(|part| hasher.update(part));
            hasher.finalize().to_le_bytes()
        };
        let body_checksum = checksum(&[&header[16..24], body]);
        header[12..16].copy_from_slice(&body_checksum);
        chain = checksum(&[&header[0..8], &header[12..]]);
        header[8..12].copy_from_slice(&chain);
        file.extend_from_slice(&header);
        file.extend_from_slice(body);
        file.resize(file.len().next_multiple_of(8), 0);
    }
    file.resize(length, 0);
}

/// Reads from every kind of position, since each looks at the bytes in a different way.
fn read_from_everywhere(stream: &Stream, base: &Base) {
    let (middle, _) = base.records[base.records.len() / 2];
    for position in [
        StartingPosition::AtSequenceNumber(middle),
        StartingPosition::AfterSequenceNumber(middle),
        StartingPosition::AtTimestamp(NOW),
        StartingPosition::Latest,
    ] {
        let limit = anabranch::ReadLimit {
            records: 3,
            bytes: 40_000,
        };
        let mut next = stream.shard_iterator(middle.shard_id(), position).ok();
        for _ in 0..20 {
            let Some(iterator) = &next else { break };
            match stream.get_records(iterator, &limit) {
                Ok(read) => next = read.next,
                Err(error) => return assert_is_about_the_file(&error),
            }
        }
    }
}

pub(crate) fn assert_is_about_the_file(error: &Error) {
    let is_typed = matches!(
        error,
        Error::Corrupt { .. }
            | Error::UnsupportedFormat { .. }
            | Error::UnknownEncoding { .. }
            | Error::Io { .. }
            | Error::Unreadable { .. }
            | Error::StorageFull { .. }
    );
    // The last possible number may have been in the file.
    let is_used_up = matches!(error, Error::InvalidArgument { .. });
    assert!(is_typed || is_used_up, "{error}");
}

/// One input for each change to each file.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let input = |base: u8, segment: u8, change: Change| base | segment << 1 | change.byte() << 2;
    let file = |base: u8, segment: u8| {
        let base = Base::of(base);
        base.copy()
            .rot()
            .read(&base.segments[usize::from(segment)])
            .expect("the segment is there")
    };
    let index = |base: u8| {
        let path = Base::of(base).segments[0].with_extension("index");
        Base::of(base)
            .copy()
            .rot()
            .read(path)
            .expect("a full segment has an index")
    };
    let with = |first: u8, rest: &[u8]| [&[first], rest].concat();
    let frames = |base: u8, segment: u8| {
        // Large frames are cut: their records then run past their end.
        let frames = frames_of(&file(base, segment), 200);
        [&[input(base, segment, Change::Frames)], frames.as_slice()].concat()
    };
    let seeds = vec![
        ("frames-first", frames(0, 0)),
        ("frames-last-closed", frames(0, 1)),
        ("frames-last-crashed", frames(1, 1)),
        (
            "header-page",
            with(input(1, 1, Change::HeaderPage), &file(1, 1)[..96]),
        ),
        ("index", {
            let index = index(0);
            with(input(0, 0, Change::Index), &index[..index.len() - 4])
        }),
        (
            "overwrite",
            with(input(1, 1, Change::Overwrite), &[0x00, 0x10, 0x00, 2, 1, 2]),
        ),
        (
            "replace",
            with(
                input(1, 1, Change::Replace),
                &file(1, 1)[PAGE_BYTES..PAGE_BYTES + 300],
            ),
        ),
        ("resize", with(input(0, 1, Change::Resize), &[0x00, 0x20, 0x00])),
    ];
    seeds
        .into_iter()
        .map(|(name, input)| (name.to_owned(), input))
        .collect()
}

/// The frames of a segment as [`Change::Frames`] takes them, with bodies of at most this many bytes.
pub(crate) fn frames_of(file: &[u8], longest_body: usize) -> Vec<u8> {
    let mut frames = Vec::new();
    let mut at = PAGE_BYTES;
    while file[at] != 0 {
        let body_length = u32::from_le_bytes(std::array::from_fn(|i| file[at + 4 + i])) as usize;
        let body = &file[at + HEADER_BYTES..at + HEADER_BYTES + body_length];
        let body = &body[..body.len().min(longest_body)];
        frames.extend_from_slice(&file[at..at + 8]);
        frames.extend_from_slice(&[0; 4]);
        frames.extend_from_slice(&file[at + 12..at + HEADER_BYTES]);
        frames.extend_from_slice(&(body.len() as u16).to_le_bytes());
        frames.extend_from_slice(body);
        at += HEADER_BYTES + body_length;
    }
    frames
}
