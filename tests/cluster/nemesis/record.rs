//! Records that show where they belong: all their bytes follow from their name.

use super::random::Random;

/// Some records of one stream are large, so that it soon has more than one block in the nodes' files.
const LARGE_BYTES: u64 = 300_000;
pub const STREAM_OF_LARGE_ONES: &str = "clicks";

/// A record of one stream: the keys of a writer are its own, and it counts under each of them from 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    pub key: String,
    pub count: u64,
}

impl Name {
    /// The bytes of the record in this stream.
    pub fn data(&self, stream: &str) -> Vec<u8> {
        let line = format!("{stream} {} {}\n", self.key, self.count);
        let mut random = line
            .bytes()
            .fold(Random::of(0), |random, byte| random.fork(u64::from(byte)));
        let length = match random.below(5) {
            0 if stream == STREAM_OF_LARGE_ONES => random.below(LARGE_BYTES),
            _ => random.below(1_000),
        };
        let mut data = line.into_bytes();
        data.extend((0..length).map(|_| random.next() as u8));
        data
    }

    /// The name that a stored record has, if its bytes are those of it in this stream.
    pub fn of(stream: &str, data: &[u8]) -> Option<Self> {
        let end = data.iter().position(|byte| *byte == b'\n')?;
        let line = std::str::from_utf8(&data[..end]).ok()?;
        let mut words = line.strip_prefix(stream)?.strip_prefix(' ')?.split(' ');
        let name = Self {
            key: words.next()?.to_owned(),
            count: words.next()?.parse().ok()?,
        };
        (name.data(stream) == data).then_some(name)
    }
}
