//! Making a store on a cluster from a backup.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::ClusterCopied;
use super::directory::WholeBackup;
use crate::backend::jetstream::api::Api;
use crate::backend::jetstream::checks::check_servers;
use crate::backend::jetstream::cluster::Cluster;
use crate::backend::jetstream::failure::Failure;
use crate::backend::jetstream::options::JetStream;
use crate::backend::jetstream::stored_catalog::reader;
use crate::backend::jetstream::subjects::Names;
use crate::backend::jetstream::verification::ClusterProgress;
use crate::error::{Error, InvalidArgument, Result};

/// So much is sent at once.
const SENT_BYTES: u64 = 256 * 1024;

/// How long a server may take to take a part, or to make a stream of all.
const LIMIT: Duration = Duration::from_secs(60);

impl JetStream {
    /// Makes the store on the cluster from a backup that [`back_up`](Self::back_up) made. It has the same name and number as
    /// the one that was backed up, and all sequence numbers are what they were; records that are put from then on leave out
    /// 2^40 numbers at least. Do not let both go on: they would be two stores with one name.
    ///
    /// The catalog comes last, so that a store which was restored in part does not open. Where it fails, what was made is
    /// removed.
    ///
    /// ```no_run
    /// # fn main() -> anabranch::Result<()> {
    /// use anabranch::JetStream;
    ///
    /// JetStream::at("nats://d,e,f")?.restore("/backups/monday", &mut |_| {})?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotAStore`] if the directory has no such backup; [`Error::NotEmpty`] if the cluster has streams of the store;
    /// [`Error::InvalidArgument`] if the backup is of a store of another name; [`Error::ClusterUnfit`] as for opening a
    /// store; [`Error::Cluster`] if a server refuses the backup, which it does if that is damaged.
    pub fn restore(
        &self,
        backup: impl AsRef<Path>,
        on_progress: &mut dyn FnMut(&ClusterProgress),
    ) -> Result<ClusterCopied> {
        let backup = WholeBackup::open(backup.as_ref())?;
        let store = backup.description["store"].as_str().unwrap_or_default();
        if store != self.store {
            return Err(InvalidArgument::ClusterOption {
                reason: format!(
                    "the backup is of the store {store}, and can be restored under this name alone"
                ),
            }
            .into());
        }
        let cluster = Cluster::connect(self)?;
        let restore = Restore {
            at: self,
            api: Api::of(cluster.clone()),
            cluster: &cluster,
            names: Names::of(&self.store),
            made: Vec::new(),
        };
        let restored = restore.run(&backup, on_progress);
        cluster.close();
        restored
    }
}

struct Restore<'a> {
    at: &'a JetStream,
    api: Api,
    cluster: &'a Arc<Cluster>,
    names: Names,
    /// Removed again if it fails.
    made: Vec<String>,
}

impl Restore<'_> {
    fn run(
        mut self,
        backup: &WholeBackup,
        on_progress: &mut dyn FnMut(&ClusterProgress),
    ) -> Result<ClusterCopied> {
        check_servers(self.cluster, &self.api, self.at)?;
        self.check_is_free()?;
        let restored = self.restore(backup, on_progress);
        if restored.is_err() {
            for name in std::mem::take(&mut self.made) {
                let api = self.api.clone();
                // What cannot be removed has no catalog, and is no store that opens.
                let _ = self.cluster.run(async move { api.delete_stream(&name).await });
            }
        }
        restored
    }

    fn check_is_free(&self) -> Result<()> {
        let shared = reader(self.cluster.clone(), self.names.clone());
        let listed = self.cluster.run(async move { shared.known_streams().await })?;
        let listed = listed.map_err(|failure| failure.into_error("list its streams"))?;
        match listed.is_empty() {
            true => Ok(()),
            false => Err(Error::NotEmpty {
                path: self.names.store().into(),
            }),
        }
    }

    fn restore(
        &mut self,
        backup: &WholeBackup,
        on_progress: &mut dyn FnMut(&ClusterProgress),
    ) -> Result<ClusterCopied> {
        let mut copied = ClusterCopied::default();
        let mut streams = backup.streams();
        streams.sort_by_key(|name| *name == self.names.catalog_stream());
        for name in streams {
            let description = backup.description_of(&name)?;
            copied.bytes += self.restore_stream(backup, &name, &description, on_progress)?;
            copied.messages += description["state"]["messages"].as_u64().unwrap_or_default();
            copied.streams += 1;
            let freed = backup.description["freed"][&name].as_object();
            for (subject, first) in freed.into_iter().flatten() {
                self.free_before(&name, subject, first.as_u64().unwrap_or_default())?;
            }
        }
        Ok(copied)
    }

    /// Gives how many bytes were sent.
    fn restore_stream(
        &mut self,
        backup: &WholeBackup,
        name: &str,
        description: &Value,
        on_progress: &mut dyn FnMut(&ClusterProgress),
    ) -> Result<u64> {
        let mut configuration = description["config"].clone();
        configuration["num_replicas"] = json!(self.at.replicas);
        let asked = json!({ "config": configuration, "state": description["state"] });
        let (api, verb) = (self.api.clone(), format!("STREAM.RESTORE.{name}"));
        let begun = self
            .cluster
            .run(async move { api.request(verb, &asked, LIMIT).await })?;
        let begun = begun.map_err(not_restored)?;
        let to = begun["deliver_subject"].as_str().unwrap_or_default().to_owned();
        self.made.push(name.to_owned());
        let (file, path, length) = backup.messages_of(name)?;
        let mut sent = 0;
        while sent < length {
            on_progress(&ClusterProgress {
                stream: name.to_owned(),
                sequence: sent,
                last: length,
            });
            let mut part = vec![0; SENT_BYTES.min(length - sent) as usize];
            file.read_exact_at(&mut part, sent)
                .map_err(|error| Error::unreadable(&path, sent, error))?;
            sent += part.len() as u64;
            self.send(&to, part.into())?;
        }
        self.send(&to, Bytes::new())?;
        Ok(sent)
    }

    fn send(&self, to: &str, part: Bytes) -> Result<()> {
        let (api, to) = (self.api.clone(), to.to_owned());
        let sent = self.cluster.run(async move { api.send(to, part, LIMIT).await })?;
        sent.map_err(not_restored)
    }

    fn free_before(&self, name: &str, subject: &str, first: u64) -> Result<()> {
        let (api, name, subject) = (self.api.clone(), name.to_owned(), subject.to_owned());
        let freed = self
            .cluster
            .run(async move { api.purge_before(&name, &subject, first).await })?;
        freed.map_err(not_restored)
    }
}

fn not_restored(failure: Failure) -> Error {
    failure.into_error("restore a stream")
}
