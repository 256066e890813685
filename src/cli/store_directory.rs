//! The directory of a store, as an argument.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};

/// The beginnings of the addresses of servers and clusters.
const SCHEMES: [&str; 4] = ["http://", "https://", "nats://", "tls://"];

/// Refuses the address of a server. An error of the file system would not say what is wrong.
pub(super) fn store_directory() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        let is_address = path
            .to_str()
            .is_some_and(|path| SCHEMES.iter().any(|scheme| path.starts_with(scheme)));
        match is_address {
            true => {
                Err("this is an address: name the directory of the store, which a server may have in use")
            }
            false => Ok(path),
        }
    })
}
