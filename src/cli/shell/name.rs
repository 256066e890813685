//! Names of streams at the shell.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use anabranch::check_stream_name;

/// The name of a stream. In a directory, the name of a namespace and a slash may precede it.
#[derive(Debug, Clone)]
pub(super) struct StreamArgument(String);

impl StreamArgument {
    /// Whether it has a namespace, which streams behind an endpoint do not have.
    pub(super) fn has_namespace(&self) -> bool {
        self.0.contains('/')
    }
}

impl FromStr for StreamArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, name) = text.rsplit_once('/').unwrap_or(("", text));
        check_stream_name(name).map_err(|error| error.to_string())?;
        // Dots alone are a path that was typed in the place of a name.
        let is_part = |part: &str| check_stream_name(part).is_ok() && !part.bytes().all(|byte| byte == b'.');
        match namespace.is_empty() || namespace.split('/').all(is_part) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "{namespace:?} is no namespace: one is made of a-z, A-Z, 0-9, `_`, `.` and `-`, with slashes between them, and \
                 no part of it is dots alone"
            )),
        }
    }
}

impl Deref for StreamArgument {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_of_kinesis_behind_a_namespace_if_it_has_one() {
        for name in [
            "clicks",
            "/clicks",
            "tenant-7/clicks",
            "000000000000/us-east-1/a_b.c-d",
            "..",
            "a..b/c",
        ] {
            assert!(name.parse::<StreamArgument>().is_ok(), "{name}");
        }
        let long = "x".repeat(129);
        for name in [
            "", "/", "a/", "../x", "./x", "a/../x", "/../x", "//x", "a//x", "clicks!", "cl icks", "clicks\n",
            "\u{e9}", &long,
        ] {
            assert!(name.parse::<StreamArgument>().is_err(), "{name}");
        }
    }
}
