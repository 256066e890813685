//! Opaque tokens: shard iterators, and the places where paged lists go on.
//!
//! A token has everything that is needed to go on, sealed with a key of the store. The server keeps nothing for it, so
//! it survives a restart, and a client cannot forge one.
//!
//! ```text
//! kind (1) | issued, ms (8) | nonce (8) | contents | HMAC-SHA256 of all before, first 16 bytes
//! ```

use std::time::Duration;

use base64_simd::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::request_id::UniqueNumbers;
use crate::{ConsumerId, QueueId, Receipt, RecordNumber, ShardFilter, ShardId, StreamId, Timestamp};

/// How long a token is valid.
pub(super) const LIFETIME: Duration = Duration::from_millis(300_000);

/// Seals and opens tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    key: Hmac<Sha256>,
    nonces: UniqueNumbers,
}

/// A token of this store, of any age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issued<T> {
    pub(super) at: Timestamp,
    pub(super) contents: T,
}

/// The contents of a shard iterator. The name is for messages; the id decides, since a stream may have been created
/// again under the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IteratorToken {
    pub(super) stream_id: StreamId,
    pub(super) shard_id: ShardId,
    pub(super) next: RecordNumber,
    pub(super) stream_name: String,
}

/// Where ListShards goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShardsToken {
    pub(super) stream_id: StreamId,
    pub(super) after: ShardId,
    pub(super) filter: ShardFilter,
    pub(super) stream_name: String,
}

/// Where ListStreams goes on: after this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamsToken {
    pub(super) after: String,
}

/// Where ListStreamConsumers goes on. The name is for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConsumersToken {
    pub(super) stream_id: StreamId,
    pub(super) after: ConsumerId,
    pub(super) stream_name: String,
}

/// Where ListQueues goes on: after this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueuesToken {
    pub(super) after: String,
}

/// Where ListChannels goes on: after this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChannelsToken {
    pub(super) after: String,
}

/// The receipt handle of one delivery of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReceiptToken(pub(super) Receipt);

/// The contents of a token.
pub(super) trait Contents: Sized {
    /// Distinguishes the kinds of token, so that one cannot be used in place of another.
    const KIND: u8;
    fn encode(&self, out: &mut Vec<u8>);
    fn decode(bytes: &[u8]) -> Option<Self>;
}

const MAC_LEN: usize = 16;

impl Tokens {
    /// Tokens that differ even with the same contents, by numbers of the seed or of a seed that no other run has.
    pub(super) fn new(key: &[u8; 32], seed: Option<u64>) -> Tokens {
        let key = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
        Tokens {
            key,
            nonces: UniqueNumbers::new(seed),
        }
    }

    /// A token for `contents`. No two are equal, even for the same contents at the same time.
    pub(super) fn seal<T: Contents>(&self, now: Timestamp, contents: &T) -> String {
        let mut bytes = Vec::with_capacity(256);
        bytes.push(T::KIND);
        bytes.extend_from_slice(&now.as_millis().to_be_bytes());
        bytes.extend_from_slice(&self.nonces.next().to_be_bytes());
        contents.encode(&mut bytes);
        let mac = self.key.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac[..MAC_LEN]);
        BASE64.encode_to_string(&bytes)
    }

    /// The contents of the token, if it was sealed with our key and is of this kind. AWS also accepts it in double
    /// quotes.
    pub(super) fn open<T: Contents>(&self, token: &str) -> Option<Issued<T>> {
        let token = token
            .strip_prefix('"')
            .and_then(|token| token.strip_suffix('"'))
            .unwrap_or(token);
        let bytes = BASE64.decode_to_vec(token).ok()?;
        let (sealed, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_LEN)?)?;
        self.key
            .clone()
            .chain_update(sealed)
            .verify_truncated_left(mac)
            .ok()?;
        let mut rest = Fields(sealed);
        let [kind] = rest.array()?;
        let at = Timestamp::from_millis(rest.u64()?);
        let _nonce = rest.u64()?;
        if kind != T::KIND {
            return None;
        }
        Some(Issued {
            at,
            contents: T::decode(rest.0)?,
        })
    }
}

impl<T> Issued<T> {
    /// Whether the token is too old. One from the future counts as new: the clock was set back.
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        now.since(self.at) > LIFETIME
    }
}

