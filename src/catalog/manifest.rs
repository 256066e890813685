//! The manifest: the file of edits that makes the catalog durable.
//!
//! ```text
//! DIR/CURRENT              names the manifest in force: its name, a blank, the CRC-32 of the name in hex, a line feed
//! DIR/MANIFEST-000007      edits since, and with, the snapshot that it begins with
//!
//! offset  bytes  field of the header
//!      0      8  magic            89 41 42 4D 0D 0A 1A 0A
//!      8      2  format           1
//!     10      6  reserved, zero
//!     16     16  store
//!     32      8  number           the one in the file's name
//!     40      8  salt             random
//!     48     12  zero
//!     60      4  checksum         CRC-32 of all bytes before
//!     64      -  frames
//!
//! offset  bytes  field of a frame
//!      0      4  magic            0x4546_4D41
//!      4      4  body length
//!      8      8  sequence         0 for the snapshot, then one more for each frame
//!     16      4  body checksum    CRC-32 of the seed and the body
//!     20      4  header checksum  CRC-32 of the seed and the bytes before
//!     24      -  body             a list of edits that happen together; filled up with zeros to a multiple of 8
//! ```
//! The seed is the store, the number and the salt. Each frame is synced before the next is written, so a whole frame
//! behind a damaged one shows that the damaged one had been durable; only a damaged last frame can be a torn one.
//!
//! All of this is in the file twice ([`copies`](super::copies)); offsets are those in one copy. A frame is taken from the
//! copy in which it is whole, and a manifest that has a damaged one is rewritten by whoever opens it. So it takes damage
//! at the same place of both copies to lose an edit.
//!
//! Room for further frames is reserved ahead, as zeros, so that a full disk is noticed before a frame is begun.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc32fast::Hasher;

use super::codec;
use super::copies::{Copies, STRIPE_BYTES, WhichCopy, file_length, file_offset, write_both};
use super::edit::Edit;
use super::state::CatalogState;
use crate::disk::{
    Disk, DiskFile, Health, OpenMode, Step, is_left_out, list_if_there, passes, perform, read_whole,
};
use crate::error::{Error, Result};

const FORMAT: u16 = 1;
const MAGIC: [u8; 8] = *b"\x89ABM\r\n\x1a\n";
const HEADER_BYTES: usize = 64;
const FRAME_MAGIC: u32 = 0x4546_4D41;
const FRAME_HEADER_BYTES: usize = 24;
const ALIGNMENT: usize = 8;

/// Reserved at a time for each copy; small enough not to matter, large enough for hundreds of edits on a full disk.
const RESERVE_BYTES: u64 = STRIPE_BYTES;

/// A manifest is written anew when it is larger than this and than twice its snapshot.
pub(crate) const COMPACTION_BYTES: u64 = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Manifest {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    store: u128,
    number: u64,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    seed: Hasher,
    next_sequence: u64,
    /// Where the next frame goes, in each copy.
    length: u64,
    /// For each copy.
    reserved: u64,
    snapshot_bytes: u64,
    /// Behind the last whole frame lies something that is not zeros: nothing is appended to it.
    has_torn_tail: bool,
    /// `CURRENT` names this manifest, but a crash may bring the one before back. Both have the same edits, until one more
    /// is appended.
    is_named_durably: bool,
    /// One copy is not as it was written; the other has what it lacks.
    has_damaged_copy: bool,
}

