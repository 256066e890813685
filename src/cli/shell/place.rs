//! The place with the streams: `--data-dir` or `--endpoint`.

use std::path::{Path, PathBuf};

use anabranch::kinesis::ServerOptions;
use clap::Args;

use super::super::Failure;
#[cfg(feature = "mirror")]
use super::aws::{Aws, AwsOptions};
use super::directory::{Access, Directory};
use super::endpoint::Endpoint;
use super::environment::variable;
use super::name::StreamArgument;
use super::target::Target;
use crate::cli::store_directory::store_directory;

#[derive(Debug, Clone, Args)]
pub(super) struct PlaceArguments {
    /// A directory with a store; commands that only read can use one that a server has open
    #[arg(long, value_name = "DIR", value_parser = store_directory(), conflicts_with = "endpoint")]
    data_dir: Option<PathBuf>,

    /// The address of a server or of Amazon Kinesis, or aws://REGION if the program was built with `mirror` [default:
    /// AWS_ENDPOINT_URL_KINESIS, or http://127.0.0.1:4567]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,

    /// The region of the streams [default: in a directory us-east-1, as in a server; otherwise AWS_REGION,
    /// AWS_DEFAULT_REGION, or the server's own region]
    #[arg(long, env = "ANABRANCH_REGION")]
    region: Option<String>,

    /// The account of the streams in a directory
    #[arg(long, value_name = "ID", default_value = ServerOptions::DEFAULT_ACCOUNT_ID, env = "ANABRANCH_ACCOUNT_ID")]
    account_id: String,

    /// A file of keys, for encrypted streams in a directory: lines of an id, =, and 64 hexadecimal digits
    #[arg(long, value_name = "FILE", env = "ANABRANCH_KEYS")]
    keys: Option<PathBuf>,

    /// Whether a call that puts records is not repeated if it may have failed.
    #[arg(skip)]
    puts_once: bool,
}

/// The work of a command at a place of either kind.
pub(super) trait Work {
    fn at(self, target: &mut impl Target) -> Result<(), Failure>;
}

impl PlaceArguments {
    const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:4567";

    /// A directory of a mirror.
    pub(super) fn of_directory(
        directory: &Path,
        region: Option<String>,
        account_id: &str,
        keys: Option<PathBuf>,
    ) -> Self {
        Self {
            data_dir: Some(directory.to_owned()),
            endpoint: None,
            region,
            account_id: account_id.to_owned(),
            keys,
            puts_once: true,
        }
    }

    /// A server of a mirror. The mirror itself finds out the effect of a call without an answer.
    pub(super) fn of_endpoint(url: &str, region: Option<String>, account_id: &str) -> Self {
        Self {
            data_dir: None,
            endpoint: Some(url.to_owned()),
            region,
            account_id: account_id.to_owned(),
            keys: None,
            puts_once: true,
        }
    }

    /// Opens the place, does the work, on a stream if one is given, and closes the place, even if the work failed.
    pub(super) fn run(
        &self,
        access: Access,
        stream: Option<&StreamArgument>,
        work: impl Work,
    ) -> Result<(), Failure> {
        match &self.data_dir {
            Some(directory) => {
                let namespace = Self::namespace_of(self.region.as_deref(), &self.account_id)?;
                worked(
                    Directory::open(directory, &namespace, access, self.keys.as_deref())?,
                    work,
                )
            }
            None => match stream.filter(|stream| stream.has_namespace()) {
                Some(stream) => Err(Failure::Usage(format!(
                    "{stream}: a stream behind an endpoint has no namespace, and no slash in its name; --region says in which \
                     region it is, and --data-dir that it is in a directory"
                ))),
                None => self.run_at_endpoint(work),
            },
        }
    }

    fn run_at_endpoint(&self, work: impl Work) -> Result<(), Failure> {
        let url = self.endpoint.as_deref();
        match url.and_then(|url| url.strip_prefix("aws://")) {
            Some("") => at_aws(self.region.as_deref().unwrap_or_default(), work),
            Some(region) => at_aws(region, work),
            None if self.puts_once => worked(self.endpoint()?.that_puts_once(), work),
            None => worked(self.endpoint()?, work),
        }
    }

    fn endpoint(&self) -> Result<Endpoint, Failure> {
        let region = self.region.clone().or_else(|| variable("AWS_REGION"));
        let region = region.or_else(|| variable("AWS_DEFAULT_REGION"));
        if self.region.is_some() {
            Self::namespace_of(self.region.as_deref(), &self.account_id)?;
        }
        let url = self
            .endpoint
            .clone()
            .or_else(|| variable("AWS_ENDPOINT_URL_KINESIS"));
        let url = url.unwrap_or_else(|| Self::DEFAULT_ENDPOINT.to_owned());
        Endpoint::open(&url, region)
    }

    /// The namespace in which a server has the streams of an account in a region, by default in the server's own
    /// region.
    pub(super) fn namespace_of(region: Option<&str>, account_id: &str) -> Result<String, Failure> {
        let region = region.unwrap_or(ServerOptions::DEFAULT_REGION);
        let options = ServerOptions::new("").region(region).account_id(account_id);
        options.namespace().map_err(Failure::Bind)
    }
}

#[cfg(feature = "mirror")]
fn at_aws(region: &str, work: impl Work) -> Result<(), Failure> {
    let options = AwsOptions {
        region,
        endpoint_url: None,
        profile: None,
    };
    worked(Aws::open(options)?, work)
}

#[cfg(not(feature = "mirror"))]
fn at_aws(_: &str, _: impl Work) -> Result<(), Failure> {
    Err(Failure::Usage(
        "aws://: this program was built without the feature `mirror`".to_owned(),
    ))
}

/// Does the work and closes the place.
pub(super) fn worked(mut target: impl Target, work: impl Work) -> Result<(), Failure> {
    let done = work.at(&mut target);
    let closed = target.close();
    done.and(closed)
}
