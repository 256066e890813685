//! Backups of a store on a cluster: all messages of its streams, verified, from which the streams can be made again with
//! the same sequences.
//!
//! A backup is a directory. Each stream has one below it with two files: `backup.json` has the stream's configuration,
//! and `stream.tar.s2` its messages, in the form that the servers take ([`messages`]). What says that a backup is whole is `anabranch.json`, which is written last.
//!
//! 1. The messages of the catalog, up to one edit.
//! 2. The catalog again, which now knows at least all streams and logs that the backup's catalog does.
//! 3. The messages of each stream, up to its last one of one moment: of all its logs at once. What is of a log that the
//!    catalog does not know is left out.
//! 4. The catalog once more: if a log is gone by now, all of it is done again.
//!
//! So of each log there is a prefix that has all that was there before, and of a child only something if the backup has
//! its parents. Behind the last message of each stream one more is put in, of no log, with a sequence so high that
//! records which are put after a restore leave out at least 2^40 numbers.

mod directory;
mod messages;
mod restore;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::api::{Api, REQUEST_LIMIT};
use super::cluster::Cluster;
use super::options::JetStream;
use super::stored_catalog::{reader, stored_catalog};
use super::subjects::Names;
use super::verification::{ClusterProgress, Known, Verifier};
use crate::catalog::CatalogState;
use crate::error::{Error, Result};
use crate::model::{LogName, Timestamp};
use directory::BackupDirectory;
use messages::MessageFile;

/// So often a backup is tried of a store whose logs are removed meanwhile.
const TRIES: usize = 5;

/// What was copied of a store on a cluster, or to one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterCopied {
    /// Streams of JetStream, with the catalog's.
    pub streams: u64,
    /// Their messages.
    pub messages: u64,
    /// The bytes that were written, or sent.
    pub bytes: u64,
}

impl JetStream {
    /// Copies the store into a directory, which is empty or not there yet, while it may be open and goes on. Each message
    /// is read on all servers that have it, and verified ([`verify`](Self::verify)); what is whole on one of them is taken
    /// from there. The cluster is not changed.
    ///
    /// All that was acknowledged before the call is in the backup, what was put meanwhile may be. It can be
    /// [restored](Self::restore) to a cluster, under the same name.
    ///
    /// ```no_run
    /// # fn main() -> anabranch::Result<()> {
    /// use anabranch::JetStream;
    ///
    /// JetStream::at("nats://a,b,c")?.back_up("/backups/monday", &mut |_| {})?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a message is whole on no server; [`Error::NotEmpty`]; [`Error::StorageFull`] and [`Error::Io`] if
    /// the directory cannot be written; [`Error::NotAStore`] if the cluster has no store of the name; [`Error::Cluster`].
    /// What was written is removed.
    pub fn back_up(
        &self,
        destination: impl AsRef<Path>,
        on_progress: &mut dyn FnMut(&ClusterProgress),
    ) -> Result<ClusterCopied> {
        let cluster = Cluster::connect(self)?;
        let backup = Backup {
            cluster: &cluster,
            names: Names::of(&self.store),
        };
        let copied = backup.run(&self.store, destination.as_ref(), on_progress);
        cluster.close();
        copied
    }
}

struct Backup<'a> {
    cluster: &'a Arc<Cluster>,
    names: Names,
}

