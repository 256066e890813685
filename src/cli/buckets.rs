//! `--buckets`: the place that channels deliver to.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anabranch::{Delivery, DeliveryEvent, DeliveryOptions, DirectoryBuckets, S3Buckets, Store};
use clap::Args;
use tracing::{info, warn};

use super::Failure;
use super::duration::duration;

#[derive(Debug, Clone, Args)]
pub(super) struct BucketArguments {
    /// The place of the buckets that channels deliver to: a directory, http://HOST:PORT or https://HOST of an
    /// S3-compatible endpoint, or s3 for Amazon S3
    ///
    /// In a directory, each bucket is an existing directory. Endpoints get the credentials of the environment
    /// (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and so on). Without this option, channels can be created, but they are
    /// FAILED and deliver nothing.
    #[arg(long, value_name = "PLACE", env = "ANABRANCH_BUCKETS")]
    buckets: Option<Place>,

    /// The maximum age of a record when it is delivered, if the setting of its channel is longer: 1s, 1m [default: the
    /// setting of the channel, 5 to 15 minutes]
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "buckets", env = "ANABRANCH_CHANNEL_FRESHNESS")]
    channel_freshness: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Directory(PathBuf),
    Endpoint(String),
    AmazonS3,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        match text {
            "" => Err("say a directory, the address of an endpoint, or s3".to_owned()),
            "s3" => Ok(Place::AmazonS3),
            text if text.starts_with("http://") || text.starts_with("https://") => {
                Ok(Place::Endpoint(text.to_owned()))
            }
            text if text.contains("://") => Err(format!("{text} is neither http:// nor https://")),
            text => Ok(Place::Directory(text.into())),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Directory(path) => path.display().fmt(f),
            Place::Endpoint(address) => address.fmt(f),
            Place::AmazonS3 => f.write_str("s3"),
        }
    }
}

impl BucketArguments {
    /// Starts threads that deliver the store's channels. Without a place there are none.
    pub(super) fn deliver(&self, store: &Store, region: &str) -> Result<Option<Arc<Delivery>>, Failure> {
        let Some(place) = &self.buckets else {
            return Ok(None);
        };
        let options = DeliveryOptions {
            most_freshness: self.channel_freshness,
            on_event: Arc::new(log_event),
            ..DeliveryOptions::default()
        };
        let endpoint = |address| {
            S3Buckets::new(address, region).map_err(|source| Failure::System {
                doing: "start a thread for buckets",
                source,
            })
        };
        let delivery = match place {
            Place::Directory(directory) => Delivery::new(store, DirectoryBuckets::new(directory), options),
            Place::Endpoint(address) => Delivery::new(store, endpoint(Some(address))?, options),
            Place::AmazonS3 => Delivery::new(store, endpoint(None)?, options),
        };
        delivery.start().map_err(Failure::Store)?;
        info!(buckets = %place, "channels are delivered");
        Ok(Some(Arc::new(delivery)))
    }
}

fn log_event(event: &DeliveryEvent) {
    match event {
        DeliveryEvent::Delivered { .. } | DeliveryEvent::Resumed { .. } => info!("{event}"),
        event => warn!("{event}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_directory_an_endpoint_or_amazon_s3() {
        assert_eq!("./objects".parse(), Ok(Place::Directory("./objects".into())));
        assert_eq!(
            "http://127.0.0.1:9000".parse(),
            Ok(Place::Endpoint("http://127.0.0.1:9000".to_owned()))
        );
        assert_eq!("s3".parse(), Ok(Place::AmazonS3));
        assert!("s3://bucket".parse::<Place>().is_err());
        assert!("".parse::<Place>().is_err());
    }
}
