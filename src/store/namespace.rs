//! Namespaces: streams whose names are separate from those of other streams.

use std::sync::Arc;

use super::creation::StreamOptions;
use super::handle::StoreHandle;
use super::stream::{Stream, StreamSummary};
use crate::catalog::Resource;
use crate::error::{InvalidArgument, Result};
use crate::model::{StreamName, is_namespace};

/// The streams of a store with their names in one namespace, for example the account and region that a server serves
/// them for. A namespace exists as long as it has a stream. [`Store::namespace`](crate::Store::namespace) gives one.
#[derive(Clone, Debug)]
pub struct Namespace {
    handle: Arc<StoreHandle>,
    name: String,
}

impl Namespace {
    pub(super) fn new(handle: Arc<StoreHandle>, name: &str) -> Result<Self> {
        if !is_namespace(name) {
            let name = name.to_owned();
            return Err(InvalidArgument::Namespace { name }.into());
        }
        let name = name.to_owned();
        Ok(Self { handle, name })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As [`Store::create_stream`](crate::Store::create_stream), with a name that no other stream of this namespace
    /// has.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// let tenant = store.namespace("tenant-7")?;
    /// tenant.create_stream("clicks", 1)?;
    /// // Another stream of that name.
    /// store.create_stream("clicks", 1)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Store::create_stream`](crate::Store::create_stream).
    pub fn create_stream(&self, name: &str, shard_count: u32) -> Result<Stream> {
        self.create_stream_with(
            name,
            StreamOptions {
                shard_count,
                ..StreamOptions::default()
            },
        )
    }

    /// As [`Store::create_stream_with`](crate::Store::create_stream_with).
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let tenant = store.namespace("tenant-7")?;
    /// use anabranch::StreamOptions;
    ///
    /// let options = StreamOptions {
    ///     shard_count: 2,
    ///     ..StreamOptions::default()
    /// };
    /// let stream = tenant.create_stream_with("clicks", options)?;
    /// assert_eq!(stream.summary()?.open_shard_count, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Store::create_stream`](crate::Store::create_stream).
    pub fn create_stream_with(&self, name: &str, options: StreamOptions) -> Result<Stream> {
        self.handle
            .create_stream(StreamName::new(&self.name, name), options)
    }

    /// As [`Store::open_or_create_stream`](crate::Store::open_or_create_stream).
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let tenant = store.namespace("tenant-7")?;
    /// let first = tenant.open_or_create_stream("clicks", Default::default())?;
    /// let again = tenant.open_or_create_stream("clicks", Default::default())?;
    /// assert_eq!(first.id(), again.id());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Store::open_or_create_stream`](crate::Store::open_or_create_stream).
    pub fn open_or_create_stream(&self, name: &str, options: StreamOptions) -> Result<Stream> {
        self.handle
            .open_or_create_stream(&StreamName::new(&self.name, name), options)
    }

    /// A stream by its name in this namespace, in any state. Never blocks.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let tenant = store.namespace("tenant-7")?;
    /// tenant.create_stream("clicks", 1)?;
    /// assert!(tenant.stream("clicks").is_ok());
    /// assert!(store.stream("clicks").is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::StreamNotFound`](crate::Error::StreamNotFound), [`Error::Closed`](crate::Error::Closed).
    pub fn stream(&self, name: &str) -> Result<Stream> {
        self.handle.stream_named(&self.name, name)
    }

    /// Up to `limit` streams of this namespace in the order of their names, from the first or from after a name.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let tenant = store.namespace("tenant-7")?;
    /// for name in ["clicks", "orders"] {
    ///     tenant.create_stream(name, 1)?;
    /// }
    /// let behind = tenant.streams(Some("clicks"), 10)?;
    /// assert_eq!(behind[0].name, "orders");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed).
    pub fn streams(&self, after: Option<&str>, limit: usize) -> Result<Vec<StreamSummary>> {
        self.handle.streams(&self.name, after, limit)
    }

    /// How many open shards its streams have together, as [`Store::open_shard_count`](crate::Store::open_shard_count)
    /// counts them.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let tenant = store.namespace("tenant-7")?;
    /// tenant.create_stream("clicks", 4)?;
    /// store.create_stream("orders", 2)?;
    /// assert_eq!(tenant.open_shard_count()?, 4);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed).
    pub fn open_shard_count(&self) -> Result<u64> {
        self.handle.core.begin(None)?;
        let state = self.handle.core.catalog.read();
        let streams = state.streams_by_name(&self.name, None);
        Ok(streams
            .map(|(_, stream)| u64::from(stream.open_and_coming_shard_count()))
            .sum())
    }

    /// An attribute of this namespace's owner: bytes under a name, which the store keeps and does not use.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let tenant = store.namespace("tenant-7")?;
    /// assert_eq!(tenant.attribute("plan")?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed).
    pub fn attribute(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let owner = Resource::Account(self.name.clone());
        self.handle.core.attribute(&owner, name)
    }

    /// Sets an attribute of this namespace's owner, or removes it. Durable on return.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let tenant = store.namespace("tenant-7")?;
    /// tenant.set_attribute("plan", Some(b"large"))?;
    /// assert_eq!(tenant.attribute("plan")?.as_deref(), Some(&b"large"[..]));
    /// tenant.set_attribute("plan", None)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Store::set_attribute`](crate::Store::set_attribute).
    pub fn set_attribute(&self, name: &str, value: Option<&[u8]>) -> Result<()> {
        let owner = Resource::Account(self.name.clone());
        self.handle.core.set_attribute(owner, name, value)
    }
}
