//! The places of the stream: source and target.

use std::path::{Path, PathBuf};

use anabranch::kinesis::ServerOptions;
use clap::Args;

use super::super::super::Failure;
use super::super::directory::Access;
use super::super::name::StreamArgument;
use super::super::place::{PlaceArguments, Work};
#[cfg(feature = "nats")]
use super::cluster::ClusterArguments;
#[cfg(feature = "mirror")]
use {
    super::super::aws::{Aws, AwsOptions},
    super::super::place::worked,
};

#[derive(Debug, Clone, Args)]
pub(super) struct PlacesArguments {
    /// Where the stream is: a directory, http://HOST:PORT, aws://REGION, or nats://HOST,.../STORE
    #[arg(value_name = "SOURCE")]
    source: String,

    /// The stream; in a directory also as NAMESPACE/NAME
    #[arg(value_name = "STREAM")]
    pub(super) stream: StreamArgument,

    /// Where to copy the stream: a place like SOURCE
    #[arg(value_name = "TARGET")]
    target: String,

    /// The region of the source's streams [default: in a directory us-east-1; otherwise AWS_REGION, AWS_DEFAULT_REGION,
    /// or the server's own region]
    #[arg(long, value_name = "REGION")]
    source_region: Option<String>,

    /// The region of the target's streams [default: as --source-region]
    #[arg(long, value_name = "REGION")]
    target_region: Option<String>,

    /// The account of the streams in a directory
    #[arg(long, value_name = "ID", default_value = ServerOptions::DEFAULT_ACCOUNT_ID, env = "ANABRANCH_ACCOUNT_ID")]
    account_id: String,

    /// A file of keys, for encrypted streams in the source's directory
    #[arg(long, value_name = "FILE")]
    source_keys: Option<PathBuf>,

    /// A file of keys, for encrypted streams in the target's directory
    #[arg(long, value_name = "FILE")]
    target_keys: Option<PathBuf>,

    /// The address of Amazon Kinesis, if it is the source [default: AWS_ENDPOINT_URL_KINESIS, or that of AWS]
    #[cfg(feature = "mirror")]
    #[arg(long, value_name = "URL")]
    source_endpoint_url: Option<String>,

    /// The address of Amazon Kinesis, if it is the target [default: AWS_ENDPOINT_URL_KINESIS, or that of AWS]
    #[cfg(feature = "mirror")]
    #[arg(long, value_name = "URL")]
    target_endpoint_url: Option<String>,

    /// The profile of AWS' configuration with the keys for the source [default: AWS_PROFILE]
    #[cfg(feature = "mirror")]
    #[arg(long, value_name = "NAME")]
    source_profile: Option<String>,

    /// The profile of AWS' configuration with the keys for the target [default: AWS_PROFILE]
    #[cfg(feature = "mirror")]
    #[arg(long, value_name = "NAME")]
    target_profile: Option<String>,

    #[cfg(feature = "nats")]
    #[command(flatten)]
    cluster: ClusterArguments,
}

/// The options of one of the places.
struct Side<'a> {
    place: &'a str,
    stream: &'a StreamArgument,
    region: Option<&'a String>,
    keys: Option<&'a PathBuf>,
    access: Access,
    #[cfg(feature = "mirror")]
    endpoint_url: Option<&'a str>,
    #[cfg(feature = "mirror")]
    profile: Option<&'a str>,
}

