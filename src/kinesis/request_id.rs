//! The ids of replies, and the salt that makes every token unique.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use base64_simd::STANDARD as BASE64;

/// Numbers that differ from each other, and from those of another run of the server. They are not secret.
#[derive(Debug)]
pub(super) struct UniqueNumbers {
    state: AtomicU64,
}

impl UniqueNumbers {
    /// The numbers of a seed, or of a seed that no other run has.
    pub(super) fn new(seed: Option<u64>) -> UniqueNumbers {
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(std::process::id()));
        UniqueNumbers {
            state: AtomicU64::new(seed),
        }
    }

    /// The next number of a SplitMix64 generator, which repeats none before it has given all.
    pub(super) fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut bits = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    pub(super) fn request_id(&self) -> RequestId {
        RequestId(u128::from(self.next()) << 64 | u128::from(self.next()))
    }

    /// The value of `x-amz-id-2`: 72 bytes in base64.
    pub(super) fn extended_request_id(&self) -> String {
        let mut bytes = [0; 72];
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes());
        }
        BASE64.encode_to_string(bytes)
    }
}

/// The value of `x-amzn-RequestId`, a version-4 UUID.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestId(u128);

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0;
        write!(
            formatter,
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            bits >> 96,
            bits >> 80 & 0xffff,
            bits >> 64 & 0xfff,
            bits >> 48 & 0x3fff | 0x8000,
            bits & 0xffff_ffff_ffff,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_uuids_of_version_four() {
        assert_eq!(
            RequestId(u128::MAX).to_string(),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
        assert_eq!(RequestId(0).to_string(), "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn numbers_do_not_repeat() {
        let numbers = UniqueNumbers::new(None);
        let seen: std::collections::HashSet<_> = (0..10_000).map(|_| numbers.next()).collect();
        assert_eq!(seen.len(), 10_000);
    }

    #[test]
    fn extended_ids_are_seventy_two_bytes() {
        assert_eq!(
            BASE64
                .decode_to_vec(UniqueNumbers::new(None).extended_request_id())
                .unwrap()
                .len(),
            72
        );
    }
}
