//! Buffers of committed groups, which any shard uses again: writing to a fresh buffer costs more in page faults than in
//! copying.

use crate::sync::Mutex;

/// The most that is kept over all shards.
pub(super) const MAX_KEPT_BYTES: usize = 32 * 1024 * 1024;

/// A group gets room for up to so many times its present bytes, if groups before needed as much. So many records are
/// taken in before a larger buffer and a copy are necessary.
const FORESIGHT: usize = 256;

/// By the power of two that a buffer's capacity reaches. Buffers larger than the last class are not kept.
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

    /// Makes room for `more` bytes behind the contents of a buffer.
    pub(super) fn make_room(&self, buffer: &mut Vec<u8>, more: usize, usual: usize) {
        let needed = buffer.len() + more;
        if needed > buffer.capacity() {
            let mut larger = self.take(needed, usual);
            larger.extend_from_slice(buffer);
            self.give(std::mem::replace(buffer, larger));
        }
    }

    /// Keeps a buffer that is no longer needed, if there is room.
    pub(super) fn give(&self, buffer: Vec<u8>) {
        let surplus = self.kept.lock().give(buffer);
        // Dropped outside the lock: freeing a large buffer takes a while.
        drop(surplus);
    }

    pub(super) fn give_all(&self, buffers: impl Iterator<Item = Vec<u8>>) {
        let mut kept = self.kept.lock();
        let surplus: Vec<_> = buffers.filter_map(|buffer| kept.give(buffer)).collect();
        drop(kept);
        // Dropped outside the lock: freeing large buffers takes a while.
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
    /// A buffer whose capacity is not much larger than `wanted`, or else the next smaller one that has at least
    /// `needed`.
    fn take(&mut self, needed: usize, wanted: usize) -> Option<Vec<u8>> {
        let class_for = |bytes: usize| bytes.max(1).next_power_of_two().ilog2() as usize;
        let most = class_for(wanted).min(CLASSES - 1);
        let buffers = self.by_class.get_mut(class_for(needed)..=most)?;
        let buffer = buffers.iter_mut().rev().find_map(Vec::pop)?;
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Returns the buffer if it is not kept.
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
        // A fresh buffer has the capacity that is needed.
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