/// The kinds of places.
#[derive(Debug, PartialEq, Eq)]
enum Kind<'a> {
    Directory(&'a Path),
    Endpoint(&'a str),
    /// The region, if it is given.
    Aws(&'a str),
    Cluster(&'a str),
}

impl PlacesArguments {
    /// Opens the source and does the work there.
    pub(super) fn run(&self, work: impl Work) -> Result<(), Failure> {
        // A target that is wrong is refused before the source is opened.
        Kind::of(&self.target)?;
        self.run_at(
            &Side {
                place: &self.source,
                stream: &self.stream,
                region: self.source_region.as_ref(),
                keys: self.source_keys.as_ref(),
                access: Access::Follow,
                #[cfg(feature = "mirror")]
                endpoint_url: self.source_endpoint_url.as_deref(),
                #[cfg(feature = "mirror")]
                profile: self.source_profile.as_deref(),
            },
            work,
        )
    }

    /// Opens the target and does the work there.
    pub(super) fn run_at_target(&self, to: &StreamArgument, work: impl Work) -> Result<(), Failure> {
        self.run_at(
            &Side {
                place: &self.target,
                stream: to,
                region: self.target_region.as_ref().or(self.source_region.as_ref()),
                keys: self.target_keys.as_ref(),
                access: Access::Make,
                #[cfg(feature = "mirror")]
                endpoint_url: self.target_endpoint_url.as_deref(),
                #[cfg(feature = "mirror")]
                profile: self.target_profile.as_deref(),
            },
            work,
        )
    }

    /// Whether source and target were given as the same place.
    pub(super) fn is_one_place(&self) -> bool {
        let is_one_url = self.source.trim_end_matches('/') == self.target.trim_end_matches('/');
        let is_one_region = self.target_region.is_none() || self.target_region == self.source_region;
        #[cfg(feature = "mirror")]
        let is_one_region = is_one_region
            && self.source_endpoint_url == self.target_endpoint_url
            && self.source_profile == self.target_profile;
        is_one_url && is_one_region
    }

    fn run_at(&self, side: &Side<'_>, work: impl Work) -> Result<(), Failure> {
        let kind = Kind::of(side.place)?;
        if matches!(kind, Kind::Endpoint(_) | Kind::Aws(_)) && side.stream.has_namespace() {
            return Err(Failure::Usage(format!(
                "{}: a stream behind an endpoint has no namespace, and no slash in its name; --to gives it another one at \
                 the target",
                side.stream
            )));
        }
        let region = side.region.cloned();
        match kind {
            Kind::Directory(directory) => {
                let place =
                    PlaceArguments::of_directory(directory, region, &self.account_id, side.keys.cloned());
                place.run(side.access, None, work)
            }
            Kind::Endpoint(url) => {
                PlaceArguments::of_endpoint(url, region, &self.account_id).run(side.access, None, work)
            }
            #[cfg(feature = "mirror")]
            Kind::Aws(region) => worked(
                Aws::open(AwsOptions {
                    region,
                    endpoint_url: side.endpoint_url,
                    profile: side.profile,
                })?,
                work,
            ),
            #[cfg(not(feature = "mirror"))]
            Kind::Aws(_) => Err(without(side.place, "mirror")),
            #[cfg(feature = "nats")]
            Kind::Cluster(url) => self.cluster.run(url, region.as_deref(), &self.account_id, work),
            #[cfg(not(feature = "nats"))]
            Kind::Cluster(_) => Err(without(side.place, "nats")),
        }
    }
}

impl Kind<'_> {
    fn of(place: &str) -> Result<Kind<'_>, Failure> {
        match place.split_once("://") {
            None if place.is_empty() => Err(unknown(place)),
            None => Ok(Kind::Directory(Path::new(place))),
            Some(("http" | "https", _)) => Ok(Kind::Endpoint(place)),
            Some(("nats" | "tls", _)) => Ok(Kind::Cluster(place)),
            Some(("aws", region)) if is_region(region) => Ok(Kind::Aws(region)),
            Some(_) => Err(unknown(place)),
        }
    }
}

fn is_region(text: &str) -> bool {
    let is_part =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
    text.chars().all(is_part)
}

fn unknown(place: &str) -> Failure {
    Failure::Usage(format!(
        "expected a directory, http://HOST:PORT, https://HOST, aws://REGION or nats://HOST,.../STORE, not {place:?}"
    ))
}

#[cfg(not(all(feature = "mirror", feature = "nats")))]
fn without(place: &str, feature: &str) -> Failure {
    Failure::Usage(format!(
        "{place}: this program was built without the feature `{feature}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_by_its_scheme() {
        for (place, kind) in [
            ("data", Kind::Directory(Path::new("data"))),
            ("./a:b", Kind::Directory(Path::new("./a:b"))),
            ("http://127.0.0.1:4567", Kind::Endpoint("http://127.0.0.1:4567")),
            (
                "https://kinesis.example",
                Kind::Endpoint("https://kinesis.example"),
            ),
            ("aws://eu-west-1", Kind::Aws("eu-west-1")),
            ("aws://", Kind::Aws("")),
            ("nats://a,b/main", Kind::Cluster("nats://a,b/main")),
            ("tls://a", Kind::Cluster("tls://a")),
        ] {
            assert_eq!(Kind::of(place).unwrap(), kind);
        }
        for wrong in ["", "ftp://a", "aws://eu-west-1/x", "aws://EU", "s3://bucket"] {
            assert!(matches!(Kind::of(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
