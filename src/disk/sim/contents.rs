//! The bytes of one file: those that a reader sees, those on the device, and every step between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::holders::Holders;

/// The device writes this many bytes whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

/// The unit in which blocks are released.
const BLOCK_BYTES: u64 = 4096;

type Sector = Arc<[u8; SECTOR_BYTES]>;

/// Numbers every change in the order in which it was made, over the whole disk.
pub(super) type ChangeNumber = u64;

/// Bytes with a length. A sector that is absent is all zeros, and so is every byte behind the length.
///
/// Copies share the sectors until one of them changes, since a test of crashes makes many copies and changes few.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    length: u64,
    /// The last bytes, this many, have no blocks.
    released: u64,
    /// By number, up to the last one that is present.
    sectors: Arc<Vec<Option<Sector>>>,
}

impl Contents {
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// Bytes that have blocks.
    pub(super) fn used(&self) -> u64 {
        self.length - self.released
    }

    /// Releases the blocks that the other has released, except where this one has bytes.
    fn release_like(&mut self, other: &Self) {
        if self.length == other.length && other.released == 0 {
            self.released = 0;
        } else if self.length == other.length {
            let is_used = |sector: &Sector| sector.iter().any(|byte| *byte != 0);
            let used = self
                .sectors
                .iter()
                .rposition(|sector| sector.as_ref().is_some_and(is_used));
            self.released = other.released;
            self.reserve(used.map_or(0, |sector| ((sector + 1) * SECTOR_BYTES) as u64));
        }
    }

    /// Gives blocks to all bytes up to `end` again.
    fn reserve(&mut self, end: u64) {
        self.released = self.released.min(self.length.saturating_sub(end));
    }

    /// Copies the bytes at `offset` out. The caller has checked the length.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) {
        for (sector, from, within) in pieces(offset, buffer.len()) {
            match self.sector(sector) {
                Some(bytes) => buffer[within].copy_from_slice(&bytes[from]),
                None => buffer[within].fill(0),
            }
        }
    }

    pub(super) fn to_vec(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.read(&mut bytes, 0);
        bytes
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        for (sector, into, from) in pieces(offset, bytes.len()) {
            let sector = self.place(sector).get_or_insert_with(zeros);
            Arc::make_mut(sector)[into].copy_from_slice(&bytes[from]);
        }
        if !bytes.is_empty() {
            let end = offset + bytes.len() as u64;
            self.length = self.length.max(end);
            self.reserve(end);
        }
    }

    pub(super) fn set_len(&mut self, length: u64) {
        self.released = match length > self.length {
            true => 0,
            false => self.released.saturating_sub(self.length - length),
        };
        self.length = length;
        let first_gone = length.div_ceil(SECTOR_BYTES as u64) as usize;
        if first_gone < self.sectors.len() {
            Arc::make_mut(&mut self.sectors).truncate(first_gone);
        }
        let (last, tail) = (
            length / SECTOR_BYTES as u64,
            (length % SECTOR_BYTES as u64) as usize,
        );
        let is_used = |sector: &Sector| sector[tail..].iter().any(|byte| *byte != 0);
        if self.sector(last).is_some_and(is_used)
            && let Some(sector) = self.place(last)
        {
            Arc::make_mut(sector)[tail..].fill(0);
        }
    }

    fn sector(&self, number: u64) -> Option<&Sector> {
        self.sectors.get(number as usize)?.as_ref()
    }

    /// The place of a sector, whether it is present or not.
    fn place(&mut self, number: u64) -> &mut Option<Sector> {
        let sectors = Arc::make_mut(&mut self.sectors);
        let number = number as usize;
        if number >= sectors.len() {
            sectors.resize(number + 1, None);
        }
        &mut sectors[number]
    }

    /// The numbers of the sectors that are present, from `first` on.
    fn numbers_from(&self, first: u64) -> impl Iterator<Item = u64> {
        let sectors = self.sectors.iter().enumerate().skip(first as usize);
        sectors.filter_map(|(number, sector)| sector.as_ref().map(|_| number as u64))
    }
}