impl Backup<'_> {
    fn run(
        &self,
        store: &str,
        destination: &Path,
        on_progress: &mut dyn FnMut(&ClusterProgress),
    ) -> Result<ClusterCopied> {
        if self.catalog()?.is_none() {
            return Err(Error::NotAStore {
                path: self.names.store().into(),
            });
        }
        let mut directory = BackupDirectory::begin(destination)?;
        let mut lost = None;
        for _ in 0..TRIES {
            match self.attempt(store, &mut directory, on_progress) {
                Ok(Some(copied)) => return Ok(copied),
                Ok(None) => {}
                // Records may have been freed of which the catalog that was read did not know.
                Err(error @ Error::Corrupt { .. }) if lost.is_none() => lost = Some(error),
                Err(error) => return Err(error),
            }
            directory.clear()?;
        }
        Err(lost.unwrap_or_else(|| Error::Cluster {
            operation: "be copied",
            reason: "its streams and shards change all the time".to_owned(),
        }))
    }

    /// `None` if something was removed meanwhile.
    fn attempt(
        &self,
        store: &str,
        directory: &mut BackupDirectory,
        on_progress: &mut dyn FnMut(&ClusterProgress),
    ) -> Result<Option<ClusterCopied>> {
        let mut made = Made::default();
        let name = self.names.catalog_stream();
        let freed = self.copy(&name, None, directory, &mut made, on_progress)?;
        // A snapshot has taken the place of edits half way.
        if !freed.is_some_and(|freed| freed.is_empty()) {
            return Ok(None);
        }
        let Some(state) = self.catalog()? else {
            return Ok(None);
        };
        for (id, _) in state.streams() {
            let name = self.names.stream(id);
            // One that has no record may not be there yet.
            let freed = self.copy(&name, Some(&state), directory, &mut made, on_progress)?;
            if let Some(freed) = freed.filter(|freed| !freed.is_empty()) {
                made.freed.insert(name, freed);
            }
        }
        let logs = |state: &CatalogState| state.logs().map(|(name, _)| name).collect::<BTreeSet<LogName>>();
        let is_all_there = self
            .catalog()?
            .is_some_and(|now| logs(&now).is_superset(&logs(&state)));
        if !is_all_there {
            return Ok(None);
        }
        directory.finish(&json!({
            "format": 1,
            "store": store,
            "streams": made.streams,
            "freed": made.freed,
        }))?;
        Ok(Some(made.copied))
    }

    fn catalog(&self) -> Result<Option<CatalogState>> {
        let shared = reader(self.cluster.clone(), self.names.clone());
        let listed = {
            let of_task = shared.clone();
            self.cluster.run(async move { of_task.known_streams().await })?
        };
        let listed = listed.map_err(|failure| failure.into_error("list its streams"))?;
        let name = self.names.catalog_stream();
        if !listed.iter().any(|stream| stream.is_ours && stream.name == name) {
            return Ok(None);
        }
        self.cluster.run(async move { stored_catalog(&shared).await })?
    }

    /// Copies the messages of a stream. Gives what was freed of logs whose first messages were copied already: the first
    /// that is left of each. `None` if there is no such stream.
    fn copy(
        &self,
        name: &str,
        state: Option<&CatalogState>,
        directory: &mut BackupDirectory,
        made: &mut Made,
        on_progress: &mut dyn FnMut(&ClusterProgress),
    ) -> Result<Option<BTreeMap<String, u64>>> {
        let Some(configuration) = self.configuration_of(name)? else {
            return Ok(None);
        };
        let now = SystemTime::now().into();
        let (file, path) = directory.begin_messages(name)?;
        let mut file = MessageFile::begin(file, path, now)?;
        let mut verifier = Verifier {
            cluster: self.cluster,
            were_silent: std::mem::take(&mut made.were_silent),
        };
        let known = Known::new(&self.names, state);
        let outcome = verifier.run(&known, name, &mut |found| file.push(found), on_progress)?;
        made.were_silent = verifier.were_silent;
        let Some(outcome) = outcome else {
            return Ok(None);
        };
        if let Some(loss) = outcome.loss() {
            return Err(Error::corrupt(name.as_ref(), loss.first, loss.to_string()));
        }
        let is_of_records = self.names.stream_of(name).is_some();
        if is_of_records {
            file.leave_out(&self.names.left_out(name), outcome.last, now)?;
        }
        let (described, messages, bytes) = file.finish()?;
        directory.write_description(name, &json!({ "config": configuration, "state": described }))?;
        made.streams.push(name.to_owned());
        made.copied.streams += 1;
        made.copied.messages += messages;
        made.copied.bytes += bytes;
        Ok(Some(outcome.freed))
    }

    fn configuration_of(&self, name: &str) -> Result<Option<Value>> {
        use super::failure::Failure;
        let (api, verb) = (Api::of(self.cluster.clone()), format!("STREAM.INFO.{name}"));
        let answer = self
            .cluster
            .run(async move { api.request(verb, &json!({}), REQUEST_LIMIT).await })?;
        match answer {
            Ok(answer) => Ok(Some(as_made(answer["config"].clone()))),
            Err(Failure::NoSuchStream) => Ok(None),
            Err(failure) => Err(failure.into_error("say what a stream is like")),
        }
    }
}

/// A configuration without what a server adds of itself when it is asked. With that, it would be another one than the
/// store makes, and the store not open.
fn as_made(mut configuration: Value) -> Value {
    if let Some(metadata) = configuration["metadata"].as_object_mut() {
        metadata.retain(|name, _| !matches!(name.as_str(), "_nats.level" | "_nats.ver"));
    }
    configuration
}

/// What a backup has so far.
#[derive(Default)]
struct Made {
    streams: Vec<String>,
    /// By stream and subject.
    freed: BTreeMap<String, BTreeMap<String, u64>>,
    copied: ClusterCopied,
    were_silent: BTreeSet<String>,
}

/// The sequence of the message behind which the records of a restored stream come: so that they leave out 2^40 numbers,
/// and 2^10 more for each millisecond from 2020 to the moment of the backup, as those of other backups do.
fn sequence_behind(last: u64, now: Timestamp) -> u64 {
    const YEAR_2020_MILLIS: u64 = 1_577_836_800_000;
    const MOST_MILLIS: u64 = 1 << 42;
    let since = now.as_millis().saturating_sub(YEAR_2020_MILLIS).min(MOST_MILLIS);
    last + (1 << 26) + (since >> 4)
}
