//! The key of one segment: how it is wrapped, and how it encrypts frames' bodies.
//!
//! ```text
//! the body of an encrypted frame
//!      0   n   the records, encrypted; n is a multiple of 8
//!      n  16   tag: shows that neither they nor what is associated with them was changed
//! n + 16  12   nonce
//! n + 28   4   zero
//! ```

use serde::{Deserialize, Serialize};

use super::Cipher;
use super::sizes::{KEY_BYTES, NONCE_BYTES, TAG_BYTES};

/// How much longer an encrypted body is than its contents. A multiple of the alignment of frames.
pub(crate) const SEAL_BYTES: usize = 32;

/// A segment's key, encrypted with a key of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WrappedKey {
    pub(crate) nonce: [u8; NONCE_BYTES],
    pub(crate) key: [u8; KEY_BYTES],
    pub(crate) tag: [u8; TAG_BYTES],
}

/// Encrypts and decrypts the frames of one segment.
#[derive(Debug)]
pub(crate) struct DataKey(Cipher);

impl DataKey {
    /// A key of random bytes, and the same key wrapped. It can be unwrapped only with the same `associated` data.
    pub(super) fn wrapped(
        key: [u8; KEY_BYTES],
        nonce: [u8; NONCE_BYTES],
        with: &Cipher,
        associated: &[u8],
    ) -> Option<(Self, WrappedKey)> {
        let mut wrapped = key;
        let tag = with.seal(nonce, associated, &mut wrapped)?;
        let wrapped = WrappedKey {
            nonce,
            key: wrapped,
            tag,
        };
        Some((Self(with.of_data_key(&key)), wrapped))
    }

    /// `None` if it was wrapped by another key or with other associated data, or was changed.
    pub(super) fn unwrap(wrapped: &WrappedKey, with: &Cipher, associated: &[u8]) -> Option<Self> {
        let mut bytes = [0; KEY_BYTES + TAG_BYTES];
        bytes[..KEY_BYTES].copy_from_slice(&wrapped.key);
        bytes[KEY_BYTES..].copy_from_slice(&wrapped.tag);
        let key: &[u8; KEY_BYTES] = with.open(wrapped.nonce, associated, &mut bytes)?.first_chunk()?;
        Some(Self(with.of_data_key(key)))
    }

    /// Encrypts the bytes of `buffer` from `start` on, which are a multiple of 8, and appends the tag and the nonce.
    /// `None` if they are too many for the cipher; the buffer is unusable then.
    pub(crate) fn seal(
        &self,
        buffer: &mut Vec<u8>,
        start: usize,
        nonce: [u8; NONCE_BYTES],
        associated: &[u8],
    ) -> Option<()> {
        let tag = self.0.seal(nonce, associated, &mut buffer[start..])?;
        buffer.extend_from_slice(&tag);
        buffer.extend_from_slice(&nonce);
        buffer.extend_from_slice(&[0; SEAL_BYTES - TAG_BYTES - NONCE_BYTES]);
        Some(())
    }

    /// The decrypted contents; `None` if the bytes were changed since sealing.
    pub(crate) fn open(&self, sealed: &[u8], associated: &[u8]) -> Option<Vec<u8>> {
        let (sealed, behind) = sealed.split_at_checked(sealed.len().checked_sub(SEAL_BYTES - TAG_BYTES)?)?;
        let (nonce, zeros) = behind.split_first_chunk()?;
        let mut bytes = sealed.to_vec();
        let length = self.0.open(*nonce, associated, &mut bytes)?.len();
        bytes.truncate(length);
        zeros.iter().all(|byte| *byte == 0).then_some(bytes)
    }
}

#[cfg(all(test, feature = "encryption"))]
mod tests {
    use super::*;

    const KEY: [u8; KEY_BYTES] = [7; KEY_BYTES];
    const NONCE: [u8; NONCE_BYTES] = [9; NONCE_BYTES];

    #[test]
    fn a_key_opens_only_as_it_was_wrapped() {
        let ring_key = Cipher::new(&[1; KEY_BYTES]);
        let (made, wrapped) = DataKey::wrapped(KEY, NONCE, &ring_key, b"shard 1").unwrap();
        let opened = DataKey::unwrap(&wrapped, &ring_key, b"shard 1").unwrap();
        let mut sealed = b"01234567".to_vec();
        made.seal(&mut sealed, 0, NONCE, b"frame").unwrap();
        assert_eq!(opened.open(&sealed, b"frame").unwrap(), b"01234567");

        assert!(DataKey::unwrap(&wrapped, &ring_key, b"shard 2").is_none());
        assert!(DataKey::unwrap(&wrapped, &Cipher::new(&[2; KEY_BYTES]), b"shard 1").is_none());
        let WrappedKey { nonce, key, tag } = wrapped;
        for bit in 0..8 * (NONCE_BYTES + KEY_BYTES + TAG_BYTES) {
            let mut bytes = [nonce.as_slice(), &key, &tag].concat();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let changed = WrappedKey {
                nonce: bytes[..12].try_into().unwrap(),
                key: bytes[12..44].try_into().unwrap(),
                tag: bytes[44..].try_into().unwrap(),
            };
            assert!(
                DataKey::unwrap(&changed, &ring_key, b"shard 1").is_none(),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_body_with_any_bit_flipped_or_in_another_place_does_not_open() {
        let (key, _) = DataKey::wrapped(KEY, NONCE, &Cipher::new(&KEY), b"").unwrap();
        let mut sealed = b"header--sixteen bytes...".to_vec();
        key.seal(&mut sealed, 8, NONCE, b"here").unwrap();
        assert_eq!(sealed.len(), 24 + SEAL_BYTES);
        assert_eq!(&sealed[..8], b"header--");
        let sealed = &sealed[8..];
        assert!(!sealed.windows(4).any(|window| window == b"sixt"));
        assert_eq!(key.open(sealed, b"here").unwrap(), b"sixteen bytes...");
        assert!(key.open(sealed, b"elsewhere").is_none());
        for bit in 0..8 * sealed.len() {
            let mut changed = sealed.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(&changed, b"here").is_none(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(key.open(&sealed[..length], b"here").is_none(), "{length} bytes");
        }
    }
}
