//! The durable log of a catalog's edits.

use super::edit::Edit;
use super::state::CatalogState;
use crate::error::{Error, Result};

/// How many lists of edits a log has taken. It only rises. Each log chooses its first value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Revision(pub(crate) u64);

impl Revision {
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A durable log of edits, such as the manifest of a directory.
pub(crate) trait EditLog: Send + std::fmt::Debug {
    /// The state that all edits so far lead to. Called once, before all other methods.
    fn load(&mut self) -> Result<(CatalogState, Revision)>;

    /// Refuses if no edit can be appended any more.
    fn check(&self) -> Result<()>;

    /// Makes a list of edits durable, all together or not at all, if the log is at the revision that the caller
    /// expects.
    fn append(&mut self, edits: &[Edit], expected: Revision) -> Result<Revision>;

    /// Gives the edits of an [`append`](Self::append) that failed because their durability was unknown, once they are
    /// known to be durable. Gives each list once.
    ///
    /// # Errors
    /// Their durability is still unknown. No edit can be appended until it is known.
    fn finish(&mut self) -> Result<Option<(Vec<Edit>, Revision)>> {
        Ok(None)
    }

    /// Offers the state that the edits so far lead to, so that the log can replace them by a snapshot. The log decides
    /// whether to do so. The edits stay durable in any case: an error says only that no further edit can be appended.
    fn offer_snapshot(&mut self, state: &CatalogState) -> Result<()>;

    /// Takes no more edits, because of a defect in this crate. Gives the error that every later append gets.
    fn stop(&mut self, reason: &'static str) -> Error;
}
