//! Saying what is wrong with a cluster, without opening the store or changing anything.

mod owner;
mod problem;
mod servers;
mod streams;

use std::sync::Arc;

use super::api::Api;
use super::checks::account;
use super::cluster::Cluster;
use super::failure::Failure;
use super::options::JetStream;
use super::subjects::Names;
use crate::error::{Error, Result};

pub use owner::StoreOwner;
pub use problem::ClusterProblem;
pub use servers::CheckedServer;
pub(super) use streams::is_offline;
pub use streams::{CheckedReplica, CheckedStream};

/// What a cluster is like that has a store, or is to have one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClusterCheck {
    /// Those that were reached, by their names.
    pub servers: Vec<CheckedServer>,
    /// The store's, and those of others that have its names or subjects.
    pub streams: Vec<CheckedStream>,
    /// Who has the store open; `None` if none that answers has.
    pub owner: Option<StoreOwner>,
    /// What is wrong.
    pub problems: Vec<ClusterProblem>,
}

impl ClusterCheck {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

impl JetStream {
    /// Looks at the cluster's servers and at the streams of the store, and says what is wrong, each with what to do next.
    /// Changes nothing and opens nothing: the store may be in use. A store that is not there yet is no problem.
    ///
    /// ```no_run
    /// # fn main() -> anabranch::Result<()> {
    /// use anabranch::JetStream;
    ///
    /// for problem in JetStream::at("nats://a,b,c")?.check()?.problems {
    ///     println!("{problem}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Cluster`](crate::Error::Cluster) if none of the servers can be reached, or all refuse the credentials;
    /// [`Error::Io`](crate::Error::Io) if credentials or certificates cannot be read.
    pub fn check(&self) -> Result<ClusterCheck> {
        let cluster = Cluster::connect(self)?;
        let checked = self.check_by(&cluster);
        cluster.close();
        checked
    }

    fn check_by(&self, cluster: &Arc<Cluster>) -> Result<ClusterCheck> {
        let mut problems = Vec::new();
        let servers = servers::look(self, cluster, &mut problems)?;
        let api = Api::of(cluster.clone());
        let names = Names::of(&self.store);
        let asked = api.clone();
        let mut streams = Vec::new();
        match cluster.run(async move { account(&asked).await })? {
            Ok(()) => match streams::look(self, cluster, &api, &names, &mut problems) {
                Ok(found) => streams = found,
                // Without a leader it says only that it is there.
                Err(Error::Cluster { reason, .. }) => problems.push(no_jetstream(Failure::NoAnswer(reason))),
                Err(error) => return Err(error),
            },
            Err(failure) => problems.push(no_jetstream(failure)),
        }
        let owner = owner::owner(cluster, &names)?;
        Ok(ClusterCheck {
            servers,
            streams,
            owner,
            problems,
        })
    }
}

fn no_jetstream(failure: Failure) -> ClusterProblem {
    let reason = match failure {
        Failure::NoAnswer(reason) | Failure::Refused(reason) => reason,
        failure => format!("{failure:?}"),
    };
    ClusterProblem::new(
        "cluster",
        format!("JetStream does not answer: {reason}"),
        "start more than half of the servers that have it, each with jetstream { ... } in its configuration",
    )
}
