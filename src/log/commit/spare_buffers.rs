//! Buffers of groups that were committed, to be used again by any shard: what is copied into a fresh one costs more in
//! page faults than in copying.

use crate::sync::Mutex;

/// The most that is kept, however many shards there are.
pub(super) const MAX_KEPT_BYTES: usize = 32 * 1024 * 1024;

/// A group is given room for up to so many times of what it has, where groups before needed as much: so many records are
/// taken in before what is there has to be copied.
const FORESIGHT: usize = 256;

/// By the power of two that a buffer's capacity reaches; larger ones than the last are not kept.
const CLASSES: usize = MAX_KEPT_BYTES.ilog2() as usize + 1;

#[derive(Debug)]
pub(crate) struct SpareBuffers {
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    by_class: [Vec<Vec<u8>>; CLASSES],
    bytes: usize,
}

impl Default for SpareBuffers {
    fn default() -> Self {
        Self {
            kept: Mutex::new(Kept {
                by_class: std::array::from_fn(|_| Vec::new()),
                bytes: 0,
            }),
        }
    }
}

impl SpareBuffers {
    /// An empty buffer for at least `needed` bytes, where `usual` are expected in the end.
    pub(super) fn take(&self, needed: usize, usual: usize) -> Vec<u8> {
        let wanted = needed.max(usual.min(needed.saturating_mul(FORESIGHT)));
        let kept = self.kept.lock().take(needed, wanted);
        kept.unwrap_or_else(|| Vec::with_capacity(needed.next_power_of_two()))
    }

    /// Makes room for `more` bytes behind what a buffer holds.
    pub(super) fn make_room(&self, buffer: &mut Vec<u8>, more: usize, usual: usize) {
        let needed = buffer.len() + more;
        if needed > buffer.capacity() {
            let mut larger = self.take(needed, usual);
            larger.extend_from_slice(buffer);
            self.give(std::mem::replace(buffer, larger));
        }
    }

    /// Takes a buffer that is not needed any more, and keeps it if there is room.
    pub(super) fn give(&self, buffer: Vec<u8>) {
        let surplus = self.kept.lock().give(buffer);
        // Outside the lock: to free a large one takes a while.
        drop(surplus);
    }

    pub(super) fn give_all(&self, buffers: impl Iterator<Item = Vec<u8>>) {
        let mut kept = self.kept.lock();
        let surplus: Vec<_> = buffers.filter_map(|buffer| kept.give(buffer)).collect();
        drop(kept);
        // Outside the lock: to free large ones takes a while.
        drop(surplus);
    }

    #[cfg(test)]
    fn kept_bytes(&self) -> usize {
        let kept = self.kept.lock();
        let buffers = kept.by_class.iter().flatten();
        let bytes = buffers.map(Vec::capacity).sum();
        assert_eq!(kept.bytes, bytes);
        bytes
    }
}

impl Kept {
    /// One whose capacity is not much larger than what is wanted, or else the next smaller one that has what is needed.
    fn take(&mut self, needed: usize, wanted: usize) -> Option<Vec<u8>> {
        let class_for = |bytes: usize| bytes.max(1).next_power_of_two().ilog2() as usize;
        let most = class_for(wanted).min(CLASSES - 1);
        let buffers = self.by_class.get_mut(class_for(needed)..=most)?;
        let buffer = buffers.iter_mut().rev().find_map(Vec::pop)?;
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Gives the buffer back if it is not kept.
    fn give(&mut self, mut buffer: Vec<u8>) -> Option<Vec<u8>> {
        let bytes = buffer.capacity();
        if bytes == 0 {
            return None;
        }
        let class = bytes.ilog2() as usize;
        match self.by_class.get_mut(class) {
            Some(buffers) if self.bytes + bytes <= MAX_KEPT_BYTES => {
                buffer.clear();
                buffers.push(buffer);
                self.bytes += bytes;
                None
            }
            _ => Some(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_the_bound_however_much_is_given() {
        let spare = SpareBuffers::default();
        for _ in 0..150 {
            spare.give(Vec::with_capacity(8 << 20));
            spare.give(Vec::with_capacity(3_000));
            spare.give(Vec::with_capacity(100 << 20));
        }
        let kept = spare.kept_bytes();
        assert!(
            (MAX_KEPT_BYTES / 2..=MAX_KEPT_BYTES).contains(&kept),
            "{kept} bytes"
        );
    }

    #[test]
    fn a_buffer_is_used_again_by_a_group_of_about_its_size() {
        let spare = SpareBuffers::default();
        spare.give(Vec::with_capacity(1 << 20));
        assert!(spare.take(100, 100).capacity() < 1_000);
        assert_eq!(spare.kept_bytes(), 1 << 20);
        assert_eq!(spare.take(600_000, 0).capacity(), 1 << 20);
        assert_eq!(spare.kept_bytes(), 0);
    }

    #[test]
    fn where_no_kept_buffer_has_what_is_usual_the_largest_that_has_what_is_needed_is_used() {
        let spare = SpareBuffers::default();
        for capacity in [1_000, 3_000, 5_000, 100_000] {
            spare.give(Vec::with_capacity(capacity));
        }
        let capacities = [(); 3].map(|()| spare.take(1_100, 8_000).capacity());
        // What is made afresh has what is needed.
        assert_eq!(capacities, [5_000, 3_000, 2_048]);
        assert_eq!(spare.kept_bytes(), 101_000);
    }

    #[test]
    fn a_group_that_grows_as_the_one_before_is_copied_into_a_kept_buffer_early() {
        let spare = SpareBuffers::default();
        spare.give(Vec::with_capacity(1 << 20));
        let mut buffer = spare.take(1_000, 1 << 20);
        buffer.resize(100_000, 7);
        spare.make_room(&mut buffer, 1_000, 1 << 20);
        assert_eq!((buffer.capacity(), buffer.len()), (1 << 20, 100_000));
        assert!(buffer.iter().all(|byte| *byte == 7));
    }
}
