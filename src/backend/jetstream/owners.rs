//! Who has a store on a cluster, as servers ask that do not have it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::answer::{Answer, News, Stage};
use super::api::Api;
use super::checks::check_servers;
use super::cluster::Cluster;
use super::options::JetStream;
use super::subjects::Names;
use crate::error::{Error, Result};

/// Asks who has a store, and hears what its openers tell.
#[derive(Debug)]
pub(crate) struct Owners {
    cluster: Arc<Cluster>,
    names: Names,
}

impl Owners {
    /// Connects to the cluster, and looks at whether records can be trusted to it: a server that could not take the store
    /// over is none that others rely on. Waits for the cluster.
    ///
    /// # Errors
    /// [`Error::Cluster`] if it is not reached, [`Error::ClusterUnfit`].
    pub(crate) fn connect(at: &JetStream) -> Result<Owners> {
        let cluster = Cluster::connect(at)?;
        check_servers(&cluster, &Api::of(cluster.clone()), at)?;
        Ok(Owners {
            cluster,
            names: Names::of(&at.store),
        })
    }

    /// What people call the store.
    pub(crate) fn store(&self) -> String {
        self.names.store()
    }

    /// Asks who has the store: an opener of this term or a later one. `None` if none answers in time.
    ///
    /// An earlier one may answer too, if it was cut off or stopped and does not know yet that it was taken over.
    pub(crate) async fn ask(&self, least_term: u64, limit: Duration) -> Option<Answer> {
        let until = Instant::now() + limit;
        let asked = async {
            let client = self.cluster.client();
            let inbox = client.new_inbox();
            let mut answers = client.subscribe(inbox.clone()).await.ok()?;
            client
                .publish_with_reply(self.names.presence(), inbox, Bytes::new())
                .await
                .ok()?;
            while let Some(answer) = answers.next().await {
                if answer.status == Some(StatusCode::NO_RESPONDERS) {
                    return None;
                }
                let answer = Answer::from_bytes(&answer.payload);
                let is_of_now = match answer.stage {
                    Stage::Opening => true,
                    Stage::Open { term } | Stage::Leaving { term } => term >= least_term,
                };
                if is_of_now {
                    return Some(answer);
                }
            }
            None
        };
        timeout_at(until, asked).await.ok().flatten()
    }

    /// What openers tell from now on.
    ///
    /// # Errors
    /// [`Error::Cluster`] if the connection is gone.
    pub(crate) async fn listen(&self) -> Result<NewsFeed> {
        let subscribed = self.cluster.client().subscribe(self.names.news()).await;
        let told = subscribed.map_err(|error| Error::Cluster {
            operation: "tell who has the store",
            reason: error.to_string(),
        })?;
        Ok(NewsFeed { told })
    }

    /// Has all servers know. That it arrives is not certain, and nothing depends on it.
    pub(crate) async fn tell(&self, news: News) {
        /// A cluster that is not there keeps no server from ending.
        const LIMIT: Duration = Duration::from_secs(1);
        let client = self.cluster.client();
        let told = async {
            let _ = client.publish(self.names.news(), news.to_bytes().into()).await;
            let _ = client.flush().await;
        };
        let _ = timeout_at(Instant::now() + LIMIT, told).await;
    }
}

/// What openers tell.
#[derive(Debug)]
pub(crate) struct NewsFeed {
    told: Subscriber,
}

impl NewsFeed {
    /// Waits for what is told next; for ever once the connection is gone. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> News {
        loop {
            match self.told.next().await {
                Some(told) => {
                    if let Some(news) = News::from_bytes(&told.payload) {
                        return news;
                    }
                }
                None => std::future::pending().await,
            }
        }
    }
}
