//! A channel as its users hold it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::key_template;
use crate::error::{Error, Result};
use crate::model::{ChannelId, check_stream_name};
use crate::store::{ChannelDescription, ChannelOptions, Stream};

/// A channel of a stream: [`Delivery`](super::Delivery) puts the stream's records into objects for it, each at least
/// once, and those of a shard in order.
///
/// It exists, and keeps its position, whether or not a delivery runs. It loses records that expire before they are
/// delivered, which a delivery [reports](super::DeliveryEvent::RecordsExpired). Clones share it. It keeps its store
/// open.
#[derive(Clone, Debug)]
pub struct Channel {
    stream: Stream,
    id: ChannelId,
}

impl Stream {
    /// Makes a channel of the stream. Its name, of 1 to 128 characters of `a-z A-Z 0-9 _ . -`, is unique among the
    /// channels of the stream's namespace.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let buckets = directory.path();
    /// use std::time::Duration;
    ///
    /// use anabranch::{
    ///     ChannelOptions, Delivery, DeliveryOptions, Destination, DirectoryBuckets, RecordFormat, Store,
    /// };
    ///
    /// let store = Store::in_memory()?;
    /// let clicks = store.create_stream("clicks", 2)?;
    /// std::fs::create_dir(buckets.join("archive")).unwrap();
    /// let destination = Destination {
    ///     format: RecordFormat::Json,
    ///     ..Destination::new("archive")
    /// };
    /// let options = ChannelOptions {
    ///     freshness: Duration::ZERO,
    ///     ..ChannelOptions::to(destination)
    /// };
    /// clicks.create_channel("to-archive", &options)?;
    /// clicks.put("user-42", br#"{"page":"/"}"#)?;
    ///
    /// // `start` has threads do this from then on.
    /// let delivery = Delivery::new(&store, DirectoryBuckets::new(buckets), DeliveryOptions::default());
    /// assert_eq!(delivery.deliver_due(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ChannelExists`]; [`Error::InvalidArgument`] for the name, the key template, the prefix of errors, and a
    /// start that a channel cannot have; [`Error::TooManyChannels`]; [`Error::StreamNotOnDemand`];
    /// [`Error::StreamNotActive`]; otherwise as for [`summary`](Self::summary), and errors of the disk.
    pub fn create_channel(&self, name: &str, options: &ChannelOptions) -> Result<Channel> {
        if let Some(destination) = &options.destination {
            key_template::check_keys(destination, name, self.name())?;
        }
        let id = self.add_channel(name, options)?;
        Ok(Channel {
            stream: self.clone(),
            id,
        })
    }

    /// A channel of the stream, in any state.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let clicks = store.create_stream("clicks", 1)?;
    /// # use anabranch::{ChannelOptions, Destination};
    /// # let channel = clicks.create_channel("archive", &ChannelOptions::to(Destination::new("archive")))?;
    /// assert_eq!(clicks.channel("archive")?.id(), channel.id());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ChannelNotFound`]; otherwise as for [`summary`](Self::summary).
    pub fn channel(&self, name: &str) -> Result<Channel> {
        check_stream_name(name).map_err(|_| Error::ChannelNotFound {
            stream: self.name().to_owned(),
            channel: name.to_owned(),
        })?;
        let id = self.find_channel(name)?.id;
        Ok(Channel {
            stream: self.clone(),
            id,
        })
    }

    /// A channel of the stream by its number.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let clicks = store.create_stream("clicks", 1)?;
    /// # use anabranch::{ChannelOptions, Destination};
    /// # let channel = clicks.create_channel("archive", &ChannelOptions::to(Destination::new("archive")))?;
    /// assert_eq!(clicks.channel_by_id(channel.id())?.describe()?.name, "archive");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`channel`](Self::channel).
    pub fn channel_by_id(&self, id: ChannelId) -> Result<Channel> {
        self.describe_channel(id)?;
        Ok(Channel {
            stream: self.clone(),
            id,
        })
    }
}