impl Manifest {
    /// Opens the manifest in force, or makes the first one where nothing was stored yet.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        before_new: impl FnOnce() -> Result<()>,
        find_later_frame: impl FnOnce(&CatalogState, bool) -> Result<Option<PathBuf>>,
    ) -> Result<(Self, CatalogState)> {
        // Whoever was here before may have been killed between a change and its sync. What is built on from now on
        // must not be taken back, so it is made durable before it is believed.
        perform(Step::StoreDirectorySyncAtOpen, || disk.sync_dir(directory))
            .map_err(|error| Error::io("sync the directory", directory, error))?;
        let current_path = directory.join("CURRENT");
        match read_whole(disk.as_ref(), &current_path) {
            Ok(bytes) => {
                let number = parse_current(&bytes)
                    .ok_or_else(|| Error::bad_manifest(&current_path, 0, "it does not name a manifest"))?;
                let (mut manifest, state) = Self::load(disk, directory, number)?;
                perform(Step::ManifestSyncAtOpen, || manifest.file.sync_data())
                    .map_err(|error| Error::io("sync", &manifest.path, error))?;
                if !is_left_out(Step::LaterFrames)
                    && let Some(later) = find_later_frame(&state, manifest.has_torn_tail)?
                {
                    let reason = format!(
                        "an edit is damaged or missing that was made before {}",
                        later.display()
                    );
                    let offset = file_offset(WhichCopy::First, manifest.length);
                    return Err(Error::bad_manifest(&manifest.path, offset, reason));
                }
                manifest.remove_others();
                if manifest.has_torn_tail && !is_left_out(Step::TornManifestRewrite) {
                    manifest = manifest.rewritten(&state)?;
                } else if manifest.has_damaged_copy {
                    manifest = match manifest.rewritten(&state) {
                        // The manifest goes on with one copy where the other is damaged, until there is room.
                        Err(error) if error.is_want_of_room() => manifest,
                        other => other?,
                    };
                }
                Ok((manifest, state))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                check_nothing_is_stored(&disk, directory)?;
                before_new()?;
                Self::create_first(&disk, directory)
            }
            Err(error) => Err(Error::io("read", &current_path, error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a list of edits durable, all together or not at all.
    pub(super) fn append(&mut self, edits: &[Edit], health: &Health) -> Result<()> {
        self.name_durably(health)?;
        let cannot_encode = |reason: String| Error::invalid(format!("the change cannot be stored: {reason}"));
        let body = codec::encode(edits).map_err(cannot_encode)?;
        let frame = encode_frame(&self.seed, self.next_sequence, &body);
        self.reserve(frame.len() as u64, health)?;
        write_both(self.file.as_ref(), &frame, self.length)
            .map_err(|error| health.poison("write to", &self.path, error))?;
        perform(Step::ManifestEditSync, || self.file.sync_data())
            .map_err(|error| health.poison("sync", &self.path, error))?;
        self.length += frame.len() as u64;
        self.next_sequence += 1;
        Ok(())
    }

    /// Writes the manifest anew once edits outweigh the state, and there are at least `least_bytes` of them.
    ///
    /// The edits that led here are durable whatever becomes of this, so only what is final is an error. Without room the
    /// old manifest goes on, until `CURRENT` names the new one. From there on the next edit waits until it does so durably:
    /// an edit that only the new one had would be lost with its name.
    pub(super) fn compact_if_large(
        &mut self,
        state: &CatalogState,
        least_bytes: u64,
        health: &Health,
    ) -> Result<()> {
        if self.length < least_bytes.max(2 * self.snapshot_bytes) {
            return Ok(());
        }
        match self.replace(state, health) {
            Err(error @ Error::Poisoned { .. }) => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn replace(&mut self, state: &CatalogState, health: &Health) -> Result<()> {
        let next = self
            .prepare_next(state)
            .map_err(|error| health.latch_unless_harmless(error))?;
        replace_current(self.disk.as_ref(), &self.directory)
            .map_err(|error| health.latch_unless_harmless(error))?;
        *self = next;
        self.sync_current(health)
    }

    /// Writes all that has to be there before `CURRENT` can be replaced. If that fails it takes no room.
    fn prepare_next(&self, state: &CatalogState) -> Result<Self> {
        let (disk, directory, number) = (&self.disk, &self.directory, self.number + 1);
        let prepared = Self::write_new(disk.clone(), directory, self.store, number, state)
            .and_then(|next| prepare_current(disk.as_ref(), directory, number).map(|()| next));
        if prepared.is_err() {
            let _ = disk.remove_file(&directory.join(file_name(number)));
        }
        prepared
    }

    /// Makes sure that no crash brings the manifest before this one back. `CURRENT` is written again for it: after a sync
    /// that failed, none can be believed but one of what is new.
    fn name_durably(&mut self, health: &Health) -> Result<()> {
        if self.is_named_durably {
            return Ok(());
        }
        let disk = self.disk.as_ref();
        prepare_current(disk, &self.directory, self.number)
            .and_then(|()| replace_current(disk, &self.directory))
            .map_err(|error| health.latch_unless_harmless(error))?;
        self.sync_current(health)
    }

    fn sync_current(&mut self, health: &Health) -> Result<()> {
        let synced = sync_current(self.disk.as_ref(), &self.directory);
        synced.map_err(|error| health.latch_unless_harmless(error))?;
        self.is_named_durably = true;
        self.remove_others();
        Ok(())
    }

    fn create_first(disk: &Arc<dyn Disk>, directory: &Path) -> Result<(Self, CatalogState)> {
        let entropy = || {
            disk.entropy()
                .map_err(|error| Error::io("draw an identity for", directory, error))
        };
        let store = (u128::from(entropy()?) << 64) | u128::from(entropy()?);
        let mut token_key = [0; 32];
        for bytes in token_key.chunks_exact_mut(8) {
            bytes.copy_from_slice(&entropy()?.to_le_bytes());
        }
        let state = CatalogState::new(store, token_key);
        let manifest = Self::put_in_force(disk, directory, store, 1, &state)?;
        Ok((manifest, state))
    }

    /// A manifest with the next number that holds just this state, and is the one in force.
    fn rewritten(&self, state: &CatalogState) -> Result<Self> {
        Self::put_in_force(&self.disk, &self.directory, self.store, self.number + 1, state)
    }

    /// Writes a manifest that holds just a state, and has `CURRENT` name it.
    pub(super) fn put_in_force(
        disk: &Arc<dyn Disk>,
        directory: &Path,
        store: u128,
        number: u64,
        state: &CatalogState,
    ) -> Result<Self> {
        let manifest = Self::write_new(disk.clone(), directory, store, number, state)?;
        prepare_current(disk.as_ref(), directory, number)?;
        replace_current(disk.as_ref(), directory)?;
        sync_current(disk.as_ref(), directory)?;
        Ok(Self {
            is_named_durably: true,
            ..manifest
        })
    }

    /// Writes a manifest that means nothing until `CURRENT` names it.
    fn write_new(
        disk: Arc<dyn Disk>,
        directory: &Path,
        store: u128,
        number: u64,
        state: &CatalogState,
    ) -> Result<Self> {
        let path = directory.join(file_name(number));
        let cannot = |operation| {
            let path = path.clone();
            move |error| Error::preparing(operation, &path, error)
        };
        let salt = disk.entropy().map_err(cannot("draw a salt for"))?;
        let seed = seed(store, number, salt);
        let body = codec::encode(&[Edit::Snapshot(Box::new(state.clone()))])
            .map_err(|reason| Error::invalid(format!("the catalog cannot be stored: {reason}")))?;
        let frame = encode_frame(&seed, 0, &body);
        let length = (HEADER_BYTES + frame.len()) as u64;
        let reserved = length.next_multiple_of(RESERVE_BYTES) + RESERVE_BYTES;

        let file = disk.open(&path, OpenMode::Truncate).map_err(cannot("create"))?;
        file.allocate(file_length(reserved)).map_err(cannot("reserve"))?;
        let mut header_and_frame = encode_header(store, number, salt).to_vec();
        header_and_frame.extend_from_slice(&frame);
        write_both(file.as_ref(), &header_and_frame, 0).map_err(cannot("write"))?;
        perform(Step::ManifestSnapshotSync, || file.sync_data()).map_err(cannot("sync"))?;
        perform(Step::ManifestNameSync, || disk.sync_dir(directory))
            .map_err(cannot("sync the directory of"))?;
        Ok(Self {
            disk,
            directory: directory.to_owned(),
            store,
            number,
            path: path.clone(),
            file,
            seed,
            next_sequence: 1,
            length,
            reserved,
            snapshot_bytes: length,
            has_torn_tail: false,
            is_named_durably: false,
            has_damaged_copy: false,
        })
    }

    fn load(disk: Arc<dyn Disk>, directory: &Path, number: u64) -> Result<(Self, CatalogState)> {
        let path = directory.join(file_name(number));
        let file = disk
            .open(&path, OpenMode::Write)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Error::bad_manifest(&path, 0, "the file is missing"),
                _ => Error::io("open", &path, error),
            })?;
        // Pages that the kernel marked clean after a failed write-back must not be believed.
        perform(Step::ManifestCacheDrop, || file.drop_cache())
            .map_err(|error| Error::io("drop the cache of", &path, error))?;
        let copies = Copies::read(file.clone()).map_err(|error| Error::io("read", &path, error))?;
        let Header { store, seed, damaged } = decode_headers(&copies, number, &path)?;
        let walk = walk_frames(&copies, &seed);
        let in_file = |offset| file_offset(WhichCopy::First, offset);
        if let Some((offset, reason)) = walk.defect {
            return Err(Error::bad_manifest(&path, in_file(offset), reason));
        }
        let snapshot_bytes = walk.frame_ends.first().copied().unwrap_or_default();
        let mut state = CatalogState::new(store, [0; 32]);
        for (edits, offset) in &walk.edits {
            apply_all(&mut state, edits)
                .map_err(|reason| Error::bad_manifest(&path, in_file(*offset), reason))?;
        }
        if state.store != store || walk.edits.is_empty() {
            return Err(Error::bad_manifest(&path, HEADER_BYTES as u64, NO_SNAPSHOT));
        }
        let manifest = Self {
            disk,
            directory: directory.to_owned(),
            store,
            number,
            path,
            file,
            seed,
            next_sequence: walk.edits.len() as u64,
            length: walk.end,
            reserved: copies.second.len() as u64,
            snapshot_bytes,
            has_torn_tail: walk.has_torn_tail,
            // The directory was synced before `CURRENT` was read.
            is_named_durably: true,
            has_damaged_copy: damaged.is_some()
                || !walk.damaged.is_empty()
                || copies.first.len() != copies.second.len(),
        };
        Ok((manifest, state))
    }

    /// Makes sure that a frame fits in what is reserved, and that there is more behind it if the disk has room.
    fn reserve(&mut self, frame_bytes: u64, health: &Health) -> Result<()> {
        let needed = self.length + frame_bytes;
        if needed + RESERVE_BYTES / 2 <= self.reserved {
            return Ok(());
        }
        let wanted = needed.next_multiple_of(RESERVE_BYTES) + RESERVE_BYTES;
        let fits = needed <= self.reserved;
        match self.file.allocate(file_length(wanted)) {
            Ok(()) if fits => {}
            // A frame that runs past the file's end shows that the file was cut, so a length must not be lost that a
            // torn frame could have needed. Elsewhere the frame's sync comes before the new room is needed.
            Ok(()) => perform(Step::ManifestRoomSync, || self.file.sync_data())
                .map_err(|error| health.poison("sync", &self.path, error))?,
            Err(_) if fits => return Ok(()),
            Err(error) => return Err(Error::preparing("extend", &self.path, error)),
        }
        self.reserved = wanted;
        Ok(())
    }

    /// Removes manifests that are not in force. They mean nothing, so failing to is harmless.
    fn remove_others(&self) {
        for name in self.disk.list(&self.directory).unwrap_or_default() {
            let is_other = parse_file_name(&name).is_some_and(|number| number != self.number);
            if is_other || name == "CURRENT.new" {
                let _ = self.disk.remove_file(&self.directory.join(name));
            }
        }
    }
}

/// A directory without CURRENT is a new store only if nothing in it could be missed.
fn check_nothing_is_stored(disk: &Arc<dyn Disk>, directory: &Path) -> Result<()> {
    let list = |path: &Path| disk.list(path).map_err(|error| Error::io("list", path, error));
    for name in perform(Step::MissingCurrent, || list(directory))? {
        let path = directory.join(&name);
        let is_empty_of_ours = match name.as_str() {
            "LOCK" | "CURRENT.new" => true,
            "streams" => !list_if_there(disk.as_ref(), &path)?
                .iter()
                .any(|name| is_number(name)),
            "pool" => true,
            _ if is_of_the_file_system(&name) => true,
            // What a repair copied aside was once something.
            "damaged" => false,
            _ => match parse_file_name(&name) {
                Some(1) => Manifest::load(disk.clone(), directory, 1)
                    .map_or(true, |(_, state)| state.streams().len() == 0),
                Some(_) => false,
                None => {
                    return Err(Error::NotAStore {
                        path: directory.to_owned(),
                    });
                }
            },
        };
        if !is_empty_of_ours {
            return Err(Error::bad_manifest(
                &directory.join("CURRENT"),
                0,
                "the file is missing",
            ));
        }
    }
    Ok(())
}

/// What file systems put into directories by themselves.
fn is_of_the_file_system(name: &str) -> bool {
    name == "lost+found" || name.starts_with(".nfs")
}

/// Streams' directories are called by their numbers.
fn is_number(name: &str) -> bool {
    name.parse::<u64>().is_ok()
}

/// Writes a `CURRENT` beside the one that is in force.
fn prepare_current(disk: &dyn Disk, directory: &Path, number: u64) -> Result<()> {
    let temporary = directory.join("CURRENT.new");
    let cannot = |operation| move |error| Error::preparing(operation, &directory.join("CURRENT"), error);
    let file = disk
        .open(&temporary, OpenMode::Truncate)
        .map_err(cannot("create"))?;
    file.write_all_at(&encode_current(number), 0)
        .map_err(cannot("write"))?;
    perform(Step::CurrentSync, || file.sync_data()).map_err(cannot("sync"))
}

fn replace_current(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let current = directory.join("CURRENT");
    disk.rename(&directory.join("CURRENT.new"), &current)
        .map_err(|error| Error::preparing("replace", &current, error))
}

fn sync_current(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let cannot = |error| Error::preparing("sync the directory of", &directory.join("CURRENT"), error);
    perform(Step::CurrentNameSync, || disk.sync_dir(directory)).map_err(cannot)
}

pub(super) fn file_name(number: u64) -> String {
    format!("MANIFEST-{number:06}")
}

pub(super) fn parse_file_name(name: &str) -> Option<u64> {
    name.strip_prefix("MANIFEST-")?.parse().ok()
}

fn encode_current(number: u64) -> Vec<u8> {
    let name = file_name(number);
    format!("{name} {:08x}\n", crc32fast::hash(name.as_bytes())).into_bytes()
}

pub(super) fn parse_current(bytes: &[u8]) -> Option<u64> {
    let number = parse_file_name(std::str::from_utf8(bytes).ok()?.split(' ').next()?)?;
    passes(Step::CurrentChecksum, bytes == encode_current(number)).then_some(number)
}

fn seed(store: u128, number: u64, salt: u64) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.update(&store.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(&salt.to_le_bytes());
    hasher
}

fn encode_header(store: u128, number: u64, salt: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[16..32].copy_from_slice(&store.to_le_bytes());
    bytes[32..40].copy_from_slice(&number.to_le_bytes());
    bytes[40..48].copy_from_slice(&salt.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..60]);
    bytes[60..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// What a manifest's header says.
pub(super) struct Header {
    pub(super) store: u128,
    pub(super) seed: Hasher,
    /// The copy whose header does not hold.
    pub(super) damaged: Option<WhichCopy>,
}

/// Reads the header of either copy.
pub(super) fn decode_headers(copies: &Copies, number: u64, path: &Path) -> Result<Header> {
    let first = decode_header(&copies.first, number, path);
    let second = decode_header(&copies.second, number, path);
    let (damaged, (store, seed)) = match (first, second) {
        (Ok(first), Ok(_)) => (None, first),
        (Ok(first), Err(_)) => (Some(WhichCopy::Second), first),
        (Err(Error::Corrupt { .. }), Ok(second)) => (Some(WhichCopy::First), second),
        (Err(error), _) => return Err(error),
    };
    Ok(Header { store, seed, damaged })
}

fn decode_header(bytes: &[u8], number: u64, path: &Path) -> Result<(u128, Hasher)> {
    let header: &[u8; HEADER_BYTES] = bytes
        .first_chunk()
        .ok_or_else(|| Error::bad_manifest(path, bytes.len() as u64, "it was cut"))?;
    if header[0..8] != MAGIC {
        return Err(Error::bad_manifest(path, 0, "this is not a manifest"));
    }
    let holds = crc32fast::hash(&header[..60]).to_le_bytes() == header[60..];
    if !passes(Step::ManifestHeader, holds) {
        return Err(Error::bad_manifest(
            path,
            0,
            "the header's checksum does not match",
        ));
    }
    let found = u16::from_le_bytes([header[8], header[9]]);
    if found > FORMAT {
        return Err(Error::NewerFormat {
            path: path.to_owned(),
            found,
            supported: FORMAT,
        });
    }
    let store = u128::from_le_bytes(std::array::from_fn(|i| header[16 + i]));
    let salt = u64::from_le_bytes(std::array::from_fn(|i| header[40 + i]));
    let is_of_name = header[..] == encode_header(store, number, salt);
    if !passes(Step::ManifestHeader, is_of_name) {
        return Err(Error::bad_manifest(
            path,
            0,
            "this is the manifest of another name",
        ));
    }
    Ok((store, seed(store, number, salt)))
}

fn encode_frame(seed: &Hasher, sequence: u64, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + body.len() + ALIGNMENT);
    frame.extend_from_slice(&FRAME_MAGIC.to_le_bytes());
    // No longer than `codec::MAX_BYTES`.
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    frame.extend_from_slice(&sequence.to_le_bytes());
    frame.extend_from_slice(&checksum(seed, body).to_le_bytes());
    frame.extend_from_slice(&checksum(seed, &frame).to_le_bytes());
    frame.extend_from_slice(body);
    frame.resize(frame.len().next_multiple_of(ALIGNMENT), 0);
    frame
}

fn checksum(seed: &Hasher, bytes: &[u8]) -> u32 {
    let mut hasher = seed.clone();
    hasher.update(bytes);
    hasher.finalize()
}

pub(super) const NO_SNAPSHOT: &str = "it does not begin with a snapshot";

pub(super) fn apply_all(state: &mut CatalogState, edits: &[Edit]) -> Result<(), &'static str> {
    edits.iter().try_for_each(|edit| state.apply(edit))
}

/// What a manifest's frames hold, up to the first that is whole in neither copy.
pub(super) struct Walk {
    /// Each frame's edits, and where it begins.
    pub(super) edits: Vec<(Vec<Edit>, u64)>,
    pub(super) frame_ends: Vec<u64>,
    pub(super) end: u64,
    /// At the end lies something that may be what a crash left of a frame.
    pub(super) has_torn_tail: bool,
    /// Where the walk could not go on although it should have, and why.
    pub(super) defect: Option<(u64, String)>,
    /// Frames that are whole in the other copy only.
    pub(super) damaged: Vec<(WhichCopy, u64)>,
}

pub(super) fn walk_frames(copies: &Copies, seed: &Hasher) -> Walk {
    let mut walk = Walk {
        edits: Vec::new(),
        frame_ends: Vec::new(),
        end: HEADER_BYTES as u64,
        has_torn_tail: false,
        defect: None,
        damaged: Vec::new(),
    };
    let mut offset = HEADER_BYTES;
    while let Some(frame) = find_frame(copies, offset, seed) {
        if !passes(Step::ManifestSequence, frame.sequence == walk.edits.len() as u64) {
            walk.defect = Some((offset as u64, "frames are missing before this one".to_owned()));
            return walk;
        }
        match codec::decode(frame.body) {
            Ok(edits) => walk.edits.push((edits, offset as u64)),
            Err(reason) => {
                walk.defect = Some((offset as u64, reason));
                return walk;
            }
        }
        walk.damaged
            .extend(frame.damaged_in.map(|copy| (copy, offset as u64)));
        walk.frame_ends.push(frame.end as u64);
        walk.end = frame.end as u64;
        offset = frame.end;
    }
    let goes_on = |copy: &[u8]| {
        let rest = copy.get(offset..).unwrap_or_default();
        rest.iter().any(|byte| *byte != 0)
    };
    walk.has_torn_tail = goes_on(&copies.first) || goes_on(&copies.second);
    if is_cut(copies, offset, seed) && !is_left_out(Step::ManifestCut) {
        walk.defect = Some((offset as u64, "the file was cut".to_owned()));
    } else if walk.has_torn_tail && frames_behind(copies, seed, offset).next().is_some() {
        walk.defect = Some((offset as u64, "a frame is damaged that others follow".to_owned()));
    }
    walk
}

/// A frame that is whole in one copy at least.
pub(super) struct Frame<'a> {
    pub(super) sequence: u64,
    pub(super) body: &'a [u8],
    /// Where the next frame begins.
    pub(super) end: usize,
    damaged_in: Option<WhichCopy>,
}

pub(super) fn find_frame<'a>(copies: &'a Copies, offset: usize, seed: &Hasher) -> Option<Frame<'a>> {
    let first = decode_frame(&copies.first, offset, seed);
    let second = decode_frame(&copies.second, offset, seed);
    let damaged_in = match (first, second) {
        (Some(first), Some(second)) if first == second => None,
        (Some(_), _) => Some(WhichCopy::Second),
        (None, _) => Some(WhichCopy::First),
    };
    let (sequence, body, end) = first.or(second)?;
    Some(Frame {
        sequence,
        body,
        end,
        damaged_in,
    })
}

