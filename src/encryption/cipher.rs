//! AES-256-GCM, from a crate.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{Context, SHA256};

use super::sizes::{KEY_BYTES, NONCE_BYTES, TAG_BYTES};

/// A key that is ready for use.
pub(super) struct Cipher(LessSafeKey);

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher")
    }
}

impl Cipher {
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has the cipher's length");
        Self(LessSafeKey::new(key))
    }

    /// A cipher of the same kind with a data key.
    pub(super) fn of_data_key(&self, key: &[u8; KEY_BYTES]) -> Self {
        Self::new(key)
    }

    /// Encrypts in place. Gives the tag, which shows later whether `bytes` or `associated` was changed; `None` if there
    /// are more bytes than the cipher takes, which is 64 GiB.
    pub(super) fn seal(
        &self,
        nonce: [u8; NONCE_BYTES],
        associated: &[u8],
        bytes: &mut [u8],
    ) -> Option<[u8; TAG_BYTES]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(associated), bytes);
        tag.ok()?.as_ref().try_into().ok()
    }

    /// Decrypts bytes with their tag behind them, in place. `None` if anything was changed since sealing.
    pub(super) fn open<'a>(
        &self,
        nonce: [u8; NONCE_BYTES],
        associated: &[u8],
        bytes: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_in_place(nonce, Aad::from(associated), bytes).ok()
    }
}

/// The first eight bytes of a hash of a key, which reveal nothing of the key.
pub(super) fn hash_of_key(key: &[u8; KEY_BYTES]) -> [u8; 8] {
    let mut context = Context::new(&SHA256);
    context.update(b"anabranch key fingerprint");
    context.update(key);
    context
        .finish()
        .as_ref()
        .first_chunk()
        .copied()
        .unwrap_or_default()
}
