//! The contents of a store's directory besides the segments: the holder of the lock, CURRENT, and the manifests.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Inspection;
use super::finding::{Consequence, Damage, Finding};
use crate::catalog::CatalogState;
use crate::catalog::manifest::{
    ManifestSurvey, is_unfinished_copy, manifest_name, parse_current, parse_manifest_name, survey_manifest,
};
use crate::disk::{DiskFile, LockError, OpenMode, Pieces, ReadablePages, list_if_there};
use crate::error::{Error, Result};
use crate::evidence::Evidence;
use crate::log::{JournaledPieces, JournaledSegment};

/// The contents at one moment.
#[derive(Debug)]
pub(super) struct Contents {
    /// The names in the directory.
    pub(super) names: Vec<String>,
    pub(super) is_held: bool,
    pub(super) holder: Option<u32>,
    /// The manifest in force, or the one that probably was.
    pub(super) manifest: Option<ManifestSurvey>,
    /// Whether CURRENT names this manifest.
    pub(super) is_in_force: bool,
    pub(super) findings: Vec<Finding>,
}

/// Who may change a store while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// The program that has the lock, if any.
    AsTheLockTells,
    /// Some program, whether or not it has the lock at this moment.
    Shared,
    /// No other program: this process has the lock.
    Alone,
}

/// Which edits a manifest has. A judgement made with one revision is not valid for another.
pub(super) type Revision = (u64, usize);

impl Contents {
    /// Reads the contents. While a program has the store, damage is believed only if two readings in a row find it.
    pub(super) fn read(inspection: &Inspection) -> Result<Self> {
        Self::read_as(inspection, Use::AsTheLockTells)
    }

    pub(super) fn read_as(inspection: &Inspection, used: Use) -> Result<Self> {
        const TRIES: usize = 100;
        let mut contents = Self::read_once(inspection, used)?;
        for _ in 1..TRIES {
            let is_clear =
                contents.is_in_force && contents.findings.iter().all(|finding| !finding.is_damage());
            if is_clear || !contents.is_held {
                return Ok(contents);
            }
            let again = Self::read_once(inspection, used)?;
            if again.revision() == contents.revision() && again.findings == contents.findings {
                return Ok(again);
            }
            contents = again;
        }
        // It was never the same twice, so no damage is certain.
        contents.findings.retain(|finding| !finding.is_damage());
        Ok(contents)
    }

    pub(super) fn revision(&self) -> Option<Revision> {
        let manifest = self.manifest.as_ref()?;
        Some((manifest.number, manifest.frames.len()))
    }

    pub(super) fn state(&self) -> Option<&CatalogState> {
        self.manifest
            .as_ref()
            .and_then(|manifest| manifest.state.as_ref())
    }

    fn read_once(inspection: &Inspection, used: Use) -> Result<Self> {
        let (disk, directory) = (&inspection.disk, &inspection.directory);
        let lock = directory.join("LOCK");
        let (is_locked, holder) = match used {
            Use::Alone => (false, None),
            Use::AsTheLockTells | Use::Shared => match disk.probe_lock(&lock) {
                Ok(()) => (false, None),
                Err(LockError::Held(holder)) => (true, holder),
                // A caller without permission for the lock may still read. The store is then assumed not to be in use.
                Err(LockError::Io(_)) => (false, None),
            },
        };
        let is_held = is_locked || used == Use::Shared;
        // A manifest and CURRENT may be replaced while a process has the store.
        let mut names = disk
            .list(directory)
            .map_err(|error| Error::io("list", directory, error))?;
        names.sort();
        if inspection.manifest.is_none() && is_unfinished_copy(&names) {
            return Err(Error::UnfinishedCopy {
                path: directory.clone(),
            });
        }
        let is_of_a_store =
            |name: &String| name == "CURRENT" || name == "streams" || parse_manifest_name(name).is_some();
        if !names.iter().any(is_of_a_store) {
            return Err(Error::NotAStore {
                path: directory.clone(),
            });
        }
        let mut contents = Self {
            names,
            is_held,
            holder,
            manifest: None,
            is_in_force: false,
            findings: Vec::new(),
        };
        contents.find_manifest(inspection)?;
        Ok(contents)
    }