impl Contents for IteratorToken {
    const KIND: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stream_id.value().to_be_bytes());
        out.extend_from_slice(&self.shard_id.index().to_be_bytes());
        out.extend_from_slice(&self.next.value().to_be_bytes());
        out.extend_from_slice(self.stream_name.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(IteratorToken {
            stream_id: StreamId::new(fields.u64()?),
            shard_id: fields.shard_id()?,
            next: RecordNumber::new(fields.u64()?),
            stream_name: fields.text()?,
        })
    }
}

impl Contents for ShardsToken {
    const KIND: u8 = 2;

    fn encode(&self, out: &mut Vec<u8>) {
        let (filter, argument) = match self.filter {
            ShardFilter::FromTrimHorizon => (0, 0),
            ShardFilter::AtTrimHorizon => (1, 0),
            ShardFilter::AtLatest => (2, 0),
            ShardFilter::AtTimestamp(time) => (3, time.as_millis()),
            ShardFilter::FromTimestamp(time) => (4, time.as_millis()),
            ShardFilter::AfterShardId(id) => (5, id.index().into()),
        };
        out.extend_from_slice(&self.stream_id.value().to_be_bytes());
        out.extend_from_slice(&self.after.index().to_be_bytes());
        out.push(filter);
        out.extend_from_slice(&u64::to_be_bytes(argument));
        out.extend_from_slice(self.stream_name.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let stream_id = StreamId::new(fields.u64()?);
        let after = fields.shard_id()?;
        let [filter] = fields.array()?;
        let argument = fields.u64()?;
        let time = Timestamp::from_millis(argument);
        let filter = match filter {
            0 => ShardFilter::FromTrimHorizon,
            1 => ShardFilter::AtTrimHorizon,
            2 => ShardFilter::AtLatest,
            3 => ShardFilter::AtTimestamp(time),
            4 => ShardFilter::FromTimestamp(time),
            5 => ShardFilter::AfterShardId(ShardId::new(u32::try_from(argument).ok()?).ok()?),
            _ => return None,
        };
        Some(ShardsToken {
            stream_id,
            after,
            filter,
            stream_name: fields.text()?,
        })
    }
}

impl Contents for StreamsToken {
    const KIND: u8 = 3;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.after.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(StreamsToken {
            after: Fields(bytes).text()?,
        })
    }
}

impl Contents for ConsumersToken {
    const KIND: u8 = 4;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stream_id.value().to_be_bytes());
        out.extend_from_slice(&self.after.value().to_be_bytes());
        out.extend_from_slice(self.stream_name.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(ConsumersToken {
            stream_id: StreamId::new(fields.u64()?),
            after: ConsumerId::new(fields.u64()?),
            stream_name: fields.text()?,
        })
    }
}

impl Contents for QueuesToken {
    const KIND: u8 = 5;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.after.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(QueuesToken {
            after: Fields(bytes).text()?,
        })
    }
}

impl Contents for ChannelsToken {
    const KIND: u8 = 7;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.after.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(ChannelsToken {
            after: Fields(bytes).text()?,
        })
    }
}

impl Contents for ReceiptToken {
    const KIND: u8 = 6;

    fn encode(&self, out: &mut Vec<u8>) {
        let ReceiptToken(receipt) = self;
        out.extend_from_slice(&receipt.stream.value().to_be_bytes());
        out.extend_from_slice(&receipt.queue.value().to_be_bytes());
        out.extend_from_slice(&receipt.shard.index().to_be_bytes());
        out.extend_from_slice(&receipt.record.value().to_be_bytes());
        out.extend_from_slice(&receipt.delivery.to_be_bytes());
        out.push(receipt.is_dead_letter.into());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let receipt = Receipt {
            stream: StreamId::new(fields.u64()?),
            queue: QueueId::new(fields.array().map(u32::from_be_bytes)?),
            shard: fields.shard_id()?,
            record: RecordNumber::new(fields.u64()?),
            delivery: fields.u64()?,
            is_dead_letter: fields.array()? == [1],
        };
        Some(ReceiptToken(receipt))
    }
}