/// Whether the file once went on behind the place at which no frame is whole. Room for a frame is durable before the
/// frame is begun, so a frame that was begun and does not fit was cut.
fn is_cut(copies: &Copies, offset: usize, seed: &Hasher) -> bool {
    let does_not_fit = |copy: &[u8]| {
        let rest = copy.get(offset..).unwrap_or_default();
        let header = rest.first_chunk::<FRAME_HEADER_BYTES>();
        header
            .and_then(|header| frame_length(header, seed))
            .is_some_and(|length| length > rest.len() as u64)
    };
    let rest = copies.first.get(offset..).unwrap_or_default();
    does_not_fit(&copies.first)
        || does_not_fit(&copies.second)
        || match rest.len() {
            0 => !copies.file_bytes.is_multiple_of(file_length(RESERVE_BYTES)),
            length => length < FRAME_HEADER_BYTES && rest.iter().any(|byte| *byte != 0),
        }
}

/// The length of a frame whose header holds, without what fills it up.
fn frame_length(header: &[u8; FRAME_HEADER_BYTES], seed: &Hasher) -> Option<u64> {
    let field = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| header[at + i]));
    let holds = passes(
        Step::ManifestFrameHeaderChecksum,
        field(20) == checksum(seed, &header[..20]),
    );
    (field(0) == FRAME_MAGIC && holds).then(|| FRAME_HEADER_BYTES as u64 + u64::from(field(4)))
}