/// A file as the page cache has it and as the device has it.
///
/// A sector's unsynced versions are whole and cumulative, as the page cache would hand them to the device: a crash
/// leaves one of them or the durable sector, never a later write without an earlier one to the same sector.
#[derive(Clone, Debug, Default)]
pub(super) struct FileState {
    live: Contents,
    durable: Contents,
    sectors: BTreeMap<u64, Vec<SectorVersion>>,
    lengths: Vec<LengthChange>,
    /// A file without a name lives as long as it is open or mapped.
    pub(super) holders: Holders,
    /// Sectors of the device that cannot be read, until they are written to.
    bad_sectors: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
struct SectorVersion {
    change: ChangeNumber,
    bytes: Sector,
    /// The page was marked clean by a failed sync: the device never gets this version.
    abandoned: bool,
}

#[derive(Clone, Debug)]
struct LengthChange {
    change: ChangeNumber,
    length: u64,
    is_cut: bool,
    abandoned: bool,
}

/// Which of the unsynced changes the device has.
pub(super) trait Survival {
    fn sector(&mut self, change: ChangeNumber) -> bool;
    fn length(&mut self, change: ChangeNumber) -> bool;
}

/// All of them, as after a sync.
pub(super) struct Everything;

impl Survival for Everything {
    fn sector(&mut self, _: ChangeNumber) -> bool {
        true
    }

    fn length(&mut self, _: ChangeNumber) -> bool {
        true
    }
}

impl FileState {
    /// A file at rest.
    pub(super) fn settled(contents: Contents) -> Self {
        Self {
            live: contents.clone(),
            durable: contents,
            ..Self::default()
        }
    }

    /// The same file after all its holders have ended.
    pub(super) fn closed(&self) -> Self {
        Self {
            holders: Holders::default(),
            ..self.clone()
        }
    }

    pub(super) fn live(&self) -> &Contents {
        &self.live
    }

    pub(super) fn spoil_sector(&mut self, offset: u64) {
        self.bad_sectors.insert(offset / SECTOR_BYTES as u64);
    }

    pub(super) fn mend_sectors(&mut self) {
        self.bad_sectors.clear();
    }

    pub(super) fn can_be_read(&self, offset: u64, bytes: usize) -> bool {
        self.bad_sectors.is_empty()
            || pieces(offset, bytes).all(|(sector, _, _)| !self.bad_sectors.contains(&sector))
    }

    /// The bytes are one change, and growth in length is the next one: either may survive without the other.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64, mut next_change: impl FnMut() -> ChangeNumber) {
        if bytes.is_empty() {
            return;
        }
        let change = next_change();
        let old_length = self.live.len();
        self.live.write(bytes, offset);
        for (sector, _, _) in pieces(offset, bytes.len()) {
            self.bad_sectors.remove(&sector);
            let bytes = self.live.sector(sector).cloned().unwrap_or_else(zeros);
            self.sectors.entry(sector).or_default().push(SectorVersion {
                change,
                bytes,
                abandoned: false,
            });
        }
        let length = self.live.len();
        if length != old_length {
            let change = next_change();
            self.lengths.push(LengthChange {
                change,
                length,
                is_cut: false,
                abandoned: false,
            });
        }
    }

    /// Releases the blocks from an offset on. A crash may bring their bytes back.
    pub(super) fn release(&mut self, from: u64, mut next_change: impl FnMut() -> ChangeNumber) {
        let first = from.div_ceil(BLOCK_BYTES) * (BLOCK_BYTES / SECTOR_BYTES as u64);
        let written: Vec<_> = self.live.numbers_from(first).collect();
        for sector in written {
            let offset = sector * SECTOR_BYTES as u64;
            let bytes = (self.live.len() - offset).min(SECTOR_BYTES as u64);
            self.write(&vec![0; bytes as usize], offset, &mut next_change);
        }
        self.live.released = self.live.len().saturating_sub(first * SECTOR_BYTES as u64);
    }

    /// Gives blocks to all bytes up to a length.
    pub(super) fn allocate(&mut self, length: u64, change: ChangeNumber) {
        self.set_len(length, change);
        self.live.reserve(length);
    }

    pub(super) fn set_len(&mut self, length: u64, change: ChangeNumber) {
        let is_cut = length < self.live.len();
        if length != self.live.len() {
            self.live.set_len(length);
            self.lengths.push(LengthChange {
                change,
                length,
                is_cut,
                abandoned: false,
            });
        }
    }