    fn find_manifest(&mut self, inspection: &Inspection) -> Result<()> {
        if let Some(number) = inspection.manifest {
            return self.take_manifest(inspection, number);
        }
        let path = inspection.directory.join("CURRENT");
        let damage = match inspection.read_whole(&path) {
            Ok(bytes) => match parse_current(&bytes) {
                Some(number) => return self.take_manifest(inspection, number),
                None => Damage::CurrentNamesNothing,
            },
            Err(error) => damage_of(&error),
        };
        let is_new = matches!(damage, Damage::Missing) && self.is_new_store(inspection)?;
        if !is_new {
            self.findings
                .push(Finding::new(path, 0, damage, Consequence::DoesNotOpen));
        }
        self.guess_manifest(inspection)
    }

    /// Whether there was never a CURRENT: the process that made the store ended before it was complete.
    fn is_new_store(&self, inspection: &Inspection) -> Result<bool> {
        let manifests = || self.names.iter().filter_map(|name| parse_manifest_name(name));
        if manifests().any(|number| number != 1) || self.names.iter().any(|name| name == "damaged") {
            return Ok(false);
        }
        if !inspection
            .list_if_there(&inspection.directory.join("streams"))?
            .is_empty()
        {
            return Ok(false);
        }
        let first = inspection.read_manifest(1)?;
        let has_streams = |state: &CatalogState| state.streams().len() > 0;
        Ok(first.is_none_or(|manifest| !manifest.state.as_ref().is_some_and(has_streams)))
    }

    fn take_manifest(&mut self, inspection: &Inspection, number: u64) -> Result<()> {
        let path = inspection.directory.join(manifest_name(number));
        match inspection.survey_manifest(number) {
            Ok(manifest) => {
                self.note_defect(&manifest);
                self.is_in_force = true;
                let is_usable = manifest.state.is_some();
                self.manifest = Some(manifest);
                match is_usable {
                    true => Ok(()),
                    false => self.guess_manifest(inspection),
                }
            }
            Err(Problem::Refused(error)) => Err(error),
            Err(Problem::Damage(damage)) => {
                self.findings
                    .push(Finding::new(path, 0, damage, Consequence::DoesNotOpen));
                self.guess_manifest(inspection)
            }
        }
    }

    fn note_defect(&mut self, manifest: &ManifestSurvey) {
        for offset in &manifest.damaged_copies {
            let consequence = Consequence::HeldByOtherCopy;
            self.findings.push(Finding::new(
                &manifest.path,
                *offset,
                Damage::ManifestCopy,
                consequence,
            ));
        }
        if let Some(offset) = manifest.last_in_one_copy {
            let consequence = match self.is_held {
                true => Consequence::BeingWritten,
                false => Consequence::Harmless {
                    reason: "the other copy has the last change, which a crash may have kept from this one",
                },
            };
            let damage = Damage::ManifestCopy;
            self.findings
                .push(Finding::new(&manifest.path, offset, damage, consequence));
        }
        let Some(defect) = &manifest.defect else {
            return;
        };
        let (damage, consequence) = match (defect.is_torn, self.is_held) {
            (true, true) => (Damage::TornTail, Consequence::BeingWritten),
            (true, false) => (Damage::TornTail, Consequence::NeverAcknowledged),
            (false, _) => {
                let damage = Damage::ManifestFrame {
                    reason: defect.reason.clone(),
                    frames_behind: defect.frames_behind,
                };
                (damage, Consequence::DoesNotOpen)
            }
        };
        self.findings
            .push(Finding::new(&manifest.path, defect.offset, damage, consequence));
    }

    /// Guesses the manifest that was in force, where CURRENT names none or an unusable one. That is the newest, unless
    /// it was never named and the one before was still written to.
    fn guess_manifest(&mut self, inspection: &Inspection) -> Result<()> {
        let mut numbers: Vec<_> = self
            .names
            .iter()
            .filter_map(|name| parse_manifest_name(name))
            .collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let mut usable = Vec::new();
        for number in numbers {
            let manifest = inspection.read_manifest(number)?;
            usable.extend(manifest.filter(|manifest| manifest.state.is_some()));
        }
        let mut usable = usable.into_iter();
        let Some(mut best) = usable.next() else {
            return Ok(());
        };
        if let Some(before) = usable.next() {
            let is_just_a_snapshot = best.frames.len() == 1 && before.defect.is_none();
            if is_just_a_snapshot && before.state != best.state {
                best = before;
            }
        }
        self.is_in_force = false;
        self.note_defect(&best);
        self.manifest = Some(best);
        Ok(())
    }
}

