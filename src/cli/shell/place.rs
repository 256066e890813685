//! The place with the streams: `--data-dir` or `--endpoint`.

use std::path::PathBuf;

use anabranch::kinesis::ServerOptions;
use clap::Args;

use super::super::Failure;
use super::directory::{Access, Directory};
use super::endpoint::Endpoint;
use super::environment::variable;
use super::name::StreamArgument;
use super::target::Target;

#[derive(Debug, Clone, Args)]
pub(super) struct PlaceArguments {
    /// A directory with a store; to read it, also one that a server has open
    #[arg(long, value_name = "DIR", conflicts_with = "endpoint")]
    data_dir: Option<PathBuf>,

    /// The address of a server, or of Amazon Kinesis [default: AWS_ENDPOINT_URL_KINESIS, or http://127.0.0.1:4567]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,

    /// The region whose streams are meant [default: in a directory us-east-1, as of a server; else AWS_REGION,
    /// AWS_DEFAULT_REGION, or what the server takes]
    #[arg(long, env = "ANABRANCH_REGION")]
    region: Option<String>,

    /// The account whose streams are meant in a directory
    #[arg(long, value_name = "ID", default_value = ServerOptions::DEFAULT_ACCOUNT_ID, env = "ANABRANCH_ACCOUNT_ID")]
    account_id: String,

    /// A file of keys, for encrypted streams in a directory: lines of an id, =, and 64 hexadecimal digits
    #[arg(long, value_name = "FILE", env = "ANABRANCH_KEYS")]
    keys: Option<PathBuf>,
}

/// The work of a command at a place of either kind.
pub(super) trait Work {
    fn at(self, target: &mut impl Target) -> Result<(), Failure>;
}

impl PlaceArguments {
    const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:4567";

    /// Opens the place, does the work, on a stream if one is given, and closes the place, even if the work failed.
    pub(super) fn run(
        &self,
        access: Access,
        stream: Option<&StreamArgument>,
        work: impl Work,
    ) -> Result<(), Failure> {
        match &self.data_dir {
            Some(directory) => {
                let namespace = self.namespace(ServerOptions::DEFAULT_REGION)?;
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
                None => worked(self.endpoint()?, work),
            },
        }
    }

    fn endpoint(&self) -> Result<Endpoint, Failure> {
        let region = self.region.clone().or_else(|| variable("AWS_REGION"));
        let region = region.or_else(|| variable("AWS_DEFAULT_REGION"));
        if self.region.is_some() {
            self.namespace(ServerOptions::DEFAULT_REGION)?;
        }
        let url = self
            .endpoint
            .clone()
            .or_else(|| variable("AWS_ENDPOINT_URL_KINESIS"));
        let url = url.unwrap_or_else(|| Self::DEFAULT_ENDPOINT.to_owned());
        Endpoint::open(&url, region)
    }

    /// The namespace in which a server has the streams of the account in the region.
    fn namespace(&self, default_region: &str) -> Result<String, Failure> {
        let region = self.region.as_deref().unwrap_or(default_region);
        let options = ServerOptions::new("").region(region).account_id(&self.account_id);
        options.namespace().map_err(Failure::Bind)
    }
}

fn worked(mut target: impl Target, work: impl Work) -> Result<(), Failure> {
    let done = work.at(&mut target);
    let closed = target.close();
    done.and(closed)
}