/// Reads fields off the front of a token.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn shard_id(&mut self) -> Option<ShardId> {
        ShardId::new(self.array().map(u32::from_be_bytes)?).ok()
    }

    /// The remaining bytes.
    fn text(&mut self) -> Option<String> {
        String::from_utf8(std::mem::take(&mut self.0).to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_421_889_722_000);

    fn tokens() -> Tokens {
        Tokens::new(&[7; 32], None)
    }

    fn iterator() -> IteratorToken {
        IteratorToken {
            stream_id: StreamId::new(3),
            shard_id: ShardId::new(5).unwrap(),
            next: RecordNumber::new(1 << 40),
            stream_name: "n".repeat(128),
        }
    }

    #[test]
    fn tokens_give_back_what_was_put_in_even_to_another_run_of_the_server() {
        let token = tokens().seal(NOW, &iterator());
        assert!(token.len() <= 512);
        let opened = Some(Issued {
            at: NOW,
            contents: iterator(),
        });
        assert_eq!(tokens().open(&token), opened);
        assert_eq!(tokens().open(&format!("\"{token}\"")), opened);

        let time = Timestamp::from_millis(12);
        for filter in [
            ShardFilter::FromTrimHorizon,
            ShardFilter::AtTrimHorizon,
            ShardFilter::AtLatest,
            ShardFilter::AtTimestamp(time),
            ShardFilter::FromTimestamp(time),
            ShardFilter::AfterShardId(ShardId::new(9).unwrap()),
        ] {
            let contents = ShardsToken {
                stream_id: StreamId::new(1),
                after: ShardId::new(1000).unwrap(),
                filter,
                stream_name: "s".into(),
            };
            let token = tokens().seal(NOW, &contents);
            assert_eq!(tokens().open(&token), Some(Issued { at: NOW, contents }));
        }

        let contents = ReceiptToken(Receipt {
            stream: StreamId::new(3),
            queue: QueueId::new(4),
            shard: ShardId::new(5).unwrap(),
            record: RecordNumber::new(6),
            delivery: 7,
            is_dead_letter: true,
        });
        let token = tokens().seal(NOW, &contents);
        assert!(token.len() <= 1024);
        assert_eq!(tokens().open(&token), Some(Issued { at: NOW, contents }));

        let contents = StreamsToken { after: "a.b".into() };
        assert_eq!(
            tokens().open(&tokens().seal(NOW, &contents)),
            Some(Issued { at: NOW, contents })
        );
    }

    #[test]
    fn two_tokens_are_never_the_same() {
        let tokens = tokens();
        assert_ne!(tokens.seal(NOW, &iterator()), tokens.seal(NOW, &iterator()));
    }

    #[test]
    fn a_forged_token_is_worthless() {
        let token = tokens().seal(NOW, &iterator());
        let open = |token: &str| tokens().open::<IteratorToken>(token);
        assert!(open(&token).is_some());

        let bytes = BASE64.decode_to_vec(&token).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut forged = bytes.clone();
                forged[at] ^= 1 << bit;
                assert_eq!(
                    open(&BASE64.encode_to_string(&forged)),
                    None,
                    "byte {at}, bit {bit}"
                );
            }
        }
        for len in 0..bytes.len() {
            assert_eq!(open(&BASE64.encode_to_string(&bytes[..len])), None, "{len} bytes");
        }
        for text in [
            "",
            "\"",
            "\"\"",
            "AAAA",
            "not base64",
            &token[1..],
            &format!("\"{token}"),
        ] {
            assert_eq!(open(text), None, "{text}");
        }
        assert_eq!(Tokens::new(&[8; 32], None).open::<IteratorToken>(&token), None);
    }

    #[test]
    fn one_kind_of_token_is_not_taken_for_another() {
        let token = tokens().seal(
            NOW,
            &StreamsToken {
                after: "a".repeat(40),
            },
        );
        assert_eq!(tokens().open::<IteratorToken>(&token), None);
        assert_eq!(tokens().open::<ShardsToken>(&token), None);
    }

    #[test]
    fn a_token_lives_for_five_minutes() {
        let issued = Issued {
            at: NOW,
            contents: (),
        };
        assert!(!issued.is_expired(NOW.saturating_add(LIFETIME)));
        assert!(issued.is_expired(NOW.saturating_add(LIFETIME + Duration::from_millis(1))));
        assert!(!issued.is_expired(NOW.saturating_sub(LIFETIME * 2)));
    }
}