/// Why there is no survey of a manifest.
enum Problem {
    Damage(Damage),
    Refused(Error),
}

impl Inspection {
    /// Reads a manifest whose header holds.
    fn read_manifest(&self, number: u64) -> Result<Option<ManifestSurvey>> {
        match self.survey_manifest(number) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(Problem::Damage(_)) => Ok(None),
            Err(Problem::Refused(error)) => Err(error),
        }
    }

    fn survey_manifest(&self, number: u64) -> std::result::Result<ManifestSurvey, Problem> {
        let path = self.directory.join(manifest_name(number));
        let bytes = self
            .read_whole(&path)
            .map_err(|error| Problem::Damage(damage_of(&error)))?;
        let mut manifest = survey_manifest(&bytes, number, &path).map_err(|error| match error {
            Error::Corrupt { reason, .. } => Problem::Damage(Damage::Header { reason }),
            error => Problem::Refused(error),
        })?;
        self.weigh_torn_tail(&mut manifest).map_err(Problem::Refused)?;
        Ok(manifest)
    }

    /// A last frame that does not hold is torn, unless something shows that it had been durable. Then it is damage, and
    /// the store does not open.
    fn weigh_torn_tail(&self, manifest: &mut ManifestSurvey) -> Result<()> {
        let (Some(state), Some(defect)) = (&manifest.state, &mut manifest.defect) else {
            return Ok(());
        };
        if !defect.is_torn {
            return Ok(());
        }
        let streams = self.directory.join("streams");
        let in_streams = list_if_there(self.disk.as_ref(), &streams)?;
        let evidence = Evidence {
            disk: &self.disk,
            streams: &streams,
            journal: &self.directory.join("journal"),
            state,
        };
        if let Some(later) = evidence.find_later_frame(&in_streams)? {
            defect.is_torn = false;
            defect.reason = format!("an edit is damaged that was made before {}", later.display());
        }
        Ok(())
    }

    /// Opens a file so that every page that can be read is read.
    pub(super) fn open(&self, path: &Path) -> io::Result<Arc<ReadablePages>> {
        self.open_with(path, None).map(|(file, _)| file)
    }

    /// The same, with other bytes laid over some places, as if they were written. If the file is missing, it consists
    /// of these bytes alone.
    pub(super) fn open_with(
        &self,
        path: &Path,
        journaled: Option<&Arc<JournaledSegment>>,
    ) -> io::Result<(Arc<ReadablePages>, FileIs)> {
        let (file, file_is) = match self.disk.open(path, OpenMode::Read) {
            Ok(file) => (Some(file), FileIs::There),
            Err(error) if error.kind() == io::ErrorKind::NotFound && journaled.is_some() => {
                (None, FileIs::Missing)
            }
            Err(error) => return Err(error),
        };
        let pieces = journaled.cloned().map(JournaledPieces::of);
        let pieces = pieces.map(|pieces| Box::new(pieces) as Box<dyn Pieces>);
        Ok((Arc::new(ReadablePages::with_pieces(file, pieces)), file_is))
    }

    pub(super) fn read_whole(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        let length = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// The names in a directory, sorted; none if the directory does not exist.
    pub(super) fn list_if_there(&self, directory: &Path) -> Result<Vec<String>> {
        match self.disk.list(directory) {
            Ok(mut names) => {
                names.sort();
                Ok(names)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(Vec::new())
            }
            Err(error) => Err(Error::io("list", directory, error)),
        }
    }
}

/// Whether a file exists below the bytes that are laid over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileIs {
    There,
    Missing,
}

pub(super) fn damage_of(error: &io::Error) -> Damage {
    match error.kind() {
        io::ErrorKind::NotFound => Damage::Missing,
        _ => Damage::Unreadable {
            error: error.to_string(),
        },
    }
}