/// Where frames are behind a place at which none is whole in either copy.
pub(super) fn frames_behind<'a>(
    copies: &'a Copies,
    seed: &'a Hasher,
    offset: usize,
) -> impl Iterator<Item = usize> + 'a {
    (offset + ALIGNMENT..copies.first.len().max(copies.second.len()))
        .step_by(ALIGNMENT)
        .filter(move |at| find_frame(copies, *at, seed).is_some())
        .filter(|_| !is_left_out(Step::ManifestFramesBehind))
}

/// A frame's sequence and body, and where the next one begins.
fn decode_frame<'a>(bytes: &'a [u8], offset: usize, seed: &Hasher) -> Option<(u64, &'a [u8], usize)> {
    let header: &[u8; FRAME_HEADER_BYTES] = bytes.get(offset..)?.first_chunk()?;
    let end = offset.checked_add(usize::try_from(frame_length(header, seed)?).ok()?)?;
    let body = bytes.get(offset + FRAME_HEADER_BYTES..end)?;
    let body_checksum = u32::from_le_bytes(std::array::from_fn(|i| header[16 + i]));
    if !passes(
        Step::ManifestFrameBodyChecksum,
        body_checksum == checksum(seed, body),
    ) {
        return None;
    }
    let sequence = u64::from_le_bytes(std::array::from_fn(|i| header[8 + i]));
    Some((sequence, body, end.next_multiple_of(ALIGNMENT)))
}
