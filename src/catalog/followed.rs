//! The catalog of a store that another program changes.

use std::sync::atomic::Ordering;

use super::edit::Edit;
use super::edit_log::{EditLog, Revision};
use super::state::CatalogState;
use super::{Catalog, Tail};
use crate::error::{Error, Result};
use crate::sync::{AtomicBool, AtomicU64, Mutex, OnceLock, RwLock};

/// What the other program has changed since the last look.
#[derive(Debug)]
pub(crate) enum CatalogNews {
    Nothing,
    /// Lists of edits, in their order.
    Edits(Vec<Vec<Edit>>),
    /// The state that the other program's edits lead to.
    State(Box<CatalogState>),
}

impl Catalog {
    /// A catalog with this state, of a store that another program changes. It takes no edits.
    pub(crate) fn of_followed(state: CatalogState) -> Self {
        Self {
            state: RwLock::new(state),
            tail: Mutex::new(Tail {
                log: Box::new(EditsOfAnother),
                revision: Revision(0),
            }),
            is_closed: AtomicBool::new(false),
            is_read_only: AtomicBool::new(true),
            encryption_revision: AtomicU64::new(0),
            make_room: OnceLock::new(),
        }
    }

    /// Takes over the changes of the other program, and runs `applied` before anyone can read them. Returns whether
    /// there were any.
    ///
    /// # Errors
    /// The reason why an edit does not fit. Earlier ones are taken over, so the caller has to pass the whole
    /// [state](CatalogNews::State) next.
    pub(crate) fn take_over(&self, news: CatalogNews, applied: impl FnOnce()) -> Result<bool, &'static str> {
        let may_change_encryption = match news {
            CatalogNews::Nothing => return Ok(false),
            CatalogNews::Edits(lists) => {
                let change_encryption = lists.iter().flatten().any(Edit::changes_encryption);
                let mut state = self.state.write();
                state.apply_all(lists.into_iter().flatten())?;
                applied();
                change_encryption
            }
            CatalogNews::State(state) => {
                let mut known = self.state.write();
                *known = *state;
                applied();
                true
            }
        };
        if may_change_encryption {
            self.encryption_revision.fetch_add(1, Ordering::Release);
        }
        Ok(true)
    }
}

/// The log of edits belongs to the other program, and refuses every edit here.
#[derive(Debug)]
struct EditsOfAnother;

impl EditLog for EditsOfAnother {
    fn load(&mut self) -> Result<(CatalogState, Revision)> {
        Err(Error::ReadOnly)
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn append(&mut self, _: &[Edit], _: Revision) -> Result<Revision> {
        Err(Error::ReadOnly)
    }

    fn offer_snapshot(&mut self, _: &CatalogState) -> Result<()> {
        Ok(())
    }

    fn stop(&mut self, reason: &'static str) -> Error {
        Error::bad_change(reason)
    }
}
