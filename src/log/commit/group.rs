//! Records that are committed together.
//!
//! At most two groups of a log exist: the one in flight and the pending one that takes new records. They differ in
//! parity, and each parity has its own condition. So the end of a commit wakes its own group and one future leader, not
//! all.

use std::sync::Arc;
use std::time::Instant;

use super::spare_buffers::SpareBuffers;
use crate::encryption::{KeyFingerprint, SEAL_BYTES};
use crate::log::format::frame::{ALIGNMENT, HEADER_BYTES, frame_bytes_of};
use crate::log::format::record_codec;
use crate::log::format::segment_header::PAGE_BYTES;
use crate::model::{PutRecord, RecordNumber, Timestamp};
use crate::seam::{Outcome, RECORD_OVERHEAD_BYTES};

/// Records that will be committed together.
#[derive(Debug)]
pub(super) struct Group {
    /// Room for the frame's header, then the encoded records. Empty before the first record.
    pub(super) buffer: Vec<u8>,
    pub(super) first_record: RecordNumber,
    pub(super) count: u32,
    /// Of the records' data and partition keys.
    pub(super) record_bytes: u64,
    /// When the first of them was taken in.
    pub(super) begun: Option<Instant>,
    pub(super) first_arrival: Timestamp,
    pub(super) last_arrival: Timestamp,
    /// Some of the records were acknowledged from memory while their stream was to be encrypted with this key.
    pub(super) key: Option<KeyFingerprint>,
    pub(super) outcome: Arc<Outcome>,
    /// Threads that wait for this group. Any of them can lead.
    pub(super) waiting_threads: usize,
    /// Whether a thread that waits for another log of its round will commit this group.
    pub(super) is_claimed: bool,
}

impl Group {
    pub(super) fn new(parity: usize) -> Self {
        Self {
            buffer: Vec::new(),
            first_record: RecordNumber::FIRST,
            count: 0,
            record_bytes: 0,
            begun: None,
            first_arrival: Timestamp::from_millis(0),
            last_arrival: Timestamp::from_millis(0),
            key: None,
            outcome: Arc::new(Outcome::new(parity)),
            waiting_threads: 0,
            is_claimed: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn bytes(&self) -> usize {
        self.buffer.len().saturating_sub(HEADER_BYTES)
    }

    /// The length of the frame that the group becomes.
    pub(super) fn frame_bytes(&self) -> u64 {
        frame_bytes_of(self.buffer.len())
    }

    /// Takes back a group that was numbered before this one and could not be written.
    pub(super) fn put_before(&mut self, mut earlier: Group) {
        if !self.is_empty() {
            earlier.buffer.extend_from_slice(&self.buffer[HEADER_BYTES..]);
            earlier.count += self.count;
            earlier.record_bytes += self.record_bytes;
            earlier.last_arrival = self.last_arrival;
        }
        self.buffer = earlier.buffer;
        self.count = earlier.count;
        self.record_bytes = earlier.record_bytes;
        self.begun = earlier.begun;
        self.first_record = earlier.first_record;
        self.first_arrival = earlier.first_arrival;
        self.last_arrival = earlier.last_arrival;
        self.key = self.key.or(earlier.key);
    }

    /// Takes in records that take `bytes` when encoded, where the group before had `usual` bytes.
    pub(super) fn push(
        &mut self,
        number: RecordNumber,
        records: &[PutRecord<'_>],
        arrival: Timestamp,
        bytes: usize,
        usual: usize,
        spare: &SpareBuffers,
    ) {
        // Leaves room to fill up the frame, to encrypt it, and, where there is a buffer, for a page.
        let room = bytes + ALIGNMENT + SEAL_BYTES;
        let usual = usual.max(HEADER_BYTES + room + PAGE_BYTES as usize);
        if self.is_empty() {
            self.first_record = number;
            self.first_arrival = arrival;
            self.begun = Some(Instant::now());
            self.buffer = spare.take(HEADER_BYTES + room, usual);
            self.buffer.resize(HEADER_BYTES, 0);
        } else {
            spare.make_room(&mut self.buffer, room, usual);
        }
        self.last_arrival = arrival;
        // A group has a limit in bytes, and each record takes at least its header.
        self.count += records.len() as u32;
        self.record_bytes += (bytes - RECORD_OVERHEAD_BYTES * records.len()) as u64;
        for record in records {
            record_codec::encode(&mut self.buffer, record.partition_key, record.data, arrival);
        }
    }
}
