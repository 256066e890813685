//! Holding a segment: its file is not reused while anything reads it or has bytes of its mapping.
//!
//! A file is handed out only as a [`HeldFile`], and a mapping only as a [`HeldMapping`]. Each contains a
//! [`SegmentHold`], so every handle, mapping, and slice of a mapping holds the segment. All reads of a segment of an
//! open log go through these types.
//!
//! A segment can be held only while its log names it. After the log has forgotten it no hold begins, so the number of
//! holds only falls. When it is zero it stays zero, and the file may be recycled or removed ([`Holds::are_over`]). No
//! lock is necessary between that check and the renaming of the file.

use std::io;
use std::sync::Arc;

use crate::disk::{DiskFile, Mapping, Step, is_left_out};
use crate::sync::Mutex;

/// Counts the holds on a segment.
#[derive(Debug, Default)]
pub(crate) struct Holds(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    holds: usize,
    is_forgotten: bool,
}

impl Holds {
    /// Begins a hold; `None` once the segment is forgotten.
    pub(crate) fn begin(&self) -> Option<SegmentHold> {
        let mut state = self.0.lock();
        if state.is_forgotten && !is_left_out(Step::NoHoldOfForgotten) {
            return None;
        }
        state.holds += 1;
        Some(SegmentHold(self.0.clone()))
    }

    /// No hold begins after this.
    pub(crate) fn forget(&self) {
        self.0.lock().is_forgotten = true;
    }

    pub(crate) fn are_forgotten(&self) -> bool {
        self.0.lock().is_forgotten
    }

    /// Whether nothing holds the segment, now and in the future.
    pub(crate) fn are_over(&self) -> bool {
        let state = self.0.lock();
        state.is_forgotten && (state.holds == 0 || is_left_out(Step::HeldIsKept))
    }
}

/// Keeps a segment's file from being overwritten, recycled and removed.
#[derive(Debug)]
pub(crate) struct SegmentHold(Arc<Mutex<State>>);

impl Clone for SegmentHold {
    fn clone(&self) -> Self {
        self.0.lock().holds += 1;
        Self(self.0.clone())
    }
}

impl Drop for SegmentHold {
    fn drop(&mut self) {
        self.0.lock().holds -= 1;
    }
}

/// The file of a segment. It stays that segment's file as long as this value lives.
#[derive(Debug)]
pub(crate) struct HeldFile {
    // Fields are dropped in this order, so the file is closed before the hold ends.
    file: Arc<dyn DiskFile>,
    hold: SegmentHold,
}

impl HeldFile {
    pub(crate) fn new(file: Arc<dyn DiskFile>, hold: SegmentHold) -> Self {
        Self { file, hold }
    }

    /// Like [`DiskFile::map`]; the mapping holds the segment too.
    pub(crate) fn map_held(&self, length: u64) -> io::Result<HeldMapping> {
        Ok(HeldMapping {
            mapping: self.file.map(length)?,
            _hold: self.hold.clone(),
        })
    }
}

impl DiskFile for HeldFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn release(&self, from: u64) -> io::Result<()> {
        self.file.release(from)
    }

    fn map(&self, length: u64) -> io::Result<Box<dyn Mapping>> {
        Ok(Box::new(self.map_held(length)?))
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.file.drop_cache()
    }
}

/// A mapping that holds its segment until its last slice is dropped.
pub(crate) struct HeldMapping {
    // Fields are dropped in this order, so the file is unmapped before the hold ends.
    mapping: Box<dyn Mapping>,
    _hold: SegmentHold,
}

impl AsRef<[u8]> for HeldMapping {
    fn as_ref(&self) -> &[u8] {
        (*self.mapping).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::disk::sim::leave_out;
    use crate::sync::{AtomicBool, explore};

    #[test]
    fn a_forgotten_segment_is_held_by_those_who_held_it_and_then_by_nobody() {
        let holds = Holds::default();
        let first = holds.begin().unwrap();
        assert!(!holds.are_over());
        holds.forget();
        assert!(holds.begin().is_none());
        let second = first.clone();
        drop(first);
        assert!(!holds.are_over());
        drop(second);
        assert!(holds.are_over());
    }

    /// A keeper retires a file while a reader begins a hold. A reader with a hold finds that the file is still there.
    fn a_hold_beside_a_retirement() {
        explore(|| {
            let holds = Arc::new(Holds::default());
            let is_recycled = Arc::new(AtomicBool::new(false));
            let keeper = shuttle::thread::spawn({
                let (holds, is_recycled) = (holds.clone(), is_recycled.clone());
                move || {
                    holds.forget();
                    if holds.are_over() {
                        is_recycled.store(true, Ordering::SeqCst);
                    }
                }
            });
            if let Some(hold) = holds.begin() {
                assert!(!is_recycled.load(Ordering::SeqCst), "it is held and recycled");
                drop(hold);
            }
            keeper.join().unwrap();
        });
    }

    #[test]
    fn no_hold_begins_between_the_check_and_the_recycling() {
        a_hold_beside_a_retirement();
    }

    #[test]
    #[should_panic = "it is held and recycled"]
    fn a_hold_that_begins_after_the_check_is_found() {
        leave_out(Step::NoHoldOfForgotten, a_hold_beside_a_retirement);
    }

    #[test]
    fn a_segment_of_a_log_is_never_over() {
        let holds = Holds::default();
        assert!(!holds.are_over());
        drop(holds.begin());
        assert!(!holds.are_over());
    }
}