    /// Makes durable all changes that no failed sync has abandoned.
    pub(super) fn sync(&mut self) {
        let durable = std::mem::take(&mut self.durable);
        self.durable = self.settle(durable, &mut Everything);
        self.sectors.retain(|_, versions| {
            let synced = versions
                .iter()
                .rposition(|version| !version.abandoned)
                .map_or(0, |last| last + 1);
            versions.drain(..synced);
            !versions.is_empty()
        });
        let synced = self
            .lengths
            .iter()
            .rposition(|change| !change.abandoned)
            .map_or(0, |last| last + 1);
        self.lengths.drain(..synced);
    }

    /// What a failed sync does to dirty pages: those that `marks_clean` picks are never written back, although a
    /// reader still sees them and a later sync succeeds.
    pub(super) fn abandon(&mut self, mut marks_clean: impl FnMut() -> bool) {
        for version in self.sectors.values_mut().flatten() {
            version.abandoned |= marks_clean();
        }
        for change in &mut self.lengths {
            change.abandoned |= marks_clean();
        }
    }

    /// Forgets clean pages: a reader no longer sees abandoned changes.
    pub(super) fn drop_cache(&mut self) {
        self.sectors.retain(|_, versions| {
            while versions.pop_if(|version| version.abandoned).is_some() {}
            !versions.is_empty()
        });
        while self.lengths.pop_if(|change| change.abandoned).is_some() {}
        self.live = self.settle(self.durable.clone(), &mut Everything);
    }

    /// The file as the device has it after a power loss in which the changes chosen by `survival` survive.
    pub(super) fn after_loss(&self, survival: &mut impl Survival) -> Contents {
        self.settle(self.durable.clone(), survival)
    }

    /// Makes durable everything that a reader sees.
    pub(super) fn settle_live(&mut self) {
        if !self.sectors.is_empty() || !self.lengths.is_empty() {
            *self = Self {
                holders: std::mem::take(&mut self.holders),
                bad_sectors: std::mem::take(&mut self.bad_sectors),
                ..Self::settled(self.live.clone())
            };
        }
    }

    /// Edits a file at rest, both as the device has it and as a reader sees it.
    pub(super) fn edit_at_rest<T>(&mut self, edit: impl FnOnce(&mut Contents) -> T) -> T {
        let result = edit(&mut self.live);
        self.durable = self.live.clone();
        result
    }

    pub(super) fn unsynced_changes(&self) -> impl Iterator<Item = ChangeNumber> {
        let sectors = self.sectors.values().flatten().map(|version| version.change);
        sectors.chain(self.lengths.iter().map(|change| change.change))
    }

    /// Puts the surviving changes onto `base`, which holds the durable bytes. A length that survives brings the cuts
    /// before it along, as a journal of metadata would.
    fn settle(&self, base: Contents, survival: &mut impl Survival) -> Contents {
        let mut settled = base;
        let lengths = self
            .lengths
            .iter()
            .rposition(|change| !change.abandoned && survival.length(change.change))
            .map_or(&[][..], |last| &self.lengths[..=last]);
        let cuts = || lengths.iter().filter(|change| change.is_cut);
        if let Some(shortest) = cuts().map(|cut| cut.length).min() {
            let shortest = shortest.min(settled.len());
            settled.set_len(shortest);
        }
        for (&sector, versions) in &self.sectors {
            let survivor = versions
                .iter()
                .rev()
                .find(|version| !version.abandoned && survival.sector(version.change));
            let Some(survivor) = survivor else { continue };
            let mut bytes = survivor.bytes.clone();
            for cut in cuts().filter(|cut| cut.change > survivor.change) {
                let kept = cut
                    .length
                    .saturating_sub(sector * SECTOR_BYTES as u64)
                    .min(SECTOR_BYTES as u64);
                Arc::make_mut(&mut bytes)[kept as usize..].fill(0);
            }
            *settled.place(sector) = Some(bytes);
        }
        // Without a surviving length nothing was cut either, so this is the durable one.
        let length = lengths.last().map_or(settled.len(), |change| change.length);
        settled.set_len(length);
        settled.release_like(&self.live);
        settled
    }
}

fn zeros() -> Sector {
    Arc::new([0; SECTOR_BYTES])
}

/// The sectors that `length` bytes from `offset` touch: number, range within the sector, range within the bytes.
fn pieces(
    offset: u64,
    length: usize,
) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let position = offset + done as u64;
        let from = (position % SECTOR_BYTES as u64) as usize;
        let count = (SECTOR_BYTES - from).min(length - done);
        let piece = (
            position / SECTOR_BYTES as u64,
            from..from + count,
            done..done + count,
        );
        done += count;
        Some(piece)
    })
}
