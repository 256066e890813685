//! The catalog on a log of edits that is not a file.

use std::sync::Arc;

use super::*;
use crate::model::StreamId;
use crate::sync::Mutex;

/// What the log of a test has taken. The test keeps a handle of it.
#[derive(Debug, Default)]
struct Taken {
    lists: Vec<Vec<Edit>>,
    offered: usize,
    fails_next: Option<Error>,
    /// Whether it is unknown if the failed list is durable.
    is_in_doubt: bool,
    late: Option<Vec<Edit>>,
    stopped: Option<&'static str>,
}

/// A log in memory.
#[derive(Clone, Debug, Default)]
struct MemoryLog(Arc<Mutex<Taken>>);

impl EditLog for MemoryLog {
    fn load(&mut self) -> Result<(CatalogState, Revision)> {
        let mut taken = self.0.lock();
        if taken.lists.is_empty() {
            taken.lists.push(vec![Edit::StoreCreated {
                store: 7,
                secret: [9; 32],
            }]);
        }
        let edits: Vec<_> = taken.lists.iter().flatten().cloned().collect();
        let state = CatalogState::from_snapshot(edits).unwrap();
        Ok((state, Revision(taken.lists.len() as u64)))
    }

    fn check(&self) -> Result<()> {
        match self.0.lock().stopped {
            Some(reason) => Err(Error::bad_change(reason)),
            None => Ok(()),
        }
    }

    fn append(&mut self, edits: &[Edit], expected: Revision) -> Result<Revision> {
        let mut taken = self.0.lock();
        if let Some(error) = taken.fails_next.take() {
            taken.late = taken.is_in_doubt.then(|| edits.to_vec());
            return Err(error);
        }
        assert_eq!(expected, Revision(taken.lists.len() as u64));
        taken.lists.push(edits.to_vec());
        Ok(expected.next())
    }

    fn finish(&mut self) -> Result<Option<(Vec<Edit>, Revision)>> {
        let mut taken = self.0.lock();
        if taken.late.is_some() && taken.is_in_doubt {
            return Err(Error::Closed);
        }
        let late = taken.late.take();
        taken.lists.extend(late.clone());
        let revision = Revision(taken.lists.len() as u64);
        Ok(late.map(|edits| (edits, revision)))
    }

    fn offer_snapshot(&mut self, state: &CatalogState) -> Result<()> {
        let mut taken = self.0.lock();
        taken.offered += 1;
        let edits: Vec<_> = taken.lists.iter().flatten().cloned().collect();
        assert_eq!(CatalogState::from_snapshot(edits).as_ref(), Ok(state));
        Ok(())
    }

    fn stop(&mut self, reason: &'static str) -> Error {
        self.0.lock().stopped = Some(reason);
        Error::bad_change(reason)
    }
}

fn reserve(through: u64) -> Vec<Edit> {
    let through = StreamId::new(through);
    vec![Edit::StreamIdsReserved { through }]
}

#[test]
fn what_was_committed_is_there_when_the_log_is_loaded_again() {
    let log = MemoryLog::default();
    let catalog = Catalog::new(Box::new(log.clone())).unwrap();
    catalog.commit(|_| Ok(reserve(4))).unwrap();
    catalog.commit(|_| Ok(Vec::new())).unwrap();
    catalog.commit(|_| Ok(reserve(9))).unwrap();
    catalog.close();
    assert!(matches!(catalog.commit(|_| Ok(reserve(12))), Err(Error::Closed)));
    {
        let taken = log.0.lock();
        assert_eq!((taken.lists.len(), taken.offered), (3, 2));
    }

    let again = Catalog::new(Box::new(log)).unwrap();
    assert_eq!(again.read().next_stream(), StreamId::new(10));
}

#[test]
fn what_is_refused_changes_nothing() {
    let log = MemoryLog::default();
    let catalog = Catalog::new(Box::new(log.clone())).unwrap();
    let refused = catalog.commit(|_| Err(Error::bad_change("no")));
    assert!(matches!(refused, Err(Error::InvalidArgument { .. })));
    log.0.lock().fails_next = Some(Error::Closed);
    assert!(matches!(catalog.commit(|_| Ok(reserve(4))), Err(Error::Closed)));
    assert_eq!(catalog.read().next_stream(), StreamId::new(1));
    catalog.commit(|_| Ok(reserve(4))).unwrap();
    assert_eq!(catalog.read().next_stream(), StreamId::new(5));
}

#[test]
fn what_was_in_doubt_is_applied_once_it_is_known_and_nothing_before() {
    let log = MemoryLog::default();
    let catalog = Catalog::new(Box::new(log.clone())).unwrap();
    {
        let mut taken = log.0.lock();
        (taken.fails_next, taken.is_in_doubt) = (Some(Error::ReadOnly), true);
    }
    assert!(matches!(catalog.commit(|_| Ok(reserve(4))), Err(Error::ReadOnly)));
    assert!(matches!(catalog.commit(|_| Ok(reserve(5))), Err(Error::Closed)));
    assert_eq!(catalog.read().next_stream(), StreamId::new(1));
    log.0.lock().is_in_doubt = false;
    catalog
        .commit(|state| {
            assert_eq!(state.next_stream(), StreamId::new(5));
            Ok(reserve(9))
        })
        .unwrap();
    assert_eq!(catalog.read().next_stream(), StreamId::new(10));
    let again = Catalog::new(Box::new(log)).unwrap();
    assert_eq!(again.read().next_stream(), StreamId::new(10));
}

#[test]
fn an_edit_that_does_not_fit_ends_all_appending() {
    let log = MemoryLog::default();
    let catalog = Catalog::new(Box::new(log)).unwrap();
    let missing = |_: &CatalogState| {
        let stream = StreamId::new(8);
        Ok(vec![Edit::StreamDeleted { stream }])
    };
    assert!(catalog.commit(missing).is_err());
    assert!(catalog.commit(|_| Ok(reserve(4))).is_err());
    assert_eq!(catalog.read().next_stream(), StreamId::new(1));
}

#[test]
fn where_there_is_no_room_it_is_asked_for_and_tried_again() {
    let log = MemoryLog::default();
    let catalog = Catalog::new(Box::new(log.clone())).unwrap();
    let full = || Error::StorageFull {
        operation: "extend",
        path: "log".into(),
    };
    log.0.lock().fails_next = Some(full());
    let refused = catalog.commit(|_| Ok(reserve(4)));
    assert!(matches!(refused, Err(Error::StorageFull { .. })));
    log.0.lock().fails_next = Some(full());
    catalog.make_room_by(|_| true);
    catalog.commit(|_| Ok(reserve(4))).unwrap();
    assert_eq!(catalog.read().next_stream(), StreamId::new(5));
}
