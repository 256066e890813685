//! What bytes are fed to. Shared by the tests and by libFuzzer.

mod base;
#[cfg(feature = "server")]
pub(crate) mod http;
pub(crate) mod journal;
pub(crate) mod manifest;
mod program;
pub(crate) mod segments;
pub(crate) mod tools;