impl Channel {
    /// The template of the keys of objects if the destination has none.
    pub const DEFAULT_KEY_TEMPLATE: &'static str = key_template::DEFAULT;

    /// The default prefix of the keys of objects with malformed records.
    pub fn default_error_prefix(channel_name: &str, unique_name: &str) -> String {
        key_template::default_error_prefix(channel_name, unique_name)
    }

    /// Its number, which no other channel of the stream ever has.
    pub fn id(&self) -> ChannelId {
        self.id
    }

    /// The stream that it delivers.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// A name that no other channel of any store has: the numbers of the stream, the channel and the store, in
    /// hexadecimal digits. It is part of the keys of the channel's objects.
    pub fn unique_name(&self) -> String {
        let (stream, channel) = (self.stream.id().value(), self.id.value());
        // These bits of the store's number distinguish stores that deliver into one bucket.
        let store = self.stream.store_id() as u32;
        format!("{stream:x}-{channel:x}-{store:08x}")
    }

    /// Its description.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let clicks = store.create_stream("clicks", 1)?;
    /// # use anabranch::{ChannelOptions, Destination};
    /// # let channel = clicks.create_channel("archive", &ChannelOptions::to(Destination::new("archive")))?;
    /// use anabranch::ReaderStatus;
    ///
    /// assert_eq!(channel.describe()?.status, ReaderStatus::Active);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ChannelNotFound`] once it is deleted; otherwise as for [`Stream::summary`].
    pub fn describe(&self) -> Result<ChannelDescription> {
        self.stream.describe_channel(self.id)
    }

    /// Changes how old a record may get before it is delivered.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let clicks = store.create_stream("clicks", 1)?;
    /// use std::time::Duration;
    ///
    /// use anabranch::{ChannelOptions, Destination};
    ///
    /// let channel = clicks.create_channel("archive", &ChannelOptions::to(Destination::new("archive")))?;
    /// assert_eq!(channel.describe()?.freshness, Duration::from_secs(300));
    /// channel.set_freshness(Duration::from_secs(1))?;
    /// assert_eq!(channel.describe()?.freshness, Duration::from_secs(1));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ChannelNotActive`]; otherwise as for [`describe`](Self::describe), and errors of the disk.
    pub fn set_freshness(&self, freshness: Duration) -> Result<()> {
        self.change(Some(freshness), &BTreeMap::new())
    }

    /// The same, if a freshness is given, and sets attributes in the same step.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let clicks = store.create_stream("clicks", 1)?;
    /// # use anabranch::{ChannelOptions, Destination};
    /// # let channel = clicks.create_channel("archive", &ChannelOptions::to(Destination::new("archive")))?;
    /// use std::time::Duration;
    ///
    /// channel.change(Some(Duration::from_secs(60)), &[("schema".into(), b"2".to_vec())].into())?;
    /// assert_eq!(channel.describe()?.freshness, Duration::from_secs(60));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`set_freshness`](Self::set_freshness).
    pub fn change(&self, freshness: Option<Duration>, attributes: &BTreeMap<String, Vec<u8>>) -> Result<()> {
        self.stream.change_channel(self.id, freshness, attributes)
    }

    /// Deletes it, after the store's transition delay if there is one. Delivered objects stay where they are.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let clicks = store.create_stream("clicks", 1)?;
    /// use anabranch::{ChannelOptions, Destination, Error};
    ///
    /// let channel = clicks.create_channel("archive", &ChannelOptions::to(Destination::new("archive")))?;
    /// // While it is there its stream cannot be deleted.
    /// assert!(matches!(clicks.delete(), Err(Error::StreamHasChannels { .. })));
    /// channel.delete()?;
    /// assert!(matches!(channel.describe(), Err(Error::ChannelNotFound { .. })));
    /// clicks.delete()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`describe`](Self::describe), and errors of the disk.
    pub fn delete(&self) -> Result<()> {
        self.stream.delete_channel(self.id)
    }
}
