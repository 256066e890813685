//! Encryption of stored records: the keys of a program, and the ciphers.
//!
//! A segment of an encrypted stream has its own *data key*, drawn at random. Its header page has that key *wrapped*:
//! encrypted with a key of the program's [`KeyRing`], which the page names by its fingerprint. The bodies of the
//! segment's frames are encrypted with the data key, and the frames' checksums are of the stored bytes. So only reading
//! records needs a key; finding the end of a log, verifying and repairing do not.
//!
//! The cipher is AES-256 in Galois counter mode. A frame's nonce is 64 random bits and 32 bits of its position, and a
//! data key encrypts the frames of one segment only, each at its own position: no nonce is used twice with the same
//! key.
//!
//! This floor knows no file except the one that keys are read from.

#[cfg(feature = "encryption")]
mod cipher;
mod data_key;
mod fingerprint;
mod key_ring;
#[cfg(not(feature = "encryption"))]
mod no_cipher;
mod sizes;

#[cfg(feature = "encryption")]
use cipher::Cipher;
#[cfg(not(feature = "encryption"))]
use no_cipher::Cipher;

pub(crate) use data_key::{DataKey, SEAL_BYTES, WrappedKey};
pub(crate) use fingerprint::KeyFingerprint;
pub use key_ring::KeyRing;
#[cfg(feature = "encryption")]
pub use key_ring::KeyRingError;
pub(crate) use sizes::NONCE_BYTES;
